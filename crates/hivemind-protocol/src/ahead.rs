//! Programs that walk through memory: pages behind the one that faulted are opened or fetched before they
//! are touched, where that costs nobody anything that a touch would not cost later.
//!
//! How one page is fetched lives in `fault`.

use crate::core::Core;
use crate::mutant::{Mutant, mutant};
use crate::page::{CopySet, Trust};
use crate::{Access, Memory, PageId, PageRun, WriteDetection};
use alloc::vec::Vec;

/// How many pages are opened ahead of a program that walks upwards: few enough that pages which it then
/// does not touch waste little memory, many enough that a fault is rare.
const OPEN_AHEAD_PAGES: u64 = 31;

/// How many pages are asked for first when a program seems to walk upwards, and the most that are asked for
/// at once: the window doubles each time that the program comes to what was asked for last. A round trip
/// takes about as long as eight pages take to send; at 256 KiB a window its wait hardly counts any more.
const FIRST_WINDOW_PAGES: u64 = 8;
const WINDOW_PAGES_MOST: u64 = 64;

/// How many walks are told apart: one for each array that a loop walks through, and for each thread.
const WALKS_MOST: usize = 32;

/// The walks of a drone's program, the latest last.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Walks {
    walks: Vec<Walk>,
}

/// A program that walks upwards through memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
struct Walk {
    /// Where the program was when more was asked for last.
    begin: PageId,
    /// The first page of those asked for last: when the program comes there, more are asked for.
    turn: PageId,
    /// The first page that was not asked for.
    next: PageId,
    window_pages: u64,
}

impl Walks {
    pub(crate) fn new() -> Self {
        Self { walks: Vec::new() }
    }

    /// The latest walk that this page lies on. Walks of earlier epochs are among them.
    fn over(&self, page: PageId) -> Option<Walk> {
        let mut latest_first = self.walks.iter().rev().copied();
        if mutant(Mutant::OldWalkTaken) {
            return latest_first.rfind(|walk| walk.covers(page));
        }
        latest_first.find(|walk| walk.covers(page))
    }

    /// Remembers a walk, in place of what was known of it.
    fn put(&mut self, walk: Walk) {
        self.walks.retain(|known| !known.covers(walk.begin));
        if self.walks.len() == WALKS_MOST {
            self.walks.remove(0);
        }
        self.walks.push(walk);
    }
}

impl Walk {
    fn covers(&self, page: PageId) -> bool {
        self.begin <= page && page <= self.next
    }
}

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
        for page in opened.pages() {
            self.pages.get_mut(page).access = access;
        }
        if access == Access::ReadOnly {
            self.prepare_twins(opened);
        }
        self.memory.set_access(opened, access);
    }

    /// The program came to a page that it could not see. If that is a step of a walk upwards, the pages
    /// behind what was asked for before are asked for now, so that they come while the program works on
    /// those. `missed`: the page had to be asked for only now, so no walk of this epoch had come so far.
    pub(crate) fn walk_on(&mut self, page: PageId, missed: bool) {
        self.pages.get_mut(page).unwanted = false;
        if !self.economies.fetch_ahead {
            return;
        }
        let after = PageId(page.0 + 1);
        let walk = self.walks.over(page);
        let walk = walk.filter(|walk| !missed || page == walk.next);
        let (turn, window_pages) = match walk {
            Some(walk) if page < walk.turn => return,
            Some(walk) => {
                self.trust_passed(walk.begin, page);
                let window_pages = (walk.window_pages * 2).min(WINDOW_PAGES_MOST);
                (walk.next.max(after), window_pages)
            }
            None if self.has_walked_to(page) => (after, FIRST_WINDOW_PAGES),
            None => return,
        };
        let next = self.fetch_window(turn, window_pages);
        self.walks.put(Walk {
            begin: page,
            turn,
            next,
            window_pages,
        });
    }

    /// Opens the pages behind this one that were fetched ahead and are here, as far as they are trusted: the
    /// program walks, so it comes to them.
    pub(crate) fn open_arrived(&mut self, page: PageId) {
        let last = self.pages.count().min(page.0 + 1 + WINDOW_PAGES_MOST);
        let mut opened = PageRun {
            first: PageId(page.0 + 1),
            count: 0,
        };
        for next in (page.0 + 1..last).map(PageId) {
            let lies_here = !self.fetches.has(next) && !self.epoch.is_coming_home(next);
            let entry = self.pages.get_mut(next);
            let opens = entry.ahead
                && entry.based
                && entry.access == Access::Invalid
                && entry.lacking().next().is_none();
            if !opens || !lies_here || !entry.trust.take() {
                break;
            }
            entry.ahead = false;
            entry.access = Access::ReadOnly;
            opened.count += 1;
        }
        if opened.count > 0 {
            self.prepare_twins(opened);
            self.memory.set_access(opened, Access::ReadOnly);
        }
    }

    /// The program has walked over these pages.
    fn trust_passed(&mut self, first: PageId, end: PageId) {
        for page in (first.0..end.0).map(PageId) {
            self.pages.get_mut(page).trust = Trust::TOUCHED;
        }
    }

    /// Whether the program has the two pages before this one: it seems to walk upwards.
    fn has_walked_to(&mut self, page: PageId) -> bool {
        [1, 2].iter().all(|back| {
            let before = page.0.checked_sub(*back).map(PageId);
            before.is_some_and(|page| self.pages.get_mut(page).access != Access::Invalid)
        })
    }

    /// Asks for the pages of a window that are not here; gives where it ends. It ends before a page that was
    /// fetched ahead in vain before, or that was written in this epoch, since such a page changes hands.
    fn fetch_window(&mut self, first: PageId, window_pages: u64) -> PageId {
        let last = self.pages.count().min(first.0 + window_pages);
        for next in (first.0..last).map(PageId) {
            let entry = self.pages.get_mut(next);
            if entry.unwanted || entry.history.is_some() {
                return next;
            }
            let lacks = !entry.based && entry.access == Access::Invalid;
            if lacks && !self.fetches.has(next) {
                self.pages.get_mut(next).ahead = true;
                self.fetch_for_itself(next);
            }
        }
        PageId(last)
    }

    /// Where stores are found afterwards, each page that lives elsewhere needs its twin before it is opened.
    fn prepare_twins(&mut self, opened: PageRun) {
        let traps = self.memory.write_detection() == WriteDetection::Traps;
        for page in opened.pages() {
            if traps {
                self.fetches.forget_arrived(page);
            } else if self.pages.get_mut(page).home != self.me {
                self.make_twin(page);
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
            CopySet::Nobody if entry.home == self.me => Some(Access::ReadWrite),
            _ => None,
        }
    }
}
