//! The calls that all drones of a hive by address make together: barriers, and values that they bring there. Memory that all allocate
//! together is with all other memory, in `raw`.

use super::RawHive;
use crate::Result;
use crate::primitive::lock;
use hivemind_protocol::{BarrierId, DroneId, MeetingKind};

impl RawHive {
    /// Waits until all drones are at barrier `id`; then each sees what all have written.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// hive.barrier(0)?;
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Hive::barrier`](crate::Hive::barrier).
    pub fn barrier(&self, id: u32) -> Result<()> {
        let _turn = lock(&self.turn);
        let kind = MeetingKind::Barrier(BarrierId(id));
        self.hive.drone.meet(kind, Vec::new()).map(|_| ())
    }

    /// The first half of barrier `id`: what this drone has written is on its way to the others, and it goes on. Until it
    /// [departs](Self::depart) it takes no locks and makes no other collective calls. More is said at [`Hive::arrive`](crate::Hive::arrive).
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// hive.arrive(0)?;
    /// println!("drone {} works on", hive.me());
    /// hive.depart()?;
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Hive::barrier`](crate::Hive::barrier).
    pub fn arrive(&self, id: u32) -> Result<()> {
        let _turn = lock(&self.turn);
        self.hive.drone.arrive(BarrierId(id))
    }

    /// The second half: waits until all drones have arrived; then each sees what all had written by then.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// hive.arrive(0)?;
    /// hive.depart()?;
    /// assert!(hive.depart().is_err(), "once is enough");
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// This drone has not arrived; a drone was lost, or makes another collective call.
    pub fn depart(&self) -> Result<()> {
        let _turn = lock(&self.turn);
        self.hive.drone.depart()
    }

    /// `bytes` of drone `root`, to all; the others bring a buffer of the same length. Collective: blocks until all drones
    /// call it, and is a barrier.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// let mut word = if hive.me() == 0 { *b"from the first" } else { [0; 14] };
    /// hive.broadcast(0, &mut word)?;
    /// assert_eq!(&word, b"from the first");
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Hive::barrier`](crate::Hive::barrier); buffers of different lengths are a mismatch.
    ///
    /// # Panics
    /// If there is no drone `root`.
    pub fn broadcast(&self, root: usize, bytes: &mut [u8]) -> Result<()> {
        assert!(root < self.drones(), "no drone {root} can broadcast");
        let _turn = lock(&self.turn);
        let kind = MeetingKind::Broadcast {
            root: DroneId(root as u32),
            bytes: bytes.len() as u64,
        };
        let own = match root == self.me() {
            true => bytes.to_vec(),
            false => Vec::new(),
        };
        let (payloads, _) = self.hive.drone.meet(kind, own)?;
        // A drone's core has checked that all say the same kind; what the root brought may still be shorter.
        let brought = &payloads[root];
        let len = brought.len().min(bytes.len());
        bytes[..len].copy_from_slice(&brought[..len]);
        Ok(())
    }

    /// What each drone brings, to all, in the order of the drones; each brings as many bytes. Collective: blocks until all
    /// drones call it, and is a barrier.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let hive = hivemind::RawHive::join()?;
    /// let all = hive.gather(&[hive.me() as u8])?;
    /// assert_eq!(all[hive.me()], [hive.me() as u8]);
    /// hive.leave()
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Hive::barrier`](crate::Hive::barrier); different lengths are a mismatch.
    pub fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let _turn = lock(&self.turn);
        let kind = MeetingKind::Reduce {
            bytes: bytes.len() as u64,
        };
        let (payloads, _) = self.hive.drone.meet(kind, bytes.to_vec())?;
        Ok(payloads)
    }
}
