//! The rules that a log must keep for ShiViz to show what happened. ShiViz itself checks none of them: it shows a
//! broken log, wrongly. What the protocol promises beyond is checked in `promise`.

use crate::shiviz::{EVENTS_MOST, PARSER, parse_clock_line};
use crate::{Entry, TraceClock};
use std::collections::BTreeMap;
use std::fmt;

/// A rule.
///
/// ```
/// use hivemind_trace::{Rule, check};
/// assert_eq!(check("no log").unwrap_err().rule, Rule::Parser);
/// ```
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
    /// What is received was sent, before.
    Sent,
    /// A link carries messages in the order in which they were sent, each once.
    Order,
    /// A wait that is over had begun; no thread waits twice at once.
    Waits,
    /// Nobody goes on from a meeting before all have come to it.
    Meetings,
    /// A lock is had by one drone at a time, and whoever takes it knows that the one before let it go.
    Locks,
}

/// A broken rule.
///
/// ```
/// use hivemind_trace::{check, shiviz};
/// let breach = check(&(shiviz::head() + "d0 {\"d0\":1}\n")).unwrap_err();
/// assert_eq!(breach.to_string(), "line 3: TwoLines: the event has no text");
/// ```
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
///
/// ```
/// use hivemind_trace::{check, shiviz};
/// let log = shiviz::head() + "d0 {\"d0\":1}\nstarts\n";
/// let summary = check(&log)?;
/// assert_eq!((summary.entries.len(), summary.events[&0]), (1, 1));
/// # Ok::<(), hivemind_trace::Breach>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Its events, in the order of the log.
    pub entries: Vec<Entry>,
    /// For each host, how many events.
    pub events: BTreeMap<u32, u64>,
}

/// A log as far as it can be read.
///
/// ```
/// use hivemind_trace::{Reading, read, shiviz};
/// let log = shiviz::head() + "d0 {\"d0\":1}\nstarts\n";
/// let Reading { events, breach } = read(&log);
/// assert_eq!((events.len(), breach), (1, None));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// The events up to the first breach, in the order of the log.
    pub events: Vec<Located>,
    /// What ends it early.
    pub breach: Option<Breach>,
}

/// An event and where it stands.
///
/// ```
/// use hivemind_trace::{read, shiviz};
/// let log = shiviz::head() + "d0 {\"d0\":1}\nstarts\n";
/// let first = &read(&log).events[0];
/// assert_eq!((first.line, &*first.entry.text), (3, "starts"));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located {
    /// Its first line, counted from 1.
    pub line: usize,
    /// The event.
    pub entry: Entry,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {:?}: {}", self.line, self.rule, self.what)
    }
}

impl std::error::Error for Breach {}

/// Checks a log that is to be shown against the rules of its form and of clocks, from [`Rule::Parser`] to
/// [`Rule::Length`].
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
    let Reading { events, breach } = read(log);
    if let Some(Located { line, .. }) = events.get(EVENTS_MOST) {
        let what = format!("more than {EVENTS_MOST} events: cut a window");
        return Err(breach_at(*line, Rule::Length, what));
    }
    if let Some(breach) = breach {
        return Err(breach);
    }
    check_clocks(&[&events]).map_err(|(_, breach)| breach)?;
    let mut summary = Summary {
        entries: Vec::with_capacity(events.len()),
        events: BTreeMap::new(),
    };
    for Located { entry, .. } in events {
        *summary.events.entry(entry.host).or_default() += 1;
        summary.entries.push(entry);
    }
    Ok(summary)
}

/// Reads a log, and holds it to the rules that need no other log: from [`Rule::Parser`] to [`Rule::OwnTime`]. A drone that
/// is killed leaves a log that breaks off; what stands before is still of use.
///
/// ```
/// use hivemind_trace::{read, shiviz};
/// let log = shiviz::head() + "d0 {\"d0\":1}\nstarts\nd0 {\"d0\"";
/// let reading = read(&log);
/// assert_eq!(reading.events[0].entry.text, "starts");
/// assert_eq!(reading.breach.map(|breach| breach.line), Some(5));
/// ```
pub fn read(log: &str) -> Reading {
    let mut reading = Reading {
        events: Vec::new(),
        breach: None,
    };
    if let Err(breach) = reading.take_all(log) {
        reading.breach = Some(breach);
    }
    reading
}

