//! A modelled hive: shipped cores on plain memory, in virtual time. Every message is encoded, counted, carried and
//! decoded; what things take is `figures`' and `cable`'s affair, what the programs do that of `script`.
//!
//! A drone has a core of its own for its program and another for its service thread, as two threads of a drone have
//! where cores suffice. Its protocol handles one event at a time. Times are modelled, counts are what the cores did.

use super::cable::Cable;
use super::figures::Costs;
use super::memory::PlainMemory;
use super::script::{Place, Script, Step, Steps, share};
use super::tally::{Tally, Waits};
use hivemind_protocol::{
    AccessKind, Address, Command, Core, CoreConfig, DroneId, Economies, Effect, Event, Failure,
    Interval, MeetingKind, Message, Outcome, PAGE_SIZE, PageId, Ticket, WriteDetection,
};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A hive while it runs.
pub(crate) struct ModelHive {
    costs: Costs,
    cable: Cable,
    seats: Vec<Seat>,
    due: BinaryHeap<Reverse<Due>>,
    made: u64,
    pub(crate) tally: Tally,
}

/// A drone and its program.
struct Seat {
    core: Core<PlainMemory>,
    script: Box<dyn Script>,
    steps: Steps,
    blocks: Vec<Address>,
    waits: Option<Wait>,
    ended: bool,
    /// Until when its protocol is busy.
    busy_until: u64,
    /// Until when a waiting thread looks for messages itself.
    looks_until: u64,
    tickets: u64,
    clock: Clock,
}

#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    runs: bool,
    started: u64,
    stopped: u64,
    /// Between the two.
    waited: Waits,
}

/// What a program waits for.
struct Wait {
    ticket: Ticket,
    since: u64,
    /// None: for a fault.
    call: Option<Command>,
}

/// Something that happens at a time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at_ns: u64,
    /// Which was made first.
    nth: u64,
    what: What,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// A program goes on.
    Goes(DroneId),
    /// A message's first bit comes to a drone's adapter.
    Reaches(Parcel),
    /// Its last has come.
    Comes(Parcel),
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Parcel {
    from: DroneId,
    to: DroneId,
    frame: Vec<u8>,
}

/// Protocol memory is as large as a drone's is without an option.
const METADATA_LIMIT_BYTES: u64 = 1 << 20;

impl ModelHive {
    /// Drones before their first step.
    pub(crate) fn new(
        scripts: Vec<Box<dyn Script>>,
        pages: u64,
        detection: WriteDetection,
        costs: Costs,
        cable: Cable,
        fan_out: u32,
    ) -> Self {
        let drones = scripts.len() as u32;
        let seats = (0..drones).map(DroneId).zip(scripts).map(|(me, script)| {
            let config = CoreConfig {
                me,
                drones,
                pages,
                metadata_limit_bytes: METADATA_LIMIT_BYTES,
                fan_out,
                economies: Economies::default(),
            };
            Seat {
                core: Core::new(config, PlainMemory::new(pages, detection)),
                script,
                steps: Steps::default(),
                blocks: Vec::new(),
                waits: None,
                ended: false,
                busy_until: 0,
                looks_until: 0,
                tickets: 0,
                clock: Clock::default(),
            }
        });
        Self {
            costs,
            cable,
            seats: seats.collect(),
            due: BinaryHeap::new(),
            made: 0,
            tally: Tally::default(),
        }
    }

