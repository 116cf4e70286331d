//! Prefetches: a program says which pages it will touch, and they are fetched while it does something else.
//!
//! How one page is fetched lives in `fault`; what is fetched without being asked for, in `ahead`. A page that has come is
//! opened when it is touched, with its neighbours that came with it: once on credit, and from then on because the program names them
//! again. Then they are sent unasked too (`push`), like pages that are touched again.

use crate::core::Core;
use crate::mutant::{Mutant, mutant};
use crate::{Access, Memory, PageId, PageRun};

/// How many pages one prefetch begins to fetch: 4 MiB. All are asked for at once, and their homes keep what their links
/// do not take, so this bounds what one call can pile up there.
///
/// ```
/// use hivemind_protocol::{PAGE_SIZE, PAGES_A_PREFETCH_MOST};
/// assert_eq!(PAGES_A_PREFETCH_MOST * PAGE_SIZE as u64, 4 << 20);
/// ```
pub const PAGES_A_PREFETCH_MOST: u64 = 1024;

impl<M: Memory> Core<M> {
    /// The program will touch these pages. What is not of the region is left out. Where the epoch is about to end, fetches wait
    /// for the next, as faults do.
    pub(crate) fn prefetch(&mut self, wanted: PageRun) {
        let end = wanted.end().0.min(self.pages.count());
        if self.epoch.holds_faults() && !mutant(Mutant::PrefetchAfterArrival) {
            return self.epoch.held_prefetches.push(wanted);
        }
        let mut left = PAGES_A_PREFETCH_MOST;
        for page in (wanted.first.0..end).map(PageId) {
            if left == 0 {
                return;
            }
            if self.is_to_fetch(page) {
                left -= 1;
                self.stats.pages_prefetched += 1;
                let entry = self.pages.get_mut(page);
                entry.ahead = entry.home != self.me;
                entry.trust.hear_of_a_touch();
                self.fetch_for_itself(page);
            }
        }
    }

    /// Whether a touch of the page would have to wait for others, who were not asked yet.
    fn is_to_fetch(&mut self, page: PageId) -> bool {
        let under_way = self.fetches.has(page) || self.epoch.is_coming_home(page);
        let entry = self.pages.get_mut(page);
        let lacks = !entry.based || entry.lacking().next().is_some();
        !under_way && entry.access == Access::Invalid && lacks
    }
}
