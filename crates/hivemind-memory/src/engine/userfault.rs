//! What both engines with userfaultfd have in common: pages of the application view that fault while they are absent, in
//! `SIGBUS` mode, so that the faulting thread handles its own fault.
//!
//! A page is made absent by dropping its entry in the application view: the bytes stay in the file, where the system
//! view reaches them. It is made present by mapping the file's page again: write-protected as `ReadOnly`, and without
//! protection as `ReadWrite`, so that stores cost nothing and concern nobody. Where they concern somebody and are sure to come,
//! a page is `ReadOnly` without protection.
//!
//! Deliberately elsewhere: what a store to a write-protected page means, in which the two differ (`uffd`, `uffd_sync`).

use super::Refusal;
use super::left::Left;
use crate::access_map::AccessMap;
use crate::error::end_process;
use crate::large::{self, LARGE_PAGES};
use crate::mapping::Mapping;
use crate::sys;
use hivemind_protocol::{Access, Mutant, PAGE_SIZE, PageId, PageRun, mutant};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::sync::Arc;
use std::time::Duration;

/// How often pages are populated that are not in the file when they shall be mapped: once those that nobody used yet,
/// and again what the kernel took away between two calls. Memory so short that it happens that often cannot be worked
/// with.
const POPULATE_TRIES: usize = 100;

/// What an engine needs of the kernel.
pub(super) struct Need {
    /// The features of the userfaultfd.
    pub(super) features: u32,
    /// What they are for, in a sentence that begins with "this kernel has no".
    pub(super) what: &'static str,
    /// What to boot where that is missing.
    pub(super) remedy: &'static str,
}

/// A mapping whose application view is watched.
pub(super) struct Userfault {
    pub(super) mapping: Arc<Mapping>,
    fd: OwnedFd,
}

/// What the program may do with each page.
#[derive(Default)]
pub(super) struct Accesses {
    pub(super) map: AccessMap,
    /// Of the `ReadOnly` pages those that were left without protection when stores were looked for last. Where a page's access has changed
    /// since, it may be among them still: then at worst a store takes a fault in the kernel that it could have been spared.
    pub(super) left: Left,
}

impl Userfault {
    pub(super) fn watching(mapping: Arc<Mapping>, need: &Need) -> Result<Self, Refusal> {
        let fd = sys::open_userfaultfd(need.features)
            .map_err(|(call, errno)| need.refused(call, errno))?;
        let (address, bytes) = mapping.application(mapping.whole());
        // SAFETY: the application view is our own shared memfd mapping; who faults there is served.
        unsafe { sys::watch(fd.as_fd(), address, bytes) }
            .map_err(|errno| need.refused("UFFDIO_REGISTER", errno))?;
        // Only now that absent pages fault may the program reach the view.
        // SAFETY: as above.
        unsafe { sys::protect(address, bytes, true, true) }
            .map_err(|errno| need.refused("mprotect", errno))?;
        Ok(Self { mapping, fd })
    }

    /// Has these pages be what they shall be. A refusal of the kernel ends the process.
    pub(super) fn set_access(&self, accesses: &mut Accesses, pages: PageRun, access: Access) {
        let (_, _) = self.mapping.application(pages);
        if access == Access::Invalid {
            accesses.map.runs_where(
                pages,
                |old| old != Access::Invalid,
                |run| {
                    self.drop_out(run)
                        .unwrap_or_else(|errno| give_up("make absent", run, "madvise", errno));
                },
            );
        } else {
            self.open(accesses, pages, access, access == Access::ReadOnly);
        }
        accesses.map.set(pages, access);
        if mutant(Mutant::MappingEachPage) {
            for page in pages.pages() {
                let (address, bytes) = self.mapping.application(PageRun::one(page));
                // SAFETY: the application view of our own region.
                let _ = unsafe { sys::protect(address, bytes, true, access != Access::ReadOnly) };
            }
        }
    }

    /// Has them be `ReadOnly`, but without the protection that a store lifts.
    pub(super) fn set_stored(&self, accesses: &mut Accesses, pages: PageRun) {
        self.open(accesses, pages, Access::ReadOnly, false);
        for run in accesses.watched(pages) {
            self.mark_stored(run);
        }
        accesses.map.set(pages, Access::ReadOnly);
    }

