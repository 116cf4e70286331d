//! Large pages: pieces of the memory file that the kernel clears and keeps as one page of 2 MiB, in place of 512 that it
//! looks for one by one.
//!
//! Who fills memory from one end to the other comes to the beginning of such a piece with all in front of it filled. Then the
//! piece is made large. It takes the memory of all its pages at once, so a program that touches a page here and there
//! must not get one for each. Only pieces of which nothing exists are made so, and no view shows anything of them.
//!
//! Deliberately elsewhere: what has to be done to the application view meanwhile, and which pages the program may see
//! (`engine/userfault.rs`).

use crate::sys;
use hivemind_protocol::{PAGE_SIZE, PageId, PageRun};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

/// Pages in a large one.
pub(crate) const LARGE_PAGES: u64 = 512;

/// Bytes in a large one.
pub(crate) const LARGE_BYTES: usize = LARGE_PAGES as usize * PAGE_SIZE;

/// So many pages in front of a piece must be filled: at most twice as much memory is taken in vain.
const FILLED_PAGES: u64 = LARGE_PAGES / 2;

/// Who was refused so often in a row doesn't ask again: the machine's settings forbid it, its kernel has none, or memory is scattered, and to look
/// for large pieces takes the kernel long.
const REFUSALS_MOST: u32 = 4;

/// About what all the small pages of a piece take, one by one.
const SMALL_US: i64 = 1000;

/// A large page takes a tenth of that, and several times as much where a virtual machine's host looks for the memory only now: there is more such
/// memory where it came from, for large free pieces are what such machines give back. So much time may be lost on large pages in all before they
/// rest, and be saved for later.
const LOSS_MOST_US: i64 = 8000;

/// So many pieces stay small then; twice as many each time that the next large one is slow too, up to the second number.
const PASSED_OVER: (u32, u32) = (16, 1024);

/// Of one memory file. What it counts is changed under the engine's lock.
#[derive(Default)]
pub(crate) struct LargePages {
    /// In a row.
    refusals: AtomicU32,
    /// What large pages have taken longer than small ones would have.
    loss_us: AtomicI64,
    /// So many pieces more stay small.
    passes: AtomicU32,
    /// So many will after the next loss, where that is more than the least.
    penalty: AtomicU32,
}

/// The piece that begins with this page, if one does, in a region of so many pages. The first has nothing in front of it.
pub(crate) fn piece(first: PageId, pages: u64) -> Option<PageRun> {
    let begins = first.0 > 0 && first.0.is_multiple_of(LARGE_PAGES);
    let count = LARGE_PAGES;
    (begins && first.0 + count <= pages).then_some(PageRun { first, count })
}

/// The pages in front of a piece that must be filled by now, where those from `made` on are just being filled.
pub(crate) fn front(piece: PageRun, made: PageId) -> Option<PageRun> {
    let first = PageId(piece.first.0 - FILLED_PAGES);
    let count = made.min(piece.first).0.saturating_sub(first.0);
    (count > 0).then_some(PageRun { first, count })
}

/// The pages that the kernel looks at for a piece: it sees to whoever watches the page behind as well.
pub(crate) fn reach(piece: PageRun, pages: u64) -> PageRun {
    let count = piece.count.saturating_add(1).min(pages - piece.first.0);
    PageRun { count, ..piece }
}

impl LargePages {
    /// Whether the piece at this offset may be made large: nothing exists of it nor of the page behind it.
    pub(crate) fn may_make(&self, file: BorrowedFd<'_>, offset: u64) -> bool {
        let asks = self.refusals.load(Ordering::Relaxed) < REFUSALS_MOST;
        let behind = offset + LARGE_BYTES as u64;
        let is_empty = || sys::next_data(file, offset).is_ok_and(|data| data > behind);
        asks && is_empty() && !self.passes_over()
    }

    /// Whether a piece that could be made large stays as it is, after slow ones.
    fn passes_over(&self) -> bool {
        let left = self.passes.load(Ordering::Relaxed);
        self.passes.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }

