//! The table of mutants in docs/TESTING.md is the one in the code: each mutant has its row, with its bug and the file
//! where its switch stands, and each known bug has a mutant or says why not. That each is killed by what its row says is
//! proved by `cargo xtask mutants`.

use hivemind_protocol::Mutant;
use std::path::{Path, PathBuf};

/// How many bugs are known that such systems had.
const BUGS: u8 = 26;

/// A row: the cells, without their marks.
struct Row {
    bug: String,
    mutant: Option<String>,
    place: String,
    killer: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("docs/TESTING.md")).expect("the document");
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with("| bug | mutant |"));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    let rows = rows.map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, bug, mutant, place, killer, _] = cells[..] else {
            panic!("not four cells: {line}");
        };
        let code = |cell: &str| cell.trim_matches('`').to_owned();
        Row {
            bug: bug.to_owned(),
            mutant: mutant.starts_with('`').then(|| code(mutant)),
            place: code(place),
            killer: code(killer),
        }
    });
    rows.collect()
}

/// The number of a row's bug; none for one of our own.
fn number(row: &Row) -> Option<u8> {
    row.bug.split(' ').next()?.parse().ok()
}

#[test]
fn each_mutant_has_one_row_with_its_bug_its_place_and_a_killer() {
    let rows = rows();
    for mutant in Mutant::ALL {
        let found: Vec<&Row> = rows
            .iter()
            .filter(|row| row.mutant.as_deref() == Some(mutant.name()))
            .collect();
        let [row] = found[..] else {
            panic!("{} has {} rows", mutant.name(), found.len());
        };
        assert_eq!(number(row), mutant.bug(), "{}", mutant.name());
        assert!(!row.killer.is_empty(), "{} has no killer", mutant.name());
        let switch = format!("mutant(Mutant::{mutant:?})");
        for place in row.place.split("`, `") {
            let code = std::fs::read_to_string(root().join("crates").join(place))
                .expect("the place is a file");
            assert!(code.contains(&switch), "{place} has no {switch}");
        }
    }
    let mutants = rows.iter().filter(|row| row.mutant.is_some()).count();
    assert_eq!(
        mutants,
        Mutant::ALL.len(),
        "a row's mutant is not in the code"
    );
}

#[test]
fn each_known_bug_has_a_mutant_or_says_why_not() {
    let rows = rows();
    for bug in 1..=BUGS {
        assert!(
            rows.iter().any(|row| number(row) == Some(bug)),
            "bug {bug} is not in the table"
        );
    }
}

#[test]
fn names_are_in_plain_letters_and_differ() {
    for (at, mutant) in Mutant::ALL.iter().enumerate() {
        assert!(
            mutant
                .name()
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        );
        assert!(
            Mutant::ALL[..at]
                .iter()
                .all(|other| other.name() != mutant.name())
        );
    }
}

#[cfg(not(hivemind_mutants))]
#[test]
fn without_its_build_no_mutant_is_on() {
    assert!(
        !Mutant::ALL
            .iter()
            .any(|which| hivemind_protocol::mutant(*which))
    );
}