    /// Runs all programs to their ends.
    ///
    /// # Errors
    /// A program that never ends, or a core that complains: a mistake of ours, in words.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        for drone in 0..self.seats.len() as u32 {
            self.at(0, What::Goes(DroneId(drone)));
        }
        while let Some(Reverse(Due { at_ns, what, .. })) = self.due.pop() {
            match what {
                What::Goes(drone) => self.go(drone, at_ns)?,
                What::Reaches(parcel) => {
                    let comes = self.cable.take(parcel.to, parcel.frame.len(), at_ns);
                    self.at(comes, What::Comes(parcel));
                }
                What::Comes(parcel) => self.receive(parcel, at_ns)?,
            }
        }
        match self.seats.iter().position(|seat| !seat.ended) {
            Some(drone) => Err(format!("drone {drone} waits without an end")),
            None => Ok(()),
        }
    }

    /// What drone 0's clock says, and how much of that it waited.
    pub(crate) fn timed(&self) -> (u64, Waits) {
        let clock = &self.seats[0].clock;
        (clock.stopped - clock.started, clock.waited)
    }

    /// What the core of a drone has counted.
    pub(crate) fn stats(&self) -> impl Iterator<Item = hivemind_protocol::Stats> {
        self.seats.iter().map(|seat| seat.core.stats())
    }

    fn at(&mut self, at_ns: u64, what: What) {
        let nth = self.made;
        self.made += 1;
        self.due.push(Reverse(Due { at_ns, nth, what }));
    }

    fn seat(&mut self, drone: DroneId) -> &mut Seat {
        &mut self.seats[drone.0 as usize]
    }

    /// A program does what it can without waiting.
    fn go(&mut self, drone: DroneId, now: u64) -> Result<(), String> {
        let drones = self.seats.len() as u64;
        let fault_ns = self.costs.fault;
        loop {
            let seat = self.seat(drone);
            match seat.next_step(drone, drones) {
                None => {
                    seat.ended = true;
                    return Ok(());
                }
                Some(Step::Compute(ns)) => {
                    self.at(now + ns, What::Goes(drone));
                    return Ok(());
                }
                Some(Step::Clock(runs)) => seat.clock.set(runs, now),
                Some(Step::Touch { at, bytes, kind }) => {
                    if let Some((page, rest)) = seat.touch(at, bytes, kind) {
                        seat.steps.0.push_front(rest);
                        let ticket = seat.wait(now, None);
                        let event = Event::Fault { page, kind, ticket };
                        return self.handle(drone, event, now + fault_ns);
                    }
                }
                Some(Step::Call(command)) => {
                    let ticket = seat.wait(now, Some(command.clone()));
                    let event = Event::Command { command, ticket };
                    return self.handle(drone, event, now);
                }
            }
        }
    }

    /// A message has come: whoever looks takes it at once, else the service thread wakes first.
    fn receive(&mut self, parcel: Parcel, now: u64) -> Result<(), String> {
        let Parcel { from, to, frame } = parcel;
        let wake = self.costs.wake;
        let begins = self.costs.end_of_message(frame.len());
        let seat = self.seat(to);
        let looks = seat.waits.is_some() && now <= seat.looks_until;
        let awake = looks || now < seat.busy_until;
        let begin = seat.busy_until.max(now + if awake { 0 } else { wake });
        let message = seat.core.read_message(&frame);
        let message = message.map_err(|error| format!("{to} cannot read a message: {error}"))?;
        self.tally.received(to, frame.len());
        self.handle(to, Event::Message { from, message }, begin + begins)
    }

    fn handle(&mut self, drone: DroneId, event: Event, begin: u64) -> Result<(), String> {
        let (notices, pages) = match &event {
            Event::Message { message, .. } => named_in(message),
            _ => (0, 0),
        };
        let seat = &mut self.seats[drone.0 as usize];
        let before = seat.core.stats();
        let wrong = |misbehaviour| format!("{drone} says: {misbehaviour}");
        let mut effects = Vec::new();
        let mut more = seat.core.begin(event, &mut effects).map_err(wrong)?;
        let began = begin.max(seat.busy_until);
        let mut now = began;
        // What is sent first costs the others none of this drone's work.
        while more {
            now = self.obey(drone, &mut effects, now)?;
            let seat = self.seat(drone);
            more = seat.core.go_on(&mut effects).map_err(wrong)?;
        }
        let after = self.seat(drone).core.stats();
        now += self.costs.work(&before, &after, notices, pages);
        now = self.obey(drone, &mut effects, now)?;
        self.tally.worked(drone, now - began);
        let spin = self.costs.spin;
        let seat = self.seat(drone);
        seat.busy_until = now;
        seat.looks_until = now + spin;
        Ok(())
    }

    /// Does what a core says; gives when that is done.
    fn obey(
        &mut self,
        drone: DroneId,
        effects: &mut Vec<Effect>,
        from: u64,
    ) -> Result<u64, String> {
        let mut now = from;
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, message } => now = self.send(drone, to, &message, now),
                Effect::Complete { ticket, result } => self.complete(drone, ticket, result, now)?,
            }
        }
        Ok(now)
    }

    /// Sends a message; gives when its sender is done with it.
    fn send(&mut self, from: DroneId, to: DroneId, message: &Message, now: u64) -> u64 {
        let mut frame = Vec::new();
        message.encode(&mut frame);
        self.tally.sent(from, message.name(), frame.len());
        let sent = now + self.costs.end_of_message(frame.len());
        let reaches = self.cable.give(from, frame.len(), sent);
        self.at(reaches, What::Reaches(Parcel { from, to, frame }));
        sent
    }

    fn complete(
        &mut self,
        drone: DroneId,
        ticket: Ticket,
        result: Result<Outcome, Failure>,
        now: u64,
    ) -> Result<(), String> {
        let drones = self.seats.len() as u64;
        let seat = self.seat(drone);
        let wait = seat.waits.take_if(|wait| wait.ticket == ticket);
        let wait = wait.ok_or_else(|| format!("{drone} completes what nobody waits for"))?;
        let outcome = result.map_err(|failure| format!("{drone}: {failure}"))?;
        if seat.clock.runs {
            seat.clock.waited.add(wait.call.as_ref(), now - wait.since);
        }
        if let (
            Outcome::Met {
                allocated: Some(block),
                ..
            },
            Some(Command::Meet(meeting)),
        ) = (outcome, &wait.call)
            && let MeetingKind::Allocate { bytes, .. } = meeting.kind
        {
            seat.blocks.push(block.address);
            if !block.fresh {
                seat.clear(drone, drones, block.address, bytes);
            }
        }
        self.at(now, What::Goes(drone));
        Ok(())
    }
}

