//! The hive by address: what bindings for other languages stand on. No call here follows a pointer; whoever does must
//! keep to the memory model himself, since no borrow checks it.
//!
//! Deliberately elsewhere: barriers and what drones tell one another there (`collective`), the calls into the core (`calls`), joining (`hive`), the C library itself (`hivemind-capi`).

mod collective;

use crate::primitive::{Mutex, lock};
use crate::word::lock_of_words_at;
use crate::{Error, Hive, Report, Result};
use hivemind_protocol::{AccessKind, Address, ConditionId, LockId, MeetingKind, PAGE_SIZE, PageId};
use std::ops::Range;

/// A hive for code that has only pointers. All calls take `&self`, from any thread of the process that joined; calls that
/// may wait (all but [`RawHive::release`] and questions) take turns, so a thread that waits for a lock keeps other threads
/// from waiting too. A lock belongs to the drone, not to a thread of it.
///
/// ```
/// # fn main() -> hivemind::Result<()> {
/// use hivemind::{LockId, RawHive};
///
/// let hive = RawHive::join()?;
/// let block = hive.allocate(100, 16)?;
/// assert!(block.address.0 + 100 <= hive.bytes() && block.is_zero);
/// hive.acquire(LockId(1))?; // … and store through `hive.base() + block.address` …
/// hive.release(LockId(1))?;
/// hive.free(block.address)?;
/// hive.leave()
/// # }
/// ```
#[derive(Debug)]
pub struct RawHive {
    hive: Hive,
    /// Held by the thread that waits.
    turn: Mutex<()>,
}

/// Memory that [`RawHive::allocate`] found.
///
/// ```
/// # fn main() -> hivemind::Result<()> {
/// let hive = hivemind::RawHive::join()?;
/// let block = hive.allocate(1, 4096)?;
/// assert_eq!(block.address.0 % 4096, 0);
/// hive.leave()
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawBlock {
    /// Where it begins, counted from [`RawHive::base`].
    pub address: Address,
    /// Whether nobody had it before: then its bytes are zero; else they are anything.
    pub is_zero: bool,
}

impl RawHive {
    /// Joins as [`Hive::join`] does, and blocks as long.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// assert!(hive.me() < hive.drones() && hive.threads() > 0);
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Hive::join`].
    pub fn join() -> Result<Self> {
        Ok(Self {
            hive: Hive::join()?,
            turn: Mutex::new(()),
        })
    }

    /// How many drones there are.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// assert!(hive.drones() > 0);
    /// hive.leave()
    /// # }
    /// ```
    pub fn drones(&self) -> usize {
        self.hive.drones()
    }

    /// Which drone this is, counted from 0.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// assert!(hive.me() < hive.drones());
    /// hive.leave()
    /// # }
    /// ```
    pub fn me(&self) -> usize {
        self.hive.me()
    }

    /// How many threads this drone may use; see [`Hive::threads`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// assert!(hive.threads() > 0);
    /// hive.leave()
    /// # }
    /// ```
    pub fn threads(&self) -> usize {
        self.hive.threads()
    }

    /// Where the shared memory begins in this process: the same on all drones.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// assert_eq!(hive.base() % 4096, 0);
    /// hive.leave()
    /// # }
    /// ```
    pub fn base(&self) -> usize {
        self.hive.region().base()
    }

    /// How many bytes the shared memory has.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// assert!(hive.bytes() >= 4096);
    /// hive.leave()
    /// # }
    /// ```
    pub fn bytes(&self) -> u64 {
        self.hive.region().bytes()
    }

    /// Whether this is the process that joined, and not a forked child, which has no shared memory. Costs two loads.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// assert!(hive.is_of_this_process());
    /// hive.leave()
    /// # }
    /// ```
    pub fn is_of_this_process(&self) -> bool {
        self.hive.region().is_of_this_process()
    }

    /// Takes memory for whoever is told of it; no other drone takes part. Blocks for the heap's turn and its keeper.
    /// `align` is a power of two.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// let block = hive.allocate(1 << 20, 4096)?;
    /// hive.free(block.address)?;
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// Not enough memory, no such alignment, a lost drone.
    pub fn allocate(&self, bytes: u64, align: u64) -> Result<RawBlock> {
        let _turn = lock(&self.turn);
        let block = self.hive.drone.allocate(bytes, align)?;
        Ok(RawBlock {
            address: block.address,
            is_zero: block.fresh,
        })
    }

