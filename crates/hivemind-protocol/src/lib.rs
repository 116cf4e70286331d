//! The protocol core of HiveMind: lazy release consistency anchored at homes.
//!
//! [`Core`] is a value. It takes [`Event`]s and gives [`Effect`]s; it changes local memory through the
//! [`Memory`] trait and reaches others only through effects. Here lives everything that decides: intervals,
//! write notices, twins, diffs, the page table, locks, meetings (barriers and the other collective calls),
//! the heap, collection, and the wire form of every message.
//!
//! Deliberately elsewhere: sockets, threads, clocks, real memory and signal handlers (`hivemind-memory`,
//! `hivemind`), and the simulator that drives this very code with seeds (`hivemind-sim`).

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[macro_use]
mod shown;
mod spare;
mod split;

mod again;
mod ahead;
mod anew;
mod clock;
mod collect;
mod condition;
mod core;
mod diff;
mod dispatch;
mod early;
mod economies;
mod encryption;
mod envelope;
mod epoch;
mod event;
mod failure;
mod fault;
mod fetch;
mod freed;
mod gathering;
mod grant;
mod heap;
mod homecoming;
mod ids;
mod inspect;
mod interval;
mod kernels;
mod left;
mod lock;
mod mask;
mod meeting;
mod membership;
mod memory;
mod message;
mod mutant;
mod note;
mod page;
mod page_map;
mod prefetch;
mod push;
mod rhythm;
mod runs;
mod serve;
mod stats;
mod transport;
mod tree;
mod trial;
mod walk;
mod wire;
mod written;

pub use crate::clock::VectorTimestamp;
pub use crate::core::{Core, CoreConfig};
pub use crate::diff::{Diff, Run};
pub use crate::economies::Economies;
pub use crate::encryption::Encryption;
pub use crate::envelope::{Breach, Envelope, Opener, Sealer};
pub use crate::event::{Command, Effect, Event, Meeting, MeetingKind, Outcome};
pub use crate::failure::{Failure, Misbehaviour, Refusal};
pub use crate::grant::PAGES_A_GRANT_MOST;
pub use crate::heap::{Block, Heap};
pub use crate::ids::{
    Address, BarrierId, ConditionId, DroneId, EpochId, IntervalId, IntervalIndex, LockId, PageId,
    Ticket,
};
pub use crate::inspect::{Inspection, LockState, PageState};
pub use crate::kernels::Kernels;
pub use crate::mask::{ByteMask, Extent};
pub use crate::membership::{Fact, Membership, Newcomer};
pub use crate::memory::{
    Access, AccessKind, Memory, PAGE_SIZE, PageBuffer, PageBytes, WriteDetection,
};
pub use crate::message::{
    Arrival, Interval, Label, Message, Met, NextWish, PAGES_A_MESSAGE_MOST, PageCopy, Sleeper,
};
#[cfg(hivemind_mutants)]
pub use crate::mutant::choose_mutant;
pub use crate::mutant::{Mutant, mutant};
pub use crate::note::Note;
pub use crate::prefetch::PAGES_A_PREFETCH_MOST;
pub use crate::push::PAGES_PUSHED_MOST;
pub use crate::runs::PageRun;
pub use crate::stats::Stats;
pub use crate::transport::Transport;
pub use crate::tree::FAN_OUT;
pub use crate::wire::WireError;

/// The version of the wire form, and of the rings that drones of one machine share. Two drones that differ in it refuse each other at the start.
///
/// ```
/// println!("protocol {}", hivemind_protocol::PROTOCOL_VERSION);
/// ```
pub const PROTOCOL_VERSION: u32 = 12;
