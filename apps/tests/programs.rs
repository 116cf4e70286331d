//! Every program gives its serial answer on every number of drones, under every fault engine, as root and
//! as an ordinary user. The torture programs are in `torture.rs`, wrong command lines in `command_line.rs`.

mod hive;

use hive::{DRONES, User, engines, run, run_alone, run_as, run_with, users};
use std::fs;
use std::path::Path;

/// Runs the program everywhere, and checks that its answer is the same wherever it is the same program.
#[track_caller]
fn check_everywhere(program: &str, arguments: &[&str]) {
    let arguments = [arguments, &["--check"]].concat();
    for drones in DRONES {
        let mut answers = Vec::new();
        for user in users() {
            for engine in engines() {
                answers.push(
                    run_as(user, drones, engine, program, &arguments)
                        .checked()
                        .answer(),
                );
            }
        }
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{program} on {drones}: {answers:#?}"
        );
    }
}

#[test]
fn pi_equals_its_serial_answer_everywhere() {
    check_everywhere("pi", &["--steps", "20000003"]);
}

#[test]
fn pi_has_the_same_bits_on_any_number_of_drones() {
    let steps = ["--steps", "9000001"];
    let alone = run_alone("pi", &steps).right().answer();
    for drones in DRONES {
        assert_eq!(run(drones, "auto", "pi", &steps).right().answer(), alone);
    }
}

#[test]
fn jacobi_equals_its_serial_answer_everywhere() {
    // Rows that don't fill pages, and a number of rows that no number of drones divides.
    check_everywhere("jacobi", &["--size", "259", "--steps", "50"]);
}

#[test]
fn jacobi_is_right_on_plates_smaller_than_the_hive_and_when_it_settles() {
    for engine in engines() {
        run(
            8,
            engine,
            "jacobi",
            &["--size", "3", "--steps", "5", "--check"],
        )
        .checked();
        run(
            3,
            engine,
            "jacobi",
            &["--size", "7", "--steps", "0", "--check"],
        )
        .checked();
        let settled = [
            "--size",
            "40",
            "--steps",
            "100000",
            "--tolerance",
            "0.01",
            "--check",
        ];
        let ended = run(4, engine, "jacobi", &settled).checked();
        assert!(!ended.out.contains("100000 sweeps"), "{ended}");
    }
}

#[test]
fn jacobi_paints_the_same_picture_on_any_number_of_drones() {
    let folder = tempfile::tempdir().unwrap();
    let picture = |drones: usize| {
        let path = folder.path().join(format!("{drones}.png"));
        let name = path.to_str().unwrap();
        run(
            drones,
            "auto",
            "jacobi",
            &["--size", "1100", "--steps", "3", "--png", name],
        )
        .right();
        fs::read(path).unwrap()
    };
    let first = picture(1);
    assert!(first.starts_with(b"\x89PNG") && first.len() > 1000);
    assert_eq!(picture(2), first);
    assert_eq!(picture(3), first);
}

#[test]
fn matmul_equals_its_serial_answer_everywhere() {
    // Rows that don't fill pages, and a number of rows that no number of drones divides.
    check_everywhere("matmul", &["--size", "131"]);
}

#[test]
fn matmul_is_right_where_there_are_fewer_rows_than_drones_and_with_threads() {
    for size in ["1", "3", "150"] {
        run(4, "auto", "matmul", &["--size", size, "--check"]).checked();
        let arguments = ["--size", size, "--check"];
        run_with(
            User::Own,
            &["--threads", "3"],
            2,
            "auto",
            "matmul",
            &arguments,
        )
        .checked();
    }
}

#[test]
fn intsort_equals_the_serial_sort_everywhere() {
    // Values that don't fill pages, and a number of keys that no number of drones divides.
    let arguments = ["--count", "100003", "--values", "5003", "--rounds", "7"];
    check_everywhere("intsort", &arguments);
}

#[test]
fn intsort_sorts_few_keys_and_few_values_also_with_threads() {
    for (count, values) in [("0", "9"), ("1", "1"), ("3", "70000"), ("70001", "2")] {
        let arguments = ["--count", count, "--values", values, "--check"];
        run(4, "auto", "intsort", &arguments).checked();
        run_with(
            User::Own,
            &["--threads", "3"],
            2,
            "auto",
            "intsort",
            &arguments,
        )
        .checked();
    }
}

#[test]
fn quicksort_equals_the_serial_sort_everywhere() {
    check_everywhere("quicksort", &["--count", "300001"]);
}

#[test]
fn quicksort_sorts_long_numbers_and_splits_long_ranges() {
    for engine in engines() {
        run(
            2,
            engine,
            "quicksort",
            &["--count", "3e6", "--type", "i64", "--check"],
        )
        .checked();
    }
}

