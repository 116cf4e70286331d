//! What drones wait for: conditions of a lock, counting semaphores, events, and barriers of some of them. All but conditions
//! are made of a lock, a condition and a word in shared memory.

use crate::hive::{Here, here, one_thread};
use crate::place::{aligned, condition_at, lock_at};
use crate::status::{Trouble, hive_status_t, status_of};
use crate::{hive_cond_t, hive_mutex_t};
use hive_status_t::*;
use hivemind::{ConditionId, LockId};

/// The one condition of a lock that a semaphore, an event or a barrier is made of.
const CHANGED: ConditionId = ConditionId(0);

/// A counting semaphore in shared memory, good on every drone at its address. Zeroed memory is one that counts 0.
#[repr(C)]
#[derive(Debug)]
pub struct hive_sem_t {
    /// How many may pass; of no use to programs.
    pub reserved: u64,
}

/// A flag in shared memory that drones wait for; it stays set until it is cleared. Zeroed memory is one that is clear.
#[repr(C)]
#[derive(Debug)]
pub struct hive_event_t {
    /// Whether it is set; of no use to programs.
    pub reserved: u64,
}

/// A barrier in shared memory for some of the drones; those that wait for all take hive_barrier. Zeroed memory is one at
/// which nobody waits.
#[repr(C)]
#[derive(Debug)]
pub struct hive_gate_t {
    /// Of no use to programs.
    pub reserved: [u64; 2],
}

/// Sleeps until hive_signal or hive_signal_all is called for `condition` of lock `id`, which this drone must hold: lets it
/// go meanwhile, and holds it again at the end. What was waited for may have been taken by another: look again, in a loop.
/// Any condition will do, without a declaration. Blocks as long.
///
/// Gives HIVE_NOT_HELD, HIVE_ALONE where there is no other drone that could signal, HIVE_LOST, HIVE_TIMED_OUT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_wait(id: u32, condition: u32) -> hive_status_t {
    let run = || Ok(here()?.wait_for(LockId(u64::from(id)), ConditionId(condition))?);
    status_of(run().and_then(|()| took()))
}

/// Wakes the drone that has slept longest for `condition` of lock `id`, which this drone must hold. Nobody sleeping is fine.
/// Blocks for nobody.
///
/// Gives HIVE_NOT_HELD.
#[unsafe(no_mangle)]
pub extern "C" fn hive_signal(id: u32, condition: u32) -> hive_status_t {
    let run = || Ok(here()?.signal(LockId(u64::from(id)), ConditionId(condition), false)?);
    status_of(run())
}

/// Wakes all drones that sleep for `condition` of lock `id`, which this drone must hold; in the order in which they fell
/// asleep. Blocks for nobody.
///
/// Gives HIVE_NOT_HELD.
#[unsafe(no_mangle)]
pub extern "C" fn hive_signal_all(id: u32, condition: u32) -> hive_status_t {
    let run = || Ok(here()?.signal(LockId(u64::from(id)), ConditionId(condition), true)?);
    status_of(run())
}

/// Makes a condition of 8 bytes in shared memory, or in a global variable of the program. Memory that is zero already is one
/// without it.
///
/// Gives HIVE_BAD_POINTER elsewhere, HIVE_BAD_ARGUMENT where it isn't aligned to 8.
#[unsafe(no_mangle)]
pub extern "C" fn hive_cond_init(cond: *mut hive_cond_t) -> hive_status_t {
    status_of(here().and_then(|here| condition_at(&here, cond, "the condition").map(|_| ())))
}

/// Like hive_wait, for a condition and a lock that lie in memory. All who wait for a condition do so with the same lock.
///
/// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_NOT_HELD, HIVE_ALONE, HIVE_LOST, HIVE_TIMED_OUT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_cond_wait(
    cond: *mut hive_cond_t,
    mutex: *mut hive_mutex_t,
) -> hive_status_t {
    let run = || -> Result<(), Trouble> {
        let here = here()?;
        let condition = condition_at(&here, cond, "the condition")?;
        Ok(here.wait_for(lock_at(&here, mutex, "the lock")?, condition)?)
    };
    status_of(run().and_then(|()| took()))
}

