//! What can go wrong, each with its culprit: a peer lost, a call refused, a peer that misbehaves.
//!
//! Our own broken invariant is none of these: it is an assertion with the invariant's name (INV-n).

use crate::{Address, DroneId, LockId, MeetingKind};
use alloc::string::String;
use thiserror::Error;

/// Why a fault or a command did not get what it waited for.
///
/// ```
/// use hivemind_protocol::{DroneId, Failure};
/// assert_eq!(Failure::Lost(DroneId(2)).to_string(), "drone 2 is lost");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash, Error)]
pub enum Failure {
    /// A drone is gone; the hive cannot go on.
    #[error("{0} is lost")]
    Lost(DroneId),
    /// The call was wrong; the hive goes on.
    #[error(transparent)]
    Refused(Refusal),
}

/// Why a call was refused. Nothing was changed by it.
///
/// ```
/// use hivemind_protocol::{LockId, Refusal};
/// let told = Refusal::NotHeld(LockId(5)).to_string();
/// assert_eq!(told, "lock 5 is not held by this drone: release only what was acquired");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash, Error)]
pub enum Refusal {
    /// The lock is not held by this drone.
    #[error("{0} is not held by this drone: release only what was acquired")]
    NotHeld(LockId),
    /// A drone that is alone would sleep until a condition is signalled.
    #[error("this drone is alone in its hive: nobody could wake it from a wait under {0}")]
    Alone(LockId),
    /// The lock is held by this drone already.
    #[error("{0} is held by this drone already: locks are not re-entrant")]
    AlreadyHeld(LockId),
    /// A lock is held at a collective call, where all drones must arrive.
    #[error("{lock} is still held at {meeting}: release it first, or the others can wait for ever")]
    HeldAtMeeting {
        /// The lock.
        lock: LockId,
        /// The call.
        meeting: MeetingKind,
    },
    /// Two drones make different collective calls.
    #[error(
        "{one} is at {here} while {other} is at {there}: all drones must make the same collective calls in the same order"
    )]
    Mismatch {
        /// A drone.
        one: DroneId,
        /// Where it is.
        here: MeetingKind,
        /// Another drone.
        other: DroneId,
        /// Where that is.
        there: MeetingKind,
    },
    /// There is no room.
    #[error(
        "insufficient shared memory: {bytes} bytes were asked for, the largest free block has {largest}; start with a larger --region"
    )]
    Insufficient {
        /// How many bytes were asked for.
        bytes: u64,
        /// How many the largest free block has.
        largest: u64,
    },
    /// The address is not the start of a block that is in use.
    #[error(
        "{0} is not the start of an allocated block: it was never allocated, or is freed already"
    )]
    BadAddress(Address),
    /// The alignment is no power of two or larger than the region.
    #[error("an alignment of {0} is not a power of two within the region")]
    BadAlignment(u64),
    /// The program already waits in another `Acquire` or `Meet`.
    #[error("this drone already waits in another call: acquire and meet from one thread at a time")]
    Busy,
    /// The program has arrived at a split barrier and calls something else before it departs.
    #[error(
        "this drone has arrived at a barrier and not departed: it takes no lock and makes no collective call in between"
    )]
    NotDeparted,
    /// The program departs without having arrived.
    #[error("this drone departs from a barrier at which it has not arrived")]
    NotArrived,
}

/// A peer said something that no correct drone says. The driver closes its link and names it.
///
/// ```
/// use hivemind_protocol::{DroneId, Misbehaviour};
/// let (peer, what) = (DroneId(1), "it grants a lock twice".to_owned());
/// let told = Misbehaviour { peer, what }.to_string();
/// assert_eq!(told, "drone 1 broke the protocol: it grants a lock twice");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{peer} broke the protocol: {what}")]
pub struct Misbehaviour {
    /// Who.
    pub peer: DroneId,
    /// What it did.
    pub what: String,
}

impl core::fmt::Display for MeetingKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Barrier(id) => write!(f, "{id}"),
            Self::Split(id) => write!(f, "{id} in two calls"),
            Self::Broadcast { root, bytes } => {
                write!(f, "a broadcast of {bytes} bytes from {root}")
            }
            Self::Reduce { bytes } => write!(f, "a reduction of {bytes} bytes"),
            Self::Allocate { bytes, align } => {
                write!(f, "an allocation of {bytes} bytes aligned to {align}")
            }
            Self::Free(address) => write!(f, "a free of {address}"),
            Self::Leave => write!(f, "its end (leave)"),
        }
    }
}
