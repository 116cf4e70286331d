//! One run: a plan's programs are executed on a world, and the oracle judges each access and each call.
//! What the steps mean for the core is here and in the rooms below; what they mean for the program is in `expand`.

mod accesses;
mod calls;

use crate::books;
use crate::finding::{Finding, Verdict};
use crate::hostile::Hostilities;
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::start::gather;
use crate::step::Step;
use crate::thread::{Actor, HELPER, MAIN, State};
use crate::trace::Trace;
use crate::world::{Completed, Happening, Started, World};
use hivemind_protocol::{DroneId, Failure, Outcome, PAGE_SIZE, Stats};

/// A run in progress.
#[derive(Debug)]
pub(crate) struct Run {
    plan: Plan,
    world: World,
    oracle: Oracle,
    actors: Vec<Actor>,
    heap: HeapCalls,
    faults: Faults,
}

/// What was injected.
///
/// ```
/// use hivemind_sim::{Plan, check};
/// use hivemind_protocol::DroneId;
/// let plan = (1..).map(Plan::draw).find(|plan| plan.drones() == 3 && plan.kill.is_none());
/// let mut plan = plan.expect("there are such plans");
/// plan.cut = None;
/// plan.kill = Some((1, DroneId(2), false));
/// assert_eq!(check(&plan)?.faults.kills, 1);
/// # Ok::<(), Box<hivemind_sim::Failed>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Messages that took more than a millisecond.
    pub delays: u64,
    /// Drones that stopped for a while.
    pub stops: u64,
    /// Drones that died.
    pub kills: u64,
    /// Links that broke.
    pub breaks: u64,
    /// Knocks at the start that were one too many.
    pub knocks: u64,
    /// Stores that landed in the middle of a call into the core.
    pub races: u64,
}

/// What a run that found nothing did.
///
/// ```
/// use hivemind_sim::{Plan, check};
/// let report = check(&Plan::draw(1))?;
/// println!("{} events in {} virtual µs", report.events, report.virtual_us);
/// # assert!(report.events > 0);
/// # Ok::<(), Box<hivemind_sim::Failed>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Events that the cores took.
    pub events: u64,
    /// Messages sent.
    pub messages: u64,
    /// Bytes loaded and compared.
    pub reads_checked: u64,
    /// Virtual time in microseconds.
    pub virtual_us: u64,
    /// Collections, summed over the drones.
    pub collections: u64,
    /// What was injected.
    pub faults: Faults,
    /// What was done in a hostile world, and how it ended.
    pub hostilities: Hostilities,
    /// The hash of everything that happened.
    pub hash: u64,
}

/// Which calls to the heap are under way: only when one is alone can a refusal be judged.
#[derive(Debug, Default)]
struct HeapCalls {
    outstanding: u64,
    alone: bool,
}

/// More events than any drawn program needs: a run that takes more is going round in circles.
const EVENTS_MOST: u64 = 300_000;

/// After how many seconds of silence a hostile world is taken to be over: a link ends at the first sign of life, the
/// drones whose programs fail by it end theirs, and so on.
const SIGNS_OF_LIFE: u64 = 3;

