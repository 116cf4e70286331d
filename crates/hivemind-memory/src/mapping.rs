//! One memory file mapped twice: the application view at an address that drones agree on, and the system view, always
//! readable and writable. Which pages of the application view the program may touch is the engines' matter.

use crate::error::MemoryError;
use crate::large::{LARGE_BYTES, LargePages};
use crate::owner::Owner;
use crate::{BASES, sys};
use hivemind_protocol::{PAGE_SIZE, PageBytes, PageId, PageRun};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Resource;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Both views of a region. They go when the last who holds this lets go of it.
pub(crate) struct Mapping {
    application: *mut u8,
    system: *mut u8,
    bytes: usize,
    file: OwnedFd,
    large: LargePages,
    /// Whether the region is gone, of which this may outlive it.
    ended: AtomicBool,
    owner: Owner,
}

// SAFETY: the addresses are constant for the life of the value; what is done through them is the callers' matter,
// who promise it block by block.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps at a base. The application view starts without any access.
    pub(crate) fn at_base(bytes: u64, index: usize) -> Result<Self, MemoryError> {
        let base = *BASES.get(index).ok_or(MemoryError::UnknownBase { index })?;
        Self::at(bytes, base).map_err(|refused| match refused {
            Refused::Whole(error) => error,
            Refused::View(Errno::EXIST) => MemoryError::BaseTaken { index, base, bytes },
            Refused::View(errno) => no_room(bytes, base, errno),
        })
    }

    /// Maps where the kernel likes: for probes.
    pub(crate) fn anywhere(bytes: u64) -> Result<Self, MemoryError> {
        Self::at(bytes, 0).map_err(|refused| match refused {
            Refused::Whole(error) => error,
            Refused::View(errno) => no_room(bytes, 0, errno),
        })
    }

    fn at(bytes: u64, base: usize) -> Result<Self, Refused> {
        let length = checked_length(bytes, base)?;
        let owner = Owner::this_process()?;
        let file = sys::memory_file(length).map_err(|(call, errno)| MemoryError::MemfdRefused {
            call,
            bytes,
            errno,
        })?;
        let system = sys::map_file_aligned(file.as_fd(), length, LARGE_BYTES)
            .map_err(|errno| no_room(bytes, base, errno))?;
        let application = match sys::map_file(file.as_fd(), base, length, false) {
            Ok(view) => view,
            Err(errno) => {
                // SAFETY: mapped just above, known to nobody.
                unsafe { sys::unmap(system, length) };
                return Err(Refused::View(errno));
            }
        };
        // From here on a drop takes all three away.
        let mapping = Self {
            application,
            system,
            bytes: length,
            file,
            large: LargePages::default(),
            ended: AtomicBool::new(false),
            owner,
        };
        for view in [application, system] {
            // SAFETY: both views are our own and unused yet.
            unsafe { sys::keep_private(view, length) }.map_err(|errno| {
                MemoryError::MapRefused {
                    call: "madvise",
                    bytes,
                    errno,
                }
            })?;
        }
        Ok(mapping)
    }

    /// The size in bytes, whole pages.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The size in pages.
    pub(crate) fn pages(&self) -> u64 {
        (self.bytes / PAGE_SIZE) as u64
    }

    /// All pages.
    pub(crate) fn whole(&self) -> PageRun {
        PageRun {
            first: PageId(0),
            count: self.pages(),
        }
    }

    /// The first byte of the application view.
    pub(crate) fn base(&self) -> *mut u8 {
        self.application
    }

    /// Where the program sees these pages, and how many bytes they are.
    pub(crate) fn application(&self, pages: PageRun) -> (*mut u8, usize) {
        self.within(self.application, pages)
    }

    /// Where the core sees these pages.
    pub(crate) fn system(&self, pages: PageRun) -> (*mut u8, usize) {
        self.within(self.system, pages)
    }

    /// Makes these pages exist in the file, as zeros where nothing was written.
    pub(crate) fn populate(&self, pages: PageRun) -> Result<(), Errno> {
        let (offset, bytes) = self.in_file(pages);
        sys::populate(self.file.as_fd(), offset, bytes)
    }

    /// Whether this piece may be made a large page: nothing of it exists, and the kernel has not refused or delayed that too often.
    pub(crate) fn may_make_large(&self, piece: PageRun) -> bool {
        let (offset, _) = self.in_file(piece);
        self.large.may_make(self.file.as_fd(), offset)
    }

    /// Has the kernel make a large page of this piece, of which nothing exists; all its pages exist from then on, as zeros. Says
    /// whether it did.
    pub(crate) fn make_large(&self, piece: PageRun) -> bool {
        let begin = Instant::now();
        // The kernel wants one of them to exist.
        let answer = self.populate(PageRun::one(piece.first)).and_then(|()| {
            let (address, bytes) = self.system(piece);
            // The kernel maps what it has joined. A page that two views show counts twice in what a process is said to use, and most
            // of these the core never looks at.
            // SAFETY: the system view of our own region, whose bytes stay what they are.
            unsafe {
                sys::join_pages(address, bytes)?;
                sys::drop_entries(address, bytes)
            }
        });
        self.large.note(answer, begin.elapsed())
    }

    /// What is known of the large pages of the file.
    pub(crate) fn large(&self) -> &LargePages {
        &self.large
    }

    /// Writes a whole page into the file, which is what both views show. For a page that the system view has not stored to
    /// yet this takes half as long as a store, which would fault.
    pub(crate) fn put(&self, page: PageId, bytes: &PageBytes) -> Result<(), Errno> {
        let (offset, _) = self.in_file(PageRun::one(page));
        sys::put(self.file.as_fd(), offset, bytes)
    }

    /// Gives their memory back; they hold zeros from now on.
    pub(crate) fn give_back(&self, pages: PageRun) -> Result<(), Errno> {
        let (offset, bytes) = self.in_file(pages);
        sys::give_back(self.file.as_fd(), offset, bytes)
    }

    /// How many pages the file has in the machine's memory.
    #[cfg(test)]
    pub(crate) fn resident_pages(&self) -> i64 {
        const BLOCK_BYTES: i64 = 512;
        let file = rustix::fs::fstat(&self.file).expect("a file of our own");
        file.st_blocks * BLOCK_BYTES / PAGE_SIZE as i64
    }

    /// Where these pages lie in the file, and how many bytes they are.
    fn in_file(&self, pages: PageRun) -> (u64, usize) {
        let (address, bytes) = self.system(pages);
        ((address.addr() - self.system.addr()) as u64, bytes)
    }

    /// The page of the application view that holds this address.
    pub(crate) fn page_at(&self, address: usize) -> PageId {
        PageId(((address - self.application.addr()) / PAGE_SIZE) as u64)
    }

    /// The region is gone: from now on a fault is nobody's.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether [`end`](Self::end) was called.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The process that made this.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// INV-M4 and INV-M3: the pages lie in the region, and the region is this process's own.
    fn within(&self, view: *mut u8, pages: PageRun) -> (*mut u8, usize) {
        let end = pages.first.0.checked_add(pages.count);
        assert!(
            pages.count > 0 && end.is_some_and(|end| end <= self.pages()),
            "INV-M4: {} and {} more are named in a region of {} pages",
            pages.first,
            pages.count.wrapping_sub(1),
            self.pages()
        );
        self.owner.assert_this_process();
        // SAFETY: the assertion above puts the whole range into the view.
        (
            unsafe { view.add(pages.first.0 as usize * PAGE_SIZE) },
            pages.count as usize * PAGE_SIZE,
        )
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // A forked child has neither view; what is at those addresses there is not ours.
        if self.owner.is_this_process() {
            // SAFETY: both were mapped by `at`; who holds a pointer into them holds this mapping too.
            unsafe {
                sys::unmap(self.application, self.bytes);
                sys::unmap(self.system, self.bytes);
            }
            // A forked child may have the file still, but shall not keep its memory.
            sys::empty(self.file.as_fd());
        }
    }
}

