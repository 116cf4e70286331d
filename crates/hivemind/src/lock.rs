//! Locks: held by a scope, and the typed lock that owns its data. Waiting under them for what others do lives in
//! `condition`.

use crate::{Hive, Result, Shared};
use bytemuck::Pod;
use hivemind_protocol::LockId;
use std::ops::{Deref, DerefMut};

/// A lock that this drone holds. It stands for the hive while it lives: views are taken through it, and
/// further locks too. It is let go by [`Held::release`] or at the end of its scope.
///
/// ```
/// # fn main() -> hivemind::Result<()> {
/// let mut hive = hivemind::Hive::join()?;
/// let mut count = hive.alloc::<u64>(1)?;
/// let held = hive.lock(7)?;
/// count.view_mut(&held)[0] += 1;
/// held.release()?;
/// # hive.leave() }
/// ```
#[must_use = "the lock is let go at the end of the scope of what `lock` gives"]
#[derive(Debug)]
pub struct Held<'a> {
    pub(crate) hive: &'a mut Hive,
    pub(crate) lock: LockId,
    released: bool,
}

/// A value in shared memory with a lock of its own. Made by [`Hive::mutex`].
///
/// ```
/// # fn main() -> hivemind::Result<()> {
/// let mut hive = hivemind::Hive::join()?;
/// let total = hive.mutex(0.0_f64)?;
/// let mut guard = total.lock(&mut hive)?;
/// *guard += 1.5;
/// guard.release()?;
/// # hive.leave() }
/// ```
#[derive(Debug)]
pub struct Mutex<T> {
    cell: Shared<T>,
    lock: LockId,
}

/// A [`Mutex`] that this drone holds: it stands for the value.
///
/// ```
/// # fn main() -> hivemind::Result<()> {
/// # let mut hive = hivemind::Hive::join()?;
/// let total = hive.mutex(40_u64)?;
/// let mut guard = total.lock(&mut hive)?;
/// *guard += 2; // the value itself, as others left it
/// assert_eq!(*guard, 42);
/// guard.release()?;
/// # hive.leave() }
/// ```
#[must_use = "the lock is let go at the end of the scope of what `lock` gives"]
#[derive(Debug)]
pub struct Guard<'a, T> {
    cell: &'a Shared<T>,
    pub(crate) held: Held<'a>,
}

/// The library's own locks are numbered from here on; a program's lie below.
const FIRST_MUTEX: u64 = 1 << 32;

impl Hive {
    /// Takes a lock; any of the 2³² is there. Then this drone sees what its last holder saw (Keleher, Cox,
    /// Zwaenepoel, ISCA 1992). Blocks until whoever holds it lets it go; a lock that was last held here costs no
    /// message.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let outer = &mut hive.lock(1)?;
    /// let inner = outer.lock(2)?; // nested; all drones in the same order
    /// inner.release()?;
    /// # Ok(()) }
    /// #
    /// ```
    ///
    /// # Errors
    /// A drone was lost; this drone holds the lock already.
    pub fn lock(&mut self, id: u32) -> Result<Held<'_>> {
        self.hold(LockId(u64::from(id)))
    }

    /// Takes a lock if no drone holds it or is in line for it. Blocks for an answer at the most, never for another's work:
    /// none if the lock was last held here, else two to four messages.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let mut count = hive.alloc::<u64>(1)?;
    /// if let Some(held) = hive.try_lock(7)? {
    ///     count.view_mut(&held)[0] += 1;
    ///     held.release()?;
    /// }
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost; this drone holds the lock already.
    pub fn try_lock(&mut self, id: u32) -> Result<Option<Held<'_>>> {
        self.try_hold(LockId(u64::from(id)))
    }

    /// Makes a value with a lock of its own. The value of drone 0 counts. Collective: blocks until all drones make one,
    /// and is a barrier.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let best = hive.mutex(f64::INFINITY)?;
    /// let mut guard = best.lock(&mut hive)?;
    /// *guard = guard.min(3.5);
    /// guard.release()?;
    /// best.free(&mut hive)?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// Not enough memory; the drones make different things.
    pub fn mutex<T: Pod>(&mut self, value: T) -> Result<Mutex<T>> {
        let mut cell = self.alloc(1)?;
        if self.is_first() {
            cell.view_mut(self)[0] = value;
        }
        self.barrier()?;
        let lock = LockId(FIRST_MUTEX + self.next_mutex);
        self.next_mutex += 1;
        Ok(Mutex { cell, lock })
    }

    pub(crate) fn hold(&mut self, lock: LockId) -> Result<Held<'_>> {
        self.acquire(lock)?;
        Ok(self.held(lock))
    }

    fn try_hold(&mut self, lock: LockId) -> Result<Option<Held<'_>>> {
        let taken = self.try_acquire(lock)?;
        Ok(taken.then(|| self.held(lock)))
    }

    /// Stands for a lock that was taken.
    fn held(&mut self, lock: LockId) -> Held<'_> {
        Held {
            hive: self,
            lock,
            released: false,
        }
    }
}