#[test]
fn quicksort_sorts_few_numbers_and_none() {
    for count in ["0", "1", "2", "31", "33", "5000"] {
        run(4, "auto", "quicksort", &["--count", count, "--check"]).checked();
    }
}

#[test]
fn quicksort_sorts_files_of_text_and_binary_with_many_equal_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    // Nearly all numbers are equal: one bucket has nearly all of them and must be split.
    let numbers: Vec<i32> = (0..400_000)
        .map(|i: i32| if i % 1000 == 0 { 7 - i } else { i % 2 })
        .collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    let text = |numbers: &[i32]| {
        numbers
            .iter()
            .map(|number| format!("{number}\n"))
            .collect::<String>()
    };
    let binary = |numbers: &[i32]| {
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    fs::write(path("text"), text(&numbers)).unwrap();
    fs::write(path("binary"), binary(&numbers)).unwrap();
    for drones in [1, 3] {
        let files = ["--file", &path("text"), "--output", &path("out"), "--check"];
        run(drones, "auto", "quicksort", &files).checked();
        assert!(fs::read_to_string(path("out")).unwrap() == text(&sorted));
        let files = [
            "--file",
            &path("binary"),
            "--format",
            "binary",
            "--output",
            &path("out"),
            "--check",
        ];
        run(drones, "auto", "quicksort", &files).checked();
        assert!(fs::read(path("out")).unwrap() == binary(&sorted));
    }
}

#[test]
fn tsp_finds_a_tour_as_short_as_the_serial_one_everywhere() {
    let arguments = ["--random", "38", "--seed", "3", "--check"];
    for drones in DRONES {
        let mut lengths = Vec::new();
        for user in users() {
            for engine in engines() {
                let ended = run_as(user, drones, engine, "tsp", &arguments).checked();
                // The tour may be another one of the same length.
                lengths.extend(ended.out.lines().next().map(str::to_owned));
            }
        }
        assert!(
            lengths.iter().all(|length| *length == lengths[0]),
            "on {drones}: {lengths:#?}"
        );
    }
}

#[test]
fn tsp_finds_the_known_optimum_of_the_shipped_instances() {
    let capitals = concat!(env!("CARGO_MANIFEST_DIR"), "/instances/capitals14.tsp");
    for drones in DRONES {
        let ended = run(drones, "auto", "tsp", &["--check"]).checked();
        assert!(ended.out.contains("is 835 long"), "{ended}");
        let ended = run(drones, "auto", "tsp", &[capitals, "--check"]).checked();
        assert!(ended.out.contains("is 10830 long"), "{ended}");
    }
}

#[test]
fn tour_comes_home_with_the_serial_harvest_everywhere() {
    check_everywhere("tour", &[]);
}

#[test]
fn tour_runs_on_sixty_four_drones() {
    for engine in engines() {
        let ended = run(64, engine, "tour", &["--check"]).checked();
        assert!(ended.out.contains("64 bees"), "{ended}");
    }
}

#[test]
fn programs_are_right_where_each_drone_waits_for_one_other() {
    let options = ["--fan-out", "1"];
    for (program, arguments) in [
        ("pi", &["--steps", "1e6"][..]),
        ("jacobi", &["--size", "150", "--steps", "30"]),
        ("matmul", &["--size", "90"]),
        ("intsort", &["--count", "20000"]),
        ("quicksort", &["--count", "30000"]),
        ("tsp", &["--random", "9"]),
        ("tour", &[]),
    ] {
        let arguments = [arguments, &["--check"]].concat();
        run_with(User::Own, &options, 5, "auto", program, &arguments).checked();
    }
}

#[test]
fn programs_work_alone_without_the_launcher() {
    run_alone("pi", &["--steps", "1e6", "--check"]).checked();
    run_alone("jacobi", &["--size", "50", "--steps", "10", "--check"]).checked();
    run_alone("quicksort", &["--count", "10000", "--check"]).checked();
    run_alone("tsp", &["--check"]).checked();
    run_alone("tour", &["--check"]).checked();
    run_alone("torture", &["all", "--seconds", "0", "--check"]).right();
}

/// The shipped example of conditions: drones that sleep while the queue is empty, and are all told when nothing comes any
/// more.
#[test]
fn a_queue_of_work_that_begets_work_is_worked_off_everywhere() {
    let programs = Path::new(env!("CARGO_BIN_EXE_pi")).parent().unwrap();
    let example = programs.join("examples/work_queue");
    for drones in DRONES {
        for engine in engines() {
            let ended = run(drones, engine, example.to_str().unwrap(), &[]).right();
            assert!(ended.out.starts_with("area 4.1"), "{ended}");
            assert!(ended.out.contains(" from "), "{ended}");
        }
    }
}