/// What was refused: the whole undertaking, or the application view at its base.
enum Refused {
    Whole(MemoryError),
    View(Errno),
}

impl From<MemoryError> for Refused {
    fn from(error: MemoryError) -> Self {
        Self::Whole(error)
    }
}

/// Where the addresses of a program end.
const ADDRESS_END: u64 = 1 << 47;

/// Checks what can be told before the kernel is asked, so that the error can say what to do.
fn checked_length(bytes: u64, base: usize) -> Result<usize, MemoryError> {
    let page_bytes = rustix::param::page_size();
    if page_bytes != PAGE_SIZE {
        return Err(MemoryError::PageSize { page_bytes });
    }
    if bytes == 0 {
        return Err(MemoryError::EmptyRegion);
    }
    let room = ADDRESS_END - base as u64;
    let length = sys::round_to_pages(bytes).filter(|length| *length as u64 <= room);
    let length = length.ok_or(MemoryError::RegionTooLarge {
        bytes,
        base,
        limit_bytes: room,
    })?;
    // The kernel would not refuse a file too large but kill the process, with SIGXFSZ.
    match rustix::process::getrlimit(Resource::Fsize).current {
        Some(limit_bytes) if limit_bytes < length as u64 => {
            Err(MemoryError::FileSizeLimit { bytes, limit_bytes })
        }
        _ => Ok(length),
    }
}

/// Why a mapping was refused, said as well as it can be known.
fn no_room(bytes: u64, base: usize, errno: Errno) -> MemoryError {
    if errno == Errno::NOMEM {
        match rustix::process::getrlimit(Resource::As).current {
            // Two views, beside what the program itself needs.
            Some(limit_bytes) if bytes.saturating_mul(2) > limit_bytes / 2 => {
                return MemoryError::AddressSpaceLimit { bytes, limit_bytes };
            }
            None if bytes > ADDRESS_END / 4 => {
                return MemoryError::RegionTooLarge {
                    bytes,
                    base,
                    limit_bytes: ADDRESS_END / 4,
                };
            }
            _ => {}
        }
    }
    MemoryError::MapRefused {
        call: "mmap",
        bytes,
        errno,
    }
}
