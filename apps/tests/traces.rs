//! Traces of real runs: each program's keeps every rule, windows are traces again, the timeline's arrows have two ends,
//! and a run that is not traced sends not a byte more. The rules themselves are tested in `hivemind-trace`.

mod hive;

use hive::{Ended, User, run_with, trace};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Runs a program with a trace into this directory.
fn traced(directory: &Path, drones: usize, program: &str, arguments: &[&str]) -> Ended {
    let directory = directory.to_str().expect("a plain path");
    let options = ["--trace", directory];
    run_with(User::Own, &options, drones, "auto", program, arguments)
}

/// Traces a program on four drones, checks what it left, and every form and window of it.
#[track_caller]
fn check_program(program: &str, arguments: &[&str]) {
    let place = tempfile::tempdir().expect("a directory");
    let logs = place.path().join("logs");
    traced(&logs, 4, program, &[arguments, &["--check"]].concat()).checked();
    let logs = logs.to_str().expect("a plain path");
    let checked = trace(&["check", logs]).right();
    assert!(checked.out.contains("4 logs, "), "{checked}");
    for window in [
        &[][..],
        &["--to", "20ms"],
        &["--drone", "1", "--drone", "3"],
        &["--page", "0", "--page", "1", "--page", "2"],
    ] {
        let file = place.path().join("window.log");
        let file = file.to_str().expect("a plain path");
        trace(&[&["merge", logs, "-o", file], window].concat()).right();
        trace(&["check", file]).right();
    }
    check_timeline(&trace(&["merge", logs, "--as", "perfetto"]).right().out);
}

/// Each arrow begins once and ends once, not before it began.
#[track_caller]
fn check_timeline(timeline: &str) {
    let timeline: Value = serde_json::from_str(timeline).expect("the timeline is JSON");
    let events = timeline["traceEvents"].as_array().expect("it has events");
    let mut arrows: BTreeMap<&str, [Option<f64>; 2]> = BTreeMap::new();
    let mut slices = 0;
    for event in events {
        let at_us = event["ts"].as_f64();
        let end = match event["ph"].as_str() {
            Some("s") => 0,
            Some("f") => 1,
            Some("X") => {
                assert!(event["dur"].as_f64() >= Some(0.0), "{event}");
                slices += 1;
                continue;
            }
            _ => continue,
        };
        let ends = arrows
            .entry(event["id"].as_str().expect("an id"))
            .or_default();
        assert_eq!(ends[end].replace(at_us.expect("a time")), None, "{event}");
    }
    assert!(
        slices > arrows.len() && arrows.len() > 10,
        "{slices}, {}",
        arrows.len()
    );
    for (id, ends) in arrows {
        let [Some(begin), Some(end)] = ends else {
            panic!("{id} has one end")
        };
        assert!(begin <= end, "{id}: {begin} {end}");
    }
}

#[test]
fn a_trace_of_pi_keeps_every_rule() {
    check_program("pi", &["--steps", "200003"]);
}

#[test]
fn a_trace_of_jacobi_keeps_every_rule() {
    check_program("jacobi", &["--size", "100", "--steps", "10"]);
}

#[test]
fn a_trace_of_quicksort_keeps_every_rule() {
    check_program("quicksort", &["--count", "100000"]);
}

#[test]
fn a_trace_of_matmul_keeps_every_rule() {
    check_program("matmul", &["--size", "100"]);
}

#[test]
fn a_trace_of_intsort_keeps_every_rule() {
    check_program("intsort", &["--count", "20000", "--values", "3000"]);
}

#[test]
fn a_trace_of_tsp_keeps_every_rule() {
    check_program("tsp", &["--random", "9"]);
}

#[test]
fn a_trace_of_tour_keeps_every_rule() {
    let place = tempfile::tempdir().expect("a directory");
    traced(place.path(), 4, "tour", &[]).right();
    let directory = place.path().to_str().expect("a plain path");
    trace(&["check", directory]).right();
    check_timeline(&trace(&["merge", directory, "--as", "perfetto"]).right().out);
}

#[test]
fn a_trace_of_a_hive_that_meets_in_a_line_keeps_every_rule() {
    let place = tempfile::tempdir().expect("a directory");
    let directory = place.path().to_str().expect("a plain path");
    let options = ["--trace", directory, "--fan-out", "1"];
    let arguments = ["--size", "100", "--steps", "10", "--check"];
    run_with(User::Own, &options, 4, "auto", "jacobi", &arguments).checked();
    let text = fs::read_to_string(place.path().join("d1.log")).expect("a log");
    assert!(text.contains("sends ArriveTogether to=d0"), "{text}");
    trace(&["check", directory]).right();
    check_timeline(&trace(&["merge", directory, "--as", "perfetto"]).right().out);
}

