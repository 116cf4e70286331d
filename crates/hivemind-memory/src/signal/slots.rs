//! Whose address is it? A static table of the regions of this process, looked up without a lock by a signal handler.
//!
//! A slot's state counts who is using it. Taking a handler away never waits: who leaves last cleans up.

use super::FaultHandler;
use crate::BASES;
use crate::engine::Engine;
use crate::mapping::Mapping;
use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// A region lies at a base, so there are at most as many as bases. The rest is for slots that are retired while a
/// thread is still in their handler.
const SLOTS: usize = 4 * BASES.len();

static TABLE: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];

/// What a slot holds.
pub(super) struct Registration {
    pub(super) mapping: Arc<Mapping>,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) handler: Arc<dyn FaultHandler>,
    pub(super) signal: c_int,
    pub(super) code: c_int,
}

/// One line of the table.
pub(super) struct Slot {
    /// One of the stages below; in the stages LIVE and RETIRED, plus the number of users.
    state: AtomicU32,
    /// The application view's addresses, for a first look without counting as a user.
    start: AtomicUsize,
    end: AtomicUsize,
    registration: UnsafeCell<Option<Registration>>,
}

const EMPTY: u32 = 0;
/// Somebody is filling or emptying it.
const CHANGING: u32 = 1 << 29;
const LIVE: u32 = 1 << 30;
/// Nobody may enter any more; who leaves last empties it.
const RETIRED: u32 = 1 << 31;
const STAGES: u32 = CHANGING | LIVE | RETIRED;

// SAFETY: `registration` is written in the stage CHANGING only, by the one thread that brought it there, and read between
// entering (LIVE, counted) and leaving. What it holds is Send and Sync itself.
unsafe impl Sync for Slot {}

/// A use of a slot: its registration stays as long as this lives.
pub(super) struct Claim {
    slot: &'static Slot,
}

/// Fills a free slot.
pub(super) fn register(registration: Registration) -> &'static Slot {
    let start = registration.mapping.base().addr();
    let end = start + registration.mapping.bytes();
    for slot in &TABLE {
        let ours = slot
            .enter()
            .is_some_and(|claim| Arc::ptr_eq(&claim.registration().mapping, &registration.mapping));
        assert!(
            !ours,
            "a region's faults are given to a second handler while the first is still registered"
        );
    }
    let free = |slot: &&Slot| {
        slot.state
            .compare_exchange(EMPTY, CHANGING, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    };
    let slot = TABLE
        .iter()
        .find(free)
        .expect("there are more slots than regions can be");
    // SAFETY: CHANGING is ours.
    unsafe { *slot.registration.get() = Some(registration) };
    slot.start.store(start, Ordering::Relaxed);
    slot.end.store(end, Ordering::Relaxed);
    slot.state.store(LIVE, Ordering::Release);
    slot
}

/// The slot that serves this signal at this address. Called from a signal handler: no lock, no allocation.
pub(super) fn claim(signal: c_int, code: c_int, address: usize) -> Option<Claim> {
    TABLE
        .iter()
        .filter(|slot| slot.holds(address))
        .find_map(|slot| {
            let claim = slot.enter()?;
            let registration = claim.registration();
            let serves = registration.signal == signal
            && registration.code == code
            // Again, now that it cannot change.
            && slot.holds(address)
            // A forked child inherits the table, but no region.
            && registration.mapping.owner().is_this_process();
            serves.then_some(claim)
        })
}

impl Slot {
    const fn new() -> Self {
        Self {
            state: AtomicU32::new(EMPTY),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            registration: UnsafeCell::new(None),
        }
    }

    fn holds(&self, address: usize) -> bool {
        (self.start.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed)).contains(&address)
    }

    /// Counts as a user, where it is live.
    fn enter(&'static self) -> Option<Claim> {
        let enter = |state: u32| (state & STAGES == LIVE).then(|| state + 1);
        self.state
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, enter)
            .ok()
            .map(|_| Claim { slot: self })
    }

    /// Lets nobody in any more. Whoever leaves last empties it, which may be us.
    pub(super) fn retire(&self) {
        // LIVE + users becomes RETIRED + users.
        let before = self.state.fetch_add(RETIRED - LIVE, Ordering::AcqRel);
        assert!(
            before & STAGES == LIVE,
            "a slot is retired once, by its guard"
        );
        if before == LIVE {
            self.empty();
        }
    }

    fn empty(&self) {
        let changing =
            self.state
                .compare_exchange(RETIRED, CHANGING, Ordering::Acquire, Ordering::Relaxed);
        assert!(changing.is_ok(), "nobody enters a retired slot");
        self.start.store(0, Ordering::Relaxed);
        self.end.store(0, Ordering::Relaxed);
        // SAFETY: CHANGING is ours.
        let registration = unsafe { (*self.registration.get()).take() };
        self.state.store(EMPTY, Ordering::Release);
        drop(registration);
    }
}

impl Claim {
    pub(super) fn registration(&self) -> &Registration {
        // SAFETY: counted as a user since the slot was live; nobody writes before the count is back.
        let registration = unsafe { &*self.slot.registration.get() };
        registration
            .as_ref()
            .expect("a slot that can be entered is filled")
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.slot.state.fetch_sub(1, Ordering::AcqRel) == RETIRED + 1 {
            self.slot.empty();
        }
    }
}
