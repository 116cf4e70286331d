//! How calls fail: the codes, the texts, the last error of a thread, and whether an error ends the process.

use hivemind::{Error, Refusal};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::sync::atomic::{AtomicU8, Ordering};

/// What a call gives.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum hive_status_t {
    /// It went well.
    HIVE_OK = 0,
    /// The call needs hive_startup() first.
    HIVE_NOT_STARTED = 1,
    /// hive_exit() was called already; a process starts up once.
    HIVE_ENDED = 2,
    /// hive_startup() was called already.
    HIVE_STARTED_ALREADY = 3,
    /// The call comes from a forked child, which has no shared memory.
    HIVE_FORKED = 4,
    /// An argument is out of its range: no such drone, type or operation, a null pointer, an alignment that is no power of
    /// two.
    HIVE_BAD_ARGUMENT = 5,
    /// A pointer doesn't lead to where it must: not into shared memory, or not to the start of a block in use (freed
    /// twice, or never allocated).
    HIVE_BAD_POINTER = 6,
    /// The shared memory has no room for this; start with a larger --region.
    HIVE_NO_MEMORY = 7,
    /// The lock isn't held by this drone.
    HIVE_NOT_HELD = 8,
    /// The lock is held by this drone already; locks aren't re-entrant.
    HIVE_ALREADY_HELD = 9,
    /// A collective call while a lock is held.
    HIVE_HELD_AT_BARRIER = 10,
    /// The drones make different collective calls.
    HIVE_MISMATCH = 11,
    /// A drone is gone; the job can't go on.
    HIVE_LOST = 12,
    /// A wait reached its limit (HIVEMIND_WAIT_LIMIT).
    HIVE_TIMED_OUT = 13,
    /// Another thread of this drone already waits.
    HIVE_BUSY = 14,
    /// What the process found around it won't do: its environment, the fault engine, the network, a file.
    HIVE_ENVIRONMENT = 15,
    /// This drone is alone in its hive: nobody could end its wait.
    HIVE_ALONE = 16,
    /// It can't be had without waiting, which was not to be. No error: hive_last_error() doesn't tell it.
    HIVE_UNAVAILABLE = 17,
    /// This drone has arrived at a barrier and not departed: no locks, no collective calls and no heap in between.
    HIVE_NOT_DEPARTED = 18,
    /// This drone departs from a barrier at which it hasn't arrived.
    HIVE_NOT_ARRIVED = 19,
}

use hive_status_t::*;

/// Why a call failed: for programs and for people.
pub(crate) struct Trouble {
    pub(crate) status: hive_status_t,
    pub(crate) text: String,
}

impl Trouble {
    pub(crate) fn new(status: hive_status_t, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Refused { refusal, .. } => match refusal {
                Refusal::NotHeld(_) => HIVE_NOT_HELD,
                Refusal::AlreadyHeld(_) => HIVE_ALREADY_HELD,
                Refusal::HeldAtMeeting { .. } => HIVE_HELD_AT_BARRIER,
                Refusal::Mismatch { .. } => HIVE_MISMATCH,
                Refusal::Insufficient { .. } => HIVE_NO_MEMORY,
                Refusal::BadAddress(_) => HIVE_BAD_POINTER,
                Refusal::BadAlignment(_) => HIVE_BAD_ARGUMENT,
                Refusal::Alone(_) => HIVE_ALONE,
                Refusal::Busy => HIVE_BUSY,
                Refusal::NotDeparted => HIVE_NOT_DEPARTED,
                Refusal::NotArrived => HIVE_NOT_ARRIVED,
            },
            Error::Lost { .. } | Error::Farewell { .. } => HIVE_LOST,
            Error::TimedOut { .. } => HIVE_TIMED_OUT,
            Error::OutOfBounds { .. } | Error::Freed { .. } | Error::Stale { .. } => {
                HIVE_BAD_POINTER
            }
            Error::JoinedAlready => HIVE_STARTED_ALREADY,
            _ => HIVE_ENVIRONMENT,
        };
        Self::new(status, error.to_string())
    }
}

/// What a thread's last failed call met.
struct Last {
    status: hive_status_t,
    /// None is "".
    text: Option<CString>,
}