/// What both drones of a run that always sends the same have sent: messages and bytes.
fn sent(options: &[&str], file: &Path) -> Vec<(u64, u64)> {
    let stats = format!("--stats=json:{}", file.display());
    let options = [&[stats.as_str()], options].concat();
    let arguments = ["barriers", "--rounds", "200"];
    run_with(User::Own, &options, 2, "auto", "torture", &arguments).right();
    let stats: Value = serde_json::from_slice(&fs::read(file).expect("it is there")).expect("JSON");
    let drones = stats["drones"].as_array().expect("a list");
    let number = |drone: &Value, name: &str| drone[name].as_u64().expect("a number");
    let sent = |drone| (number(drone, "messages_sent"), number(drone, "bytes_sent"));
    drones.iter().map(sent).collect()
}

/// Who sleeps lets its lock go, who tries may have it: the rules of locks hold for these as well.
#[test]
fn traces_of_who_sleeps_and_who_tries_keep_every_rule() {
    for program in ["queue", "tries"] {
        let place = tempfile::tempdir().expect("a directory");
        let logs = place.path().join("logs");
        traced(&logs, 3, "torture", &[program, "--rounds", "40"]).right();
        let checked = trace(&["check", logs.to_str().expect("a plain path")]).right();
        assert!(checked.out.contains("3 logs, "), "{checked}");
    }
}

#[test]
fn without_a_trace_not_a_byte_more_is_sent() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("stats.json");
    let directory = place.path().to_str().expect("a plain path");
    let plain = sent(&[], &file);
    let traced = sent(&["--trace", directory], &file);
    for (drone, (plain, traced)) in plain.iter().zip(traced).enumerate() {
        let log = fs::read_to_string(place.path().join(format!("d{drone}.log"))).expect("a log");
        let lines: Vec<&str> = log.lines().skip(2).collect();
        let sends = lines
            .chunks(2)
            .filter(|event| event[1].starts_with("sends "));
        // Behind each message: how many entries, and twelve bytes each.
        let clocks: Vec<u64> = sends
            .map(|event| 4 + 12 * event[0].matches(':').count() as u64)
            .collect();
        assert_eq!(traced.0, clocks.len() as u64);
        assert_eq!(*plain, (traced.0, traced.1 - clocks.iter().sum::<u64>()));
    }
}

#[test]
fn a_full_log_ends_the_trace_and_not_the_run() {
    let place = tempfile::tempdir().expect("a directory");
    let directory = place.path().to_str().expect("a plain path");
    let options = ["--trace", directory, "--trace-limit", "8K"];
    let arguments = ["--size", "100", "--steps", "10"];
    let ended = run_with(User::Own, &options, 4, "auto", "jacobi", &arguments).right();
    assert_eq!(
        ended.err.matches("its trace was full").count(),
        4,
        "{ended}"
    );
    for drone in 0..4 {
        let log = place.path().join(format!("d{drone}.log"));
        let bytes = fs::metadata(log).expect("a log").len();
        assert!((4096..=8192).contains(&bytes), "{bytes}");
    }
    trace(&["check", directory]).right();
}

#[test]
fn a_trace_that_cannot_be_written_costs_a_warning() {
    if !Path::new("/dev/full").exists() {
        println!("skipped: there is no /dev/full here");
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink("/dev/full", place.path().join("d1.log")).expect("a link");
    let arguments = ["--size", "40", "--steps", "5"];
    let ended = traced(place.path(), 2, "jacobi", &arguments).right();
    assert_eq!(
        ended
            .err
            .matches("its trace ends early, the run goes on")
            .count(),
        1,
        "{ended}"
    );
}

#[test]
fn all_drones_trace_or_none() {
    let place = tempfile::tempdir().expect("a directory");
    let script = format!(
        "[ $HIVEMIND_RANK = 1 ] && export HIVEMIND_TRACE={}; exec {} --size 10 --steps 2",
        place.path().display(),
        env!("CARGO_BIN_EXE_jacobi")
    );
    let ended = run_with(User::Own, &[], 2, "auto", "sh", &["-c", &script]);
    assert_ne!(ended.code(), Some(0), "{ended}");
    assert!(ended.err.contains("HIVEMIND_TRACE"), "{ended}");
}

#[test]
fn a_broken_log_is_refused_with_file_line_and_rule() {
    let place = tempfile::tempdir().expect("a directory");
    traced(place.path(), 2, "pi", &["--steps", "1000"]).right();
    let log = place.path().join("d1.log");
    let text = fs::read_to_string(&log).expect("a log");
    let at = text
        .lines()
        .position(|line| line.starts_with("sends "))
        .expect("it sent something");
    fs::write(&log, text.replacen("sends ", "forgets to send ", 1)).expect("it can be written");
    let refused = trace(&["check", place.path().to_str().expect("a plain path")]);
    assert_eq!(refused.code(), Some(1), "{refused}");
    // The next message has the wrong number.
    assert!(refused.out.contains("d1.log: line "), "{refused} {at}");
    assert!(refused.out.contains("Order"), "{refused}");
}
