//! One drone of a small world: the shipped core, its simulated memory, and how far its program is. What
//! happens to it depends on nothing else, so it is worked out once for each drone's state and event.

use super::world::{Deed, SmallWorld};
use crate::finding::{Finding, Verdict};
use crate::memory::{Blocked, RacingStore, SimMemory};
use crate::trace::{Trace, describe_effect, describe_event};
use crate::world::may_wait;
use hivemind_protocol::{
    Address, Command, ConditionId, Core, CoreConfig, DroneId, Economies, Effect, Event, Failure,
    LockId, Meeting, MeetingKind, Message, Outcome, Ticket,
};

/// A drone.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Seat {
    me: DroneId,
    core: Core<SimMemory>,
    /// The next deed of its program; past the last when it is over.
    next: usize,
    /// What the deed at hand has loaded already.
    loaded: Option<u8>,
    waits: Option<Wait>,
    /// Whether the deed at hand has faulted an odd number of times. Tickets are made of this and of the
    /// deed, so that a program that did the same by another way is in the same state; a ticket that came back
    /// a second time would still be told from the next.
    again: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Wait {
    ticket: Ticket,
    /// Whether for a call; else for a fault.
    call: bool,
}

/// What one move of a drone does to the rest of the world.
#[derive(Debug, Default)]
pub(crate) struct Deeds {
    /// Messages, in order.
    pub(crate) sends: Vec<(DroneId, Message)>,
    /// What its program did and got, for the oracle to judge, in order.
    pub(crate) claims: Vec<Claim>,
}

/// What a program did or got.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Claim {
    Loaded(Address, Vec<u8>),
    Stored(Address, Vec<u8>),
    Wants(LockId),
    Tries(LockId),
    TriedInVain(LockId),
    Acquired(LockId),
    Releases(LockId),
    FallsAsleep(LockId, ConditionId),
    Woke(LockId),
    Signals(LockId, ConditionId, bool),
    Meets(Meeting),
    Met(Outcome),
}

impl Seat {
    /// A drone at the start.
    pub(crate) fn new(world: &SmallWorld, me: DroneId) -> Self {
        let config = CoreConfig {
            me,
            drones: world.drones,
            pages: world.pages,
            metadata_limit_bytes: world.limit_bytes,
            fan_out: world.fan_out,
            economies: Economies {
                again: world.again,
                ..Economies::default()
            },
        };
        let memory = SimMemory::new(me, world.pages, world.watch_of(me));
        Self {
            me,
            core: Core::new(config, memory),
            next: 0,
            loaded: None,
            waits: None,
            again: false,
        }
    }

    /// Whether its program can go on to a deed before this one.
    pub(crate) fn is_ready(&self, end: usize) -> bool {
        self.waits.is_none() && self.next < end
    }

    /// Whether its program has done all before this deed, and waits for nothing.
    pub(crate) fn is_done(&self, end: usize) -> bool {
        self.waits.is_none() && self.next >= end
    }

    /// Bytes of protocol memory in use.
    pub(crate) fn metadata_bytes(&self) -> u64 {
        self.core.stats().metadata_bytes
    }

    /// What it does, in words.
    pub(crate) fn describe(&self, program: &[Deed]) -> String {
        let deed = program
            .get(self.next)
            .map_or("nothing more to do".to_owned(), |deed| format!("{deed:?}"));
        match self.waits {
            Some(Wait { ticket, call: true }) => format!("waits in {deed} ({ticket})"),
            Some(Wait { ticket, .. }) => format!("waits for a fault of {deed} ({ticket})"),
            None => format!("at {deed}"),
        }
    }

