//! The world: drones with the shipped core and simulated memories, the network between them, and virtual
//! time. It drives and checks what holds for any program: nobody misbehaves, the wire form keeps every
//! message, each wait ends once. What programs do, and what they must see, is in `run` and `oracle`.

mod harm;

use crate::books::Collected;
use crate::finding::{Finding, Verdict};
use crate::hostile::{Hostile, Hostility};
use crate::memory::{SimMemory, Watch};
use crate::network::{Network, Parcel, Weather};
use crate::state;
use crate::trace::{About, Trace, describe_effect, describe_event};
use hivemind_protocol::{
    Command, Core, CoreConfig, DroneId, Economies, Effect, Event, Failure, Message, Outcome, Stats,
    Ticket,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a world is made of.
///
/// ```
/// use hivemind_sim::{Plan, Weather, check};
/// let mut plan = Plan::draw(1);
/// plan.world.weather = Weather::Even(5);
/// plan.world.metadata_limit_bytes = 0; // a collection at every occasion
/// check(&plan)?;
/// # Ok::<(), Box<hivemind_sim::Failed>>(())
/// ```
#[derive(Clone, Debug)]
pub struct WorldPlan {
    /// How each drone's memory learns what was stored; as many as there are drones.
    pub watches: Vec<Watch>,
    /// How many pages the region has.
    pub pages: u64,
    /// How large protocol memory may grow before a drone asks for a collection.
    pub metadata_limit_bytes: u64,
    /// For how many others a drone waits at an epoch's end.
    pub fan_out: u32,
    /// Which ways of saving messages the drones use.
    pub economies: Economies,
    /// How long messages travel.
    pub weather: Weather,
    /// Where the network's delays are drawn from.
    pub seed: u64,
    /// Whether the network or a drone breaks the rules.
    pub hostility: Option<Hostility>,
}

/// Something that is to happen at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Happening {
    /// The next parcel of this link arrives.
    Deliver {
        /// The sender.
        from: DroneId,
        /// The receiver.
        to: DroneId,
    },
    /// A thread of a drone's program goes on.
    Step {
        /// The drone.
        drone: DroneId,
        /// Which of its threads.
        thread: usize,
    },
    /// The drone stops for a time, in microseconds: nothing happens at it.
    Stop {
        /// The drone.
        drone: DroneId,
        /// How long.
        for_us: u64,
    },
    /// The drone dies.
    Kill {
        /// The drone.
        drone: DroneId,
        /// Whether what it sent last is lost with it.
        reset: bool,
    },
    /// The link between two drones breaks; each end hears of it by itself.
    Break {
        /// One end.
        one: DroneId,
        /// The other.
        other: DroneId,
        /// How many parcels in each direction still arrive.
        arrive: usize,
    },
    /// A drone whose program has failed ends its process.
    Exit {
        /// The drone.
        drone: DroneId,
    },
}

/// A ticket that came back.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Completed {
    /// At which drone.
    pub drone: DroneId,
    /// Which.
    pub ticket: Ticket,
    /// How it went.
    pub result: Result<Outcome, Failure>,
}

/// Drones, links and time.
#[derive(Debug)]
pub(crate) struct World {
    seats: Vec<Seat>,
    network: Network,
    now_us: u64,
    agenda: BTreeMap<(u64, u64), Happening>,
    scheduled: u64,
    events: u64,
    messages: u64,
    encoded: Vec<u8>,
    effects: Vec<Effect>,
    /// Who sent whom which kind of message, if that is kept.
    transcript: Option<Vec<String>>,
    hostile: Option<Hostile>,
    collected: Collected,
    /// Links on which nothing is carried any more.
    broken: BTreeSet<(DroneId, DroneId)>,
    /// Receivers that have heard of the end of a link, by (sender, receiver).
    deaf: BTreeSet<(DroneId, DroneId)>,
    /// How often a drone found a link or a peer at fault by what came.
    reports: u64,
    /// Who is driven at the moment: a panic is its own.
    driven: DroneId,
    /// What happened.
    pub trace: Trace,
}

#[derive(Debug)]
struct Seat {
    core: Core<SimMemory>,
    waiting: BTreeMap<Ticket, String>,
    tickets: u64,
    stopped_until_us: u64,
    dead: bool,
    lost: bool,
}

