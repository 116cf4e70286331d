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
/// use hivemind_sim::{Blocked, SimMemory, Watch};
/// use hivemind_protocol::{AccessKind, DroneId, PageId};
/// let mut memory = SimMemory::new(DroneId(0), 2, Watch::Traps);
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

/// How a drone's memory learns what its program stored, as one of the fault engines does.
///
/// ```
/// use hivemind_sim::{SimMemory, Watch};
/// use hivemind_protocol::{Access, DroneId, Memory, PageId, PageRun};
/// let mut memory = SimMemory::new(DroneId(0), 2, Watch::Copies);
/// memory.set_access(PageRun::one(PageId(0)), Access::ReadOnly);
/// memory.store(PageId(0).start(), &[0]).expect("stores don't block");
/// let mut written = Vec::new();
/// memory.take_written(&mut written);
/// assert!(written.is_empty()); // the byte was 0 before
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Watch {
    /// The first store to a page blocks.
    Traps,
    /// Every store marks its page, and marks are looked for.
    Marks,
    /// Pages are compared with copies: stores that change nothing are not found, nor those that are taken back before
    /// anybody has seen them.
    Copies,
}

impl Watch {
    fn detection(self) -> WriteDetection {
        match self {
            Self::Traps => WriteDetection::Traps,
            Self::Marks | Self::Copies => WriteDetection::Scans,
        }
    }
}

/// Simulated memory. Breaks of the contract panic with a sentence; the runner turns it into a finding.
///
/// A clone shares the pages' bytes until one of the two stores to them.
///
/// ```
/// use hivemind_sim::{SimMemory, Watch};
/// use hivemind_protocol::{Access, DroneId, Memory, PageId, PageRun};
/// let mut memory = SimMemory::new(DroneId(0), 2, Watch::Traps);
/// memory.set_access(PageRun::one(PageId(0)), Access::ReadWrite);
/// memory.store(PageId(0).start(), b"honey").expect("the page is open");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SimMemory {
    me: DroneId,
    watch: Watch,
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
    /// Stored to while it was watched, since it was looked at last.
    written: bool,
    /// What it was when it was looked at last, where that is what finds stores.
    copy: Option<Arc<PageBytes>>,
    /// Whether the core has seen it otherwise since, or it counts as stored to.
    shown: bool,
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
    /// use hivemind_sim::{SimMemory, Watch};
    /// use hivemind_protocol::{DroneId, PageId};
    /// let memory = SimMemory::new(DroneId(0), 2, Watch::Marks);
    /// assert!(memory.load(PageId(0).start(), &mut [0]).is_err()); // all pages are invalid
    /// ```
    pub fn new(me: DroneId, pages: u64, watch: Watch) -> Self {
        let blank = Page {
            access: Access::Invalid,
            written: false,
            copy: None,
            shown: false,
            bytes: None,
        };
        let list = vec![blank; usize::try_from(pages).expect("a simulated region fits in memory")];
        Self {
            me,
            watch,
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
    /// use hivemind_sim::{SimMemory, Watch};
    /// use hivemind_protocol::{Access, DroneId, Memory, PageId, PageRun};
    /// let mut memory = SimMemory::new(DroneId(0), 2, Watch::Traps);
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
    /// use hivemind_sim::{SimMemory, Watch};
    /// use hivemind_protocol::{Access, DroneId, Memory, PageId, PageRun};
    /// let mut memory = SimMemory::new(DroneId(0), 2, Watch::Traps);
    /// memory.set_access(PageRun::one(PageId(0)), Access::ReadOnly);
    /// assert!(memory.store(PageId(0).start(), &[1]).is_err()); // not for stores
    /// ```
    ///
    /// # Errors
    /// The page, when it must be faulted in first.
    pub fn store(&mut self, to: Address, bytes: &[u8]) -> Result<(), Blocked> {
        self.pages.get_mut().store(self.watch, to, bytes)
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
                .store(self.watch, store.address, &store.bytes)
                .is_err()
            {
                pages.racing = Some(store);
            }
        }
    }
}

