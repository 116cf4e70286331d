//! Pages that are filled for the first time, by the program or by what comes from a peer.

use crate::fixture::{Case, Fixture, minor_faults, run};
use hivemind_protocol::{Access, AccessKind, Memory, PAGE_SIZE, PageId, PageRun, WriteDetection};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

pub(crate) fn pages_opened_for_stores_take_no_fault_and_are_told_of_once(case: &Case) {
    let region = Fixture::new(16, case.engine);
    if region.memory().write_detection() == WriteDetection::Traps {
        return;
    }
    region.memory().set_stored(run(4, 8));
    for page in 6..9 {
        region.store(page, 3, 1);
    }
    assert_eq!(region.faults(), []);
    let told = region.take_written();
    let pages: Vec<u64> = told
        .iter()
        .flat_map(|run| run.pages())
        .map(|page| page.0)
        .collect();
    assert!(
        (6..9).all(|page| pages.contains(&page)),
        "what was stored to is told: {pages:?}"
    );
    assert!(
        pages.iter().all(|page| (4..12).contains(page)),
        "nothing else was opened: {pages:?}"
    );
    assert_eq!(region.take_written(), []);
    region.store(5, 3, 1);
    region.store(7, 3, 2);
    assert_eq!(
        region.take_written(),
        [run(5, 1), run(7, 1)],
        "from then on stores are found"
    );
}

pub(crate) fn what_is_cleared_is_zero_and_filled_as_at_the_start(case: &Case) {
    const PAGES: u64 = 64;
    let region = Fixture::new(PAGES, case.engine);
    for soon in [true, false] {
        for page in 0..PAGES {
            region.store(page, 9, 1);
        }
        region.faults();
        region.take_written();
        region.set(0, PAGES, Access::Invalid);
        region.memory().clear(run(1, PAGES - 2), soon);
        assert_eq!(region.page(PAGES / 2), [0; PAGE_SIZE], "to the core");
        assert_eq!((region.page(0)[9], region.page(PAGES - 1)[9]), (1, 1));
        // What comes from a peer goes in again, and the rest is zeros to the program.
        region.memory().write(PageId(7), 0, &[3; PAGE_SIZE]);
        region.memory().write(PageId(8), 5, &[4]);
        for (page, offset, byte) in [(7, 9, 3), (8, 9, 0), (8, 5, 4), (9, 9, 0), (0, 9, 1)] {
            assert_eq!(region.load(page, offset), byte, "{page} + {offset}");
        }
        region.store(10, 9, 5);
        assert_eq!((region.load(10, 9), region.load(10, 8)), (5, 0));
        region.faults();
    }
}

pub(crate) fn valid_pages_opened_for_stores_keep_their_bytes(case: &Case) {
    let region = Fixture::new(4, case.engine);
    if region.memory().write_detection() == WriteDetection::Traps {
        return;
    }
    region.store(1, 0, 7);
    region.take_written();
    region.memory().set_stored(run(0, 3));
    region.store(2, 0, 9);
    assert_eq!((region.load(1, 0), region.load(2, 0)), (7, 9));
    let told = region.take_written();
    assert!(told.iter().any(|run| run.pages().any(|page| page.0 == 2)));
    region.set(0, 3, Access::Invalid);
    assert_eq!((region.page(1)[0], region.page(2)[0]), (7, 9));
}

pub(crate) fn stores_to_valid_pages_opened_for_them_take_no_fault_in_the_kernel(case: &Case) {
    const PAGES: u64 = 64;
    let region = Fixture::new(PAGES, case.engine);
    if region.memory().write_detection() == WriteDetection::Traps {
        return;
    }
    let store_to_all = |value| (0..PAGES).for_each(|page| region.store(page, 0, value));
    store_to_all(1);
    for hides in [false, true] {
        region.take_written();
        if hides {
            region.memory().hide(run(0, PAGES));
        }
        region.memory().set_stored(run(0, PAGES));
        let before = minor_faults();
        store_to_all(2);
        let faults = minor_faults() - before;
        assert!(faults < PAGES as i64 / 4, "{faults} faults");
        assert_eq!(region.take_written(), [run(0, PAGES)]);
    }
}

pub(crate) fn stores_to_pages_of_one_drone_alone_take_no_fault_in_the_kernel(case: &Case) {
    const PAGES: u64 = 64;
    let region = Fixture::new(PAGES, case.engine);
    let store_to_all = |value| (0..PAGES).for_each(|page| region.store(page, 0, value));
    store_to_all(1);
    region.take_written();
    region.set(0, PAGES, Access::ReadOnly);
    region.memory().hide(run(0, PAGES));
    region.set(0, PAGES, Access::ReadWrite);
    let before = minor_faults();
    store_to_all(2);
    let faults = minor_faults() - before;
    assert!(faults < PAGES as i64 / 4, "{faults} faults");
    assert_eq!(region.take_written(), []);
    assert!((0..PAGES).all(|page| region.load(page, 0) == 2));
}

