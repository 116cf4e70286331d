//! One drone of three, for tests of what it makes of what others say.

#![allow(dead_code, reason = "each test uses some of it")]

use hivemind_protocol::{
    Access, Command, Core, CoreConfig, DroneId, Economies, Effect, EpochId, Event, FAN_OUT,
    Failure, Interval, IntervalId, IntervalIndex, LockId, Meeting, MeetingKind, Memory, Message,
    PageBytes, PageId, PageRun, Ticket, VectorTimestamp, WriteDetection,
};

pub(crate) const PAGES: u64 = 64;
pub(crate) const EPOCH: EpochId = EpochId(0);
pub(crate) const WAITING: Ticket = Ticket(7);

/// Memory that holds zeros and takes everything: no page is looked at here.
pub(crate) struct Zeros;

impl Memory for Zeros {
    fn write_detection(&self) -> WriteDetection {
        WriteDetection::Traps
    }
    fn set_access(&mut self, _: PageRun, _: Access) {}
    fn read(&self, _: PageId, into: &mut PageBytes) {
        into.fill(0);
    }
    fn write(&mut self, _: PageId, _: usize, _: &[u8]) {}
    fn take_written(&mut self, _: &mut Vec<PageRun>) {}
}

/// One drone of three, and what it was told to do.
pub(crate) struct Drone {
    pub(crate) core: Core<Zeros>,
    pub(crate) effects: Vec<Effect>,
}

impl Drone {
    pub(crate) fn new(me: u32, fan_out: u32) -> Self {
        #[cfg(hivemind_mutants)]
        hivemind_protocol::choose_mutant(|variable| std::env::var(variable).ok());
        let config = CoreConfig {
            me: DroneId(me),
            drones: 3,
            pages: PAGES,
            metadata_limit_bytes: 1 << 20,
            fan_out,
            economies: Economies::default(),
        };
        Self {
            core: Core::new(config, Zeros),
            effects: Vec::new(),
        }
    }

    /// The same, when its program has called.
    pub(crate) fn calls(mut self, command: Command) -> Self {
        let ticket = WAITING;
        let called = Event::Command { command, ticket };
        self.core.handle(called, &mut self.effects).unwrap();
        assert!(self.waits());
        self
    }

    /// The same, when its program has called what needs nobody else.
    pub(crate) fn calls_at_once(mut self, command: Command) -> Self {
        let ticket = Ticket(WAITING.0 + 1);
        let called = Event::Command { command, ticket };
        self.core.handle(called, &mut self.effects).unwrap();
        self
    }

    /// The same, when it has heard something that is right.
    pub(crate) fn hears(mut self, from: u32, message: Message) -> Self {
        let from = DroneId(from);
        let heard = Event::Message { from, message };
        self.core.handle(heard, &mut self.effects).unwrap();
        self
    }

    /// It hears something that is wrong; gives what it says about it. Its program waits, and is told.
    #[track_caller]
    pub(crate) fn refuses(mut self, from: u32, message: Message) -> String {
        let from = DroneId(from);
        let heard = Event::Message { from, message };
        let misbehaviour = self.core.handle(heard, &mut self.effects).unwrap_err();
        assert_eq!(misbehaviour.peer, from, "{misbehaviour}");
        assert!(self.waits());
        let lost = Event::Lost { drone: from };
        self.core.handle(lost, &mut self.effects).unwrap();
        let told = Effect::Complete {
            ticket: WAITING,
            result: Err(Failure::Lost(from)),
        };
        assert!(self.effects.contains(&told), "a wait without an end");
        misbehaviour.what
    }

    pub(crate) fn waits(&self) -> bool {
        let done = |effect: &Effect| matches!(effect, Effect::Complete { ticket, .. } if *ticket == WAITING);
        !self.effects.iter().any(done)
    }
}

pub(crate) fn drone(me: u32) -> Drone {
    Drone::new(me, FAN_OUT)
}

/// One of three drones in a line.
pub(crate) fn in_line(me: u32) -> Drone {
    Drone::new(me, 1)
}

pub(crate) fn interval(creator: u32, index: u32, pages: &[(u64, u64)]) -> Interval {
    let id = IntervalId {
        creator: DroneId(creator),
        index: IntervalIndex(index),
    };
    let mut known = VectorTimestamp::new();
    known.raise(id.creator, id.index);
    let run = |&(first, count)| PageRun {
        first: PageId(first),
        count,
    };
    let pages = pages.iter().map(run).collect();
    Interval { id, known, pages }
}

pub(crate) fn grant(intervals: Vec<Interval>) -> Message {
    Message::LockGrant {
        epoch: EPOCH,
        lock: LockId(0),
        intervals,
        sleepers: Vec::new(),
        known: VectorTimestamp::new(),
        pages: Vec::new(),
        again: None,
    }
}

pub(crate) fn arrive(intervals: Vec<Interval>, meeting: Option<Meeting>) -> Message {
    Message::Arrive {
        epoch: EPOCH,
        intervals,
        meeting,
        declined: Vec::new(),
    }
}

pub(crate) fn meet(kind: MeetingKind) -> Command {
    let payload = Vec::new();
    Command::Meet(Meeting { kind, payload })
}
