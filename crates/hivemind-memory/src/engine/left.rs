//! Pages that are `ReadOnly` and were not protected again when their stores were found, since they are likely to be opened for stores next:
//! then there is nothing to do, where all others are mapped anew.

use hivemind_protocol::{PageId, PageRun};

/// Runs of pages, ascending and apart.
#[derive(Default)]
pub(super) struct Left(Vec<PageRun>);

impl Left {
    /// These and no others; ascending.
    pub(super) fn set(&mut self, pages: impl IntoIterator<Item = PageId>) {
        self.0 = PageRun::join(pages);
    }

    /// The parts of the run that are not among them.
    pub(super) fn others(&self, run: PageRun) -> Vec<PageRun> {
        let from = self.0.partition_point(|left| left.end() <= run.first);
        let mut others = Vec::new();
        let mut next = run.first;
        for left in self.0[from..]
            .iter()
            .take_while(|left| left.first < run.end())
        {
            push(&mut others, next, left.first);
            next = left.end();
        }
        push(&mut others, next, run.end());
        others
    }
}

fn push(runs: &mut Vec<PageRun>, first: PageId, end: PageId) {
    if first < end {
        let count = end.0 - first.0;
        runs.push(PageRun { first, count });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, count: u64) -> PageRun {
        let first = PageId(first);
        PageRun { first, count }
    }

    fn left() -> Left {
        let mut left = Left::default();
        left.set([2, 3, 6, 9, 10, 11].map(PageId));
        left
    }

    #[test]
    fn the_others_of_a_run_are_what_lies_between() {
        let left = left();
        assert_eq!(left.others(run(0, 12)), [run(0, 2), run(4, 2), run(7, 2)]);
        assert_eq!(left.others(run(3, 3)), [run(4, 2)]);
        assert_eq!(left.others(run(9, 3)), []);
        assert_eq!(left.others(run(20, 5)), [run(20, 5)]);
    }
}
