//! What all drones do with the pages of a block that they allocate together and that somebody had before: they are as at the
//! start again, zeros that nobody wrote. Nobody stores zeros there, and nobody fetches what is of no use any more.
//!
//! All come to the same answer, as every departure says of the same block, and what was written there all know of by then. Only a
//! block of whole pages is made anew; it has no page in common with another. How blocks are kept lives in `heap`, what is done when
//! one is freed in `freed`.

use crate::core::Core;
use crate::message::Met;
use crate::mutant::{Mutant, mutant};
use crate::page::{CopySet, Page};
use crate::{Access, MeetingKind, Memory, PAGE_SIZE, PageId, PageRun};
use alloc::vec::Vec;

/// The most that a home clears where it is, 32 MiB: what the program touches next is likely to be in memory then. More than that is
/// given back to the system, as C libraries do with blocks of this size.
const CLEARED_PAGES_MOST: u64 = 8 << 10;

impl<M: Memory> Core<M> {
    /// The pages of the block that a meeting allocates, if they are to be made anew.
    pub(crate) fn taken_anew(&self, met: Option<&Met>) -> Option<PageRun> {
        let kind = self.calls.meeting()?.kind;
        let (MeetingKind::Allocate { .. }, Some(Met::Together { block, .. })) = (kind, met) else {
            return None;
        };
        let block = (*block)?;
        let whole = [block.address.0, block.bytes]
            .iter()
            .all(|bytes| bytes.is_multiple_of(PAGE_SIZE as u64));
        (whole && !block.fresh).then(|| PageRun {
            first: PageId::of(block.address),
            count: block.bytes / PAGE_SIZE as u64,
        })
    }

    /// The epoch is over, and nobody has any use for what is in these pages.
    pub(crate) fn make_anew(&mut self, pages: PageRun) {
        let touched = self.pages.touched_in(pages);
        let written = |page: &PageId| self.pages.get_mut(*page).copies != CopySet::Everyone;
        let written: Vec<PageId> = touched.into_iter().filter(written).collect();
        let homes = |page: &PageId| self.pages.get_mut(*page).home == self.me;
        let (at_home, elsewhere): (Vec<PageId>, Vec<PageId>) =
            written.iter().copied().partition(homes);
        let valid = |page: &PageId| self.pages.get_mut(*page).access != Access::Invalid;
        let valid: Vec<PageId> = written.iter().copied().filter(valid).collect();
        self.invalidate(valid);
        for page in written {
            self.fetches.forget_arrived(page, &mut self.spare);
            // What is still on its way home is not awaited any more.
            if !mutant(Mutant::AnewAwaitsFlush) {
                self.epoch.homecomings.remove(page);
            }
            let entry = self.pages.get_mut(page);
            *entry = Page::untouched(entry.home);
        }
        if mutant(Mutant::AnewNotCleared) {
            return;
        }
        for run in PageRun::join(at_home) {
            self.memory.clear(run, run.count <= CLEARED_PAGES_MOST);
        }
        for run in PageRun::join(elsewhere) {
            self.memory.clear(run, false);
        }
    }
}
