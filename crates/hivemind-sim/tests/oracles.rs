//! The oracles of a whole run can fail: here are programs that never end, and a link that breaks
//! under programs that wait. Those of accesses, locks, meetings, the heap and the books are tried beside their code.

use hivemind_protocol::DroneId;
use hivemind_sim::{Deed, Item, Plan, check};

/// A world of two or three drones with two locks to cross and nothing else that goes wrong.
fn plan() -> Plan {
    let mut drawn = (1..).map(Plan::draw);
    let fits = |plan: &Plan| {
        let calm = plan.kill.is_none() && plan.cut.is_none() && plan.stops.is_empty();
        calm && (2..=3).contains(&plan.drones()) && plan.program.layout.locks.len() > 2
    };
    drawn.find(fits).expect("there are such plans")
}

#[test]
fn two_programs_that_wait_for_one_another_are_found() {
    let mut plan = plan();
    for (drone, (first, second)) in [(0, (1, 2)), (1, (2, 1))] {
        let deeds = vec![
            Deed::Lock(first),
            Deed::Compute(60_000_000),
            Deed::Lock(second),
            Deed::Unlock(second),
            Deed::Unlock(first),
        ];
        let work = &mut plan.program.phases[0].work[drone];
        work.main.insert(0, Item::Section(deeds));
    }
    let failed = check(&plan).expect_err("the programs wait for ever");
    assert_eq!(failed.finding.rule, "programs that never end");
    assert!(
        failed.standing.contains("Acquire(lock"),
        "{}",
        failed.standing
    );
}

#[test]
fn a_broken_link_ends_every_wait_at_both_its_ends() {
    let mut plan = plan();
    plan.cut = Some((50, DroneId(0), DroneId(1), 0));
    let report = check(&plan).unwrap_or_else(|failed| panic!("{failed}"));
    assert_eq!((report.faults.breaks, report.faults.kills), (1, 0));
}
