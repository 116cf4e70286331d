//! The shortest tour: each drone takes prefixes from a queue, searches below them, and looks every 2 ms under a lock
//! whether another has found a better tour.

use crate::model::Figures;
use crate::model::script::{Place, Script, Steps, behind};
use crate::prng::Prng;
use hivemind_protocol::{DroneId, LockId, MeetingKind};
use std::cell::RefCell;
use std::rc::Rc;

const PREFIXES: usize = 256;
const PREFIX_BYTES: u64 = 16;
const REFRESH_NS: f64 = 2e6;
/// As in the comparison with other ways: 90 cities.
const CITIES: u64 = 90;
const ROAD_BYTES: u64 = 4;
/// A length, a number of cities, and room for 128 of them.
const BEST_BYTES: u64 = 16 + 128;
/// The first two locks of mutexes.
const NEXT: LockId = LockId(1 << 32);
const BEST: LockId = LockId((1 << 32) + 1);

pub(super) fn scripts(nodes: u64, drones: u32, figures: &Figures) -> Vec<Box<dyn Script>> {
    let work = Rc::new(works(nodes as f64 * figures.ns("tsp node")));
    let next = Rc::new(RefCell::new(0));
    let tsp = |_| Tsp {
        work: Rc::clone(&work),
        next: Rc::clone(&next),
        state: State::Begins,
    };
    (0..drones)
        .map(|nth| Box::new(tsp(nth)) as Box<dyn Script>)
        .collect()
}

/// How long the search below each prefix takes: exponentially distributed, always the same.
fn works(all_ns: f64) -> Vec<f64> {
    let mut prng = Prng::new(1);
    let draw = |_| -((1 + prng.below(1 << 20)) as f64 / f64::from(1 << 20)).ln();
    let weights: Vec<f64> = (0..PREFIXES).map(draw).collect();
    let sum: f64 = weights.iter().sum();
    weights
        .into_iter()
        .map(|weight| weight / sum * all_ns)
        .collect()
}

struct Tsp {
    work: Rc<Vec<f64>>,
    /// What lies in the queue's shared memory: looked at and changed only by who holds its lock.
    next: Rc<RefCell<usize>>,
    state: State,
}

enum State {
    Begins,
    Shares,
    Queues,
    Asks,
    /// Holds the queue's lock.
    Takes,
    Over,
}

/// The blocks, in the order in which they are allocated.
const ROADS: usize = 0;
const QUEUED: usize = 1;
const TAKEN: usize = 2;
const SHORTEST: usize = 3;

impl Script for Tsp {
    fn next_phase(&mut self, seat: Place<'_>, steps: &mut Steps) -> bool {
        match self.state {
            State::Begins => {
                broadcast(seat, steps);
                broadcast(seat, steps);
                steps.allocate(CITIES * CITIES, ROAD_BYTES);
                self.state = State::Shares;
            }
            State::Shares => {
                share_by_first(seat, ROADS, ROAD_BYTES * CITIES * CITIES, steps);
                steps.read(seat.blocks[ROADS], ROAD_BYTES * CITIES * CITIES);
                steps.free(seat.blocks[ROADS]);
                steps.barrier();
                steps.start_clock();
                broadcast(seat, steps);
                steps.allocate(PREFIXES as u64, PREFIX_BYTES);
                self.state = State::Queues;
            }
            State::Queues => match seat.blocks.len() {
                2 => {
                    share_by_first(seat, QUEUED, PREFIX_BYTES * PREFIXES as u64, steps);
                    steps.allocate(1, 8);
                }
                3 => {
                    share_by_first(seat, TAKEN, 8, steps);
                    steps.allocate(BEST_BYTES / 8, 8);
                }
                _ => {
                    share_by_first(seat, SHORTEST, BEST_BYTES, steps);
                    self.state = State::Asks;
                }
            },
            State::Asks => {
                steps.acquire(NEXT);
                self.state = State::Takes;
            }
            State::Takes => self.take(seat, steps),
            State::Over => return false,
        }
        true
    }
}

impl Tsp {
    /// With the queue's lock held: takes the next prefix and searches below it, or ends.
    fn take(&mut self, seat: Place<'_>, steps: &mut Steps) {
        let taken = *self.next.borrow();
        *self.next.borrow_mut() = (taken + 1).min(PREFIXES);
        steps.write(seat.blocks[TAKEN], 8);
        steps.release(NEXT);
        let Some(work) = self.work.get(taken) else {
            steps.barrier();
            meet(seat, steps);
            steps.sum();
            steps.stop_clock();
            steps.leave();
            self.state = State::Over;
            return;
        };
        let prefix = behind(seat.blocks[QUEUED], PREFIX_BYTES * taken as u64);
        steps.read(prefix, PREFIX_BYTES);
        meet(seat, steps);
        let mut left = *work;
        while left > REFRESH_NS {
            steps.compute(REFRESH_NS);
            meet(seat, steps);
            left -= REFRESH_NS;
        }
        steps.compute(left);
        meet(seat, steps);
        self.state = State::Asks;
    }
}

/// Looks at the best tour, which nobody improves.
fn meet(seat: Place<'_>, steps: &mut Steps) {
    steps.acquire(BEST);
    steps.read(seat.blocks[SHORTEST], BEST_BYTES);
    steps.release(BEST);
}

fn broadcast(seat: Place<'_>, steps: &mut Steps) {
    let kind = MeetingKind::Broadcast {
        root: DroneId::FIRST,
        bytes: 8,
    };
    steps.meet(kind, if seat.is_first() { 8 } else { 0 });
}

/// Drone 0 fills a block, and all meet.
fn share_by_first(seat: Place<'_>, block: usize, bytes: u64, steps: &mut Steps) {
    if seat.is_first() {
        steps.write(seat.blocks[block], bytes);
    }
    steps.barrier();
}