    /// Takes note of what the kernel answered for a piece, and how long that took. Says whether it is a large page.
    pub(crate) fn note(&self, answer: Result<(), Errno>, took: Duration) -> bool {
        let took_us = took.as_micros() as i64;
        if answer.is_err() {
            self.lose(took_us);
            self.refusals.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.lose(took_us - SMALL_US);
        self.refusals.store(0, Ordering::Relaxed);
        true
    }

    /// So much time was lost, or saved where it is negative.
    fn lose(&self, lost_us: i64) {
        let (least, most) = PASSED_OVER;
        let penalty = self.penalty.load(Ordering::Relaxed).max(least);
        let loss_us = self.loss_us.load(Ordering::Relaxed) + lost_us;
        if loss_us > LOSS_MOST_US {
            self.passes.store(penalty, Ordering::Relaxed);
            self.penalty
                .store((2 * penalty).min(most), Ordering::Relaxed);
        } else if lost_us < 0 {
            self.penalty.store(penalty / 2, Ordering::Relaxed);
        }
        self.loss_us.store(
            loss_us.clamp(-LOSS_MOST_US, LOSS_MOST_US),
            Ordering::Relaxed,
        );
    }

    /// Whether the kernel has refused one.
    #[cfg(test)]
    pub(crate) fn refuses(&self) -> bool {
        self.refusals.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Mapping;

    const PIECES: u64 = 4;
    const PIECE: PageRun = PageRun {
        first: PageId(LARGE_PAGES),
        count: LARGE_PAGES,
    };

    /// A region of which these pages exist.
    fn with(pages: impl IntoIterator<Item = u64>) -> Mapping {
        let mapping = Mapping::anywhere(PIECES * LARGE_BYTES as u64).unwrap();
        for page in pages {
            mapping.put(PageId(page), &[7; PAGE_SIZE]).unwrap();
        }
        mapping
    }

    #[test]
    fn a_piece_may_be_made_where_nothing_exists_of_it_nor_right_behind() {
        let first = PIECE.first.0;
        assert!(with([0, first - 1, first + LARGE_PAGES + 1]).may_make_large(PIECE));
        for exists in [first, first + LARGE_PAGES - 1, first + LARGE_PAGES] {
            assert!(!with([exists]).may_make_large(PIECE), "{exists}");
        }
    }

    #[test]
    fn pieces_begin_where_large_pages_can_and_end_in_the_region() {
        let pages = 3 * LARGE_PAGES - 1;
        let begins = |first: &u64| piece(PageId(*first), pages).is_some();
        let all: Vec<_> = (0..pages).filter(begins).collect();
        assert_eq!(all, [LARGE_PAGES]);
        let last = piece(PageId(2 * LARGE_PAGES), 3 * LARGE_PAGES).unwrap();
        assert_eq!(reach(last, 3 * LARGE_PAGES), last);
        assert_eq!(reach(PIECE, 3 * LARGE_PAGES).count, LARGE_PAGES + 1);
    }

    #[test]
    fn what_is_just_being_filled_need_not_be_filled() {
        let count = |made| front(PIECE, PageId(made)).map_or(0, |front| front.count);
        let half = LARGE_PAGES - FILLED_PAGES;
        for (made, filled) in [
            (LARGE_PAGES + 3, FILLED_PAGES),
            (LARGE_PAGES, FILLED_PAGES),
            (LARGE_PAGES - 20, FILLED_PAGES - 20),
            (half, 0),
            (3, 0),
        ] {
            assert_eq!(count(made), filled, "{made}");
        }
        assert_eq!(front(PIECE, PIECE.first).unwrap().first, PageId(half));
    }

    #[test]
    fn a_large_page_holds_zeros_and_leaves_what_is_beside_it_alone() {
        let mapping = with([LARGE_PAGES - 1, 3 * LARGE_PAGES]);
        let before = mapping.resident_pages();
        let made = mapping.make_large(PIECE);
        // Where the machine gives none, a page exists that the kernel wanted for a beginning.
        let more = if made { LARGE_PAGES as i64 } else { 1 };
        assert_eq!(mapping.resident_pages(), before + more);
        let byte = |page| {
            let (address, _) = mapping.system(PageRun::one(PageId(page)));
            // SAFETY: the system view is readable, and this test has it alone.
            unsafe { address.add(9).read_volatile() }
        };
        let pages = [
            LARGE_PAGES - 1,
            LARGE_PAGES,
            2 * LARGE_PAGES - 1,
            3 * LARGE_PAGES,
        ];
        assert_eq!(pages.map(byte), [7, 0, 0, 7]);
    }

    #[test]
    fn who_is_refused_often_in_a_row_asks_no_more() {
        let mapping = with([]);
        let large = mapping.large();
        let refuse = || assert!(!large.note(Err(Errno::AGAIN), Duration::ZERO));
        (1..REFUSALS_MOST).for_each(|_| refuse());
        assert!(large.note(Ok(()), Duration::ZERO));
        (1..REFUSALS_MOST).for_each(|_| refuse());
        assert!(mapping.may_make_large(PIECE));
        refuse();
        assert!(!mapping.may_make_large(PIECE));
    }

    #[test]
    fn large_pages_rest_when_they_have_lost_much_and_longer_each_time() {
        let mapping = with([]);
        let passed_over = || {
            let passed = (0..).take_while(|_| !mapping.may_make_large(PIECE));
            passed.count() as u32
        };
        let make = |took_us| {
            let took = Duration::from_micros(took_us as u64);
            assert!(mapping.large().note(Ok(()), took));
            passed_over()
        };
        let (least, most) = PASSED_OVER;
        let (fast_us, slow_us) = (SMALL_US / 10, SMALL_US + LOSS_MOST_US / 2);
        assert_eq!(passed_over(), 0);
        // Twice that is the most that may be lost.
        assert_eq!([slow_us; 2].map(make), [0, 0]);
        assert_eq!([slow_us; 3].map(make), [least, 2 * least, 4 * least]);
        // What is saved may be lost again, and what was lost is forgotten by half.
        assert_eq!([fast_us; 5].map(make), [0; 5]);
        assert_eq!([slow_us; 2].map(make), [0, least]);
        assert!((0..20).any(|_| make(slow_us) == most));
        assert_eq!(make(slow_us), most);
        assert!((0..100).all(|_| make(fast_us) == 0));
        assert_eq!(
            [slow_us; 4].map(make),
            [0; 4],
            "no more is saved than may be lost"
        );
        assert_eq!(make(slow_us), least);
    }
}
