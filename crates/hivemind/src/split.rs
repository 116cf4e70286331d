//! A barrier in two calls: a drone arrives, goes on with what is its own, and departs.
//!
//! Deliberately elsewhere: what the two calls do (`hivemind-protocol`, `split`), and the barrier in one (`hive`).

use crate::{Hive, Result};
use hivemind_protocol::BarrierId;
use std::ops::Deref;

/// This drone has arrived at a barrier and not departed. It derefs to the hive, so views are made of it as of the hive; calls
/// that would have to wait for others (barriers, locks, allocations) need the hive itself, and don't compile before
/// [`depart`](Self::depart).
///
/// ```
/// # fn main() -> hivemind::Result<()> {
/// # let mut hive = hivemind::Hive::join()?;
/// let mut rows = hive.alloc::<f64>(hive.drones() * 512)?;
/// let mine = hive.share_of(0..rows.len());
/// rows.view_mut(&hive)[mine.start] = 1.0; // what others wait for
/// let between = hive.arrive()?;
/// rows.view_mut(&between)[mine.start + 1] = 2.0; // what they don't
/// between.depart()?;
/// assert_eq!(rows.view(&hive)[0], 1.0);
/// # hive.leave() }
/// ```
///
/// A lock in between, which could make drones wait for each other for ever, is found by the compiler:
///
/// ```compile_fail,E0499
/// # fn main() -> hivemind::Result<()> {
/// # let mut hive = hivemind::Hive::join()?;
/// let between = hive.arrive()?;
/// hive.barrier()?;                // error: the hive is in between
/// between.depart()
/// # }
/// ```
///
/// One that is dropped departs as well, but has nobody to tell what went wrong.
#[derive(Debug)]
#[must_use = "who has arrived has to depart"]
pub struct Between<'a> {
    hive: &'a mut Hive,
    departed: bool,
}

impl Hive {
    /// The first half of a barrier: what this drone has written so far is on its way to all others, for which it waits only in
    /// [`Between::depart`]. Collective: all drones arrive, and none makes [`Hive::barrier`] of it. Blocks hardly ever, until
    /// pages that were asked for before have come.
    ///
    /// What the drone writes until it departs is seen by the others after the *next* barrier, and what they wrote is not seen
    /// before it departs. So it works on what nobody else touches meanwhile; a page that must be fetched from another drone keeps
    /// it waiting until all have arrived. Pages stay at their homes at such a barrier, where [`Hive::barrier`] moves them to who
    /// writes them: have one of those after the data are filled. (R. Gupta, "The fuzzy barrier", ASPLOS 1989.)
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let between = hive.arrive()?;
    /// println!("drone {} works on", between.me());
    /// between.depart()?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// Those of [`Hive::barrier`].
    pub fn arrive(&mut self) -> Result<Between<'_>> {
        self.arrive_at(0)
    }

    /// The same, with a name, as [`Hive::barrier_at`] has one.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// hive.arrive_at(7)?.depart()?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// Those of [`Hive::barrier`].
    pub fn arrive_at(&mut self, id: u32) -> Result<Between<'_>> {
        self.drone.arrive(BarrierId(id))?;
        Ok(Between {
            hive: self,
            departed: false,
        })
    }
}

impl Between<'_> {
    /// The second half of the barrier: waits until all drones have arrived; then this one sees what they had written by
    /// then.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let between = hive.arrive()?;
    /// between.depart()?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost, or makes another collective call.
    pub fn depart(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.departed = true;
        let departed = self.hive.drone.depart();
        self.hive.forget_freed();
        departed
    }
}

impl Deref for Between<'_> {
    type Target = Hive;

    fn deref(&self) -> &Hive {
        self.hive
    }
}

impl Drop for Between<'_> {
    fn drop(&mut self) {
        // Who panics waits for nobody: the others see it go.
        if !self.departed && !std::thread::panicking() {
            // A lost drone is told by the next call as well.
            let _ = self.end();
        }
    }
}
