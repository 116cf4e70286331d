//! The engine for kernels that refuse userfaultfd, as containers have them do, and know guard pages: an invalid page is
//! guarded, and whoever touches it gets `SIGSEGV`. A guard stands in the page table, so that a page is no mapping of its
//! own.
//!
//! Nothing in the kernel tells which pages were stored to. So a `ReadOnly` page is copied when it becomes so, and
//! compared with its copy when somebody asks. Copies of all pages would take as much memory as the pages, and comparing
//! them each time would make a lock expensive for whoever holds many. So there are only so many copies, and a page that was
//! like its copy so often that a trap would have cost as much gives it up. Pages without a copy are protected with
//! mprotect: the first store traps, the engine notes it and lets the store through, without the core. Where the kernel
//! refuses more mappings, pages are copied all the same.
//!
//! Guards take room in page tables, also where no page is. So they are set up chunk by chunk, when the first page of a
//! chunk becomes valid; until then mprotect keeps the program out of the whole chunk.

use super::copies::Copies;
use super::{Engine, Opened, Refusal, expect, store_by_system_call};
use crate::access_map::AccessMap;
use crate::error::end_process;
use crate::mapping::Mapping;
use crate::sys;
use hivemind_protocol::{
    Access, AccessKind, Mutant, PAGE_SIZE, PageBytes, PageId, PageRun, WriteDetection, mutant,
};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Pages in a chunk: as many as one of the kernel's lowest page tables holds.
const CHUNK_PAGES: u64 = 512;

/// How many pages have copies at most: 4 MiB of them, which take some 0.3 milliseconds to compare where nothing is in
/// a cache.
const COPIES_MOST: usize = 1024;

/// After how many comparisons that found nothing a page is protected instead. A trap costs as much as some twenty
/// comparisons, so that together a page costs at most twice what it had to.
const CONSTANT_AFTER: u32 = 20;

struct Guard {
    mapping: Arc<Mapping>,
    state: Mutex<State>,
}

/// INV: a `ReadOnly` page has a copy, is protected or is known to be written; no other page is any of these.
struct State {
    map: AccessMap,
    /// The chunks that have their guards.
    chunks: BTreeSet<u64>,
    copies: Copies,
    protected: BTreeSet<PageId>,
    /// Pages of which a store has trapped, or was seen, since somebody asked.
    written: BTreeSet<PageId>,
}

pub(super) fn open(mapping: Arc<Mapping>) -> Opened {
    Ok(Arc::new(Guard::new(mapping)))
}

/// Does with four pages what a region will need, by system calls only, which answer with `EFAULT` where an access would
/// kill.
pub(super) fn probe() -> Result<(), Refusal> {
    let mapping = Arc::new(Mapping::anywhere(4 * PAGE_SIZE as u64)?);
    let guard = Guard::new(Arc::clone(&mapping));
    let stores = |page| store_by_system_call(&mapping, PageId(page));
    let middle = PageRun {
        first: PageId(1),
        count: 2,
    };
    let (first, second) = (PageRun::one(PageId(1)), PageRun::one(PageId(2)));

    expect(!stores(1), "a store to a closed page goes through")?;
    guard.set_up(0).map_err(refused)?;
    expect(!stores(1), "a store to a guarded page goes through")?;
    guard.let_in(middle).map_err(refused)?;
    expect(stores(1) && stores(2), "a store to an open page faults")?;
    expect(!stores(0) && !stores(3), "guards of neighbours are gone")?;
    guard.protect(second, true).map_err(refused)?;
    expect(!stores(2), "a store to a protected page goes through")?;
    guard.protect(second, false).map_err(refused)?;
    expect(stores(2), "a store faults where no protection is left")?;
    guard.keep_out(first).map_err(refused)?;
    expect(!stores(1), "a page can be reached behind its guard")?;
    let mut bytes = [0; PAGE_SIZE];
    guard.read(PageId(1), &mut bytes);
    expect(bytes[..16] != [0; 16], "a guard loses what was stored")
}

