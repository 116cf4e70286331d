//! The raw system calls, each behind a function that says what it needs. Decisions and error texts live with the
//! callers; what the kernel answered is handed up as it is.

use crate::MemoryError;
use hivemind_protocol::{PAGE_SIZE, PageBytes};
use linux_raw_sys::general::{
    MADV_COLLAPSE, MADV_GUARD_INSTALL, MADV_GUARD_REMOVE, PAGE_IS_PRESENT, PAGE_IS_SWAPPED,
    PAGE_IS_WRITTEN, PM_SCAN_CHECK_WPASYNC, PM_SCAN_WP_MATCHING, UFFD_API,
    UFFD_FEATURE_MINOR_SHMEM, UFFD_FEATURE_SIGBUS, UFFD_FEATURE_WP_ASYNC,
    UFFD_FEATURE_WP_HUGETLBFS_SHMEM, UFFD_FEATURE_WP_UNPOPULATED, UFFD_USER_MODE_ONLY,
    UFFDIO_REGISTER_MODE_MINOR, UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP, pm_scan_arg,
    uffdio_api, uffdio_continue, uffdio_range, uffdio_register, uffdio_writeprotect,
};
use linux_raw_sys::ioctl::{
    UFFDIO_API, UFFDIO_CONTINUE, UFFDIO_REGISTER, UFFDIO_UNREGISTER, UFFDIO_WRITEPROTECT,
};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, UserfaultfdFlags};
use std::ffi::c_void;
use std::ptr;

pub(crate) use linux_raw_sys::general::page_region;

/// `UFFDIO_CONTINUE_MODE_WP`, which the bindings lack: map the page write-protected.
const CONTINUE_MODE_WP: u64 = 1 << 1;

/// `UFFDIO_WRITEPROTECT_MODE_WP`, which the bindings lack.
const WRITEPROTECT_MODE_WP: u64 = 1 << 0;

/// What a userfaultfd needs to make absent pages fault, and stores to write-protected ones, with a signal.
pub(crate) const TRAPPED_WRITES: u32 = UFFD_FEATURE_SIGBUS
    | UFFD_FEATURE_MINOR_SHMEM
    | UFFD_FEATURE_WP_HUGETLBFS_SHMEM
    | UFFD_FEATURE_WP_UNPOPULATED;

/// What it needs beside for stores that lift the protection by themselves. It has no room for both kinds.
pub(crate) const ASYNCHRONOUS_WRITES: u32 = UFFD_FEATURE_WP_ASYNC;

/// `PAGEMAP_SCAN` = `_IOWR('f', 16, struct pm_scan_arg)`, which the bindings lack.
const PAGEMAP_SCAN: Opcode = rustix::ioctl::opcode::read_write::<pm_scan_arg>(b'f', 16);

// The kernel tells the versions of these structures by their sizes.
const _: () = assert!(size_of::<pm_scan_arg>() == 96);
const _: () = assert!(size_of::<page_region>() == 24);
const _: () = assert!(size_of::<uffdio_continue>() == 32);
const _: () = assert!(PAGEMAP_SCAN == 0xC060_6610);

/// `bytes` rounded up to whole pages; `None` where there are none, or more than an address can name.
pub(crate) fn round_to_pages(bytes: u64) -> Option<usize> {
    let rounded = bytes.checked_next_multiple_of(PAGE_SIZE as u64)?;
    usize::try_from(rounded).ok().filter(|bytes| *bytes > 0)
}

/// Whether nothing is mapped in `bytes` from `base` on.
pub(crate) fn is_free(base: usize, bytes: usize) -> bool {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED_NOREPLACE;
    // SAFETY: NOREPLACE leaves what is mapped alone; kernels that don't know it take the address as a hint.
    let mapped = unsafe {
        rustix::mm::mmap_anonymous(
            ptr::without_provenance_mut(base),
            bytes,
            ProtFlags::empty(),
            flags,
        )
    };
    let Ok(address) = mapped else { return false };
    // SAFETY: this mapping was made just now and nobody knows it.
    unsafe { unmap(address.cast(), bytes) };
    address.addr() == base
}

