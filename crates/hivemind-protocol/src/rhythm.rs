//! Pages that this drone stores to in a rhythm: in every epoch, every other one, every third. Where others read such a
//! page, its stores are watched, and its first store in an epoch takes a fault. It is opened as stored to when the epoch
//! begins in which the next store is due, with its neighbours in one call.
//!
//! A wrong guess tells others of a store that was none: they fetch the page again for nothing. It would confirm itself, so now
//! and then a page is left watched, to see. How fresh pages are opened for stores lives in `ahead`; which pages are watched at
//! all is decided in `epoch`.

use crate::core::Core;
use crate::mutant::{Mutant, mutant};
use crate::{Access, EpochId, Memory, PageId, PageRun};
use alloc::vec::Vec;

/// The longest rhythm that is followed, in epochs.
const PERIOD_MOST: u16 = 4;

/// How often in a row the same number of epochs must lie between two stores before the next is taken for granted.
const REPEATS_BEFORE: u8 = 2;

/// Of so many stores in a row one is waited for, not taken for granted.
const REPEATS_A_PROOF: u8 = 16;

/// When a page was stored to. Small, since every page has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub(crate) struct Rhythm {
    /// The low bits of the epoch's number.
    last: u16,
    /// How many epochs lay between the last two; 0 if it was long.
    period: u8,
    /// How often in a row it was so many.
    repeats: u8,
}

/// What is due when.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub(crate) struct Dues {
    /// By the epoch's number, modulo their count: no page is due in more than [`PERIOD_MOST`] epochs.
    pages: [Vec<PageId>; PERIOD_MOST as usize],
}

impl Rhythm {
    /// The page was stored to in this epoch; gives in how many epochs the next store is due, if that is certain enough.
    fn note(&mut self, epoch: EpochId) -> Option<u64> {
        let now = epoch.0 as u16;
        let period = match now.wrapping_sub(self.last) {
            long if long > PERIOD_MOST => 0,
            short => short as u8,
        };
        self.repeats = match period == self.period && period > 0 {
            true => self.repeats % REPEATS_A_PROOF + 1,
            false => 0,
        };
        (self.last, self.period) = (now, period);
        let is_certain = self.repeats >= REPEATS_BEFORE && self.repeats != REPEATS_A_PROOF;
        is_certain.then_some(u64::from(period))
    }

    /// Whether a store in this epoch makes the next one due in the epoch after it.
    pub(crate) fn is_due_next(mut self, epoch: EpochId) -> bool {
        self.note(epoch) == Some(1)
    }
}

impl Dues {
    fn of(&mut self, epoch: EpochId) -> &mut Vec<PageId> {
        &mut self.pages[(epoch.0 % u64::from(PERIOD_MOST)) as usize]
    }
}

impl<M: Memory> Core<M> {
    /// At an epoch's end: only this drone has stored to these pages, and they live here.
    pub(crate) fn note_stored(&mut self, pages: Vec<PageId>) {
        let epoch = self.epoch.id;
        for page in pages.into_iter().filter(|_| self.economies.rhythm) {
            let entry = self.pages.get_mut(page);
            let is_watched = entry.access == Access::ReadOnly;
            if let Some(period) = entry.rhythm.note(epoch).filter(|_| is_watched) {
                self.dues.of(EpochId(epoch.0 + period)).push(page);
            }
        }
    }

    /// In the new epoch: opens the pages to which a store is due.
    pub(crate) fn open_due(&mut self, parked: bool) {
        let due = core::mem::take(self.dues.of(self.epoch.id));
        let watched = due.into_iter().filter(|page| {
            let entry = self.pages.get_mut(*page);
            entry.home == self.me && entry.access == Access::ReadOnly
        });
        for run in PageRun::join(watched.collect::<Vec<_>>()) {
            if mutant(Mutant::DueUnwatched) {
                self.memory.set_access(run, Access::ReadWrite);
                run.pages()
                    .for_each(|page| self.pages.get_mut(page).access = Access::ReadWrite);
                continue;
            }
            if parked {
                self.memory.hide(run);
            }
            self.open_for_stores(run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In how many epochs the next store was due after each of these.
    fn dues(epochs: impl IntoIterator<Item = u64>) -> Vec<Option<u64>> {
        let mut rhythm = Rhythm::default();
        let note = |epoch| rhythm.note(EpochId(epoch));
        epochs.into_iter().map(note).collect()
    }

    #[test]
    fn a_rhythm_is_taken_for_granted_after_it_has_repeated_itself_twice() {
        for period in 1..=u64::from(PERIOD_MOST) {
            let stores = (0..4).map(|store| 100 + store * period);
            assert_eq!(dues(stores), [None, None, None, Some(period)]);
        }
    }

    #[test]
    fn what_is_too_slow_or_irregular_is_no_rhythm() {
        let slow = u64::from(PERIOD_MOST) + 1;
        assert!(
            dues((0..40).map(|store| store * slow))
                .iter()
                .all(Option::is_none)
        );
        assert!(
            dues([100, 101, 103, 104, 106, 107, 109])
                .iter()
                .all(Option::is_none)
        );
    }

    #[test]
    fn now_and_then_a_store_is_waited_for() {
        let dues = dues(100..200);
        let waited: Vec<usize> = (5..100).filter(|store| dues[*store].is_none()).collect();
        assert!(
            waited
                .windows(2)
                .all(|two| two[1] - two[0] <= REPEATS_A_PROOF.into())
        );
        assert!(waited.len() >= 5);
    }

    #[test]
    fn the_number_of_an_epoch_may_outgrow_what_is_kept_of_it() {
        let dues = dues((0..10).map(|store| 65_530 + store * 2));
        assert_eq!(dues[3..], [Some(2); 7]);
    }
}
