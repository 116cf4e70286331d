//! The memory of one simulated drone: pages as vectors, each access checked against its page's state, each
//! call of the core checked against the contract that makes borrowed views sound. Which accesses are made,
//! and what their values should be, is decided elsewhere (`run`, `oracle`).

use hivemind_protocol::{
    Access, AccessKind, Address, DroneId, Memory, PAGE_SIZE, PageBytes, PageId, PageRun,
    WriteDetection,
};
use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A page that must become accessible before the access can be made.
///
/// ```
/// use hivemind_sim::{Blocked, SimMemory};
/// use hivemind_protocol::{AccessKind, DroneId, PageId, WriteDetection};
/// let mut memory = SimMemory::new(DroneId(0), 2, WriteDetection::Traps);
/// let kind = AccessKind::Write;
/// let page = PageId(1);
/// assert_eq!(memory.store(page.start(), &[7]), Err(Blocked { page, kind }));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocked {
    /// Which page.
    pub page: PageId,
    /// What was tried.
    pub kind: AccessKind,
}

/// Simulated memory. Breaks of the contract panic with a sentence; the runner turns it into a finding.
///
/// A clone shares the pages' bytes until one of the two stores to them.
///
/// ```
/// use hivemind_sim::SimMemory;
/// use hivemind_protocol::{Access, DroneId, Memory, PageId, PageRun, WriteDetection};
/// let mut memory = SimMemory::new(DroneId(0), 2, WriteDetection::Traps);
/// memory.set_access(PageRun::one(PageId(0)), Access::ReadWrite);
/// memory.store(PageId(0).start(), b"honey").expect("the page is open");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SimMemory {
    me: DroneId,
    detection: WriteDetection,
    /// Whether the program waits in an acquire or a meeting: only then may a valid page become invalid.
    waits: bool,
    /// Behind a cell because a program's store can land while the core reads a page ([`Memory::read`]).
    pages: RefCell<Pages>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Pages {
    list: Vec<Page>,
    racing: Option<RacingStore>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Page {
    access: Access,
    written: bool,
    /// None as long as all bytes are zero: worlds with many pages stay cheap.
    bytes: Option<Arc<PageBytes>>,
}

/// A store of the computing program that lands in the middle of one call into the core.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct RacingStore {
    /// Where; the store lies within one page.
    pub address: Address,
    /// What.
    pub bytes: Vec<u8>,
    /// How many calls of the core to its memory pass before it lands.
    pub after_calls: u64,
}

impl SimMemory {
    /// Memory of `pages` pages, all invalid and zero.
    ///
    /// ```
    /// use hivemind_sim::SimMemory;
    /// use hivemind_protocol::{DroneId, PageId, WriteDetection};
    /// let memory = SimMemory::new(DroneId(0), 2, WriteDetection::Scans);
    /// assert!(memory.load(PageId(0).start(), &mut [0]).is_err()); // all pages are invalid
    /// ```
    pub fn new(me: DroneId, pages: u64, detection: WriteDetection) -> Self {
        let blank = Page {
            access: Access::Invalid,
            written: false,
            bytes: None,
        };
        let list = vec![blank; usize::try_from(pages).expect("a simulated region fits in memory")];
        Self {
            me,
            detection,
            waits: false,
            pages: RefCell::new(Pages { list, racing: None }),
        }
    }

    /// Says whether the program now waits in an acquire or a meeting, where pages may become invalid.
    pub(crate) fn set_waits(&mut self, waits: bool) {
        self.waits = waits;
    }

    /// Loads bytes within one page as the program does.
    ///
    /// ```
    /// use hivemind_sim::SimMemory;
    /// use hivemind_protocol::{Access, DroneId, Memory, PageId, PageRun, WriteDetection};
    /// let mut memory = SimMemory::new(DroneId(0), 2, WriteDetection::Traps);
    /// memory.set_access(PageRun::one(PageId(0)), Access::ReadOnly);
    /// let mut bytes = [9; 4];
    /// memory.load(PageId(0).start(), &mut bytes).expect("the page is open");
    /// assert_eq!(bytes, [0; 4]);
    /// ```
    ///
    /// # Errors
    /// The page, when it must be faulted in first.
    pub fn load(&self, from: Address, into: &mut [u8]) -> Result<(), Blocked> {
        let (page, offset) = place(from, into.len());
        let pages = self.pages.borrow();
        let found = &pages.list[page.0 as usize];
        if found.access == Access::Invalid {
            return Err(Blocked {
                page,
                kind: AccessKind::Read,
            });
        }
        match &found.bytes {
            Some(bytes) => into.copy_from_slice(&bytes[offset..offset + into.len()]),
            None => into.fill(0),
        }
        Ok(())
    }

