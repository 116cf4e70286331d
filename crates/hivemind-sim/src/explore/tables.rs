//! States of a small world as a few numbers. Each part of a world (a drone, a link's queue, the oracle) is
//! kept once and named by its number, compared in full; and what a move does to a part is worked out once.
//! (Collapse compression: Holzmann, SPIN workshop 1997.)
//!
//! Which states are looked at is decided in `search`.

use super::moves::Move;
use super::seat::{Claim, Seat};
use super::world::{DRONES_MOST, Deed, SmallWorld};
use crate::check::catching;
use crate::finding::{Finding, Verdict};
use crate::oracle::Oracle;
use crate::trace::Trace;
use foldhash::fast::FixedState;
use hivemind_protocol::{Address, BarrierId, DroneId, Event, PAGE_SIZE};
use indexmap::{IndexMap, IndexSet};
use std::hash::Hash;

const DRONES: usize = DRONES_MOST as usize;
const LINKS: usize = DRONES * DRONES;
const PARTS: usize = DRONES + LINKS + 1;

/// A state: the number of each drone, of each link's queue, of the oracle.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State([u32; PARTS]);

/// A drone that is dead, and the queue of a link that nobody will ever read.
const DEAD: u32 = u32::MAX;

/// Parts by number and numbers by part. Keeps the order in which they came, so a search is the same again.
type Numbered<T> = IndexSet<T, FixedState>;

/// The parts of a world that were seen, and what moves do to them.
pub(crate) struct Tables {
    world: SmallWorld,
    /// Each drone's program, with what is asked of it at the end.
    programs: Vec<Vec<Deed>>,
    seats: Numbered<Seat>,
    events: Numbered<Event>,
    queues: Numbered<Vec<u32>>,
    oracles: Numbered<Oracle>,
    claims: Numbered<(DroneId, Claim)>,
    moved: IndexMap<(u32, Act), Option<Moved>, FixedState>,
    judged: IndexMap<(u32, u32), u32, FixedState>,
}

/// What happens to one drone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Act {
    Step,
    Receive { event: u32, store_after: Option<u8> },
}

/// What became of it.
#[derive(Clone, Debug)]
struct Moved {
    seat: u32,
    sends: Box<[(DroneId, u32)]>,
    claims: Box<[u32]>,
}

/// How far programs may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Until {
    /// To the end of what the world says.
    World,
    /// To the end of what is asked of every drone afterwards as well.
    Epilogue,
}

impl Tables {
    pub(crate) fn new(world: &SmallWorld) -> Self {
        #[cfg(hivemind_mutants)]
        hivemind_protocol::choose_mutant(|name| std::env::var(name).ok());
        let epilogue = epilogue(world);
        let programs = world.programs.iter().map(|program| {
            let mut program = program.clone();
            program.extend(epilogue.iter().cloned());
            program
        });
        Self {
            world: world.clone(),
            programs: programs.collect(),
            seats: Numbered::default(),
            events: Numbered::default(),
            queues: Numbered::default(),
            oracles: Numbered::default(),
            claims: Numbered::default(),
            moved: IndexMap::default(),
            judged: IndexMap::default(),
        }
    }

    /// The world.
    pub(crate) fn world(&self) -> &SmallWorld {
        &self.world
    }

    /// The world at its start.
    pub(crate) fn start(&mut self) -> State {
        let mut parts = [0; PARTS];
        for drone in self.drones() {
            let seat = Seat::new(&self.world, drone);
            parts[drone.0 as usize] = number(&mut self.seats, seat);
        }
        let empty = number(&mut self.queues, Vec::new());
        parts[DRONES..DRONES + LINKS].fill(empty);
        let region_bytes = self.world.pages * PAGE_SIZE as u64;
        let oracle = Oracle::new(self.world.drones, region_bytes);
        parts[PARTS - 1] = number(&mut self.oracles, oracle);
        State(parts)
    }