/// A page that a fork empties in the child.
pub(crate) fn map_wiped_on_fork() -> Result<*mut u8, MemoryError> {
    let refused = |call, errno| MemoryError::MapRefused {
        call,
        bytes: PAGE_SIZE as u64,
        errno,
    };
    // SAFETY: a fresh mapping at an address of the kernel's choice touches nobody's memory.
    let page = unsafe {
        rustix::mm::mmap_anonymous(
            ptr::null_mut(),
            PAGE_SIZE,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    }
    .map_err(|errno| refused("mmap", errno))?;
    // SAFETY: the mapping is our own, and empty.
    unsafe { rustix::mm::madvise(page, PAGE_SIZE, Advice::LinuxWipeOnFork) }
        .map_err(|errno| refused("madvise(MADV_WIPEONFORK)", errno))?;
    Ok(page.cast())
}

/// An empty memory file of this size. It takes no memory until it is touched.
pub(crate) fn memory_file(bytes: usize) -> Result<OwnedFd, (&'static str, Errno)> {
    file_in_memory("hivemind-region", bytes, MemfdFlags::empty())
}

/// As [`memory_file`], and its size can be sealed.
#[cfg(not(all(loom, test)))]
pub(crate) fn sealable_file(bytes: usize) -> Result<OwnedFd, (&'static str, Errno)> {
    file_in_memory("hivemind-ring", bytes, MemfdFlags::ALLOW_SEALING)
}

fn file_in_memory(
    name: &str,
    bytes: usize,
    more: MemfdFlags,
) -> Result<OwnedFd, (&'static str, Errno)> {
    let flags = MemfdFlags::CLOEXEC | more;
    let file = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Kernels before 6.3 don't know the seal.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        other => other,
    }
    .map_err(|errno| ("memfd_create", errno))?;
    rustix::fs::ftruncate(&file, bytes as u64).map_err(|errno| ("ftruncate", errno))?;
    Ok(file)
}

/// Maps a file's first `bytes`, shared: at `base` where nothing else is, or anywhere with 0. `EEXIST`: the base is taken.
pub(crate) fn map_file(
    file: BorrowedFd<'_>,
    base: usize,
    bytes: usize,
    visible: bool,
) -> Result<*mut u8, Errno> {
    let mut flags = MapFlags::SHARED | MapFlags::NORESERVE;
    if base != 0 {
        flags |= MapFlags::FIXED_NOREPLACE;
    }
    let protection = if visible {
        ProtFlags::READ | ProtFlags::WRITE
    } else {
        ProtFlags::empty()
    };
    // SAFETY: NOREPLACE leaves what is mapped alone, and so does a null hint.
    let view = unsafe {
        rustix::mm::mmap(
            ptr::without_provenance_mut(base),
            bytes,
            protection,
            flags,
            file,
            0,
        )
    }?
    .cast::<u8>();
    if base != 0 && view.addr() != base {
        // SAFETY: a kernel that doesn't know NOREPLACE mapped it elsewhere; nobody knows this mapping.
        unsafe { unmap(view, bytes) };
        return Err(Errno::EXIST);
    }
    Ok(view)
}

/// As [`map_file`], visible, where the kernel likes, but at a multiple of `alignment`, itself one of a page.
pub(crate) fn map_file_aligned(
    file: BorrowedFd<'_>,
    bytes: usize,
    alignment: usize,
) -> Result<*mut u8, Errno> {
    let room = bytes.checked_add(alignment).ok_or(Errno::NOMEM)?;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a fresh mapping at an address of the kernel's choice touches nobody's memory.
    let reserved =
        unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), room, ProtFlags::empty(), flags) }?
            .cast::<u8>();
    let before = reserved.addr().next_multiple_of(alignment) - reserved.addr();
    let visible = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::SHARED | MapFlags::NORESERVE | MapFlags::FIXED;
    // SAFETY: what it replaces lies in the reservation, of which nobody knows.
    let mapped = unsafe {
        let place = reserved.add(before).cast();
        rustix::mm::mmap(place, bytes, visible, flags, file, 0)
    };
    let spare = match mapped {
        Ok(_) => [(0, before), (before + bytes, alignment - before)],
        Err(_) => [(0, room), (0, 0)],
    };
    for (from, bytes) in spare.into_iter().filter(|(_, bytes)| *bytes > 0) {
        // SAFETY: the rest of the reservation.
        unsafe { unmap(reserved.add(from), bytes) };
    }
    mapped.map(<*mut _>::cast)
}

/// Takes a mapping away.
///
/// # Safety
/// The range was mapped by the caller, and nobody uses it any more.
pub(crate) unsafe fn unmap(address: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise. It can fail only where the kernel is out of memory to split a mapping; whole
    // mappings are not split.
    let done = unsafe { rustix::mm::munmap(address.cast(), bytes) };
    debug_assert_eq!(done, Ok(()), "a mapping of our own can be taken away");
}

