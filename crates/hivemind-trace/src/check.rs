//! The rules that a log must keep for ShiViz to show what happened. ShiViz itself checks none of them: it shows a
//! broken log, wrongly.

use crate::shiviz::{EVENTS_MOST, PARSER, parse_clock_line};
use crate::{Entry, TraceClock};
use std::collections::BTreeMap;
use std::fmt;

/// A rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// The first line is the parser's expression.
    Parser,
    /// The second line is empty.
    EmptySecond,
    /// Each event has two lines: host and clock, then a text that is not empty.
    TwoLines,
    /// The first of them can be read: a host without a space, a clock of hosts and times from 1 on.
    Readable,
    /// A host's own time starts at 1 and grows by 1 with each of its events, in the order of the log.
    OwnTime,
    /// A clock names only hosts that have events, and no time beyond their last.
    OthersTime,
    /// Whoever knows an event knows all that this event knew.
    Causality,
    /// There are no more events than can be looked at.
    Length,
}

/// A broken rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breach {
    /// The line, counted from 1.
    pub line: usize,
    /// Which rule.
    pub rule: Rule,
    /// What is wrong.
    pub what: String,
}

/// What a good log has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Its events, in the order of the log.
    pub entries: Vec<Entry>,
    /// For each host, how many events.
    pub events: BTreeMap<u32, u64>,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {:?}: {}", self.line, self.rule, self.what)
    }
}

impl std::error::Error for Breach {}

/// Checks a log against every [`Rule`].
///
/// ```
/// use hivemind_trace::{Rule, check, shiviz};
/// let log = format!("{}d0 {{\"d0\":2}}\nbegins\n", shiviz::head());
/// assert_eq!(check(&log).unwrap_err().rule, Rule::OwnTime);
/// ```
///
/// # Errors
/// The first breach.
pub fn check(log: &str) -> Result<Summary, Breach> {
    let lines: Vec<&str> = log.lines().collect();
    if lines.first() != Some(&PARSER) {
        let what = format!("it must be {PARSER}");
        return Err(breach(0, Rule::Parser, what));
    }
    if lines.get(1).is_some_and(|second| !second.is_empty()) {
        return Err(breach(1, Rule::EmptySecond, "it must be empty"));
    }
    let mut summary = Summary {
        entries: Vec::new(),
        events: BTreeMap::new(),
    };
    for (at, pair) in lines.get(2..).unwrap_or_default().chunks(2).enumerate() {
        let line = 2 + 2 * at;
        if at >= EVENTS_MOST {
            let what = format!("more than {EVENTS_MOST} events: cut a window");
            return Err(breach(line, Rule::Length, what));
        }
        summary.take(line, pair)?;
    }
    summary.check_others()?;
    summary.check_causality()?;
    Ok(summary)
}

impl Summary {
    fn take(&mut self, line: usize, pair: &[&str]) -> Result<(), Breach> {
        let [first, text] = *pair else {
            return Err(breach(line, Rule::TwoLines, "the event has no text"));
        };
        if text.trim().is_empty() {
            return Err(breach(line + 1, Rule::TwoLines, "the event has no text"));
        }
        if !first.starts_with('d') || !first.contains('{') {
            let what = format!("`{first}` is no host and clock: did a text break the line?");
            return Err(breach(line, Rule::TwoLines, what));
        }
        let (host, clock) =
            parse_clock_line(first).map_err(|what| breach(line, Rule::Readable, what))?;
        let events = self.events.entry(host).or_default();
        *events += 1;
        if clock.get(host) != *events {
            let what = format!(
                "d{host}'s own time is {}, where {events} comes next",
                clock.get(host)
            );
            return Err(breach(line, Rule::OwnTime, what));
        }
        let text = text.to_owned();
        self.entries.push(Entry { host, clock, text });
        Ok(())
    }

    fn check_others(&self) -> Result<(), Breach> {
        for (at, entry) in self.entries.iter().enumerate() {
            for (host, time) in entry.clock.entries() {
                let last = self.events.get(&host).copied().unwrap_or(0);
                if time > last {
                    let what = format!("it knows event {time} of d{host}, which has {last}");
                    return Err(breach(2 + 2 * at, Rule::OthersTime, what));
                }
            }
        }
        Ok(())
    }

    /// Each event's clock has all that its host knew before, and all that the events it names knew.
    fn check_causality(&self) -> Result<(), Breach> {
        let mut clocks: BTreeMap<u32, Vec<&TraceClock>> = BTreeMap::new();
        for entry in &self.entries {
            clocks.entry(entry.host).or_default().push(&entry.clock);
        }
        for (at, entry) in self.entries.iter().enumerate() {
            for (host, time) in entry.clock.entries() {
                let before = if host == entry.host { time - 1 } else { time };
                let Some(known) = before.checked_sub(1).map(|at| clocks[&host][at as usize]) else {
                    continue;
                };
                if !known.is_before(&entry.clock) {
                    let what = format!("it knows event {before} of d{host}, but not all before it");
                    return Err(breach(2 + 2 * at, Rule::Causality, what));
                }
            }
        }
        Ok(())
    }
}

/// A breach at a line counted from 0.
fn breach(line: usize, rule: Rule, what: impl Into<String>) -> Breach {
    Breach {
        line: line + 1,
        rule,
        what: what.into(),
    }
}