thread_local! {
    static LAST: RefCell<Last> = const {
        RefCell::new(Last { status: HIVE_OK, text: None })
    };
}

/// How errors end: as a status, or with the process. Whoever says nothing has the environment asked once.
static ERRORS: AtomicU8 = AtomicU8::new(UNASKED);
const UNASKED: u8 = 0;
const RETURNED: u8 = 1;
const FATAL: u8 = 2;

/// The exit status of a process that an error has ended: sysexits' EX_SOFTWARE.
const FATAL_STATUS: i32 = 70;

/// Remembers what went wrong, and ends the process if errors are fatal. What the call gives then is the caller's.
pub(crate) fn remember(trouble: Trouble) -> hive_status_t {
    let status = trouble.status;
    if are_fatal() {
        eprintln!("hivemind: {}", trouble.text);
        std::process::exit(FATAL_STATUS);
    }
    // A text of ours has no zero byte; where one came in from outside, it ends there.
    let text = trouble.text.into_bytes();
    let text = text
        .into_iter()
        .take_while(|byte| *byte != 0)
        .collect::<Vec<u8>>();
    let text = CString::new(text).ok();
    LAST.with_borrow_mut(|last| *last = Last { status, text });
    status
}

/// The status of a call.
pub(crate) fn status_of(result: Result<(), Trouble>) -> hive_status_t {
    match result {
        Ok(()) => HIVE_OK,
        Err(trouble) => remember(trouble),
    }
}

fn are_fatal() -> bool {
    match ERRORS.load(Ordering::Relaxed) {
        UNASKED => {
            let fatal = std::env::var_os("HIVEMIND_ERRORS").is_some_and(|word| word == "fatal");
            ERRORS.store(if fatal { FATAL } else { RETURNED }, Ordering::Relaxed);
            fatal
        }
        word => word == FATAL,
    }
}

/// Whether a failed call ends the process, with its text on standard error and the exit status 70, instead of giving its
/// status. Without this call HIVEMIND_ERRORS=fatal says so. May be called at any time; blocks nobody.
#[unsafe(no_mangle)]
pub extern "C" fn hive_errors_are_fatal(fatal: bool) {
    ERRORS.store(if fatal { FATAL } else { RETURNED }, Ordering::Relaxed);
}

/// What the last call of this thread that failed met; HIVE_OK if none has. Successful calls leave it.
#[unsafe(no_mangle)]
pub extern "C" fn hive_last_error() -> hive_status_t {
    LAST.with_borrow(|last| last.status)
}

/// What the last call of this thread that failed met, as a sentence that says what to do; "" if none has. Good until this
/// thread's next failed call.
#[unsafe(no_mangle)]
pub extern "C" fn hive_error_text() -> *const c_char {
    LAST.with_borrow(|last| last.text.as_deref().unwrap_or(c"").as_ptr())
}

/// What a status means, in a few words that stay good for ever. A number that is none is told so.
#[unsafe(no_mangle)]
pub extern "C" fn hive_strerror(status: i32) -> *const c_char {
    text_of(status).as_ptr()
}

fn text_of(status: i32) -> &'static CStr {
    const TEXTS: [&CStr; 20] = [
        c"it went well",
        c"not started: call hive_startup first",
        c"ended: hive_exit was called already",
        c"started already: call hive_startup once",
        c"a forked child has no shared memory",
        c"an argument is out of its range",
        c"a pointer doesn't lead to a block in shared memory",
        c"no room in shared memory: start with a larger --region",
        c"the lock isn't held by this drone",
        c"the lock is held by this drone already",
        c"a lock is held at a collective call",
        c"the drones make different collective calls",
        c"a drone was lost",
        c"a wait reached its limit",
        c"another thread of this drone waits already",
        c"the environment won't do",
        c"this drone is alone: nobody could end its wait",
        c"not to be had without waiting",
        c"arrived at a barrier and not departed: nothing that waits may be called in between",
        c"departs from a barrier at which it hasn't arrived",
    ];
    let text = usize::try_from(status).ok().and_then(|at| TEXTS.get(at));
    text.copied().unwrap_or(c"no status of HiveMind")
}
