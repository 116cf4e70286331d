//! How programs walk through memory: which walks of a drone's program are known, how far each has come, and what it asks for
//! next.
//!
//! Deliberately elsewhere: what is opened and fetched for a walk (`ahead`).

use crate::mutant::{Mutant, mutant};
use crate::{PageId, PageRun};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// How many pages are asked for first when a program seems to walk, and the most that are asked for
/// in one message: the window doubles each time that the program comes to what was asked for last. A round trip
/// takes about as long as eight pages take to send; at 256 KiB a window its wait hardly counts any more.
pub(crate) const FIRST_WINDOW_PAGES: u64 = 8;
pub(crate) const WINDOW_PAGES_MOST: u64 = 64;

/// A walk whose window would have doubled to this is a long one, and likely to go on.
const LONG_WALK_PAGES: u64 = 2 * WINDOW_PAGES_MOST;

/// How many walks are told apart: one for each array that a loop walks through, and for each thread.
const WALKS_MOST: usize = 32;

/// The widest stride that counts as a walk: the row of a large matrix, of which the program reads a few columns.
const STRIDE_PAGES_MOST: u64 = 64;

/// The widest of which the pages between are taken along, in case that the program comes to them later. A page that comes with others takes
/// less than a fifth of the time of one that is waited for by itself, so three in vain cost less than a round trip.
const DENSE_STRIDE_PAGES_MOST: u64 = 4;

/// How many of the latest faults are remembered, to tell who walks downwards or from row to row: two of each of a few threads.
const RECENT_MOST: usize = 8;

/// The walks of a drone's program, the latest last.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Walks {
    walks: Vec<Walk>,
    /// Where the program came to pages that it could not see, the latest last.
    recent: Vec<PageId>,
    /// Fresh pages that count as stored to, since the program walks and stores: those to which it has not come yet, as
    /// far as is known, by walk, and which way it goes.
    pub(crate) filling: Vec<(Direction, PageRun)>,
    /// Of those the ones to which it had not come when an interval ended, since they were closed last.
    pub(crate) unfilled: BTreeSet<PageId>,
}

/// Which way a program walks through memory. Most walk upwards; but what copies a large block, as `memcpy` of
/// the C library does, goes downwards where that suits the processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// A program that walks through memory. Places are pages counted the way that it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Walk {
    pub(crate) direction: Direction,
    /// How far its steps go.
    pub(crate) stride: u64,
    /// Where the program was when more was asked for last.
    pub(crate) begin: u64,
    /// When the program comes to this place, more are asked for: the first of those asked for last, or a window before it.
    pub(crate) turn: u64,
    /// The first place that was not asked for.
    pub(crate) next: u64,
    /// The window, which doubles at each turn; beyond the most that one message asks for it says how long the walk is.
    pub(crate) doubled_pages: u64,
}

impl Walks {
    pub(crate) fn new() -> Self {
        Self {
            walks: Vec::new(),
            recent: Vec::new(),
            filling: Vec::new(),
            unfilled: BTreeSet::new(),
        }
    }

    /// The program stores to this page, and will store to those that were opened with it. What was opened before, up to
    /// this page, it has walked over.
    pub(crate) fn fill(&mut self, page: PageId, direction: Direction, opened: PageRun) {
        self.filling
            .retain(|(_, run)| run.end() != page && run.first.0 != page.0 + 1);
        if self.filling.len() == WALKS_MOST {
            self.filling.remove(0);
        }
        self.filling.push((direction, opened));
    }

    /// Whether the page was opened for stores to which the program may not have come.
    pub(crate) fn may_be_unfilled(&self, page: PageId) -> bool {
        self.filling
            .iter()
            .any(|(_, opened)| (opened.first..opened.end()).contains(&page))
    }

    /// The latest walk that this page, of so many, lies on. Walks of earlier epochs are among them.
    pub(crate) fn over(&self, page: PageId, pages: u64) -> Option<Walk> {
        let mut latest_first = self.walks.iter().rev().copied();
        if mutant(Mutant::OldWalkTaken) {
            return latest_first.rfind(|walk| walk.covers(page, pages));
        }
        latest_first.find(|walk| walk.covers(page, pages))
    }

    /// Remembers a walk, in place of what was known of it.
    pub(crate) fn put(&mut self, walk: Walk, pages: u64) {
        let begin = walk.direction.page(walk.begin, pages);
        self.walks.retain(|known| !known.covers(begin, pages));
        if self.walks.len() == WALKS_MOST {
            self.walks.remove(0);
        }
        self.walks.push(walk);
    }

    /// The program came to this page, or would have, had it not been opened for it.
    pub(crate) fn note(&mut self, page: PageId) {
        if self.recent.len() == RECENT_MOST {
            self.recent.remove(0);
        }
        self.recent.push(page);
    }

