//! The rules of the house, held by a test: which crate may import which, where `unsafe` may stand, what a
//! file looks like, which words may not be in it, and that every invariant is written down.
//!
//! The rules are the constants below; how files are found and read is in `source`. A breach is named with
//! its file and line.

mod documents;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{File, Manifest, manifests, rust_files};

/// Which of our packages a package may depend on, in tests too.
const EDGES: &[(&str, &[&str])] = &[
    ("hivemind-protocol", &[]),
    ("hivemind-memory", &["hivemind-protocol"]),
    (
        "hivemind-dsm",
        &["hivemind-memory", "hivemind-protocol", "hivemind-trace"],
    ),
    ("hivemind-trace", &[]),
    ("hivemind-sim", &["hivemind-protocol", "hivemind-trace"]),
    ("hivemind-cli", &["hivemind-dsm", "hivemind-trace"]),
    ("hivemind-capi", &["hivemind-dsm"]),
    ("hivemind-c", &["hivemind-capi"]),
    ("apps", &["hivemind-dsm"]),
    (
        "hivemind-bench",
        &[
            "apps",
            "hivemind-capi",
            "hivemind-dsm",
            "hivemind-memory",
            "hivemind-protocol",
        ],
    ),
    (
        "hivemind-fuzz",
        &[
            "apps",
            "hivemind-dsm",
            "hivemind-protocol",
            "hivemind-trace",
        ],
    ),
    ("xtask", &[]),
];

/// The folders and files in which `unsafe` may stand. The first has its tests with it: they look at pages
/// through raw pointers. The last is a border: its callers have nothing but raw pointers.
const UNSAFE_ROOMS: &[&str] = &[
    "crates/hivemind-memory/",
    "crates/hivemind/src/view.rs",
    "crates/hivemind-capi/src/",
];

/// What every crate root says of `unsafe`, but for those named.
const FORBID: &str = "#![forbid(unsafe_code)]";
const OTHER_ROOTS: &[(&str, &str)] = &[
    ("crates/hivemind/src/lib.rs", "#![deny(unsafe_code)]"),
    ("crates/hivemind-memory/src/lib.rs", ""),
    ("crates/hivemind-capi/src/lib.rs", ""),
];

/// Names that may not stand in the code of a folder or file, and why.
const FORBIDDEN_NAMES: &[(&str, &[&str], &str)] = &[
    (
        "crates/hivemind-protocol/src/",
        &[
            "std",
            "HashMap",
            "HashSet",
            "Instant",
            "SystemTime",
            "thread",
            "Thread",
            "TcpStream",
            "UdpSocket",
            "socket",
            "rand",
        ],
        "the core has no clock, thread, socket, random source or hash map",
    ),
    (
        "crates/hivemind-sim/src/",
        &[
            "HashMap",
            "HashSet",
            "TcpStream",
            "UdpSocket",
            "hivemind_memory",
        ],
        "the simulator is deterministic and never sees a socket or a mapping",
    ),
    (
        "crates/hivemind/src/net/",
        &[
            "Hive",
            "Core",
            "Region",
            "RegionMemory",
            "FaultHandler",
            "PageId",
        ],
        "links carry frames and know neither the core nor pages nor the public face",
    ),
    (
        "crates/hivemind/src/join/",
        &[
            "Hive",
            "Core",
            "Region",
            "RegionMemory",
            "FaultHandler",
            "PageId",
        ],
        "start-up knows neither the core nor pages nor the public face",
    ),
    (
        "crates/hivemind/src/launch.rs",
        &["Hive", "Core", "Links"],
        "the environment is read before anything else is there",
    ),
    (
        "crates/hivemind/src/drone.rs",
        &["Hive", "Shared", "Held", "Guard"],
        "the driver stands below the public face",
    ),
    (
        "crates/hivemind-memory/src/",
        &["TcpStream", "UdpSocket", "Core"],
        "the memory room knows pages, not who is asked for them",
    ),
];

/// Words that no file may have, put together so that this file has none of them.
const UNWANTED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("db", "g!"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("#[ig", "nore"),
];

/// No file is longer than can be read in one sitting.
const LINES_MAX: usize = 700;

/// Where the invariants are written down.
const INVARIANTS: &str = "docs/ARCHITECTURE.md";

#[test]
fn packages_depend_only_on_what_the_picture_shows() {
    let edges: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let manifests = manifests();
    let ours: BTreeSet<String> = manifests
        .iter()
        .map(|manifest| manifest.name.clone())
        .collect();
    let mut breaches = Vec::new();
    for Manifest {
        name,
        path,
        dependencies,
    } in &manifests
    {
        let Some(allowed) = edges.get(name.as_str()) else {
            breaches.push(format!(
                "{path}: the package {name} stands in no picture; add it to EDGES"
            ));
            continue;
        };
        for dependency in dependencies.intersection(&ours) {
            if !allowed.contains(&dependency.as_str()) {
                breaches.push(format!("{path}: {name} may not depend on {dependency}"));
            }
        }
    }
    assert_eq!(
        ours.len(),
        EDGES.len(),
        "EDGES names a package that is not there"
    );
    expect_none(&breaches);
}

#[test]
fn every_package_takes_the_lints_of_the_house() {
    let breaches: Vec<String> = manifests()
        .iter()
        .filter(|manifest| !source::read(&manifest.path).contains("[lints]\nworkspace = true"))
        .map(|manifest| format!("{}: `[lints] workspace = true` is missing", manifest.path))
        .collect();
    expect_none(&breaches);
}

