//! Programs that walk through memory, upwards or downwards: the pages that come next are opened or fetched before they
//! are touched, where that costs nobody anything that a touch would not cost later.
//!
//! How one page is fetched lives in `fault`; which walks there are and how far each has come, in `walk`.

use crate::core::Core;
use crate::mutant::{Mutant, mutant};
use crate::page::{CopySet, Trust};
use crate::walk::{Ahead, Direction, FIRST_WINDOW_PAGES, WINDOW_PAGES_MOST, Walk};
use crate::{Access, AccessKind, Memory, PageId, PageRun, WriteDetection};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// How many pages are opened ahead of a program that walks: few enough that pages which it then
/// does not touch waste little memory (what is filled may take large pages: the memory room's matter), many enough that a fault is rare.
const OPEN_AHEAD_PAGES: u64 = 31;

/// Over so many pages that it has a program is taken to walk on to those that came ahead of it: where drones take turns at the pages of an
/// array, those of a drone lie between those of the others.
const OWN_PAGES_MOST: u64 = 8;

/// How many are asked for with a page that is missed: as many as fit into one message with it.
const FOLLOWERS_MOST: u64 = WINDOW_PAGES_MOST - 1;

impl<M: Memory> Core<M> {
    /// Opens pages that cost nothing to open and come next, for a program that walks: upwards if it has the
    /// page before this one. Where it stores, they are opened for that.
    pub(crate) fn open_ahead(&mut self, page: PageId, kind: AccessKind) {
        let ascends =
            page.0 > 0 && self.pages.get_mut(PageId(page.0 - 1)).access != Access::Invalid;
        let descends = self.walks.descends_to(page);
        self.walks.note(page);
        let direction = match (ascends, descends) {
            (true, _) => Direction::Up,
            (_, true) => Direction::Down,
            _ => return,
        };
        let pages = self.pages.count();
        let first = direction.place(page, pages) + 1;
        let mut opens = None;
        let mut count = 0;
        for place in first..pages.min(first + OPEN_AHEAD_PAGES) {
            let access = self.free_access(direction.page(place, pages));
            if access.is_none() || opens.is_some_and(|opens| Some(opens) != access) {
                break;
            }
            opens = access;
            count += 1;
        }
        let Some(access) = opens else { return };
        let opened = direction.run(first, count, pages);
        for page in opened.pages() {
            self.pages.get_mut(page).access = access;
        }
        if direction == Direction::Down {
            // Where it comes next it finds these behind it.
            self.walks.note(PageId(opened.first.0 + 1));
            self.walks.note(opened.first);
        }
        match (access, kind) {
            (Access::ReadOnly, AccessKind::Write) => {
                self.walks.fill(page, direction, opened);
                self.open_for_stores(opened);
            }
            (Access::ReadOnly, AccessKind::Read) => {
                self.prepare_twins(opened);
                self.memory.set_access(opened, access);
            }
            _ => self.memory.set_access(opened, access),
        }
    }

    /// Opens fresh pages as if they were stored to, for a program that does so at a page beside them: the first store to each
    /// then costs nothing. Those to which it does not come are left out of the interval again (`leave_out_unfilled`).
    pub(crate) fn open_for_stores(&mut self, opened: PageRun) {
        self.prepare_twins(opened);
        if self.memory.write_detection() == WriteDetection::Scans {
            return self.memory.set_stored(opened);
        }
        for page in opened.pages() {
            self.mark_written(page);
            if self.pages.get_mut(page).home != self.me {
                self.make_twin(page);
            }
            self.pages.get_mut(page).access = Access::ReadWrite;
        }
        self.memory.set_access(opened, Access::ReadWrite);
    }

    /// Of the pages that an interval seems to have written, leaves those out that were opened for stores to which the program
    /// did not come: from the last one on that is not zeros still. From now on a store to them is found.
    pub(crate) fn leave_out_unfilled(&mut self, written: Vec<PageRun>) -> Vec<PageRun> {
        if self.walks.filling.is_empty() {
            return written;
        }
        let pages = self.pages.count();
        let mut unfilled = BTreeSet::new();
        let mut bytes = self.spare.take();
        for (direction, opened) in core::mem::take(&mut self.walks.filling) {
            let (first, last) = (opened.first, PageId(opened.end().0 - 1));
            let [one, other] = [first, last].map(|page| direction.place(page, pages));
            let backwards = (one.min(other)..=one.max(other)).rev();
            let mut is_zero = |page: &PageId| {
                self.memory.read(*page, &mut bytes);
                bytes.iter().all(|byte| *byte == 0) || mutant(Mutant::FilledLeftOut)
            };
            unfilled.extend(
                backwards
                    .map(|place| direction.page(place, pages))
                    .take_while(&mut is_zero),
            );
        }
        self.spare.give(bytes);
        if unfilled.is_empty() {
            return written;
        }
        let pages = written.iter().flat_map(|run| run.pages());
        let filled = PageRun::join(pages.filter(|page| !unfilled.contains(page)));
        self.walks.unfilled.append(&mut unfilled);
        filled
    }

