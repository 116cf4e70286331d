//! Events: something that happens once, until it is cleared, and that drones wait for. Built of a mutex and a condition.

use crate::{Hive, Mutex, Result};

/// The event is set.
const SET: u32 = 0;

/// Something that has happened or not. Who waits for it goes on when it has; it stays set until it is cleared. Made by
/// [`Hive::event`].
///
/// What a drone wrote before it set an event is seen by whoever finds it set.
///
/// ```
/// # fn main() -> hivemind::Result<()> {
/// let mut hive = hivemind::Hive::join()?;
/// let loaded = hive.event()?;
/// if hive.is_first() {
///     // … loads …
///     loaded.set(&mut hive)?;
/// }
/// loaded.wait(&mut hive)?;
/// # hive.leave() }
/// ```
#[derive(Debug)]
pub struct Event {
    state: Mutex<u64>,
}

impl Hive {
    /// Makes an event that has not happened. Collective: blocks until all drones make one, and is a barrier.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let done = hive.event()?;
    /// assert!(!done.is_set(&mut hive)?);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// Not enough memory; the drones make different things.
    pub fn event(&mut self) -> Result<Event> {
        let state = self.mutex(0)?;
        Ok(Event { state })
    }
}

impl Event {
    /// It has happened: all who wait go on, and who waits later does not stop.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let done = hive.event()?;
    /// done.set(&mut hive)?;
    /// assert!(done.is_set(&mut hive)?);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost.
    pub fn set(&self, hive: &mut Hive) -> Result<()> {
        let mut state = self.state.lock(hive)?;
        *state = 1;
        state.signal_all(SET)?;
        state.release()
    }

    /// It has not happened: who waits from now on waits until it is set again. Who was woken and has not yet come to look
    /// waits on.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let done = hive.event()?;
    /// done.set(&mut hive)?;
    /// done.clear(&mut hive)?;
    /// assert!(!done.is_set(&mut hive)?);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost.
    pub fn clear(&self, hive: &mut Hive) -> Result<()> {
        let mut state = self.state.lock(hive)?;
        *state = 0;
        state.release()
    }

    /// Blocks until it has happened.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let done = hive.event()?;
    /// done.set(&mut hive)?;
    /// done.wait(&mut hive)?;
    /// done.wait(&mut hive)?; // it stays set
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost; or it has not happened, and this drone is alone, so that nobody could set it.
    pub fn wait(&self, hive: &mut Hive) -> Result<()> {
        let mut state = self.state.lock(hive)?;
        state.wait_while(SET, |state| *state == 0)?;
        state.release()
    }

    /// Whether it has happened. Blocks only while another drone sets, clears or looks.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let done = hive.event()?;
    /// assert!(!done.is_set(&mut hive)?);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost.
    pub fn is_set(&self, hive: &mut Hive) -> Result<bool> {
        let state = self.state.lock(hive)?;
        let is_set = *state != 0;
        state.release()?;
        Ok(is_set)
    }

    /// Gives its memory back. Collective: blocks until all drones do, and is a barrier.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// hive.event()?.free(&mut hive)?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// The drones free different things.
    pub fn free(self, hive: &mut Hive) -> Result<()> {
        self.state.free(hive)
    }
}
