//! Conditions: waiting under a lock until another drone has changed something and says so.
//!
//! Locks live in `lock`; the list of those who wait, which travels with a lock, in `hivemind-protocol`.

use crate::Result;
use crate::lock::{Guard, Held};
use bytemuck::Pod;
use hivemind_protocol::ConditionId;

impl Held<'_> {
    /// Lets the lock go, sleeps until another drone signals this condition of it, and takes the lock again. Any of the
    /// 2³² conditions of a lock is there. Another drone may have had the lock in between: so look again at what was waited for.
    /// Blocks as long; falling asleep costs no message of its own.
    ///
    /// A wait is an acquire: it may let others' writes in, and no view lives across it.
    ///
    /// ```no_run
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// const FULL: u32 = 0;
    /// let shelf = hive.alloc::<u64>(1)?;
    /// let mut held = hive.lock(7)?;
    /// while shelf.view(&held)[0] == 0 {
    ///     held.wait(FULL)?;
    /// }
    /// held.release()?;
    /// # hive.leave() }
    /// ```
    ///
    /// ```compile_fail,E0502
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// # let shelf = hive.alloc::<u64>(1)?;
    /// let mut held = hive.lock(7)?;
    /// let view = shelf.view(&held);
    /// held.wait(0)?;                  // error: the wait may change what the view shows
    /// println!("{}", view[0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A drone was lost; or this drone is alone, so that nobody could ever signal.
    pub fn wait(&mut self, condition: u32) -> Result<()> {
        self.hive.wait_for(self.lock, ConditionId(condition))
    }

    /// Wakes the drone that has slept longest for this condition, if one sleeps. It goes on once it has the lock. Blocks
    /// nobody, and costs a message.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// const FULL: u32 = 0;
    /// let mut shelf = hive.alloc::<u64>(1)?;
    /// let held = hive.lock(7)?;
    /// shelf.view_mut(&held)[0] += 1;
    /// held.signal(FULL)?;
    /// held.release()?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost.
    pub fn signal(&self, condition: u32) -> Result<()> {
        self.hive
            .drone
            .signal(self.lock, ConditionId(condition), false)
    }

    /// Wakes all drones that sleep for this condition. They go on one after the other, as each gets the lock. Blocks
    /// nobody, and costs a message for each.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let held = hive.lock(7)?;
    /// held.signal_all(0)?; // nobody sleeps: nothing happens
    /// held.release()?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost.
    pub fn signal_all(&self, condition: u32) -> Result<()> {
        self.hive
            .drone
            .signal(self.lock, ConditionId(condition), true)
    }
}

impl<T: Pod> Guard<'_, T> {
    /// Lets the value go, sleeps until another drone signals this condition, and takes the value again; see [`Held::wait`].
    /// [`Guard::wait_while`] looks again by itself.
    ///
    /// ```no_run
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// const MORE: u32 = 0;
    /// let count = hive.mutex(0_u64)?;
    /// let mut guard = count.lock(&mut hive)?;
    /// while *guard == 0 {
    ///     guard.wait(MORE)?;
    /// }
    /// guard.release()?;
    /// # hive.leave() }
    /// ```
    ///
    /// ```compile_fail,E0502
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// # let count = hive.mutex(0_u64)?;
    /// let mut guard = count.lock(&mut hive)?;
    /// let value: &u64 = &guard;
    /// guard.wait(0)?;                 // error: the wait may change the value
    /// println!("{value}");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A drone was lost; or this drone is alone, so that nobody could ever signal.
    pub fn wait(&mut self, condition: u32) -> Result<()> {
        self.held.wait(condition)
    }

    /// Sleeps for this condition, again and again, while `holds_off` says of the value that it is not yet time. Does not sleep
    /// if it is time already.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// const MORE: u32 = 0;
    /// let count = hive.mutex(3_u64)?;
    /// let mut guard = count.lock(&mut hive)?;
    /// guard.wait_while(MORE, |count| *count == 0)?;
    /// *guard -= 1;
    /// guard.release()?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// As for [`Guard::wait`].
    pub fn wait_while(&mut self, condition: u32, holds_off: impl Fn(&T) -> bool) -> Result<()> {
        while holds_off(self) {
            self.wait(condition)?;
        }
        Ok(())
    }

    /// Wakes the drone that has slept longest for this condition; see [`Held::signal`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// const MORE: u32 = 0;
    /// let count = hive.mutex(0_u64)?;
    /// let mut guard = count.lock(&mut hive)?;
    /// *guard += 1;
    /// guard.signal(MORE)?;
    /// guard.release()?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost.
    pub fn signal(&self, condition: u32) -> Result<()> {
        self.held.signal(condition)
    }

    /// Wakes all drones that sleep for this condition; see [`Held::signal_all`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// const OVER: u32 = 1;
    /// let is_over = hive.mutex(0_u8)?;
    /// let mut guard = is_over.lock(&mut hive)?;
    /// *guard = 1;
    /// guard.signal_all(OVER)?;
    /// guard.release()?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost.
    pub fn signal_all(&self, condition: u32) -> Result<()> {
        self.held.signal_all(condition)
    }
}