/// Keeps a range out of forked children and out of core files.
///
/// # Safety
/// The range is the caller's own mapping.
pub(crate) unsafe fn keep_private(address: *mut u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: the caller's promise; neither advice changes any byte.
    unsafe {
        rustix::mm::madvise(address.cast(), bytes, Advice::LinuxDontFork)?;
        rustix::mm::madvise(address.cast(), bytes, Advice::LinuxDontDump)
    }
}

/// Sets what the processor allows in a range.
///
/// # Safety
/// The range is a view of a region of the caller's; who faults there is served or meant to die.
pub(crate) unsafe fn protect(
    address: *mut u8,
    bytes: usize,
    read: bool,
    write: bool,
) -> Result<(), Errno> {
    let mut flags = MprotectFlags::empty();
    flags.set(MprotectFlags::READ, read);
    flags.set(MprotectFlags::WRITE, write);
    // SAFETY: the caller's promise. No byte changes.
    unsafe { rustix::mm::mprotect(address.cast(), bytes, flags) }
}

/// Takes the page-table entries of a range of a shared file mapping away. The bytes stay in the file.
///
/// # Safety
/// The range is a view of a region of the caller's.
pub(crate) unsafe fn drop_entries(address: *mut u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: the caller's promise; for a shared file mapping DONTNEED loses no byte.
    unsafe { rustix::mm::madvise(address.cast(), bytes, Advice::LinuxDontNeed) }
}

/// Has every access to a range of a shared file mapping fault, whatever its protection. The bytes stay in the file.
/// Needs Linux 6.15.
///
/// # Safety
/// The range is a view of a region of the caller's; who faults there is served or meant to die.
pub(crate) unsafe fn install_guards(address: *mut u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    unsafe { advise(address, bytes, MADV_GUARD_INSTALL) }
}

/// Takes guards away. The kernel maps pages by itself, when they are touched.
///
/// # Safety
/// As for [`install_guards`]; the program may see the bytes.
pub(crate) unsafe fn remove_guards(address: *mut u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    unsafe { advise(address, bytes, MADV_GUARD_REMOVE) }
}

/// The advice that rustix lacks.
///
/// # Safety
/// The range is the caller's own mapping, and what the advice does to it is the caller's promise.
unsafe fn advise(address: *mut u8, bytes: usize, advice: u32) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    match unsafe { libc::madvise(address.cast(), bytes, advice as libc::c_int) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

/// Makes every page of a range of a memory file exist; a hole becomes zeros. The kernel clears a page when it is mapped
/// first, so this takes a third of what touching it takes.
pub(crate) fn populate(file: BorrowedFd<'_>, offset: u64, bytes: usize) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| {
        rustix::fs::fallocate(file, FallocateFlags::empty(), offset, bytes as u64)
    })
}

/// Has the kernel keep a range of a memory file as large pages, and map them so here; holes become zeros. Address and offset are
/// multiples of such a page, one of the small ones exists, and nobody watches the range for absent ones. Needs Linux 6.1;
/// `EINVAL` where the machine's settings forbid it. Changes no byte.
///
/// # Safety
/// The range is the caller's own mapping.
pub(crate) unsafe fn join_pages(address: *mut u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    unsafe { advise(address, bytes, MADV_COLLAPSE) }
}

/// Where the first byte that exists in a memory file lies, from `offset` on; beyond all where there is none.
pub(crate) fn next_data(file: BorrowedFd<'_>, offset: u64) -> Result<u64, Errno> {
    match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Err(Errno::NXIO) => Ok(u64::MAX),
        other => other,
    }
}

/// Has the kernel do for every page of a range what it would do at the first store to it. Changes no byte.
///
/// # Safety
/// The range is the caller's own mapping.
pub(crate) unsafe fn fault_in_for_stores(address: *mut u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    unsafe { rustix::mm::madvise(address.cast(), bytes, Advice::LinuxPopulateWrite) }
}

/// Writes a page into a memory file.
pub(crate) fn put(file: BorrowedFd<'_>, offset: u64, bytes: &PageBytes) -> Result<(), Errno> {
    let mut done = 0;
    while done < PAGE_SIZE {
        let (rest, at) = (&bytes[done..], offset + done as u64);
        match rustix::io::retry_on_intr(|| rustix::io::pwrite(file, rest, at))? {
            0 => return Err(Errno::NOSPC),
            written => done += written,
        }
    }
    Ok(())
}

/// Gives the memory of a range of a memory file back, which holds zeros from then on.
pub(crate) fn give_back(file: BorrowedFd<'_>, offset: u64, bytes: usize) -> Result<(), Errno> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, flags, offset, bytes as u64))
}

/// Gives all of a memory file's memory back. Who has it mapped still must not touch it any more.
pub(crate) fn empty(file: BorrowedFd<'_>) {
    // Refused by no kernel; and if it were, the memory would go with the file.
    let _ = rustix::fs::ftruncate(file, 0);
}

