//! The trace of a drone: what went into its core and what came out, with a vector clock, into a file that ShiViz reads.
//!
//! The driver tells it of everything under the core's lock, so the order of the log is the order in which the core was
//! driven. A hive traces on all drones or on none: then the clock goes behind each message. The log is bounded, and
//! what can't be written ends the trace and not the run; the clock goes on travelling, since others count on it.
//!
//! Which words are written lives in `words.rs`; their form, the clock and the rules in `hivemind-trace`.

mod words;

use crate::net::Frame;
use hivemind_protocol::{Core, DroneId, Event, Failure, Memory, Message, Note, Outcome, Ticket};
use hivemind_trace::{Entry, TraceClock, Words, shiviz};
use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// So much is collected before it is written: some hundred events a system call.
const BUFFER_BYTES: usize = 64 << 10;

/// What is kept free below the limit for saying that it was reached: two events, but for their clocks.
const LAST_WORDS_BYTES: u64 = 512;

/// What an entry of a clock may take in the log.
const CLOCK_ENTRY_BYTES: u64 = 40;

/// One drone's trace.
pub(crate) struct Tracer {
    me: DroneId,
    drones: u32,
    clock: TraceClock,
    log: Log,
    begun: Instant,
    /// When the last event was, since `begun`: times grow from event to event.
    last_ns: u64,
    /// How many messages went to each peer, and came from it.
    sent: HashMap<DroneId, u64>,
    got: HashMap<DroneId, u64>,
    /// How long the message is that is being handled.
    got_bytes: usize,
    waits: HashMap<Ticket, Wait>,
    meetings: u64,
    notes: Vec<Note>,
}

/// A fault or a call that is not over.
struct Wait {
    /// What it waits for, in words and fields.
    what: String,
    thread: u32,
    since_ns: u64,
    /// Of what is over in the same moment only the begin is told.
    kind: words::Kind,
}

/// Where the events go.
struct Log {
    path: PathBuf,
    /// None once the trace has ended.
    file: Option<File>,
    buffer: String,
    written_bytes: u64,
    limit_bytes: u64,
    is_full: bool,
    /// Events that are not in the log.
    left_out: u64,
}

impl Tracer {
    /// Opens the log of a drone in a directory, which is made where it isn't there.
    ///
    /// # Errors
    /// The system's refusal.
    pub(crate) fn open(
        directory: &Path,
        limit_bytes: u64,
        me: DroneId,
        drones: u32,
        job: &str,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let path = directory.join(format!("d{}.log", me.0));
        let file = File::create(&path)?;
        let mut tracer = Self {
            me,
            drones,
            clock: TraceClock::new(),
            log: Log {
                path,
                file: Some(file),
                buffer: shiviz::head(),
                written_bytes: 0,
                limit_bytes,
                is_full: false,
                left_out: 0,
            },
            begun: Instant::now(),
            last_ns: 0,
            sent: HashMap::new(),
            got: HashMap::new(),
            got_bytes: 0,
            waits: HashMap::new(),
            meetings: 0,
            notes: Vec::new(),
        };
        let today = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall_ns = today.map_or(0, |since| since.as_nanos() as u64);
        tracer.happens("starts", |words| {
            words.field("drones", drones);
            words.field("job", job.replace(char::is_whitespace, "_"));
            words.field("process", std::process::id());
            words.time("wall_us", wall_ns);
        });
        tracer.log.flush(me);
        Ok(tracer)
    }

