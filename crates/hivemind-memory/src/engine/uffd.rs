//! The fast engine: userfaultfd in `SIGBUS` mode. Absent pages fault; a store to a present page never does. The kernel
//! lifts the write protection by itself (`WP_ASYNC`), and a scan of the page tables finds afterwards where it did.
//!
//! A page is made absent by dropping its entry in the application view: the bytes stay in the file, where the system
//! view reaches them. It is made present by mapping the file's page again: write-protected as `ReadOnly`, so that a
//! store is found, and without protection as `ReadWrite`, so that stores cost nothing and concern nobody. Only
//! `ReadOnly` pages are scanned: the kernel takes a page without protection for one that was stored to.
//!
//! Where the machine has swap space, the kernel may drop entries of its own accord, when memory is short. It leaves a
//! mark for a page that was write-protected, and nothing for one that was stored to. So a valid page without entry and
//! mark was written (INV-M2 restores it; [`Engine::take_written`] reports it).

use super::{Engine, Opened, Refusal};
use crate::access_map::AccessMap;
use crate::error::end_process;
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

/// How often pages are populated that are not in the file when they shall be mapped: once those that nobody used yet,
/// and again what the kernel took away between two calls. Memory so short that it happens that often cannot be worked
/// with.
const POPULATE_TRIES: usize = 100;

struct Uffd {
    mapping: Arc<Mapping>,
    fd: OwnedFd,
    pagemap: OwnedFd,
    /// Whether the kernel may drop entries of its own accord; may change while we run.
    has_swap: fn() -> bool,
    state: Mutex<State>,
}

struct State {
    map: AccessMap,
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
            .map_err(scan_refused)
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
        .map_in(middle, true)
        .map_err(|errno| refused("UFFDIO_CONTINUE", errno))?;
    engine.state().map.set(middle, Access::ReadOnly);
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
        .try_drop_out(second)
        .map_err(|errno| refused("madvise", errno))?;
    expect(
        !store_by_system_call(&mapping, PageId(2)),
        "a page can be reached after it was dropped",
    )
}