/// Copies bytes, of which the source may be stored to at the same time by other threads: each byte for itself is then
/// an old or a new one.
///
/// # Safety
/// Both ranges are valid for `bytes`, and don't overlap.
pub(crate) unsafe fn copy_racing(from: *const u8, into: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise. The compiler sees one opaque access, so a race with a store means what it means to
    // the processor. The direction flag is clear, as the calling convention has it.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") bytes => _,
            inout("rsi") from => _,
            inout("rdi") into => _,
            options(nostack, preserves_flags),
        );
    }
}

/// A userfaultfd with these features, or the call that was refused.
pub(crate) fn open_userfaultfd(features: u32) -> Result<OwnedFd, (&'static str, Errno)> {
    let flags = UserfaultfdFlags::CLOEXEC
        | UserfaultfdFlags::NONBLOCK
        | UserfaultfdFlags::from_bits_retain(UFFD_USER_MODE_ONLY);
    // SAFETY: the descriptor stays in this crate and is registered with its own mappings alone.
    let fd = unsafe { rustix::mm::userfaultfd(flags) }.map_err(|errno| ("userfaultfd", errno))?;
    let mut api = uffdio_api {
        api: UFFD_API.into(),
        features: features.into(),
        ioctls: 0,
    };
    // SAFETY: the structure is the one this request takes.
    unsafe { control(fd.as_fd(), UFFDIO_API, &mut api) }.map_err(|errno| ("UFFDIO_API", errno))?;
    Ok(fd)
}

/// Has a userfaultfd watch a range for absent and write-protected pages.
///
/// # Safety
/// The range is a shared memfd mapping of the caller's; who faults there is served or meant to die.
pub(crate) unsafe fn watch(
    fd: BorrowedFd<'_>,
    address: *mut u8,
    bytes: usize,
) -> Result<(), Errno> {
    let mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MINOR;
    let range = uffdio_range {
        start: address.addr() as u64,
        len: bytes as u64,
    };
    let mut register = uffdio_register {
        range,
        mode: mode.into(),
        ioctls: 0,
    };
    // SAFETY: the structure is the one this request takes; the range is the caller's promise.
    unsafe { control(fd, UFFDIO_REGISTER, &mut register) }?;
    let continues = 1u64 << linux_raw_sys::general::_UFFDIO_CONTINUE;
    if register.ioctls & continues == 0 {
        Err(Errno::OPNOTSUPP)
    } else {
        Ok(())
    }
}

/// Ends a userfaultfd's watch over a range.
///
/// # Safety
/// The range is the caller's own mapping; who touches it from then on is not the userfaultfd's.
pub(crate) unsafe fn watch_no_more(
    fd: BorrowedFd<'_>,
    address: *mut u8,
    bytes: usize,
) -> Result<(), Errno> {
    let mut range = uffdio_range {
        start: address.addr() as u64,
        len: bytes as u64,
    };
    // SAFETY: the structure is the one this request takes; the range is the caller's promise.
    unsafe { control(fd, UFFDIO_UNREGISTER, &mut range) }.map(|_| ())
}

/// Maps pages of a watched range that exist in the file. Returns how many bytes it did (then the rest can be tried
/// again), or why the first could not be done.
///
/// # Safety
/// The range is watched by this userfaultfd and the caller's own; the program may see its bytes.
pub(crate) unsafe fn map_pages(
    fd: BorrowedFd<'_>,
    address: *mut u8,
    bytes: usize,
    write_protected: bool,
) -> Result<usize, Errno> {
    let mut request = uffdio_continue {
        range: uffdio_range {
            start: address.addr() as u64,
            len: bytes as u64,
        },
        mode: if write_protected { CONTINUE_MODE_WP } else { 0 },
        mapped: 0,
    };
    // SAFETY: the structure is the one this request takes; the range is the caller's promise.
    match unsafe { control(fd, UFFDIO_CONTINUE, &mut request) } {
        Ok(_) => Ok(bytes),
        // The kernel says EAGAIN where it did a part, and also where the mappings are changing under it.
        Err(Errno::AGAIN) => Ok(usize::try_from(request.mapped).unwrap_or(0)),
        Err(errno) => Err(errno),
    }
}

