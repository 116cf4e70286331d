//! A run can be looked at: its log for ShiViz keeps every rule of that form, and its steps show the states that change.

use hivemind_protocol::{DroneId, LockId, PageId};
use hivemind_sim::{Plan, Replayed, Show, Wanted, check as check_plan, replay};
use hivemind_trace::{check, shiviz};

fn record(plan: &Plan, wanted: Wanted) -> Replayed {
    let show = Show {
        lines: usize::MAX,
        wanted,
    };
    replay(plan, &show).unwrap_or_else(|failed| panic!("{failed}"))
}

fn plans() -> impl Iterator<Item = Plan> {
    let plans = (1..=30).flat_map(|seed| [Plan::draw(seed), Plan::draw_hostile(seed)]);
    plans.filter(|plan| plan.drones() > 1)
}

#[test]
fn logs_of_many_seeds_keep_every_rule_of_shiviz() {
    let mut checked = 0;
    for plan in plans() {
        let entries = record(&plan, Wanted::default()).entries;
        if entries.len() <= shiviz::EVENTS_MOST {
            let log = shiviz::write(&entries);
            let summary = check(&log).unwrap_or_else(|breach| panic!("{}: {breach}", plan.seed));
            assert_eq!(summary.entries.len(), entries.len());
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} logs were short enough");
}

#[test]
fn windows_of_logs_keep_every_rule_too() {
    for plan in plans() {
        let windows = [
            Wanted {
                steps: 20..=200,
                ..Wanted::default()
            },
            Wanted {
                steps: 0..=2_000,
                drone: Some(DroneId(1)),
                ..Wanted::default()
            },
            Wanted {
                steps: 0..=2_000,
                page: Some(PageId(0)),
                ..Wanted::default()
            },
        ];
        for wanted in windows {
            let log = shiviz::write(&record(&plan, wanted).entries);
            if let Err(breach) = check(&log) {
                panic!("{}: {breach}", plan.seed);
            }
        }
    }
}

#[test]
fn a_message_is_received_after_it_was_sent() {
    let plan = plans().next().expect("there are plans");
    let entries = record(&plan, Wanted::default()).entries;
    let received = entries
        .iter()
        .filter(|entry| entry.text.starts_with("gets from drone "));
    let mut count = 0;
    for entry in received {
        let from = entry.text["gets from drone ".len()..].split(':').next();
        let from: u32 = from
            .and_then(|from| from.parse().ok())
            .expect("a drone's number");
        assert!(entry.clock.get(from) > 0, "{}", entry.text);
        count += 1;
    }
    assert!(count > 10);
}

/// A world small enough to look at: what a page and a lock go through is there, line by line.
#[test]
fn steps_show_the_states_that_change() {
    let plan = plans().next().expect("there are plans");
    let all = Wanted {
        states: true,
        ..Wanted::default()
    };
    let lines = record(&plan, all.clone()).lines.join("\n");
    for wanted in [
        "access      Invalid → ReadOnly",
        "twin        no → yes",
        "epoch       0 open → 0 arrived",
        "knows       [] → [",
    ] {
        assert!(lines.contains(wanted), "no `{wanted}` in\n{lines}");
    }
}

#[test]
fn filters_show_only_what_was_asked_for() {
    for plan in plans().take(10) {
        let page = Wanted {
            page: Some(PageId(1)),
            states: true,
            ..Wanted::default()
        };
        for line in record(&plan, page).lines {
            let of_another = line.contains("| page ") && !line.contains("| page 1 ");
            assert!(!of_another && !line.contains("| lock "), "{line}");
        }
        let lock = Wanted {
            lock: Some(plan.program.layout.locks[0]),
            states: true,
            ..Wanted::default()
        };
        let LockId(number) = plan.program.layout.locks[0];
        for line in record(&plan, lock).lines {
            assert!(line.contains(&format!("lock {number}")), "{line}");
        }
        let drone = Wanted {
            drone: Some(DroneId(1)),
            steps: 10..=60,
            ..Wanted::default()
        };
        for line in record(&plan, drone).lines {
            let step: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
            assert!(
                (10..=60).contains(&step) && line.contains(" drone 1  "),
                "{line}"
            );
        }
    }
}

#[test]
fn what_cores_note_is_shown_and_decides_nothing() {
    for plan in plans().take(10) {
        let unseen = check_plan(&plan).unwrap_or_else(|failed| panic!("{failed}"));
        let seen = record(&plan, Wanted::default());
        assert_eq!(seen.report.hash, unseen.hash, "{}", plan.seed);
        for note in ["TwinMade", "IntervalEnded", "EpochEnded"] {
            let noted = seen.lines.iter().any(|line| line.contains(note));
            assert!(
                noted || seen.lines.len() < 200,
                "no {note} in {}",
                plan.seed
            );
        }
    }
}
