//! The same seed is the same run, to the last message.

use hivemind_sim::{Plan, check, replay};

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
fn a_record_changes_nothing() {
    for seed in 1..=10 {
        let plan = Plan::draw(seed);
        let bare = check(&plan).unwrap_or_else(|failed| panic!("{failed}"));
        let recorded = replay(&plan, 100).unwrap_or_else(|failed| panic!("{failed}"));
        assert_eq!(bare, recorded, "seed {seed}");
    }
}
