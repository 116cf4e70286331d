//! Whose address is it? A table of what is registered for ranges of addresses, looked up without a lock by a signal
//! handler.
//!
//! A slot's state counts who is using it. Taking a registration away never waits: who leaves last cleans up.
//! Deliberately elsewhere: the one table of the process, and what is registered (`mod.rs`).

use crate::primitive::{AtomicU32, AtomicUsize, Ordering, UnsafeCell};
use std::ops::Range;

/// The slots of a table.
pub(super) struct Table<R> {
    slots: Box<[Slot<R>]>,
}

/// One line of the table.
pub(super) struct Slot<R> {
    /// One of the stages below; in the stages LIVE and RETIRED, plus the number of users.
    state: AtomicU32,
    /// The addresses, for a first look without counting as a user.
    start: AtomicUsize,
    end: AtomicUsize,
    registration: UnsafeCell<Option<R>>,
}

const EMPTY: u32 = 0;
/// Somebody is filling or emptying it.
const CHANGING: u32 = 1 << 29;
const LIVE: u32 = 1 << 30;
/// Nobody may enter any more; who leaves last empties it.
const RETIRED: u32 = 1 << 31;
const STAGES: u32 = CHANGING | LIVE | RETIRED;

// SAFETY: `registration` is written in the stage CHANGING only, by the one thread that brought it there, and read between
// entering (LIVE, counted) and leaving. What it holds is shared and dropped by any thread, so it must be Send and Sync.
unsafe impl<R: Send + Sync> Sync for Slot<R> {}

/// A use of a slot: its registration stays as long as this lives.
pub(super) struct Claim<'a, R> {
    slot: &'a Slot<R>,
}

impl<R> Table<R> {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            slots: (0..slots).map(|_| Slot::new()).collect(),
        }
    }

    /// Fills a free slot.
    ///
    /// # Panics
    /// When what is registered already `is_same`, or no slot is free.
    pub(super) fn register(
        &self,
        addresses: Range<usize>,
        registration: R,
        is_same: impl Fn(&R) -> bool,
    ) -> &Slot<R> {
        for slot in &self.slots {
            let ours = slot
                .enter()
                .is_some_and(|claim| is_same(claim.registration()));
            assert!(
                !ours,
                "a region's faults are given to a second handler while the first is still registered"
            );
        }
        let free = |slot: &&Slot<R>| {
            slot.state
                .compare_exchange(EMPTY, CHANGING, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        };
        let slot = self
            .slots
            .iter()
            .find(free)
            .expect("there are more slots than regions can be");
        slot.registration
            // SAFETY: CHANGING is ours.
            .with_mut(|place| unsafe { *place = Some(registration) });
        slot.start.store(addresses.start, Ordering::Relaxed);
        slot.end.store(addresses.end, Ordering::Relaxed);
        slot.state.store(LIVE, Ordering::Release);
        slot
    }

    /// The slot at this address whose registration `serves`. Called from a signal handler: no lock, no allocation.
    pub(super) fn claim(
        &self,
        address: usize,
        serves: impl Fn(&R) -> bool,
    ) -> Option<Claim<'_, R>> {
        self.slots
            .iter()
            .filter(|slot| slot.holds(address))
            .find_map(|slot| {
                let claim = slot.enter()?;
                // The address again, now that it cannot change.
                (slot.holds(address) && serves(claim.registration())).then_some(claim)
            })
    }
}

impl<R> Slot<R> {
    fn new() -> Self {
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
    fn enter(&self) -> Option<Claim<'_, R>> {
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
        let registration = self
            .registration
            // SAFETY: CHANGING is ours.
            .with_mut(|place| unsafe { (*place).take() });
        self.state.store(EMPTY, Ordering::Release);
        drop(registration);
    }
}

impl<R> Claim<'_, R> {
    pub(super) fn registration(&self) -> &R {
        let registration = self
            .slot
            .registration
            // SAFETY: counted as a user since the slot was live; nobody writes before the count is back.
            .with(|place| unsafe { (*place).as_ref() });
        registration.expect("a slot that can be entered is filled")
    }
}

impl<R> Drop for Claim<'_, R> {
    fn drop(&mut self) {
        if self.slot.state.fetch_sub(1, Ordering::AcqRel) == RETIRED + 1 {
            self.slot.empty();
        }
    }
}

