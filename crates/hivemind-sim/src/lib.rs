//! A deterministic simulator that drives the shipped protocol core: any number of drones in one thread, in
//! virtual time, from a seed.
//!
//! [`Plan`] draws a world and a random program without data races from a seed; `run` executes it on a `world` (cores,
//! simulated memories, a network of FIFO links) while an `oracle` judges every access and every call; [`check`] does
//! all that for one seed and catches what panics. Short written scenarios with exact message counts are run by
//! [`scenario`], every order of events in small worlds by [`explore`]. What larger hives than any at hand would do, and how
//! fast they would be, says [`model`].
//!
//! Deliberately elsewhere: the protocol itself (`hivemind-protocol`). Nothing here sees a socket, a mapping,
//! a clock or a thread.

#![forbid(unsafe_code)]

#[macro_use]
mod shown;

mod books;
mod check;
mod expand;
pub mod explore;
mod finding;
mod hostile;
mod layout;
mod lie;
mod memory;
pub mod model;
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
mod step;
mod thread;
mod total;
mod trace;
mod world;

pub use check::{Failed, Replayed, Show, check, replay};
pub use finding::Finding;
pub use hostile::{Hostilities, Hostility};
pub use layout::{Cell, Guard, Layout};
pub use memory::{Blocked, SimMemory, Watch};
pub use network::Weather;
pub use plan::Plan;
pub use program::{Deed, End, Item, Phase, Program, Touch, Work, Wrong};
pub use run::{Faults, Report};
pub use shrink::{Shrunk, shrink};
pub use total::Total;
pub use trace::Wanted;
pub use world::WorldPlan;