    /// Stores bytes within one page as the program does.
    ///
    /// ```
    /// use hivemind_sim::SimMemory;
    /// use hivemind_protocol::{Access, DroneId, Memory, PageId, PageRun, WriteDetection};
    /// let mut memory = SimMemory::new(DroneId(0), 2, WriteDetection::Traps);
    /// memory.set_access(PageRun::one(PageId(0)), Access::ReadOnly);
    /// assert!(memory.store(PageId(0).start(), &[1]).is_err()); // not for stores
    /// ```
    ///
    /// # Errors
    /// The page, when it must be faulted in first.
    pub fn store(&mut self, to: Address, bytes: &[u8]) -> Result<(), Blocked> {
        self.pages.get_mut().store(self.detection, to, bytes)
    }

    /// Lets a store of the program land inside the next call into the core, where its page allows it.
    pub(crate) fn arm(&mut self, store: RacingStore) {
        place(store.address, store.bytes.len());
        self.pages.get_mut().racing = Some(store);
    }

    /// Takes back the armed store; none when it has landed.
    pub(crate) fn disarm(&mut self) -> Option<RacingStore> {
        self.pages.get_mut().racing.take()
    }

    /// Counts one call of the core; gives the armed store when its moment has come.
    fn due(&self) -> Option<RacingStore> {
        let mut pages = self.pages.borrow_mut();
        let store = pages.racing.as_mut()?;
        if store.after_calls > 0 {
            store.after_calls -= 1;
            return None;
        }
        pages.racing.take()
    }

    /// The armed store lands now, if it is due and its page lets it; else it stays armed.
    fn race(&self) {
        if let Some(store) = self.due() {
            let mut pages = self.pages.borrow_mut();
            if pages
                .store(self.detection, store.address, &store.bytes)
                .is_err()
            {
                pages.racing = Some(store);
            }
        }
    }
}

impl Memory for SimMemory {
    fn write_detection(&self) -> WriteDetection {
        self.detection
    }

    fn set_access(&mut self, run: PageRun, access: Access) {
        self.race();
        let (me, waits) = (self.me, self.waits);
        assert!(
            run.count > 0,
            "{me}: the core set the access of an empty run of pages"
        );
        for page in run.pages() {
            let found = &mut self.pages.get_mut().list[page.0 as usize];
            let loses = found.access != Access::Invalid && access == Access::Invalid;
            assert!(
                !loses || waits,
                "{me}: {page} became invalid while the program computes: its views would change under it"
            );
            found.written &= found.access == access;
            found.access = access;
        }
        self.race();
    }

    fn read(&self, page: PageId, into: &mut PageBytes) {
        let Some(mut store) = self.due() else {
            return self.pages.borrow().copy_out(page, into);
        };
        // The copy is torn: the store's first half lands before it, the rest after it.
        let mut pages = self.pages.borrow_mut();
        let half = store.bytes.len().div_ceil(2);
        if pages
            .store(self.detection, store.address, &store.bytes[..half])
            .is_err()
        {
            pages.racing = Some(store);
            return pages.copy_out(page, into);
        }
        pages.copy_out(page, into);
        let rest = store.bytes.split_off(half);
        if rest.is_empty() {
            return;
        }
        let there = Address(store.address.0 + half as u64);
        let landed = pages.store(self.detection, there, &rest);
        assert!(
            landed.is_ok(),
            "a page cannot lose its access while it is read"
        );
    }

    fn write(&mut self, page: PageId, offset: usize, bytes: &[u8]) {
        self.race();
        let me = self.me;
        let found = &mut self.pages.get_mut().list[page.0 as usize];
        assert!(
            found.access == Access::Invalid,
            "{me}: the core wrote {} bytes into {page} while the program can see it",
            bytes.len()
        );
        found.bytes_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn take_written(&mut self, into: &mut Vec<PageRun>) {
        self.race();
        if self.detection == WriteDetection::Scans {
            let list = &mut self.pages.get_mut().list;
            let written = list.iter_mut().enumerate().filter_map(|(at, page)| {
                let hit = std::mem::take(&mut page.written) && page.access != Access::Invalid;
                hit.then_some(PageId(at as u64))
            });
            into.extend(PageRun::join(written));
        }
        self.race();
    }
}

impl Hash for SimMemory {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.me, self.detection, self.waits).hash(state);
        self.pages.borrow().hash(state);
    }
}