/// Arms or lifts the write protection of mapped pages.
///
/// # Safety
/// As for [`map_pages`].
pub(crate) unsafe fn write_protect(
    fd: BorrowedFd<'_>,
    address: *mut u8,
    bytes: usize,
    armed: bool,
) -> Result<(), Errno> {
    let mut request = uffdio_writeprotect {
        range: uffdio_range {
            start: address.addr() as u64,
            len: bytes as u64,
        },
        mode: if armed { WRITEPROTECT_MODE_WP } else { 0 },
    };
    loop {
        // SAFETY: the structure is the one this request takes; the range is the caller's promise.
        match unsafe { control(fd, UFFDIO_WRITEPROTECT, &mut request) } {
            Ok(_) => return Ok(()),
            // The mappings were changing under it; nothing was done.
            Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The file through which page tables are scanned.
pub(crate) fn open_pagemap() -> Result<OwnedFd, Errno> {
    rustix::fs::open(
        "/proc/self/pagemap",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// What a scan looks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scan {
    /// Pages stored to since they were last write-protected; write-protects them again in the same step. Those without an entry are
    /// among them: were they protected when it went, they would have a mark.
    TakeWritten,
    /// The same pages, as they are.
    Written,
    /// Pages that have no entry at all: never mapped, or forgotten while not write-protected.
    NoEntry,
    /// Pages that the processor can reach.
    Present,
}

/// What has an entry in the page table, or a mark there.
const ENTRY: u64 = (PAGE_IS_PRESENT | PAGE_IS_SWAPPED) as u64;

impl Scan {
    /// Whether a range that the kernel reported is of what was asked for, and not merely of pages with a mark.
    pub(crate) fn finds(self, range: &page_region) -> bool {
        let is_written = range.categories & u64::from(PAGE_IS_WRITTEN) != 0;
        match self {
            Self::TakeWritten | Self::Written => is_written || !has_entry(range),
            Self::NoEntry | Self::Present => true,
        }
    }
}

/// Whether the pages of a range that a scan reported have an entry.
pub(crate) fn has_entry(range: &page_region) -> bool {
    range.categories & ENTRY != 0
}

/// Scans the entries of a range. Returns how many of `found` it filled and the address up to which it got.
///
/// # Safety
/// The range is a mapping of the caller's.
pub(crate) unsafe fn scan(
    pagemap: BorrowedFd<'_>,
    start: u64,
    end: u64,
    what: Scan,
    found: &mut [page_region],
) -> Result<(usize, u64), Errno> {
    let take = u64::from(PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC);
    // Written, or not present. A page that is not may have a mark, or be on its way elsewhere: it counts as swapped, and keeps its
    // protection. Which of them were stored to, `finds` tells.
    let (present, written) = (u64::from(PAGE_IS_PRESENT), u64::from(PAGE_IS_WRITTEN));
    let stored = (present, 0, written | present, written | ENTRY);
    let (flags, (inverted, all_of, any_of, told)) = match what {
        Scan::TakeWritten => (take, stored),
        Scan::Written => (0, stored),
        Scan::NoEntry => (0, (ENTRY, ENTRY, 0, ENTRY)),
        Scan::Present => (0, (0, present, 0, present)),
    };
    let mut argument = pm_scan_arg {
        size: size_of::<pm_scan_arg>() as u64,
        flags,
        start,
        end,
        walk_end: 0,
        vec: found.as_mut_ptr().expose_provenance() as u64,
        vec_len: found.len() as u64,
        max_pages: 0,
        category_inverted: inverted,
        category_mask: all_of,
        category_anyof_mask: any_of,
        // As little as is needed, so that neighbours come back as one range.
        return_mask: told,
    };
    // SAFETY: the structure is the one this request takes; the kernel fills at most `vec_len` entries of `found`.
    let filled = unsafe { control(pagemap, PAGEMAP_SCAN, &mut argument) }?;
    Ok((filled, argument.walk_end))
}

/// One ioctl.
///
/// # Safety
/// `number` takes a pointer to a `T`, and what it does to memory is the caller's promise.
unsafe fn control<T>(fd: BorrowedFd<'_>, number: Opcode, argument: &mut T) -> Result<usize, Errno> {
    struct Request<'a, T>(Opcode, &'a mut T);

    // SAFETY: the pointer is that of a living T, which is what the request takes by the promise above; the output is
    // the return value, which is never negative where there is no error.
    unsafe impl<T> Ioctl for Request<'_, T> {
        type Output = usize;
        const IS_MUTATING: bool = true;
        fn opcode(&self) -> Opcode {
            self.0
        }
        fn as_ptr(&mut self) -> *mut c_void {
            ptr::from_mut(self.1).cast()
        }
        unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> Result<usize, Errno> {
            Ok(usize::try_from(output).unwrap_or(0))
        }
    }

    // SAFETY: the caller's promise.
    unsafe { rustix::ioctl::ioctl(fd, Request(number, argument)) }
}
