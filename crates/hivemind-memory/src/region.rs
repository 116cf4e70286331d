//! The region as the core and the driver see it. The mappings are made in `mapping`, pages are governed in `engine`,
//! faults come in through `signal`; typed views of the bytes live in `hivemind`.

use crate::engine::{self, Engine, EngineKind};
use crate::error::end_process;
use crate::large::LARGE_PAGES;
use crate::mapping::Mapping;
use crate::signal::{FaultGuard, FaultHandler};
use crate::{MemoryError, kernels, sys};
use hivemind_protocol::{
    Access, AccessKind, Kernels, Memory, Mutant, PAGE_SIZE, PageBytes, PageId, PageRun,
    WriteDetection, mutant,
};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The shared region of one drone: what the core calls local memory. Governs the access of every page; dropping it ends
/// that, and from then on touching a view that outlived it kills the process.
///
/// The least that serves faults: here every page that is touched is opened as it is.
///
/// ```
/// use hivemind_memory::{EngineChoice, FaultHandler, RegionMemory, choose, free_bases};
/// use hivemind_protocol::{Access, AccessKind, Memory, PageId, PageRun};
/// use std::sync::{Arc, Mutex};
///
/// struct Opens(Mutex<RegionMemory>);
///
/// impl FaultHandler for Opens {
///     fn fault(&self, page: PageId, _: AccessKind) {
///         self.0.lock().unwrap().set_access(PageRun::one(page), Access::ReadWrite);
///     }
/// }
///
/// let engine = choose(EngineChoice::Auto)?.engine;
/// let base = free_bases(1 << 20).trailing_zeros() as usize;
/// let memory = RegionMemory::create(1 << 20, base, engine)?;
/// let view = memory.view();
/// let opens = Arc::new(Opens(Mutex::new(memory)));
/// let _guard = opens.0.lock().unwrap().handle_faults(opens.clone());
/// view.touch(0..8192, AccessKind::Write); // two faults
/// # Ok::<(), hivemind_memory::MemoryError>(())
/// ```
pub struct RegionMemory {
    mapping: Arc<Mapping>,
    engine: Arc<dyn Engine>,
    kind: EngineKind,
    /// The last page that [`Memory::write`] found invalid: a diff writes one page many times.
    writing: Option<PageId>,
    /// Pages that were written as a whole, a bit each: a store through the system view costs a fault at most from then on.
    put: Vec<u64>,
    /// The pages that were written as a whole last, one behind the other.
    putting: PageRun,
}

impl RegionMemory {
    /// Makes a region of `bytes`, rounded up to pages, at `BASES[base_index]`. All pages are invalid and zero. Takes no
    /// memory until it is touched, whatever its size.
    ///
    /// # Errors
    /// Where the environment refuses: the size, the base, the memory file, the mappings, or the engine.
    ///
    /// ```
    /// use hivemind_memory::{EngineKind, RegionMemory, free_bases};
    /// let base = free_bases(1 << 30).trailing_zeros() as usize;
    /// let memory = RegionMemory::create(1 << 30, base, EngineKind::Mprotect)?;
    /// assert_eq!(memory.view().bytes(), 1 << 30);
    /// # Ok::<(), hivemind_memory::MemoryError>(())
    /// ```
    pub fn create(bytes: u64, base_index: usize, engine: EngineKind) -> Result<Self, MemoryError> {
        #[cfg(hivemind_mutants)]
        hivemind_protocol::choose_mutant(|variable| std::env::var(variable).ok());
        let mapping = Arc::new(Mapping::at_base(bytes, base_index)?);
        let opened = engine::open(engine, Arc::clone(&mapping))?;
        Ok(Self {
            mapping,
            engine: opened,
            kind: engine,
            writing: None,
            put: Vec::new(),
            putting: PageRun::one(PageId(0)),
        })
    }

    /// The program's view: what typed views are made from. Cheap.
    ///
    /// ```
    /// use hivemind_memory::{EngineKind, RegionMemory, free_bases};
    /// # let base = free_bases(4096).trailing_zeros() as usize;
    /// let memory = RegionMemory::create(4096, base, EngineKind::Mprotect)?;
    /// assert_eq!(memory.view().bytes(), 4096);
    /// # Ok::<(), hivemind_memory::MemoryError>(())
    /// ```
    pub fn view(&self) -> RegionView {
        RegionView {
            mapping: Arc::clone(&self.mapping),
        }
    }