impl Run {
    /// A run at its start.
    pub(crate) fn new(plan: Plan, trace: Trace) -> Self {
        let mut world = World::new(&plan.world, trace);
        let drones = plan.drones();
        let region_bytes = plan.world.pages * PAGE_SIZE as u64;
        let actors = (0..drones).map(|me| {
            Actor::new(
                DroneId(me),
                plan.world.seed,
                plan.paces_us[me as usize],
                &plan.program,
            )
        });
        let actors = actors.collect();
        for drone in (0..drones).map(DroneId) {
            world.schedule(
                0,
                Happening::Step {
                    drone,
                    thread: MAIN,
                },
            );
        }
        for (at_us, drone, for_us) in &plan.stops {
            world.schedule(
                *at_us,
                Happening::Stop {
                    drone: *drone,
                    for_us: *for_us,
                },
            );
        }
        if let Some((at_us, drone, reset)) = plan.kill {
            world.schedule(at_us, Happening::Kill { drone, reset });
        }
        if let Some((at_us, one, other, arrive)) = plan.cut {
            world.schedule(at_us, Happening::Break { one, other, arrive });
        }
        let oracle = Oracle::new(drones, region_bytes);
        Self {
            plan,
            world,
            oracle,
            actors,
            heap: HeapCalls::default(),
            faults: Faults::default(),
        }
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The first thing that is found to be wrong.
    pub(crate) fn finish(&mut self) -> Verdict<Report> {
        self.faults.knocks = gather(self.plan.seed, self.plan.drones())?;
        self.until_still()?;
        // Nothing moves any more. In a hostile world the next signs of life tell what is amiss.
        for _ in 0..SIGNS_OF_LIFE {
            if self.plan.world.hostility.is_some() {
                self.world.tick();
                self.until_still()?;
            }
        }
        self.check_end()?;
        Ok(self.report())
    }

    /// Goes on until nothing is left to happen.
    fn until_still(&mut self) -> Verdict<()> {
        while let Some(what) = self.world.advance() {
            match what {
                Happening::Deliver { from, to } => self.deliver(from, to)?,
                Happening::Step { drone, thread } => self.go_on(drone, thread)?,
                Happening::Stop { drone, for_us } => {
                    self.faults.stops += 1;
                    self.world.stop(drone, for_us);
                }
                Happening::Kill { drone, reset } => {
                    self.faults.kills += 1;
                    self.world.kill(drone, reset);
                }
                Happening::Break { one, other, arrive } => {
                    self.faults.breaks += 1;
                    self.world.break_link(one, other, arrive);
                }
                Happening::Exit { drone } => self.world.kill(drone, false),
            }
            if self.world.events() > EVENTS_MOST {
                let what = format!(
                    "{EVENTS_MOST} events passed and programs still run\n{}",
                    self.standing()
                );
                return Err(Finding::new("no progress", what));
            }
        }
        Ok(())
    }

    /// What everybody does and waits for, a line a drone.
    pub(crate) fn standing(&self) -> String {
        let mut lines = Vec::new();
        for actor in &self.actors {
            let waits: Vec<String> = self
                .world
                .waiting(actor.drone)
                .map(|(ticket, what)| format!("{ticket} for {what}"))
                .collect();
            let dead = if self.world.is_dead(actor.drone) {
                " (dead)"
            } else {
                ""
            };
            lines.push(format!("{}{dead}; waits: {waits:?}", actor.describe()));
        }
        lines.join("\n")
    }

    /// The drone whose core was driven last.
    pub(crate) fn driven(&self) -> DroneId {
        self.world.driven()
    }

    /// The record of the run.
    pub(crate) fn trace(&self) -> &Trace {
        &self.world.trace
    }

    /// What was done; how it ended is judged by who knows whether something was found.
    pub(crate) fn hostilities(&self) -> Hostilities {
        let (tampered, lies) = self.world.hostilities();
        let detected = u64::from(self.world.reports() > 0);
        Hostilities {
            tampered,
            lies,
            detected,
            harmless: u64::from(tampered + lies > 0 && detected == 0),
            believed: 0,
        }
    }

    /// What was done so far.
    pub(crate) fn report(&self) -> Report {
        let drones = (0..self.world.drones()).map(DroneId);
        Report {
            events: self.world.events(),
            messages: self.world.messages(),
            reads_checked: self.oracle.reads_checked(),
            virtual_us: self.world.now_us(),
            collections: drones
                .map(|drone| self.world.stats(drone).collections)
                .sum(),
            faults: Faults {
                delays: self.world.network().delayed(),
                ..self.faults
            },
            hostilities: self.hostilities(),
            hash: self.world.trace.hash(),
        }
    }

    fn check_end(&self) -> Verdict<()> {
        for actor in &self.actors {
            let over = |state: &State| matches!(state, State::Idle | State::Failed);
            let ended = actor.threads.iter().all(|thread| over(&thread.state));
            if !ended && !self.world.is_dead(actor.drone) {
                let what = format!("nothing happens any more, yet\n{}", self.standing());
                return Err(Finding::new("programs that never end", what));
            }
        }
        let lies = self.world.hostilities().1;
        if self.world.any_lost() || self.plan.kill.is_some() || lies > 0 {
            Ok(())
        } else {
            self.check_books()
        }
    }

    /// All have left and all messages have come.
    fn check_books(&self) -> Verdict<()> {
        let stats = (0..self.world.drones()).map(|drone| self.world.stats(DroneId(drone)));
        let stats: Vec<Stats> = stats.collect();
        let limit_bytes = self.plan.world.metadata_limit_bytes;
        let limit_bytes = self.plan.stops.is_empty().then_some(limit_bytes);
        books::close(&stats, self.world.messages(), limit_bytes)
    }

    fn deliver(&mut self, from: DroneId, to: DroneId) -> Verdict<()> {
        let armed = self.arm(to, None);
        let completed = self.world.deliver(from, to);
        let completed = completed?;
        self.settle_race(to, armed)?;
        self.dispatch(completed)
    }

    /// A thread's scheduled step.
    fn go_on(&mut self, drone: DroneId, thread: usize) -> Verdict<()> {
        let me = drone.0 as usize;
        if self.actors[me].threads[thread].state != State::Ready {
            return Ok(());
        }
        let held_up = self.actors[me].in_call || self.actors[me].wants_call;
        if thread == HELPER && held_up {
            self.actors[me].threads[HELPER].state = State::Parked;
            self.wake(drone, MAIN);
            return Ok(());
        }
        self.refill(drone, thread);
        match self.actors[me].threads[thread].steps.pop_front() {
            Some(step) => self.execute(drone, thread, step),
            None => {
                self.actors[me].threads[thread].state = State::Idle;
                if thread == HELPER {
                    self.wake(drone, MAIN);
                }
                Ok(())
            }
        }
    }

    fn refill(&mut self, drone: DroneId, thread: usize) {
        let actor = &mut self.actors[drone.0 as usize];
        if thread == HELPER {
            actor.refill_helper(&self.plan.program);
        } else if actor.refill_main(&self.plan.program) {
            actor.threads[HELPER].state = State::Ready;
            self.schedule(drone, HELPER, 0);
        }
    }

    /// A parked thread goes on.
    fn wake(&mut self, drone: DroneId, thread: usize) {
        let found = &mut self.actors[drone.0 as usize].threads[thread];
        if found.state == State::Parked {
            found.state = State::Ready;
            self.schedule(drone, thread, 0);
        }
    }

    /// Schedules a thread's next step, after a pause of its own choice and `more_us`.
    fn schedule(&mut self, drone: DroneId, thread: usize, more_us: u64) {
        let actor = &mut self.actors[drone.0 as usize];
        let after_us = actor.prng.below(actor.pace_us + 1) + more_us;
        self.world
            .schedule(after_us, Happening::Step { drone, thread });
    }

    fn execute(&mut self, drone: DroneId, thread: usize, step: Step) -> Verdict<()> {
        match step {
            Step::Compute(us) => {
                self.schedule(drone, thread, us);
                Ok(())
            }
            Step::Load { at, bytes, begun } => self.load(drone, thread, at, bytes, begun),
            Step::Store { at, content } => self.store(drone, thread, at, content),
            Step::StoreIncremented { at } => {
                let loaded = &self.actors[drone.0 as usize].threads[thread].loaded;
                let content = loaded.iter().map(|byte| byte.wrapping_add(1)).collect();
                self.store(drone, thread, at, content)
            }
            Step::Decide(decision) => {
                let actor = &mut self.actors[drone.0 as usize];
                let steps = actor.scene(&self.plan.program, thread).decide(decision);
                for step in steps.into_iter().rev() {
                    actor.threads[thread].steps.push_front(step);
                }
                self.schedule(drone, thread, 0);
                Ok(())
            }
            Step::Join if !self.actors[drone.0 as usize].helper_is_idle() => {
                self.park(drone, Step::Join);
                Ok(())
            }
            Step::Join => {
                self.schedule(drone, thread, 0);
                Ok(())
            }
            call => self.call(drone, thread, call),
        }
    }

    fn park(&mut self, drone: DroneId, step: Step) {
        let main = &mut self.actors[drone.0 as usize].threads[MAIN];
        main.steps.push_front(step);
        main.state = State::Parked;
    }

    fn await_ticket(
        &mut self,
        drone: DroneId,
        thread: usize,
        started: Started,
        call: Option<Step>,
    ) -> Verdict<()> {
        let Started { ticket, completed } = started;
        self.actors[drone.0 as usize].threads[thread].state = State::Waiting { ticket, call };
        self.dispatch(completed)
    }

    fn dispatch(&mut self, completed: Vec<Completed>) -> Verdict<()> {
        for Completed {
            drone,
            ticket,
            result,
        } in completed
        {
            let actor = &mut self.actors[drone.0 as usize];
            let thread = actor
                .waits_for(ticket)
                .expect("the world knows its tickets");
            let State::Waiting { call, .. } = std::mem::take(&mut actor.threads[thread].state)
            else {
                unreachable!("the thread waits for the ticket")
            };
            actor.threads[thread].state = State::Ready;
            if matches!(
                call,
                Some(
                    Step::Acquire(_)
                        | Step::Try(..)
                        | Step::Wait(..)
                        | Step::Meet(..)
                        | Step::Depart
                        | Step::Refused(..)
                )
            ) {
                actor.in_call = false;
            }
            if let Err(Failure::Lost(lost)) = result {
                self.fail(drone, thread, lost)?;
                continue;
            }
            match call {
                None if result == Ok(Outcome::Done) => {}
                None => {
                    let what = format!("{drone}'s fault completed with {result:?}");
                    return Err(Finding::new("a fault's outcome", what));
                }
                Some(step) => self.after_call(drone, thread, step, result)?,
            }
            self.schedule(drone, thread, 0);
            self.wake(drone, HELPER);
        }
        Ok(())
    }

    fn fail(&mut self, drone: DroneId, thread: usize, lost: DroneId) -> Verdict<()> {
        if !self.world.may_lose(drone, lost) {
            let what = format!("{drone} is told that {lost} is lost, which lives");
            return Err(Finding::new("a loss that is none", what));
        }
        for found in &mut self.actors[drone.0 as usize].threads {
            if matches!(found.state, State::Parked) {
                found.state = State::Failed;
            }
        }
        self.actors[drone.0 as usize].threads[thread].state = State::Failed;
        // A program whose call failed ends with an error, one whose fault failed at once: so ends its drone.
        let pace_us = self.actors[drone.0 as usize].pace_us;
        self.world.schedule(pace_us, Happening::Exit { drone });
        Ok(())
    }
}
