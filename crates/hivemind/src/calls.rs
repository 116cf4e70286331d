//! What a drone asks of the core for its program: locks, meetings, the heap. Both faces stand on it: `hive`, which the
//! compiler checks, and `raw`, the hive by address.
//!
//! Deliberately elsewhere: how a call waits (`drone`), and what it does (`hivemind-protocol`).

use crate::Result;
use crate::drone::Drone;
use hivemind_protocol::{
    Address, BarrierId, Block, Command, ConditionId, LockId, Meeting, MeetingKind, Mutant, Outcome,
    PageId, PageRun, mutant,
};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Above all locks of programs and mutexes.
const HEAP_LOCK: LockId = LockId(u64::MAX);

/// A release looks for who wants the lock when none has for so long. A look takes a third of a microsecond, as long as
/// taking and releasing a lock that is here: in a loop of nothing else this costs a third.
const GLANCE_AFTER: Duration = Duration::from_micros(1);

/// After so many looks that found nothing it is twice as long each time, up to sixty-four times. Where somebody wants the lock
/// all the time, he asks within a round trip, which is some looks long.
const GLANCES_IN_VAIN: u32 = 16;

/// What all drones get of a meeting: what each brought, and the block that an allocation made.
pub(crate) type Brought = (Vec<Vec<u8>>, Option<Block>);

/// When a release looked last for who wants a lock, and how often in vain since somebody did.
#[derive(Debug)]
pub(crate) struct Glances {
    begin: Instant,
    last_ns: AtomicU64,
    in_vain: AtomicU32,
}

impl Glances {
    pub(crate) fn new() -> Self {
        Self {
            begin: Instant::now(),
            last_ns: AtomicU64::new(0),
            in_vain: AtomicU32::new(0),
        }
    }

    /// Whether it is time for another, which then counts as taken.
    fn are_due(&self) -> bool {
        let now_ns = self.begin.elapsed().as_nanos() as u64;
        let last_ns = self.last_ns.load(Ordering::Relaxed);
        let in_vain = self.in_vain.load(Ordering::Relaxed);
        let longer = in_vain.saturating_sub(GLANCES_IN_VAIN).min(6);
        let due = now_ns.saturating_sub(last_ns) >= (GLANCE_AFTER.as_nanos() as u64) << longer;
        if due {
            self.last_ns.store(now_ns, Ordering::Relaxed);
        }
        due
    }

    /// What the look that was due has found.
    fn found(&self, something: bool) {
        let in_vain = match something {
            true => 0,
            false => self.in_vain.load(Ordering::Relaxed).saturating_add(1),
        };
        self.in_vain.store(in_vain, Ordering::Relaxed);
    }
}

impl Drone {
    /// One collective call. Blocks until all drones make it.
    pub(crate) fn meet(&self, kind: MeetingKind, payload: Vec<u8>) -> Result<Brought> {
        let command = Command::Meet(Meeting { kind, payload });
        let outcome = self.call(command, &|| format!("waiting at {kind}"));
        match outcome? {
            Outcome::Met {
                payloads,
                allocated,
            } => Ok((payloads, allocated)),
            other => unreachable!("INV-10: a meeting ends as a meeting, not as {other:?}"),
        }
    }

    /// The first half of a split barrier. Blocks until this drone has arrived.
    pub(crate) fn arrive(&self, id: BarrierId) -> Result<()> {
        self.note_arrival();
        let kind = MeetingKind::Split(id);
        let payload = Vec::new();
        let command = Command::Meet(Meeting { kind, payload });
        let arrived = self.call(command, &|| format!("arriving at {id}"));
        arrived.map(|_| ())
    }

    /// The second half. Blocks until all drones have arrived.
    pub(crate) fn depart(&self) -> Result<()> {
        let departed = self.call(Command::Depart, &|| "departing from a barrier".to_owned());
        departed.map(|_| ())
    }

    /// Takes a lock. Blocks until it is here.
    pub(crate) fn acquire(&self, lock: LockId) -> Result<()> {
        self.acquire_for(lock, &|| format!("waiting for {lock}"))
    }

    fn acquire_for(&self, lock: LockId, operation: &dyn Fn() -> String) -> Result<()> {
        let acquired = self.call(Command::Acquire(lock), operation);
        acquired.map(|_| ())
    }

