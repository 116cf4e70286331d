//! A deterministic simulator that drives the shipped protocol core: any number of drones in one thread, in
//! virtual time, from a seed.
//!
//! [`Plan`] draws a world and a random program without data races from a seed; [`Run`] executes it on
//! [`World`] (cores, simulated memories, a network of FIFO links) while [`Oracle`] judges every access and
//! every call; [`check`] does all that for one seed and catches what panics. Short written scenarios with
//! exact message counts are run by [`scenario`].
//!
//! Deliberately elsewhere: the protocol itself (`hivemind-protocol`). Nothing here sees a socket, a mapping,
//! a clock or a thread.

#![forbid(unsafe_code)]

mod books;
mod check;
mod expand;
pub mod explore;
mod finding;
mod hostile;
mod layout;
mod lie;
mod memory;
mod network;
mod oracle;
mod plan;
mod prng;
mod program;
mod run;
pub mod scenario;
mod script;
mod shadow;
mod shrink;
mod start;
mod state;
mod thread;
mod total;
mod trace;
mod world;

pub use check::{Failed, Replayed, Show, check, replay};
pub use finding::{Finding, Verdict};
pub use hostile::{Frame, Hostilities, Hostility};
pub use layout::{Cell, Freedom, Guard, Ingredients, Layout};
pub use memory::{Blocked, RacingStore, SimMemory};
pub use network::{Network, Parcel, Weather};
pub use oracle::{Oracle, Together};
pub use plan::Plan;
pub use prng::Prng;
pub use program::{Amount, Deed, End, Item, Phase, Program, Touch, Work, Wrong};
pub use run::{Faults, Report, Run};
pub use shrink::{Shrunk, shrink};
pub use total::Total;
pub use trace::{About, Trace, Wanted};
pub use world::{Completed, Happening, Started, World, WorldPlan};