    /// Has `handler` called for every fault on this region, until the guard is dropped. A fault that is being handled
    /// then is still finished by the handler.
    ///
    /// Installs the signal handlers of the engine at the first call in a process. They stay installed, and pass on
    /// what isn't ours to the handler that was there before. Install handlers of your own earlier, or have them pass
    /// on what they don't know.
    ///
    /// ```
    /// # use hivemind_memory::{EngineKind, FaultHandler, RegionMemory, free_bases};
    /// # use hivemind_protocol::{Access, AccessKind, Memory, PageId, PageRun};
    /// # use std::sync::{Arc, Mutex, atomic::{AtomicU32, Ordering}};
    /// # struct Opens { memory: Mutex<RegionMemory>, faults: AtomicU32 }
    /// # impl FaultHandler for Opens {
    /// #     fn fault(&self, page: PageId, _: AccessKind) {
    /// #         self.faults.fetch_add(1, Ordering::Relaxed);
    /// #         self.memory.lock().unwrap().set_access(PageRun::one(page), Access::ReadWrite);
    /// #     }
    /// # }
    /// # let base = free_bases(8192).trailing_zeros() as usize;
    /// # let memory = RegionMemory::create(8192, base, EngineKind::Mprotect)?;
    /// # let view = memory.view();
    /// # let opens = Arc::new(Opens { memory: Mutex::new(memory), faults: AtomicU32::new(0) });
    /// let guard = opens.memory.lock().unwrap().handle_faults(opens.clone());
    /// view.touch(0..1, AccessKind::Read);
    /// assert_eq!(opens.faults.load(Ordering::Relaxed), 1);
    /// drop(guard); // from here on a fault is nobody's
    /// # Ok::<(), hivemind_memory::MemoryError>(())
    /// ```
    ///
    /// # Panics
    /// When the region has a handler already.
    pub fn handle_faults(&self, handler: Arc<dyn FaultHandler>) -> FaultGuard {
        FaultGuard::register(
            Arc::clone(&self.mapping),
            Arc::clone(&self.engine),
            self.kind,
            handler,
        )
    }
}

/// Words of bits for the pages of a large one.
const WORDS_A_PIECE: usize = LARGE_PAGES as usize / 64;

/// Where the bit of a page lies.
fn word_of(page: PageId) -> usize {
    page.0 as usize / 64
}

impl RegionMemory {
    /// Whether this page, which is written as a whole, is so for the first time; from now on it isn't.
    fn is_put_first(&mut self, page: PageId) -> bool {
        self.putting = if self.putting.end() == page {
            PageRun {
                count: self.putting.count + 1,
                ..self.putting
            }
        } else {
            PageRun::one(page)
        };
        let (word, bit) = (word_of(page), 1 << (page.0 % 64));
        if self.put.len() <= word {
            self.put.resize(word + 1, 0);
        }
        let first = self.put[word] & bit == 0;
        self.put[word] |= bit;
        first
    }

    /// Whether this page is, as of now, the first of a large one: stores through the system view cost no faults there.
    fn is_made_large(&mut self, page: PageId) -> bool {
        let large = self.engine.make_large(page, self.putting.first);
        if large {
            // A piece is whole words.
            self.put
                .resize(self.put.len().max(word_of(page) + WORDS_A_PIECE), 0);
            self.put[word_of(page)..][..WORDS_A_PIECE].fill(!0);
        }
        large
    }

    /// The pages are in memory no more: the next write of each is its first again.
    fn forget_put(&mut self, pages: PageRun) {
        for page in pages.pages() {
            if let Some(word) = self.put.get_mut(word_of(page)) {
                *word &= !(1 << (page.0 % 64));
            }
        }
    }

    /// Where bytes are to change the program must not see them.
    fn assert_invalid(&self, page: PageId) {
        let access = self.engine.access(page);
        assert!(
            access == Access::Invalid,
            "INV-M1: bytes are written into {page} while it is {access:?}"
        );
    }
}

impl Memory for RegionMemory {
    fn write_detection(&self) -> WriteDetection {
        self.engine.write_detection()
    }

    fn set_access(&mut self, pages: PageRun, access: Access) {
        self.writing = None;
        self.engine.set_access(pages, access);
    }

    fn set_stored(&mut self, pages: PageRun) {
        self.writing = None;
        self.engine.set_stored(pages);
    }