    /// Takes memory for all drones together: each is told of the same block. Aligned to a page (4096 bytes) or more it is zero,
    /// whoever had it before; otherwise it says whether it is. Collective: blocks until all drones ask for the same, and is a
    /// barrier. Meant for what a binding itself keeps in shared memory.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// let block = hive.allocate_together(4096, 4096)?;
    /// assert!(block.is_zero);
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// Not enough memory, no such alignment, a lost drone; the drones ask for different things.
    pub fn allocate_together(&self, bytes: u64, align: u64) -> Result<RawBlock> {
        let _turn = lock(&self.turn);
        let kind = MeetingKind::Allocate { bytes, align };
        let (_, block) = self.hive.drone.meet(kind, Vec::new())?;
        let block = block.expect("INV-10: an allocation that all made has a block");
        Ok(RawBlock {
            address: block.address,
            is_zero: block.fresh,
        })
    }

    /// How many bytes the block has that begins there, whoever took it: at least as many as were asked for. Blocks for the
    /// heap's keeper.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// let block = hive.allocate(100, 16)?;
    /// assert!(hive.measure(block.address)? >= 100);
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// No block in use begins there; a lost drone.
    pub fn measure(&self, address: Address) -> Result<u64> {
        let _turn = lock(&self.turn);
        self.hive.drone.measure(address)
    }

    /// Gives memory back, whoever took it. Blocks as [`RawHive::allocate`] does.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// let block = hive.allocate(8, 16)?;
    /// hive.free(block.address)?;
    /// assert!(hive.free(block.address).is_err()); // twice
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// No block in use begins there; a lost drone.
    pub fn free(&self, address: Address) -> Result<()> {
        let _turn = lock(&self.turn);
        self.hive.drone.free_block(address)
    }

    /// Takes a lock and sees what its last holder saw. Blocks until it is here.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// use hivemind::{LockId, RawHive};
    /// let hive = RawHive::join()?;
    /// hive.acquire(LockId(7))?;
    /// assert!(hive.acquire(LockId(7)).is_err()); // it is held here
    /// hive.release(LockId(7))?;
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// This drone holds it already; a lost drone; the limit of every wait.
    pub fn acquire(&self, id: LockId) -> Result<()> {
        let _turn = lock(&self.turn);
        self.hive.drone.acquire(id)
    }

    /// Takes a lock if nobody holds it or is in line for it, and tells whether it did. Blocks for an answer at most.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// use hivemind::{LockId, RawHive};
    /// let hive = RawHive::join()?;
    /// if hive.try_acquire(LockId(7))? {
    ///     hive.release(LockId(7))?;
    /// }
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// This drone holds it already; a lost drone; the limit of every wait.
    pub fn try_acquire(&self, id: LockId) -> Result<bool> {
        let _turn = lock(&self.turn);
        self.hive.drone.try_acquire(id)
    }

    /// Lets a lock go. Blocks for nobody.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// use hivemind::{LockId, RawHive};
    /// let hive = RawHive::join()?;
    /// assert!(hive.release(LockId(7)).is_err()); // it isn't held
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// This drone doesn't hold it.
    pub fn release(&self, id: LockId) -> Result<()> {
        self.hive.drone.release(id)
    }

    /// Lets a lock that this drone holds go and sleeps until `condition` of it is signalled; then takes the lock again and
    /// sees what its last holder saw. What was waited for may have been taken by another meanwhile: look again. Blocks as
    /// long.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// use hivemind::{ConditionId, LockId, RawHive};
    /// let hive = RawHive::join()?;
    /// // Nobody could wake it: there is no other drone, and the lock isn't held.
    /// assert!(hive.wait_for(LockId(7), ConditionId(0)).is_err());
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// This drone doesn't hold the lock; it is alone; a lost drone; the limit of every wait.
    pub fn wait_for(&self, lock_id: LockId, condition: ConditionId) -> Result<()> {
        let _turn = lock(&self.turn);
        self.hive.drone.wait_for(lock_id, condition)
    }

    /// Wakes the drone that has slept longest for `condition` of a lock that this drone holds, or all that do. Blocks for
    /// nobody.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// use hivemind::{ConditionId, LockId, RawHive};
    /// let hive = RawHive::join()?;
    /// hive.acquire(LockId(7))?;
    /// hive.signal(LockId(7), ConditionId(0), true)?; // nobody sleeps
    /// hive.release(LockId(7))?;
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// This drone doesn't hold the lock.
    pub fn signal(&self, lock_id: LockId, condition: ConditionId, all: bool) -> Result<()> {
        self.hive.drone.signal(lock_id, condition, all)
    }

