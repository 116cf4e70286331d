//! A timeline in the JSON form of trace events that Perfetto and chrome://tracing read: a process a drone, a track a
//! thread with its waits, a track for messages and what the protocol does, and an arrow a message.

use std::collections::{BTreeMap, BTreeSet};

use hivemind_trace::{Entry, Happening};
use serde_json::{Map, Value, json};

use super::logs::message;

/// The track of messages, behind those of threads.
const PROTOCOL_TRACK: u64 = 1_000_000;

/// How long a message's slice looks: arrows need something to be fixed to.
const MESSAGE_NS: u64 = 1_000;

/// The timeline of these events.
pub(super) fn write(entries: &[Entry]) -> String {
    let mut timeline = Timeline {
        arrows: arrows(entries),
        next_ns: next_times(entries),
        events: Vec::new(),
        threads: BTreeSet::new(),
        waits: BTreeMap::new(),
        last_ns: 0,
    };
    for (at, entry) in entries.iter().enumerate() {
        timeline.take(at, entry);
    }
    timeline.end_waits();
    timeline.name_tracks();
    let all = json!({ "displayTimeUnit": "ns", "traceEvents": timeline.events });
    format!("{all}\n")
}

struct Timeline {
    /// Messages of which both halves are here.
    arrows: BTreeSet<(u32, u32, u64)>,
    /// For each event, when the next one of its drone is.
    next_ns: Vec<Option<u64>>,
    events: Vec<Value>,
    threads: BTreeSet<(u32, u64)>,
    /// Waits that are not over, by drone and ticket.
    waits: BTreeMap<(u32, u64), Wait>,
    last_ns: u64,
}

struct Wait {
    name: String,
    thread: u64,
    since_ns: u64,
}

impl Timeline {
    fn take(&mut self, at: usize, entry: &Entry) {
        let happening = Happening::read(&entry.text);
        let Some(at_ns) = happening.time_ns("at_us") else {
            return;
        };
        self.last_ns = self.last_ns.max(at_ns);
        match happening.kind() {
            "sends" | "gets" => self.message(at, entry, at_ns),
            "waits" => {
                let (Some(ticket), Some(thread)) =
                    (happening.number("ticket"), happening.number("thread"))
                else {
                    return;
                };
                let wait = Wait {
                    name: wait_name(&happening),
                    thread,
                    since_ns: at_ns,
                };
                self.waits.insert((entry.host, ticket), wait);
            }
            "resumes" => self.resume(entry, at_ns),
            _ => {
                let mut event = event("i", &happening.brief(), entry.host, PROTOCOL_TRACK, at_ns);
                event.insert("s".into(), "t".into());
                event.insert("cat".into(), happening.kind().into());
                event.insert("args".into(), arguments(&happening));
                self.events.push(event.into());
            }
        }
    }

    fn message(&mut self, at: usize, entry: &Entry, at_ns: u64) {
        let happening = Happening::read(&entry.text);
        let longest = self.next_ns[at].map_or(MESSAGE_NS, |next| next.saturating_sub(at_ns));
        let name = format!("{} {}", happening.kind(), happening.name());
        let mut slice = event("X", &name, entry.host, PROTOCOL_TRACK, at_ns);
        slice.insert("dur".into(), us(longest.clamp(1, MESSAGE_NS)));
        slice.insert("cat".into(), "message".into());
        slice.insert("args".into(), arguments(&happening));
        self.events.push(slice.into());
        let Some((sends, (from, to), no)) = message(entry) else {
            return;
        };
        if self.arrows.contains(&(from, to, no)) {
            let kind = if sends { "s" } else { "f" };
            let mut arrow = event(kind, "message", entry.host, PROTOCOL_TRACK, at_ns);
            arrow.insert("cat".into(), "message".into());
            arrow.insert("id".into(), format!("d{from}>d{to} {no}").into());
            if !sends {
                arrow.insert("bp".into(), "e".into());
            }
            self.events.push(arrow.into());
        }
    }

