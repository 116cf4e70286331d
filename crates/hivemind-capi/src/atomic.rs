//! Words in shared memory that drones change without a lock of the program's.

use crate::hive::{here, one_thread};
use crate::place::aligned;
use crate::status::{Trouble, hive_status_t, status_of};
use hive_status_t::HIVE_BAD_ARGUMENT;
use std::ptr;

/// Adds `value` to a word in shared memory, as one step for all drones that change it by these calls, and stores what it was
/// in `*before` unless that is NULL. The sum wraps around. It synchronises as a lock does: this drone then sees what the
/// last to change a word of this page saw. Blocks until that one is done.
///
/// Gives HIVE_BAD_POINTER outside of shared memory, HIVE_BAD_ARGUMENT where it isn't aligned to 4, HIVE_LOST, HIVE_TIMED_OUT.
///
/// # Safety
/// `before` is NULL or leads to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_fetch_add_32(
    word: *mut i32,
    value: i32,
    before: *mut i32,
) -> hive_status_t {
    // SAFETY: the caller vouches for `before`.
    status_of(unsafe { change(word, before, |now| Some(now.wrapping_add(value))) })
}

/// The same for a word of 64 bits, aligned to 8.
///
/// # Safety
/// `before` is NULL or leads to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_fetch_add_64(
    word: *mut i64,
    value: i64,
    before: *mut i64,
) -> hive_status_t {
    // SAFETY: the caller vouches for `before`.
    status_of(unsafe { change(word, before, |now| Some(now.wrapping_add(value))) })
}

/// Stores `desired` in a word in shared memory if it is `expected`, as one step for all drones that change it by these calls,
/// and stores what it was in `*before` unless that is NULL: it took place if that is `expected`. Synchronises and fails
/// as hive_fetch_add_32 does.
///
/// # Safety
/// `before` is NULL or leads to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_compare_swap_32(
    word: *mut i32,
    expected: i32,
    desired: i32,
    before: *mut i32,
) -> hive_status_t {
    let swap = |now| (now == expected).then_some(desired);
    // SAFETY: the caller vouches for `before`.
    status_of(unsafe { change(word, before, swap) })
}

/// The same for a word of 64 bits, aligned to 8.
///
/// # Safety
/// `before` is NULL or leads to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_compare_swap_64(
    word: *mut i64,
    expected: i64,
    desired: i64,
    before: *mut i64,
) -> hive_status_t {
    let swap = |now| (now == expected).then_some(desired);
    // SAFETY: the caller vouches for `before`.
    status_of(unsafe { change(word, before, swap) })
}

/// # Safety
/// `before` is null or leads to a `T`.
unsafe fn change<T: Copy>(
    word: *mut T,
    before: *mut T,
    new: impl FnOnce(T) -> Option<T>,
) -> Result<(), Trouble> {
    let here = here()?;
    let lock = here.lock_of_words_at(aligned(&here, word, "the word")?);
    if !before.is_aligned() {
        return Err(Trouble::new(
            HIVE_BAD_ARGUMENT,
            "the place for the word before isn't aligned",
        ));
    }
    let one = one_thread();
    here.acquire(lock)?;
    // SAFETY: the word lies in shared memory, where any bytes are a number; it is aligned, and its lock is held.
    let now = unsafe { ptr::read_volatile(word) };
    if let Some(new) = new(now) {
        // SAFETY: as above.
        unsafe { ptr::write_volatile(word, new) };
    }
    here.release(lock)?;
    drop(one);
    if !before.is_null() {
        // SAFETY: the caller vouches for it.
        unsafe { before.write(now) };
    }
    here.take_in()
}
