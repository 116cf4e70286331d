//! How jobs end: well, by a drone's failure, by a signal, by the launcher's own death. Nothing may be left of
//! them: no process, no directory.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{expect_gone, hive, pids, runs, script};
use rustix::process::{Pid, Signal, kill_process};

/// What the launcher promises.
const TWO_SECONDS: Duration = Duration::from_secs(2);

/// Says which process it is and stays.
const STAY: &str = "echo pid $$; while :; do sleep 0.05; done";

/// The same, and SIGTERM doesn't move it.
const STUBBORN: &str = "trap '' TERM INT HUP; echo pid $$; while :; do sleep 0.05; done";

#[test]
fn a_good_job_gives_0_and_leaves_nothing() {
    let ended = script(
        3,
        &[],
        "echo pid $$; touch $(dirname ${HIVEMIND_ROOT#file:})/root",
    )
    .run();
    assert_eq!(ended.status, Some(0), "{}", ended.error);
    assert!(ended.error.is_empty(), "{}", ended.error);
    assert!(ended.left_over.is_empty(), "{:?}", ended.left_over);
    let lines: Vec<String> = ended.output.lines().map(str::to_owned).collect();
    expect_gone(&pids(&lines), Duration::ZERO);
}

#[test]
fn the_first_failing_drone_gives_the_status_and_is_named() {
    let ended = script(4, &[], "[ $HIVEMIND_RANK = 2 ] && exit 42; sleep 60").run();
    assert_eq!(ended.status, Some(42));
    let line = ended.error.trim_end();
    assert!(line.starts_with("hivemind: drone 2 (pid "), "{line}");
    assert!(
        line.ends_with(") exited with status 42; ending the other 3 drones"),
        "{line}"
    );
    assert_eq!(
        ended.error.lines().count(),
        1,
        "one sentence: {}",
        ended.error
    );
}

#[test]
fn a_drone_may_end_well_while_others_run() {
    let ended = script(
        3,
        &[],
        "[ $HIVEMIND_RANK = 0 ] && exit 0; sleep 0.5; echo done",
    )
    .run();
    assert_eq!(ended.status, Some(0), "{}", ended.error);
    assert_eq!(ended.sorted(), ["[1] done", "[2] done"]);
}

#[test]
fn drones_that_fail_alike_are_told_in_one_sentence() {
    let ended = script(3, &[], "exit 2").run();
    assert_eq!(ended.status, Some(2));
    assert_eq!(ended.error, "hivemind: all 3 drones exited with status 2\n");
}

#[test]
fn a_killed_drone_is_named_with_its_signal_and_ends_all() {
    for (victim, signal, name, status) in [
        (0, Signal::KILL, "9 (SIGKILL)", 137),
        (3, Signal::SEGV, "11 (SIGSEGV)", 139),
    ] {
        let mut job = script(
            4,
            &[],
            "echo rank $HIVEMIND_RANK pid $$; while :; do sleep 0.05; done",
        )
        .start();
        let mut lines = job.lines(4);
        lines.sort_unstable();
        let drones = pids(&lines);
        let start = Instant::now();
        kill_process(Pid::from_raw(drones[victim]).expect("a pid"), signal).expect("it runs");
        let ended = job.end();
        assert!(
            start.elapsed() < TWO_SECONDS,
            "it took {:?}",
            start.elapsed()
        );
        assert_eq!(ended.status, Some(status));
        let sentence = format!(
            "hivemind: drone {victim} (pid {}) was killed by signal {name}",
            drones[victim]
        );
        assert!(ended.error.starts_with(&sentence), "{}", ended.error);
        assert!(
            ended
                .error
                .trim_end()
                .ends_with("ending the other 3 drones"),
            "{}",
            ended.error
        );
        expect_gone(&drones, Duration::ZERO);
        assert!(ended.left_over.is_empty());
    }
}

