//! Pages on grants: data that is written under a lock by one drone after the other (migratory data; Amza et al.,
//! HPCA 1997, section 4) comes with the lock, so the new holder need not fetch it.
//!
//! Who asks for a lock names the pages that it touched when it held the lock last; who grants it sends those of
//! them that are whole there. The receiver takes a page only if nothing is missing in it after what the grant
//! told. When a token moves lives in `lock`, how a page goes into memory in `fault`.

use crate::core::{Core, misbehaviour};
use crate::message::Label;
use crate::{Access, DroneId, LockId, Memory, Misbehaviour, PageCopy, PageId, VectorTimestamp};
use alloc::vec::Vec;

/// How many pages a grant may bring: more than that is no small thing kept under a lock, and most of it would be
/// sent in vain.
///
/// ```
/// use hivemind_protocol::{PAGES_A_GRANT_MOST, PAGES_A_MESSAGE_MOST};
/// assert!(PAGES_A_GRANT_MOST as u64 <= PAGES_A_MESSAGE_MOST);
/// ```
pub const PAGES_A_GRANT_MOST: usize = 4;

/// What was touched under the lock that was taken last.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub(crate) struct Holding {
    lock: Option<LockId>,
    touched: Vec<PageId>,
}

impl Holding {
    /// The program has taken a lock.
    pub(crate) fn begin(&mut self, lock: LockId) {
        self.lock = Some(lock);
        self.touched.clear();
    }

    /// The program came to a page that it could not see.
    pub(crate) fn note(&mut self, page: PageId) {
        let room = self.touched.len() < PAGES_A_GRANT_MOST;
        if self.lock.is_some() && room && !self.touched.contains(&page) {
            self.touched.push(page);
        }
    }

    /// The program lets a lock go; gives what it touched, if that is known for this lock.
    pub(crate) fn end(&mut self, lock: LockId) -> Option<Vec<PageId>> {
        self.lock.take_if(|latest| *latest == lock)?;
        let mut touched = core::mem::take(&mut self.touched);
        touched.sort_unstable();
        Some(touched)
    }
}

impl<M: Memory> Core<M> {
    /// Which pages this drone wants with a lock: those that it touched under it last time. Not those that live
    /// here: a home takes diffs only.
    pub(crate) fn wanted_with(&mut self, touched: &[PageId]) -> Vec<PageId> {
        if !self.economies.pages_on_grants {
            return Vec::new();
        }
        let me = self.me;
        let elsewhere = |page: &&PageId| self.pages.get_mut(**page).home != me;
        touched.iter().filter(elsewhere).copied().collect()
    }

    /// Whether a wish for these pages can be.
    pub(crate) fn check_wants(&self, from: DroneId, wants: &[PageId]) -> Result<(), Misbehaviour> {
        let in_order = wants.is_sorted_by(|one, next| one < next);
        if wants.len() > PAGES_A_GRANT_MOST || !in_order {
            return Err(misbehaviour(
                from,
                "it wants pages with a lock that are too many or not in order",
            ));
        }
        wants
            .iter()
            .try_for_each(|page| self.check_page(from, *page))
    }

    /// Those of the pages that are whole here and can go to a drone whose home they are not.
    pub(crate) fn pages_for_grant(&mut self, to: DroneId, wants: &[PageId]) -> Vec<PageCopy> {
        let whole = |page: &PageId| {
            let coming = self.epoch.awaits_flush(*page);
            let entry = self.pages.get_mut(*page);
            let lacks = entry.lacking().next().is_some();
            entry.home != to && entry.based && entry.access != Access::Invalid && !lacks && !coming
        };
        let pages: Vec<PageId> = wants.iter().copied().filter(whole).collect();
        self.stats.pages_granted += pages.len() as u64;
        self.copies_for(to, &pages)
    }

    /// Whether a grant may bring these pages.
    pub(crate) fn check_granted(
        &mut self,
        from: DroneId,
        wants: &[PageId],
        known: &VectorTimestamp,
        copies: &[PageCopy],
    ) -> Result<(), Misbehaviour> {
        let wanted = |copy: &PageCopy| wants.contains(&copy.page) && copy.without.is_empty();
        let in_order = copies.is_sorted_by(|one, next| one.page < next.page);
        let can_be = known.get(self.me) <= self.log.known.get(self.me) || copies.is_empty();
        let last = known.entries().last();
        let strange = last.is_some_and(|(drone, _)| drone.0 >= self.drones);
        if !in_order || !can_be || strange || !copies.iter().all(wanted) {
            return Err(misbehaviour(
                from,
                "it grants a lock with pages that were not wanted",
            ));
        }
        Ok(())
    }

    /// Takes the pages of a grant in, after its intervals: those that are invalid now and then lack nothing. What
    /// is valid is good as it is; what lives here, or is being fetched, goes its own way.
    pub(crate) fn take_granted(&mut self, known: &VectorTimestamp, copies: Vec<PageCopy>) {
        for PageCopy {
            page,
            without,
            bytes,
        } in copies
        {
            let busy = self.fetches.has(page) || self.epoch.is_coming_home(page);
            let entry = self.pages.get_mut(page);
            let takes = entry.access == Access::Invalid && entry.home != self.me;
            let known = known.clone();
            if takes && !busy {
                self.install_whole(page, (Label { known, without }, bytes));
            }
        }
    }
}