    /// Its program makes its next call or access; none if it waits or is over.
    pub(crate) fn step(&mut self, program: &[Deed], trace: &mut Trace) -> Verdict<Option<Deeds>> {
        let mut deeds = Deeds::default();
        if !self.is_ready(program.len()) {
            return Ok(None);
        }
        match &program[self.next] {
            Deed::Read(at, count) => {
                let mut bytes = vec![0; *count];
                match self.core.memory().load(*at, &mut bytes) {
                    Ok(()) => unreachable!("a load that needs no fault was made before"),
                    Err(blocked) => self.fault(blocked, program, &mut deeds, trace)?,
                }
            }
            Deed::Add(at, _) | Deed::Until(at, ..) if self.loaded.is_none() => {
                match self.core.memory().load(*at, &mut [0]) {
                    Ok(()) => unreachable!("a load that needs no fault was made before"),
                    Err(blocked) => self.fault(blocked, program, &mut deeds, trace)?,
                }
            }
            Deed::Write(..) | Deed::Add(..) => {
                let (at, bytes) = self.store_at_hand(program).expect("the deed is a store");
                match self.core.memory_mut().store(at, &bytes) {
                    Ok(()) => self.stored(at, bytes, &mut deeds, trace),
                    Err(blocked) => self.fault(blocked, program, &mut deeds, trace)?,
                }
            }
            Deed::Lock(lock) => {
                deeds.claims.push(Claim::Wants(*lock));
                self.call(Command::Acquire(*lock), program, &mut deeds, trace)?;
            }
            Deed::Try(lock) => {
                deeds.claims.push(Claim::Tries(*lock));
                self.call(Command::TryAcquire(*lock), program, &mut deeds, trace)?;
            }
            Deed::Unlock(lock) => {
                deeds.claims.push(Claim::Releases(*lock));
                self.call(Command::Release(*lock), program, &mut deeds, trace)?;
            }
            Deed::Until(_, _, lock, condition) => {
                let (lock, condition) = (*lock, *condition);
                deeds.claims.push(Claim::FallsAsleep(lock, condition));
                self.again = !self.again;
                let command = Command::Wait { lock, condition };
                self.call(command, program, &mut deeds, trace)?;
            }
            Deed::Signal(lock, condition, all) => {
                let (lock, condition, all) = (*lock, *condition, *all);
                deeds.claims.push(Claim::Signals(lock, condition, all));
                let command = Command::Signal {
                    lock,
                    condition,
                    all,
                };
                self.call(command, program, &mut deeds, trace)?;
            }
            Deed::Prefetch(pages) => {
                self.call(Command::Prefetch(*pages), program, &mut deeds, trace)?;
            }
            Deed::Barrier(barrier) => {
                self.meet(MeetingKind::Barrier(*barrier), program, &mut deeds, trace)?;
            }
            Deed::Arrive(barrier) => {
                self.meet(MeetingKind::Split(*barrier), program, &mut deeds, trace)?;
            }
            Deed::Depart => self.call(Command::Depart, program, &mut deeds, trace)?,
            Deed::Leave => self.meet(MeetingKind::Leave, program, &mut deeds, trace)?,
        }
        self.load(program, &mut deeds, trace);
        Ok(Some(deeds))
    }

    /// A message, or the end of a link, arrives. With `store_after`, the program's next store lands so many
    /// calls of the core to its memory later; none if it did not land.
    pub(crate) fn receive(
        &mut self,
        event: Event,
        store_after: Option<u8>,
        program: &[Deed],
        trace: &mut Trace,
    ) -> Verdict<Option<Deeds>> {
        let mut deeds = Deeds::default();
        let lost = match event {
            Event::Lost { drone } => Some(drone),
            _ => None,
        };
        let armed = match store_after {
            None => None,
            Some(after) => match self.store_at_hand(program) {
                None => return Ok(None),
                armed => armed.map(|(address, bytes)| (address, bytes, after)),
            },
        };
        if let Some((address, bytes, after)) = &armed {
            let (address, bytes, after_calls) = (*address, bytes.clone(), u64::from(*after));
            self.core.memory_mut().arm(RacingStore {
                address,
                bytes,
                after_calls,
            });
        }
        self.handle(event, program, &mut deeds, trace)?;
        if let Some((address, bytes, _)) = armed {
            if self.core.memory_mut().disarm().is_some() {
                return Ok(None);
            }
            self.stored(address, bytes, &mut deeds, trace);
        }
        if let (Some(drone), Some(_)) = (lost, self.waits) {
            let what = format!("{} lost {drone}, yet {}", self.me, self.describe(program));
            return Err(Finding::new("a wait without an end", what));
        }
        self.load(program, &mut deeds, trace);
        Ok(Some(deeds))
    }

    /// The store that the program makes next, if it computes and makes one.
    fn store_at_hand(&self, program: &[Deed]) -> Option<(Address, Vec<u8>)> {
        if self.waits.is_some() {
            return None;
        }
        match program.get(self.next)? {
            Deed::Write(at, bytes) => Some((*at, bytes.clone())),
            Deed::Add(at, more) => Some((*at, vec![self.loaded?.wrapping_add(*more)])),
            _ => None,
        }
    }

    fn stored(&mut self, at: Address, bytes: Vec<u8>, deeds: &mut Deeds, trace: &mut Trace) {
        trace.note(|| format!("{}  stores {bytes:?} at {at}", self.me));
        deeds.claims.push(Claim::Stored(at, bytes));
        self.advance();
    }

