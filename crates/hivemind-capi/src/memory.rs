//! Shared memory: taken, given back, and made present for those who can't fault.

use crate::hive::here;
use crate::place::address_of;
use crate::status::{Trouble, hive_status_t, remember, status_of};
use hive_status_t::*;
use hivemind::PAGE_SIZE;
use std::ffi::c_void;
use std::ptr;

/// What every block is aligned to, as malloc's are.
const ALIGN: usize = 16;

/// Takes shared memory of `bytes` bytes (0 counts as 1), aligned to 16, whose contents are anything. The pointer is good
/// on every drone that is told of it, until any drone frees it; no other drone takes part. Blocks of a page (4096 bytes)
/// or more begin at a page, so that two arrays never share one. Whoever writes a page first becomes its home, so fill what
/// you will work on. Blocks until drone 0, which keeps the heap, has answered.
///
/// Gives NULL where there is no room (HIVE_NO_MEMORY names the largest free block), and on HIVE_LOST.
#[unsafe(no_mangle)]
pub extern "C" fn hive_malloc(bytes: usize) -> *mut c_void {
    pointer_of(allocate(bytes, page_for(bytes), false))
}

/// Takes shared memory for `count` values of `bytes` bytes each, all zero; like hive_malloc in everything else.
#[unsafe(no_mangle)]
pub extern "C" fn hive_calloc(count: usize, bytes: usize) -> *mut c_void {
    let all = count.checked_mul(bytes).ok_or_else(|| {
        Trouble::new(
            HIVE_NO_MEMORY,
            format!("{count} values of {bytes} bytes are more than there can be"),
        )
    });
    pointer_of(all.and_then(|all| allocate(all, page_for(all), true)))
}

/// Takes shared memory aligned to `align` bytes, a power of two; like hive_malloc in everything else.
///
/// Gives NULL with HIVE_BAD_ARGUMENT for another `align`.
#[unsafe(no_mangle)]
pub extern "C" fn hive_aligned_alloc(align: usize, bytes: usize) -> *mut c_void {
    if !align.is_power_of_two() {
        return pointer_of(Err(Trouble::new(
            HIVE_BAD_ARGUMENT,
            format!("an alignment of {align} bytes is no power of two"),
        )));
    }
    pointer_of(allocate(bytes, align.max(ALIGN), false))
}

/// Gives a block another size: what it holds is kept up to the smaller of the two, and it may lie elsewhere afterwards; other
/// drones must be told then. NULL is taken as a new block, and 0 bytes count as 1. Blocks as hive_malloc does. No other drone
/// may write to the block meanwhile, and what others wrote before must have been synchronised with.
///
/// Gives NULL with HIVE_BAD_POINTER where no block in use begins, and with HIVE_NO_MEMORY; the block stays as it is then.
///
/// # Safety
/// Nobody uses the block meanwhile, and nobody its old place afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_realloc(block: *mut c_void, bytes: usize) -> *mut c_void {
    if block.is_null() {
        return hive_malloc(bytes);
    }
    let run = || -> Result<*mut c_void, Trouble> {
        let (address, room) = {
            let hive = here()?;
            let address = address_of(&hive, block.cast(), 1, "the block")?;
            (
                address,
                usize::try_from(hive.measure(address)?).unwrap_or(usize::MAX),
            )
        };
        // Room to spare is kept up to a half: a block that grows and shrinks by turns stays where it is.
        if bytes <= room && bytes >= room / 2 {
            return Ok(block);
        }
        let new = allocate(bytes, page_for(bytes), false)?;
        // SAFETY: both blocks have so many bytes, and nobody uses either.
        unsafe { ptr::copy_nonoverlapping(block.cast::<u8>(), new.cast::<u8>(), room.min(bytes)) };
        here()?.free(address)?;
        Ok(new)
    };
    pointer_of(run())
}

/// Gives shared memory back, whoever took it. NULL is fine and does nothing. Blocks as hive_malloc does.
///
/// Gives HIVE_BAD_POINTER where no block in use begins: memory of malloc, the middle of a block, one that is freed already.
#[unsafe(no_mangle)]
pub extern "C" fn hive_free(block: *mut c_void) -> hive_status_t {
    status_of(here().and_then(|hive| {
        if block.is_null() {
            return Ok(());
        }
        let address = address_of(&hive, block.cast(), 1, "the block")?;
        Ok(hive.free(address)?)
    }))
}

/// Whether `pointer` leads into shared memory. Blocks nobody; false before start-up and after exit.
#[unsafe(no_mangle)]
pub extern "C" fn hive_is_shared(pointer: *const c_void) -> bool {
    here().is_ok_and(|hive| address_of(&hive, pointer.cast(), 1, "it").is_ok())
}

/// Begins to fetch `bytes` bytes of shared memory that are not here, so that touching them later need not wait as long. Blocks
/// for nobody. Worth it before a few pages that are touched in no order; runs of pages are fetched ahead anyway.
///
/// Gives HIVE_BAD_POINTER outside of shared memory.
#[unsafe(no_mangle)]
pub extern "C" fn hive_prefetch(start: *const c_void, bytes: usize) -> hive_status_t {
    status_of(here().and_then(|hive| {
        let address = address_of(&hive, start.cast(), bytes, "the range")?;
        Ok(hive.prefetch(address.0..address.0 + bytes as u64)?)
    }))
}

/// Fetches `bytes` bytes of shared memory, so that a system call finds them here: the kernel, which reads and writes for
/// read(2) or write(2), can't wait for a page and gives EFAULT. `write` makes them writable too, for read(2) into them. They
/// stay until this drone's next lock, barrier or other call that synchronises; but where writes are trapped (the engines
/// uffd-sync and mprotect), another drone's request may take the right to write back before: call again after EFAULT. Blocks
/// until all are here.
///
/// Gives HIVE_BAD_POINTER outside of shared memory, HIVE_LOST, HIVE_TIMED_OUT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_present(start: *const c_void, bytes: usize, write: bool) -> hive_status_t {
    status_of(here().and_then(|hive| {
        let address = address_of(&hive, start.cast(), bytes, "the range")?;
        Ok(hive.make_present(address.0..address.0 + bytes as u64, write)?)
    }))
}

/// Large blocks begin at a page.
fn page_for(bytes: usize) -> usize {
    if bytes >= PAGE_SIZE { PAGE_SIZE } else { ALIGN }
}

fn allocate(bytes: usize, align: usize, zero: bool) -> Result<*mut c_void, Trouble> {
    let hive = here()?;
    let block = hive.allocate(bytes as u64, align as u64)?;
    let pointer = (hive.base() + block.address.0 as usize) as *mut c_void;
    if zero && !block.is_zero {
        // SAFETY: the block lies in shared memory, has these bytes, and nobody else knows of it yet.
        unsafe { ptr::write_bytes(pointer.cast::<u8>(), 0, bytes) }
    }
    Ok(pointer)
}

fn pointer_of(result: Result<*mut c_void, Trouble>) -> *mut c_void {
    result.unwrap_or_else(|trouble| {
        remember(trouble);
        ptr::null_mut()
    })
}
