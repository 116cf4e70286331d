//! Pages that an epoch's end will open for stores, as far as can be seen when the program comes there: those that this
//! drone alone writes and nobody reads, and those to which the next store is due. Where stores are found by looking, to watch such a page again
//! when its interval ends, and to open it when the epoch does, takes a microsecond a page. So it is left as it is in between.
//!
//! A wrong guess costs a notice: a page that is left and not opened counts as written once more, as if the program had stored
//! to it again, which it may do at any time. The next epoch's end finds a reader there, and watches it.
//!
//! Deliberately elsewhere: which pages are opened (`epoch`, `rhythm`).

use crate::core::Core;
use crate::page::PageTable;
use crate::push::Pushes;
use crate::walk::Walks;
use crate::{DroneId, EpochId, Memory, PageId, PageRun};
use alloc::vec::Vec;

/// What is to be seen before an epoch ends.
struct Before<'a> {
    pages: &'a PageTable,
    walks: &'a Walks,
    pushes: &'a Pushes,
    me: DroneId,
    epoch: EpochId,
    /// Homes move to writers at its end.
    homes_move: bool,
}

impl Before<'_> {
    fn opens(&self, page: PageId) -> bool {
        let Some(entry) = self.pages.get(page) else {
            return false;
        };
        let others_wrote = || {
            entry
                .history
                .as_ref()
                .is_some_and(|history| !history.notices.is_empty())
        };
        // What was opened for stores that did not come is in no interval, and is watched from now on.
        if self.walks.may_be_unfilled(page) {
            return false;
        }
        let is_read = || entry.readers.may_come() || self.pushes.subscribers(page).next().is_some();
        match entry.home == self.me {
            true => entry.rhythm.is_due_next(self.epoch) || !is_read() && !others_wrote(),
            false => self.homes_move && !others_wrote(),
        }
    }
}

impl<M: Memory> Core<M> {
    /// What the interval wrote that ends with the epoch.
    pub(crate) fn take_written_before_end(&mut self, written: &mut Vec<PageRun>) {
        let before = Before {
            pages: &self.pages,
            walks: &self.walks,
            pushes: &self.pushes,
            me: self.me,
            epoch: self.epoch.id,
            homes_move: !self.calls.is_split(),
        };
        self.memory
            .take_written_leaving(written, &|page| before.opens(page));
    }
}