impl Uffd {
    fn new(mapping: Arc<Mapping>) -> Result<Self, Refusal> {
        let fd = sys::open_userfaultfd().map_err(|(call, errno)| refused(call, errno))?;
        let (address, bytes) = whole(&mapping);
        // SAFETY: the application view is our own shared memfd mapping; who faults there is served.
        unsafe { sys::watch(fd.as_fd(), address, bytes) }
            .map_err(|errno| refused("UFFDIO_REGISTER", errno))?;
        let pagemap = sys::open_pagemap().map_err(|errno| {
            Refusal::new(
                format!("/proc/self/pagemap cannot be opened ({errno})"),
                "mount /proc, and make the program's file readable for its user",
            )
        })?;
        // Only now that absent pages fault may the program reach the view.
        // SAFETY: as above.
        unsafe { sys::protect(address, bytes, true, true) }
            .map_err(|errno| refused("mprotect", errno))?;
        let nothing = page_region {
            start: 0,
            end: 0,
            categories: 0,
        };
        let state = Mutex::new(State {
            map: AccessMap::default(),
            found: vec![nothing; SCAN_RANGES],
        });
        Ok(Self {
            mapping,
            fd,
            pagemap,
            has_swap: sys::has_swap,
            state,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under this lock is a broken invariant and ends the process; the map itself is never half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the program see these pages, none of which it sees now. Most were just written through the system view,
    /// so they exist in the file: only where the kernel misses one are they made to, since that takes as long as
    /// mapping them does.
    fn map_in(&self, pages: PageRun, write_protected: bool) -> Result<(), Errno> {
        let (address, bytes) = self.mapping.application(pages);
        let (system, _) = self.mapping.system(pages);
        let (mut done, mut tries) = (0, 0);
        while done < bytes {
            // SAFETY: the range lies in the watched application view; the core decided that the program may see it.
            match unsafe {
                sys::map_pages(
                    self.fd.as_fd(),
                    address.add(done),
                    bytes - done,
                    write_protected,
                )
            } {
                Ok(mapped) => done += mapped,
                // It is there already: an entry that the kernel was just moving.
                Err(Errno::EXIST) => done += PAGE_SIZE,
                Err(Errno::FAULT) if tries < POPULATE_TRIES => {
                    tries += 1;
                    // SAFETY: both ranges are views of our own region.
                    unsafe { sys::populate(system.add(done), bytes - done) }?;
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn try_drop_out(&self, pages: PageRun) -> Result<(), Errno> {
        let (address, bytes) = self.mapping.application(pages);
        // SAFETY: the application view of our own region; the bytes stay in the file.
        unsafe { sys::drop_entries(address, bytes) }
    }

    fn try_protect(&self, pages: PageRun, armed: bool) -> Result<(), Errno> {
        let (address, bytes) = self.mapping.application(pages);
        // SAFETY: the range lies in the watched application view; the core decided whether stores count.
        unsafe { sys::write_protect(self.fd.as_fd(), address, bytes, armed) }
    }

    fn try_take_written(&self, into: &mut Vec<PageRun>, state: &mut State) -> Result<(), Errno> {
        let State { map, found } = state;
        let before = into.len();
        let spans = map.read_only_runs();
        for span in &spans {
            self.scan(*span, Scan::TakeWritten, found, |run| {
                push(into, before, run)
            })?;
        }
        if !spans.is_empty() && (self.has_swap)() {
            self.take_vanished(&spans, into, before, state)?;
        }
        Ok(())
    }

    /// Finds the written pages whose entries the kernel dropped, and maps them again.
    fn take_vanished(
        &self,
        spans: &[PageRun],
        into: &mut Vec<PageRun>,
        before: usize,
        state: &mut State,
    ) -> Result<(), Errno> {
        let State { map, found } = state;
        let mut vanished = Vec::new();
        for span in spans {
            self.scan(*span, Scan::NoEntry, found, |run| {
                map.runs_where(
                    run,
                    |access| access == Access::ReadOnly,
                    |run| vanished.push(run),
                );
            })?;
        }
        for run in &vanished {
            self.map_in(*run, true)?;
        }
        if !vanished.is_empty() {
            let mut all: Vec<PageId> = into
                .drain(before..)
                .chain(vanished)
                .flat_map(PageRun::pages)
                .collect();
            all.sort_unstable();
            all.dedup();
            into.extend(PageRun::join(all));
        }
        Ok(())
    }

    /// Calls `visit` with the runs that a scan of this span finds, ascending.
    fn scan(
        &self,
        span: PageRun,
        what: Scan,
        found: &mut [page_region],
        mut visit: impl FnMut(PageRun),
    ) -> Result<(), Errno> {
        let (address, bytes) = self.mapping.application(span);
        let (mut next, end) = (address.addr() as u64, (address.addr() + bytes) as u64);
        while next < end {
            // SAFETY: the application view of our own region.
            let (filled, walked) =
                unsafe { sys::scan(self.pagemap.as_fd(), next, end, what, found) }?;
            for range in &found[..filled] {
                let first = self.mapping.page_at(range.start as usize);
                visit(PageRun {
                    first,
                    count: (range.end - range.start) / PAGE_SIZE as u64,
                });
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
        let (_, _) = self.mapping.application(pages);
        let mut state = self.state();
        let map = &mut state.map;
        if access == Access::Invalid {
            map.runs_where(
                pages,
                |old| old != Access::Invalid,
                |run| {
                    self.try_drop_out(run)
                        .unwrap_or_else(|errno| give_up("make absent", run, "madvise", errno));
                },
            );
        } else {
            let armed = access == Access::ReadOnly;
            map.runs_where(
                pages,
                |old| old == Access::Invalid,
                |run| {
                    self.map_in(run, armed).unwrap_or_else(|errno| {
                        give_up("make present", run, "UFFDIO_CONTINUE", errno)
                    });
                },
            );
            map.runs_where(
                pages,
                |old| old != Access::Invalid && old != access,
                |run| {
                    self.try_protect(run, armed).unwrap_or_else(|errno| {
                        give_up("watch stores to", run, "UFFDIO_WRITEPROTECT", errno)
                    });
                },
            );
        }
        map.set(pages, access);
        if mutant(Mutant::MappingEachPage) {
            for page in pages.pages() {
                let (address, bytes) = self.mapping.application(PageRun::one(page));
                // SAFETY: the application view of our own region.
                let _ = unsafe { sys::protect(address, bytes, true, access != Access::ReadOnly) };
            }
        }
    }

    fn access(&self, page: PageId) -> Access {
        self.state().map.get(page)
    }

    fn take_written(&self, into: &mut Vec<PageRun>) {
        let all = PageRun {
            first: PageId(0),
            count: self.mapping.pages(),
        };
        self.try_take_written(into, &mut self.state())
            .unwrap_or_else(|errno| give_up("find the writes in", all, "PAGEMAP_SCAN", errno));
    }

    fn settle(&self, page: PageId, _: AccessKind) -> bool {
        let mut state = self.state();
        let access = state.map.get(page);
        if access == Access::Invalid {
            return false;
        }
        let one = PageRun::one(page);
        let mut present = false;
        let mut no_entry = false;
        let found = &mut state.found;
        self.scan(one, Scan::Present, found, |_| present = true)
            .and_then(|()| {
                if present {
                    Ok(())
                } else {
                    self.scan(one, Scan::NoEntry, found, |_| no_entry = true)
                }
            })
            // Without a mark the page was written: the next scan must find it.
            .and_then(|()| {
                if present {
                    Ok(())
                } else {
                    self.map_in(one, !no_entry && access == Access::ReadOnly)
                }
            })
            .unwrap_or_else(|errno| give_up("restore", one, "UFFDIO_CONTINUE", errno));
        true
    }
}

/// The whole application view.
fn whole(mapping: &Mapping) -> (*mut u8, usize) {
    mapping.application(PageRun {
        first: PageId(0),
        count: mapping.pages(),
    })
}

/// Appends a run, joined to the last of those from `before` on where it follows.
fn push(into: &mut Vec<PageRun>, before: usize, run: PageRun) {
    match into[before..].last_mut() {
        Some(last) if last.end() == run.first => last.count += run.count,
        _ => into.push(run),
    }
}

fn give_up(undertaking: &str, pages: PageRun, call: &str, errno: Errno) -> ! {
    let PageRun { first, count } = pages;
    end_process(format_args!(
        "the kernel refuses to {undertaking} {first} and {} more of the region ({call}: {errno}): look at the limits on \
         memory (cgroup, `ulimit -v`) and at the kernel's log, or try the fault engine mprotect",
        count - 1
    ))
}

/// Has the kernel store a byte into a page of the application view, and tells whether it could.
fn store_by_system_call(mapping: &Mapping, page: PageId) -> bool {
    let (address, _) = mapping.application(PageRun::one(page));
    let clock = libc::CLOCK_MONOTONIC;
    // SAFETY: the kernel stores 16 bytes into the page, or answers EFAULT. Nobody else knows this mapping. The call
    // itself, not the C library's: that one would store from user space, and be killed.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, address) == 0 }
}

fn expect(holds: bool, otherwise: &str) -> Result<(), Refusal> {
    if holds {
        Ok(())
    } else {
        Err(Refusal::new(
            format!("in a trial, {otherwise}"),
            "report this kernel, with `uname -a`",
        ))
    }
}

fn scan_refused(errno: Errno) -> Refusal {
    match errno {
        Errno::NOTTY | Errno::INVAL => too_old("PAGEMAP_SCAN", errno),
        _ => refused("PAGEMAP_SCAN", errno),
    }
}

fn too_old(call: &str, errno: Errno) -> Refusal {
    Refusal::new(
        format!("this kernel has no asynchronous write protection ({call}: {errno})"),
        "boot Linux 6.7 or newer with CONFIG_USERFAULTFD and CONFIG_PTE_MARKER_UFFD_WP",
    )
}

fn refused(call: &str, errno: Errno) -> Refusal {
    match (call, errno) {
        ("userfaultfd", Errno::PERM | Errno::ACCESS) => Refusal::new(
            format!(
                "the system call userfaultfd is refused ({errno}), as the seccomp filter of a container does"
            ),
            "allow it in the container's seccomp profile",
        ),
        ("userfaultfd", Errno::NOSYS) => Refusal::new(
            format!("the system call userfaultfd is missing ({errno})"),
            "boot a kernel with CONFIG_USERFAULTFD, or allow the call in the container's seccomp profile",
        ),
        ("userfaultfd" | "UFFDIO_API" | "UFFDIO_REGISTER", Errno::INVAL | Errno::OPNOTSUPP) => {
            too_old(call, errno)
        }
        _ => Refusal::new(
            format!("{call} is refused ({errno})"),
            "look at the limits on open files and memory",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten valid pages on a machine with swap space, of which 3 and 5 are stored to.
    fn two_of_ten_written() -> Uffd {
        let mapping = Arc::new(Mapping::anywhere(20 * PAGE_SIZE as u64).unwrap());
        let mut engine = Uffd::new(mapping).unwrap();
        engine.has_swap = || true;
        engine.set_access(
            PageRun {
                first: PageId(0),
                count: 10,
            },
            Access::ReadOnly,
        );
        for page in [3, 5] {
            assert!(store_by_system_call(&engine.mapping, PageId(page)));
        }
        engine
    }

    /// Does what the kernel does when it takes a page out of memory.
    fn reclaim(engine: &Uffd, page: u64) {
        engine.try_drop_out(PageRun::one(PageId(page))).unwrap();
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
            store_by_system_call(&engine.mapping, PageId(3)),
            "it is there again"
        );
        assert_eq!(taken(&engine), runs([3]));
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
            assert!(!store_by_system_call(&engine.mapping, PageId(page)));
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
        assert!(store_by_system_call(&engine.mapping, PageId(7)));
        assert_eq!(taken(&engine), runs([7]));
    }
}