impl Memory for SimMemory {
    fn write_detection(&self) -> WriteDetection {
        self.watch.detection()
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
            if found.access != access {
                (found.written, found.shown) = (false, false);
                let compares = self.watch == Watch::Copies && access == Access::ReadOnly;
                found.copy = found.bytes.clone().filter(|_| compares);
                found.access = access;
            }
        }
        self.race();
    }

    /// Nothing to see here, but that the program must wait for it.
    fn hide(&mut self, _: PageRun) {
        assert!(
            self.waits,
            "{}: pages may go out of sight while the program computes",
            self.me
        );
    }

    /// As the engines: the pages count as stored to at once.
    fn set_stored(&mut self, run: PageRun) {
        self.set_access(run, Access::ReadOnly);
        for page in run.pages() {
            // A store may have landed already: all are told of, whatever they compare to.
            let found = &mut self.pages.get_mut().list[page.0 as usize];
            found.written |= self.watch != Watch::Traps;
            found.shown |= self.watch == Watch::Copies;
        }
    }

    fn read(&self, page: PageId, into: &mut PageBytes) {
        let Some(mut store) = self.due() else {
            return self.pages.borrow_mut().copy_out(self.watch, page, into);
        };
        // The copy is torn: the store's first half lands before it, the rest after it.
        let mut pages = self.pages.borrow_mut();
        let half = store.bytes.len().div_ceil(2);
        if pages
            .store(self.watch, store.address, &store.bytes[..half])
            .is_err()
        {
            pages.racing = Some(store);
            return pages.copy_out(self.watch, page, into);
        }
        pages.copy_out(self.watch, page, into);
        let rest = store.bytes.split_off(half);
        if rest.is_empty() {
            return;
        }
        let there = Address(store.address.0 + half as u64);
        let landed = pages.store(self.watch, there, &rest);
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
        let watch = self.watch;
        if watch != Watch::Traps {
            let list = &mut self.pages.get_mut().list;
            let written = list.iter_mut().enumerate().filter_map(|(at, page)| {
                let stored = std::mem::take(&mut page.written) && page.access != Access::Invalid;
                let hit = stored && (watch == Watch::Marks || page.has_changed());
                hit.then_some(PageId(at as u64))
            });
            into.extend(PageRun::join(written));
        }
        self.race();
    }

    /// As the engines that leave any: a store seems to have come already.
    fn take_written_leaving(&mut self, into: &mut Vec<PageRun>, leaves: &dyn Fn(PageId) -> bool) {
        let before = into.len();
        self.take_written(into);
        let list = &mut self.pages.get_mut().list;
        for page in into[before..].iter().flat_map(|run| run.pages()) {
            let found = &mut list[page.0 as usize];
            let watched = self.watch == Watch::Marks && found.access == Access::ReadOnly;
            found.written |= watched && leaves(page);
        }
    }
}

impl Hash for SimMemory {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.me, self.watch, self.waits).hash(state);
        self.pages.borrow().hash(state);
    }
}

impl Page {
    fn bytes_mut(&mut self) -> &mut PageBytes {
        let bytes = self.bytes.get_or_insert_with(|| Arc::new([0; PAGE_SIZE]));
        Arc::make_mut(bytes)
    }

    /// Whether it differs from its copy or did so when the core saw it. The copy is one of how it is now from here on.
    fn has_changed(&mut self) -> bool {
        let changed = std::mem::take(&mut self.shown) || self.differs();
        self.copy = self.bytes.clone();
        changed
    }

    fn differs(&self) -> bool {
        match (&self.copy, &self.bytes) {
            (Some(before), Some(now)) => before != now,
            (None, Some(bytes)) | (Some(bytes), None) => bytes.iter().any(|byte| *byte != 0),
            (None, None) => false,
        }
    }
}

impl Pages {
    fn copy_out(&mut self, watch: Watch, page: PageId, into: &mut PageBytes) {
        let found = &mut self.list[page.0 as usize];
        found.shown |= watch == Watch::Copies && found.written && found.differs();
        match &found.bytes {
            Some(bytes) => into.copy_from_slice(&bytes[..]),
            None => into.fill(0),
        }
    }