    /// The lock that goes with an address of shared memory, whatever lies there: no other call names it.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// let block = hive.allocate(8, 16)?;
    /// hive.acquire(hive.lock_at(block.address))?;
    /// hive.release(hive.lock_at(block.address))?;
    /// hive.leave()
    /// # }
    /// ```
    pub fn lock_at(&self, address: Address) -> LockId {
        LockId(FIRST_LOCK_AT + address.0)
    }

    /// The lock under which words near an address change in one step; [`Shared::fetch_add`](crate::Shared::fetch_add) takes
    /// the same.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// let block = hive.allocate(16, 16)?;
    /// let lock = hive.lock_of_words_at(block.address);
    /// assert_ne!(lock, hive.lock_at(block.address));
    /// hive.leave()
    /// # }
    /// ```
    pub fn lock_of_words_at(&self, address: Address) -> LockId {
        lock_of_words_at(address)
    }

    /// Fetches the pages of a range of addresses, so that a system call finds them here; until this drone's next acquire
    /// they stay. `write` makes them writable too. Blocks until all are here.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// let block = hive.allocate(10_000, 16)?;
    /// hive.make_present(block.address.0..block.address.0 + 10_000, true)?;
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// The range isn't in the shared memory; a lost drone.
    pub fn make_present(&self, range: Range<u64>, write: bool) -> Result<()> {
        if range.start > range.end || range.end > self.bytes() {
            return Err(self.out_of_bounds(&range));
        }
        let kind = match write {
            true => AccessKind::Write,
            false => AccessKind::Read,
        };
        if range.is_empty() {
            return Ok(());
        }
        let page = PAGE_SIZE as u64;
        for page in range.start / page..=(range.end - 1) / page {
            self.hive.drone.fetch(PageId(page), kind)?;
        }
        // The core has them; the system's own tables have them once each was touched.
        self.hive.region().touch(range, kind);
        Ok(())
    }

    /// Begins to fetch the pages of a range of addresses, as far as they are not here, so that a later touch need not wait.
    /// Blocks for nobody.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// let block = hive.allocate(10_000, 16)?;
    /// hive.prefetch(block.address.0..block.address.0 + 10_000)?;
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// The range isn't in the shared memory.
    pub fn prefetch(&self, range: Range<u64>) -> Result<()> {
        if range.start > range.end || range.end > self.bytes() {
            return Err(self.out_of_bounds(&range));
        }
        let bytes = range.end - range.start;
        self.hive.drone.prefetch(Address(range.start), bytes)
    }

    /// What this drone's shared memory has done so far; see [`Hive::stats`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// hive.barrier(0)?;
    /// assert_eq!(hive.stats().counts.meetings, 1);
    /// hive.leave()
    /// # }
    /// ```
    pub fn stats(&self) -> Report {
        self.hive.stats()
    }

    /// Waits until all drones want to take leave. Where that is refused the hive goes on; else [`RawHive::close`] is what is
    /// left. Collective.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// use hivemind::{LockId, RawHive};
    /// let hive = RawHive::join()?;
    /// hive.acquire(LockId(1))?;
    /// assert!(hive.agree_to_leave().is_err()); // a lock is held
    /// hive.release(LockId(1))?;
    /// hive.agree_to_leave()?;
    /// hive.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Hive::leave`].
    pub fn agree_to_leave(&self) -> Result<()> {
        let _turn = lock(&self.turn);
        self.hive.drone.meet(MeetingKind::Leave, Vec::new())?;
        Ok(())
    }

    /// Closes the links and gives the shared memory back, after all drones have agreed to leave. Blocks until the others
    /// do too, for a few seconds at most.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// hive.agree_to_leave()?;
    /// hive.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// A drone doesn't say goodbye; the statistics cannot be written.
    pub fn close(self) -> Result<()> {
        self.hive.close()
    }

    /// Both in one: takes leave as [`Hive::leave`] does, and blocks as long.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Hive::leave`].
    pub fn leave(self) -> Result<()> {
        self.agree_to_leave()?;
        self.close()
    }

    fn out_of_bounds(&self, range: &Range<u64>) -> Error {
        Error::OutOfBounds {
            address: range.start,
            bytes: range.end.saturating_sub(range.start),
            region_bytes: self.bytes(),
        }
    }
}

/// Above the locks of programs and the mutexes of Rust programs, below the heap's.
const FIRST_LOCK_AT: u64 = 1 << 62;