    /// How many states of a single drone were seen.
    pub(crate) fn seats(&self) -> usize {
        self.seats.len()
    }

    /// How many events of a single drone were worked out.
    pub(crate) fn worked_out(&self) -> usize {
        self.moved.len()
    }

    /// Every state that may come next, with the move that leads there.
    ///
    /// # Errors
    /// The move that finds something.
    pub(crate) fn next(
        &mut self,
        state: &State,
        until: Until,
        into: &mut Vec<(Move, State)>,
    ) -> Result<(), (Move, Finding)> {
        into.clear();
        let mut add = |tables: &mut Self, what: Move| {
            let next = tables
                .apply(state, what, &mut Trace::hash_only())
                .map_err(|finding| (what, finding))?;
            into.extend(next.map(|next| (what, next)));
            Ok(next.is_some())
        };
        for drone in self.drones() {
            if let Some(seat) = self.seat(state, drone)
                && seat.is_ready(self.end(drone, until))
            {
                add(self, Move::Step(drone))?;
            }
        }
        for from in self.drones() {
            for to in self.drones() {
                if state.queue(from, to) == DEAD || self.head(state, from, to).is_none() {
                    continue;
                }
                let deliver = |store_after| Move::Deliver {
                    from,
                    to,
                    store_after,
                };
                add(self, deliver(None))?;
                if self.world.torn {
                    let mut after = 0;
                    while add(self, deliver(Some(after)))? {
                        after += 1;
                    }
                }
            }
        }
        if self.everybody_lives(state) && until == Until::World {
            for at in 0..self.world.mortal.len() {
                add(self, Move::Kill(self.world.mortal[at]))?;
            }
        }
        Ok(())
    }

    /// The state after a move; none if it cannot be made.
    ///
    /// # Errors
    /// What is found to be wrong.
    pub(crate) fn apply(
        &mut self,
        state: &State,
        what: Move,
        trace: &mut Trace,
    ) -> Verdict<Option<State>> {
        match what {
            Move::Step(drone) | Move::Kill(drone) if self.seat(state, drone).is_none() => Ok(None),
            Move::Step(drone) => self.act(state, drone, Act::Step, trace),
            Move::Kill(drone) => Ok(Some(self.kill(state, drone, trace))),
            Move::Deliver {
                from,
                to,
                store_after,
            } => {
                let Some(event) = self.head(state, from, to) else {
                    return Ok(None);
                };
                let mut state = *state;
                let rest = self.queues[state.queue(from, to) as usize][1..].to_vec();
                *state.queue_mut(from, to) = number(&mut self.queues, rest);
                self.act(&state, to, Act::Receive { event, store_after }, trace)
            }
        }
    }

    /// Whether a move is more than a death, which may always come.
    pub(crate) fn is_progress(what: Move) -> bool {
        !matches!(what, Move::Kill(_))
    }

    pub(crate) fn everybody_lives(&self, state: &State) -> bool {
        self.drones().all(|drone| self.seat(state, drone).is_some())
    }

    /// Nothing happens any more: all programs must be over.
    pub(crate) fn check_rest(&self, state: &State, until: Until) -> Verdict<()> {
        let waiting = self.drones().find(|drone| {
            let seat = self.seat(state, *drone);
            seat.is_some_and(|seat| !seat.is_done(self.end(*drone, until)))
        });
        match waiting {
            None => Ok(()),
            Some(_) => Err(Finding::new(
                "programs that never end",
                format!("nothing happens any more, yet\n{}", self.standing(state)),
            )),
        }
    }

    /// All is over and everybody lives: the bytes must be what the world says, whatever the order was.
    pub(crate) fn check_results(&self, state: &State) -> Verdict<()> {
        let oracle = &self.oracles[state.0[PARTS - 1] as usize];
        for (at, wanted) in &self.world.results {
            let got = oracle.expected(*at, wanted.len());
            if got != *wanted {
                let what = format!("{got:?} at {at}, where every order should give {wanted:?}");
                return Err(Finding::new("a result of its own", what));
            }
        }
        Ok(())
    }

