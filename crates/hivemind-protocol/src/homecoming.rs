//! Diffs on their way to a page's home: sent by its writers at the end of an epoch, awaited and put in order at the home,
//! and filed there while the program sees the page.
//!
//! Which pages come home, and where that is, is decided in `epoch`.

use crate::core::{Core, misbehaviour};
use crate::epoch::Epoch;
use crate::message::PAGES_A_FLUSH_MOST;
use crate::mutant::{Mutant, mutant};
use crate::note::Note;
use crate::{
    Access, Diff, DroneId, EpochId, IntervalId, IntervalIndex, Kernels, Memory, Message,
    Misbehaviour, PageBytes, PageId,
};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// A page whose home this is and whose writers' diffs are under way, or are here but must not change the
/// page under the running program.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub(crate) struct Homecoming {
    /// The intervals whose writes are not here, with their weights.
    expected: BTreeMap<IntervalId, u64>,
    /// The writers whose flush has not come.
    awaiting: BTreeSet<DroneId>,
    /// What has come of this epoch's end.
    incoming: Vec<(u64, IntervalId, Diff)>,
    /// What waits for the program's next acquire, in the order in which it applies.
    filed: Vec<Diff>,
    /// Who asked for the page meanwhile.
    requests: Vec<DroneId>,
}

/// How many diffs of one page may be filed before they are merged: they bound what a drone that computes
/// for hours must keep to little more than a page a page.
const FILED_MOST: usize = 4;

/// Pages and their diffs, on their way home.
pub(crate) type Flushed = Vec<(PageId, Vec<(IntervalIndex, Diff)>)>;

impl Epoch {
    /// The writes of these intervals, given with their weights, are on their way home.
    pub(crate) fn await_flushes(&mut self, page: PageId, expected: BTreeMap<IntervalId, u64>) {
        let coming = self.homecomings.get_or_default(page);
        coming.awaiting = expected.keys().map(|id| id.creator).collect();
        coming.expected = expected;
    }

    /// Whether writers' diffs of this page are still under way to here.
    pub(crate) fn awaits_flush(&self, page: PageId) -> bool {
        self.homecomings
            .get(page)
            .is_some_and(|coming| !coming.awaiting.is_empty())
    }

    /// Whether any page's are.
    pub(crate) fn awaits_any_flush(&self) -> bool {
        let mut coming = self.homecomings.values();
        coming.any(|coming| !coming.awaiting.is_empty())
    }

    /// Whether writers' diffs of this page are under way or not yet in it.
    pub(crate) fn is_coming_home(&self, page: PageId) -> bool {
        self.homecomings.contains(page)
    }

    /// Remembers who asks for a page that is on its way home.
    pub(crate) fn wait_for_flush(&mut self, page: PageId, from: DroneId) {
        self.homecomings.get_or_default(page).requests.push(from);
    }

    /// Adds to a copy of the page what the page itself must not show yet.
    pub(crate) fn overlay(&self, kernels: &Kernels, page: PageId, bytes: &mut PageBytes) {
        for diff in self
            .homecomings
            .get(page)
            .iter()
            .flat_map(|coming| &coming.filed)
        {
            diff.apply(kernels, bytes);
        }
    }

    /// Bytes of diffs that wait for the program's next acquire.
    pub(crate) fn filed_bytes(&self) -> u64 {
        let filed = self.homecomings.values().flat_map(|coming| &coming.filed);
        filed.map(|diff| diff.size() as u64).sum()
    }
}

impl<M: Memory> Core<M> {
    /// Brings diffs home, in pieces.
    pub(crate) fn send_flush(&mut self, home: DroneId, epoch: EpochId, pages: Flushed) {
        let mut rest = pages.into_iter();
        while rest.len() > 0 {
            let pages: Flushed = rest.by_ref().take(PAGES_A_FLUSH_MOST).collect();
            let more = rest.len() > 0;
            self.send(home, Message::Flush { epoch, pages, more });
        }
    }

