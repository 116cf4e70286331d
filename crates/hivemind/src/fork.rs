//! Fork and join: drone 0 runs the program, and the others join in where it says so.
//!
//! Deliberately elsewhere: the meetings that this is made of (`calls`).

use crate::{Hive, Result};
use bytemuck::Pod;
use hivemind_protocol::{DroneId, MeetingKind};
use std::ops::{Deref, DerefMut};

/// Drone 0's hand on the others, in the closure that [`Hive::fork_join`] runs. It derefs to the hive; calls on that which all
/// drones must make together (a barrier, an allocation by all) would wait for the others, which wait for
/// [`Forked::run`]: make them in the work.
///
/// ```
/// # fn main() -> hivemind::Result<()> {
/// use hivemind::Hive;
/// let mut hive = Hive::join()?;
/// let work = |hive: &mut Hive, round: u32| -> hivemind::Result<()> {
///     println!("drone {} in round {round}", hive.me());
///     Ok(())
/// };
/// hive.fork_join(work, |all| {
///     all.run(1)?;
///     all.run(2)
/// })?;
/// hive.leave()
/// # }
/// ```
#[derive(Debug)]
pub struct Forked<'a, W> {
    hive: &'a mut Hive,
    work: W,
}

impl Hive {
    /// Fork and join: drone 0 runs `first`, and whenever that calls [`Forked::run`], all drones run `work` with the value that
    /// it gives. The others get nothing else to do until `first` returns. Collective: all drones call it with the same `work`, as
    /// SPMD programs do; what `work` needs beside the value it may own: each drone has its own.
    ///
    /// Gives what `first` gave on drone 0, and none elsewhere.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// use hivemind::Hive;
    /// let mut hive = Hive::join()?;
    /// let mut squares = hive.alloc::<u64>(100)?;
    /// let last = hive.fork_join(
    ///     |hive, plus: u64| {
    ///         for i in hive.share_of(0..100) {
    ///             squares.view_mut(hive)[i] = (i * i) as u64 + plus;
    ///         }
    ///         Ok(())
    ///     },
    ///     |all| {
    ///         all.run(1)?; // all drones, and back when all are done
    ///         all.run(7)
    ///     },
    /// )?;
    /// assert_eq!(last.is_some(), hive.is_first());
    /// assert_eq!(squares.view(&hive)[9], 88);
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `first` or `work` gave: where `first` fails the others come back; a drone whose `work` fails comes back at
    /// once, and the others learn of it when it leaves the hive. A lost drone; another collective call elsewhere.
    pub fn fork_join<A, W, R>(
        &mut self,
        mut work: W,
        first: impl FnOnce(&mut Forked<'_, W>) -> Result<R>,
    ) -> Result<Option<R>>
    where
        A: Pod,
        W: FnMut(&mut Hive, A) -> Result<()>,
    {
        if self.is_first() {
            let done = first(&mut Forked { hive: self, work });
            // A lock that is still held would keep the others for ever; then the refusal is what there is to tell.
            let told = tell(self, None::<A>);
            return done.and_then(|done| told.map(|_| Some(done)));
        }
        while let Some(value) = tell(self, None::<A>)? {
            work(self, value)?;
            self.barrier()?;
        }
        Ok(None)
    }
}

impl<W> Forked<'_, W> {
    /// Has all drones run the work with `value`, this one included, and waits until all have; then each sees what all have
    /// written. Blocks as long.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let mut hive = hivemind::Hive::join()?;
    /// let mut seen = 0;
    /// hive.fork_join(|_, value: u32| { seen += value; Ok(()) }, |all| all.run(3))?;
    /// assert_eq!(seen, 3);
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the work gave here; a lost drone; a lock is held.
    pub fn run<A: Pod>(&mut self, value: A) -> Result<()>
    where
        W: FnMut(&mut Hive, A) -> Result<()>,
    {
        tell(self.hive, Some(value))?;
        (self.work)(self.hive, value)?;
        self.hive.barrier()
    }
}

impl<W> Deref for Forked<'_, W> {
    type Target = Hive;

    fn deref(&self) -> &Hive {
        self.hive
    }
}

impl<W> DerefMut for Forked<'_, W> {
    fn deref_mut(&mut self) -> &mut Hive {
        self.hive
    }
}

/// What drone 0 says: a value for the work, or that there is no more.
fn tell<A: Pod>(hive: &mut Hive, value: Option<A>) -> Result<Option<A>> {
    let mut own = Vec::new();
    if hive.is_first() {
        own.push(u8::from(value.is_some()));
        own.extend_from_slice(bytemuck::bytes_of(&value.unwrap_or(A::zeroed())));
    }
    let kind = MeetingKind::Broadcast {
        root: DroneId::FIRST,
        bytes: 1 + size_of::<A>() as u64,
    };
    let (payloads, _) = hive.meet(kind, own)?;
    let said = &payloads[0];
    let goes_on = said[0] != 0;
    Ok(goes_on.then(|| bytemuck::pod_read_unaligned(&said[1..])))
}
