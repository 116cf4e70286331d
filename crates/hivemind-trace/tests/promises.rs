//! What the protocol promises is read from traces: a right pair of logs passes, and one log for each promise that is
//! broken is refused, with the line.

#![forbid(unsafe_code)]

use hivemind_trace::{Located, Rule, check_clocks, check_promises, read, shiviz};

/// Drone 0 takes a lock and lets it go, drone 1 asks for it and gets it, both meet.
const LOGS: [&str; 2] = [
    r#"d0 {"d0":1}
waits acquire lock=5 ticket=0 thread=1
d0 {"d0":2}
resumes acquire lock=5 result=done ticket=0 thread=1
d0 {"d0":3, "d1":2}
gets LockRequest from=d1 no=1 lock=5 bytes=20
d0 {"d0":4, "d1":2}
releases lock=5 thread=1
d0 {"d0":5, "d1":2}
sends LockGrant to=d1 no=1 lock=5 bytes=30
d0 {"d0":6, "d1":2}
waits barrier meeting=1 ticket=1 thread=1
d0 {"d0":7, "d1":6}
gets Arrive from=d1 no=2 bytes=9
d0 {"d0":8, "d1":6}
sends Depart to=d1 no=2 bytes=8
d0 {"d0":9, "d1":6}
resumes barrier meeting=1 result=done ticket=1 thread=1
d0 {"d0":10, "d1":6}
ends left_out=0
"#,
    r#"d1 {"d1":1}
waits acquire lock=5 ticket=0 thread=1
d1 {"d1":2}
sends LockRequest to=d0 no=1 lock=5 bytes=20
d1 {"d0":5, "d1":3}
gets LockGrant from=d0 no=1 lock=5 bytes=30
d1 {"d0":5, "d1":4}
resumes acquire lock=5 result=done ticket=0 thread=1
d1 {"d0":5, "d1":5}
waits barrier meeting=1 ticket=1 thread=1
d1 {"d0":5, "d1":6}
sends Arrive to=d0 no=2 bytes=9
d1 {"d0":8, "d1":7}
gets Depart from=d0 no=2 bytes=8
d1 {"d0":8, "d1":8}
resumes barrier meeting=1 result=done ticket=1 thread=1
d1 {"d0":8, "d1":9}
ends left_out=0
"#,
];

fn logs(texts: [String; 2]) -> Vec<Vec<Located>> {
    let read = |text: String| {
        let reading = read(&(shiviz::head() + &text));
        assert_eq!(reading.breach, None);
        reading.events
    };
    texts.into_iter().map(read).collect()
}

/// The logs with one line of one of them changed.
fn with(log: usize, old: &str, new: &str) -> [String; 2] {
    let mut texts = LOGS.map(str::to_owned);
    assert_eq!(texts[log].matches(old).count(), 1, "{old}");
    texts[log] = texts[log].replace(old, new);
    texts
}

fn check(logs: &[Vec<Located>]) -> Result<(), (usize, Rule, usize)> {
    let logs: Vec<&[Located]> = logs.iter().map(Vec::as_slice).collect();
    check_clocks(&logs).unwrap();
    check_promises(&logs).map_err(|(log, breach)| (log, breach.rule, breach.line))
}

#[test]
fn kept_promises_pass() {
    assert_eq!(check(&logs(LOGS.map(str::to_owned))), Ok(()));
}

#[test]
fn who_sleeps_under_a_lock_lets_it_go_and_has_it_when_it_wakes() {
    let (released, sleeps) = (
        "releases lock=5 thread=1",
        "waits sleep lock=5 ticket=7 thread=2",
    );
    assert_eq!(check(&logs(with(0, released, sleeps))), Ok(()));
    let mut texts = with(0, released, sleeps);
    let wakes = "resumes sleep lock=5 result=done ticket=7 thread=2";
    texts[0] = texts[0].replace("gets Arrive from=d1 no=2 bytes=9", wakes);
    let found = check(&logs(texts)).unwrap_err();
    assert_eq!((found.1, found.2), (Rule::Locks, 15), "{found:?}");
}

#[test]
fn each_broken_promise_is_found_at_its_line() {
    for (log, old, new, found) in [
        (
            1,
            "sends Arrive",
            "drops pages=1 Arrive",
            (0, Rule::Sent, 15),
        ),
        (
            0,
            "gets Arrive from=d1 no=2",
            "gets Arrive from=d1 no=3",
            (0, Rule::Order, 15),
        ),
        (
            1,
            "sends Arrive to=d0 no=2",
            "sends Arrive to=d0 no=1",
            (1, Rule::Order, 13),
        ),
        (1, "gets LockGrant", "gets PageReply", (1, Rule::Order, 7)),
        (
            1,
            "gets Depart from=d0 no=2 bytes=8",
            "gets Depart from=d0 no=2 bytes=7",
            (1, Rule::Order, 15),
        ),
        (1, "resumes acquire", "resumes barrier", (1, Rule::Waits, 9)),
        (
            1,
            "waits barrier meeting=1 ticket=1",
            "waits barrier meeting=1 ticket=2",
            (1, Rule::Waits, 17),
        ),
        (
            0,
            "resumes acquire lock=5 result=done ticket=0 thread=1",
            "drops pages=1",
            (0, Rule::Waits, 13),
        ),
        (
            1,
            "waits barrier meeting=1",
            "waits barrier meeting=2",
            (0, Rule::Meetings, 19),
        ),
        (
            0,
            "releases lock=5 thread=1",
            "drops pages=1",
            (1, Rule::Locks, 9),
        ),
    ] {
        assert_eq!(
            check(&logs(with(log, old, new))),
            Err(found),
            "{old} → {new}"
        );
    }
}

#[test]
fn a_message_whose_clock_did_not_come_is_found() {
    let mut texts = LOGS.map(str::to_owned);
    for (old, new) in [(r#""d0":5, "#, ""), (r#""d0":8, "#, "")] {
        texts[1] = texts[1].replace(old, new);
    }
    texts[0] = texts[0].replace(r#", "d1":6"#, r#", "d1":5"#);
    assert_eq!(check(&logs(texts)), Err((0, Rule::Sent, 15)));
}

#[test]
fn who_was_killed_may_have_done_more_than_its_log_says() {
    let mut texts = LOGS.map(str::to_owned);
    let cut = texts[1].find("d1 {\"d0\":5, \"d1\":5}").unwrap();
    texts[1].truncate(cut);
    texts[0] = texts[0].replace(r#", "d1":6"#, r#", "d1":4"#);
    assert_eq!(check(&logs(texts)), Ok(()));
}