    /// The epoch is over, and the program waits: pages that were opened for stores to which it did not come are closed again. They
    /// lie where it stopped, behind each block that it ever filled, and where stores are found by looking, each would be looked
    /// at when an interval ends.
    pub(crate) fn close_unfilled(&mut self) {
        let left_out = core::mem::take(&mut self.walks.unfilled);
        if left_out.is_empty() {
            return;
        }
        let unused = |page: &PageId| {
            let entry = self.pages.get_mut(*page);
            let unwritten = entry.copies == CopySet::Everyone && entry.history.is_none();
            unwritten && entry.access == Access::ReadOnly
        };
        let unused: Vec<PageId> = left_out.into_iter().filter(unused).collect();
        self.invalidate(unused.iter().copied());
        // Another thread may have stored there until now.
        let mut bytes = self.spare.take();
        let is_stored = |page: &PageId| {
            self.memory.read(*page, &mut bytes);
            bytes.iter().any(|byte| *byte != 0) && !mutant(Mutant::ClosedUnseen)
        };
        let stored = PageRun::join(unused.into_iter().filter(is_stored));
        self.spare.give(bytes);
        for run in stored {
            for page in run.pages() {
                self.pages.get_mut(page).access = Access::ReadOnly;
            }
            self.open_for_stores(run);
        }
    }

    /// The program came to a page that it could not see. If that is a step of a walk, the pages behind what was
    /// asked for before are asked for now, so that they come while the program works on those. `missed`: the
    /// page had to be asked for only now, so no walk of this epoch had come so far.
    pub(crate) fn walk_on(&mut self, page: PageId, missed: bool) {
        self.pages.get_mut(page).unwanted = false;
        if !self.economies.fetch_ahead {
            return;
        }
        let pages = self.pages.count();
        let walk = self.walks.over(page, pages);
        let walk = walk.filter(|walk| !missed || walk.direction.place(page, pages) == walk.next);
        let followers = match walk {
            None if missed => self.followers(page),
            _ => 0,
        };
        let (direction, stride) = match walk {
            Some(walk) => (walk.direction, walk.stride),
            None if !missed => return,
            None if followers > FIRST_WINDOW_PAGES => return self.fetch_followers(page, followers),
            None if self.has_walked_to(page) => (Direction::Up, 1),
            None => match self.walks.stride_to(page) {
                Some(stride) => (Direction::Up, stride),
                None if followers > 0 => return self.fetch_followers(page, followers),
                None if self.walks.descends_to(page) => (Direction::Down, 1),
                None => return,
            },
        };
        let begin = direction.place(page, pages);
        let ahead = match walk {
            Some(walk) if begin < walk.turn => return,
            Some(walk) => {
                if stride == 1 {
                    self.trust_passed(direction.run(walk.begin, begin - walk.begin, pages));
                }
                walk.asks(begin)
            }
            None => Ahead {
                first: begin + stride,
                turn: begin + stride,
                count: FIRST_WINDOW_PAGES,
                doubled_pages: FIRST_WINDOW_PAGES,
            },
        };
        let next = self.fetch_window((direction, stride), ahead.first, ahead.count);
        let walk = Walk {
            direction,
            stride,
            begin,
            turn: ahead.turn.min(next).max(begin + stride),
            next,
            doubled_pages: ahead.doubled_pages,
        };
        self.walks.put(walk, pages);
    }

    /// The program came to a page that it misses: how many behind it are missing too, and were touched before. It is likely
    /// to come to them from there.
    fn followers(&mut self, page: PageId) -> u64 {
        let first = page.0 + 1;
        let last = self.pages.count().min(first + FOLLOWERS_MOST);
        let follows = |next: &u64| {
            let entry = self.pages.get_mut(PageId(*next));
            let lacks = !entry.based && entry.access == Access::Invalid;
            let asked = self.fetches.has(PageId(*next));
            lacks && !asked && !entry.unwanted && entry.trust.was_touched_once()
        };
        (first..last).take_while(follows).count() as u64
    }

    /// Asks for so many behind a page that the program misses, in one request with it.
    fn fetch_followers(&mut self, page: PageId, count: u64) {
        let upwards = (Direction::Up, 1);
        let turn = self.fetch_window(upwards, page.0 + 1, count);
        // Where there seem to be many more the next come while the program works on these.
        let many = count == FOLLOWERS_MOST && turn < self.pages.count();
        let next = match many && self.pages.get_mut(PageId(turn)).trust.was_touched_once() {
            true => self.fetch_window(upwards, turn, WINDOW_PAGES_MOST),
            false => turn,
        };
        let walk = Walk {
            direction: Direction::Up,
            stride: 1,
            begin: page.0,
            turn,
            next,
            doubled_pages: count.max(FIRST_WINDOW_PAGES),
        };
        self.walks.put(walk, self.pages.count());
    }

