//! The same seed is the same run, to the last message.

use hivemind_sim::{Plan, Show, Wanted, check, replay};

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..=40 {
        let hashes: Vec<u64> = (0..5)
            .map(|_| {
                check(&Plan::draw(seed))
                    .unwrap_or_else(|failed| panic!("{failed}"))
                    .hash
            })
            .collect();
        assert!(
            hashes.windows(2).all(|two| two[0] == two[1]),
            "seed {seed}: {hashes:x?}"
        );
    }
}

#[test]
fn another_seed_gives_another_trace() {
    let hash = |seed| {
        check(&Plan::draw(seed))
            .unwrap_or_else(|failed| panic!("{failed}"))
            .hash
    };
    assert_ne!(hash(1), hash(2));
}

#[test]
fn a_small_seed_gives_the_same_trace_a_thousand_times_on_any_thread() {
    let hash = |plan: &Plan| check(plan).unwrap_or_else(|failed| panic!("{failed}")).hash;
    // Drawn hostile or not, small enough to run often.
    let small = |seed: &u64| check(&Plan::draw(*seed)).is_ok_and(|report| report.events < 60);
    let seed = (1..)
        .find(small)
        .expect("there are small worlds without an end");
    for plan in [Plan::draw(seed), Plan::draw_hostile(seed)] {
        let wanted = hash(&plan);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let plan = plan.clone();
                std::thread::spawn(move || (0..250).all(|_| hash(&plan) == wanted))
            })
            .collect();
        for thread in threads {
            assert!(
                thread.join().expect("no thread panics"),
                "seed {seed} differs from itself"
            );
        }
    }
}

#[test]
fn hostile_worlds_give_the_same_trace_too() {
    for seed in 1..=40 {
        let hash = || {
            let report = check(&Plan::draw_hostile(seed));
            report.unwrap_or_else(|failed| panic!("{failed}")).hash
        };
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}

#[test]
fn a_record_changes_nothing() {
    let everything = Show {
        lines: usize::MAX,
        wanted: Wanted {
            states: true,
            ..Wanted::default()
        },
    };
    for seed in 1..=10 {
        for plan in [Plan::draw(seed), Plan::draw_hostile(seed)] {
            let bare = check(&plan).unwrap_or_else(|failed| panic!("{failed}"));
            let recorded = replay(&plan, &everything).unwrap_or_else(|failed| panic!("{failed}"));
            assert_eq!(bare, recorded.report, "seed {seed}");
        }
    }
}
