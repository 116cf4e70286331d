//! What a call on the hive can answer instead of doing its work: what happened, to whom, and what to do.

use crate::join::{JoinError, KeyError};
use crate::launch::LaunchError;
use hivemind_memory::MemoryError;
use hivemind_protocol::{DroneId, Refusal};
use std::time::Duration;
use thiserror::Error;

/// The result of a call on the hive.
///
/// ```
/// fn work() -> hivemind::Result<usize> {
///     let hive = hivemind::Hive::join()?;
///     let me = hive.me();
///     hive.leave()?;
///     Ok(me)
/// }
/// # assert_eq!(work().ok(), Some(0));
/// ```
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call did not do its work.
///
/// ```
/// # fn main() -> hivemind::Result<()> {
/// # let mut hive = hivemind::Hive::join()?;
/// use hivemind::Error;
///
/// match hive.alloc::<u8>(1 << 40) {
///     Ok(_) => unreachable!("the region has 1 GiB"),
///     // A wrong call: nothing changed, and the hive goes on.
///     Err(Error::Refused { me, refusal }) => println!("{me}: {refusal}"),
///     // Anything else ends the job; its text says who, what and what to do.
///     Err(other) => return Err(other),
/// }
/// # hive.leave() }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The environment that should say where this drone stands in its job is wrong.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// There is no key by which drones of this job know each other, or it is no secret.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The hive did not come together.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The operating system refused shared memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The operating system refused something else that a drone needs.
    #[error("{me} cannot {what}: {cause}")]
    System {
        /// This drone.
        me: DroneId,
        /// What was tried.
        what: &'static str,
        /// Why not.
        cause: std::io::Error,
    },
    /// A trace was asked for, and its log can't be opened.
    #[error("{me} cannot write its trace into {}: {cause}; HIVEMIND_TRACE must name a directory that it may write", directory.display())]
    Trace {
        /// This drone.
        me: DroneId,
        /// Where.
        directory: std::path::PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// The call was wrong; nothing changed and the hive goes on.
    #[error("{me}: {refusal}")]
    Refused {
        /// This drone.
        me: DroneId,
        /// Why.
        refusal: Refusal,
    },
    /// Another drone is gone; the hive cannot go on.
    #[error(
        "{lost} was lost ({how}) while {me} was {operation}; the job cannot go on: end it and start it anew"
    )]
    Lost {
        /// This drone.
        me: DroneId,
        /// The one that is gone.
        lost: DroneId,
        /// How it was noticed.
        how: String,
        /// What this drone was doing.
        operation: String,
    },
    /// A wait took longer than a wait may.
    #[error(
        "{me} has been {operation} for {limit:?}, the limit of every wait; set HIVEMIND_WAIT_LIMIT higher if that is right"
    )]
    TimedOut {
        /// This drone.
        me: DroneId,
        /// What it was doing.
        operation: String,
        /// The limit.
        limit: Duration,
    },
    /// Some bytes are not in the region.
    #[error(
        "{bytes} bytes at address {address} are out of bounds: the region has {region_bytes} bytes"
    )]
    OutOfBounds {
        /// The first byte.
        address: u64,
        /// How many bytes.
        bytes: u64,
        /// The region's size in bytes.
        region_bytes: u64,
    },
    /// The memory was freed. At a place ([`crate::Ptr`]): by any drone with which this one has synchronised since. At
    /// an address of the byte-level calls: by this drone, which has not synchronised since (an acquire may have
    /// given the memory to another owner).
    #[error("{bytes} bytes at address {address} were freed: allocate again, or free later")]
    Freed {
        /// The first byte.
        address: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// Something else lies where this place ([`crate::Ptr`]) leads: its value was destroyed and its memory used
    /// again, or no value of its kind was ever there.
    #[error(
        "the {bytes} bytes at address {address} are not the value that this place was given for: that was freed and its memory used again, or it never was there; keep no place beyond the value's end"
    )]
    Stale {
        /// The first byte.
        address: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// A process joins once.
    #[error("this process has joined its hive already: join once and hand the hive on")]
    JoinedAlready,
    /// Some drones did not take leave in time.
    #[error("{me} could not say goodbye: {why}")]
    Farewell {
        /// This drone.
        me: DroneId,
        /// Who did not answer.
        why: String,
    },
}