    fn hide(&mut self, pages: PageRun) {
        self.writing = None;
        self.engine.hide(pages);
    }

    fn read(&self, page: PageId, into: &mut PageBytes) {
        let (from, bytes) = self.mapping.system(PageRun::one(page));
        // SAFETY: the system view of the page is readable, and `into` is as large. They are different memory: nobody
        // can hold a reference into the system view.
        unsafe { sys::copy_racing(from, into.as_mut_ptr(), bytes) };
        self.engine.seen(page, into);
    }

    fn write(&mut self, page: PageId, offset: usize, bytes: &[u8]) {
        assert!(
            offset
                .checked_add(bytes.len())
                .is_some_and(|end| end <= PAGE_SIZE),
            "INV-M4: {} bytes at {offset} of {page} reach beyond the page",
            bytes.len()
        );
        let (into, _) = self.mapping.system(PageRun::one(page));
        if self.writing != Some(page) {
            self.assert_invalid(page);
            self.writing = Some(page);
        }
        if let Ok(whole) = bytes.try_into()
            && self.is_put_first(page)
            && !self.is_made_large(page)
        {
            return self.mapping.put(page, whole).unwrap_or_else(|errno| {
                end_process(format_args!(
                    "the kernel refuses to write {page} of the region (pwrite: {errno}): look at the limits on memory \
                     (cgroup, `ulimit -v`) and at the kernel's log"
                ))
            });
        }
        // SAFETY: the system view is writable and the assertion above keeps the range in the page. The program cannot
        // see the page (INV-M1) and nobody else has the system view. `bytes` may lie in an application view, where a
        // program stores at the same time: this copy tolerates that.
        unsafe { sys::copy_racing(bytes.as_ptr(), into.add(offset), bytes.len()) };
    }

    fn clear(&mut self, pages: PageRun, soon: bool) {
        self.writing = None;
        for page in pages.pages() {
            self.assert_invalid(page);
        }
        if !soon {
            self.forget_put(pages);
            return self.mapping.give_back(pages).unwrap_or_else(|errno| {
                end_process(format_args!(
                    "the kernel refuses to take back {} pages of the region from {} on (fallocate: {errno}): it is older than \
                     Linux 3.5, or a filter of system calls forbids it",
                    pages.count, pages.first
                ))
            });
        }
        let (into, bytes) = self.mapping.system(pages);
        // SAFETY: the system view is writable there; the program cannot see the pages (INV-M1) and nobody else has that view.
        unsafe { into.write_bytes(0, bytes) };
    }

    fn take_written(&mut self, into: &mut Vec<PageRun>) {
        self.engine.take_written(into);
    }

    fn take_written_leaving(&mut self, into: &mut Vec<PageRun>, leaves: &dyn Fn(PageId) -> bool) {
        self.engine.take_written_leaving(into, leaves);
    }

    fn kernels(&self) -> &'static Kernels {
        kernels()
    }
}

impl Drop for RegionMemory {
    fn drop(&mut self) {
        self.mapping.end();
        // Without an engine a view shows whatever the file holds. Who looks there must be told, not lied to.
        if self.mapping.owner().is_this_process() {
            let (address, bytes) = self.mapping.application(self.mapping.whole());
            // SAFETY: the view is our own; who still touches it is meant to die. Where the kernel refuses, the view
            // is unmapped soon.
            let _ = unsafe { sys::protect(address, bytes, false, false) };
        }
    }
}

impl fmt::Debug for RegionMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mapping, kind, .. } = self;
        write!(
            f,
            "RegionMemory({kind}, {} bytes at {:p})",
            mapping.bytes(),
            mapping.base()
        )
    }
}

/// Where the program sees the region: an address and a length. Keeps the mapping alive; whether a page may be touched
/// is decided by the [`RegionMemory`] it came from.
///
/// ```
/// use hivemind_memory::{BASES, EngineKind, RegionMemory, free_bases};
/// let base = free_bases(4096).trailing_zeros() as usize;
/// let view = RegionMemory::create(4096, base, EngineKind::Mprotect)?.view();
/// assert_eq!(view.base().addr(), BASES[base]); // the same in every drone
/// # Ok::<(), hivemind_memory::MemoryError>(())
/// ```
#[derive(Clone)]
pub struct RegionView {
    mapping: Arc<Mapping>,
}

