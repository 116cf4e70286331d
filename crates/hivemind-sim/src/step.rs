//! The steps of a thread: what a program's items are made into (`expand`), and what is executed (`run`).

use crate::program::{End, Touch};
use hivemind_protocol::{
    Address, Command, ConditionId, DroneId, LockId, Meeting, PageRun, Refusal,
};

/// The smallest thing that a thread does.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Step {
    Compute(u64),
    Load {
        at: Address,
        bytes: u64,
        begun: bool,
    },
    Store {
        at: Address,
        content: Vec<u8>,
    },
    /// Stores what was loaded last, each byte plus one.
    StoreIncremented {
        at: Address,
    },
    Acquire(LockId),
    /// What is done if it is taken, before it is let go.
    Try(LockId, Vec<Step>),
    Release(LockId),
    Wait(LockId, ConditionId),
    /// Whether all are woken.
    Signal(LockId, ConditionId, bool),
    Meet(Meeting, Purpose),
    Depart,
    Allocate {
        bytes: u64,
        align: u64,
    },
    Measure(Address),
    Free(Address),
    Prefetch(PageRun),
    /// A call that must be refused like this.
    Refused(Command, Refusal),
    /// Goes on as what was loaded or allocated says.
    Decide(Decision),
    /// Waits until the helper has done its part of the phase.
    Join,
}

/// Why a collective call is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// To allocate the area.
    Area,
    /// The end of a phase.
    PhaseEnd(End),
    /// To be refused.
    Mismatch,
    /// Before all is read, and after.
    Closing,
}

/// What depends on what was loaded or allocated.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Decision {
    Pass {
        baton: usize,
        next: DroneId,
        outside: bool,
        touches: Vec<Touch>,
    },
    Fill {
        slot: usize,
        bytes: u64,
        align: u64,
        content: Vec<u8>,
    },
    Filled {
        slot: usize,
        bytes: u64,
        content: Vec<u8>,
    },
    Use {
        place: u64,
        content: Vec<u8>,
    },
    Empty {
        slot: usize,
    },
    Own {
        content: Vec<u8>,
        frees: bool,
    },
    Put {
        shelf: usize,
        condition: u32,
        all: bool,
    },
    Take {
        shelf: usize,
        condition: u32,
    },
    Close {
        shelf: usize,
    },
}
