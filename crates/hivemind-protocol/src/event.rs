//! What goes into the core and what comes out: two arms, no back and forth.

use crate::{
    AccessKind, Address, BarrierId, Block, ConditionId, DroneId, Failure, LockId, Message, PageId,
    PageRun, Refusal, Ticket,
};
use alloc::vec::Vec;

/// Something that happened to this drone. [`Core`](crate::Core) shows how events go in and effects come out.
///
/// ```
/// use hivemind_protocol::{AccessKind, Event, PageId, Ticket};
/// let event = Event::Fault { page: PageId(3), kind: AccessKind::Write, ticket: Ticket(1) };
/// println!("{event:?}");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Event {
    /// The program touched a page it may not. Completes with [`Outcome::Done`] when it may: touch again.
    Fault {
        /// Which page.
        page: PageId,
        /// What it tried.
        kind: AccessKind,
        /// Whom to complete.
        ticket: Ticket,
    },
    /// The program calls.
    Command {
        /// What it wants.
        command: Command,
        /// Whom to complete.
        ticket: Ticket,
    },
    /// A message arrived. Messages of one peer must come in the order in which it sent them.
    Message {
        /// The peer that sent it.
        from: DroneId,
        /// What it says.
        message: Message,
    },
    /// A peer is gone before it left. Every wait ends with [`Failure::Lost`], now and from now on.
    Lost {
        /// Who.
        drone: DroneId,
    },
}

/// What a program can ask for. A drone has at most one `Acquire`, `TryAcquire`, `Wait` or `Meet` outstanding at any time.
///
/// ```
/// use hivemind_protocol::{Command, Event, LockId, Ticket};
/// let command = Command::Acquire(LockId(4));
/// println!("{:?}", Event::Command { command, ticket: Ticket(1) });
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Command {
    /// Take a lock. Completes with `Done` once this drone holds it and sees what its last holder saw.
    Acquire(LockId),
    /// Take a lock if nobody holds it or is in line for it. Completes with `Done` as [`Acquire`](Self::Acquire) does, or
    /// with [`Outcome::Unavailable`].
    TryAcquire(LockId),
    /// Let a lock go. Completes at once.
    Release(LockId),
    /// Let a lock go that is held, and sleep until somebody signals this condition of it. Completes with `Done` once
    /// this drone holds the lock again and sees what its last holder saw.
    Wait {
        /// The lock.
        lock: LockId,
        /// Which of its conditions.
        condition: ConditionId,
    },
    /// Wake who sleeps until this condition of a lock that is held: the drone that sleeps longest. Completes at once,
    /// whether or not anybody sleeps; the woken wait for the lock.
    Signal {
        /// The lock.
        lock: LockId,
        /// Which of its conditions.
        condition: ConditionId,
        /// Whether all that sleep are woken, not only the first.
        all: bool,
    },
    /// Take part in a collective call. Completes with [`Outcome::Met`] when all drones take part in it; in a [split
    /// barrier](MeetingKind::Split) with `Done`, as soon as this drone has arrived.
    Meet(Meeting),
    /// Come to the end of the split barrier in which the program takes part. Completes with [`Outcome::Met`] when all drones
    /// have arrived at it; only then does the program see what they wrote before they did.
    Depart,
    /// Begin to fetch those of these pages that are not here, [the first so many](crate::PAGES_A_PREFETCH_MOST) of them. Completes
    /// with `Done` at once; whoever touches one of them later waits only for what has not come.
    Prefetch(PageRun),
    /// Get memory. Completes with [`Outcome::Allocated`].
    Allocate {
        /// How many bytes; 0 counts as 1.
        bytes: u64,
        /// A power of two.
        align: u64,
    },
    /// Tell how much memory a block has. Completes with [`Outcome::Allocated`], the block not being fresh.
    Measure(Address),
    /// Give memory back. Completes with `Done`.
    Free(Address),
}

/// One drone's part in a collective call: a barrier that can carry a small value from each to all.
///
/// ```
/// use hivemind_protocol::{BarrierId, Command, Meeting, MeetingKind};
/// let kind = MeetingKind::Barrier(BarrierId(0));
/// let command = Command::Meet(Meeting { kind, payload: Vec::new() });
/// println!("{command:?}");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Meeting {
    /// Which call it is. All drones must say the same, or all get [`Refusal::Mismatch`].
    pub kind: MeetingKind,
    /// What this drone brings; all drones get all of these, in the order of the drones.
    pub payload: Vec<u8>,
}

/// The collective calls.
///
/// ```
/// use hivemind_protocol::MeetingKind;
/// let kind = MeetingKind::Reduce { bytes: 8 };
/// assert_eq!(kind.to_string(), "a reduction of 8 bytes");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum MeetingKind {
    /// A barrier, by its name.
    Barrier(BarrierId),
    /// A barrier in two calls, by its name: the program arrives, goes on, and [departs](Command::Depart). In between it takes
    /// no lock and makes no other collective call.
    Split(BarrierId),
    /// A value from `root` to all; `bytes` is its size.
    Broadcast {
        /// Who has the value.
        root: DroneId,
        /// The size of the value's type.
        bytes: u64,
    },
    /// A value from each, folded by each in the order of the drones; `bytes` is a value's size.
    Reduce {
        /// The size of the value's type.
        bytes: u64,
    },
    /// An allocation made by all together.
    Allocate {
        /// How many bytes.
        bytes: u64,
        /// A power of two.
        align: u64,
    },
    /// A block given back by all together.
    Free(Address),
    /// The end: after it, drones close their links.
    Leave,
}

/// Something to do for the driver, in order.
///
/// ```
/// use hivemind_protocol::{Effect, Outcome, Ticket};
/// fn completed(effects: &[Effect]) -> usize {
///     effects.iter().filter(|effect| matches!(effect, Effect::Complete { .. })).count()
/// }
/// assert_eq!(completed(&[Effect::Complete { ticket: Ticket(1), result: Ok(Outcome::Done) }]), 1);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Effect {
    /// Send this to that peer, after all that was sent to it before.
    Send {
        /// The peer; never this drone itself.
        to: DroneId,
        /// What to say.
        message: Message,
    },
    /// A fault or a command is complete.
    Complete {
        /// Whose.
        ticket: Ticket,
        /// How it went.
        result: Result<Outcome, Failure>,
    },
}

/// What a completed ticket brings.
///
/// ```
/// use hivemind_protocol::{Address, Block, Outcome};
/// let outcome = Outcome::Allocated(Block { address: Address(64), bytes: 16, fresh: true });
/// assert_ne!(outcome, Outcome::Done);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Outcome {
    /// It is done.
    Done,
    /// A lock that was tried is held by another drone, or another is in line for it.
    Unavailable,
    /// Memory was found.
    Allocated(Block),
    /// All drones met.
    Met {
        /// What each brought, in the order of the drones.
        payloads: Vec<Vec<u8>>,
        /// For [`MeetingKind::Allocate`]: where the block lies.
        allocated: Option<Block>,
    },
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
