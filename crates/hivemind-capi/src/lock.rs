//! Locks by number and locks that lie in shared memory.

use crate::hive::here;
use crate::place::lock_at;
use crate::status::{Trouble, hive_status_t, status_of};
use hivemind::{LockId, RawHive};

/// A lock inside shared memory, in a structure of the program's own, or in a global variable of it. It is known by where it
/// lies: it must not be copied or moved, and is the same on every drone. Zeroed memory is a lock that is free.
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
    status_of(acquire(|_| Ok(LockId(u64::from(id)))))
}

/// Takes lock `id` as hive_lock does if no drone holds it or is in line for it; gives HIVE_UNAVAILABLE, which is no error, if
/// one does. Blocks for one answer at most.
///
/// Gives HIVE_ALREADY_HELD where this drone holds it, HIVE_LOST, HIVE_TIMED_OUT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_try_lock(id: u32) -> hive_status_t {
    tried(try_acquire(|_| Ok(LockId(u64::from(id)))))
}

/// Lets lock `id` go. Blocks for nobody.
///
/// Gives HIVE_NOT_HELD.
#[unsafe(no_mangle)]
pub extern "C" fn hive_unlock(id: u32) -> hive_status_t {
    status_of(here().and_then(|hive| Ok(hive.release(LockId(u64::from(id)))?)))
}

/// A condition of a lock, inside shared memory or in a global variable of the program, as locks are.
#[repr(C)]
#[derive(Debug)]
pub struct hive_cond_t {
    /// Of no use to programs.
    pub reserved: u64,
}

/// Makes a lock of 8 bytes in shared memory, or in a global variable of the program, aligned to 8. Memory that is zero
/// already (hive_calloc) is a lock without it.
///
/// Gives HIVE_BAD_POINTER elsewhere, HIVE_BAD_ARGUMENT where it isn't aligned.
#[unsafe(no_mangle)]
pub extern "C" fn hive_mutex_init(mutex: *mut hive_mutex_t) -> hive_status_t {
    status_of(here().and_then(|here| lock_at(&here, mutex, "the lock").map(|_| ())))
}

/// Takes a lock in shared memory; like hive_lock in everything else.
///
/// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT as hive_mutex_init does, HIVE_ALREADY_HELD, HIVE_LOST, HIVE_TIMED_OUT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_mutex_lock(mutex: *mut hive_mutex_t) -> hive_status_t {
    status_of(acquire(|here| lock_at(here, mutex, "the lock")))
}

/// Like hive_try_lock, for a lock in shared memory.
///
/// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_ALREADY_HELD, HIVE_LOST, HIVE_TIMED_OUT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_mutex_try_lock(mutex: *mut hive_mutex_t) -> hive_status_t {
    tried(try_acquire(|here| lock_at(here, mutex, "the lock")))
}

/// Lets a lock in shared memory go. Blocks for nobody.
///
/// Gives HIVE_NOT_HELD, HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_mutex_unlock(mutex: *mut hive_mutex_t) -> hive_status_t {
    let run = || -> Result<(), Trouble> {
        let here = here()?;
        Ok(here.release(lock_at(&here, mutex, "the lock")?)?)
    };
    status_of(run())
}

/// The end of a lock in shared memory: its bytes are free for other use. It must not be held.
///
/// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_mutex_destroy(mutex: *mut hive_mutex_t) -> hive_status_t {
    status_of(here().and_then(|here| lock_at(&here, mutex, "the lock").map(|_| ())))
}

/// Takes a lock, and takes in what others told before they let it go.
fn acquire(find: impl FnOnce(&RawHive) -> Result<LockId, Trouble>) -> Result<(), Trouble> {
    let here = here()?;
    here.acquire(find(&here)?)?;
    here.take_in()
}

/// The same if it can be had now, and whether it could.
fn try_acquire(find: impl FnOnce(&RawHive) -> Result<LockId, Trouble>) -> Result<bool, Trouble> {
    let here = here()?;
    let taken = here.try_acquire(find(&here)?)?;
    if taken {
        here.take_in()?;
    }
    Ok(taken)
}

/// That it can't be had is no error: the last error stays.
fn tried(tried: Result<bool, Trouble>) -> hive_status_t {
    match tried {
        Ok(false) => hive_status_t::HIVE_UNAVAILABLE,
        tried => status_of(tried.map(|_| ())),
    }
}