    /// How far apart the program came to two pages before this one not long ago, if they are as far apart from each other as from
    /// it: 1 where what lies between is worth being taken along.
    pub(crate) fn stride_to(&self, page: PageId) -> Option<u64> {
        let back = |before: &PageId| page.0.checked_sub(before.0);
        let came = |back| {
            let before = page.0.checked_sub(back);
            before.is_some_and(|before| self.recent.contains(&PageId(before)))
        };
        let strides = self.recent.iter().filter_map(back);
        let strides = strides.filter(|stride| (2..=STRIDE_PAGES_MOST).contains(stride));
        let stride = strides.filter(|stride| came(2 * stride)).min()?;
        Some(match stride {
            ..=DENSE_STRIDE_PAGES_MOST => 1,
            _ => stride,
        })
    }

    /// Whether the program came to the two pages behind this one not long ago: it seems to walk downwards. That
    /// it has them says nothing, as an array that it has walked through may lie there.
    pub(crate) fn descends_to(&self, page: PageId) -> bool {
        [1, 2]
            .iter()
            .all(|back| self.recent.contains(&PageId(page.0 + back)))
    }
}

/// What is asked for at a turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ahead {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) doubled_pages: u64,
    /// Where the next turn is.
    pub(crate) turn: u64,
}

impl Walk {
    /// The program has come to the turn, or a bit further. A walk that has gone on for long has two windows before it from then on: while
    /// one is taken in here, its home puts the other together.
    pub(crate) fn asks(&self, begin: u64) -> Ahead {
        let first = self.next.max(begin + self.stride);
        let is_long = self.stride == 1 && self.doubled_pages == LONG_WALK_PAGES;
        let has_two = self.next.saturating_sub(begin) > WINDOW_PAGES_MOST;
        let (windows, turn) = match (is_long, has_two) {
            (true, true) => (1, first - WINDOW_PAGES_MOST),
            (true, false) => (2, first),
            (false, _) => (1, first),
        };
        let doubled_pages = (self.doubled_pages * 2).min(LONG_WALK_PAGES);
        Ahead {
            first,
            count: windows * doubled_pages.min(WINDOW_PAGES_MOST),
            doubled_pages,
            turn,
        }
    }

    fn covers(&self, page: PageId, pages: u64) -> bool {
        let place = self.direction.place(page, pages);
        let ahead = place.checked_sub(self.begin);
        ahead.is_some_and(|ahead| place <= self.next && ahead.is_multiple_of(self.stride))
    }
}

impl Direction {
    /// The place of a page, of so many.
    pub(crate) fn place(self, page: PageId, pages: u64) -> u64 {
        match self {
            Self::Up => page.0,
            Self::Down => pages - 1 - page.0,
        }
    }

    /// The page at a place.
    pub(crate) fn page(self, place: u64, pages: u64) -> PageId {
        match self {
            Self::Up => PageId(place),
            Self::Down => PageId(pages - 1 - place),
        }
    }

    /// So many pages from a place on.
    pub(crate) fn run(self, place: u64, count: u64, pages: u64) -> PageRun {
        let first = match self {
            Self::Up => place,
            Self::Down => pages - place - count,
        };
        PageRun {
            first: PageId(first),
            count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a walk has before it whenever it has asked for more, and how much it asked for then.
    fn asked(stride: u64, turns: usize) -> Vec<(u64, u64)> {
        let mut walk = Walk {
            direction: Direction::Up,
            stride,
            begin: 0,
            turn: stride,
            next: stride + FIRST_WINDOW_PAGES * stride,
            doubled_pages: FIRST_WINDOW_PAGES,
        };
        let turns = (0..turns).map(|_| {
            let begin = walk.turn;
            let ahead = walk.asks(begin);
            walk = Walk {
                begin,
                turn: ahead.turn,
                next: ahead.first + ahead.count * stride,
                doubled_pages: ahead.doubled_pages,
                ..walk
            };
            ((walk.next - begin) / stride, ahead.count)
        });
        turns.collect()
    }

    #[test]
    fn a_long_walk_always_has_two_windows_before_the_one_that_it_is_in() {
        let first = [(24, 16), (48, 32), (96, 64), (128, 64), (192, 128)];
        let asked = asked(1, 9);
        assert_eq!(asked[..5], first);
        let (window, whole) = (WINDOW_PAGES_MOST, 3 * WINDOW_PAGES_MOST);
        assert_eq!(asked[5..], [(whole, window); 4]);
    }

    #[test]
    fn who_goes_from_row_to_row_asks_for_a_window_at_a_time() {
        let counts: Vec<u64> = asked(16, 6).iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [16, 32, 64, 64, 64, 64]);
    }
}