/// Like hive_signal, for a condition and the lock with which others wait for it.
///
/// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_NOT_HELD.
#[unsafe(no_mangle)]
pub extern "C" fn hive_cond_signal(
    cond: *mut hive_cond_t,
    mutex: *mut hive_mutex_t,
) -> hive_status_t {
    status_of(signal(cond, mutex, false))
}

/// Like hive_signal_all, for a condition and the lock with which others wait for it.
///
/// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_NOT_HELD.
#[unsafe(no_mangle)]
pub extern "C" fn hive_cond_broadcast(
    cond: *mut hive_cond_t,
    mutex: *mut hive_mutex_t,
) -> hive_status_t {
    status_of(signal(cond, mutex, true))
}

fn signal(cond: *mut hive_cond_t, mutex: *mut hive_mutex_t, all: bool) -> Result<(), Trouble> {
    let here = here()?;
    let condition = condition_at(&here, cond, "the condition")?;
    Ok(here.signal(lock_at(&here, mutex, "the lock")?, condition, all)?)
}

/// Makes a semaphore of 8 bytes in shared memory that lets `count` pass. One drone does it, before others learn of it.
///
/// Gives HIVE_BAD_POINTER outside of shared memory, HIVE_BAD_ARGUMENT where it isn't aligned to 8.
#[unsafe(no_mangle)]
pub extern "C" fn hive_sem_init(sem: *mut hive_sem_t, count: u32) -> hive_status_t {
    status_of(with(sem, "the semaphore", |word, _, _| {
        word.set(0, u64::from(count));
        Ok(())
    }))
}

/// Waits until the semaphore's count is above 0, and takes 1 from it; then sees what who posted saw. Blocks as long.
///
/// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_ALONE where there is no other drone that could post, HIVE_LOST,
/// HIVE_TIMED_OUT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_sem_wait(sem: *mut hive_sem_t) -> hive_status_t {
    status_of(with(sem, "the semaphore", |word, here, lock| {
        while word.get(0) == 0 {
            here.wait_for(lock, CHANGED)?;
        }
        word.set(0, word.get(0) - 1);
        Ok(())
    }))
}

/// The same if the count is above 0 now; gives HIVE_UNAVAILABLE if it is 0, without waiting for a post.
///
/// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_LOST too.
#[unsafe(no_mangle)]
pub extern "C" fn hive_sem_try_wait(sem: *mut hive_sem_t) -> hive_status_t {
    let mut taken = false;
    let tried = with(sem, "the semaphore", |word, _, _| {
        taken = word.get(0) > 0;
        word.set(0, word.get(0).saturating_sub(1));
        Ok(())
    });
    match tried {
        // No error of the program's: the last error stays.
        Ok(()) if !taken => HIVE_UNAVAILABLE,
        tried => status_of(tried),
    }
}

/// Adds 1 to the semaphore's count, and wakes the drone that has waited longest. Blocks for those who are about to change it.
///
/// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_LOST.
#[unsafe(no_mangle)]
pub extern "C" fn hive_sem_post(sem: *mut hive_sem_t) -> hive_status_t {
    status_of(with(sem, "the semaphore", |word, here, lock| {
        word.set(0, word.get(0) + 1);
        Ok(here.signal(lock, CHANGED, false)?)
    }))
}

/// Makes an event of 8 bytes in shared memory that is clear. One drone does it, before others learn of it.
///
/// Gives HIVE_BAD_POINTER outside of shared memory, HIVE_BAD_ARGUMENT where it isn't aligned to 8.
#[unsafe(no_mangle)]
pub extern "C" fn hive_event_init(event: *mut hive_event_t) -> hive_status_t {
    hive_event_clear(event)
}

