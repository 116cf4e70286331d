//! Pages that are filled for the first time, by the program or by what comes from a peer.

use crate::fixture::{Case, Fixture, run};
use hivemind_protocol::{Access, Memory, PAGE_SIZE, PageId, PageRun, WriteDetection};

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

/// How many faults of this thread the kernel has resolved by itself.
fn minor_faults() -> i64 {
    let mut usage = std::mem::MaybeUninit::zeroed();
    // SAFETY: it writes one structure of the type that it is given a place for, of which all zeros are a value.
    let usage: libc::rusage = unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init()
    };
    usage.ru_minflt
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
