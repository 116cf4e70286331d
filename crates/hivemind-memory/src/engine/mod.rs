//! The fault engines: how pages are made present and absent, and how writes are noticed. Here is what an engine must do
//! and the table of those there are; each has a file of its own, and `choice` picks one. All pass the one suite in
//! `tests/conformance.rs`.
//!
//! Deliberately elsewhere: the signal handler itself, which is the same for all (`signal`).

mod choice;
mod copies;
mod guard;
mod left;
mod mprotect;
mod near;
mod uffd;
mod uffd_sync;
mod userfault;

pub use choice::{Chosen, EngineChoice, EngineKind, choose};

use crate::mapping::Mapping;
use crate::{MemoryError, engine};
use hivemind_protocol::{Access, AccessKind, PageBytes, PageId, PageRun, WriteDetection};
use std::sync::Arc;

/// What governs the application view of one region. Callable from a fault handler: it takes locks of its own only, which
/// nobody holds while touching the region. A refusal of the kernel ends the process.
pub(crate) trait Engine: Send + Sync {
    /// How it learns of writes.
    fn write_detection(&self) -> WriteDetection;

    /// What [`hivemind_protocol::Memory::set_access`] asks for.
    fn set_access(&self, pages: PageRun, access: Access);

    /// What [`hivemind_protocol::Memory::set_stored`] asks for.
    fn set_stored(&self, pages: PageRun) {
        self.set_access(pages, Access::ReadOnly);
    }

    /// What [`hivemind_protocol::Memory::hide`] offers.
    fn hide(&self, _: PageRun) {}

    /// What was set last for this page.
    fn access(&self, page: PageId) -> Access;

    /// The core has read a page, and this is what it saw: other drones may see it too from here on. Only who looks for
    /// stores by what they changed need know.
    fn seen(&self, _page: PageId, _bytes: &PageBytes) {}

    /// Makes a large page of this page and those behind it, if it is the next of memory that is filled; what lies from `made` on in
    /// front of it is just being filled. Says whether all of them exist now. Only for who maps each page into the application view, and
    /// leaves none of that to the kernel.
    fn make_large(&self, _first: PageId, _made: PageId) -> bool {
        false
    }

    /// What [`hivemind_protocol::Memory::take_written`] asks for.
    fn take_written(&self, into: &mut Vec<PageRun>);

    /// What [`hivemind_protocol::Memory::take_written_leaving`] offers.
    fn take_written_leaving(&self, into: &mut Vec<PageRun>, _leaves: &dyn Fn(PageId) -> bool) {
        self.take_written(into);
    }

    /// Whether this access needs no word with the core, since the page is valid for it (INV-M2): another thread's fault
    /// made it so, or the kernel forgot the entry and the engine has just restored it.
    fn settle(&self, page: PageId, kind: AccessKind) -> bool;
}

/// One line of the table.
pub(crate) struct Entry {
    pub(crate) kind: EngineKind,
    /// As it is written on a command line.
    pub(crate) name: &'static str,
    /// The signals that a fault comes as, and the codes in each that may mean one.
    pub(crate) signals: &'static [(libc::c_int, &'static [libc::c_int])],
    /// Takes over a fresh mapping, of which all pages are invalid.
    open: fn(Arc<Mapping>) -> Opened,
    /// Tries on a small mapping whether everything works that the engine will need.
    probe: fn() -> Result<(), Refusal>,
    /// What a program pays when this engine stands in for a better one.
    cost: &'static str,
}

/// The engines, the best first.
pub(crate) static TABLE: [Entry; 4] = [
    Entry {
        kind: EngineKind::Uffd,
        name: "uffd",
        signals: WATCHED,
        open: uffd::open,
        probe: uffd::probe,
        cost: "the fastest",
    },
    Entry {
        kind: EngineKind::UffdSync,
        name: "uffd-sync",
        signals: WATCHED,
        open: uffd_sync::open,
        probe: uffd_sync::probe,
        cost: "whose first store to a page costs about four times as much",
    },
    Entry {
        kind: EngineKind::Guard,
        name: "guard",
        signals: &[(libc::SIGSEGV, &[SEGV_MAPERR, SEGV_ACCERR])],
        open: guard::open,
        probe: guard::probe,
        cost: "which keeps copies of pages to see what was stored",
    },
    Entry {
        kind: EngineKind::Mprotect,
        name: "mprotect",
        signals: &[(libc::SIGSEGV, &[SEGV_ACCERR])],
        open: mprotect::open,
        probe: mprotect::probe,
        cost: "whose page faults cost about three times as much",
    },
];

/// How a userfaultfd tells of faults; the second is of pages that are kept out of reach while it does not watch them.
const WATCHED: &[(libc::c_int, &[libc::c_int])] = &[
    (libc::SIGBUS, &[libc::BUS_ADRERR]),
    (libc::SIGSEGV, &[SEGV_ACCERR]),
];

/// What the kernel says of an address that is not mapped, and of a guarded page. The libc crate lacks it.
const SEGV_MAPERR: libc::c_int = 1;

/// A mapped page was touched in a way that its protection forbids. The libc crate lacks it.
const SEGV_ACCERR: libc::c_int = 2;

/// An engine at work.
type Opened = Result<Arc<dyn Engine>, Refusal>;

/// Why an engine cannot work here, and what to do about it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) why: String,
    pub(crate) remedy: String,
}

/// The table's line of an engine.
pub(crate) fn entry(kind: EngineKind) -> &'static Entry {
    TABLE
        .iter()
        .find(|entry| entry.kind == kind)
        .expect("every kind has its line in the table")
}

/// Has an engine take over a mapping.
pub(crate) fn open(
    kind: EngineKind,
    mapping: Arc<Mapping>,
) -> Result<Arc<dyn Engine>, MemoryError> {
    (engine::entry(kind).open)(mapping).map_err(|refusal| refusal.into_error(kind))
}

impl Refusal {
    fn new(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            remedy: remedy.into(),
        }
    }

    fn into_error(self, engine: EngineKind) -> MemoryError {
        MemoryError::EngineRefused {
            engine,
            why: self.why,
            remedy: self.remedy,
        }
    }
}

impl From<MemoryError> for Refusal {
    fn from(error: MemoryError) -> Self {
        Self::new(error.to_string(), "see there")
    }
}

/// Whether an access of this kind does not fault.
fn is_enough(access: Access, kind: AccessKind) -> bool {
    access
        >= match kind {
            AccessKind::Read => Access::ReadOnly,
            AccessKind::Write => Access::ReadWrite,
        }
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
