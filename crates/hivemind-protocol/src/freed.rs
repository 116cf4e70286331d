//! What all drones do with the pages of a block that they free together: copies are dropped, and homes watch no stores to them.
//! Nobody reads there before somebody has written anew, and what a drone merely holds would cost it a look at each interval's
//! end, and a twin's memory.
//!
//! All come to the same answer, as every departure says of the whole block; so no home takes a copy for dropped that is not. How blocks
//! are kept lives in `heap`. A block that one drone frees alone is not touched: the others do not hear of it.

use crate::core::Core;
use crate::message::Met;
use crate::mutant::{Mutant, mutant};
use crate::page::{CopySet, Page};
use crate::{Access, MeetingKind, Memory, PAGE_SIZE, PageId, PageRun};
use alloc::vec::Vec;

impl<M: Memory> Core<M> {
    /// The whole pages of the block that a meeting frees, if it does.
    pub(crate) fn freed(&self, met: Option<&Met>) -> Option<PageRun> {
        let kind = self.calls.meeting()?.kind;
        let (MeetingKind::Free(_), Some(Met::Together { block, .. })) = (kind, met) else {
            return None;
        };
        let block = (*block)?;
        let first = block.address.0.div_ceil(PAGE_SIZE as u64);
        let end = (block.address.0 + block.bytes) / PAGE_SIZE as u64;
        let count = end.checked_sub(first).filter(|count| *count > 0)?;
        Some(PageRun {
            first: PageId(first),
            count,
        })
    }

    /// The epoch is over, and so is what these pages were used for.
    pub(crate) fn forget_freed(&mut self, freed: PageRun) {
        let (mut dropped, mut alone) = (Vec::new(), Vec::new());
        for page in self.pages.touched_in(freed) {
            self.fetches.forget_arrived(page, &mut self.spare);
            let (me, comes) = (self.me, self.epoch.is_coming_home(page));
            let entry = self.pages.get_mut(page);
            let unwritten = entry.copies == CopySet::Everyone;
            if entry.home == me && !unwritten {
                entry.copies = CopySet::Nobody;
                if entry.access == Access::ReadOnly && !comes {
                    entry.access = Access::ReadWrite;
                    alone.push(page);
                }
            } else if !mutant(Mutant::FreedCopiesKept) {
                entry.based = unwritten;
                entry.history = None;
                if entry.access != Access::Invalid {
                    dropped.push(page);
                }
            }
            entry.forget_use();
        }
        self.invalidate(dropped);
        for run in PageRun::join(alone) {
            self.memory.set_access(run, Access::ReadWrite);
        }
    }
}

impl Page {
    /// What was learnt from how it was used says nothing any more.
    fn forget_use(&mut self) {
        let fresh = Self::untouched(self.home);
        self.ahead = fresh.ahead;
        self.unwanted = fresh.unwanted;
        self.trust = fresh.trust;
        self.readers = fresh.readers;
        self.rhythm = fresh.rhythm;
    }
}
