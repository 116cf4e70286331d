//! Large pages: pieces of the memory file that the kernel clears and keeps as one page of 2 MiB, in place of 512 that it
//! looks for one by one.
//!
//! Who fills memory from one end to the other comes to the beginning of such a piece with all in front of it filled. Then the
//! piece is made large: it takes the memory of all its pages at once, so a program that touches a page here and there
//! must never get one. Only pieces of which nothing exists are made so, and no view shows anything of them.
//!
//! Deliberately elsewhere: what has to be done to the application view meanwhile, and which pages the program may see
//! (`engine/userfault.rs`).

use crate::sys;
use hivemind_protocol::{PAGE_SIZE, PageId, PageRun};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Pages in a large one.
pub(crate) const LARGE_PAGES: u64 = 512;

/// Bytes in a large one.
pub(crate) const LARGE_BYTES: usize = LARGE_PAGES as usize * PAGE_SIZE;

/// So much must exist in front of a piece: at most twice as much is taken in vain.
const FILLED_BYTES: u64 = LARGE_BYTES as u64 / 2;

/// Who was refused so often doesn't ask again: memory is scattered, and to look for large pieces takes the kernel long.
const REFUSALS_MOST: u32 = 4;

/// Who waits longer for a large page than for all its small ones has hit memory that a virtual machine's host looks for only now. There is
/// more of that where it came from: large free pieces are what such machines give back.
const SLOW: Duration = Duration::from_millis(2);

/// So many pieces stay small ones after a slow one; twice as many after the next, up to the second number.
const PASSED_OVER: (u32, u32) = (16, 1024);

/// Of one memory file. What it counts is changed under the engine's lock.
#[derive(Default)]
pub(crate) struct LargePages {
    refusals: AtomicU32,
    /// So many pieces more stay small.
    passes: AtomicU32,
    /// So many will after the next slow one, where that is more than the least.
    penalty: AtomicU32,
}

/// The piece that begins with this page, if one does, in a region of so many pages. The first has nothing in front of it.
pub(crate) fn piece(first: PageId, pages: u64) -> Option<PageRun> {
    let begins = first.0 > 0 && first.0.is_multiple_of(LARGE_PAGES);
    let count = LARGE_PAGES;
    (begins && first.0 + count <= pages).then_some(PageRun { first, count })
}

/// The pages that the kernel looks at for a piece: it sees to whoever watches the page behind as well.
pub(crate) fn reach(piece: PageRun, pages: u64) -> PageRun {
    let count = piece.count.saturating_add(1).min(pages - piece.first.0);
    PageRun { count, ..piece }
}

impl LargePages {
    /// Whether nothing exists of the piece at this offset nor of the page behind it, and all in front of it does; what lies from `made`
    /// on in front is just being made.
    pub(crate) fn is_next(&self, file: BorrowedFd<'_>, offset: u64, made: u64) -> bool {
        let is_next = || {
            let filled = offset - FILLED_BYTES;
            let is_filled = made <= filled || sys::next_hole(file, filled)? >= made;
            let behind = offset + LARGE_BYTES as u64;
            Ok::<_, Errno>(is_filled && sys::next_data(file, offset)? > behind)
        };
        let may_be = self.refusals.load(Ordering::Relaxed) < REFUSALS_MOST;
        may_be && is_next().unwrap_or(false) && !self.passes_over()
    }

    /// Whether a piece that could be made large stays as it is, after slow ones.
    fn passes_over(&self) -> bool {
        let left = self.passes.load(Ordering::Relaxed);
        self.passes.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }

    /// Takes note of what the kernel answered, and how long that took. Says whether there is a large page.
    pub(crate) fn note(&self, answer: Result<(), Errno>, took: Duration) -> bool {
        let (least, most) = PASSED_OVER;
        let penalty = self.penalty.load(Ordering::Relaxed).max(least);
        if took > SLOW {
            self.passes.store(penalty, Ordering::Relaxed);
            self.penalty
                .store((2 * penalty).min(most), Ordering::Relaxed);
        } else {
            self.penalty.store(penalty / 2, Ordering::Relaxed);
        }
        match answer {
            Ok(()) => return true,
            // The machine's settings forbid them, or its kernel has none.
            Err(Errno::INVAL) => self.refusals.store(REFUSALS_MOST, Ordering::Relaxed),
            Err(_) => {
                self.refusals.fetch_add(1, Ordering::Relaxed);
            }
        }
        false
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

    /// A region of which these pages exist.
    fn with(pages: impl IntoIterator<Item = u64>) -> Mapping {
        let mapping = Mapping::anywhere(PIECES * LARGE_BYTES as u64).unwrap();
        for page in pages {
            mapping.put(PageId(page), &[7; PAGE_SIZE]).unwrap();
        }
        mapping
    }

    fn is_next(mapping: &Mapping, first: u64) -> bool {
        mapping.next_large(PageId(first), PageId(first)).is_some()
    }

    #[test]
    fn a_piece_is_next_where_all_in_front_of_it_exists_and_nothing_of_it() {
        const PIECE: u64 = LARGE_PAGES;
        let half = || PIECE / 2..PIECE;
        assert!(is_next(&with(half()), PIECE));
        assert!(is_next(&with(half().chain([3, 3 * PIECE])), PIECE));
        for hole in [PIECE / 2, PIECE - 1] {
            assert!(!is_next(&with(half().filter(|page| *page != hole)), PIECE));
        }
        for exists in [PIECE, 2 * PIECE - 1, 2 * PIECE] {
            assert!(!is_next(&with(half().chain([exists])), PIECE), "{exists}");
        }
        for elsewhere in [0, PIECE - 1, PIECE + 1, 2 * PIECE] {
            assert!(!is_next(&with(half()), elsewhere));
        }
        let last = (PIECES - 1) * PIECE;
        assert!(is_next(&with(last - PIECE / 2..last), last));
    }

    #[test]
    fn what_is_just_being_made_in_front_of_a_piece_counts_as_there() {
        let mapping = with(LARGE_PAGES / 2..LARGE_PAGES - 20);
        let next = |made| mapping.next_large(PageId(LARGE_PAGES), PageId(made));
        assert!(next(LARGE_PAGES - 20).is_some());
        assert!(next(LARGE_PAGES - 19).is_none());
        assert!(next(3).is_some());
    }

    #[test]
    fn a_large_page_holds_zeros_and_leaves_what_is_beside_it_alone() {
        let mapping = with((LARGE_PAGES / 2..LARGE_PAGES).chain([3 * LARGE_PAGES]));
        let before = mapping.resident_pages();
        let piece = piece(PageId(LARGE_PAGES), mapping.pages()).unwrap();
        let made = mapping.make_large(piece);
        // Where the machine's settings forbid it, a page exists that the kernel wanted for a beginning.
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
    fn who_is_refused_often_asks_no_more_and_who_is_forbidden_at_once() {
        let mapping = with(LARGE_PAGES / 2..LARGE_PAGES);
        for _ in 1..REFUSALS_MOST {
            assert!(!mapping.large().note(Err(Errno::AGAIN), Duration::ZERO));
            assert!(is_next(&mapping, LARGE_PAGES));
        }
        mapping.large().note(Err(Errno::NOMEM), Duration::ZERO);
        assert!(!is_next(&mapping, LARGE_PAGES));
        let mapping = with(LARGE_PAGES / 2..LARGE_PAGES);
        mapping.large().note(Err(Errno::INVAL), Duration::ZERO);
        assert!(!is_next(&mapping, LARGE_PAGES));
    }
    #[test]
    fn after_a_slow_one_more_and_more_pieces_stay_small_and_after_fast_ones_less() {
        let mapping = with(LARGE_PAGES / 2..LARGE_PAGES);
        let passed_over = || {
            let passed = (0..).take_while(|_| !is_next(&mapping, LARGE_PAGES));
            passed.count() as u32
        };
        let (least, most) = PASSED_OVER;
        let slow = || assert!(mapping.large().note(Ok(()), 2 * SLOW));
        let fast = || assert!(mapping.large().note(Ok(()), SLOW / 2));
        assert_eq!(passed_over(), 0);
        for penalty in [least, 2 * least, 4 * least] {
            slow();
            assert_eq!(passed_over(), penalty);
        }
        fast();
        assert_eq!(passed_over(), 0);
        slow();
        assert_eq!(passed_over(), 4 * least);
        (0..20).for_each(|_| slow());
        assert_eq!(passed_over(), most);
        (0..20).for_each(|_| fast());
        slow();
        assert_eq!(passed_over(), least);
    }
}