impl RegionView {
    /// The first byte. The same in every drone.
    ///
    /// ```
    /// use hivemind_memory::{BASES, EngineKind, RegionMemory, free_bases};
    /// let base = free_bases(4096).trailing_zeros() as usize;
    /// let memory = RegionMemory::create(4096, base, EngineKind::Mprotect)?;
    /// assert_eq!(memory.view().base().addr(), BASES[base]);
    /// # Ok::<(), hivemind_memory::MemoryError>(())
    /// ```
    pub fn base(&self) -> *mut u8 {
        self.mapping.base()
    }

    /// The size in bytes: whole pages.
    ///
    /// ```
    /// use hivemind_memory::{EngineKind, RegionMemory, free_bases};
    /// # let base = free_bases(5000).trailing_zeros() as usize;
    /// let memory = RegionMemory::create(5000, base, EngineKind::Mprotect)?;
    /// assert_eq!(memory.view().bytes(), 8192);
    /// # Ok::<(), hivemind_memory::MemoryError>(())
    /// ```
    pub fn bytes(&self) -> u64 {
        self.mapping.bytes() as u64
    }

    /// Whether this process made the region; a forked child has none. Costs two loads.
    ///
    /// ```
    /// use hivemind_memory::{EngineKind, RegionMemory, free_bases};
    /// let base = free_bases(4096).trailing_zeros() as usize;
    /// let memory = RegionMemory::create(4096, base, EngineKind::Mprotect)?;
    /// assert!(memory.view().is_of_this_process());
    /// # Ok::<(), hivemind_memory::MemoryError>(())
    /// ```
    pub fn is_of_this_process(&self) -> bool {
        self.mapping.owner().is_this_process()
    }

    /// Touches every page of a range of byte offsets, so that what follows does not fault: before a system call gets
    /// a buffer in the region, which it would answer with `EFAULT`. Faults, and so blocks, as an access of the program
    /// does. With [`AccessKind::Write`] the pages count as written.
    ///
    /// The pages stay present until the drone's next acquire.
    ///
    /// ```
    /// # use hivemind_memory::{EngineKind, FaultHandler, RegionMemory, free_bases};
    /// # use hivemind_protocol::{Access, AccessKind, Memory, PageId, PageRun};
    /// # use std::sync::{Arc, Mutex, atomic::{AtomicU32, Ordering}};
    /// # struct Opens { memory: Mutex<RegionMemory>, faults: AtomicU32 }
    /// # impl FaultHandler for Opens {
    /// #     fn fault(&self, page: PageId, _: AccessKind) {
    /// #         self.faults.fetch_add(1, Ordering::Relaxed);
    /// #         self.memory.lock().unwrap().set_access(PageRun::one(page), Access::ReadWrite);
    /// #     }
    /// # }
    /// # let base = free_bases(8192).trailing_zeros() as usize;
    /// # let memory = RegionMemory::create(8192, base, EngineKind::Mprotect)?;
    /// # let view = memory.view();
    /// # let opens = Arc::new(Opens { memory: Mutex::new(memory), faults: AtomicU32::new(0) });
    /// # let _guard = opens.memory.lock().unwrap().handle_faults(opens.clone());
    /// view.touch(0..8192, AccessKind::Write); // two pages, absent so far
    /// view.touch(0..8192, AccessKind::Write);
    /// assert_eq!(opens.faults.load(Ordering::Relaxed), 2);
    /// # Ok::<(), hivemind_memory::MemoryError>(())
    /// ```
    ///
    /// # Panics
    /// When the range reaches beyond the region.
    pub fn touch(&self, offsets: Range<u64>, kind: AccessKind) {
        assert!(
            offsets.start <= offsets.end && offsets.end <= self.bytes(),
            "bytes {offsets:?} of a region of {} bytes are touched",
            self.bytes()
        );
        self.mapping.owner().assert_this_process();
        let mut next = offsets.start as usize;
        while next < offsets.end as usize {
            // SAFETY: inside the application view, which the view keeps mapped. The byte is looked at as an atomic, so
            // touching it from several threads is fine; and it keeps its value.
            let byte = unsafe { AtomicU8::from_ptr(self.base().add(next)) };
            touch(byte, kind);
            if mutant(Mutant::OnePageTouched) {
                return;
            }
            next = (next / PAGE_SIZE + 1) * PAGE_SIZE;
        }
    }
}

