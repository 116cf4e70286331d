//! What happened, for people and for comparison: a hash of everything, and when asked for, what happened step by step
//! in words, with the states of drones that changed and a clock for ShiViz.
//!
//! How a core's state is read is in `state`.

use hivemind_protocol::{
    Command, DroneId, Effect, Event, Interval, LockId, Message, Note, PageCopy, PageId, PageRun,
    VectorTimestamp,
};
use hivemind_trace::{Entry, TraceClock};
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

/// A record of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    record: Option<Record>,
}

/// Which of the things that happen are kept.
///
/// ```
/// use hivemind_sim::Wanted;
/// use hivemind_protocol::PageId;
/// let wanted = Wanted {
///     steps: 100..=200,
///     page: Some(PageId(0)),
///     states: true,
///     ..Wanted::default()
/// };
/// assert_eq!(wanted.lock, None); // whatever the lock
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Steps, counted by the events that cores took.
    pub steps: RangeInclusive<u64>,
    /// Only what concerns this page.
    pub page: Option<PageId>,
    /// Only what concerns this lock.
    pub lock: Option<LockId>,
    /// Only what happens at this drone.
    pub drone: Option<DroneId>,
    /// Whether the states that change are shown too.
    pub states: bool,
}

/// What a thing that happens is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum About<'a> {
    /// What a core is told.
    Event(&'a Event),
    /// What it does.
    Effect(&'a Effect),
    /// What it notes of itself.
    Note(&'a Note),
    /// An access to a page.
    Page(PageId),
    /// A lock's state.
    Lock(LockId),
    /// The drone as a whole.
    Drone,
}

#[derive(Debug)]
struct Record {
    most: usize,
    wanted: Wanted,
    step: u64,
    clocks: BTreeMap<DroneId, TraceClock>,
    lines: VecDeque<(String, Option<Entry>)>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            steps: 0..=u64::MAX,
            page: None,
            lock: None,
            drone: None,
            states: false,
        }
    }
}

impl Trace {
    /// A trace that only hashes.
    pub(crate) fn hash_only() -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            record: None,
        }
    }

    /// A trace that also keeps the last `most` lines.
    pub(crate) fn recording(most: usize) -> Self {
        Self::showing(most, Wanted::default())
    }

    /// A trace that keeps the last `most` lines of what is wanted.
    pub(crate) fn showing(most: usize, wanted: Wanted) -> Self {
        let record = Record {
            most,
            wanted,
            step: 0,
            clocks: BTreeMap::new(),
            lines: VecDeque::new(),
        };
        Self {
            record: Some(record),
            ..Self::hash_only()
        }
    }

    /// The hash of all that happened so far.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Mixes a number into the hash.
    pub(crate) fn mix(&mut self, number: u64) {
        let mut mixed = self.hash.rotate_left(23) ^ number;
        self.hash = crate::prng::splitmix(&mut mixed);
    }

    /// Mixes bytes into the hash.
    pub(crate) fn mix_bytes(&mut self, bytes: &[u8]) {
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

    /// Whether lines are kept.
    pub(crate) fn is_recording(&self) -> bool {
        self.record.is_some()
    }

    /// Whether the states that change at this drone are kept now.
    pub(crate) fn shows_states(&self, drone: DroneId) -> bool {
        let record = self.record.as_ref();
        record.is_some_and(|record| record.wanted.states && record.shows(drone))
    }

    /// The next step begins.
    pub(crate) fn begin_step(&mut self, step: u64) {
        if let Some(record) = &mut self.record {
            record.step = step;
        }
    }

    /// Adds a line that no drone's clock counts, if lines are kept.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(record) = &mut self.record {
            record.keep((line(), None));
        }
    }

    /// A line about a drone's state, if it is wanted.
    pub(crate) fn note_state(&mut self, drone: DroneId, about: About<'_>, line: &str) {
        if let Some(record) = &mut self.record
            && record.shows(drone)
            && record.wanted.concerns(about)
        {
            record.keep((format!("{:>31}{line}", ""), None));
        }
    }

    /// Something happens at a drone: its clock counts it, and it is kept if it is wanted.
    pub(crate) fn happens(
        &mut self,
        at_us: u64,
        drone: DroneId,
        about: About<'_>,
        what: impl FnOnce() -> String,
    ) {
        let Some(record) = &mut self.record else {
            return;
        };
        let clock = record.clocks.entry(drone).or_default();
        clock.tick(drone.0);
        let clock = clock.clone();
        if record.shows(drone) && record.wanted.concerns(about) {
            let (step, text) = (record.step, what());
            let line = format!("{step:>7} {at_us:>10} µs  {drone}  {text}");
            let text = format!("{text} [step {step}, {at_us} µs]");
            let host = drone.0;
            record.keep((line, Some(Entry { host, clock, text })));
        }
    }

    /// A drone hears what another sent with this clock.
    pub(crate) fn hears(&mut self, drone: DroneId, sent: &TraceClock) {
        if let Some(record) = &mut self.record {
            record.clocks.entry(drone).or_default().merge(sent);
        }
    }

    /// A drone's clock, to go with what it sends; empty where nothing is recorded.
    pub(crate) fn clock(&self, drone: DroneId) -> TraceClock {
        let clocks = self.record.as_ref().map(|record| &record.clocks);
        clocks
            .and_then(|clocks| clocks.get(&drone))
            .cloned()
            .unwrap_or_default()
    }

    /// The lines kept.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        let lines = self.record.iter().flat_map(|record| &record.lines);
        lines.map(|(line, _)| line.as_str())
    }

    /// What is kept, with its clocks, as a trace of its own.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let lines = self.record.iter().flat_map(|record| &record.lines);
        let entries: Vec<Entry> = lines.filter_map(|(_, entry)| entry.clone()).collect();
        hivemind_trace::cut(&entries, |_| true)
    }
}

