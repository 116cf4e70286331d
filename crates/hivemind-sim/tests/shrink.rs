//! A plan that finds something is made smaller until only what matters is left, and says how to replay it.

use hivemind_sim::{Deed, Item, Plan, Touch, check, shrink};

/// A plan that is made to race: two drones store to one byte in the same phase, among much else.
fn racing() -> Plan {
    let drawn = (1..).map(Plan::draw);
    let mut plan = drawn
        .into_iter()
        .find(|plan| plan.drones() == 3 && plan.kill.is_none() && plan.program.phases.len() > 3)
        .expect("there are such plans");
    for drone in 0..2 {
        let store = Touch::Store {
            at: plan.program.layout.cells[0].start,
            content: vec![1],
        };
        let work = &mut plan.program.phases[2].work[drone];
        work.main.push(Item::Section(vec![Deed::Touch(store)]));
    }
    plan
}

#[test]
fn what_does_not_matter_is_dropped() {
    let plan = racing();
    let failed = check(&plan).expect_err("the plan races");
    assert_eq!(failed.finding.rule, "the simulator's program races");
    assert!(
        failed
            .to_string()
            .ends_with(&format!("--seed {}", plan.seed))
    );
    let shrunk = shrink(&plan, failed, 2_000);
    assert_eq!(shrunk.failed.finding.rule, "the simulator's program races");
    let work = shrunk
        .plan
        .program
        .phases
        .iter()
        .flat_map(|phase| &phase.work);
    let items: usize = work.map(|work| work.main.len() + work.helper.len()).sum();
    assert_eq!(items, 2, "{:?}", shrunk.plan.program.phases);
}