impl Held<'_> {
    /// Lets the lock go. Blocks nobody: whoever takes it next is told what it must know.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let held = hive.lock(7)?;
    /// held.release()?; // or at the end of its scope, without a way to hear of a lost drone
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost.
    pub fn release(mut self) -> Result<()> {
        self.released = true;
        self.hive.release(self.lock)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.released {
            // A lost drone is what can go wrong here; the next call on the hive says so.
            let _ = self.hive.release(self.lock);
        }
    }
}

impl Deref for Held<'_> {
    type Target = Hive;

    fn deref(&self) -> &Hive {
        self.hive
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Hive {
        self.hive
    }
}

impl<T: Pod> Mutex<T> {
    /// Takes the lock. Blocks until whoever holds it lets it go.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let total = hive.mutex(0_u64)?;
    /// *total.lock(&mut hive)? += 1; // let go at the end of the statement
    /// assert_eq!(*total.lock(&mut hive)?, 1);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost; this drone holds the lock already.
    pub fn lock<'a>(&'a self, hive: &'a mut Hive) -> Result<Guard<'a, T>> {
        let held = hive.hold(self.lock)?;
        Ok(Guard {
            cell: &self.cell,
            held,
        })
    }

    /// Takes the lock if no drone holds it or is in line for it. Blocks for an answer at the most.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let total = hive.mutex(0_u64)?;
    /// match total.try_lock(&mut hive)? {
    ///     Some(mut guard) => *guard += 1,
    ///     None => println!("somebody else counts"),
    /// }
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost; this drone holds the lock already.
    pub fn try_lock<'a>(&'a self, hive: &'a mut Hive) -> Result<Option<Guard<'a, T>>> {
        let cell = &self.cell;
        let held = hive.try_hold(self.lock)?;
        Ok(held.map(|held| Guard { cell, held }))
    }

    /// Gives the value's memory back. Collective: blocks until all drones do, and is a barrier.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let total = hive.mutex(0_u64)?;
    /// total.free(&mut hive)?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// The drones free different things.
    pub fn free(self, hive: &mut Hive) -> Result<()> {
        hive.free(self.cell)
    }
}

impl<T: Pod> Guard<'_, T> {
    /// The hive, to take further locks or views while this one is held.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let total = hive.mutex(0_u64)?;
    /// let mut table = hive.alloc::<u64>(10)?;
    /// let mut guard = total.lock(&mut hive)?;
    /// table.view_mut(guard.hive())[0] = 5;
    /// *guard += 5;
    /// guard.release()?;
    /// # hive.leave() }
    /// ```
    pub fn hive(&mut self) -> &mut Hive {
        &mut self.held
    }

    /// Lets the lock go.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let total = hive.mutex(0_u64)?;
    /// let guard = total.lock(&mut hive)?;
    /// guard.release()?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost.
    pub fn release(self) -> Result<()> {
        self.held.release()
    }
}

impl<T: Pod> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.cell.view(&self.held)[0]
    }
}

impl<T: Pod> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.cell.view_alone(&mut self.held)[0]
    }
}