impl World {
    /// A world at its start.
    pub(crate) fn new(plan: &WorldPlan, trace: Trace) -> Self {
        #[cfg(hivemind_mutants)]
        hivemind_protocol::choose_mutant(|variable| std::env::var(variable).ok());
        let drones = plan.watches.len() as u32;
        let seats = plan.watches.iter().zip(0..).map(|(watch, me)| {
            let me = DroneId(me);
            let memory = SimMemory::new(me, plan.pages, *watch);
            let metadata_limit_bytes = plan.metadata_limit_bytes;
            let config = CoreConfig {
                me,
                drones,
                pages: plan.pages,
                metadata_limit_bytes,
                fan_out: plan.fan_out,
                economies: plan.economies,
            };
            let mut core = Core::new(config, memory);
            if trace.is_recording() {
                core.observe();
            }
            Seat {
                core,
                waiting: BTreeMap::new(),
                tickets: 0,
                stopped_until_us: 0,
                dead: false,
                lost: false,
            }
        });
        Self {
            seats: seats.collect(),
            network: Network::new(plan.weather.clone(), plan.seed),
            now_us: 0,
            agenda: BTreeMap::new(),
            scheduled: 0,
            events: 0,
            messages: 0,
            encoded: Vec::new(),
            effects: Vec::new(),
            transcript: None,
            hostile: plan
                .hostility
                .map(|hostility| Hostile::new(hostility, drones, plan.pages, plan.seed)),
            collected: Collected::default(),
            broken: BTreeSet::new(),
            deaf: BTreeSet::new(),
            reports: 0,
            driven: DroneId(0),
            trace,
        }
    }

    /// How many drones there are.
    pub(crate) fn drones(&self) -> u32 {
        self.seats.len() as u32
    }

    /// Virtual time since the start, in microseconds.
    pub(crate) fn now_us(&self) -> u64 {
        self.now_us
    }

    /// How many events the cores took.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// How many messages the drones sent.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// From now on keeps who sends whom which kind of message: `d0>d1 PageRequest`.
    pub(crate) fn keep_transcript(&mut self) {
        self.transcript.get_or_insert_default();
    }

