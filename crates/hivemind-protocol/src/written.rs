//! What an epoch wrote: runs of pages that the same intervals wrote, in ascending order. Programs mostly write whole arrays, each drone
//! its part: then there are a handful of runs where there are thousands of pages.
//!
//! What becomes of the pages at the epoch's end is in `epoch`.

use crate::{IntervalId, PageId, PageRun};
use alloc::vec::Vec;

/// Takes the pages of all intervals apart into runs.
pub(crate) struct Written {
    /// What is yet to come, the first last: a run of pages, and who wrote it.
    to_come: Vec<(PageRun, IntervalId)>,
    /// Who wrote the page at `next`, ascending, and where their runs end.
    writers: Vec<(IntervalId, PageId)>,
    next: PageId,
    /// The writers of the run that was given last.
    ids: Vec<IntervalId>,
}

impl Written {
    /// Of these runs, of which those of one interval do not overlap.
    pub(crate) fn new(runs: impl IntoIterator<Item = (PageRun, IntervalId)>) -> Self {
        let mut to_come: Vec<_> = runs.into_iter().collect();
        to_come.sort_unstable_by_key(|(run, id)| core::cmp::Reverse((run.first, *id)));
        Self {
            to_come,
            writers: Vec::new(),
            next: PageId(0),
            ids: Vec::new(),
        }
    }

    /// The next run, and who wrote it: ascending, one at least.
    pub(crate) fn next(&mut self) -> Option<(PageRun, &[IntervalId])> {
        if self.writers.is_empty() {
            self.next = self.to_come.last()?.0.first;
        }
        while let Some((run, id)) = self.to_come.pop_if(|(run, _)| run.first <= self.next) {
            self.writers.push((id, run.end()));
        }
        // Two ascending parts, which takes a step for each.
        self.writers.sort();
        let ends = self.writers.iter().map(|(_, end)| *end);
        let begins = self.to_come.last().map(|(run, _)| run.first);
        let end = ends.chain(begins).min()?;
        let run = PageRun {
            first: self.next,
            count: end.0 - self.next.0,
        };
        self.ids.clear();
        self.ids.extend(self.writers.iter().map(|(id, _)| *id));
        self.writers.retain(|(_, last)| *last > end);
        self.next = end;
        Some((run, &self.ids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DroneId, IntervalIndex};
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    fn id(creator: u32, index: u32) -> IntervalId {
        IntervalId {
            creator: DroneId(creator),
            index: IntervalIndex(index),
        }
    }

    fn run(first: u64, count: u64) -> PageRun {
        PageRun {
            first: PageId(first),
            count,
        }
    }

    fn all(runs: &[(PageRun, IntervalId)]) -> Vec<(PageRun, Vec<IntervalId>)> {
        let mut written = Written::new(runs.iter().copied());
        let mut all = Vec::new();
        while let Some((run, ids)) = written.next() {
            all.push((run, ids.to_vec()));
        }
        all
    }

    #[test]
    fn pages_that_the_same_intervals_wrote_lie_in_one_run() {
        let (one, other) = (id(0, 1), id(1, 1));
        let runs = [(run(4, 4), other), (run(0, 6), one), (run(9, 1), one)];
        let expected = [
            (run(0, 4), [one].to_vec()),
            (run(4, 2), [one, other].to_vec()),
            (run(6, 2), [other].to_vec()),
            (run(9, 1), [one].to_vec()),
        ];
        assert_eq!(all(&runs), expected);
        assert_eq!(all(&[]), []);
    }

    proptest! {
        #[test]
        fn each_page_comes_once_with_all_who_wrote_it(
            pages in proptest::collection::btree_map(0_u32..6, proptest::collection::btree_set(0_u64..40, 0..30), 0..6)
        ) {
            let mut expected: BTreeMap<PageId, Vec<IntervalId>> = BTreeMap::new();
            let mut runs = Vec::new();
            for (number, pages) in pages {
                let id = id(number % 3, number);
                for page in &pages {
                    expected.entry(PageId(*page)).or_default().push(id);
                }
                // Runs of one interval may touch each other.
                let joined = PageRun::join(pages.into_iter().map(PageId));
                runs.extend(joined.into_iter().flat_map(|run| run.split(5)).map(|run| (run, id)));
            }
            expected.values_mut().for_each(|ids| ids.sort_unstable());
            let came = all(&runs);
            prop_assert!(came.is_sorted_by(|one, next| one.0.end() <= next.0.first));
            let pages = came.into_iter().flat_map(|(run, ids)| run.pages().map(move |page| (page, ids.clone())));
            prop_assert!(pages.eq(expected));
        }
    }
}