    /// Opens the pages on both sides of this one that were fetched ahead and are here, as far as they are
    /// trusted: the program walks, so it comes to them. A few that it has it walks over.
    pub(crate) fn open_arrived(&mut self, page: PageId) {
        for direction in [Direction::Up, Direction::Down] {
            self.open_arrived_towards(direction, page);
        }
    }

    fn open_arrived_towards(&mut self, direction: Direction, page: PageId) {
        let pages = self.pages.count();
        let first = direction.place(page, pages) + 1;
        let (mut opened, mut own) = (Vec::new(), 0);
        for place in first..pages.min(first + WINDOW_PAGES_MOST) {
            let next = direction.page(place, pages);
            if self.pages.get_mut(next).access != Access::Invalid && own < OWN_PAGES_MOST {
                own += 1;
                continue;
            }
            let here = self.came_ahead(next) || self.came_home(next);
            let proves = self.pushes.is_left_closed(next);
            if !here || proves || !self.pages.get_mut(next).trust.take() {
                break;
            }
            own = 0;
            // A page that comes with a lock goes on coming only where the program comes to it.
            self.locks.holding.note(next);
            opened.push(next);
        }
        if direction == Direction::Down {
            opened.reverse();
            if let Some(lowest) = opened.first() {
                self.walks.note(PageId(lowest.0 + 1));
                self.walks.note(*lowest);
            }
        }
        for run in PageRun::join(opened) {
            self.open_for_loads(run);
        }
    }

    /// Whether a page that was to come ahead of the program is here as a whole, and not opened.
    pub(crate) fn came_ahead(&mut self, page: PageId) -> bool {
        self.pages.get_mut(page).ahead && self.is_whole_and_closed(page)
    }

    /// Whether a page that lives here, and that others have, is here as a whole again, and not opened since. The program has touched it
    /// before, or walked over it.
    fn came_home(&mut self, page: PageId) -> bool {
        let touched = self.pages.get_mut(page).trust.was_touched_once();
        touched && self.is_opened_at_home(page) && self.is_whole_and_closed(page)
    }

    /// Whether a page that lives here is opened with those beside it: one that others have, or had not long ago, where pages are opened
    /// ahead of the program at all.
    pub(crate) fn is_opened_at_home(&mut self, page: PageId) -> bool {
        let me = self.me;
        let entry = self.pages.get_mut(page);
        let is_fresh = entry.copies == CopySet::Everyone;
        let is_shared = entry.home == me && !entry.is_alone() && !is_fresh;
        is_shared && self.economies.fetch_ahead
    }

    fn is_whole_and_closed(&mut self, page: PageId) -> bool {
        let comes_home = self.epoch.is_coming_home(page) && !mutant(Mutant::ComingHomeOpened);
        let comes = comes_home || self.fetches.has(page);
        let entry = self.pages.get_mut(page);
        let closed = entry.access == Access::Invalid;
        !comes && closed && entry.based && entry.lacking().next().is_none()
    }

    /// Opens pages that came ahead of the program.
    pub(crate) fn open_for_loads(&mut self, opened: PageRun) {
        for page in opened.pages() {
            let entry = self.pages.get_mut(page);
            entry.ahead = false;
            entry.access = Access::ReadOnly;
        }
        self.prepare_twins(opened);
        self.memory.set_access(opened, Access::ReadOnly);
    }

    /// The program has walked over these pages.
    fn trust_passed(&mut self, passed: PageRun) {
        for page in passed.pages() {
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
    fn fetch_window(
        &mut self,
        (direction, stride): (Direction, u64),
        first: u64,
        window_pages: u64,
    ) -> u64 {
        let pages = self.pages.count();
        let last = first + window_pages * stride;
        for place in (first..last).step_by(stride as usize) {
            if place >= pages {
                return place;
            }
            let next = direction.page(place, pages);
            let entry = self.pages.get_mut(next);
            if entry.unwanted || entry.history.is_some() {
                return place;
            }
            let lacks = !entry.based && entry.access == Access::Invalid;
            if lacks && !self.fetches.has(next) {
                self.pages.get_mut(next).ahead = true;
                self.fetch_for_itself(next);
            }
        }
        last
    }

    /// Where stores are found afterwards, each page that lives elsewhere needs its twin before it is opened.
    fn prepare_twins(&mut self, opened: PageRun) {
        let traps = self.memory.write_detection() == WriteDetection::Traps;
        for page in opened.pages() {
            if traps {
                self.fetches.forget_arrived(page, &mut self.spare);
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