    /// All have left: nothing is kept any more.
    pub(crate) fn check_books(&self, state: &State) -> Verdict<()> {
        let kept = self.drones().filter_map(|drone| {
            let bytes = self.seat(state, drone)?.metadata_bytes();
            (bytes > 0).then(|| format!("{drone} keeps {bytes} bytes at the end"))
        });
        match kept.into_iter().next() {
            None => Ok(()),
            Some(what) => Err(Finding::new("protocol memory that is never freed", what)),
        }
    }

    /// What everybody does, and what is under way.
    pub(crate) fn standing(&self, state: &State) -> String {
        let mut lines: Vec<String> = Vec::new();
        for drone in self.drones() {
            lines.push(match self.seat(state, drone) {
                None => format!("{drone}: dead"),
                Some(seat) => {
                    let program = &self.programs[drone.0 as usize];
                    format!("{drone}: {}", seat.describe(program))
                }
            });
        }
        for from in self.drones() {
            for to in self.drones() {
                let queue = state.queue(from, to);
                let count = self.queues.get_index(queue as usize).map_or(0, Vec::len);
                if count > 0 {
                    lines.push(format!("{count} messages from {from} to {to}"));
                }
            }
        }
        lines.join("\n")
    }

    fn drones(&self) -> impl Iterator<Item = DroneId> + use<> {
        (0..self.world.drones).map(DroneId)
    }

    fn end(&self, drone: DroneId, until: Until) -> usize {
        match until {
            Until::World => self.world.programs[drone.0 as usize].len(),
            Until::Epilogue => self.programs[drone.0 as usize].len(),
        }
    }

    fn seat(&self, state: &State, drone: DroneId) -> Option<&Seat> {
        self.seats.get_index(state.0[drone.0 as usize] as usize)
    }

    /// The number of the event at the head of a link.
    fn head(&self, state: &State, from: DroneId, to: DroneId) -> Option<u32> {
        let queue = self.queues.get_index(state.queue(from, to) as usize)?;
        queue.first().copied()
    }

    fn act(
        &mut self,
        state: &State,
        drone: DroneId,
        act: Act,
        trace: &mut Trace,
    ) -> Verdict<Option<State>> {
        let seat = state.0[drone.0 as usize];
        // A move that is to be told is worked out again.
        if trace.is_recording() || !self.moved.contains_key(&(seat, act)) {
            let moved = self.work_out(drone, seat, act, trace)?;
            self.moved.insert((seat, act), moved);
        }
        let Some(moved) = self.moved[&(seat, act)].clone() else {
            return Ok(None);
        };
        let mut state = *state;
        state.0[drone.0 as usize] = moved.seat;
        for (to, event) in &moved.sends {
            self.push(&mut state, drone, *to, *event);
        }
        for claim in &moved.claims {
            state.0[PARTS - 1] = self.judge(state.0[PARTS - 1], *claim)?;
        }
        Ok(Some(state))
    }

    fn work_out(
        &mut self,
        drone: DroneId,
        seat: u32,
        act: Act,
        trace: &mut Trace,
    ) -> Verdict<Option<Moved>> {
        let program = &self.programs[drone.0 as usize];
        let mut after = self.seats[seat as usize].clone();
        let deeds = catching(|| match act {
            Act::Step => after.step(program, trace),
            Act::Receive { event, store_after } => {
                let event = self.events[event as usize].clone();
                after.receive(event, store_after, program, trace)
            }
        })?;
        let Some(deeds) = deeds else { return Ok(None) };
        let sends = deeds.sends.into_iter().map(|(to, message)| {
            let from = drone;
            (
                to,
                number(&mut self.events, Event::Message { from, message }),
            )
        });
        let sends = sends.collect();
        let claims = deeds.claims.into_iter();
        let claims = claims.map(|claim| number(&mut self.claims, (drone, claim)));
        Ok(Some(Moved {
            sends,
            claims: claims.collect(),
            seat: number(&mut self.seats, after),
        }))
    }