/// A call of the kernel's, and what it answered.
type Refused = (&'static str, Errno);

impl Guard {
    fn new(mapping: Arc<Mapping>) -> Self {
        Self {
            mapping,
            state: Mutex::new(State {
                map: AccessMap::default(),
                chunks: BTreeSet::new(),
                copies: Copies::new(),
                protected: BTreeSet::new(),
                written: BTreeSet::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under this lock is a broken invariant and ends the process; the map itself is never half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Guards all pages of a chunk that mprotect kept the program out of so far.
    fn set_up(&self, chunk: u64) -> Result<(), Refused> {
        let first = chunk * CHUNK_PAGES;
        let pages = PageRun {
            first: PageId(first),
            count: CHUNK_PAGES.min(self.mapping.pages() - first),
        };
        self.keep_out(pages)?;
        self.protect(pages, false)
    }

    fn keep_out(&self, pages: PageRun) -> Result<(), Refused> {
        let (address, bytes) = self.mapping.application(pages);
        // SAFETY: the application view of our own region, whose bytes stay in the file; who faults there is served.
        unsafe { sys::install_guards(address, bytes) }
            .map_err(|errno| ("madvise(MADV_GUARD_INSTALL)", errno))
    }

    fn let_in(&self, pages: PageRun) -> Result<(), Refused> {
        let (address, bytes) = self.mapping.application(pages);
        // SAFETY: the application view of our own region; the core decided that the program may see it.
        unsafe { sys::remove_guards(address, bytes) }
            .map_err(|errno| ("madvise(MADV_GUARD_REMOVE)", errno))
    }

    fn protect(&self, pages: PageRun, armed: bool) -> Result<(), Refused> {
        let (address, bytes) = self.mapping.application(pages);
        // SAFETY: the application view of our own region; who faults there is served.
        unsafe { sys::protect(address, bytes, true, !armed) }.map_err(|errno| ("mprotect", errno))
    }

    fn read(&self, page: PageId, into: &mut PageBytes) {
        let (from, bytes) = self.mapping.system(PageRun::one(page));
        // SAFETY: the system view of the page is readable, and `into` is as large and other memory. The program may store
        // meanwhile: this copy tolerates that.
        unsafe { sys::copy_racing(from, into.as_mut_ptr(), bytes) };
    }

    fn try_set_access(
        &self,
        state: &mut State,
        pages: PageRun,
        access: Access,
    ) -> Result<(), Refused> {
        if access == Access::Invalid {
            each_run(
                &state.map,
                pages,
                |old| old != access,
                |run| self.keep_out(run),
            )?;
            return self.unwatch(state, pages);
        }
        for chunk in pages.first.0 / CHUNK_PAGES..=(pages.end().0 - 1) / CHUNK_PAGES {
            if !state.chunks.contains(&chunk) {
                self.set_up(chunk)?;
                state.chunks.insert(chunk);
            }
        }
        if access == Access::ReadOnly {
            let mut fresh = Vec::new();
            let unwatched = |old| old != access;
            state
                .map
                .runs_where(pages, unwatched, |run| fresh.push(run));
            for run in fresh {
                self.watch(state, run)?;
            }
        } else {
            self.unwatch(state, pages)?;
        }
        let invalid = |old| old == Access::Invalid;
        each_run(&state.map, pages, invalid, |run| self.let_in(run))
    }

    /// Has stores to these pages found from now on.
    fn watch(&self, state: &mut State, pages: PageRun) -> Result<(), Refused> {
        let room = COPIES_MOST.saturating_sub(state.copies.len()) as u64;
        let end = pages.first.0 + pages.count.min(room);
        let beyond = PageRun {
            first: PageId(end),
            count: pages.end().0 - end,
        };
        let protected = beyond.count > 0 && self.try_protect(beyond)?;
        for page in pages.pages() {
            if protected && page >= beyond.first {
                state.protected.insert(page);
            } else {
                state.copies.take(page, |page, into| self.read(page, into));
            }
        }
        Ok(())
    }

    /// Has stores to these pages trap, where the kernel has mappings enough for that.
    fn try_protect(&self, pages: PageRun) -> Result<bool, Refused> {
        match self.protect(pages, true) {
            Err((_, Errno::NOMEM)) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Forgets what was stored to these pages, and lets stores to them through.
    fn unwatch(&self, state: &mut State, pages: PageRun) -> Result<(), Refused> {
        state.copies.forget_all(pages);
        take_range(&mut state.written, pages);
        for run in PageRun::join(take_range(&mut state.protected, pages)) {
            self.protect(run, false)?;
        }
        Ok(())
    }

    fn try_take_written(&self, state: &mut State) -> Result<Vec<PageId>, Refused> {
        let read = |page, into: &mut PageBytes| self.read(page, into);
        let compared = state.copies.compare(CONSTANT_AFTER, read);
        let mut written = compared.changed;
        for run in PageRun::join(compared.constant) {
            // Protected first: what was stored before is found now, what comes later traps.
            let protected = self.try_protect(run)?;
            for page in run.pages() {
                if state.copies.renew(page, read) {
                    written.push(page);
                }
                if protected {
                    state.copies.forget(page);
                    state.protected.insert(page);
                }
            }
        }
        let trapped = mem::take(&mut state.written);
        written.extend(&trapped);
        for run in PageRun::join(trapped) {
            self.watch(state, run)?;
        }
        written.sort_unstable();
        Ok(written)
    }
}

impl Engine for Guard {
    fn write_detection(&self) -> WriteDetection {
        WriteDetection::Scans
    }

    fn set_access(&self, pages: PageRun, access: Access) {
        let (_, _) = self.mapping.application(pages);
        let mut state = self.state();
        self.try_set_access(&mut state, pages, access)
            .unwrap_or_else(|refused| give_up(pages, access, refused));
        state.map.set(pages, access);
    }

    /// They are known to be written: nothing is copied and nothing traps before somebody asks.
    fn set_stored(&self, pages: PageRun) {
        let mut state = self.state();
        self.try_set_access(&mut state, pages, Access::ReadWrite)
            .unwrap_or_else(|refused| give_up(pages, Access::ReadOnly, refused));
        state.written.extend(pages.pages());
        state.map.set(pages, Access::ReadOnly);
    }

    fn access(&self, page: PageId) -> Access {
        self.state().map.get(page)
    }

    fn seen(&self, page: PageId, bytes: &PageBytes) {
        let mut state = self.state();
        // Were it only compared later, it might be as it was before, and who has got these bytes would keep them.
        if !mutant(Mutant::TakenBackForgotten) && state.copies.differs(page, bytes) {
            state.copies.forget(page);
            state.written.insert(page);
        }
    }

    fn take_written(&self, into: &mut Vec<PageRun>) {
        let written = self
            .try_take_written(&mut self.state())
            .unwrap_or_else(|refused| give_up(self.mapping.whole(), Access::ReadOnly, refused));
        into.extend(PageRun::join(written));
    }

    fn settle(&self, page: PageId, kind: AccessKind) -> bool {
        let mut state = self.state();
        if state.map.get(page) == Access::Invalid {
            return false;
        }
        if kind == AccessKind::Write && state.protected.remove(&page) {
            state.written.insert(page);
            self.protect(PageRun::one(page), false)
                .unwrap_or_else(|refused| give_up(PageRun::one(page), Access::ReadOnly, refused));
        }
        true
    }
}

/// Does something with each run of pages whose access is wanted, up to the first refusal.
fn each_run(
    map: &AccessMap,
    pages: PageRun,
    wanted: impl Fn(Access) -> bool,
    mut undertaking: impl FnMut(PageRun) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let mut done = Ok(());
    map.runs_where(pages, wanted, |run| {
        if done.is_ok() {
            done = undertaking(run);
        }
    });
    done
}

/// Takes those of a run out of a set.
fn take_range(set: &mut BTreeSet<PageId>, pages: PageRun) -> Vec<PageId> {
    let inside: Vec<_> = set.range(pages.first..pages.end()).copied().collect();
    for page in &inside {
        set.remove(page);
    }
    inside
}

fn refused((call, errno): Refused) -> Refusal {
    match errno {
        Errno::INVAL => Refusal::new(
            format!("this kernel has no guard pages in shared memory ({call}: {errno})"),
            "boot Linux 6.15 or newer, and don't lock the program's memory (mlockall)",
        ),
        _ => Refusal::new(
            format!("{call} is refused ({errno})"),
            "allow the system calls madvise and mprotect, and look at the limits on memory",
        ),
    }
}

fn give_up(pages: PageRun, access: Access, (call, errno): Refused) -> ! {
    let PageRun { first, count } = pages;
    end_process(format_args!(
        "the kernel refuses to make {first} and {} more {access:?} ({call}: {errno}): look at the limits on memory (cgroup, \
         `ulimit -v`) and at vm.max_map_count, don't lock the program's memory (mlockall), or try the fault engine mprotect",
        count - 1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, count: u64) -> PageRun {
        PageRun {
            first: PageId(first),
            count,
        }
    }

    fn works() -> bool {
        let refused = probe().err();
        if let Some(refusal) = &refused {
            eprintln!("skipped: {refusal:?}");
        }
        refused.is_none()
    }

    /// Ten pages that are read-only, as many times looked at as makes them constant, and page 5 stored to meanwhile.
    fn constant_but_5() -> Option<Guard> {
        if !works() {
            return None;
        }
        let mapping = Mapping::anywhere(20 * PAGE_SIZE as u64).unwrap();
        let guard = Guard::new(Arc::new(mapping));
        guard.set_access(run(0, 10), Access::ReadOnly);
        for look in 0..CONSTANT_AFTER {
            if look == 3 {
                assert!(stores(&guard, 5));
            }
            let expected = if look == 3 { vec![run(5, 1)] } else { vec![] };
            assert_eq!(taken(&guard), expected);
        }
        Some(guard)
    }

    fn stores(guard: &Guard, page: u64) -> bool {
        store_by_system_call(&guard.mapping, PageId(page))
    }

    fn taken(guard: &Guard) -> Vec<PageRun> {
        let mut written = Vec::new();
        guard.take_written(&mut written);
        written
    }

    #[test]
    fn a_page_that_stays_as_it_is_has_no_copy_and_traps() {
        let Some(guard) = constant_but_5() else {
            return;
        };
        let protected = guard.state().protected.clone();
        assert!(
            protected
                .iter()
                .map(|page| page.0)
                .eq([0, 1, 2, 3, 4, 6, 7, 8, 9])
        );
        assert_eq!(
            guard
                .state()
                .copies
                .compare(1, |_, into| into.fill(9))
                .changed,
            [PageId(5)],
            "nothing else has a copy"
        );
        assert_eq!(
            taken(&guard),
            [run(5, 1)],
            "it is not as it was claimed to be"
        );
        assert!(!stores(&guard, 4), "it traps");
        assert!(stores(&guard, 5));
        assert_eq!(taken(&guard), [run(5, 1)]);
    }

    #[test]
    fn a_store_that_traps_is_let_through_and_found() {
        let Some(guard) = constant_but_5() else {
            return;
        };
        assert!(guard.settle(PageId(4), AccessKind::Write));
        assert!(stores(&guard, 4));
        assert_eq!(taken(&guard), [run(4, 1)]);
        assert_eq!(taken(&guard), []);
        assert!(stores(&guard, 4), "it does not trap each time");
        assert_eq!(taken(&guard), [run(4, 1)]);
    }

    #[test]
    fn pages_beyond_the_most_copies_trap_once_and_are_found_as_well() {
        if !works() {
            return;
        }
        let most = COPIES_MOST as u64;
        let mapping = Mapping::anywhere((most + 9) * PAGE_SIZE as u64).unwrap();
        let guard = Guard::new(Arc::new(mapping));
        guard.set_access(run(0, most + 9), Access::ReadOnly);
        assert_eq!(guard.state().copies.len(), COPIES_MOST);
        assert!(stores(&guard, most - 1) && !stores(&guard, most));
        for _ in 0..2 {
            assert!(guard.settle(PageId(most + 3), AccessKind::Write));
            assert!(stores(&guard, most - 1) && stores(&guard, most + 3));
            assert_eq!(taken(&guard), [run(most - 1, 1), run(most + 3, 1)]);
            assert_eq!(taken(&guard), []);
            assert!(!stores(&guard, most + 3), "there is no room for its copy");
        }
        guard.set_access(run(0, 1), Access::Invalid);
        assert!(guard.settle(PageId(most + 3), AccessKind::Write));
        assert_eq!(taken(&guard), [run(most + 3, 1)]);
        assert!(stores(&guard, most + 3), "now there is");
    }

    #[test]
    fn a_constant_page_changes_its_access_as_any_other() {
        let Some(guard) = constant_but_5() else {
            return;
        };
        guard.set_access(run(0, 3), Access::Invalid);
        assert!(!stores(&guard, 1) && !guard.settle(PageId(1), AccessKind::Read));
        guard.set_access(run(1, 3), Access::ReadWrite);
        assert!(stores(&guard, 1) && stores(&guard, 3));
        guard.set_access(run(1, 3), Access::ReadOnly);
        assert_eq!(taken(&guard), [], "what was stored before does not count");
        assert!(stores(&guard, 1) && stores(&guard, 3));
        assert_eq!(taken(&guard), [run(1, 1), run(3, 1)]);
        assert_eq!(guard.state().protected.len(), 5);
    }
}
