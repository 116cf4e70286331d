//! Locks by number and locks that lie in shared memory.

use crate::hive::here;
use crate::memory::address_of;
use crate::status::{Trouble, hive_status_t, status_of};
use hive_status_t::HIVE_BAD_ARGUMENT;
use hivemind::LockId;

/// A lock inside shared memory, in a structure of the program's own. It is known by where it lies: it must not be copied
/// or moved, and is good on every drone at that address. Zeroed memory is a lock that is free.
#[repr(C)]
#[derive(Debug)]
pub struct hive_mutex_t {
    /// Of no use to programs.
    pub reserved: u64,
}

/// Takes lock `id` and sees what its last holder saw. Blocks until it is here. Any id will do, without a declaration;
/// locks aren't re-entrant, and belong to the drone, not to a thread of it.
///
/// Gives HIVE_ALREADY_HELD, HIVE_LOST, HIVE_TIMED_OUT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_lock(id: u32) -> hive_status_t {
    status_of(here().and_then(|hive| Ok(hive.acquire(LockId(u64::from(id)))?)))
}

/// Lets lock `id` go. Blocks for nobody.
///
/// Gives HIVE_NOT_HELD.
#[unsafe(no_mangle)]
pub extern "C" fn hive_unlock(id: u32) -> hive_status_t {
    status_of(here().and_then(|hive| Ok(hive.release(LockId(u64::from(id)))?)))
}

/// Makes a lock of 8 bytes in shared memory, aligned to 8. One drone does it, before others learn of the lock; memory that
/// is zero already (hive_calloc) is a lock without it.
///
/// Gives HIVE_BAD_POINTER outside of shared memory, HIVE_BAD_ARGUMENT where it isn't aligned.
///
/// # Safety
/// `mutex` leads to 8 bytes that nothing else uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_mutex_init(mutex: *mut hive_mutex_t) -> hive_status_t {
    status_of(lock_of(mutex).map(|_| {
        // SAFETY: `lock_of` found it aligned and inside shared memory; the caller vouches that nothing else is there.
        unsafe { mutex.write(hive_mutex_t { reserved: 0 }) }
    }))
}

/// Takes a lock in shared memory; like hive_lock in everything else.
///
/// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT as hive_mutex_init does, HIVE_ALREADY_HELD, HIVE_LOST, HIVE_TIMED_OUT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_mutex_lock(mutex: *mut hive_mutex_t) -> hive_status_t {
    status_of(lock_of(mutex).and_then(|id| Ok(here()?.acquire(id)?)))
}

/// Lets a lock in shared memory go. Blocks for nobody.
///
/// Gives HIVE_NOT_HELD, HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_mutex_unlock(mutex: *mut hive_mutex_t) -> hive_status_t {
    status_of(lock_of(mutex).and_then(|id| Ok(here()?.release(id)?)))
}

/// The end of a lock in shared memory: its bytes are free for other use. It must not be held.
///
/// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_mutex_destroy(mutex: *mut hive_mutex_t) -> hive_status_t {
    status_of(lock_of(mutex).map(|_| ()))
}

/// The lock that goes with a place. Its bytes are never looked at: no page moves for them.
fn lock_of(mutex: *mut hive_mutex_t) -> Result<LockId, Trouble> {
    let hive = here()?;
    let bytes = size_of::<hive_mutex_t>();
    let address = address_of(&hive, mutex.cast(), bytes, "the lock")?;
    if !mutex.is_aligned() {
        return Err(Trouble::new(
            HIVE_BAD_ARGUMENT,
            format!("the lock at {mutex:p} is not aligned to 8 bytes"),
        ));
    }
    Ok(hive.lock_at(address))
}
