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

#[test]
fn every_case_of_two_drones_is_measured_and_written() {
    let file = std::env::temp_dir().join(format!("hivemind-bench-{}.json", std::process::id()));
    let wanted = ["fetch/1", "barrier/2", "lock/contended", "start/2"];
    for name in wanted {
        let done = bench(&[
            "--rounds",
            "3",
            "--only",
            name,
            "--json",
            file.to_str().unwrap(),
        ]);
        assert!(done.status.success(), "{name}: {}", text(&done.stderr));
        assert!(text(&done.stdout).contains(name));
        let list: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let case = list
            .as_array()
            .and_then(|list| list.iter().find(|case| case["name"] == name))
            .unwrap_or_else(|| panic!("{name} is not in {list}"));
        for number in ["value", "floor", "ratio", "low", "high", "goal"] {
            let value = case[number].as_f64().unwrap_or(0.0);
            assert!(value > 0.0, "{name}: {number} is {}", case[number]);
        }
        assert!(case["low"].as_f64() <= case["ratio"].as_f64());
        assert!(case["ratio"].as_f64() <= case["high"].as_f64());
        assert!(case["met"].is_boolean() && case["unit"].is_string());
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn the_messages_of_an_operation_are_those_of_the_table_of_costs() {
    let file = std::env::temp_dir().join(format!("hivemind-costs-{}.json", std::process::id()));
    for (name, messages) in [
        ("barrier/2", 2.0),
        ("lock/manager", 2.0),
        ("lock/cached", 0.0),
    ] {
        let done = bench(&[
            "--rounds",
            "3",
            "--only",
            name,
            "--json",
            file.to_str().unwrap(),
        ]);
        assert!(done.status.success(), "{name}: {}", text(&done.stderr));
        let list: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let counted = list[0]["messages"].as_f64().unwrap();
        // The end of a round may fall into another one's count.
        assert!(
            (counted - messages).abs() < 0.2,
            "{name}: {counted} messages"
        );
    }
    std::fs::remove_file(file).unwrap();
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
    let file = std::env::temp_dir().join(format!("hivemind-compare-{}.json", std::process::id()));
    let done = bench(&[
        "compare",
        "--quick",
        "--rounds",
        "1",
        "--json",
        file.to_str().unwrap(),
    ]);
    let said = text(&done.stderr);
    assert!(done.status.success(), "{said}");
    let list: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    std::fs::remove_file(file).unwrap();
    let names: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|case| case["name"].as_str())
        .collect();
    let mut ways = vec!["serial", "threads"];
    if said.contains("without MPI") {
        println!("skipped: programs against MPI: {said}");
    } else {
        ways.extend(["mpi-shared", "mpi-tcp"]);
    }
    for program in ["pi/1e8", "jacobi/2048", "jacobi/8192"] {
        for way in &ways {
            assert!(
                names.contains(&format!("{program} : {way}").as_str()),
                "{program}, {way}: {names:?}"
            );
        }
    }
    for case in list.as_array().unwrap() {
        assert!(
            case["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0),
            "{case}"
        );
        assert_eq!(case["unit"], "ms");
    }
}
