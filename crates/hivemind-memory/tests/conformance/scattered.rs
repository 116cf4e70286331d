//! Watched pages that lie apart, with pages of all kinds between them: stores are found in them all, and in them alone.

use crate::fixture::{Case, Fixture, Random, minor_faults, run};
use hivemind_protocol::{Access, Memory, PageId, PageRun, WriteDetection};
use std::time::{Duration, Instant};

pub(crate) fn stores_are_found_exactly_among_pages_of_all_kinds(case: &Case) {
    const PAGES: u64 = 1_500;
    let region = Fixture::new(PAGES, case.engine);
    if region.memory().write_detection() == WriteDetection::Traps {
        return;
    }
    let mut random = Random(11);
    let mut accesses = vec![Access::Invalid; PAGES as usize];
    let mut value = 0_u8;
    for round in 0..60 {
        for _ in 0..random.below(60) {
            let first = random.below(PAGES);
            // Gaps between watched pages of all lengths, those that are looked over and those that are not.
            let longest = 1 << random.below(8);
            let count = (1 + random.below(longest)).min(PAGES - first);
            let access =
                [Access::Invalid, Access::ReadOnly, Access::ReadWrite][random.below(3) as usize];
            region.set(first, count, access);
            accesses[first as usize..(first + count) as usize].fill(access);
        }
        // What was stored before a page is watched anew is not asked about here.
        region.take_written();
        value = value.wrapping_add(1);
        let valid = |page: &u64| accesses[*page as usize] != Access::Invalid;
        let stored: Vec<u64> = (0..PAGES)
            .filter(|page| valid(page) && random.below(8) == 0)
            .collect();
        stored.iter().for_each(|page| region.store(*page, 3, value));
        let watched = |page: &&u64| accesses[**page as usize] == Access::ReadOnly;
        let expected: Vec<_> = stored
            .iter()
            .filter(watched)
            .map(|page| PageId(*page))
            .collect();
        let leaves = |page: PageId| round % 2 == 1 && page.0.is_multiple_of(3);
        let mut told = Vec::new();
        region.memory().take_written_leaving(&mut told, &leaves);
        assert_eq!(
            told,
            PageRun::join(expected.iter().copied()),
            "round {round}"
        );
        let again = region.take_written();
        let may_be = |page: PageId| leaves(page) && expected.contains(&page);
        assert!(
            again.iter().flat_map(|run| run.pages()).all(may_be),
            "round {round}: {again:?}"
        );
        assert_eq!(region.take_written(), [], "round {round}");
    }
    assert_eq!(
        region.faults(),
        [],
        "a store to a valid page does not fault"
    );
}

pub(crate) fn pages_between_those_that_are_watched_stay_as_they_are(case: &Case) {
    // More than one call of the kernel tells of.
    const WATCHED: u64 = 1_200;
    const APART: u64 = 4;
    let region = Fixture::new(WATCHED * APART, case.engine);
    if region.memory().write_detection() == WriteDetection::Traps {
        return;
    }
    for at in (0..WATCHED * APART).step_by(APART as usize) {
        region.set(at, 1, Access::ReadOnly);
        region.set(at + 1, 1, Access::ReadWrite);
        region.store(at, 0, 1);
        region.store(at + 1, 0, 1);
    }
    let watched = || (0..WATCHED * APART).step_by(APART as usize);
    assert_eq!(
        region.take_written(),
        Vec::from_iter(watched().map(|at| run(at, 1)))
    );
    let before = minor_faults();
    watched().for_each(|at| region.store(at + 1, 0, 2));
    let faults = minor_faults() - before;
    assert!(
        faults < WATCHED as i64 / 4,
        "{faults} faults where nothing is watched"
    );
    assert_eq!(region.take_written(), []);
    assert_eq!(region.faults(), []);
    region.load(2, 0);
    assert_eq!(region.faults().len(), 1, "a page that is not valid faults");
}

/// How long it takes at least to find stores to each `stored`th page of so many watched runs.
fn look(case: &Case, (runs, pages): (u64, u64), apart: u64, stored: usize) -> Duration {
    let region = Fixture::new(runs * (pages + apart), case.engine);
    let firsts = || (0..runs).map(|at| at * (pages + apart));
    firsts().for_each(|first| region.set(first, pages, Access::ReadOnly));
    let watched: Vec<u64> = firsts().flat_map(|first| first..first + pages).collect();
    let stored: Vec<u64> = watched.into_iter().step_by(stored).collect();
    let expected = PageRun::join(stored.iter().map(|page| PageId(*page)));
    let look = || {
        for page in &stored {
            region.store(*page, 0, !region.load(*page, 0));
        }
        let begin = Instant::now();
        let told = region.take_written();
        let took = begin.elapsed();
        assert_eq!(told, expected);
        took
    };
    (0..20).map(|_| look()).min().unwrap_or(Duration::MAX)
}

/// For engines that look at page tables.
pub(crate) fn pages_near_each_other_are_looked_at_together(case: &Case) {
    let pages = (200, 1);
    let (near, far) = (look(case, pages, 2, 200), look(case, pages, 199, 200));
    assert!(
        2 * near < far,
        "{near:?} near each other, {far:?} far apart"
    );
}

/// As above: where stores to long runs are many there is nothing to win, and nothing may be lost.
pub(crate) fn long_runs_near_each_other_are_looked_at_one_by_one(case: &Case) {
    let runs = (3, 1_000);
    let (near, far) = (look(case, runs, 1, 2), look(case, runs, 199, 2));
    assert!(
        near < 3 * far,
        "{near:?} near each other, {far:?} far apart"
    );
}
