//! What the core asks of local memory. The memory room implements it with real pages, the simulator with
//! vectors that check every access. How faults are caught is nobody's business here.

use crate::{Kernels, PageId, PageRun};
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

/// The size of a page of the region in bytes: what one fault, twin or write notice speaks of.
///
/// ```
/// use hivemind_protocol::{Address, PAGE_SIZE, PageId};
/// assert_eq!(PageId::of(Address(PAGE_SIZE as u64)), PageId(1));
/// ```
pub const PAGE_SIZE: usize = 4096;

/// The bytes of one page.
///
/// ```
/// use hivemind_protocol::{PAGE_SIZE, PageBytes};
/// let page: PageBytes = [0; PAGE_SIZE];
/// assert_eq!(page.len(), 4096);
/// ```
pub type PageBytes = [u8; PAGE_SIZE];

/// Memory for the bytes of one page, which begins where a line of the processor's cache does. To copy a page that is in no cache into memory that
/// is in none takes twice as long where the two lie differently in their lines.
///
/// ```
/// use hivemind_protocol::{PAGE_SIZE, PageBuffer};
/// let mut page = Box::new(PageBuffer::default());
/// assert_eq!(**page, [0; PAGE_SIZE]);
/// page[7] = 9;
/// assert_eq!((&raw const page[0]).addr() % 64, 0);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
#[repr(C, align(64))]
pub struct PageBuffer(PageBytes);

impl Default for PageBuffer {
    fn default() -> Self {
        Self([0; PAGE_SIZE])
    }
}

impl From<PageBytes> for PageBuffer {
    fn from(bytes: PageBytes) -> Self {
        Self(bytes)
    }
}

impl Deref for PageBuffer {
    type Target = PageBytes;

    fn deref(&self) -> &PageBytes {
        &self.0
    }
}

impl DerefMut for PageBuffer {
    fn deref_mut(&mut self) -> &mut PageBytes {
        &mut self.0
    }
}

/// What the program may do with a page without a fault.
///
/// ```
/// use hivemind_protocol::Access;
/// assert!(Access::Invalid < Access::ReadOnly && Access::ReadOnly < Access::ReadWrite);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Access {
    /// Every access faults.
    Invalid,
    /// A read does not fault, and a store is noticed: it faults where the engine traps writes
    /// ([`WriteDetection::Traps`]), or is found afterwards ([`WriteDetection::Scans`]).
    ReadOnly,
    /// No access faults, and with [`WriteDetection::Scans`] stores are not found either.
    ReadWrite,
}

/// What the program tried to do when it faulted.
///
/// ```
/// use hivemind_protocol::{Access, AccessKind};
/// let enough = |kind| match kind {
///     AccessKind::Read => Access::ReadOnly,
///     AccessKind::Write => Access::ReadWrite,
/// };
/// assert!(enough(AccessKind::Read) < enough(AccessKind::Write));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum AccessKind {
    /// A load.
    Read,
    /// A store.
    Write,
}

/// How an engine learns which pages the program wrote.
///
/// ```
/// use hivemind_protocol::WriteDetection;
/// assert_ne!(WriteDetection::Traps, WriteDetection::Scans);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum WriteDetection {
    /// The first store to a `ReadOnly` page faults, so the core hears of every written page as it happens.
    Traps,
    /// Stores never fault on a valid page; [`Memory::take_written`] tells afterwards which of the `ReadOnly`
    /// ones they hit.
    Scans,
}

/// Local memory as the core sees it: a program's view that has an access state a page, and a system view
/// that the core may always read, and write while the program cannot see the page.
///
/// The core calls these with its lock held and never while it holds a borrow of page bytes. None of them
/// fails: an environment that refuses one of these calls in mid-run cannot be recovered from, so the
/// implementation ends the process with a sentence that says what was refused.
///
/// The simplest memory, for which nothing ever changes behind the core's back: see [`Core`](crate::Core).
///
/// ```
/// use hivemind_protocol::{Access, Memory, PageBytes, PageId, PageRun, WriteDetection};
/// struct Zeros;
/// impl Memory for Zeros {
///     fn write_detection(&self) -> WriteDetection { WriteDetection::Traps }
///     fn set_access(&mut self, _: PageRun, _: Access) {}
///     fn read(&self, _: PageId, into: &mut PageBytes) { into.fill(0) }
///     fn write(&mut self, _: PageId, _: usize, _: &[u8]) {}
///     fn take_written(&mut self, _: &mut Vec<PageRun>) {}
/// }
/// assert_eq!(Zeros.kernels().name, "portable");
/// ```
pub trait Memory {
    /// How this memory's engine learns of writes. Constant for the life of the region.
    ///
    /// ```
    /// use hivemind_protocol::{Memory, WriteDetection};
    /// fn traps(memory: &impl Memory) -> bool {
    ///     memory.write_detection() == WriteDetection::Traps
    /// }
    /// ```
    fn write_detection(&self) -> WriteDetection;

    /// Sets what the program may do with these pages; wakes whoever faulted on them. Idempotent. All pages
    /// start as `Invalid` and zero. A change of access forgets whether the page was written.
    ///
    /// ```
    /// use hivemind_protocol::{Access, Memory, PageId, PageRun};
    /// fn take_away(memory: &mut impl Memory, page: PageId) {
    ///     memory.set_access(PageRun::one(page), Access::Invalid);
    /// }
    /// ```
    fn set_access(&mut self, pages: PageRun, access: Access);