#[test]
fn the_killed_drone_is_blamed_and_not_those_who_noticed() {
    // Drone 0 fails because drone 1 is about to die, and is seen first.
    let ended = script(
        3,
        &[],
        "case $HIVEMIND_RANK in 0) echo lost drone 1 >&2; exit 1;; 1) sleep 0.1; kill -9 $$;; esac; sleep 60",
    )
    .run();
    assert_eq!(ended.status, Some(137));
    assert!(
        ended.error.contains("hivemind: drone 1 "),
        "{}",
        ended.error
    );
    assert!(ended.error.contains("[0] lost drone 1"), "{}", ended.error);
}

#[test]
fn last_words_stand_before_the_sentence() {
    let ended = script(
        2,
        &[],
        "[ $HIVEMIND_RANK = 1 ] && { printf 'out of luck' >&2; kill -9 $$; }; sleep 60",
    )
    .run();
    let mut lines = ended.error.lines();
    assert_eq!(lines.next(), Some("[1] out of luck"));
    assert!(
        lines
            .next()
            .is_some_and(|line| line.starts_with("hivemind: drone 1"))
    );
}

#[test]
fn a_stubborn_drone_dies_within_two_seconds() {
    let mut job = script(2, &[], STUBBORN).start();
    let drones = pids(&job.lines(2));
    let start = Instant::now();
    kill_process(Pid::from_raw(drones[0]).expect("a pid"), Signal::KILL).expect("it runs");
    let ended = job.end();
    assert!(
        start.elapsed() < TWO_SECONDS,
        "it took {:?}",
        start.elapsed()
    );
    assert_eq!(ended.status, Some(137));
    expect_gone(&drones, Duration::ZERO);
}

#[test]
fn signals_to_the_launcher_end_all_within_two_seconds() {
    for (signal, status, name) in [
        (Signal::INT, 130, "SIGINT"),
        (Signal::TERM, 143, "SIGTERM"),
        (Signal::HUP, 129, "SIGHUP"),
    ] {
        for program in [STAY, STUBBORN] {
            let mut job = script(3, &[], program).start();
            let drones = pids(&job.lines(3));
            let start = Instant::now();
            job.signal(signal);
            let ended = job.end();
            assert!(
                start.elapsed() < TWO_SECONDS,
                "{name} took {:?}",
                start.elapsed()
            );
            assert_eq!(ended.status, Some(status));
            assert!(
                ended.error.contains(name) && ended.error.contains("ending 3 drones"),
                "{}",
                ended.error
            );
            assert_eq!(
                ended.error.lines().count(),
                1,
                "one sentence: {}",
                ended.error
            );
            expect_gone(&drones, Duration::ZERO);
            assert!(ended.left_over.is_empty(), "{:?}", ended.left_over);
        }
    }
}

#[test]
fn a_second_interruption_kills_at_once() {
    let mut job = script(
        2,
        &[],
        "trap 'echo asked' TERM; echo pid $$; while :; do sleep 0.02; done",
    )
    .start();
    let drones = pids(&job.lines(2));
    job.signal(Signal::INT);
    job.lines(4);
    let start = Instant::now();
    job.signal(Signal::INT);
    let ended = job.end();
    assert!(
        start.elapsed() < Duration::from_millis(700),
        "it took {:?}",
        start.elapsed()
    );
    assert_eq!(ended.status, Some(130));
    expect_gone(&drones, Duration::ZERO);
}

#[test]
fn a_killed_launcher_leaves_no_orphan_and_no_directory() {
    let with_child = format!("sleep 600 & echo child $!; {STUBBORN}");
    let mut job = script(3, &[], &with_child).start();
    let drones = pids(&job.lines(6));
    assert!(drones.iter().all(|&pid| runs(pid)));
    job.signal(Signal::KILL);
    let ended = job.end();
    assert_eq!(ended.status, None);
    expect_gone(&drones, TWO_SECONDS);
    assert!(
        ended
            .error
            .contains("the launcher died; its 3 drones are ended"),
        "{}",
        ended.error
    );
    assert!(ended.left_over.is_empty(), "{:?}", ended.left_over);
}

