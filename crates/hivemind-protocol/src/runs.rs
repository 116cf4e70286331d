//! Runs of pages: how sets of pages travel and are stored. Sets that change live elsewhere.

use crate::PageId;
use alloc::vec::Vec;

/// `count` pages from `first` on.
///
/// ```
/// use hivemind_protocol::{PageId, PageRun};
/// let runs = PageRun::join([2, 3, 4, 9].map(PageId));
/// assert_eq!(runs, [PageRun { first: PageId(2), count: 3 }, PageRun::one(PageId(9))]);
/// assert_eq!(runs[0].end(), PageId(5));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct PageRun {
    /// The first page.
    pub first: PageId,
    /// How many pages; never 0.
    pub count: u64,
}

impl PageRun {
    /// The run of one page.
    ///
    /// ```
    /// use hivemind_protocol::{PageId, PageRun};
    /// assert_eq!(PageRun::one(PageId(4)).count, 1);
    /// ```
    pub fn one(page: PageId) -> Self {
        Self {
            first: page,
            count: 1,
        }
    }

    /// The page after the last.
    ///
    /// ```
    /// use hivemind_protocol::{PageId, PageRun};
    /// let run = PageRun { first: PageId(4), count: 3 };
    /// assert_eq!(run.end(), PageId(7));
    /// ```
    pub fn end(self) -> PageId {
        PageId(self.first.0 + self.count)
    }

    /// The pages, ascending.
    ///
    /// ```
    /// use hivemind_protocol::{PageId, PageRun};
    /// let run = PageRun { first: PageId(4), count: 3 };
    /// assert!(run.pages().eq([4, 5, 6].map(PageId)));
    /// ```
    pub fn pages(self) -> impl Iterator<Item = PageId> {
        (self.first.0..self.first.0 + self.count).map(PageId)
    }

    /// The run in pieces of at most `most` pages.
    ///
    /// ```
    /// use hivemind_protocol::{PageId, PageRun};
    /// let run = PageRun { first: PageId(4), count: 3 };
    /// assert!(run.split(2).map(|piece| piece.count).eq([2, 1]));
    /// ```
    pub fn split(self, most: u64) -> impl Iterator<Item = PageRun> {
        let starts = (self.first.0..self.end().0).step_by(most as usize);
        starts.map(move |first| PageRun {
            first: PageId(first),
            count: most.min(self.end().0 - first),
        })
    }

    /// Joins ascending pages into the fewest runs.
    ///
    /// ```
    /// use hivemind_protocol::{PageId, PageRun};
    /// assert_eq!(PageRun::join([1, 2, 5].map(PageId)).len(), 2);
    /// ```
    pub fn join(pages: impl IntoIterator<Item = PageId>) -> Vec<PageRun> {
        let mut runs: Vec<PageRun> = Vec::new();
        for page in pages {
            match runs.last_mut() {
                Some(last) if last.end() == page => last.count += 1,
                _ => runs.push(Self::one(page)),
            }
        }
        runs
    }
}