    /// With [`WriteDetection::Scans`]: makes these pages `ReadOnly`, of which the program seems to be about to store to each. They
    /// may count as written from here on, where that spares the program what the finding of a first store costs; so
    /// [`take_written`](Self::take_written) may tell once of one that was not. One that was `Invalid`
    /// and holds another byte than zero must count so. The default is for memory whose stores trap.
    ///
    /// ```
    /// use hivemind_protocol::{Memory, PageId, PageRun};
    /// fn begin_to_fill(memory: &mut impl Memory, first: PageId) {
    ///     memory.set_stored(PageRun { first, count: 32 });
    /// }
    /// ```
    fn set_stored(&mut self, pages: PageRun) {
        self.set_access(pages, Access::ReadOnly);
    }

    /// The program waits in an acquire, and these pages are opened for stores next, by [`set_access`](Self::set_access) or
    /// [`set_stored`](Self::set_stored): until then they may be out of its sight, where that spares the first store to each what it would
    /// cost. Does nothing unless the memory has a use for it.
    ///
    /// ```
    /// use hivemind_protocol::{Access, Memory, PageId, PageRun};
    /// fn nobody_else_has_them(memory: &mut impl Memory, first: PageId) {
    ///     let pages = PageRun { first, count: 32 };
    ///     memory.hide(pages);
    ///     memory.set_access(pages, Access::ReadWrite);
    /// }
    /// ```
    fn hide(&mut self, _: PageRun) {}

    /// Copies a page out, whatever its access. Bytes that the program stores at the same time may be copied
    /// or not, each byte for itself.
    ///
    /// ```
    /// use hivemind_protocol::{Memory, PAGE_SIZE, PageBytes, PageId};
    /// fn copy(memory: &impl Memory, page: PageId) -> PageBytes {
    ///     let mut bytes = [0; PAGE_SIZE];
    ///     memory.read(page, &mut bytes);
    ///     bytes
    /// }
    /// ```
    fn read(&self, page: PageId, into: &mut PageBytes);

    /// Copies bytes into a page, from `offset` on. Only while the page is `Invalid`.
    ///
    /// ```
    /// use hivemind_protocol::{Access, Memory, PageId, PageRun};
    /// fn put(memory: &mut impl Memory, page: PageId) {
    ///     memory.set_access(PageRun::one(page), Access::Invalid);
    ///     memory.write(page, 8, b"honey");
    /// }
    /// ```
    fn write(&mut self, page: PageId, offset: usize, bytes: &[u8]);

    /// Makes all bytes of these pages zero, which are `Invalid`. Where they are not wanted `soon`, what they take of the machine's
    /// memory may be given back. The default writes zeros.
    ///
    /// ```
    /// use hivemind_protocol::{Access, Memory, PageId, PageRun};
    /// fn begin_anew(memory: &mut impl Memory, first: PageId) {
    ///     let pages = PageRun { first, count: 32 };
    ///     memory.set_access(pages, Access::Invalid);
    ///     memory.clear(pages, false);
    /// }
    /// ```
    fn clear(&mut self, pages: PageRun, soon: bool) {
        let _ = soon;
        for page in pages.pages() {
            self.write(page, 0, &[0; PAGE_SIZE]);
        }
    }

    /// With [`WriteDetection::Scans`]: appends the runs of `ReadOnly` pages written since the last call (or
    /// since they became `ReadOnly`), ascending, and forgets them in the same step: a store that comes later is found
    /// by the next call. A page may be left out that is as it was at the last call and at each [`read`](Self::read) since:
    /// nobody lacks what was stored there, and nobody has got what was taken back. With [`WriteDetection::Traps`]: does
    /// nothing.
    ///
    /// ```
    /// use hivemind_protocol::{Memory, PageRun};
    /// fn written(memory: &mut impl Memory) -> Vec<PageRun> {
    ///     let mut runs = Vec::new();
    ///     memory.take_written(&mut runs);
    ///     runs
    /// }
    /// ```
    fn take_written(&mut self, into: &mut Vec<PageRun>);

    /// As [`take_written`](Self::take_written), but the written pages that `leaves` names may stay as they are, which spares what it costs
    /// to have their next stores found: then they count as written once more, as after [`set_stored`](Self::set_stored). For pages
    /// that are likely to be opened for stores next. The default asks of none.
    ///
    /// ```
    /// use hivemind_protocol::{Memory, PageId, PageRun};
    /// fn written(memory: &mut impl Memory, mine_alone: &[PageId]) -> Vec<PageRun> {
    ///     let mut runs = Vec::new();
    ///     memory.take_written_leaving(&mut runs, &|page| mine_alone.contains(&page));
    ///     runs
    /// }
    /// ```
    fn take_written_leaving(&mut self, into: &mut Vec<PageRun>, leaves: &dyn Fn(PageId) -> bool) {
        let _ = leaves;
        self.take_written(into);
    }

    /// What compares and moves the bytes of pages on this machine. Whichever it is, the core does the same.
    ///
    /// ```
    /// use hivemind_protocol::Memory;
    /// fn how(memory: &impl Memory) -> &str {
    ///     memory.kernels().name
    /// }
    /// ```
    fn kernels(&self) -> &'static Kernels {
        &Kernels::PORTABLE
    }
}
