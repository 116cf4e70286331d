//! Traces of a hive, simulated or real: who did what, and what had happened before it.
//!
//! [`TraceClock`] is the vector clock of a trace, [`Entry`] an event with its clock, [`shiviz`] writes and reads the
//! form that ShiViz reads, [`check`] holds a log to all rules of that form (ShiViz itself checks none), and [`cut`]
//! takes a window out of a trace such that the rest is a trace again.
//!
//! Pure. Deliberately elsewhere: what is traced (the simulator, the driver), and the core's own timestamps
//! (`VectorTimestamp` in `hivemind-protocol`), which count other things and start again with each epoch.

#![forbid(unsafe_code)]

mod check;
mod clock;
mod cut;
pub mod shiviz;

pub use check::{Breach, Rule, Summary, check};
pub use clock::TraceClock;
pub use cut::cut;

/// An event of a trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where it happened; its name in a log is `d` and this number.
    pub host: u32,
    /// Which events happened before it, itself included.
    pub clock: TraceClock,
    /// What happened, in words.
    pub text: String,
}