pub(crate) fn pages_that_are_left_are_found_once_more_and_the_others_as_ever(case: &Case) {
    let region = Fixture::new(16, case.engine);
    if region.memory().write_detection() == WriteDetection::Traps {
        return;
    }
    let all = |told: &[PageRun]| -> Vec<u64> {
        let pages = told.iter().flat_map(|run| run.pages());
        pages.map(|page| page.0).collect()
    };
    let take_leaving = || {
        let mut told = Vec::new();
        region
            .memory()
            .take_written_leaving(&mut told, &|page| (6..10).contains(&page.0));
        all(&told)
    };
    (4..12).for_each(|page| region.store(page, 0, 1));
    assert_eq!(take_leaving(), Vec::from_iter(4..12));
    for page in [5, 7] {
        region.store(page, 0, 2);
    }
    let told = all(&region.take_written());
    assert!([5, 7].iter().all(|page| told.contains(page)), "{told:?}");
    let may_be = |page: &u64| *page == 5 || (6..10).contains(page);
    assert!(told.iter().all(may_be), "{told:?}");
    assert_eq!(region.take_written(), [], "now they are as all others");
    region.store(8, 0, 3);
    assert_eq!(region.take_written(), [run(8, 1)]);
    // Left again, and taken away from the program before it stores.
    region.store(8, 0, 4);
    assert_eq!(take_leaving(), [8]);
    region.set(8, 1, Access::Invalid);
    region.set(8, 1, Access::ReadOnly);
    assert_eq!(region.take_written(), []);
    region.store(8, 0, 5);
    assert_eq!(region.take_written(), [run(8, 1)]);
}

pub(crate) fn stores_to_pages_that_were_left_and_opened_take_no_fault_in_the_kernel(case: &Case) {
    const PAGES: u64 = 64;
    let region = Fixture::new(PAGES, case.engine);
    let store_to_all = |value| (0..PAGES).for_each(|page| region.store(page, 0, value));
    let take_leaving = || {
        let mut told = Vec::new();
        region.memory().take_written_leaving(&mut told, &|_| true);
    };
    for access in [Access::ReadWrite, Access::ReadOnly] {
        if access == Access::ReadOnly && region.memory().write_detection() == WriteDetection::Traps
        {
            return;
        }
        store_to_all(1);
        take_leaving();
        if access == Access::ReadWrite {
            region.memory().hide(run(0, PAGES));
            region.set(0, PAGES, access);
        } else {
            region.memory().set_stored(run(0, PAGES));
        }
        let before = minor_faults();
        store_to_all(2);
        let faults = minor_faults() - before;
        assert!(faults < PAGES as i64 / 4, "{access:?}: {faults} faults");
        region.set(0, PAGES, Access::ReadOnly);
        region.take_written();
        if region.memory().write_detection() == WriteDetection::Scans {
            region.store(3, 0, 3);
            let told = region.take_written();
            assert_eq!(told, [run(3, 1)], "what is watched again is found again");
        }
    }
}

pub(crate) fn a_page_that_comes_as_a_whole_is_seen_each_time(case: &Case) {
    let region = Fixture::new(4, case.engine);
    for value in 1..5 {
        region.memory().write(PageId(2), 0, &[value; PAGE_SIZE]);
        region.memory().write(PageId(2), 100, &[value + 10]);
        let at = |offset| (region.load(2, offset), region.page(2)[offset]);
        assert_eq!(at(0), (value, value));
        assert_eq!(at(100), (value + 10, value + 10));
        assert_eq!(at(PAGE_SIZE - 1), (value, value));
        assert_eq!((region.load(1, 5), region.load(3, 5)), (0, 0));
        region.set(2, 1, Access::Invalid);
    }
}

/// Pages that the kernel may keep as one large page.
const PIECE: u64 = 512;