/// Holds the clocks of all hosts together to [`Rule::OthersTime`] and [`Rule::Causality`].
///
/// ```
/// use hivemind_trace::{Rule, check_clocks, read, shiviz};
/// let log = |events: &str| read(&(shiviz::head() + events)).events;
/// let one = log("d0 {\"d0\":1}\nstarts\n");
/// let two = log("d1 {\"d0\":2, \"d1\":1}\nstarts\n");
/// let (at, breach) = check_clocks(&[&one, &two]).unwrap_err();
/// assert_eq!((at, breach.rule), (1, Rule::OthersTime)); // d0 has one event only
/// ```
///
/// # Errors
/// The first breach, and in which of the logs it is.
pub fn check_clocks(logs: &[&[Located]]) -> Result<(), (usize, Breach)> {
    let mut clocks: BTreeMap<u32, Vec<&TraceClock>> = BTreeMap::new();
    for Located { entry, .. } in logs.iter().copied().flatten() {
        clocks.entry(entry.host).or_default().push(&entry.clock);
    }
    let checks = [others_time, causality];
    for check in checks {
        for (log, events) in logs.iter().enumerate() {
            for located in *events {
                check(&clocks, &located.entry)
                    .map_err(|(rule, what)| (log, breach_at(located.line, rule, what)))?;
            }
        }
    }
    Ok(())
}

impl Reading {
    fn take_all(&mut self, log: &str) -> Result<(), Breach> {
        let mut lines = log.lines();
        if lines.next() != Some(PARSER) {
            let what = format!("it must be {PARSER}");
            return Err(breach_at(1, Rule::Parser, what));
        }
        if lines.next().is_some_and(|second| !second.is_empty()) {
            return Err(breach_at(2, Rule::EmptySecond, "it must be empty"));
        }
        let mut times: BTreeMap<u32, u64> = BTreeMap::new();
        let mut line = 3;
        while let Some(first) = lines.next() {
            let entry = read_entry(line, first, lines.next(), &mut times)?;
            self.events.push(Located { line, entry });
            line += 2;
        }
        Ok(())
    }
}

fn read_entry(
    line: usize,
    first: &str,
    text: Option<&str>,
    times: &mut BTreeMap<u32, u64>,
) -> Result<Entry, Breach> {
    let Some(text) = text else {
        return Err(breach_at(line, Rule::TwoLines, "the event has no text"));
    };
    if text.trim().is_empty() {
        return Err(breach_at(line + 1, Rule::TwoLines, "the event has no text"));
    }
    if !first.starts_with('d') || !first.contains('{') {
        let what = format!("`{first}` is no host and clock: did a text break the line?");
        return Err(breach_at(line, Rule::TwoLines, what));
    }
    let (host, clock) =
        parse_clock_line(first).map_err(|what| breach_at(line, Rule::Readable, what))?;
    let next = times.get(&host).copied().unwrap_or(0) + 1;
    if clock.get(host) != next {
        let what = format!(
            "d{host}'s own time is {}, where {next} comes next",
            clock.get(host)
        );
        return Err(breach_at(line, Rule::OwnTime, what));
    }
    times.insert(host, next);
    let text = text.to_owned();
    Ok(Entry { host, clock, text })
}

type Clocks<'a> = BTreeMap<u32, Vec<&'a TraceClock>>;

fn others_time(clocks: &Clocks<'_>, entry: &Entry) -> Result<(), (Rule, String)> {
    for (host, time) in entry.clock.entries() {
        let last = clocks.get(&host).map_or(0, |clocks| clocks.len() as u64);
        if time > last {
            let what = format!("it knows event {time} of d{host}, which has {last}");
            return Err((Rule::OthersTime, what));
        }
    }
    Ok(())
}

/// An event's clock has all that its host knew before, and all that the events it names knew.
fn causality(clocks: &Clocks<'_>, entry: &Entry) -> Result<(), (Rule, String)> {
    for (host, time) in entry.clock.entries() {
        let before = if host == entry.host { time - 1 } else { time };
        let Some(known) = before.checked_sub(1).map(|at| clocks[&host][at as usize]) else {
            continue;
        };
        if !known.is_before(&entry.clock) {
            let what = format!("it knows event {before} of d{host}, but not all before it");
            return Err((Rule::Causality, what));
        }
    }
    Ok(())
}

/// A breach at a line counted from 1.
pub(crate) fn breach_at(line: usize, rule: Rule, what: impl Into<String>) -> Breach {
    Breach {
        line,
        rule,
        what: what.into(),
    }
}