    fn resume(&mut self, entry: &Entry, at_ns: u64) {
        let happening = Happening::read(&entry.text);
        let (Some(ticket), Some(thread)) = (happening.number("ticket"), happening.number("thread"))
        else {
            return;
        };
        let begun = self.waits.remove(&(entry.host, ticket));
        let waited_ns = happening.time_ns("waited_us").unwrap_or(0);
        let since_ns = begun.map_or(at_ns.saturating_sub(waited_ns), |wait| wait.since_ns);
        self.threads.insert((entry.host, thread));
        let mut slice = event("X", &wait_name(&happening), entry.host, thread, since_ns);
        slice.insert("dur".into(), us(at_ns - since_ns));
        slice.insert("cat".into(), category(happening.name()).into());
        slice.insert("args".into(), arguments(&happening));
        self.events.push(slice.into());
    }

    /// Waits that did not end in this trace last to its end.
    fn end_waits(&mut self) {
        for ((host, _), wait) in std::mem::take(&mut self.waits) {
            self.threads.insert((host, wait.thread));
            let mut slice = event("X", &wait.name, host, wait.thread, wait.since_ns);
            slice.insert("dur".into(), us(self.last_ns - wait.since_ns));
            slice.insert("cat".into(), "unfinished".into());
            slice.insert("args".into(), json!({ "unfinished": true }));
            self.events.push(slice.into());
        }
    }

    fn name_tracks(&mut self) {
        let hosts: BTreeSet<u64> = self
            .events
            .iter()
            .filter_map(|event| event["pid"].as_u64())
            .collect();
        for host in hosts {
            let name = |kind: &str, track: u64, name: String| json!({ "ph": "M", "name": kind, "pid": host, "tid": track, "args": { "name": name } });
            let threads = self
                .threads
                .range((host as u32, 0)..=(host as u32, u64::MAX));
            let threads =
                threads.map(|(_, thread)| name("thread_name", *thread, format!("thread {thread}")));
            let mut names: Vec<Value> = threads.collect();
            names.push(name("process_name", 0, format!("drone {host}")));
            names.push(name(
                "thread_name",
                PROTOCOL_TRACK,
                "messages and protocol".into(),
            ));
            names.push(json!({ "ph": "M", "name": "process_sort_index", "pid": host, "args": { "sort_index": host } }));
            self.events.extend(names);
        }
    }
}

/// What a wait is called: `read page 12`, `acquire lock 3`, `barrier`.
pub(super) fn wait_name(wait: &Happening<'_>) -> String {
    let name = wait.name();
    match (wait.get("pages"), wait.get("lock")) {
        (Some(pages), _) => format!("{name} page {pages}"),
        (_, Some(lock)) => format!("{name} lock {lock}"),
        _ => name.to_owned(),
    }
}

/// What kind of wait it is.
pub(super) fn category(name: &str) -> &'static str {
    match name {
        "read" | "write" => "fault",
        "acquire" => "lock",
        "allocate" | "measure" | "free" => "heap",
        _ => "meeting",
    }
}

/// Messages of which both halves are among these events.
pub(super) fn arrows(entries: &[Entry]) -> BTreeSet<(u32, u32, u64)> {
    let half = |wanted: bool| {
        let halves = entries.iter().filter_map(message);
        let halves = halves.filter(move |half| half.0 == wanted);
        let halves: BTreeSet<_> = halves.map(|(_, (from, to), no)| (from, to, no)).collect();
        halves
    };
    half(true).intersection(&half(false)).copied().collect()
}

fn next_times(entries: &[Entry]) -> Vec<Option<u64>> {
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    let mut times: Vec<Option<u64>> = Vec::with_capacity(entries.len());
    for entry in entries.iter().rev() {
        let own = Happening::read(&entry.text).time_ns("at_us");
        times.push(next.get(&entry.host).copied());
        next.extend(own.map(|own| (entry.host, own)));
    }
    times.reverse();
    times
}

fn event(kind: &str, name: &str, host: u32, track: u64, at_ns: u64) -> Map<String, Value> {
    let mut event = Map::new();
    event.insert("ph".into(), kind.into());
    event.insert("name".into(), name.into());
    event.insert("pid".into(), host.into());
    event.insert("tid".into(), track.into());
    event.insert("ts".into(), us(at_ns));
    event
}

fn arguments(happening: &Happening<'_>) -> Value {
    let fields = happening.fields().filter(|(name, _)| *name != "at_us");
    let number = |value: &str| {
        value
            .parse::<u64>()
            .map_or_else(|_| value.into(), Value::from)
    };
    Value::Object(
        fields
            .map(|(name, value)| (name.to_owned(), number(value)))
            .collect(),
    )
}

/// Trace events count in µs.
fn us(ns: u64) -> Value {
    (ns as f64 / 1000.0).into()
}
