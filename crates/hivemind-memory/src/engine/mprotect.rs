//! The engine that works anywhere: mprotect and `SIGSEGV`. Every first store to a read-only page traps.
//!
//! Its weakness is the number of pieces that the kernel cuts a region into: neighbouring pages of different access are
//! separate mappings, of which a process may have `vm.max_map_count`. The kernel joins equal neighbours by itself.

use super::{Engine, Opened, Refusal, is_enough};
use crate::access_map::AccessMap;
use crate::error::end_process;
use crate::mapping::Mapping;
use crate::sys;
use hivemind_protocol::{Access, AccessKind, PAGE_SIZE, PageId, PageRun, WriteDetection};
use rustix::io::Errno;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

struct Mprotect {
    mapping: Arc<Mapping>,
    map: Mutex<AccessMap>,
}

pub(super) fn open(mapping: Arc<Mapping>) -> Opened {
    Ok(Arc::new(Mprotect {
        mapping,
        map: Mutex::default(),
    }))
}

pub(super) fn probe() -> Result<(), Refusal> {
    let mapping = Mapping::anywhere(3 * PAGE_SIZE as u64)?;
    let (address, bytes) = mapping.application(PageRun::one(PageId(1)));
    // SAFETY: the probe's own mapping, which nobody else knows.
    unsafe { sys::protect(address, bytes, true, true) }.map_err(|errno| {
        Refusal::new(
            format!("mprotect is refused ({errno})"),
            "allow the system call mprotect",
        )
    })
}

impl Mprotect {
    fn map(&self) -> MutexGuard<'_, AccessMap> {
        // A panic under this lock is a broken invariant and ends the process; the map itself is never half changed.
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Mprotect {
    fn write_detection(&self) -> WriteDetection {
        WriteDetection::Traps
    }

    fn set_access(&self, pages: PageRun, access: Access) {
        let (_, _) = self.mapping.application(pages);
        let mut map = self.map();
        // One call from the first page that changes to the last: those between get what they have.
        let mut hull: Option<PageRun> = None;
        map.runs_where(
            pages,
            |old| old != access,
            |run| {
                let first = hull.map_or(run.first, |hull| hull.first);
                hull = Some(PageRun {
                    first,
                    count: run.end().0 - first.0,
                });
            },
        );
        let Some(changed) = hull else { return };
        let (address, bytes) = self.mapping.application(changed);
        // SAFETY: the application view of our own region; who faults there is served.
        match unsafe {
            sys::protect(
                address,
                bytes,
                access != Access::Invalid,
                access == Access::ReadWrite,
            )
        } {
            Ok(()) => map.set(changed, access),
            Err(errno) => give_up(changed, access, errno),
        }
    }

    fn access(&self, page: PageId) -> Access {
        self.map().get(page)
    }

    fn take_written(&self, _: &mut Vec<PageRun>) {}

    fn settle(&self, page: PageId, kind: AccessKind) -> bool {
        is_enough(self.map().get(page), kind)
    }
}

fn give_up(pages: PageRun, access: Access, errno: Errno) -> ! {
    let PageRun { first, count } = pages;
    if errno == Errno::NOMEM {
        end_process(format_args!(
            "the kernel refuses to make {first} and {} more {access:?} (mprotect: {errno}): this process has more \
             mappings than vm.max_map_count allows; raise it with `sysctl -w vm.max_map_count=1048576`, or use the \
             fault engine uffd, which needs none",
            count - 1
        ))
    }
    end_process(format_args!(
        "the kernel refuses to make {first} and {} more {access:?} (mprotect: {errno}): nothing but mprotect can do \
         that with this engine; try the fault engine uffd",
        count - 1
    ))
}
