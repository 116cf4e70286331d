//! Programs that walk through memory: pages behind the one that faulted are opened or fetched before they
//! are touched, where that costs nobody anything that a touch would not cost later.
//!
//! How one page is fetched lives in `fault`.

use crate::core::Core;
use crate::mutant::{Mutant, mutant};
use crate::page::CopySet;
use crate::{Access, Memory, PageId, PageRun, WriteDetection};

/// How many pages are opened ahead of a program that walks upwards: few enough that pages which it then
/// does not touch waste little memory, many enough that a fault is rare.
const OPEN_AHEAD_PAGES: u64 = 31;

/// How many pages are fetched ahead of a program that walks upwards: about as many as a round trip takes
/// to send.
const FETCH_AHEAD_PAGES: u64 = 16;

impl<M: Memory> Core<M> {
    /// Opens pages behind this one that cost nothing to open, for a program that walks upwards: it has the
    /// page before this one.
    pub(crate) fn open_ahead(&mut self, page: PageId) {
        let walks = page.0 > 0 && self.pages.get_mut(PageId(page.0 - 1)).access != Access::Invalid;
        if !walks {
            return;
        }
        let mut opened = PageRun {
            first: PageId(page.0 + 1),
            count: 0,
        };
        let mut opens = None;
        let last = self.pages.count().min(page.0 + 1 + OPEN_AHEAD_PAGES);
        for next in (page.0 + 1..last).map(PageId) {
            let access = self.free_access(next);
            if access.is_none() || opens.is_some_and(|opens| Some(opens) != access) {
                break;
            }
            opens = access;
            opened.count += 1;
        }
        let Some(access) = opens else { return };
        let traps = self.memory.write_detection() == WriteDetection::Traps;
        for page in opened.pages() {
            let entry = self.pages.get_mut(page);
            entry.access = access;
            if access == Access::ReadOnly && entry.home != self.me && !traps {
                self.make_twin(page);
            }
        }
        self.memory.set_access(opened, access);
    }

    /// Fetches pages behind this one from the same home, for a program that walks upwards: it has two pages
    /// before this one. They come while it works, and are opened when it touches them; those that it does
    /// not touch are not fetched ahead again.
    pub(crate) fn fetch_ahead(&mut self, page: PageId) {
        let entry = self.pages.get_mut(page);
        entry.unwanted = false;
        let (home, based) = (entry.home, entry.based);
        let before = |back: u64| page.0.checked_sub(back).map(PageId);
        let walks = [1, 2].iter().all(|back| {
            before(*back).is_some_and(|page| self.pages.get_mut(page).access != Access::Invalid)
        });
        if based || !walks {
            return;
        }
        let last = self.pages.count().min(page.0 + 1 + FETCH_AHEAD_PAGES);
        for next in (page.0 + 1..last).map(PageId) {
            let entry = self.pages.get_mut(next);
            let fetched = entry.based || self.fetches.has(next);
            if entry.home != home || entry.unwanted || entry.history.is_some() {
                break;
            }
            if !fetched && entry.access == Access::Invalid {
                entry.ahead = true;
                self.fetch_for_itself(next);
            }
        }
    }

    /// How far a page can be opened without a message, a copy or a notice; none if not at all.
    fn free_access(&mut self, page: PageId) -> Option<Access> {
        let busy = self.epoch.is_coming_home(page) || self.fetches.has(page);
        let entry = self.pages.get_mut(page);
        let lacks = entry.history.is_some() && !mutant(Mutant::LackingPageOpened);
        if busy || entry.access != Access::Invalid || !entry.based || lacks {
            return None;
        }
        match entry.copies {
            // Nobody has written it: its twin is zeros and takes no memory.
            CopySet::Everyone => Some(Access::ReadOnly),
            CopySet::Only(_) if entry.home == self.me && entry.copies.is_empty() => {
                Some(Access::ReadWrite)
            }
            CopySet::Only(_) => None,
        }
    }
}