    /// Makes the loads that need no fault; why now stands in `explore`.
    fn load(&mut self, program: &[Deed], deeds: &mut Deeds, trace: &mut Trace) {
        while self.waits.is_none() && self.loaded.is_none() {
            let (at, count) = match program.get(self.next) {
                Some(Deed::Read(at, count)) => (*at, *count),
                Some(Deed::Add(at, _) | Deed::Until(at, ..)) => (*at, 1),
                _ => return,
            };
            let mut bytes = vec![0; count];
            if self.core.memory().load(at, &mut bytes).is_err() {
                return;
            }
            trace.note(|| format!("{}  loads {bytes:?} at {at}", self.me));
            match program.get(self.next) {
                Some(Deed::Add(..)) => {
                    self.loaded = Some(bytes[0]);
                    self.again = false;
                }
                Some(Deed::Until(_, wanted, ..)) if *wanted != bytes[0] => {
                    self.loaded = Some(bytes[0]);
                }
                _ => self.advance(),
            }
            deeds.claims.push(Claim::Loaded(at, bytes));
        }
    }

    fn advance(&mut self) {
        self.next += 1;
        self.loaded = None;
        self.again = false;
    }

    fn fault(
        &mut self,
        blocked: Blocked,
        program: &[Deed],
        deeds: &mut Deeds,
        trace: &mut Trace,
    ) -> Verdict<()> {
        let Blocked { page, kind } = blocked;
        self.again = !self.again;
        let ticket = self.wait(false);
        self.handle(Event::Fault { page, kind, ticket }, program, deeds, trace)
    }

    fn meet(
        &mut self,
        kind: MeetingKind,
        program: &[Deed],
        deeds: &mut Deeds,
        trace: &mut Trace,
    ) -> Verdict<()> {
        let meeting = Meeting {
            kind,
            payload: Vec::new(),
        };
        deeds.claims.push(Claim::Meets(meeting.clone()));
        self.call(Command::Meet(meeting), program, deeds, trace)
    }

    fn call(
        &mut self,
        command: Command,
        program: &[Deed],
        deeds: &mut Deeds,
        trace: &mut Trace,
    ) -> Verdict<()> {
        if may_wait(&command) {
            self.core.memory_mut().set_waits(true);
        }
        let ticket = self.wait(true);
        self.handle(Event::Command { command, ticket }, program, deeds, trace)
    }

    fn wait(&mut self, call: bool) -> Ticket {
        let ticket = Ticket(2 * self.next as u64 + u64::from(self.again));
        self.waits = Some(Wait { ticket, call });
        ticket
    }

    fn handle(
        &mut self,
        event: Event,
        program: &[Deed],
        deeds: &mut Deeds,
        trace: &mut Trace,
    ) -> Verdict<()> {
        let me = self.me;
        trace.note(|| format!("{me}  {}", describe_event(&event)));
        let mut effects = Vec::new();
        let result = self.core.handle(event, &mut effects);
        for effect in effects {
            trace.note(|| format!("{me}  {}", describe_effect(&effect)));
            match effect {
                Effect::Send { to, message } => deeds.sends.push((to, message)),
                Effect::Complete { ticket, result } => {
                    self.complete(ticket, result, program, deeds)?;
                }
            }
        }
        result.map_err(|misbehaviour| {
            let what = format!("{me} says: {misbehaviour}");
            Finding::new("a correct drone is called a misbehaving one", what)
        })
    }

    fn complete(
        &mut self,
        ticket: Ticket,
        result: Result<Outcome, Failure>,
        program: &[Deed],
        deeds: &mut Deeds,
    ) -> Verdict<()> {
        let me = self.me;
        let Some(wait) = self.waits.take_if(|wait| wait.ticket == ticket) else {
            let what = format!("{me} completes {ticket}, which waits for nothing: {result:?}");
            return Err(Finding::new("a wait ends twice", what));
        };
        if wait.call {
            self.core.memory_mut().set_waits(false);
        }
        match result {
            Err(Failure::Lost(_)) => {
                // The program hears that the hive cannot go on, and ends.
                self.next = program.len();
                self.loaded = None;
                self.again = false;
                Ok(())
            }
            Err(refused) => Err(Finding::new("a call refused", format!("{me}: {refused}"))),
            Ok(_) if !wait.call => Ok(()),
            Ok(outcome) => {
                match &program[self.next] {
                    Deed::Until(_, _, lock, _) => {
                        // It looks again.
                        deeds.claims.push(Claim::Woke(*lock));
                        self.loaded = None;
                        return Ok(());
                    }
                    Deed::Try(lock) if outcome == Outcome::Unavailable => {
                        deeds.claims.push(Claim::TriedInVain(*lock));
                        let ends = |deed: &Deed| *deed == Deed::Unlock(*lock);
                        self.next += program[self.next..].iter().position(ends).unwrap_or(0);
                    }
                    Deed::Lock(lock) | Deed::Try(lock) => {
                        deeds.claims.push(Claim::Acquired(*lock));
                    }
                    Deed::Barrier(_) | Deed::Depart | Deed::Leave => {
                        deeds.claims.push(Claim::Met(outcome));
                    }
                    _ => {}
                }
                self.advance();
                Ok(())
            }
        }
    }
}