    /// Takes the clock from behind a message that has come, and takes it in. Gives the message.
    ///
    /// # Errors
    /// What is wrong with the clock, in words.
    pub(crate) fn hear<'a>(&mut self, frame: &'a [u8]) -> Result<&'a [u8], &'static str> {
        let (clock, message) = TraceClock::split_from(frame, self.drones)?;
        if clock.get(self.me.0) > self.clock.get(self.me.0) {
            return Err("its trace clock knows more of this drone than there is");
        }
        self.clock.merge(&clock);
        self.got_bytes = message.len();
        Ok(message)
    }

    /// Something goes into the core.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Fault { page, kind, ticket } => {
                self.wait(*ticket, words::fault(*page, *kind), words::Kind::Waits);
            }
            Event::Command { command, ticket } => {
                if matches!(command, hivemind_protocol::Command::Meet(_)) {
                    self.meetings += 1;
                }
                let (what, kind) = words::command(command, self.meetings);
                self.wait(*ticket, what, kind);
            }
            Event::Message { from, message } => self.got(*from, message),
            Event::Lost { drone } => {
                self.happens("loses", |words| words.drone("drone", drone.0));
            }
        }
    }

    /// The core has taken an event: what it noted.
    pub(crate) fn take_notes<M: Memory>(&mut self, core: &mut Core<M>) {
        let mut notes = std::mem::take(&mut self.notes);
        core.take_notes(&mut notes);
        for note in notes.drain(..) {
            self.happens("", |words| words::note(words, &note));
        }
        self.notes = notes;
    }

    /// A message goes out; its clock goes behind it.
    pub(crate) fn send(&mut self, to: DroneId, message: &Message, frame: &mut Frame) {
        let bytes = frame.body().len();
        let no = self.sent.entry(to).or_default();
        *no += 1;
        let no = *no;
        self.happens("sends", |words| {
            words.say(message.name());
            words.drone("to", to.0);
            words.field("no", no);
            words::message(words, message);
            words.field("bytes", bytes);
        });
        self.clock.append_to(frame.go_on());
    }

    /// A fault or a call is over.
    pub(crate) fn complete(&mut self, ticket: Ticket, result: &Result<Outcome, Failure>) {
        let Some(wait) = self.waits.remove(&ticket) else {
            return;
        };
        if wait.kind != words::Kind::Waits {
            if result.is_err() {
                self.happens("fails", |words| {
                    words.say(wait.kind.failing());
                    words.say(&wait.what);
                    words::result(words, result);
                });
            }
            return;
        }
        let waited_ns = self.now_ns().saturating_sub(wait.since_ns);
        self.happens("resumes", |words| {
            words.say(&wait.what);
            words::result(words, result);
            words.field("ticket", ticket.0);
            words.field("thread", wait.thread);
            words.time("waited_us", waited_ns);
        });
    }

    /// Writes what is collected.
    pub(crate) fn flush(&mut self) {
        self.log.flush(self.me);
    }

    /// Ends the trace. Says on standard error what is not in it.
    pub(crate) fn end(&mut self) {
        if self.log.file.is_none() {
            return;
        }
        let left_out = self.log.left_out;
        let full = std::mem::take(&mut self.log.is_full);
        self.log.limit_bytes = u64::MAX;
        self.happens("ends", |words| words.field("left_out", left_out));
        self.log.flush(self.me);
        if self.log.file.take().is_some() && full {
            eprintln!(
                "hivemind: {}: its trace was full: {left_out} events are not in {}; allow more with HIVEMIND_TRACE_LIMIT",
                self.me,
                self.log.path.display()
            );
        }
    }

    fn got(&mut self, from: DroneId, message: &Message) {
        let bytes = self.got_bytes;
        let no = self.got.entry(from).or_default();
        *no += 1;
        let no = *no;
        self.happens("gets", |words| {
            words.say(message.name());
            words.drone("from", from.0);
            words.field("no", no);
            words::message(words, message);
            words.field("bytes", bytes);
        });
    }

    fn wait(&mut self, ticket: Ticket, what: String, kind: words::Kind) {
        let thread = thread_number();
        let since_ns = self.now_ns();
        self.happens(kind.word(), |words| {
            words.say(&what);
            if kind == words::Kind::Waits {
                words.field("ticket", ticket.0);
            }
            words.field("thread", thread);
        });
        let wait = Wait {
            what,
            thread,
            since_ns,
            kind,
        };
        self.waits.insert(ticket, wait);
    }

    /// An event of this drone: its clock counts it, and it goes into the log while there is room.
    fn happens(&mut self, kind: &str, tell: impl FnOnce(&mut Words<'_>)) {
        if !self.log.takes_more(self.drones) {
            if self.log.file.is_some() && !std::mem::replace(&mut self.log.is_full, true) {
                self.write("fills", |_| {});
            }
            self.log.left_out += 1;
            return;
        }
        self.write(kind, tell);
        if self.log.buffer.len() >= BUFFER_BYTES {
            self.log.flush(self.me);
        }
    }

    fn write(&mut self, kind: &str, tell: impl FnOnce(&mut Words<'_>)) {
        self.clock.tick(self.me.0);
        let at_ns = self.now_ns().max(self.last_ns + 1);
        self.last_ns = at_ns;
        let mut text = String::with_capacity(160);
        let mut words = Words::new(&mut text, kind);
        tell(&mut words);
        words.time("at_us", at_ns);
        let (host, clock) = (self.me.0, std::mem::take(&mut self.clock));
        let entry = Entry { host, clock, text };
        shiviz::event_to(&mut self.log.buffer, &entry);
        self.clock = entry.clock;
    }

    fn now_ns(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }
}

impl Log {
    fn takes_more(&self, drones: u32) -> bool {
        let reserve = LAST_WORDS_BYTES + 2 * CLOCK_ENTRY_BYTES * u64::from(drones);
        let bytes = self.written_bytes + self.buffer.len() as u64;
        self.file.is_some() && !self.is_full && bytes.saturating_add(reserve) < self.limit_bytes
    }

    /// A log that can't be written ends here; the run goes on.
    fn flush(&mut self, me: DroneId) {
        let Some(file) = &mut self.file else { return };
        let written = file.write_all(self.buffer.as_bytes());
        self.written_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        if let Err(error) = written {
            self.file = None;
            eprintln!(
                "hivemind: {me}: its trace ends early, the run goes on: cannot write {}: {error}",
                self.path.display()
            );
        }
    }
}

/// A number for this thread among those of the process that fault and call: what a thread is called may be nothing.
fn thread_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    thread_local!(static MINE: Cell<u32> = const { Cell::new(0) });
    MINE.with(|mine| {
        if mine.get() == 0 {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        mine.get()
    })
}