/// One load, or one store of what is there.
fn touch(byte: &AtomicU8, kind: AccessKind) {
    match kind {
        AccessKind::Read => {
            // Kept though nobody wants the value: the load is the purpose.
            std::hint::black_box(byte.load(Ordering::Relaxed));
        }
        AccessKind::Write => {
            // The first try faults for a write at once, whatever the byte is. A later one fails only where another
            // thread stores at this very moment; who does that makes progress.
            let mut value = 0;
            while let Err(now) =
                byte.compare_exchange_weak(value, value, Ordering::Relaxed, Ordering::Relaxed)
            {
                value = now;
            }
        }
    }
}

impl fmt::Debug for RegionView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegionView({} bytes at {:p})", self.bytes(), self.base())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BASES;

    /// A region at a base that is free, now or soon: other tests have theirs.
    fn create(bytes: u64, engine: EngineKind) -> RegionMemory {
        let mut bases = (0..BASES.len()).cycle().take(1 << 20);
        let create = |base| RegionMemory::create(bytes, base, engine).ok();
        bases.find_map(create).expect("room")
    }

    #[test]
    fn what_is_cleared_takes_no_memory_unless_it_is_wanted_soon() {
        const BYTES: u64 = 64 * PAGE_SIZE as u64;
        let mut memory = create(BYTES, EngineKind::Mprotect);
        for soon in [true, false] {
            for page in memory.mapping.whole().pages() {
                memory.write(page, 0, &[1; PAGE_SIZE]);
            }
            assert_eq!(memory.mapping.resident_pages(), 64);
            let (first, count) = (PageId(8), 48);
            memory.clear(PageRun { first, count }, soon);
            let left = if soon { 64 } else { 16 };
            assert_eq!(memory.mapping.resident_pages(), left, "soon: {soon}");
        }
    }

    #[test]
    fn what_is_filled_in_order_by_stores_or_from_peers_takes_large_pages() {
        const BYTES: u64 = 4 * LARGE_PAGES * PAGE_SIZE as u64;
        for engine in [EngineKind::Uffd, EngineKind::UffdSync] {
            if crate::choose(crate::EngineChoice::Only(engine)).is_err() {
                continue;
            }
            for from_peers in [false, true] {
                let mut memory = create(BYTES, engine);
                // Runs that begin in one piece and end in the next, up to a little beyond the third one's beginning.
                const FIRST: u64 = 3;
                for first in (FIRST..2 * LARGE_PAGES).step_by(31) {
                    let pages = PageRun {
                        first: PageId(first),
                        count: 31,
                    };
                    if from_peers {
                        let fill = |page| memory.write(page, 0, &[1; PAGE_SIZE]);
                        pages.pages().for_each(fill);
                    }
                    memory.set_access(pages, Access::ReadOnly);
                }
                let pages = memory.mapping.resident_pages() as u64;
                let refused = memory.mapping.large().refuses();
                assert!(
                    pages == 3 * LARGE_PAGES - FIRST || refused,
                    "{engine}, {from_peers}: {pages}"
                );
            }
        }
    }

    #[test]
    fn who_touches_a_page_here_and_there_gets_no_large_ones_however_often() {
        const PIECES: u64 = 8;
        const BYTES: u64 = PIECES * LARGE_PAGES * PAGE_SIZE as u64;
        for engine in [EngineKind::Uffd, EngineKind::UffdSync] {
            if crate::choose(crate::EngineChoice::Only(engine)).is_err() {
                continue;
            }
            let mut memory = create(BYTES, engine);
            let pages = PageRun {
                first: PageId(0),
                count: LARGE_PAGES,
            };
            memory.set_access(pages, Access::ReadOnly);
            // One large page stands behind what was filled; rows begin at, and end before, each piece.
            for piece in 1..PIECES {
                let first = PageId(piece * LARGE_PAGES);
                memory.set_access(PageRun::one(first), Access::ReadOnly);
                memory.write(PageId(first.0 + LARGE_PAGES - 1), 0, &[1; PAGE_SIZE]);
            }
            let pages = memory.mapping.resident_pages() as u64;
            assert!(pages <= 2 * LARGE_PAGES + 2 * PIECES, "{engine}: {pages}");
        }
    }

    #[test]
    fn a_region_moves_between_threads_and_a_view_is_shared_by_them() {
        fn moves<T: Send>() {}
        fn is_shared<T: Send + Sync + Clone>() {}
        moves::<RegionMemory>();
        moves::<FaultGuard>();
        is_shared::<RegionView>();
    }
}
