//! Start-up, exit, who is here, barriers and time; and the one hive that all calls share.

use crate::status::{Trouble, hive_status_t, remember, status_of};
use hive_status_t::*;
use hivemind::RawHive;
use std::ffi::{c_char, c_int};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

/// The life of this process's hive.
enum Life {
    Before,
    Here(Box<RawHive>),
    Over,
}

/// The one hive. Calls share it; start-up and exit have it alone.
static HIVE: RwLock<Life> = RwLock::new(Life::Before);

/// The hive, as long as a call uses it.
pub(crate) struct Here(RwLockReadGuard<'static, Life>);

impl std::ops::Deref for Here {
    type Target = RawHive;

    fn deref(&self) -> &RawHive {
        match &*self.0 {
            Life::Here(hive) => hive,
            _ => unreachable!("`here` gave it"),
        }
    }
}

/// The hive, or why there is none.
pub(crate) fn here() -> Result<Here, Trouble> {
    let life = HIVE.read().unwrap_or_else(PoisonError::into_inner);
    match &*life {
        Life::Here(hive) if hive.is_of_this_process() => Ok(Here(life)),
        Life::Here(_) => Err(Trouble::new(
            HIVE_FORKED,
            "this is a forked child, which has no shared memory: only the process that called hive_startup has; start drones with `hivemind run -n N` instead",
        )),
        Life::Before => Err(Trouble::new(
            HIVE_NOT_STARTED,
            "the hive has not been started: call hive_startup first",
        )),
        Life::Over => Err(Trouble::new(
            HIVE_ENDED,
            "the hive has ended: hive_exit is the last call, and a process starts up once",
        )),
    }
}

/// Joins the hive that launched this process (`hivemind run`, srun, mpirun …); alone, without a launcher, it is a hive of
/// one. Blocks until all drones are here, at most the start timeout (30 s unless told otherwise). Call it once, before
/// every other call, with main's arguments: HiveMind takes none of them today. Either may be NULL.
///
/// Gives HIVE_STARTED_ALREADY, HIVE_ENDED, or HIVE_ENVIRONMENT with a text that says what to do.
#[unsafe(no_mangle)]
pub extern "C" fn hive_startup(argc: *mut c_int, argv: *mut *mut *mut c_char) -> hive_status_t {
    let _ = (argc, argv);
    let mut life = HIVE.write().unwrap_or_else(PoisonError::into_inner);
    let started = match &*life {
        Life::Before => RawHive::join().map_err(Trouble::from),
        Life::Here(_) => Err(Trouble::new(
            HIVE_STARTED_ALREADY,
            "hive_startup was called already: call it once",
        )),
        Life::Over => Err(Trouble::new(
            HIVE_ENDED,
            "the hive has ended: a process starts up once",
        )),
    };
    match started {
        Ok(hive) => {
            *life = Life::Here(Box::new(hive));
            HIVE_OK
        }
        Err(trouble) => remember(trouble),
    }
}

/// Takes leave: blocks until all drones call it, writes the statistics that `hivemind run --stats` asked for, and gives the
/// shared memory back: pointers into it lead nowhere from then on. Collective, and the last call.
///
/// Gives HIVE_HELD_AT_BARRIER while a lock is held, HIVE_MISMATCH where the others make another call (the hive goes on
/// after both), HIVE_LOST.
#[unsafe(no_mangle)]
pub extern "C" fn hive_exit() -> hive_status_t {
    status_of(leave())
}

fn leave() -> Result<(), Trouble> {
    // Whoever waits at this barrier waits with the hive still there, so that a refusal leaves it.
    here()?.agree_to_leave()?;
    let mut life = HIVE.write().unwrap_or_else(PoisonError::into_inner);
    match std::mem::replace(&mut *life, Life::Over) {
        Life::Here(hive) => Ok(hive.close()?),
        other => {
            *life = other;
            Err(Trouble::new(
                HIVE_ENDED,
                "another thread called hive_exit at the same time",
            ))
        }
    }
}

/// How many drones there are; -1 before start-up and after exit. Blocks nobody.
#[unsafe(no_mangle)]
pub extern "C" fn hive_drones() -> c_int {
    number(|hive| hive.drones())
}

/// Which drone this is, counted from 0; -1 before start-up and after exit. Blocks nobody.
#[unsafe(no_mangle)]
pub extern "C" fn hive_me() -> c_int {
    number(|hive| hive.me())
}

/// How many threads this drone may use for itself: `hivemind run --threads`, or its share of the machine's cores; -1
/// before start-up and after exit. Blocks nobody.
#[unsafe(no_mangle)]
pub extern "C" fn hive_threads() -> c_int {
    number(|hive| hive.threads())
}

fn number(ask: impl FnOnce(&RawHive) -> usize) -> c_int {
    match here() {
        Ok(hive) => ask(&hive) as c_int,
        Err(trouble) => {
            remember(trouble);
            -1
        }
    }
}

/// Seconds on a clock that never goes backwards, for differences: its zero is the first call in this process, and each
/// drone's is its own. May be called at any time; blocks nobody.
#[unsafe(no_mangle)]
pub extern "C" fn hive_wall_time() -> f64 {
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// Waits until all drones are at barrier `id`; then each sees what all have written. Drones that wait at different
/// barriers are told so instead of going on. Any id will do, without a declaration.
///
/// Gives HIVE_HELD_AT_BARRIER while this drone holds a lock, HIVE_MISMATCH, HIVE_LOST, HIVE_TIMED_OUT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_barrier(id: u32) -> hive_status_t {
    status_of(here().and_then(|hive| Ok(hive.barrier(id)?)))
}