    /// A writer brings its diffs of pages that live here.
    pub(crate) fn flush(
        &mut self,
        from: DroneId,
        epoch: EpochId,
        pages: Flushed,
        more: bool,
    ) -> Result<(), Misbehaviour> {
        // Nobody arrives while a flush is awaited, so one of an older epoch was not needed; and it must not
        // be taken for the one of this epoch that is.
        if epoch.0 + 1 < self.epoch.id.0 && !mutant(Mutant::LateFlushTaken) {
            return Ok(());
        }
        self.check_flush(from, &pages, more)?;
        for (page, diffs) in pages {
            // A writer cannot know that its diffs were applied here within the epoch already.
            let Some(coming) = self.epoch.homecomings.get_mut(page) else {
                continue;
            };
            if !coming.awaiting.remove(&from) {
                continue;
            }
            let first = IntervalId {
                creator: from,
                index: IntervalIndex(0),
            };
            let Some((&first, _)) = coming.expected.range(first..).next() else {
                continue;
            };
            for (index, diff) in diffs.into_iter().filter(|(index, _)| *index >= first.index) {
                let id = IntervalId {
                    creator: from,
                    index,
                };
                // What the writer stored after it arrived comes after all intervals.
                let weight = coming.expected.get(&id).copied().unwrap_or(u64::MAX);
                coming.incoming.push((weight, id, diff));
            }
            if coming.awaiting.is_empty() {
                self.settle(page);
            }
        }
        self.try_arrive();
        Ok(())
    }

    /// A flush brings, with its last piece, all the pages of this home that its writer wrote: who is kept waiting for one
    /// would wait for ever.
    fn check_flush(&self, from: DroneId, pages: &Flushed, more: bool) -> Result<(), Misbehaviour> {
        for (page, _) in pages {
            self.check_page(from, *page)?;
        }
        if more {
            return Ok(());
        }
        let brought: BTreeSet<PageId> = pages.iter().map(|(page, _)| *page).collect();
        let mut coming = self.epoch.homecomings.iter();
        let lacks = coming
            .find(|(page, coming)| coming.awaiting.contains(&from) && !brought.contains(page));
        match lacks {
            None => Ok(()),
            Some((page, _)) => {
                let what = alloc::format!("it brings its diffs home without those of {page}");
                Err(misbehaviour(from, &what))
            }
        }
    }

    /// All diffs of the page are here.
    fn settle(&mut self, page: PageId) {
        let Some(coming) = self.epoch.homecomings.get_mut(page) else {
            return;
        };
        if !mutant(Mutant::FlushesUnordered) {
            coming
                .incoming
                .sort_by_key(|(weight, id, _)| (*weight, *id));
        }
        coming
            .filed
            .extend(coming.incoming.drain(..).map(|(_, _, diff)| diff));
        coming.expected.clear();
        if coming.filed.len() > FILED_MOST {
            let kernels = self.memory.kernels();
            let merged = coming
                .filed
                .iter()
                .skip(1)
                .fold(coming.filed[0].clone(), |one, next| one.then(kernels, next));
            coming.filed = alloc::vec![merged];
        }
        let requests = core::mem::take(&mut coming.requests);
        self.apply_arrived(page);
        for from in requests {
            self.serve(from, &[page]);
        }
        self.advance_fetch(page);
    }

    /// Puts what came home into the page, unless the program sees it.
    pub(crate) fn apply_arrived(&mut self, page: PageId) {
        if self.epoch.awaits_flush(page) || self.pages.get_mut(page).access != Access::Invalid {
            return;
        }
        let Some(coming) = self.epoch.homecomings.remove(page) else {
            return;
        };
        for diff in coming.filed {
            diff.lay(&mut self.memory, page);
            self.stats.diffs_applied += 1;
            self.notes.add(|| Note::DiffApplied {
                page,
                interval: None,
                bytes: diff.bytes().len(),
            });
        }
    }
}