    /// What was sent since the last call, in order.
    pub(crate) fn take_transcript(&mut self) -> Vec<String> {
        self.transcript
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// The links.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// A drone's memory.
    pub(crate) fn memory(&self, drone: DroneId) -> &SimMemory {
        self.seat(drone).core.memory()
    }

    /// A drone's memory, for its program's stores.
    pub(crate) fn memory_mut(&mut self, drone: DroneId) -> &mut SimMemory {
        self.seat_mut(drone).core.memory_mut()
    }

    /// What a drone's core counted.
    pub(crate) fn stats(&self, drone: DroneId) -> Stats {
        self.seat(drone).core.stats()
    }

    /// Whether a drone died.
    pub(crate) fn is_dead(&self, drone: DroneId) -> bool {
        self.seat(drone).dead
    }

    /// Whether a drone may be told that it lost another: that is dead, or their link is broken.
    pub(crate) fn may_lose(&self, drone: DroneId, lost: DroneId) -> bool {
        self.is_dead(lost) || self.deaf.contains(&(lost, drone))
    }

    /// Whether any drone was told that it lost another.
    pub(crate) fn any_lost(&self) -> bool {
        self.seats.iter().any(|seat| seat.lost)
    }

    /// How often a drone found a link or a peer at fault by what came from it.
    pub(crate) fn reports(&self) -> u64 {
        self.reports
    }

    /// The drone that was driven last.
    pub(crate) fn driven(&self) -> DroneId {
        self.driven
    }

    /// How many frames were tampered with, and how many lies were told.
    pub(crate) fn hostilities(&self) -> (u64, u64) {
        let hostile = self.hostile.as_ref();
        hostile.map_or((0, 0), |hostile| (hostile.tampered, hostile.lies))
    }

    /// What a drone's tickets wait for, in words.
    pub(crate) fn waiting(&self, drone: DroneId) -> impl Iterator<Item = (Ticket, &str)> {
        self.seat(drone)
            .waiting
            .iter()
            .map(|(ticket, what)| (*ticket, what.as_str()))
    }

    /// Lets something happen `after_us` from now.
    pub(crate) fn schedule(&mut self, after_us: u64, what: Happening) {
        self.schedule_at(self.now_us + after_us, what);
    }

    /// Moves time to the next happening and gives it; none when nothing is left to happen.
    pub(crate) fn advance(&mut self) -> Option<Happening> {
        loop {
            let ((at_us, _), what) = self.agenda.pop_first()?;
            self.now_us = self.now_us.max(at_us);
            let place = match what {
                Happening::Deliver { to, .. } => to,
                Happening::Step { drone, .. }
                | Happening::Stop { drone, .. }
                | Happening::Kill { drone, .. }
                | Happening::Exit { drone } => drone,
                Happening::Break { .. } => return Some(what),
            };
            let seat = &self.seats[place.0 as usize];
            if seat.stopped_until_us > self.now_us {
                self.schedule_at(seat.stopped_until_us, what);
            } else if !seat.dead {
                return Some(what);
            }
        }
    }

    /// Delivers the next parcel of a link.
    ///
    /// # Errors
    /// What is found to be wrong.
    pub(crate) fn deliver(&mut self, from: DroneId, to: DroneId) -> Verdict<Vec<Completed>> {
        let Some(parcel) = self.network.take(from, to) else {
            return Ok(Vec::new());
        };
        if self.deaf.contains(&(from, to)) {
            return Ok(Vec::new());
        }
        match parcel {
            Parcel::Message(message, clock) => {
                self.collected.gets(to, from, &message)?;
                self.trace.hears(to, &clock);
                self.handle(to, Event::Message { from, message })
            }
            Parcel::Frame(frame, clock) => {
                let hostile = self.hostile.as_mut().expect("frames are a hostile world's");
                match hostile.open(from, to, &frame) {
                    Ok(None) => Ok(Vec::new()),
                    Ok(Some(message)) => {
                        self.trace.hears(to, &clock);
                        self.handle(to, Event::Message { from, message })
                    }
                    Err(why) => {
                        self.say(to, || format!("gives up its link to {from}: {why}"));
                        self.give_up(to, from)
                    }
                }
            }
            Parcel::Closed => self.lose(to, from),
        }
    }

    fn others(&self, drone: DroneId) -> impl Iterator<Item = DroneId> + use<> {
        let all = (0..self.drones()).map(DroneId);
        all.filter(move |other| *other != drone)
    }

    /// A program's fault.
    ///
    /// # Errors
    /// What is found to be wrong.
    pub(crate) fn fault(
        &mut self,
        drone: DroneId,
        blocked: crate::memory::Blocked,
    ) -> Verdict<Started> {
        let crate::memory::Blocked { page, kind } = blocked;
        let ticket = self.ticket(drone, || format!("a {kind:?} fault of {page}"));
        let completed = self.handle(drone, Event::Fault { page, kind, ticket })?;
        Ok(Started { ticket, completed })
    }

    /// A program's call.
    ///
    /// # Errors
    /// What is found to be wrong.
    pub(crate) fn command(&mut self, drone: DroneId, command: Command) -> Verdict<Started> {
        if may_wait(&command) {
            self.memory_mut(drone).set_waits(true);
        }
        let ticket = self.ticket(drone, || format!("{command:?}"));
        let completed = self.handle(drone, Event::Command { command, ticket })?;
        Ok(Started { ticket, completed })
    }

    fn ticket(&mut self, drone: DroneId, what: impl FnOnce() -> String) -> Ticket {
        let seat = self.seat_mut(drone);
        seat.tickets += 1;
        let ticket = Ticket(seat.tickets);
        seat.waiting.insert(ticket, what());
        ticket
    }

    /// Hands one event to a core and sees to its effects.
    fn handle(&mut self, drone: DroneId, event: Event) -> Verdict<Vec<Completed>> {
        self.events += 1;
        self.driven = drone;
        self.trace.mix(self.now_us);
        self.trace.mix(u64::from(drone.0));
        self.trace.begin_step(self.events);
        self.says(drone, About::Event(&event), || describe_event(&event));
        let shows = self.trace.shows_states(drone);
        let before = shows.then(|| self.seat(drone).core.inspect());
        let mut effects = std::mem::take(&mut self.effects);
        let result = self.seat_mut(drone).core.handle(event, &mut effects);
        if let Some(before) = before {
            let now = self.seats[drone.0 as usize].core.inspect();
            state::show_changes(&mut self.trace, drone, &before, &now);
        }
        self.say_notes(drone);
        let mut completed = Vec::new();
        for effect in effects.drain(..) {
            self.says(drone, About::Effect(&effect), || describe_effect(&effect));
            match effect {
                Effect::Send { to, message } => self.send(drone, to, message)?,
                Effect::Complete { ticket, result } => {
                    completed.push(self.complete(drone, ticket, result)?);
                }
            }
        }
        self.effects = effects;
        let Err(misbehaviour) = result else {
            return Ok(completed);
        };
        // A liar may well be told what it does not expect; it counts as found out by what it says of it.
        let liar = self
            .hostile
            .as_ref()
            .and_then(|hostile| hostile.hostility().liar());
        if liar.is_none_or(|liar| liar != misbehaviour.peer && liar != drone) {
            let what = format!("{drone} says: {misbehaviour}");
            return Err(Finding::new(
                "a correct drone is called a misbehaving one",
                what,
            ));
        }
        self.say(drone, || format!("says: {misbehaviour}"));
        completed.extend(self.give_up(drone, misbehaviour.peer)?);
        Ok(completed)
    }

    fn send(&mut self, from: DroneId, to: DroneId, message: Message) -> Verdict<()> {
        if to == from || to.0 >= self.drones() {
            let what = format!("{from} sends to {to}: {message:?}");
            return Err(Finding::new("a message to nobody", what));
        }
        self.messages += 1;
        self.collected.sends(from, &message);
        if let Some(transcript) = &mut self.transcript {
            let words = format!("{message:?}");
            let kind = words.split([' ', '(']).next().unwrap_or_default();
            transcript.push(format!("d{}>d{} {kind}", from.0, to.0));
        }
        self.encoded.clear();
        message.encode(&mut self.encoded);
        self.trace.mix_bytes(&self.encoded);
        let message = match Message::decode(&self.encoded) {
            Ok(decoded) if decoded == message => decoded,
            other => {
                let what = format!("{from} sends {message:?}, {to} would get {other:?}");
                return Err(Finding::new("the wire form changes a message", what));
            }
        };
        if self.seat(to).dead || self.broken.contains(&(from, to)) {
            return Ok(());
        }
        let clock = self.trace.clock(from);
        let Some(hostile) = &mut self.hostile else {
            self.post(from, to, Parcel::Message(message, clock));
            return Ok(());
        };
        let (frames, done) = hostile.send(from, to, message);
        if let Some(done) = done {
            self.say(from, || format!("  (what it sends to {to} {done})"));
        }
        for (from, to, frame) in frames {
            if !self.seat(to).dead && !self.broken.contains(&(from, to)) {
                self.post(from, to, Parcel::Frame(frame, clock.clone()));
            }
        }
        Ok(())
    }

    fn post(&mut self, from: DroneId, to: DroneId, parcel: Parcel) {
        let arrives_us = self.network.send(from, to, parcel, self.now_us);
        self.schedule_at(arrives_us, Happening::Deliver { from, to });
    }

    fn complete(
        &mut self,
        drone: DroneId,
        ticket: Ticket,
        result: Result<Outcome, Failure>,
    ) -> Verdict<Completed> {
        self.trace.mix(ticket.0);
        let seat = self.seat_mut(drone);
        let Some(what) = seat.waiting.remove(&ticket) else {
            let what = format!("{drone} completes {ticket}, which waits for nothing: {result:?}");
            return Err(Finding::new("a wait ends twice", what));
        };
        let is_call = ["Acquire", "TryAcquire", "Wait", "Meet"];
        if is_call.iter().any(|call| what.starts_with(call)) {
            seat.core.memory_mut().set_waits(false);
        }
        Ok(Completed {
            drone,
            ticket,
            result,
        })
    }

    fn schedule_at(&mut self, at_us: u64, what: Happening) {
        self.scheduled += 1;
        self.agenda.insert((at_us, self.scheduled), what);
    }

    fn say(&mut self, drone: DroneId, what: impl FnOnce() -> String) {
        self.says(drone, About::Drone, what);
    }

    /// Something happens at a drone that the record is to show.
    pub(crate) fn says(&mut self, drone: DroneId, about: About<'_>, what: impl FnOnce() -> String) {
        self.trace.happens(self.now_us, drone, about, what);
    }

    /// What a core noted of itself; nothing where nothing is recorded.
    fn say_notes(&mut self, drone: DroneId) {
        let mut notes = Vec::new();
        self.seat_mut(drone).core.take_notes(&mut notes);
        for note in notes {
            self.says(drone, About::Note(&note), || format!("  notes {note:?}"));
        }
    }

    fn seat(&self, drone: DroneId) -> &Seat {
        &self.seats[drone.0 as usize]
    }

    fn seat_mut(&mut self, drone: DroneId) -> &mut Seat {
        &mut self.seats[drone.0 as usize]
    }
}

/// Whether the program waits in this call, and touches no memory meanwhile.
pub(crate) fn may_wait(command: &Command) -> bool {
    matches!(
        command,
        Command::Acquire(_)
            | Command::TryAcquire(_)
            | Command::Wait { .. }
            | Command::Meet(_)
            | Command::Depart
    )
}

/// A fault or a command that was handed in.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Started {
    /// Its ticket.
    pub ticket: Ticket,
    /// What completed at once, itself perhaps.
    pub completed: Vec<Completed>,
}
