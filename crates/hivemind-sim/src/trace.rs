//! What happened, for people and for comparison: a hash of everything, and when asked for, the last events
//! in words. The state of drones is elsewhere.

use hivemind_protocol::{DroneId, Effect, Event, Message, PageCopy, VectorTimestamp};
use std::collections::VecDeque;

/// A record of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: Option<VecDeque<String>>,
    most: usize,
}

impl Trace {
    /// A trace that only hashes.
    pub fn hash_only() -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            lines: None,
            most: 0,
        }
    }

    /// A trace that also keeps the last `most` lines.
    pub fn recording(most: usize) -> Self {
        Self {
            lines: Some(VecDeque::new()),
            most,
            ..Self::hash_only()
        }
    }

    /// The hash of all that happened so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Mixes a number into the hash.
    pub fn mix(&mut self, number: u64) {
        let mut mixed = self.hash.rotate_left(23) ^ number;
        self.hash = crate::prng::splitmix(&mut mixed);
    }

    /// Mixes bytes into the hash.
    pub fn mix_bytes(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(u64::from_le_bytes(
                word.try_into().expect("a chunk of eight"),
            ));
        }
        for byte in words.remainder() {
            self.mix(u64::from(*byte));
        }
        self.mix(bytes.len() as u64);
    }

    /// Adds a line, if lines are kept.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            if lines.len() == self.most {
                lines.pop_front();
            }
            lines.push_back(line());
        }
    }

    /// The lines kept.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flatten().map(String::as_str)
    }
}

/// An event in words.
pub(crate) fn describe_event(event: &Event) -> String {
    match event {
        Event::Fault { page, kind, ticket } => format!("faults: {kind:?} of {page} ({ticket})"),
        Event::Command { command, ticket } => format!("calls {command:?} ({ticket})"),
        Event::Message { from, message } => {
            format!("gets from {from}: {}", describe_message(message))
        }
        Event::Lost { drone } => format!("loses {drone}"),
    }
}

/// An effect in words.
pub(crate) fn describe_effect(effect: &Effect) -> String {
    match effect {
        Effect::Send { to, message } => format!("  sends to {to}: {}", describe_message(message)),
        Effect::Complete { ticket, result } => format!("  completes {ticket}: {result:?}"),
    }
}

/// A message in words: page bytes and diffs by their size only.
pub(crate) fn describe_message(message: &Message) -> String {
    match message {
        Message::PageReply {
            epoch,
            known,
            pages,
        } => {
            let copy = |copy: &PageCopy| format!("{} without {:?}", copy.page, copy.without);
            let pages: Vec<String> = pages.iter().map(copy).collect();
            let knows = describe_clock(known);
            format!(
                "PageReply {{ {epoch}, knows {knows}, [{}] }}",
                pages.join(", ")
            )
        }
        Message::DiffReply {
            epoch,
            page,
            upto,
            diffs,
        } => {
            let diffs: Vec<String> = diffs
                .iter()
                .map(|(index, diff)| format!("{}: {:?}", index.0, describe_runs(diff)))
                .collect();
            format!(
                "DiffReply {{ {epoch}, {page}, upto {}, [{}] }}",
                upto.0,
                diffs.join(", ")
            )
        }
        Message::Flush { epoch, pages } => {
            let pages: Vec<String> = pages
                .iter()
                .flat_map(|(page, diffs)| {
                    diffs.iter().map(move |(index, diff)| {
                        format!("{page} of {}: {:?}", index.0, describe_runs(diff))
                    })
                })
                .collect();
            format!("Flush {{ {epoch}, [{}] }}", pages.join(", "))
        }
        other => format!("{other:?}"),
    }
}

fn describe_clock(known: &VectorTimestamp) -> String {
    let entries = known.entries().iter();
    let entries: Vec<String> = entries
        .map(|(drone, index)| format!("{}:{}", drone.0, index.0))
        .collect();
    format!("[{}]", entries.join(" "))
}

/// The runs of a diff as (offset, count), the first few.
fn describe_runs(diff: &hivemind_protocol::Diff) -> Vec<(u16, u16)> {
    diff.runs()
        .iter()
        .take(6)
        .map(|run| (run.offset, run.count))
        .collect()
}

/// A line of the record.
pub(crate) fn line(now_us: u64, drone: DroneId, what: &str) -> String {
    format!("{now_us:>10} µs  {drone}  {what}")
}