pub(crate) fn what_is_filled_in_order_is_whole_and_all_else_is_untouched(case: &Case) {
    const FILLED: u64 = 2 * PIECE + 100;
    let region = Fixture::new(4 * PIECE, case.engine);
    let value = |page: u64| page as u8 | 1;
    // The last piece has something before the walk comes near it.
    let ahead = 3 * PIECE + 7;
    for page in [ahead].into_iter().chain(0..FILLED) {
        region.store(page, 9, value(page));
        assert_eq!(region.faults(), [(PageId(page), AccessKind::Write)]);
    }
    if region.memory().write_detection() == WriteDetection::Scans {
        assert_eq!(region.take_written(), [run(0, FILLED), run(ahead, 1)]);
        region.store(PIECE + 3, 8, 1);
        assert_eq!(region.take_written(), [run(PIECE + 3, 1)]);
        assert_eq!(region.faults(), []);
    }
    assert_eq!(region.load(FILLED + 50, 9), 0);
    assert_eq!(
        region.faults(),
        [(PageId(FILLED + 50), AccessKind::Read)],
        "nobody sees what nobody opened"
    );
    let from_a_peer = FILLED + 60;
    region
        .memory()
        .write(PageId(from_a_peer), 0, &[3; PAGE_SIZE]);
    assert_eq!(
        (region.load(from_a_peer, 9), region.load(from_a_peer + 1, 9)),
        (3, 0)
    );
    region.set(0, 4 * PIECE, Access::Invalid);
    let all = || (0..FILLED).chain([ahead]);
    assert!(
        all().all(|page| region.page(page)[9] == value(page)),
        "to the core"
    );
    assert!(
        all().all(|page| region.load(page, 9) == value(page)),
        "to the program"
    );
    // Given back from within one piece to within another.
    region.set(0, 4 * PIECE, Access::Invalid);
    let (first, count) = (PIECE + 5, PIECE);
    region.memory().clear(run(first, count), false);
    let expected = |page| match page {
        _ if (first..first + count).contains(&page) => 0,
        page => value(page),
    };
    assert!(all().all(|page| region.load(page, 9) == expected(page)));
    region.store(first + 1, 9, 5);
    assert_eq!(
        (region.load(first + 1, 9), region.load(first + 1, 8)),
        (5, 0)
    );
}

pub(crate) fn stores_are_found_where_a_large_page_was_taken_apart(case: &Case) {
    let region = Fixture::new(4 * PIECE, case.engine);
    for page in 0..2 * PIECE {
        region.store(page, 9, 1);
    }
    region.faults();
    let scans = region.memory().write_detection() == WriteDetection::Scans;
    if scans {
        region.take_written();
    } else {
        region.set(0, 2 * PIECE, Access::ReadOnly);
    }
    for page in [PIECE + 3, PIECE + 300] {
        region.store(page, 9, 2);
    }
    // A part of it is given back, and that is the kernel's occasion to take it apart.
    region.set(PIECE + 100, 50, Access::Invalid);
    region.memory().clear(run(PIECE + 100, 50), false);
    if scans {
        let told = [run(PIECE + 3, 1), run(PIECE + 300, 1)];
        assert_eq!(region.take_written(), told);
        assert_eq!(region.take_written(), []);
        region.store(PIECE + 4, 9, 2);
        assert_eq!(region.take_written(), [run(PIECE + 4, 1)]);
    }
    let value = |page| match page - PIECE {
        3 | 300 => 2,
        4 if scans => 2,
        100..150 => 0,
        _ => 1,
    };
    for page in PIECE..2 * PIECE {
        assert_eq!(region.load(page, 9), value(page), "{page}");
    }
}

pub(crate) fn who_comes_where_another_thread_is_about_to_fill_loses_no_store(case: &Case) {
    // Whether the two threads run at the same time is chance.
    (0..8).for_each(|_| fill_with_a_guest(case));
}

fn fill_with_a_guest(case: &Case) {
    const PIECES: u64 = 16;
    // The guest's page of a piece, which the other leaves alone.
    const OFFSET: u64 = 100;
    let region = Fixture::new(PIECES * PIECE, case.engine);
    let comes_to = AtomicU64::new(0);
    let guests = || (1..PIECES).map(|piece| piece * PIECE + OFFSET);
    thread::scope(|scope| {
        scope.spawn(|| {
            for page in guests() {
                // Just when the other comes to the piece, so that at times it is being made large.
                while comes_to.load(Ordering::Acquire) < page - OFFSET {
                    std::hint::spin_loop();
                }
                region.store(page, 1, page as u8 | 1);
            }
        });
        for page in 0..PIECES * PIECE {
            comes_to.store(page, Ordering::Release);
            if page < PIECE || page % PIECE != OFFSET {
                region.store(page, 0, 1);
            }
        }
    });
    let faults = region.faults();
    for page in guests() {
        assert!(
            faults.contains(&(PageId(page), AccessKind::Write)),
            "{page}"
        );
        assert_eq!(region.load(page, 1), page as u8 | 1, "{page}");
    }
    if region.memory().write_detection() == WriteDetection::Scans {
        assert_eq!(region.take_written(), [run(0, PIECES * PIECE)]);
    }
    region.set(0, PIECES * PIECE, Access::Invalid);
    for page in 0..PIECES * PIECE {
        let is_guest = guests().any(|guest| guest == page);
        let expected = if is_guest {
            [0, page as u8 | 1]
        } else {
            [1, 0]
        };
        assert_eq!(region.page(page)[..2], expected, "{page}");
    }
}
