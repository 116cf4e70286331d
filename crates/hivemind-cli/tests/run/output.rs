//! What a job prints, what it is given and what it gives back. How jobs end is in `ending`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{hive, hive_of, script};

#[test]
fn lines_carry_their_drones_number_on_both_streams() {
    let ended = script(
        3,
        &[],
        "echo out $HIVEMIND_RANK; echo err $HIVEMIND_RANK >&2",
    )
    .run();
    assert_eq!(ended.status, Some(0), "{}", ended.error);
    assert_eq!(ended.sorted(), ["[0] out 0", "[1] out 1", "[2] out 2"]);
    let mut errors: Vec<&str> = ended.error.lines().collect();
    errors.sort_unstable();
    assert_eq!(errors, ["[0] err 0", "[1] err 1", "[2] err 2"]);
}

#[test]
fn a_drones_lines_keep_their_order_and_are_never_mixed() {
    let ended = script(
        4,
        &[],
        "seq -f \"$HIVEMIND_RANK %g of many numbers\" 1 5000",
    )
    .run();
    let mut next = [1; 4];
    for line in ended.output.lines() {
        let drone = line[1..2].parse::<usize>().expect("a drone's number");
        assert_eq!(
            line,
            format!("[{drone}] {drone} {} of many numbers", next[drone])
        );
        next[drone] += 1;
    }
    assert_eq!(next, [5001; 4]);
}

#[test]
fn pieces_of_lines_are_never_mixed() {
    let pieces = "for piece in a b c d; do printf $HIVEMIND_RANK$piece; sleep 0.03; done; echo";
    let ended = script(4, &[], pieces).run();
    for drone in 0..4 {
        let prefix = format!("[{drone}] ");
        let lines = ended.output.lines();
        let text: String = lines
            .filter_map(|line| line.strip_prefix(&prefix))
            .collect();
        assert_eq!(
            text,
            format!("{drone}a{drone}b{drone}c{drone}d"),
            "{}",
            ended.output
        );
    }
    assert!(
        ended.output.lines().all(|line| line.len() > 4),
        "an empty line: {}",
        ended.output
    );
}

#[test]
fn the_last_line_needs_no_end() {
    let ended = script(1, &[], "printf 'no newline'").run();
    assert_eq!(ended.output, "[0] no newline\n");
}

#[test]
fn huge_output_without_a_newline_arrives_whole() {
    let ended = script(
        2,
        &[],
        "head -c 20000000 /dev/zero | tr '\\0' $HIVEMIND_RANK",
    )
    .run();
    assert_eq!(ended.status, Some(0), "{}", ended.error);
    for letter in ["0", "1"] {
        let prefixes = ended.output.matches(&format!("[{letter}] ")).count();
        let letters = ended.output.matches(letter).count();
        assert_eq!(letters, 20_000_000 + prefixes);
    }
}

#[test]
fn without_prefixes_the_bytes_are_the_programs_own() {
    let ended = script(1, &["--no-prefix"], "printf 'a\\r\\nb\\rc'").run();
    assert_eq!(ended.output, "a\r\nb\rc");
}

#[test]
fn colours_come_only_where_they_are_wanted() {
    let plain = script(2, &[], "echo x").run().output;
    assert!(!plain.contains('\u{1b}'), "colours in a pipe: {plain:?}");
    let never = script(2, &["--color=never"], "echo x")
        .env("CLICOLOR_FORCE", "1")
        .run()
        .output;
    assert!(
        !never.contains('\u{1b}'),
        "colours in spite of never: {never:?}"
    );
    let coloured = script(2, &["--color=always"], "echo x").run().output;
    let mut starts: Vec<&str> = coloured
        .lines()
        .filter_map(|line| line.split('[').nth(1))
        .collect();
    starts.dedup();
    assert_eq!(
        starts.len(),
        2,
        "each drone has a colour of its own: {coloured:?}"
    );
}

#[test]
fn no_color_turns_colours_off() {
    let ended = script(2, &[], "echo x").env("CLICOLOR_FORCE", "1").run();
    assert!(
        ended.output.contains('\u{1b}'),
        "the counter-example has colours"
    );
    let ended = script(2, &[], "echo x")
        .env("CLICOLOR_FORCE", "1")
        .env("NO_COLOR", "1")
        .run();
    assert!(!ended.output.contains('\u{1b}'), "{:?}", ended.output);
}

#[test]
fn standard_input_goes_to_drone_0_alone() {
    let ended = script(3, &[], "echo \"($(cat))\"").input("hello").run();
    assert_eq!(ended.sorted(), ["[0] (hello)", "[1] ()", "[2] ()"]);
}

