//! Short watched runs of pages that lie near each other: one look at all of them and at what lies between costs less than one at each.
//!
//! Deliberately elsewhere: the look itself (`uffd`).

use hivemind_protocol::{PageId, PageRun};

/// Over so many pages from one run to the next a look at all still costs a third of one at each: a system call takes 1.1 µs, and to walk
/// over an entry of the page table 9 ns, whatever it is (docs/decisions/0047-scattered-pages-are-looked-at-together.md).
const NEAR_PAGES: u64 = 32;

/// Longer ones are looked at for themselves: the longer a run, the likelier is a store to it, and then it would be walked over twice.
const SHORT_PAGES: u64 = 32;

/// Of fewer runs each is looked at for itself: those in which a look at all finds a store are looked at once more.
const RUNS_LEAST: usize = 3;

/// Runs, ascending and apart: one, or several short ones of which each lies near the next.
pub(super) struct Near<'a>(&'a [PageRun]);

impl<'a> Near<'a> {
    /// Divides runs, ascending and apart, into those that are looked at together.
    pub(super) fn of(runs: &'a [PageRun]) -> impl Iterator<Item = Self> {
        let short = |run: &PageRun| run.count <= SHORT_PAGES;
        let near = runs.chunk_by(move |one, next| {
            short(one) && short(next) && next.first.0 - one.end().0 <= NEAR_PAGES
        });
        near.flat_map(|near| {
            let at_once = if near.len() < RUNS_LEAST {
                1
            } else {
                near.len()
            };
            near.chunks(at_once).map(Self)
        })
    }

    /// The run, where it is one.
    pub(super) fn alone(&self) -> Option<PageRun> {
        match self.0 {
            [run] => Some(*run),
            _ => None,
        }
    }

    /// From the first page of the first to the last of the last.
    pub(super) fn span(&self) -> PageRun {
        let (first, last) = (self.0[0], self.0[self.0.len() - 1]);
        PageRun {
            first: first.first,
            count: last.end().0 - first.first.0,
        }
    }

    /// Those of these that a run reaches into, ascending.
    pub(super) fn reached_by(&self, run: PageRun) -> &'a [PageRun] {
        let from = self.0.partition_point(|near| near.end() <= run.first);
        let upto = self.0.partition_point(|near| near.first < run.end());
        &self.0[from..upto]
    }

    /// The parts of a run that lie in these, ascending.
    pub(super) fn within(&self, run: PageRun) -> impl Iterator<Item = PageRun> {
        self.reached_by(run).iter().map(move |near| {
            let first = PageId(near.first.0.max(run.first.0));
            let end = near.end().0.min(run.end().0);
            PageRun {
                first,
                count: end - first.0,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, count: u64) -> PageRun {
        let first = PageId(first);
        PageRun { first, count }
    }

    #[test]
    fn three_that_lie_near_each_other_are_looked_at_together_and_two_or_far_or_long_ones_are_not() {
        let far = 100 + NEAR_PAGES + 1;
        let runs = [
            run(0, 1),
            run(3, 5),
            run(8 + NEAR_PAGES, 2),
            run(98, 2),
            run(far, 1),
            run(far + 2, 1),
            run(far + 4, SHORT_PAGES + 1),
            run(far + 6 + SHORT_PAGES, 1),
        ];
        let spans: Vec<_> = Near::of(&runs)
            .map(|near| (near.span(), near.alone().is_some()))
            .collect();
        let together = run(0, 10 + NEAR_PAGES);
        assert_eq!(
            spans,
            [
                (together, false),
                (runs[3], true),
                (runs[4], true),
                (runs[5], true),
                (runs[6], true),
                (runs[7], true)
            ]
        );
    }

    #[test]
    fn what_lies_between_is_in_none_of_them() {
        let runs = [run(2, 3), run(7, 1), run(9, 4)];
        let near = Near(&runs);
        let within = |of: PageRun| near.within(of).collect::<Vec<_>>();
        assert_eq!(within(run(0, 20)), runs);
        assert_eq!(within(run(4, 6)), [run(4, 1), run(7, 1), run(9, 1)]);
        assert_eq!(within(run(5, 2)), []);
        assert_eq!(within(run(13, 9)), []);
        assert_eq!(within(run(10, 2)), [run(10, 2)]);
        assert_eq!(near.reached_by(run(3, 6)), &runs[..2]);
        assert_eq!(near.reached_by(run(5, 2)), []);
    }
}
