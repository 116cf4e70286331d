//! The checker takes right logs, and refuses one broken log for each of its rules; a window of a right log is right.

#![forbid(unsafe_code)]

use hivemind_trace::{Entry, Rule, TraceClock, check, cut, shiviz};

/// Three hosts send numbers around in a ring.
fn ring(rounds: u32) -> Vec<Entry> {
    let mut clocks = [TraceClock::new(), TraceClock::new(), TraceClock::new()];
    let mut entries = Vec::new();
    for round in 0..rounds {
        let (from, to) = (round % 3, (round + 1) % 3);
        for (host, text) in [
            (from, format!("sends {round}")),
            (to, format!("gets {round}\nand is glad")),
        ] {
            let sent = clocks[from as usize].clone();
            let clock = &mut clocks[host as usize];
            clock.merge(&sent);
            clock.tick(host);
            let clock = clock.clone();
            entries.push(Entry { host, clock, text });
        }
    }
    entries
}

#[test]
fn a_right_log_is_taken_with_all_its_events() {
    let log = shiviz::write(&ring(30));
    let summary = check(&log).unwrap();
    assert_eq!(summary.entries.len(), 60);
    assert_eq!(summary.events.values().sum::<u64>(), 60);
    assert_eq!(summary.entries[1].text, "gets 0 and is glad");
}

#[test]
fn each_rule_refuses_a_log_that_breaks_it() {
    let log = shiviz::write(&ring(4));
    let lines: Vec<&str> = log.lines().collect();
    let with = |at: usize, new: &str| {
        let mut lines = lines.clone();
        lines[at] = new;
        lines.join("\n")
    };
    let without = |at: usize| {
        let mut lines = lines.clone();
        lines.remove(at);
        lines.join("\n")
    };
    let long = shiviz::write(&ring(10_001));
    for (broken, rule, line) in [
        (with(0, r"(?<host>\S*) (?<clock>{.*})"), Rule::Parser, 1),
        (with(1, "x"), Rule::EmptySecond, 2),
        (without(1), Rule::EmptySecond, 2),
        (with(3, ""), Rule::TwoLines, 4),
        (without(3), Rule::TwoLines, 5),
        (lines[..lines.len() - 1].join("\n"), Rule::TwoLines, 17),
        (with(2, "d0 {\"d0\":one}"), Rule::Readable, 3),
        (with(2, "d0 {\"d0\":0}"), Rule::Readable, 3),
        (with(2, "drone 0 {\"d0\":1}"), Rule::Readable, 3),
        (with(4, "d1 {\"d0\":1}"), Rule::OwnTime, 5),
        (with(4, "d1 {\"d0\":1, \"d1\":2}"), Rule::OwnTime, 5),
        (with(4, "d1 {\"d0\":9, \"d1\":1}"), Rule::OthersTime, 5),
        (with(4, "d1 {\"d1\":1, \"d7\":1}"), Rule::OthersTime, 5),
        (with(6, "d1 {\"d1\":2}"), Rule::Causality, 7),
        (with(8, "d2 {\"d1\":2, \"d2\":1}"), Rule::Causality, 9),
        (long, Rule::Length, 40_003),
    ] {
        let breach = check(&broken).unwrap_err();
        assert_eq!((breach.rule, breach.line), (rule, line), "{breach}");
    }
}

#[test]
fn every_window_of_a_right_log_is_a_right_log() {
    let entries = ring(20);
    for first in 0..entries.len() {
        for last in first..entries.len() {
            let mut at = 0;
            let window = cut(&entries, |_| {
                at += 1;
                (first..=last).contains(&(at - 1))
            });
            assert_eq!(window.len(), last - first + 1);
            let log = shiviz::write(&window);
            check(&log).unwrap_or_else(|breach| panic!("{first}..{last}: {breach}\n{log}"));
        }
    }
    let without_one = cut(&entries, |entry| entry.host != 1);
    assert!(check(&shiviz::write(&without_one)).is_ok());
}

#[test]
fn an_empty_log_is_right() {
    assert_eq!(check(&shiviz::write(&[])).unwrap().entries, []);
}