#[test]
fn drones_learn_their_place_from_the_environment() {
    let ended = script(
        2,
        &["--engine=mprotect", "--region=64M", "--threads=3", "--start-timeout=5s", "--stats"],
        "test -w ${HIVEMIND_ROOT#file:} || test -w $(dirname ${HIVEMIND_ROOT#file:}) || exit 9
         test $(stat -c %a $HIVEMIND_KEY_FILE) = 600 || exit 8
         grep -Eqx '[0-9a-f]{64}' $HIVEMIND_KEY_FILE || exit 7
         ! env | grep -q $(cat $HIVEMIND_KEY_FILE) || exit 6
         echo $HIVEMIND_RANK/$HIVEMIND_SIZE $HIVEMIND_LOCAL_DRONES $HIVEMIND_ENGINE $HIVEMIND_REGION \
              $HIVEMIND_THREADS $RAYON_NUM_THREADS $HIVEMIND_START_TIMEOUT ${HIVEMIND_REPORT##*/} \
              ${HIVEMIND_TERMINAL-none}
         echo job ${HIVEMIND_JOB}",
    )
    .run();
    assert_eq!(ended.status, Some(0), "{}", ended.error);
    let lines = ended.sorted();
    assert_eq!(
        lines[0],
        "[0] 0/2 2 mprotect 67108864 3 3 5s report-0.json none"
    );
    assert_eq!(
        lines[2],
        "[1] 1/2 2 mprotect 67108864 3 3 5s report-1.json none"
    );
    assert_eq!(lines[1][4..], lines[3][4..], "one job has one name");
    assert!(lines[1].len() > "[0] job ".len());
}

#[test]
fn every_option_has_an_environment_variable() {
    let ended = hive(&[
        "sh",
        "-c",
        "echo $HIVEMIND_SIZE $HIVEMIND_ENGINE $HIVEMIND_REGION $HIVEMIND_THREADS",
    ])
    .env("HIVEMIND_DRONES", "2")
    .env("HIVEMIND_ENGINE", "uffd")
    .env("HIVEMIND_REGION", "1M")
    .env("HIVEMIND_THREADS", "7")
    .env("HIVEMIND_NO_PREFIX", "1")
    .run();
    assert_eq!(
        ended.output,
        "2 uffd 1048576 7\n".repeat(2),
        "{}",
        ended.error
    );
}

#[test]
fn a_wrong_variable_is_refused_like_a_wrong_option() {
    let ended = hive(&["true"]).env("HIVEMIND_DRONES", "many").run();
    assert_eq!(ended.status, Some(2));
    assert!(
        ended.error.contains("many") && ended.error.contains("--drones"),
        "{}",
        ended.error
    );
}

#[test]
fn a_program_of_that_name_beside_the_command_is_found() {
    let place = tempfile::tempdir().expect("a directory");
    let command = place.path().join("hivemind");
    fs::copy(env!("CARGO_BIN_EXE_hivemind"), &command).expect("the command can be copied");
    let program = place.path().join("jacobi");
    fs::write(&program, "#!/bin/sh\necho jacobi \"$@\"\n").expect("a script can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
    let ended = hive_of(&command, &["-n", "1", "jacobi", "-n", "5", "--size=3"]).run();
    assert_eq!(
        ended.output, "[0] jacobi -n 5 --size=3\n",
        "{}",
        ended.error
    );
    let ended = hive_of(&command, &["-n", "1", "jakobi"]).run();
    assert_eq!(ended.status, Some(127));
    assert!(
        ended.error.contains("the shipped programs are: jacobi"),
        "{}",
        ended.error
    );
}

#[test]
fn what_cannot_be_run_is_told_before_anything_starts() {
    for (program, status, words) in [
        ("no-such-program", 127, "PATH"),
        ("./no/such/path", 127, "./no/such/path"),
        ("/", 126, "directory"),
        ("/proc/self/status", 126, "chmod +x"),
    ] {
        let ended = hive(&["-n", "2", program]).run();
        assert_eq!(ended.status, Some(status), "{program}: {}", ended.error);
        assert!(ended.error.contains(words), "{program}: {}", ended.error);
        assert!(ended.left_over.is_empty());
    }
}

#[test]
fn a_program_without_its_interpreter_is_told() {
    let place = tempfile::tempdir().expect("a directory");
    let program = place.path().join("script");
    fs::write(&program, "#!/no/such/interpreter\n").expect("a script can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
    let ended = hive(&["-n", "1", program.to_str().expect("a plain path")]).run();
    assert_eq!(ended.status, Some(127));
    assert!(ended.error.contains("interpreter"), "{}", ended.error);
}

#[test]
fn more_than_the_machine_bears_is_refused() {
    for (words, expected) in [
        (["-n", "60000", "true"], "more than this machine bears"),
        (["-n", "65537", "true"], "65536"),
        (["-n", "0", "true"], "at least one drone"),
        (["-n1", "--region=100T", "true"], "address space"),
        (["-n1", "--region=lots", "true"], "64M"),
        (["-n1", "--engine=magic", "true"], "mprotect"),
        (["-n1", "--stats=json", "true"], "--stats=json:FILE"),
        (["-n1", "--nonsense", "true"], "--nonsense"),
    ] {
        let ended = hive(&words).run();
        assert_eq!(ended.status, Some(2), "{words:?}: {}", ended.error);
        assert!(ended.error.contains(expected), "{words:?}: {}", ended.error);
    }
}

#[test]
fn a_region_beyond_memory_runs_with_a_warning() {
    let ended = hive(&["-n1", "--region=30T", "true"]).run();
    assert_eq!(ended.status, Some(0));
    assert!(
        ended.error.contains("warning") && ended.error.contains("memory"),
        "{}",
        ended.error
    );
}

#[test]
fn a_dry_run_shows_the_plan_and_starts_nothing() {
    let place = tempfile::tempdir().expect("a directory");
    let witness = place.path().join("started");
    let ended = script(2, &["--dry-run"], &format!("touch {}", witness.display())).run();
    assert_eq!(ended.status, Some(0), "{}", ended.error);
    for part in [
        "touch",
        "drones     2",
        "HIVEMIND_RANK=1",
        "HIVEMIND_ENGINE=auto",
    ] {
        assert!(ended.output.contains(part), "{} lacks {part}", ended.output);
    }
    assert!(!witness.exists());
    assert!(ended.left_over.is_empty());
}

/// Leaves a report as the library does.
const REPORTER: &str = "echo '{\"drone\":'$HIVEMIND_RANK',\"engine\":\"uffd\",\"read_faults\":12345678,\
                        \"diff_bytes\":1048576,\"fault_wait_us\":2500,\"own\":7}' > $HIVEMIND_REPORT";

#[test]
fn statistics_come_as_a_table_with_a_line_a_drone() {
    let ended = script(2, &["--stats"], REPORTER).run();
    assert_eq!(ended.status, Some(0), "{}", ended.error);
    for part in ["engine uffd", "12.3M", "24.7M", "1 MiB", "2.50 ms", "5 ms"] {
        assert!(ended.error.contains(part), "{} lacks {part}", ended.error);
    }
    assert!(
        ended.output.is_empty(),
        "the answer on standard output stays alone: {}",
        ended.output
    );
}

#[test]
fn statistics_go_to_a_file_as_json() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("stats.json");
    let option = format!("--stats=json:{}", file.display());
    let ended = script(3, &[&option], REPORTER).run();
    assert_eq!(ended.status, Some(0), "{}", ended.error);
    let text = fs::read(&file).expect("the file is there");
    let value: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
    assert_eq!(value["drones"].as_array().map(Vec::len), Some(3));
    assert_eq!(value["drones"][2]["drone"], 2);
    assert_eq!(value["drones"][2]["own"], 7);
}

#[test]
fn drones_without_statistics_are_named() {
    let ended = script(
        2,
        &["--stats"],
        &format!("[ $HIVEMIND_RANK = 0 ] || {REPORTER}"),
    )
    .run();
    assert_eq!(ended.status, Some(0));
    assert!(
        ended.error.contains("drone 0 has left no statistics"),
        "{}",
        ended.error
    );
}

#[test]
fn statistics_that_cannot_be_written_are_told() {
    let place = tempfile::tempdir().expect("a directory");
    let witness = place.path().join("started");
    let touch = format!("touch {}", witness.display());
    let ended = script(1, &["--stats=json:/no/such/place/stats.json"], &touch).run();
    assert_eq!(ended.status, Some(74), "{}", ended.error);
    assert!(
        ended.error.contains("/no/such/place/stats.json"),
        "{}",
        ended.error
    );
    assert!(!witness.exists(), "a wrong path must cost no run");
    let ended = script(1, &["--stats=json:/dev/full"], &touch).run();
    assert_eq!(ended.status, Some(74), "{}", ended.error);
    assert!(ended.error.contains("No space left"), "{}", ended.error);
}
