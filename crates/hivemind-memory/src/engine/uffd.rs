//! The fastest engine: userfaultfd in `SIGBUS` mode. Absent pages fault; a store to a present page never does. The kernel
//! lifts the write protection by itself (`WP_ASYNC`), and a scan of the page tables finds afterwards where it did. Only
//! `ReadOnly` pages are scanned: the kernel takes a page without protection for one that was stored to.
//!
//! Where the machine has swap space, the kernel may drop entries of its own accord, when memory is short; and everywhere those of a
//! large page, when it takes that apart: for a part of it is given back, or has to move. It leaves a
//! mark for a page that was write-protected, and nothing for one that was stored to. So a valid page without entry and
//! mark was written (INV-M2 restores it; [`Engine::take_written`] reports it, and maps it again).

use super::near::Near;
use super::userfault::{Accesses, Need, Userfault, give_up};
use super::{Engine, Opened, Refusal, expect, store_by_system_call};
use crate::mapping::Mapping;
use crate::sys::{self, Scan, page_region};
use hivemind_protocol::{
    Access, AccessKind, Mutant, PAGE_SIZE, PageId, PageRun, WriteDetection, mutant,
};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ranges that one scan can report before it is called again. 24 bytes each.
const SCAN_RANGES: usize = 512;

const NEED: Need = Need {
    features: sys::TRAPPED_WRITES | sys::ASYNCHRONOUS_WRITES,
    what: "asynchronous write protection",
    remedy: "boot Linux 6.7 or newer with CONFIG_USERFAULTFD and CONFIG_PTE_MARKER_UFFD_WP",
};

struct Uffd {
    userfault: Userfault,
    pagemap: OwnedFd,
    state: Mutex<State>,
}

struct State {
    accesses: Accesses,
    found: Vec<page_region>,
}

pub(super) fn open(mapping: Arc<Mapping>) -> Opened {
    Ok(Arc::new(Uffd::new(mapping)?))
}

/// Does with four pages what a region will need. Reaches the application view by system calls only, which answer with
/// `EFAULT` where an access would kill.
pub(super) fn probe() -> Result<(), Refusal> {
    let mapping = Arc::new(Mapping::anywhere(4 * PAGE_SIZE as u64)?);
    let engine = Uffd::new(Arc::clone(&mapping))?;
    let mut written = Vec::new();
    let mut take = || {
        written.clear();
        engine
            .try_take_written(&mut written, &mut engine.state())
            .map(|()| written.clone())
            .map_err(|errno| NEED.refused("PAGEMAP_SCAN", errno))
    };
    let middle = PageRun {
        first: PageId(1),
        count: 2,
    };
    let second = PageRun::one(PageId(2));

    expect(
        !store_by_system_call(&mapping, PageId(2)),
        "a store to an absent page does not fault",
    )?;
    engine
        .userfault
        .map_in(middle, true)
        .map_err(|errno| NEED.refused("UFFDIO_CONTINUE", errno))?;
    engine.state().accesses.map.set(middle, Access::ReadOnly);
    expect(
        take()?.is_empty(),
        "a scan finds pages that nobody stored to",
    )?;
    for _ in 0..2 {
        expect(
            store_by_system_call(&mapping, PageId(2)),
            "a store to a write-protected page faults",
        )?;
        expect(
            take()? == [second],
            "a scan does not find the page that was stored to",
        )?;
    }
    engine
        .userfault
        .drop_out(second)
        .map_err(|errno| NEED.refused("madvise", errno))?;
    expect(
        !store_by_system_call(&mapping, PageId(2)),
        "a page can be reached after it was dropped",
    )
}