#[test]
fn unsafe_stands_only_in_its_rooms() {
    let mut breaches = Vec::new();
    for file in rust_files() {
        if UNSAFE_ROOMS.iter().any(|room| file.path.starts_with(room)) {
            continue;
        }
        for (line, word) in file.words() {
            if word == "unsafe" {
                breaches.push(format!("{}:{line}: `unsafe` may not stand here", file.path));
            }
        }
    }
    expect_none(&breaches);
}

#[test]
fn every_room_of_unsafe_is_there() {
    for room in UNSAFE_ROOMS {
        let found = rust_files()
            .iter()
            .filter(|file| file.path.starts_with(room))
            .any(|file| file.words().any(|(_, word)| word == "unsafe"));
        assert!(
            found,
            "{room} has no `unsafe` any more; take it off the list"
        );
    }
}

#[test]
fn every_crate_root_says_what_it_thinks_of_unsafe() {
    let others: BTreeMap<&str, &str> = OTHER_ROOTS.iter().copied().collect();
    let breaches: Vec<String> = rust_files()
        .iter()
        .filter(|file| file.is_crate_root())
        .filter_map(|file| {
            let wanted = others.get(file.path.as_str()).unwrap_or(&FORBID);
            let found = file.code.lines().any(|line| line.trim() == *wanted);
            (!wanted.is_empty() && !found).then(|| format!("{}: `{wanted}` is missing", file.path))
        })
        .collect();
    expect_none(&breaches);
}

#[test]
fn every_file_says_first_what_it_is() {
    let breaches: Vec<String> = rust_files()
        .iter()
        .filter(|file| !file.text.starts_with("//!"))
        .map(|file| format!("{}:1: the file does not open with `//!`", file.path))
        .collect();
    expect_none(&breaches);
}

#[test]
fn every_file_can_be_read_in_one_sitting() {
    let breaches: Vec<String> = rust_files()
        .iter()
        .map(|file| (file, file.text.lines().count()))
        .filter(|&(_, lines)| lines > LINES_MAX)
        .map(|(file, lines)| format!("{}: {lines} lines; {LINES_MAX} are allowed", file.path))
        .collect();
    expect_none(&breaches);
}

#[test]
fn no_file_has_an_unwanted_word() {
    let mut breaches = Vec::new();
    for File { path, text, .. } in rust_files() {
        for (number, line) in (1..).zip(text.lines()) {
            let found = UNWANTED.iter().filter(|word| has_word(line, word));
            breaches.extend(found.map(|word| format!("{path}:{number}: `{word}`")));
        }
    }
    expect_none(&breaches);
}

#[test]
fn forbidden_names_stay_out() {
    let mut breaches = Vec::new();
    for &(place, names, why) in FORBIDDEN_NAMES {
        for file in rust_files()
            .iter()
            .filter(|file| file.path.starts_with(place))
        {
            for (line, word) in file.words_before_tests() {
                if names.contains(&word) {
                    breaches.push(format!("{}:{line}: `{word}`, but {why}", file.path));
                }
            }
        }
    }
    expect_none(&breaches);
}

#[test]
fn the_core_has_no_standard_library() {
    let root = source::read("crates/hivemind-protocol/src/lib.rs");
    assert!(
        root.contains("\n#![no_std]\n"),
        "crates/hivemind-protocol/src/lib.rs: `#![no_std]` is missing"
    );
}

#[test]
fn invariants_in_the_code_and_on_paper_are_the_same() {
    let Some(paper) = source::try_read(INVARIANTS) else {
        panic!("{INVARIANTS} is not there; it must list every invariant that the code names");
    };
    let written: BTreeSet<String> = invariants(&paper).map(str::to_owned).collect();
    let mut named = BTreeSet::new();
    let mut breaches = Vec::new();
    for file in rust_files()
        .iter()
        .filter(|file| !file.path.starts_with("xtask/"))
    {
        for (number, line) in (1..).zip(file.text.lines()) {
            for name in invariants(line) {
                if !written.contains(name) {
                    breaches.push(format!(
                        "{}:{number}: {name} is not in {INVARIANTS}",
                        file.path
                    ));
                }
                named.insert(name.to_owned());
            }
        }
    }
    let unnamed = written.difference(&named);
    breaches
        .extend(unnamed.map(|name| format!("{INVARIANTS}: no assertion and no test names {name}")));
    expect_none(&breaches);
}

/// The names of invariants in a text, as in INV-7.
fn invariants(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("INV-").filter_map(|(start, mark)| {
        let rest = &text[start + mark.len()..];
        let length = rest
            .find(|letter: char| !letter.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        let ends_in_number = rest[..length].ends_with(|letter: char| letter.is_ascii_digit());
        ends_in_number.then(|| &text[start..start + mark.len() + length])
    })
}

/// Whether a word stands in a line by itself, not as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        let ends_open = word.ends_with(is_part) && after.is_some_and(is_part);
        !(before.is_some_and(is_part) || ends_open)
    })
}

fn expect_none(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn words_are_told_from_parts_of_words() {
    let word = UNWANTED[0];
    assert!(has_word(&format!("// {word}: later"), word));
    assert!(!has_word(&format!("{word}S"), word));
    assert!(!has_word(&format!("a_{word}"), word));
    assert!(has_word(&format!("{}x)", UNWANTED[3]), UNWANTED[3]));
}

#[test]
fn names_of_invariants_are_found() {
    let found: Vec<&str> = invariants("INV-1, (INV-M12): INV-n and INV- are none").collect();
    assert_eq!(found, ["INV-1", "INV-M12"]);
}