impl Clock {
    fn set(&mut self, runs: bool, now: u64) {
        self.runs = runs;
        if runs {
            self.started = now;
        } else {
            self.stopped = now;
        }
    }
}

impl Seat {
    fn next_step(&mut self, drone: DroneId, drones: u64) -> Option<Step> {
        while self.steps.0.is_empty() {
            let place = Place {
                me: u64::from(drone.0),
                drones,
                blocks: &self.blocks,
            };
            if !self.script.next_phase(place, &mut self.steps) {
                return None;
            }
        }
        self.steps.0.pop_front()
    }

    /// Touches bytes page by page; gives the first page that needs a fault, and what is left to touch then.
    fn touch(&mut self, at: Address, bytes: u64, kind: AccessKind) -> Option<(PageId, Step)> {
        let (mut at, end) = (at.0, at.0 + bytes);
        let memory = self.core.memory_mut();
        while at < end {
            let page = PageId::of(Address(at));
            if !memory.allows(page, kind) {
                let (at, bytes) = (Address(at), end - at);
                return Some((page, Step::Touch { at, bytes, kind }));
            }
            let next = end.min((page.0 + 1) * PAGE_SIZE as u64);
            if kind == AccessKind::Write {
                memory.store(Address(at), (next - at) as usize);
            }
            at = next;
        }
        None
    }

    fn wait(&mut self, since: u64, call: Option<Command>) -> Ticket {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.waits = Some(Wait {
            ticket,
            since,
            call,
        });
        ticket
    }

    /// As the library does with a block that somebody had before: each drone clears its part, and all meet.
    fn clear(&mut self, drone: DroneId, drones: u64, block: Address, bytes: u64) {
        let later = std::mem::take(&mut self.steps.0);
        let part = share(0..bytes, u64::from(drone.0), drones);
        self.steps
            .write(Address(block.0 + part.start), part.end - part.start);
        self.steps.barrier();
        self.steps.0.extend(later);
    }
}

/// How many pages a message names as written, and how many it brings.
fn named_in(message: &Message) -> (u64, u64) {
    let notices = |intervals: &[Interval]| {
        let runs = intervals.iter().flat_map(|interval| &interval.pages);
        runs.map(|run| run.count).sum()
    };
    match message {
        Message::PageReply { pages, .. } => (0, pages.len() as u64),
        Message::PagePush { pages, .. } => (0, pages.len() as u64),
        Message::LockGrant {
            intervals, pages, ..
        } => (notices(intervals), pages.len() as u64),
        Message::Depart { intervals, .. } => (notices(intervals), 0),
        _ => (0, 0),
    }
}