impl Uffd {
    fn new(mapping: Arc<Mapping>) -> Result<Self, Refusal> {
        let userfault = Userfault::watching(mapping, &NEED)?;
        let pagemap = sys::open_pagemap().map_err(|errno| {
            Refusal::new(
                format!("/proc/self/pagemap cannot be opened ({errno})"),
                "mount /proc, and make the program's file readable for its user",
            )
        })?;
        let nothing = page_region {
            start: 0,
            end: 0,
            categories: 0,
        };
        let state = Mutex::new(State {
            accesses: Accesses::default(),
            found: vec![nothing; SCAN_RANGES],
        });
        Ok(Self {
            userfault,
            pagemap,
            state,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under this lock is a broken invariant and ends the process; the map itself is never half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_take_written(&self, into: &mut Vec<PageRun>, state: &mut State) -> Result<(), Errno> {
        self.take_written_by(Scan::TakeWritten, into, state)
    }

    /// A look at which pages were stored to first; then the usual scan around those that are left, where it found others. That finds in
    /// the same step what was stored to since the look.
    fn try_take_written_leaving(
        &self,
        into: &mut Vec<PageRun>,
        leaves: &dyn Fn(PageId) -> bool,
        state: &mut State,
    ) -> Result<(), Errno> {
        let before = into.len();
        self.take_written_by(Scan::Written, into, state)?;
        let seen = into.drain(before..).flat_map(PageRun::pages);
        let (left, watched): (Vec<_>, Vec<_>) = seen.partition(|page| leaves(*page));
        let State { accesses, found } = state;
        accesses.left.set(left.iter().copied());
        let mut written = left;
        for span in accesses.map.read_only_runs() {
            for part in accesses.left.others(span) {
                let from = watched.partition_point(|page| *page < part.first);
                if watched.get(from).is_some_and(|page| *page < part.end()) {
                    self.scan(part, Scan::TakeWritten, found, |run, _| {
                        written.extend(run.pages());
                    })?;
                }
            }
        }
        // What the kernel had dropped is protected already.
        written.extend(watched);
        written.sort_unstable();
        written.dedup();
        into.extend(PageRun::join(written));
        Ok(())
    }

    fn take_written_by(
        &self,
        scan: Scan,
        into: &mut Vec<PageRun>,
        state: &mut State,
    ) -> Result<(), Errno> {
        let State { accesses, found } = state;
        accesses.left.set([]);
        let before = into.len();
        let mut vanished = Vec::new();
        let mut tell = |run, has_entry: bool| {
            push(into, before, run);
            if !has_entry {
                vanished.push(run);
            }
        };
        let watched = accesses.map.read_only_runs();
        for near in Near::of(&watched) {
            match near.alone() {
                Some(span) => self.scan(span, scan, found, &mut tell)?,
                None => self.scan_among(&near, scan, found, &mut tell)?,
            }
        }
        for run in vanished {
            self.userfault.map_in(run, true)?;
        }
        Ok(())
    }

    /// As a scan of each of these, but for those where a look at all of them at once sees no store. The look protects nothing: what lies
    /// between is not to be changed.
    fn scan_among(
        &self,
        near: &Near<'_>,
        what: Scan,
        found: &mut [page_region],
        mut visit: impl FnMut(PageRun, bool),
    ) -> Result<(), Errno> {
        let mut seen = Vec::new();
        self.scan(near.span(), Scan::Written, found, |run, has_entry| {
            seen.push((run, has_entry));
        })?;
        let mut next = PageId(0);
        for (run, has_entry) in seen {
            if what == Scan::Written {
                match mutant(Mutant::StoresBetweenTold) {
                    false => near.within(run).for_each(|part| visit(part, has_entry)),
                    true => visit(run, has_entry),
                }
                continue;
            }
            for reached in near.reached_by(run) {
                if reached.first >= next {
                    next = reached.end();
                    self.scan(*reached, what, found, &mut visit)?;
                }
            }
        }
        Ok(())
    }

    /// Calls `visit` with the runs that a scan of this span finds, ascending, and whether they have entries.
    fn scan(
        &self,
        span: PageRun,
        what: Scan,
        found: &mut [page_region],
        mut visit: impl FnMut(PageRun, bool),
    ) -> Result<(), Errno> {
        let (address, bytes) = self.userfault.mapping.application(span);
        let (mut next, end) = (address.addr() as u64, (address.addr() + bytes) as u64);
        // The kernel makes room of its own for as many, at each call. Where what lies between watched pages is told too, it may be more: then
        // there is another call.
        let runs_most = (span.count as usize).div_ceil(2);
        let room = found.len().min(runs_most);
        let found = &mut found[..room];
        while next < end {
            // SAFETY: the application view of our own region.
            let (filled, walked) =
                unsafe { sys::scan(self.pagemap.as_fd(), next, end, what, found) }?;
            for range in found[..filled].iter().filter(|range| what.finds(range)) {
                let first = self.userfault.mapping.page_at(range.start as usize);
                let count = (range.end - range.start) / PAGE_SIZE as u64;
                visit(PageRun { first, count }, sys::has_entry(range));
            }
            assert!(
                walked > next,
                "INV-M4: the kernel's scan of a region stands still at {next:#x}"
            );
            next = walked;
        }
        Ok(())
    }
}

impl Engine for Uffd {
    fn write_detection(&self) -> WriteDetection {
        WriteDetection::Scans
    }

    fn set_access(&self, pages: PageRun, access: Access) {
        self.userfault
            .set_access(&mut self.state().accesses, pages, access);
    }

    /// Without protection they are to the next scan what pages are that were stored to, and no store pays for it.
    fn set_stored(&self, pages: PageRun) {
        self.userfault.set_stored(&mut self.state().accesses, pages);
    }

    fn hide(&self, pages: PageRun) {
        self.userfault.hide(&mut self.state().accesses, pages);
    }

    fn access(&self, page: PageId) -> Access {
        self.state().accesses.map.get(page)
    }

    fn make_large(&self, first: PageId, made: PageId) -> bool {
        self.userfault
            .make_large(&self.state().accesses.map, first, made)
    }

    fn take_written(&self, into: &mut Vec<PageRun>) {
        let all = self.userfault.mapping.whole();
        self.try_take_written(into, &mut self.state())
            .unwrap_or_else(|errno| give_up("find the writes in", all, "PAGEMAP_SCAN", errno));
    }

    fn take_written_leaving(&self, into: &mut Vec<PageRun>, leaves: &dyn Fn(PageId) -> bool) {
        let all = self.userfault.mapping.whole();
        self.try_take_written_leaving(into, leaves, &mut self.state())
            .unwrap_or_else(|errno| give_up("find the writes in", all, "PAGEMAP_SCAN", errno));
    }

    fn settle(&self, page: PageId, _: AccessKind) -> bool {
        let mut state = self.state();
        let access = state.accesses.map.get(page);
        if access == Access::Invalid {
            return false;
        }
        let one = PageRun::one(page);
        let mut is = |what| {
            let mut found = false;
            self.scan(one, what, &mut state.found, |_, _| found = true)
                .unwrap_or_else(|errno| give_up("look at", one, "PAGEMAP_SCAN", errno));
            found
        };
        if !is(Scan::Present) {
            // Without a mark the page was written: the next scan must find it.
            let marked = !is(Scan::NoEntry);
            self.userfault
                .restore(page, marked && access == Access::ReadOnly);
        }
        true
    }
}

/// Appends a run, joined to the last of those from `before` on where it follows.
fn push(into: &mut Vec<PageRun>, before: usize, run: PageRun) {
    match into[before..].last_mut() {
        Some(last) if last.end() == run.first => last.count += run.count,
        _ => into.push(run),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mm::Advice;

    /// Ten valid pages, of which 3 and 5 are stored to.
    fn two_of_ten_written() -> Uffd {
        let mapping = Arc::new(Mapping::anywhere(20 * PAGE_SIZE as u64).unwrap());
        let engine = Uffd::new(mapping).unwrap();
        engine.set_access(
            PageRun {
                first: PageId(0),
                count: 10,
            },
            Access::ReadOnly,
        );
        for page in [3, 5] {
            assert!(store_by_system_call(
                &engine.userfault.mapping,
                PageId(page)
            ));
        }
        engine
    }

    /// Does what the kernel does when it takes a page out of memory.
    fn reclaim(engine: &Uffd, page: u64) {
        engine
            .userfault
            .drop_out(PageRun::one(PageId(page)))
            .unwrap();
    }

    fn taken(engine: &Uffd) -> Vec<PageRun> {
        let mut written = Vec::new();
        engine.take_written(&mut written);
        written
    }

    fn runs<const N: usize>(pages: [u64; N]) -> Vec<PageRun> {
        PageRun::join(pages.map(PageId))
    }

    #[test]
    fn a_written_page_that_the_kernel_takes_away_is_still_reported() {
        if let Err(refusal) = probe() {
            eprintln!("skipped: {refusal:?}");
            return;
        }
        let engine = two_of_ten_written();
        reclaim(&engine, 3);
        reclaim(&engine, 7);
        assert_eq!(taken(&engine), runs([3, 5]), "7 was clean");
        assert_eq!(taken(&engine), []);
        assert!(
            store_by_system_call(&engine.userfault.mapping, PageId(3)),
            "it is there again"
        );
        assert_eq!(taken(&engine), runs([3]));
    }

    #[test]
    fn a_written_page_that_the_kernel_takes_away_is_reported_from_amid_scattered_ones() {
        if let Err(refusal) = probe() {
            eprintln!("skipped: {refusal:?}");
            return;
        }
        let mapping = Arc::new(Mapping::anywhere(20 * PAGE_SIZE as u64).unwrap());
        let engine = Uffd::new(Arc::clone(&mapping)).unwrap();
        let scattered = [1, 4, 7, 10].map(PageId);
        for page in scattered {
            engine.set_access(PageRun::one(page), Access::ReadOnly);
        }
        let take_leaving = |engine: &Uffd| {
            let mut written = Vec::new();
            engine.take_written_leaving(&mut written, &|_| false);
            written
        };
        for take in [taken, take_leaving] {
            assert!(store_by_system_call(&mapping, PageId(4)));
            reclaim(&engine, 4);
            reclaim(&engine, 7);
            assert_eq!(take(&engine), runs([4]), "7 was clean");
            assert_eq!(take(&engine), []);
            for page in (0..20).map(PageId) {
                // The one that was clean waits for its fault.
                let there = scattered.contains(&page) && page != PageId(7);
                assert_eq!(store_by_system_call(&mapping, page), there, "{page}");
            }
            assert_eq!(take(&engine), runs([1, 4, 10]));
            assert!(engine.settle(PageId(7), AccessKind::Read));
        }
    }

    #[test]
    fn a_page_that_the_kernel_takes_away_is_restored_without_the_core() {
        if let Err(refusal) = probe() {
            eprintln!("skipped: {refusal:?}");
            return;
        }
        let engine = two_of_ten_written();
        for page in [3, 7] {
            reclaim(&engine, page);
            assert!(!store_by_system_call(
                &engine.userfault.mapping,
                PageId(page)
            ));
            assert!(engine.settle(PageId(page), AccessKind::Read));
        }
        assert!(
            engine.settle(PageId(0), AccessKind::Write),
            "a page that is there"
        );
        assert!(
            !engine.settle(PageId(10), AccessKind::Read),
            "a page that is invalid"
        );
        assert_eq!(
            taken(&engine),
            runs([3, 5]),
            "what was written is remembered, what was clean stays so"
        );
        assert!(store_by_system_call(&engine.userfault.mapping, PageId(7)));
        assert_eq!(taken(&engine), runs([7]));
    }

    #[test]
    fn pages_are_mapped_where_the_view_is_in_pieces() {
        if let Err(refusal) = probe() {
            eprintln!("skipped: {refusal:?}");
            return;
        }
        let mapping = Arc::new(Mapping::anywhere(64 * PAGE_SIZE as u64).unwrap());
        let engine = Uffd::new(Arc::clone(&mapping)).unwrap();
        let run = |first, count| PageRun {
            first: PageId(first),
            count,
        };
        // What a refusal of the kernel leaves amid a change of a part.
        for piece in [run(7, 1), run(20, 13)] {
            let (address, bytes) = mapping.application(piece);
            // SAFETY: the test's own mapping; the advice changes no byte.
            let divided =
                unsafe { rustix::mm::madvise(address.cast(), bytes, Advice::LinuxDoDump) };
            divided.unwrap();
        }
        engine.set_access(run(2, 60), Access::ReadOnly);
        for page in [2, 6, 7, 8, 19, 20, 32, 33, 61] {
            assert!(store_by_system_call(&mapping, PageId(page)), "{page}");
        }
        assert_eq!(taken(&engine), runs([2, 6, 7, 8, 19, 20, 32, 33, 61]));
    }
}