    fn push(&mut self, state: &mut State, from: DroneId, to: DroneId, event: u32) {
        let queue = state.queue_mut(from, to);
        if *queue != DEAD {
            let mut longer = self.queues[*queue as usize].clone();
            longer.push(event);
            *queue = number(&mut self.queues, longer);
        }
    }

    /// The drone dies, and what it sent last with it. That it dies and all it sent still arrives is the
    /// same, for everybody else, as that it does nothing more and dies when all has arrived.
    fn kill(&mut self, state: &State, dead: DroneId, trace: &mut Trace) -> State {
        trace.note(|| format!("{dead}  dies, and what it sent last with it"));
        let mut state = *state;
        state.0[dead.0 as usize] = DEAD;
        let lost = number(&mut self.events, Event::Lost { drone: dead });
        let end = number(&mut self.queues, vec![lost]);
        for other in self.drones().filter(|other| *other != dead) {
            *state.queue_mut(dead, other) = end;
            *state.queue_mut(other, dead) = DEAD;
        }
        state
    }

    fn judge(&mut self, oracle: u32, claim: u32) -> Verdict<u32> {
        if let Some(after) = self.judged.get(&(oracle, claim)) {
            return Ok(*after);
        }
        let mut judge = self.oracles[oracle as usize].clone();
        let (drone, what) = &self.claims[claim as usize];
        let drone = *drone;
        catching(|| match what {
            Claim::Loaded(at, bytes) => judge.loaded(drone, *at, bytes),
            Claim::Stored(at, bytes) => judge.stored(drone, *at, bytes),
            Claim::Wants(lock) => {
                judge.wants(drone, *lock);
                Ok(())
            }
            Claim::Tries(lock) => {
                judge.tries(drone, *lock);
                Ok(())
            }
            Claim::TriedInVain(lock) => judge.tried_in_vain(drone, *lock),
            Claim::Acquired(lock) => judge.acquired(drone, *lock),
            Claim::Releases(lock) => {
                judge.releases(drone, *lock);
                Ok(())
            }
            Claim::FallsAsleep(lock, condition) => {
                judge.falls_asleep(drone, *lock, *condition);
                Ok(())
            }
            Claim::Woke(lock) => judge.woke(drone, *lock),
            Claim::Signals(lock, condition, all) => {
                judge.signals(*lock, *condition, *all);
                Ok(())
            }
            Claim::Meets(meeting) => {
                judge.meets(drone, meeting);
                Ok(())
            }
            Claim::Met(outcome) => judge.met(drone, outcome).map(|_| ()),
        })?;
        let after = number(&mut self.oracles, judge);
        self.judged.insert((oracle, claim), after);
        Ok(after)
    }
}

impl State {
    fn queue(&self, from: DroneId, to: DroneId) -> u32 {
        self.0[DRONES + from.0 as usize * DRONES + to.0 as usize]
    }

    fn queue_mut(&mut self, from: DroneId, to: DroneId) -> &mut u32 {
        &mut self.0[DRONES + from.0 as usize * DRONES + to.0 as usize]
    }
}

/// What is asked of every drone when its program is over: to meet all others, to load what the world names
/// as its results, and to leave.
fn epilogue(world: &SmallWorld) -> Vec<Deed> {
    if world.leaves() {
        return Vec::new();
    }
    let mut deeds = vec![Deed::Barrier(BarrierId(u32::MAX))];
    let results = world.results.iter();
    deeds.extend(results.map(|(at, bytes): &(Address, Vec<u8>)| Deed::Read(*at, bytes.len())));
    deeds.push(Deed::Leave);
    deeds
}

fn number<T: Hash + Eq>(parts: &mut Numbered<T>, part: T) -> u32 {
    let (number, _) = parts.insert_full(part);
    u32::try_from(number).expect("a search ends long before it has seen so many parts")
}