/// Sets the event, and lets all go on that wait for it.
///
/// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_LOST.
#[unsafe(no_mangle)]
pub extern "C" fn hive_event_set(event: *mut hive_event_t) -> hive_status_t {
    status_of(with(event, "the event", |word, here, lock| {
        word.set(0, 1);
        Ok(here.signal(lock, CHANGED, true)?)
    }))
}

/// Clears the event: who waits from now on waits until it is set again.
///
/// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_LOST.
#[unsafe(no_mangle)]
pub extern "C" fn hive_event_clear(event: *mut hive_event_t) -> hive_status_t {
    status_of(with(event, "the event", |word, _, _| {
        word.set(0, 0);
        Ok(())
    }))
}

/// Waits until the event is set; then sees what who set it saw. Blocks as long.
///
/// Gives HIVE_BAD_POINTER, HIVE_BAD_ARGUMENT, HIVE_ALONE where there is no other drone that could set it, HIVE_LOST,
/// HIVE_TIMED_OUT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_event_wait(event: *mut hive_event_t) -> hive_status_t {
    status_of(with(event, "the event", |word, here, lock| {
        while word.get(0) == 0 {
            here.wait_for(lock, CHANGED)?;
        }
        Ok(())
    }))
}

/// Waits until `count` drones are at this gate; then each sees what all of them have written. Where `count` is the number of
/// all drones it is a hive_barrier, and the gate may lie in a global variable of the program.
///
/// Gives HIVE_BAD_ARGUMENT for a count that is 0 or above the number of drones and for a gate that isn't aligned to 8,
/// HIVE_BAD_POINTER, HIVE_HELD_AT_BARRIER, HIVE_MISMATCH, HIVE_LOST, HIVE_TIMED_OUT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_gate_wait(gate: *mut hive_gate_t, count: u32) -> hive_status_t {
    let run = || -> Result<(), Trouble> {
        let here = here()?;
        if count == 0 || count as usize > here.drones() {
            let drones = here.drones();
            let text = format!("no {count} drones can meet at a gate: there are {drones}");
            return Err(Trouble::new(HIVE_BAD_ARGUMENT, text));
        }
        if count as usize == here.drones() {
            let id = condition_at(&here, gate, "the gate")?.0;
            return Ok(here.barrier(id)?);
        }
        drop(here);
        with(gate, "the gate", |word, here, lock| {
            let (waiting, round) = (word.get(0) + 1, word.get(1));
            if waiting == u64::from(count) {
                word.set(0, 0);
                word.set(1, round.wrapping_add(1));
                return Ok(here.signal(lock, CHANGED, true)?);
            }
            word.set(0, waiting);
            while word.get(1) == round {
                here.wait_for(lock, CHANGED)?;
            }
            Ok(())
        })
    };
    status_of(run().and_then(|()| took()))
}

/// Words of shared memory that are looked at only under their lock.
struct Words(*mut u64);

impl Words {
    fn get(&self, at: usize) -> u64 {
        // SAFETY: `with` found them to lie in shared memory, where any bytes are a u64, and to be aligned.
        unsafe { self.0.add(at).read_volatile() }
    }

    fn set(&self, at: usize, value: u64) {
        // SAFETY: as above.
        unsafe { self.0.add(at).write_volatile(value) }
    }
}

/// Does something with words of shared memory under the lock that goes with their place.
fn with<T>(
    place: *mut T,
    what: &str,
    run: impl FnOnce(&Words, &Here, LockId) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let here = here()?;
    let lock = here.lock_at(aligned(&here, place, what)?);
    {
        let _one = one_thread();
        here.acquire(lock)?;
        let done = run(&Words(place.cast()), &here, lock);
        here.release(lock)?;
        done?;
    }
    here.take_in()
}

/// After an acquire: takes in what others told.
fn took() -> Result<(), Trouble> {
    here()?.take_in()
}