#[test]
fn drones_die_with_the_launcher_even_without_a_keeper() {
    let mut job = script(2, &[], STUBBORN).start();
    let drones = pids(&job.lines(2));
    let keeper = child_with_word(job.pid(), "__keeper");
    kill_process(Pid::from_raw(keeper).expect("a pid"), Signal::KILL).expect("it runs");
    job.signal(Signal::KILL);
    let ended = job.end();
    expect_gone(&drones, TWO_SECONDS);
    // Its directory is the next launcher's to remove.
    assert_eq!(ended.left_over.len(), 1, "{:?}", ended.left_over);
}

#[test]
fn the_next_start_removes_what_a_killed_launcher_left() {
    let place = tempfile::tempdir().expect("a directory");
    let stale = place.path().join("hivemind-run-of-old");
    std::fs::create_dir(&stale).expect("a directory can be made");
    let ended = hive(&["-n1", "true"])
        .env("XDG_RUNTIME_DIR", place.path())
        .run();
    assert_eq!(ended.status, Some(0), "{}", ended.error);
    assert!(!stale.exists());
}

#[test]
fn what_drones_leave_running_is_ended_too() {
    let start = Instant::now();
    let ended = script(2, &[], "sleep 600 & echo child $!").run();
    assert_eq!(ended.status, Some(0));
    let lines: Vec<String> = ended.output.lines().map(str::to_owned).collect();
    expect_gone(&pids(&lines), Duration::ZERO);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "it took {:?}",
        start.elapsed()
    );
}

#[test]
fn a_stopped_drone_is_ended_as_well() {
    let mut job = script(2, &[], STAY).start();
    let drones = pids(&job.lines(2));
    kill_process(Pid::from_raw(drones[0]).expect("a pid"), Signal::STOP).expect("it runs");
    let start = Instant::now();
    job.signal(Signal::TERM);
    assert_eq!(job.end().status, Some(143));
    assert!(
        start.elapsed() < TWO_SECONDS,
        "it took {:?}",
        start.elapsed()
    );
    expect_gone(&drones, Duration::ZERO);
}

#[test]
fn output_that_nobody_reads_keeps_no_job_alive() {
    // The pipe is full and its reader sleeps: the launcher must still hear signals.
    let mut child = Command::new(env!("CARGO_BIN_EXE_hivemind"))
        .args(["run", "-n2", "sh", "-c", "yes"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts");
    let launcher = child.id() as i32;
    let start = Instant::now();
    while rustix::io::ioctl_fionread(child.stdout.as_ref().expect("a pipe")).expect("a length")
        < 4096
    {
        assert!(
            start.elapsed() < crate::harness::LIMIT,
            "nothing was printed"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let start = Instant::now();
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    while runs(launcher) {
        assert!(start.elapsed() < TWO_SECONDS, "it still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(child.wait().expect("it ended").code(), Some(143));
}

#[test]
fn output_that_cannot_be_written_ends_the_job() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("it opens");
    let ended = Command::new(env!("CARGO_BIN_EXE_hivemind"))
        .args(["run", "-n2", "sh", "-c", "echo x; sleep 60"])
        .stdin(Stdio::null())
        .stdout(full)
        .output()
        .expect("the command starts");
    assert_eq!(ended.status.code(), Some(74));
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(
        error.contains("standard output") && error.contains("No space left"),
        "{error}"
    );
}

/// The child of a process whose command line has this word.
fn child_with_word(parent: i32, word: &str) -> i32 {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
        .expect("the launcher runs");
    children
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .find(|child: &i32| {
            let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            line.split(|&byte| byte == 0)
                .any(|found| found == word.as_bytes())
        })
        .expect("the launcher has this child")
}
