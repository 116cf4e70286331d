//! Start-up, exit, who is here, barriers and time; and the one hive that all calls share.

use crate::desk::Desk;
use crate::status::{Trouble, hive_status_t, remember, status_of};
use hive_status_t::*;
use hivemind::RawHive;
use std::ffi::{c_char, c_int};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

/// The life of this process's hive.
enum Life {
    Before,
    Here(Box<Member>),
    Over,
}

/// The hive, and what the library itself keeps of it.
struct Member {
    hive: RawHive,
    desk: Desk,
    /// Whether drones other than the first only do what that gives them.
    forks: bool,
}

/// The one hive. Calls share it; start-up and exit have it alone.
static HIVE: RwLock<Life> = RwLock::new(Life::Before);

/// The hive, as long as a call uses it.
pub(crate) struct Here(RwLockReadGuard<'static, Life>);

impl Here {
    /// Where drones leave each other jobs and news.
    pub(crate) fn desk(&self) -> Desk {
        self.member().desk
    }

    /// Whether it is a fork-join program.
    pub(crate) fn forks(&self) -> bool {
        self.member().forks
    }

    /// To be called after each acquire: takes in what others have told.
    pub(crate) fn take_in(&self) -> Result<(), Trouble> {
        self.desk().take_in(self)
    }

    fn member(&self) -> &Member {
        match &*self.0 {
            Life::Here(member) => member,
            _ => unreachable!("`here` gave it"),
        }
    }
}

impl std::ops::Deref for Here {
    type Target = RawHive;

    fn deref(&self) -> &RawHive {
        &self.member().hive
    }
}

/// The hive, or why there is none.
pub(crate) fn here() -> Result<Here, Trouble> {
    let life = HIVE.read().unwrap_or_else(PoisonError::into_inner);
    match &*life {
        Life::Here(member) if member.hive.is_of_this_process() => Ok(Here(life)),
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
    status_of(start(false).map(|_| ()))
}

/// The hive under the calls, for Rust code of the same process; None before start-up and after exit.
pub fn rust_hive<T>(run: impl FnOnce(&RawHive) -> T) -> Option<T> {
    here().ok().map(|here| run(&here))
}

/// Held while this process holds a lock that the library itself takes: two threads of a drone would be refused each other's.
pub(crate) fn one_thread() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Joins, and tells which drone this is.
pub(crate) fn start(forks: bool) -> Result<usize, Trouble> {
    let mut life = HIVE.write().unwrap_or_else(PoisonError::into_inner);
    match &*life {
        Life::Before => {
            let hive = RawHive::join()?;
            let desk = Desk::make(&hive)?;
            let me = hive.me();
            *life = Life::Here(Box::new(Member { hive, desk, forks }));
            Ok(me)
        }
        Life::Here(_) => Err(Trouble::new(
            HIVE_STARTED_ALREADY,
            "hive_startup was called already: call it once",
        )),
        Life::Over => Err(Trouble::new(
            HIVE_ENDED,
            "the hive has ended: a process starts up once",
        )),
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

pub(crate) fn leave() -> Result<(), Trouble> {
    {
        // Whoever waits at this barrier waits with the hive still there, so that a refusal leaves it.
        let here = here()?;
        if here.forks() && here.me() == 0 {
            here.desk().close(&here)?;
        }
        here.agree_to_leave()?;
    }
    let mut life = HIVE.write().unwrap_or_else(PoisonError::into_inner);
    match std::mem::replace(&mut *life, Life::Over) {
        Life::Here(member) => Ok(member.hive.close()?),
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
    let run = || -> Result<(), Trouble> {
        let here = here()?;
        here.barrier(id)?;
        here.take_in()
    };
    status_of(run())
}

/// The first half of barrier `id`: what this drone has written is on its way to the others, for which it waits only in
/// hive_depart. In between it works on what nobody else touches: it takes no locks, makes no other collective calls, and
/// allocates nothing. What it writes there is seen by the others after the next barrier. A page that must be fetched from
/// another drone keeps it waiting until all have arrived, and pages stay where they are: have a hive_barrier after the
/// data are filled, which moves them to who writes them. All drones arrive, or all make hive_barrier of it.
///
/// Gives HIVE_HELD_AT_BARRIER while this drone holds a lock, HIVE_NOT_DEPARTED, HIVE_LOST, HIVE_TIMED_OUT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_arrive(id: u32) -> hive_status_t {
    let run = || -> Result<(), Trouble> { Ok(here()?.arrive(id)?) };
    status_of(run())
}

/// The second half: waits until all drones have arrived; then each sees what all had written by then.
///
/// Gives HIVE_NOT_ARRIVED, HIVE_MISMATCH, HIVE_LOST, HIVE_TIMED_OUT.
#[unsafe(no_mangle)]
pub extern "C" fn hive_depart() -> hive_status_t {
    let run = || -> Result<(), Trouble> {
        let here = here()?;
        here.depart()?;
        here.take_in()
    };
    status_of(run())
}
