//! The fast engine where the kernel cannot look for stores afterwards: userfaultfd in `SIGBUS` mode, with write
//! protection that traps. The first store to a `ReadOnly` page faults as an access to an absent one does, on the thread
//! that stores. Unlike with mprotect, pages of different access are no mappings of their own.
//!
//! Where the machine has swap space, the kernel may drop entries of its own accord, and where it takes a large page apart; the next
//! access then faults, and the page is mapped again without the core (INV-M2).

use super::userfault::{Accesses, Need, Userfault};
use super::{Engine, Opened, Refusal, expect, is_enough, store_by_system_call};
use crate::mapping::Mapping;
use crate::sys;
use hivemind_protocol::{Access, AccessKind, PAGE_SIZE, PageId, PageRun, WriteDetection};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Without the feature that pages can be mapped write-protected, there would be a moment between mapping and protecting in
/// which a store of another thread went by unseen.
const NEED: Need = Need {
    features: sys::TRAPPED_WRITES,
    what: "userfaultfd that maps a page write-protected",
    remedy: "boot Linux 6.4 or newer with CONFIG_USERFAULTFD and CONFIG_PTE_MARKER_UFFD_WP",
};

struct UffdSync {
    userfault: Userfault,
    accesses: Mutex<Accesses>,
}

pub(super) fn open(mapping: Arc<Mapping>) -> Opened {
    Ok(Arc::new(UffdSync::new(mapping)?))
}

/// Does with four pages what a region will need, by system calls only, which answer with `EFAULT` where an access would
/// kill.
pub(super) fn probe() -> Result<(), Refusal> {
    let mapping = Arc::new(Mapping::anywhere(4 * PAGE_SIZE as u64)?);
    let userfault = UffdSync::new(Arc::clone(&mapping))?.userfault;
    let stores = |page| store_by_system_call(&mapping, PageId(page));
    let middle = PageRun {
        first: PageId(1),
        count: 2,
    };
    let second = PageRun::one(PageId(2));

    expect(!stores(2), "a store to an absent page does not fault")?;
    userfault
        .map_in(middle, true)
        .map_err(|errno| NEED.refused("UFFDIO_CONTINUE", errno))?;
    for _ in 0..2 {
        expect(
            !stores(2),
            "a store to a write-protected page does not fault",
        )?;
        protect(&userfault, second, false)?;
        expect(stores(2), "a store faults where no protection is left")?;
        protect(&userfault, second, true)?;
    }
    expect(!stores(1), "protection was lifted from the page before")?;
    protect(&userfault, second, false)?;
    userfault
        .drop_out(second)
        .map_err(|errno| NEED.refused("madvise", errno))?;
    expect(!stores(2), "a page can be reached after it was dropped")
}

fn protect(userfault: &Userfault, pages: PageRun, armed: bool) -> Result<(), Refusal> {
    userfault
        .protect(pages, armed)
        .map_err(|errno| NEED.refused("UFFDIO_WRITEPROTECT", errno))
}

impl UffdSync {
    fn new(mapping: Arc<Mapping>) -> Result<Self, Refusal> {
        Ok(Self {
            userfault: Userfault::watching(mapping, &NEED)?,
            accesses: Mutex::default(),
        })
    }

    fn accesses(&self) -> MutexGuard<'_, Accesses> {
        // A panic under this lock is a broken invariant and ends the process; the map itself is never half changed.
        self.accesses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for UffdSync {
    fn write_detection(&self) -> WriteDetection {
        WriteDetection::Traps
    }

    fn set_access(&self, pages: PageRun, access: Access) {
        self.userfault
            .set_access(&mut self.accesses(), pages, access);
    }

    fn hide(&self, pages: PageRun) {
        self.userfault.hide(&mut self.accesses(), pages);
    }

    fn access(&self, page: PageId) -> Access {
        self.accesses().map.get(page)
    }

    fn make_large(&self, first: PageId, made: PageId) -> bool {
        self.userfault.make_large(&self.accesses().map, first, made)
    }

    fn take_written(&self, _: &mut Vec<PageRun>) {}

    fn settle(&self, page: PageId, kind: AccessKind) -> bool {
        let accesses = self.accesses();
        let access = accesses.map.get(page);
        if !is_enough(access, kind) {
            return false;
        }
        // Does nothing where another thread's fault has opened the page.
        self.userfault.restore(page, access == Access::ReadOnly);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_the_kernel_takes_away_is_restored_with_its_access() {
        if let Err(refusal) = probe() {
            eprintln!("skipped: {refusal:?}");
            return;
        }
        let mapping = Arc::new(Mapping::anywhere(4 * PAGE_SIZE as u64).unwrap());
        let engine = UffdSync::new(Arc::clone(&mapping)).unwrap();
        let stores = |page| store_by_system_call(&mapping, PageId(page));
        for (page, access) in [(0, Access::ReadOnly), (1, Access::ReadWrite)] {
            let one = PageRun::one(PageId(page));
            engine.set_access(one, access);
            engine.userfault.drop_out(one).unwrap();
            assert!(!stores(page), "it is absent");
            assert!(engine.settle(PageId(page), AccessKind::Read));
            assert_eq!(stores(page), access == Access::ReadWrite);
            assert_eq!(
                engine.settle(PageId(page), AccessKind::Write),
                access == Access::ReadWrite,
                "the core hears of a store to a page that is read-only"
            );
        }
        assert!(
            !engine.settle(PageId(2), AccessKind::Read),
            "a page that is invalid"
        );
    }

    #[test]
    fn protection_outlives_an_entry_that_was_taken_away() {
        if let Err(refusal) = probe() {
            eprintln!("skipped: {refusal:?}");
            return;
        }
        let mapping = Arc::new(Mapping::anywhere(PAGE_SIZE as u64).unwrap());
        let engine = UffdSync::new(Arc::clone(&mapping)).unwrap();
        let (page, one) = (PageId(0), PageRun::one(PageId(0)));
        for (before, after) in [
            (Access::ReadWrite, Access::ReadOnly),
            (Access::ReadOnly, Access::ReadWrite),
        ] {
            engine.set_access(one, before);
            engine.userfault.drop_out(one).unwrap();
            engine.set_access(one, after);
            assert!(engine.settle(page, AccessKind::Read));
            assert_eq!(
                store_by_system_call(&mapping, page),
                after == Access::ReadWrite
            );
        }
    }
}