impl Record {
    fn shows(&self, drone: DroneId) -> bool {
        let at = self.wanted.drone.is_none_or(|wanted| wanted == drone);
        at && self.wanted.steps.contains(&self.step)
    }

    fn keep(&mut self, line: (String, Option<Entry>)) {
        if self.lines.len() == self.most {
            self.lines.pop_front();
        }
        if self.most > 0 {
            self.lines.push_back(line);
        }
    }
}

impl Wanted {
    /// Whether something is about the page or the lock that is wanted; everything is where none is named.
    fn concerns(&self, about: About<'_>) -> bool {
        let page = self.page.is_some_and(|page| about.has_page(page));
        let lock = self.lock.is_some_and(|lock| about.has_lock(lock));
        page || lock || (self.page.is_none() && self.lock.is_none())
    }
}

impl About<'_> {
    fn message(&self) -> Option<&Message> {
        match self {
            About::Event(Event::Message { message, .. })
            | About::Effect(Effect::Send { message, .. }) => Some(message),
            _ => None,
        }
    }

    fn has_page(&self, wanted: PageId) -> bool {
        let within = |intervals: &[Interval]| {
            let mut runs = intervals.iter().flat_map(|interval| &interval.pages);
            runs.any(|run| (run.first..run.end()).contains(&wanted))
        };
        match (self, self.message()) {
            (About::Page(page) | About::Event(Event::Fault { page, .. }), _) => *page == wanted,
            (About::Note(note), _) => note.is_about(wanted),
            (
                About::Event(Event::Command {
                    command: Command::Prefetch(run),
                    ..
                }),
                _,
            ) => (run.first..run.end()).contains(&wanted),
            (
                _,
                Some(
                    Message::PageRefused { page, .. }
                    | Message::DiffRequest { page, .. }
                    | Message::DiffReply { page, .. },
                ),
            ) => *page == wanted,
            (
                _,
                Some(Message::LockGrant {
                    intervals, pages, ..
                }),
            ) => within(intervals) || pages.iter().any(|copy| copy.page == wanted),
            (_, Some(Message::Arrive { intervals, .. } | Message::Depart { intervals, .. })) => {
                within(intervals)
            }
            (_, Some(Message::ArriveTogether { arrivals, .. })) => {
                let mut brought = arrivals.iter().map(|arrival| &arrival.intervals);
                brought.any(|intervals| within(intervals))
            }
            (_, Some(Message::PageRequest { pages, .. })) => {
                let asks = |run: &PageRun| (run.first..run.end()).contains(&wanted);
                pages.iter().any(asks)
            }
            (_, Some(Message::PageReply { pages, .. })) => {
                pages.iter().any(|copy| copy.page == wanted)
            }
            (_, Some(Message::PagePush { pages, .. })) => {
                pages.iter().any(|(page, _)| *page == wanted)
            }
            (_, Some(Message::LockRequest { wants, .. })) => wants.contains(&wanted),
            (_, Some(Message::Flush { pages, .. })) => {
                pages.iter().any(|(page, _)| *page == wanted)
            }
            _ => false,
        }
    }

    fn has_lock(&self, wanted: LockId) -> bool {
        match (self, self.message()) {
            (About::Lock(lock), _)
            | (
                _,
                Some(
                    Message::LockRequest { lock, .. }
                    | Message::LockGrant { lock, .. }
                    | Message::LockTried { lock, .. }
                    | Message::LockSought { lock, .. }
                    | Message::LockTaken { lock, .. }
                    | Message::Wake { lock, .. },
                ),
            ) => *lock == wanted,
            (About::Event(Event::Command { command, .. }), _) => lock_of(command) == Some(wanted),
            _ => false,
        }
    }
}

/// The lock that a call is about.
fn lock_of(command: &Command) -> Option<LockId> {
    match command {
        Command::Acquire(lock)
        | Command::TryAcquire(lock)
        | Command::Release(lock)
        | Command::Wait { lock, .. }
        | Command::Signal { lock, .. } => Some(*lock),
        _ => None,
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
        Message::PagePush { epoch, pages } => {
            let pages: Vec<String> = pages.iter().map(|(page, _)| page.to_string()).collect();
            format!("PagePush {{ {epoch}, [{}] }}", pages.join(", "))
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
        Message::Flush { epoch, pages, more } => {
            let pages: Vec<String> = pages
                .iter()
                .flat_map(|(page, diffs)| {
                    diffs.iter().map(move |(index, diff)| {
                        format!("{page} of {}: {:?}", index.0, describe_runs(diff))
                    })
                })
                .collect();
            let more = if *more { ", more follows" } else { "" };
            format!("Flush {{ {epoch}, [{}]{more} }}", pages.join(", "))
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
