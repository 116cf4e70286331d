//! What many runs did together, for the last line.

use crate::run::Report;
use std::fmt;

/// Sums over runs.
///
/// ```
/// use hivemind_sim::{Plan, Total, check};
/// let mut total = Total::default();
/// for seed in 1..=3 {
///     total.add(&check(&Plan::draw(seed))?);
/// }
/// assert!(total.to_string().starts_with("3 seeds, 0 found"));
/// # Ok::<(), Box<hivemind_sim::Failed>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Total {
    seeds: u64,
    found: u64,
    sum: Report,
}

impl Total {
    /// Adds a run that found nothing.
    ///
    /// ```
    /// use hivemind_sim::{Plan, Total, check};
    /// let mut total = Total::default();
    /// let report = check(&Plan::draw(1))?;
    /// total.add(&report);
    /// total.add(&report);
    /// assert_eq!(total.sum().events, 2 * report.events);
    /// # Ok::<(), Box<hivemind_sim::Failed>>(())
    /// ```
    pub fn add(&mut self, report: &Report) {
        self.seeds += 1;
        let (sum, faults) = (&mut self.sum, report.faults);
        sum.events += report.events;
        sum.messages += report.messages;
        sum.reads_checked += report.reads_checked;
        sum.virtual_us += report.virtual_us;
        sum.collections += report.collections;
        sum.faults.delays += faults.delays;
        sum.faults.stops += faults.stops;
        sum.faults.kills += faults.kills;
        sum.faults.breaks += faults.breaks;
        sum.faults.knocks += faults.knocks;
        sum.faults.races += faults.races;
        let (sum, hostilities) = (&mut sum.hostilities, report.hostilities);
        sum.tampered += hostilities.tampered;
        sum.lies += hostilities.lies;
        sum.detected += hostilities.detected;
        sum.harmless += hostilities.harmless;
        sum.believed += hostilities.believed;
    }

    /// Counts a run that found something.
    ///
    /// ```
    /// let mut total = hivemind_sim::Total::default();
    /// total.add_found();
    /// assert_eq!(total.found(), 1);
    /// ```
    pub fn add_found(&mut self) {
        self.found += 1;
    }

    /// How many runs found something.
    ///
    /// ```
    /// let total = hivemind_sim::Total::default();
    /// assert_eq!(total.found(), 0);
    /// ```
    pub fn found(&self) -> u64 {
        self.found
    }

    /// The sums.
    ///
    /// ```
    /// use hivemind_sim::{Plan, Total, check};
    /// let mut total = Total::default();
    /// total.add(&check(&Plan::draw(2))?);
    /// println!("{} messages", total.sum().messages);
    /// # assert!(total.sum().events > 0);
    /// # Ok::<(), Box<hivemind_sim::Failed>>(())
    /// ```
    pub fn sum(&self) -> &Report {
        &self.sum
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            events,
            messages,
            reads_checked,
            virtual_us,
            collections,
            faults,
            hostilities,
            ..
        } = self.sum;
        write!(
            f,
            "{} seeds, {} found, {events} events, {messages} messages, {collections} collections, {reads_checked} reads checked, \
             faults: {} delays, {} stops, {} kills, {} broken links, {} vain knocks, {} racing stores; ",
            self.seeds + self.found,
            self.found,
            faults.delays,
            faults.stops,
            faults.kills,
            faults.breaks,
            faults.knocks,
            faults.races,
        )?;
        if hostilities.tampered + hostilities.lies > 0 {
            write!(
                f,
                "hostile: {} frames tampered with, {} lies told; {} runs detected it, {} took no harm, {} believed a madman; ",
                hostilities.tampered,
                hostilities.lies,
                hostilities.detected,
                hostilities.harmless,
                hostilities.believed,
            )?;
        }
        write!(f, "{:.1} virtual hours", virtual_us as f64 / 3.6e9)
    }
}
