//! The form that ShiViz reads (Beschastnikh et al., CACM 59(8), 2016; GoVector writes the same): the parser's expression
//! in the first line, an empty second one, then two lines an event: `d0 {"d0":2, "d1":2}` and what happened.

use crate::{Entry, TraceClock};
use std::fmt::Write;

/// The expression that tells ShiViz how to read the rest; the first line of a log.
///
/// ```
/// assert!(hivemind_trace::shiviz::PARSER.contains("(?<clock>"));
/// ```
pub const PARSER: &str = r"(?<host>\S*) (?<clock>{.*})\n(?<event>.*)";

/// ShiViz becomes unusable with many more events than this: cut a window.
///
/// ```
/// assert!(hivemind_trace::shiviz::EVENTS_MOST >= 10_000);
/// ```
pub const EVENTS_MOST: usize = 20_000;

/// What stands in front of all events.
///
/// ```
/// use hivemind_trace::{check, shiviz};
/// assert!(check(&shiviz::head()).is_ok()); // a log without events
/// ```
pub fn head() -> String {
    format!("{PARSER}\n\n")
}

/// The two lines of an event. Line breaks in its text become spaces: what stands behind one would vanish in silence.
///
/// ```
/// use hivemind_trace::{Entry, shiviz};
/// let entry = Entry { host: 0, clock: [(0, 2), (1, 2)].into_iter().collect(), text: "sends\nall".into() };
/// assert_eq!(shiviz::event(&entry), "d0 {\"d0\":2, \"d1\":2}\nsends all\n");
/// ```
pub fn event(entry: &Entry) -> String {
    let mut lines = String::new();
    event_to(&mut lines, entry);
    lines
}

/// The same, behind what is in `lines`.
///
/// ```
/// use hivemind_trace::{Entry, check, shiviz};
/// let entry = Entry { host: 0, clock: [(0, 1)].into_iter().collect(), text: "starts".into() };
/// let mut log = shiviz::head();
/// shiviz::event_to(&mut log, &entry);
/// assert_eq!(check(&log).unwrap().entries, [entry]);
/// ```
pub fn event_to(lines: &mut String, entry: &Entry) {
    let _ = write!(lines, "d{} {{", entry.host);
    for (at, (host, time)) in entry.clock.entries().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        let _ = write!(lines, "{comma}\"d{host}\":{time}");
    }
    lines.push_str("}\n");
    lines.extend(entry.text.chars().map(|letter| match letter {
        '\n' | '\r' => ' ',
        other => other,
    }));
    lines.push('\n');
}

/// A whole log.
///
/// ```
/// use hivemind_trace::{Entry, check, shiviz};
/// let entry = Entry { host: 0, clock: [(0, 1)].into_iter().collect(), text: "starts".into() };
/// let log = shiviz::write(std::slice::from_ref(&entry));
/// assert_eq!(check(&log).unwrap().entries, [entry]);
/// ```
pub fn write(entries: &[Entry]) -> String {
    let mut log = head();
    log.extend(entries.iter().map(event));
    log
}

/// The host and clock of an event's first line.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn parse_clock_line(line: &str) -> Result<(u32, TraceClock), String> {
    let (name, clock) = line.split_once(' ').ok_or("no host and clock")?;
    let host = parse_host(name)?;
    let json: serde_json::Value =
        serde_json::from_str(clock).map_err(|error| format!("the clock is no JSON: {error}"))?;
    let object = json.as_object().ok_or("the clock is no JSON object")?;
    let mut times = Vec::new();
    for (name, time) in object {
        let time = time.as_u64().filter(|time| *time > 0);
        let time = time.ok_or_else(|| format!("the time of {name} is no number from 1 on"))?;
        times.push((parse_host(name)?, time));
    }
    Ok((host, times.into_iter().collect()))
}

fn parse_host(name: &str) -> Result<u32, String> {
    let digits = name.strip_prefix('d').filter(|digits| {
        let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
        plain && (*digits == "0" || !digits.starts_with('0'))
    });
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| format!("`{name}` is no host; they are called d0, d1 …"))
}
