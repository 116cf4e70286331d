//! The suite measures for real, and writes what it promises. What the figures are is no matter here.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the suite with the `hivemind` that was built with it.
fn bench(arguments: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_hivemind-bench"));
    let hivemind = program.with_file_name("hivemind");
    assert!(
        hivemind.is_file(),
        "build the workspace first: {} is not there",
        hivemind.display()
    );
    let mut command = Command::new(program);
    command.args(arguments).env("HIVEMIND_COMMAND", hivemind);
    command.output().expect("the suite starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the suite writes when it is called so.
fn written(arguments: &[&str]) -> (Output, Vec<Value>) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("plain");
    let done = bench(&[arguments, &["--json", path]].concat());
    assert!(
        done.status.success(),
        "{arguments:?}: {}",
        text(&done.stderr)
    );
    let list = std::fs::read(path).expect("it was written");
    let list: Value = serde_json::from_slice(&list).expect("it is JSON");
    let list = list.as_array().expect("it is a list").clone();
    (done, list)
}

/// The case of this name, measured in the fewest rounds.
fn measured(name: &str) -> Value {
    let (done, list) = written(&["--rounds", "3", "--only", name]);
    assert!(text(&done.stdout).contains(name));
    let case = list.iter().find(|case| case["name"] == name);
    case.unwrap_or_else(|| panic!("{name} is not in {list:?}"))
        .clone()
}

#[test]
fn every_kind_of_case_is_measured_and_written() {
    for name in [
        "fetch/1",
        "barrier/2",
        "lock/contended",
        "start/2",
        "from-c/lock/cached",
    ] {
        let case = measured(name);
        for number in ["value", "floor", "ratio", "low", "high", "goal"] {
            let value = case[number].as_f64().unwrap_or(0.0);
            assert!(value > 0.0, "{name}: {number} is {}", case[number]);
        }
        assert!(case["low"].as_f64() <= case["ratio"].as_f64());
        assert!(case["ratio"].as_f64() <= case["high"].as_f64());
        assert!(case["met"].is_boolean() && case["unit"].is_string());
    }
}

#[test]
fn the_messages_of_an_operation_are_those_of_the_table_of_costs() {
    for (name, messages) in [
        ("barrier/2", 2.0),
        ("lock/manager", 2.0),
        ("lock/cached", 0.0),
        ("mprotect/release/0-of-512", 2.0),
    ] {
        let counted = measured(name)["messages"]
            .as_f64()
            .expect("they are counted");
        // The end of a round may fall into another one's count.
        assert!(
            (counted - messages).abs() < 0.2,
            "{name}: {counted} messages"
        );
    }
}

#[test]
fn a_floor_is_never_nothing() {
    for name in ["fault/own", "write/after-fetch", "malloc"] {
        let floor = measured(name)["floor"].as_f64().unwrap_or(0.0);
        assert!(
            floor > 0.001,
            "{name}: its floor takes {floor} us, so nothing was done"
        );
    }
}

#[test]
fn a_picture_shows_each_case_that_was_measured() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("plain");
    let done = bench(&["--rounds", "3", "--only", "barrier/2", "--plot", path]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let drawn = std::fs::read_to_string(path).expect("it was drawn");
    for word in ["<svg", "from-c/barrier/2", "<circle"] {
        assert!(drawn.contains(word), "{word} is not in {drawn}");
    }
}

#[test]
fn a_pattern_that_nothing_matches_is_refused() {
    let done = bench(&["--only", "nonsense"]);
    assert!(!done.status.success());
    assert!(
        text(&done.stderr).contains("--list"),
        "{}",
        text(&done.stderr)
    );
}

#[test]
fn all_ways_to_run_a_program_agree_on_its_answer() {
    let (done, list) = written(&["compare", "--quick", "--rounds", "2"]);
    let said = text(&done.stderr);
    let mut ways = vec!["serial", "threads"];
    if said.contains("without MPI") {
        println!("skipped: programs against MPI: {said}");
    } else {
        ways.extend(["mpi-shared", "mpi-tcp"]);
    }
    let names: Vec<&str> = list
        .iter()
        .filter_map(|case| case["name"].as_str())
        .collect();
    for program in ["pi/1e8", "jacobi/2048", "jacobi/8192"] {
        for way in &ways {
            let name = format!("{program} : {way}");
            assert!(names.contains(&name.as_str()), "{name}: {names:?}");
        }
    }
    for case in list {
        assert!(
            case["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0),
            "{case}"
        );
        assert!(case["met"].is_null(), "small sizes meet no goals: {case}");
    }
}
