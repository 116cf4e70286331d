//! Wrong command lines and wrong files: one clear error, from drone 0 alone, and the exit status 2.

mod hive;

use hive::{Ended, run, run_alone};
use std::fs;

/// The program refuses, alone and on three drones, and says so once.
#[track_caller]
fn check_refused(program: &str, arguments: &[&str], what: &str) {
    for ended in [
        run_alone(program, arguments),
        run(3, "auto", program, arguments),
    ] {
        assert_eq!(ended.code(), Some(2), "{ended}");
        assert_eq!(
            ended.err.matches(what).count(),
            1,
            "'{what}' is said once: {ended}"
        );
        assert_eq!(ended.out, "", "{ended}");
    }
}

fn help(ended: Ended) {
    let ended = ended.right();
    assert_eq!(ended.out.matches("Usage:").count(), 1, "{ended}");
    assert!(ended.out.contains("--check"), "{ended}");
}

#[test]
fn every_program_has_help_that_is_said_once() {
    for program in [
        "pi",
        "jacobi",
        "quicksort",
        "matmul",
        "intsort",
        "tsp",
        "tour",
        "torture",
    ] {
        help(run_alone(program, &["--help"]));
        help(run(3, "auto", program, &["--help"]));
    }
}

#[test]
fn unknown_options_are_refused_by_every_program() {
    for program in [
        "pi",
        "jacobi",
        "quicksort",
        "matmul",
        "intsort",
        "tsp",
        "tour",
    ] {
        check_refused(program, &["--bogus"], "unexpected argument '--bogus'");
    }
    check_refused(
        "torture",
        &["counter", "--bogus"],
        "unexpected argument '--bogus'",
    );
    check_refused("torture", &["tickle"], "invalid value 'tickle'");
    check_refused("torture", &["counter", "--rounds", "0"], "at least 1 round");
}

#[test]
fn numbers_out_of_range_are_refused() {
    check_refused("pi", &["--steps", "0"], "at least 1 step");
    check_refused("pi", &["--steps", "1e19"], "at most");
    check_refused("pi", &["--steps", "many"], "'many' is no count");
    check_refused("jacobi", &["--size", "2"], "at least 3 points");
    check_refused("jacobi", &["--tolerance", "-1"], "'-1' is no tolerance");
    check_refused("tsp", &["--random", "2"], "3 to 128 cities");
    check_refused("matmul", &["--size", "0"], "at least 1 row");
    check_refused("intsort", &["--values", "0"], "at least 1 value");
    check_refused("intsort", &["--count", "5e9"], "at most");
    check_refused("quicksort", &["--type", "i16"], "invalid value 'i16'");
    check_refused(
        "quicksort",
        &["--count", "5", "--file", "x"],
        "cannot be used with",
    );
}

#[test]
fn files_that_are_not_there_or_not_right_are_refused_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(
        path("cities"),
        "TYPE : TSP\nDIMENSION : 3\nEDGE_WEIGHT_TYPE : EXPLICIT\n",
    )
    .unwrap();
    fs::write(path("numbers"), "1\n2\n3.5\n").unwrap();
    fs::write(path("bytes"), [0; 7]).unwrap();
    check_refused("tsp", &[&path("none")], "No such file");
    check_refused(
        "tsp",
        &[&path("cities")],
        "cities:3: EDGE_WEIGHT_TYPE EXPLICIT is not supported",
    );
    check_refused("quicksort", &["--file", &path("none")], "No such file");
    check_refused(
        "quicksort",
        &["--file", &path("numbers")],
        "numbers:3: '3.5' is no i32",
    );
    check_refused(
        "quicksort",
        &["--file", &path("bytes"), "--format", "binary"],
        "7 bytes",
    );
    check_refused(
        "jacobi",
        &["--size", "10", "--png", &path("no/such/folder")],
        "can't write the picture",
    );
}

#[test]
fn a_full_disk_is_said_and_is_no_success() {
    let arguments = ["--count", "100000", "--output", "/dev/full"];
    for ended in [
        run_alone("quicksort", &arguments),
        run(2, "auto", "quicksort", &arguments),
    ] {
        assert_eq!(ended.code(), Some(2), "{ended}");
        assert!(
            ended.err.contains("/dev/full") && ended.err.contains("No space left"),
            "{ended}"
        );
    }
}

#[test]
fn memory_that_is_not_there_is_refused_by_name() {
    let arguments = ["--size", "100000", "--steps", "1"];
    for ended in [
        run_alone("jacobi", &arguments),
        run(2, "auto", "jacobi", &arguments),
    ] {
        assert_ne!(ended.code(), Some(0), "{ended}");
        assert!(
            ended.err.contains("80000000000"),
            "the error says how much was asked for: {ended}"
        );
    }
}