    /// Drops the entries of pages that will be opened for stores. Where only their protection is lifted, the kernel takes a fault at the first
    /// store to each; to map them anew takes less than half as long as that, but for a single page.
    pub(super) fn hide(&self, accesses: &mut Accesses, pages: PageRun) {
        let watched = accesses.watched(pages);
        for run in watched.into_iter().filter(|run| run.count > 1) {
            self.set_access(accesses, run, Access::Invalid);
        }
    }

    fn open(&self, accesses: &Accesses, pages: PageRun, access: Access, armed: bool) {
        accesses.map.runs_where(
            pages,
            |old| old == Access::Invalid,
            |run| {
                self.map_making(run, armed, |missing| {
                    self.fill(&accesses.map, missing, run.first)
                })
                .unwrap_or_else(|errno| give_up("make present", run, "UFFDIO_CONTINUE", errno));
            },
        );
        let changed = match access {
            Access::ReadWrite => accesses.watched(pages),
            _ => accesses.runs_of(Access::ReadWrite, pages),
        };
        for run in changed {
            self.protect(run, armed).unwrap_or_else(|errno| {
                give_up("watch stores to", run, "UFFDIO_WRITEPROTECT", errno)
            });
        }
    }

    /// As if the program had stored to these pages, which it sees: the protection is lifted, and stores take no fault. (Where
    /// only the protection is lifted, the first store to each page takes one still.)
    fn mark_stored(&self, pages: PageRun) {
        let (address, bytes) = self.mapping.application(pages);
        // Where the kernel stops half way, for it has taken an entry away, the rest is found when it is stored to.
        // SAFETY: the application view of our own region.
        let _ = unsafe { sys::fault_in_for_stores(address, bytes) };
    }

    /// Makes the program see these pages; leaves those alone that it sees already.
    pub(super) fn map_in(&self, pages: PageRun, write_protected: bool) -> Result<(), Errno> {
        self.map_making(pages, write_protected, |run| self.mapping.populate(run))
    }