    fn store(&mut self, watch: Watch, to: Address, bytes: &[u8]) -> Result<(), Blocked> {
        let (page, offset) = place(to, bytes.len());
        let found = &mut self.list[page.0 as usize];
        let allowed = match watch {
            Watch::Traps => found.access == Access::ReadWrite,
            Watch::Marks | Watch::Copies => found.access != Access::Invalid,
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

    fn memory(watch: Watch) -> SimMemory {
        SimMemory::new(DroneId(0), 3, watch)
    }

    fn written(memory: &mut SimMemory) -> Vec<PageRun> {
        let mut runs = Vec::new();
        memory.take_written(&mut runs);
        runs
    }

    #[test]
    fn a_store_to_a_read_only_page_blocks_with_traps_and_is_found_with_scans() {
        let page = PageRun::one(PageId(1));
        let (mut traps, mut scans) = (memory(Watch::Traps), memory(Watch::Marks));
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
    fn where_pages_are_compared_only_stores_that_change_something_are_found_and_once() {
        let page = PageRun::one(PageId(1));
        let (mut marks, mut copies) = (memory(Watch::Marks), memory(Watch::Copies));
        let place = PageId(1).start();
        for memory in [&mut marks, &mut copies] {
            memory.set_access(page, Access::ReadOnly);
            for byte in [7, 0] {
                memory.store(place, &[byte]).expect("the page is valid");
            }
        }
        assert_eq!(written(&mut marks), vec![page]);
        assert_eq!(written(&mut copies), vec![], "it is as it was");
        copies.store(place, &[7]).expect("the page is valid");
        assert_eq!(written(&mut copies), vec![page]);
        copies.store(place, &[7]).expect("the page is valid");
        assert_eq!(written(&mut copies), vec![]);
        copies.store(place, &[0]).expect("the page is valid");
        assert_eq!(written(&mut copies), vec![page]);
    }

    #[test]
    fn a_store_that_the_core_saw_is_found_though_it_is_taken_back() {
        let (mut copies, page) = (memory(Watch::Copies), PageRun::one(PageId(1)));
        copies.set_access(page, Access::ReadOnly);
        copies
            .store(PageId(1).start(), &[7])
            .expect("the page is valid");
        copies.read(PageId(1), &mut [0; PAGE_SIZE]);
        copies
            .store(PageId(1).start(), &[0])
            .expect("the page is valid");
        assert_eq!(written(&mut copies), vec![page]);
        assert_eq!(written(&mut copies), vec![]);
    }

    #[test]
    fn a_page_that_is_left_is_found_once_more() {
        let (mut marks, page) = (memory(Watch::Marks), PageId(1));
        let both = PageRun {
            first: PageId(0),
            count: 2,
        };
        marks.set_access(both, Access::ReadOnly);
        for page in both.pages() {
            marks.store(page.start(), &[7]).expect("the page is valid");
        }
        let mut runs = Vec::new();
        marks.take_written_leaving(&mut runs, &|which| which == page);
        assert_eq!(runs, [both]);
        assert_eq!(written(&mut marks), [PageRun::one(page)]);
        assert_eq!(written(&mut marks), []);
    }

    #[test]
    fn an_invalid_page_forgets_that_it_was_written() {
        let mut memory = memory(Watch::Marks);
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
        let mut memory = memory(Watch::Traps);
        memory.set_access(PageRun::one(PageId(0)), Access::ReadOnly);
        memory.set_access(PageRun::one(PageId(0)), Access::Invalid);
    }

    #[test]
    #[should_panic(expected = "while the program can see it")]
    fn a_write_under_the_programs_eyes_is_found() {
        let mut memory = memory(Watch::Traps);
        memory.set_access(PageRun::one(PageId(0)), Access::ReadOnly);
        memory.write(PageId(0), 0, &[1]);
    }

    #[test]
    fn a_racing_store_lands_half_before_and_half_after_a_copy() {
        let mut memory = memory(Watch::Marks);
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

    #[test]
    fn a_store_that_lands_while_its_page_is_opened_for_stores_is_found() {
        for watch in [Watch::Marks, Watch::Copies] {
            let (mut memory, page) = (memory(watch), PageRun::one(PageId(0)));
            memory.arm(RacingStore {
                address: Address(4),
                bytes: vec![7],
                after_calls: 1,
            });
            memory.set_stored(page);
            assert_eq!(memory.disarm(), None);
            assert_eq!(written(&mut memory), vec![page]);
        }
    }
}
