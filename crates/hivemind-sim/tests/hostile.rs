//! Networks that break their promise and drones that lie are found out, or do no harm: nobody sees a wrong value in
//! silence, nobody innocent is blamed, no correct drone panics, and every wait ends.

use hivemind_sim::{Hostility, Plan, Total, check};

fn run(seeds: impl IntoIterator<Item = u64>, kind: impl Fn(Hostility) -> bool) -> Total {
    let mut total = Total::default();
    for seed in seeds {
        let plan = Plan::draw_hostile(seed);
        if plan.world.hostility.is_some_and(&kind) {
            match check(&plan) {
                Ok(report) => total.add(&report),
                Err(failed) => panic!("{failed}"),
            }
        }
    }
    println!("{total}");
    total
}

#[test]
fn what_a_network_does_to_its_frames_is_found_out_or_harmless() {
    let total = run(1..=500, |kind| matches!(kind, Hostility::Network(_)));
    let done = total.sum().hostilities;
    assert!(done.tampered > 50 && done.detected > 50, "{total}");
    assert_eq!((done.lies, done.believed), (0, 0), "{total}");
}

#[test]
fn a_liars_lies_are_found_out_or_harmless() {
    let total = run(1..=500, |kind| matches!(kind, Hostility::Liar(..)));
    let done = total.sum().hostilities;
    assert!(done.lies > 50 && done.detected > 50, "{total}");
    assert_eq!((done.tampered, done.believed), (0, 0), "{total}");
}

#[test]
fn a_madmans_lies_may_be_believed_but_break_no_correct_drone() {
    let total = run(1..=800, |kind| matches!(kind, Hostility::Madman(..)));
    let done = total.sum().hostilities;
    assert!(done.lies > 50 && done.detected > 30, "{total}");
}

/// A page's flush kept back, a page labelled without its writer's own writes or for another hive: once waits without
/// an end.
#[test]
fn seeds_that_found_something_once_find_nothing_now() {
    run([17_587, 17_691, 17_853, 18_610, 19_329], |_| true);
}