    /// As [`map_in`](Self::map_in). Most were just written through the
    /// system view, so they exist in the file: only where the kernel misses one does `make` make them, since that takes as
    /// long as mapping them does.
    fn map_making(
        &self,
        pages: PageRun,
        write_protected: bool,
        make: impl Fn(PageRun) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let (address, bytes) = self.mapping.application(pages);
        let (mut done, mut tries, mut at_once) = (0, 0, bytes);
        while done < bytes {
            // SAFETY: the range lies in the watched application view; the core decided that the program may see it.
            match unsafe {
                sys::map_pages(
                    self.fd.as_fd(),
                    address.add(done),
                    at_once.min(bytes - done),
                    write_protected,
                )
            } {
                Ok(mapped) => done += mapped,
                // It is there already: an entry that the kernel was just moving.
                Err(Errno::EXIST) => done += PAGE_SIZE,
                Err(Errno::FAULT) if tries < POPULATE_TRIES => {
                    tries += 1;
                    let mapped = (done / PAGE_SIZE) as u64;
                    make(PageRun {
                        first: PageId(pages.first.0 + mapped),
                        count: pages.count - mapped,
                    })?;
                }
                // The view is in two mappings here: so it was left when the kernel could not divide it further.
                Err(Errno::NOENT) if at_once > PAGE_SIZE => {
                    at_once = (at_once / 2).next_multiple_of(PAGE_SIZE);
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Makes these pages exist in the file; and with them those that will be wanted next, where the kernel has a large page for all. Those in
    /// front are just being opened, from `opening` on.
    fn fill(&self, map: &AccessMap, pages: PageRun, opening: PageId) -> Result<(), Errno> {
        let mut rest = pages;
        while rest.count > 0 {
            let piece_end = (rest.first.0 / LARGE_PAGES + 1) * LARGE_PAGES;
            let part = PageRun {
                first: rest.first,
                count: rest.count.min(piece_end - rest.first.0),
            };
            if !self.make_large(map, part.first, opening) {
                self.mapping.populate(part)?;
            }
            rest.first = part.end();
            rest.count -= part.count;
        }
        Ok(())
    }

    /// Makes a large page of this page and those behind it, if they are the next of memory that is filled: nothing exists of them, and
    /// those in front are valid, or from `made` on just being filled. Says whether all of them exist now.
    ///
    /// The kernel refuses that to a file that is watched for absent pages. So the program is kept out of the piece meanwhile, of which it
    /// sees nothing anyway: who comes there faults, as ever but by another signal, and waits for the engine's lock.
    pub(super) fn make_large(&self, map: &AccessMap, first: PageId, made: PageId) -> bool {
        let Some(piece) = large::piece(first, self.mapping.pages()) else {
            return false;
        };
        let mut filled = true;
        if let Some(front) = large::front(piece, made) {
            map.runs_where(
                front,
                |access| access == Access::Invalid,
                |_| filled = false,
            );
        }
        filled && self.mapping.may_make_large(piece) && self.replace_by_large(piece)
    }

    fn replace_by_large(&self, piece: PageRun) -> bool {
        let reach = large::reach(piece, self.mapping.pages());
        let (address, bytes) = self.mapping.application(reach);
        // SAFETY: the application view of our own region; who faults there is served.
        let keep_out = |out: bool| unsafe { sys::protect(address, bytes, !out, !out) };
        let kept_out = match mutant(Mutant::LargePageInReach) {
            false => keep_out(true),
            true => Ok(()),
        };
        let unwatched = kept_out.and_then(|()| {
            // SAFETY: as above, and nobody reaches the piece until it is watched again.
            unsafe { sys::watch_no_more(self.fd.as_fd(), address, bytes) }
        });
        if let Err(errno) = unwatched {
            // Whatever was done is undone below; the kernel lacks mappings to divide the view.
            self.mapping.large().note(Err(errno), Duration::ZERO);
        }
        let large = unwatched.is_ok() && self.mapping.make_large(piece);
        if kept_out.is_ok() {
            // SAFETY: the application view is our own shared memfd mapping; who faults there is served.
            unsafe { sys::watch(self.fd.as_fd(), address, bytes) }
                .unwrap_or_else(|errno| give_up("watch", piece, "UFFDIO_REGISTER", errno));
            keep_out(false).unwrap_or_else(|errno| give_up("let in at", piece, "mprotect", errno));
        }
        large
    }

    /// Makes these pages absent.
    pub(super) fn drop_out(&self, pages: PageRun) -> Result<(), Errno> {
        let (address, bytes) = self.mapping.application(pages);
        // SAFETY: the application view of our own region; the bytes stay in the file.
        unsafe { sys::drop_entries(address, bytes) }
    }

    /// Arms or lifts the write protection of present pages.
    pub(super) fn protect(&self, pages: PageRun, armed: bool) -> Result<(), Errno> {
        let (address, bytes) = self.mapping.application(pages);
        // SAFETY: the range lies in the watched application view; the core decided whether stores count.
        unsafe { sys::write_protect(self.fd.as_fd(), address, bytes, armed) }
    }

    /// Maps a page again that the kernel has taken the entry of; a refusal ends the process.
    pub(super) fn restore(&self, page: PageId, write_protected: bool) {
        let one = PageRun::one(page);
        self.map_in(one, write_protected)
            .unwrap_or_else(|errno| give_up("restore", one, "UFFDIO_CONTINUE", errno));
    }
}

impl Accesses {
    /// Those of the pages whose stores are found.
    fn watched(&self, pages: PageRun) -> Vec<PageRun> {
        let read_only = self.runs_of(Access::ReadOnly, pages);
        let watched = read_only.into_iter().flat_map(|run| self.left.others(run));
        watched.collect()
    }

    fn runs_of(&self, access: Access, pages: PageRun) -> Vec<PageRun> {
        let mut runs = Vec::new();
        self.map
            .runs_where(pages, |old| old == access, |run| runs.push(run));
        runs
    }
}

impl Need {
    /// Why a call was refused, said as well as it can be known.
    pub(super) fn refused(&self, call: &str, errno: Errno) -> Refusal {
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
            (
                "userfaultfd" | "UFFDIO_API" | "UFFDIO_REGISTER" | "UFFDIO_CONTINUE"
                | "PAGEMAP_SCAN",
                Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTTY,
            ) => Refusal::new(
                format!("this kernel has no {} ({call}: {errno})", self.what),
                self.remedy,
            ),
            _ => Refusal::new(
                format!("{call} is refused ({errno})"),
                "look at the limits on open files and memory",
            ),
        }
    }
}

pub(super) fn give_up(undertaking: &str, pages: PageRun, call: &str, errno: Errno) -> ! {
    let PageRun { first, count } = pages;
    end_process(format_args!(
        "the kernel refuses to {undertaking} {first} and {} more of the region ({call}: {errno}): look at the limits on \
         memory (cgroup, `ulimit -v`) and at the kernel's log, or try the fault engine mprotect",
        count - 1
    ))
}
