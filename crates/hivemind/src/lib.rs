//! HiveMind: one shared memory for a program that runs on many machines.
//!
//! A program joins a hive of drones (processes), allocates shared memory, and works on plain slices. Pages
//! move as they are touched; what one drone wrote is seen by another once the two have synchronised: by a
//! lock that the one released and the other took, or by a barrier (lazy release consistency).
//!
//! ```
//! use hivemind::Hive;
//!
//! fn main() -> hivemind::Result<()> {
//!     let mut hive = Hive::join()?;                 // under `hivemind run`, or alone
//!     let mut squares = hive.alloc::<u64>(1000)?;   // the same memory on all drones
//!     for i in hive.share_of(0..1000) {
//!         squares.view_mut(&hive)[i] = (i * i) as u64;
//!     }
//!     hive.barrier()?;
//!     assert_eq!(squares.view(&hive)[31], 961);     // whoever wrote it
//!     hive.leave()
//! }
//! ```
//!
//! # Why views are safe
//!
//! A valid page changes only in an acquire: when a lock comes from another drone, or at a barrier. An
//! acquire takes `&mut Hive` and a view borrows the hive, so no view outlives an acquire, and nothing
//! changes under a reference:
//!
//! ```compile_fail,E0502
//! # fn main() -> hivemind::Result<()> {
//! # let mut hive = hivemind::Hive::join()?;
//! # let table = hive.alloc::<u64>(10)?;
//! let view = table.view(&hive);
//! hive.barrier()?;                // error: the barrier may change what the view shows
//! println!("{}", view[0]);
//! # Ok(()) }
//! ```
//!
//! Elements are [`Pod`]: every pattern of bits is a value. So a program in which two drones write the same
//! place without a lock gets odd numbers, but never undefined behaviour.
//!
//! # When something goes wrong
//!
//! A call that is wrong in itself is refused with an [`Error`] and changes nothing; the hive goes on. When a drone
//! is lost, each call of the others ends with [`Error::Lost`], which names it. A page that is touched through a view
//! has no caller to give an error to: where it cannot be fetched, the process ends with one sentence on standard
//! error and the exit status 75. No wait is without end: the limits stand in [`settings`].
//!
//! # What it cannot do
//!
//! A system call on a page that is not here fails with `EFAULT` (copy the data out first, or
//! [`Hive::touch`] the range); a forked child has no shared memory; pointers into a drone's own heap mean
//! nothing on another drone.
//!
//! Here is the way in and what is public. The protocol lives in `hivemind-protocol`, pages and faults in
//! `hivemind-memory`.

#![deny(unsafe_code)]

mod bytes;
mod calls;
mod collective;
mod condition;
mod cores;
mod drone;
mod error;
mod event;
mod fork;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod here;
mod hive;
mod join;
mod launch;
mod lock;
mod net;
mod parking;
mod patience;
mod place;
mod prefetch;
mod primitive;
mod program;
mod raw;
mod report;
mod semaphore;
pub mod settings;
mod split;
mod trace;
mod view;
mod word;

pub use crate::bytes::ByteHive;
pub use crate::collective::Number;
pub use crate::error::{Error, Result};
pub use crate::event::Event;
pub use crate::fork::Forked;
pub use crate::here::{FaultEngine, KeyAtHand, fault_engines, key_at_hand};
pub use crate::hive::Hive;
pub use crate::join::{JoinError, KeyError};
pub use crate::launch::LaunchError;
pub use crate::lock::{Guard, Held, Mutex};
pub use crate::raw::{RawBlock, RawHive};
pub use crate::report::Report;
pub use crate::semaphore::Semaphore;
pub use crate::split::Between;
pub use crate::view::{Ptr, Shared};
pub use crate::word::Word;
pub use bytemuck::{self, Pod, Zeroable};
pub use hivemind_memory::MemoryError;
pub use hivemind_protocol::{Address, ConditionId, DroneId, LockId, PAGE_SIZE, Refusal, Stats};