#[cfg(all(loom, test))]
mod models {
    use super::*;
    use crate::primitive::check;
    use loom::sync::Arc;
    use loom::thread;

    const AT: usize = 0x1000;

    /// What is registered: its name, and a cell that loom watches, so that a use amid its end is found.
    struct Region {
        name: u32,
        bytes: UnsafeCell<u32>,
        ended: Arc<AtomicU32>,
    }

    // SAFETY: loom reports any two accesses that are not in order, which is what the models look for.
    unsafe impl Sync for Region {}

    impl Region {
        fn new(name: u32, ended: &Arc<AtomicU32>) -> Self {
            Self {
                name,
                bytes: UnsafeCell::new(name),
                ended: Arc::clone(ended),
            }
        }

        fn serve(&self) -> u32 {
            // SAFETY: loom checks.
            self.bytes.with(|bytes| unsafe { *bytes })
        }
    }

    impl Drop for Region {
        fn drop(&mut self) {
            // SAFETY: loom checks.
            self.bytes.with_mut(|bytes| unsafe { *bytes = 0 });
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn fault(table: &Table<Region>, address: usize) -> Option<u32> {
        let claim = table.claim(address, |_| true)?;
        let region = claim.registration();
        assert_eq!(region.serve(), region.name, "the region is whole");
        Some(region.name)
    }

    #[test]
    fn a_fault_while_the_handler_is_taken_away_is_served_whole_or_not_at_all() {
        check(|| {
            let ended = Arc::new(AtomicU32::new(0));
            let table = Arc::new(Table::new(1));
            table.register(AT..AT + 1, Region::new(1, &ended), |_| false);
            let faults: Vec<_> = (0..2)
                .map(|_| {
                    let table = Arc::clone(&table);
                    thread::spawn(move || fault(&table, AT))
                })
                .collect();
            table.slots[0].retire();
            for fault in faults {
                fault.join().unwrap();
            }
            assert_eq!(
                ended.load(Ordering::Relaxed),
                1,
                "whoever left last has cleaned up, once"
            );
            assert_eq!(fault(&table, AT), None);
        });
    }

    #[test]
    fn a_fault_that_sees_the_address_sees_the_whole_registration() {
        check(|| {
            let ended = Arc::new(AtomicU32::new(0));
            let table = Arc::new(Table::new(1));
            let fault = {
                let table = Arc::clone(&table);
                thread::spawn(move || fault(&table, AT))
            };
            table.register(AT..AT + 1, Region::new(1, &ended), |_| false);
            assert!(matches!(fault.join().unwrap(), None | Some(1)));
        });
    }

    #[test]
    fn a_slot_that_is_used_again_serves_nobody_at_its_old_address() {
        check(|| {
            let ended = Arc::new(AtomicU32::new(0));
            let table = Arc::new(Table::new(1));
            table.register(AT..AT + 1, Region::new(1, &ended), |_| false);
            let fault = {
                let table = Arc::clone(&table);
                thread::spawn(move || fault(&table, AT))
            };
            table.slots[0].retire();
            // The thread in the handler may still have it: then the slot is not free yet.
            if table.slots[0].state.load(Ordering::Relaxed) == EMPTY {
                let elsewhere = AT + 8..AT + 9;
                table.register(elsewhere, Region::new(2, &ended), |_| false);
            }
            assert!(matches!(fault.join().unwrap(), None | Some(1)));
        });
    }

    #[test]
    fn two_that_register_at_once_get_two_slots() {
        check(|| {
            let ended = Arc::new(AtomicU32::new(0));
            let table = Arc::new(Table::new(2));
            let other = {
                let (table, ended) = (Arc::clone(&table), Arc::clone(&ended));
                thread::spawn(move || {
                    table.register(AT..AT + 1, Region::new(1, &ended), |other| other.name == 1);
                })
            };
            table.register(AT + 8..AT + 9, Region::new(2, &ended), |other| {
                other.name == 2
            });
            other.join().unwrap();
            assert_eq!(fault(&table, AT), Some(1));
            assert_eq!(fault(&table, AT + 8), Some(2));
        });
    }
}
