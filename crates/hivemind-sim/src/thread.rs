//! What a drone's program is doing: its two threads, their steps and waits. It holds; `run` executes.

use crate::expand::Scene;
use crate::prng::Prng;
use crate::program::{Item, Program};
use crate::step::Step;
use hivemind_protocol::{Block, DroneId, LockId, Ticket};
use std::collections::VecDeque;

/// The thread that locks and meets.
pub(crate) const MAIN: usize = 0;
/// The thread that only touches pages.
pub(crate) const HELPER: usize = 1;

/// The program of one drone as it runs.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) drone: DroneId,
    pub(crate) threads: [Thread; 2],
    pub(crate) stage: Stage,
    /// The number of the phase that it is in, as drawn.
    pub(crate) phase: u64,
    /// The locks that it holds.
    pub(crate) held: Vec<LockId>,
    /// Whether the main thread is in an acquire or a meeting: nobody touches memory then.
    pub(crate) in_call: bool,
    /// Whether the main thread waits for the helper's fault to end, to begin such a call.
    pub(crate) wants_call: bool,
    /// Where the area begins.
    pub(crate) base: u64,
    /// The collective blocks: address and size.
    pub(crate) blocks: Vec<Option<(u64, u64)>>,
    pub(crate) prng: Prng,
    pub(crate) pace_us: u64,
}

/// How far a program is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Opening,
    /// Before this phase.
    Before(usize),
    /// In this phase.
    Within(usize),
    Closing,
    Over,
}

#[derive(Debug, Default)]
pub(crate) struct Thread {
    pub(crate) items: VecDeque<Item>,
    pub(crate) steps: VecDeque<Step>,
    pub(crate) state: State,
    pub(crate) loaded: Vec<u8>,
    pub(crate) allocated: Option<Block>,
    /// How often the access at hand has faulted.
    pub(crate) tries: u64,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) enum State {
    /// A step is scheduled.
    Ready,
    /// In a fault, or in the call that this step makes.
    Waiting { ticket: Ticket, call: Option<Step> },
    /// Waits for its sibling.
    Parked,
    /// Nothing to do, for now or for ever.
    #[default]
    Idle,
    /// A drone was lost: this program ends.
    Failed,
}

impl Actor {
    pub(crate) fn new(drone: DroneId, seed: u64, pace_us: u64, program: &Program) -> Self {
        let main = Thread {
            state: State::Ready,
            ..Thread::default()
        };
        let blocks = program.phases.iter().map(|_| None).collect();
        Self {
            drone,
            threads: [main, Thread::default()],
            stage: Stage::Opening,
            phase: 0,
            held: Vec::new(),
            in_call: false,
            wants_call: false,
            base: 0,
            blocks,
            prng: Prng::of(seed, 100 + u64::from(drone.0)),
            pace_us,
        }
    }

    /// What an item means now.
    pub(crate) fn scene<'a>(&'a self, program: &'a Program, thread: usize) -> Scene<'a> {
        Scene {
            layout: &program.layout,
            drone: self.drone,
            phase: self.phase,
            base: self.base,
            blocks: &self.blocks,
            loaded: &self.threads[thread].loaded,
            allocated: self.threads[thread].allocated,
        }
    }

    /// Gives the main thread its next steps; none when its program is over. The flag says that the helper has
    /// something to do from now on.
    pub(crate) fn refill_main(&mut self, program: &Program) -> bool {
        let mut helper_begins = false;
        while self.threads[MAIN].steps.is_empty() && self.stage != Stage::Over {
            let steps = match self.stage {
                Stage::Opening => {
                    self.stage = Stage::Before(0);
                    let scene = self.scene(program, MAIN);
                    if program.allocates_area {
                        scene.opening()
                    } else {
                        Vec::new()
                    }
                }
                Stage::Before(phase) if phase < program.phases.len() => {
                    let work = &program.phases[phase].work[self.drone.0 as usize];
                    self.threads[MAIN].items = work.main.iter().cloned().collect();
                    self.threads[HELPER].items = work.helper.iter().cloned().collect();
                    helper_begins |= !work.helper.is_empty();
                    self.phase = program.phases[phase].number;
                    self.stage = Stage::Within(phase);
                    Vec::new()
                }
                Stage::Before(_) => {
                    self.stage = Stage::Closing;
                    self.scene(program, MAIN).closing()
                }
                Stage::Within(phase) => match self.threads[MAIN].items.pop_front() {
                    Some(item) => self.scene(program, MAIN).item(&item),
                    None => {
                        self.stage = Stage::Before(phase + 1);
                        self.scene(program, MAIN).phase_end(&program.phases[phase])
                    }
                },
                Stage::Closing => {
                    self.stage = Stage::Over;
                    Vec::new()
                }
                Stage::Over => Vec::new(),
            };
            self.threads[MAIN].steps.extend(steps);
        }
        helper_begins
    }

    /// Gives the helper its next steps; none when it has done its part of the phase.
    pub(crate) fn refill_helper(&mut self, program: &Program) {
        while self.threads[HELPER].steps.is_empty() {
            let Some(item) = self.threads[HELPER].items.pop_front() else {
                return;
            };
            let steps = self.scene(program, HELPER).item(&item);
            self.threads[HELPER].steps.extend(steps);
        }
    }

    /// Whether the helper has done its part of the phase.
    pub(crate) fn helper_is_idle(&self) -> bool {
        matches!(self.threads[HELPER].state, State::Idle | State::Failed)
    }

    /// The thread that waits for this ticket.
    pub(crate) fn waits_for(&self, wanted: Ticket) -> Option<usize> {
        let waits = |thread: &Thread| matches!(thread.state, State::Waiting { ticket, .. } if ticket == wanted);
        self.threads.iter().position(waits)
    }

    /// What it is doing, in words.
    pub(crate) fn describe(&self) -> String {
        let main = &self.threads[MAIN];
        let next = main
            .steps
            .front()
            .map_or("nothing".to_owned(), |step| format!("{step:?}"));
        format!(
            "{}: {:?}, holds {:?}, main {:?}, next {next}; helper {:?}",
            self.drone, self.stage, self.held, main.state, self.threads[HELPER].state
        )
    }
}
