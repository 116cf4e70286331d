//! Traces of a hive, simulated or real: who did what, and what had happened before it.
//!
//! [`TraceClock`] is the vector clock of a trace, [`Entry`] an event with its clock, [`shiviz`] writes and reads the
//! form that ShiViz reads, [`check`] holds a log to all rules of that form (ShiViz itself checks none), [`merge`] puts
//! the logs of several drones in one order, and [`cut`] takes a window out of a trace such that the rest is a trace
//! again. [`Words`] and [`Happening`] are how a drone's trace says what happened, and [`check_promises`] what the
//! protocol promises, read from that.
//!
//! Pure. Deliberately elsewhere: what is traced (the simulator, the driver), and the core's own timestamps
//! (`VectorTimestamp` in `hivemind-protocol`), which count other things and start again with each epoch.

#![forbid(unsafe_code)]

mod check;
mod clock;
mod cut;
mod happening;
mod merge;
mod promise;
pub mod shiviz;

pub use check::{Breach, Located, Reading, Rule, Summary, check, check_clocks, read};
pub use clock::TraceClock;
pub use cut::cut;
pub use happening::{Happening, Words};
pub use merge::merge;
pub use promise::check_promises;

/// An event of a trace.
///
/// ```
/// use hivemind_trace::{Entry, TraceClock};
/// let mut clock = TraceClock::new();
/// clock.tick(3);
/// let entry = Entry { host: 3, clock, text: "starts".into() };
/// assert_eq!(entry.clock.get(entry.host), 1); // the first event of d3
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where it happened; its name in a log is `d` and this number.
    pub host: u32,
    /// Which events happened before it, itself included.
    pub clock: TraceClock,
    /// What happened, in words.
    pub text: String,
}
