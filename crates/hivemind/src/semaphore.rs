//! Semaphores: a number of permits that all drones share. Built of a mutex and a condition.

use crate::{Hive, Mutex, Result};

/// A permit is there.
const PERMIT: u32 = 0;

/// Permits that drones take and give back; who finds none waits for one. Made by [`Hive::semaphore`].
///
/// What a drone wrote before it gave a permit back is seen by whoever takes one afterwards.
///
/// ```
/// # fn main() -> hivemind::Result<()> {
/// let mut hive = hivemind::Hive::join()?;
/// let readers = hive.semaphore(2)?;
/// readers.acquire(&mut hive)?; // two drones at most are past this line
/// readers.release(&mut hive)?;
/// # hive.leave() }
/// ```
#[derive(Debug)]
pub struct Semaphore {
    permits: Mutex<u64>,
}

impl Hive {
    /// Makes a semaphore with so many permits. The number of drone 0 counts. Collective: blocks until all drones make one, and
    /// is a barrier.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let slots = hive.semaphore(4)?;
    /// slots.free(&mut hive)?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// Not enough memory; the drones make different things.
    pub fn semaphore(&mut self, permits: u64) -> Result<Semaphore> {
        let permits = self.mutex(permits)?;
        Ok(Semaphore { permits })
    }
}

impl Semaphore {
    /// Takes a permit. Blocks until there is one.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let slots = hive.semaphore(1)?;
    /// slots.acquire(&mut hive)?;
    /// slots.release(&mut hive)?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost; or there is none, and this drone is alone, so that nobody could give one back.
    pub fn acquire(&self, hive: &mut Hive) -> Result<()> {
        let mut permits = self.permits.lock(hive)?;
        permits.wait_while(PERMIT, |permits| *permits == 0)?;
        *permits -= 1;
        permits.release()
    }

    /// Takes a permit if there is one; gives whether it did. Blocks only while another drone takes one or gives one back.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let slots = hive.semaphore(1)?;
    /// assert!(slots.try_acquire(&mut hive)?);
    /// assert!(!slots.try_acquire(&mut hive)?);
    /// slots.release(&mut hive)?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost.
    pub fn try_acquire(&self, hive: &mut Hive) -> Result<bool> {
        let mut permits = self.permits.lock(hive)?;
        let taken = *permits > 0;
        if taken {
            *permits -= 1;
        }
        permits.release()?;
        Ok(taken)
    }

    /// Gives a permit back, or adds one; who has waited longest gets it, unless another is quicker. Any drone may.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let items = hive.semaphore(0)?;
    /// items.release(&mut hive)?; // what was put somewhere is counted
    /// items.acquire(&mut hive)?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost.
    pub fn release(&self, hive: &mut Hive) -> Result<()> {
        let mut permits = self.permits.lock(hive)?;
        *permits += 1;
        permits.signal(PERMIT)?;
        permits.release()
    }

    /// Gives its memory back. Collective: blocks until all drones do, and is a barrier.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// hive.semaphore(3)?.free(&mut hive)?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// The drones free different things.
    pub fn free(self, hive: &mut Hive) -> Result<()> {
        self.permits.free(hive)
    }
}