impl Page {
    fn bytes_mut(&mut self) -> &mut PageBytes {
        let bytes = self.bytes.get_or_insert_with(|| Arc::new([0; PAGE_SIZE]));
        Arc::make_mut(bytes)
    }
}

impl Pages {
    fn copy_out(&self, page: PageId, into: &mut PageBytes) {
        match &self.list[page.0 as usize].bytes {
            Some(bytes) => into.copy_from_slice(&bytes[..]),
            None => into.fill(0),
        }
    }

    fn store(
        &mut self,
        detection: WriteDetection,
        to: Address,
        bytes: &[u8],
    ) -> Result<(), Blocked> {
        let (page, offset) = place(to, bytes.len());
        let found = &mut self.list[page.0 as usize];
        let allowed = match detection {
            WriteDetection::Traps => found.access == Access::ReadWrite,
            WriteDetection::Scans => found.access != Access::Invalid,
        };
        if !allowed {
            return Err(Blocked {
                page,
                kind: AccessKind::Write,
            });
        }
        // Stores to a page without protection concern nobody, and are not found.
        found.written |= found.access == Access::ReadOnly;
        found.bytes_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

/// The page and the offset in it of an access that lies within one page.
fn place(address: Address, length: usize) -> (PageId, usize) {
    let offset = (address.0 % PAGE_SIZE as u64) as usize;
    assert!(
        offset + length <= PAGE_SIZE,
        "an access of the simulator crosses a page"
    );
    (PageId::of(address), offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(detection: WriteDetection) -> SimMemory {
        SimMemory::new(DroneId(0), 3, detection)
    }

    fn written(memory: &mut SimMemory) -> Vec<PageRun> {
        let mut runs = Vec::new();
        memory.take_written(&mut runs);
        runs
    }

    #[test]
    fn a_store_to_a_read_only_page_blocks_with_traps_and_is_found_with_scans() {
        let page = PageRun::one(PageId(1));
        let (mut traps, mut scans) = (memory(WriteDetection::Traps), memory(WriteDetection::Scans));
        traps.set_access(page, Access::ReadOnly);
        scans.set_access(page, Access::ReadOnly);
        let blocked = Blocked {
            page: PageId(1),
            kind: AccessKind::Write,
        };
        assert_eq!(traps.store(PageId(1).start(), &[1]), Err(blocked));
        assert_eq!(scans.store(PageId(1).start(), &[1]), Ok(()));
        assert_eq!(written(&mut scans), vec![page]);
        assert_eq!(written(&mut scans), vec![]);
    }

    #[test]
    fn an_invalid_page_forgets_that_it_was_written() {
        let mut memory = memory(WriteDetection::Scans);
        memory.set_access(PageRun::one(PageId(0)), Access::ReadOnly);
        memory.store(Address(0), &[1]).expect("the page is valid");
        memory.set_waits(true);
        memory.set_access(PageRun::one(PageId(0)), Access::Invalid);
        memory.set_access(PageRun::one(PageId(0)), Access::ReadOnly);
        assert_eq!(written(&mut memory), vec![]);
    }

    #[test]
    #[should_panic(expected = "became invalid while the program computes")]
    fn a_page_that_is_taken_from_a_computing_program_is_found() {
        let mut memory = memory(WriteDetection::Traps);
        memory.set_access(PageRun::one(PageId(0)), Access::ReadOnly);
        memory.set_access(PageRun::one(PageId(0)), Access::Invalid);
    }

    #[test]
    #[should_panic(expected = "while the program can see it")]
    fn a_write_under_the_programs_eyes_is_found() {
        let mut memory = memory(WriteDetection::Traps);
        memory.set_access(PageRun::one(PageId(0)), Access::ReadOnly);
        memory.write(PageId(0), 0, &[1]);
    }

    #[test]
    fn a_racing_store_lands_half_before_and_half_after_a_copy() {
        let mut memory = memory(WriteDetection::Scans);
        memory.set_access(PageRun::one(PageId(0)), Access::ReadWrite);
        memory.arm(RacingStore {
            address: Address(4),
            bytes: vec![7, 8],
            after_calls: 0,
        });
        let mut copy = [0; PAGE_SIZE];
        memory.read(PageId(0), &mut copy);
        assert_eq!((copy[4], copy[5]), (7, 0));
        assert_eq!(memory.disarm(), None);
        let mut bytes = [0; 2];
        memory
            .load(Address(4), &mut bytes)
            .expect("the page is valid");
        assert_eq!(bytes, [7, 8]);
    }
}