    /// Takes a lock if nobody has it or is in line for it; gives whether it did. Blocks for the answer.
    pub(crate) fn try_acquire(&self, lock: LockId) -> Result<bool> {
        let tried = self.call(Command::TryAcquire(lock), &|| format!("trying for {lock}"));
        Ok(tried? == Outcome::Done)
    }

    /// Begins to fetch the pages in which these bytes lie, as far as they are not here. Blocks for nobody.
    pub(crate) fn prefetch(&self, address: Address, bytes: u64) -> Result<()> {
        let Some(last) = bytes.checked_sub(1) else {
            return Ok(());
        };
        let first = PageId::of(address);
        let last = PageId::of(Address(address.0.saturating_add(last)));
        let count = last.0 - first.0 + 1;
        let command = Command::Prefetch(PageRun { first, count });
        self.call(command, &|| format!("prefetching {bytes} bytes"))?;
        Ok(())
    }

    /// Lets a lock go. Blocks for nobody.
    pub(crate) fn release(&self, lock: LockId) -> Result<()> {
        self.call(Command::Release(lock), &|| format!("releasing {lock}"))?;
        if self.glances.are_due() {
            self.glances.found(self.glance());
        }
        Ok(())
    }

    /// Lets a lock that is held here go and sleeps until the condition is signalled; then takes it again. Blocks as long.
    pub(crate) fn wait_for(&self, lock: LockId, condition: ConditionId) -> Result<()> {
        let operation = || format!("waiting for {condition} of {lock}");
        let woken = self.call(Command::Wait { lock, condition }, &operation);
        woken.map(|_| ())
    }

    /// Wakes who has slept longest for a condition of a lock that is held here, or all who do. Blocks for nobody.
    pub(crate) fn signal(&self, lock: LockId, condition: ConditionId, all: bool) -> Result<()> {
        let command = Command::Signal {
            lock,
            condition,
            all,
        };
        let operation = || format!("signalling {condition} of {lock}");
        self.call(command, &operation).map(|_| ())
    }

    /// Takes memory for this drone alone. Blocks for the heap's turn and its keeper.
    pub(crate) fn allocate(&self, bytes: u64, align: u64) -> Result<Block> {
        let operation = || format!("allocating {bytes} bytes");
        match self.in_turn(Command::Allocate { bytes, align }, &operation)? {
            Outcome::Allocated(block) => Ok(block),
            other => unreachable!("INV-10: an allocation ends as one, not as {other:?}"),
        }
    }

    /// How many bytes a block has, whoever took it. Blocks as [`Drone::allocate`] does.
    pub(crate) fn measure(&self, address: Address) -> Result<u64> {
        let operation = || format!("asking for the size of {address}");
        match self.call(Command::Measure(address), &operation)? {
            Outcome::Allocated(block) => Ok(block.bytes),
            other => unreachable!("INV-10: a block is measured as one, not as {other:?}"),
        }
    }

    /// Gives memory back, whoever took it. Blocks as [`Drone::allocate`] does.
    pub(crate) fn free_block(&self, address: Address) -> Result<()> {
        let operation = || format!("freeing {address}");
        self.in_turn(Command::Free(address), &operation).map(|_| ())
    }

    /// Calls on the heap take turns under a lock of their own, so that what a drone wrote before it freed a
    /// block happens before what the block's next owner writes: without it, old bytes could win.
    fn in_turn(&self, command: Command, operation: &dyn Fn() -> String) -> Result<Outcome> {
        if mutant(Mutant::LibraryOutOfTurn) {
            return self.call(command, operation);
        }
        self.acquire_for(HEAP_LOCK, operation)?;
        let done = self.call(command, operation);
        self.release(HEAP_LOCK)?;
        done
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_taken_and_given_back_under_the_heaps_lock() {
        let drone = crate::drone::tests::alone();
        let locks = || drone.counts().0.locks_acquired;
        let block = drone.allocate(100, 16).unwrap();
        assert_eq!(locks(), 1);
        drone.free_block(block.address).unwrap();
        assert_eq!(locks(), 2);
        assert!(drone.try_acquire(HEAP_LOCK).unwrap(), "it was not let go");
    }
}
