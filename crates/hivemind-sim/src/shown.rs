//! What the examples in this crate's documents share, so that each shows only what it is about.

/// Hidden lines: `plan`, whose program races, as [`Failed`](crate::Failed) shows whole.
macro_rules! racing {
    () => {
        "# let plan = (1..).map(Plan::draw).find(|plan| plan.drones() == 2 && plan.kill.is_none());
# let mut plan = plan.expect(\"there are such plans\");
# let at = plan.program.layout.cells[0].start;
# for work in &mut plan.program.phases[0].work {
#     let store = Touch::Store { at, content: vec![1] };
#     work.main.push(Item::Section(vec![Deed::Touch(store)])); // both store to one byte
# }"
    };
}
