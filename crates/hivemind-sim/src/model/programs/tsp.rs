//! The shortest tour: each drone takes prefixes from a board under a lock, searches below them, and looks there now and then
//! whether another has found a better tour: after 2 ms, and twice as long each time, up to 64 ms, since nobody has.

use crate::model::Figures;
use crate::model::script::{Place, Script, Steps, behind};
use crate::prng::Prng;
use hivemind_protocol::{DroneId, LockId, MeetingKind};
use std::cell::RefCell;
use std::rc::Rc;

const PREFIXES: usize = 256;
const PREFIX_BYTES: u64 = 16;
const REFRESH_NS: f64 = 2e6;
const LONGEST_REFRESH_NS: f64 = 64e6;
/// As in the comparison with other ways: 90 cities.
const CITIES: u64 = 90;
const ROAD_BYTES: u64 = 4;
/// A length, a number of cities, and room for 128 of them.
const BEST_BYTES: u64 = 16 + 128;
/// Which prefix is next, and the best tour.
const BOARD_BYTES: u64 = 8 + BEST_BYTES;
/// The first lock of a mutex.
const LOCK: LockId = LockId(1 << 32);

pub(super) fn scripts(nodes: u64, drones: u32, figures: &Figures) -> Vec<Box<dyn Script>> {
    let work = Rc::new(works(nodes as f64 * figures.ns("tsp node")));
    let next = Rc::new(RefCell::new(PREFIXES.min(drones as usize)));
    let tsp = |nth| Tsp {
        work: Rc::clone(&work),
        next: Rc::clone(&next),
        state: State::Begins,
        taken: nth as usize,
        refresh_ns: REFRESH_NS,
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
    /// The prefix that it searches next.
    taken: usize,
    /// How long it searches before it looks again.
    refresh_ns: f64,
}

enum State {
    Begins,
    Shares,
    Queues,
    Asks,
    /// Holds the lock.
    Takes,
    Over,
}

/// The blocks, in the order in which they are allocated.
const ROADS: usize = 0;
const QUEUED: usize = 1;
const BOARD: usize = 2;

impl Script for Tsp {
    fn next_phase(&mut self, seat: Place<'_>, steps: &mut Steps) -> bool {
        match self.state {
            State::Begins => {
                broadcast(seat, 8, steps);
                broadcast(seat, 8, steps);
                steps.allocate(CITIES * CITIES, ROAD_BYTES);
                self.state = State::Shares;
            }
            State::Shares => {
                share_by_first(seat, ROADS, ROAD_BYTES * CITIES * CITIES, steps);
                steps.read(seat.blocks[ROADS], ROAD_BYTES * CITIES * CITIES);
                steps.free(seat.blocks[ROADS]);
                steps.barrier();
                steps.start_clock();
                broadcast(seat, 8, steps);
                steps.allocate(PREFIXES as u64, PREFIX_BYTES);
                self.state = State::Queues;
            }
            State::Queues => match seat.blocks.len() {
                2 => {
                    share_by_first(seat, QUEUED, PREFIX_BYTES * PREFIXES as u64, steps);
                    steps.allocate(BOARD_BYTES / 8, 8);
                }
                _ => {
                    share_by_first(seat, BOARD, BOARD_BYTES, steps);
                    self.search(seat, steps);
                }
            },
            State::Asks => {
                steps.acquire(LOCK);
                self.state = State::Takes;
            }
            State::Takes => self.take(seat, steps),
            State::Over => return false,
        }
        true
    }
}

impl Tsp {
    /// With the lock held: takes the next prefix.
    fn take(&mut self, seat: Place<'_>, steps: &mut Steps) {
        self.taken = *self.next.borrow();
        *self.next.borrow_mut() = (self.taken + 1).min(PREFIXES);
        steps.read(seat.blocks[BOARD], BOARD_BYTES);
        steps.write(seat.blocks[BOARD], 8);
        steps.release(LOCK);
        self.search(seat, steps);
    }

    /// Searches below the prefix that it has, or ends.
    fn search(&mut self, seat: Place<'_>, steps: &mut Steps) {
        let Some(work) = self.work.get(self.taken).copied() else {
            steps.barrier();
            if seat.is_first() {
                look(seat, steps);
            }
            broadcast(seat, BEST_BYTES, steps);
            steps.sum();
            steps.stop_clock();
            steps.leave();
            self.state = State::Over;
            return;
        };
        let prefix = behind(seat.blocks[QUEUED], PREFIX_BYTES * self.taken as u64);
        steps.read(prefix, PREFIX_BYTES);
        let mut left = work;
        while left > self.refresh_ns {
            steps.compute(self.refresh_ns);
            look(seat, steps);
            left -= self.refresh_ns;
            self.refresh_ns = (self.refresh_ns * 2.0).min(LONGEST_REFRESH_NS);
        }
        steps.compute(left);
        self.state = State::Asks;
    }
}

/// Looks at the best tour, which nobody improves.
fn look(seat: Place<'_>, steps: &mut Steps) {
    steps.acquire(LOCK);
    steps.read(seat.blocks[BOARD], BOARD_BYTES);
    steps.release(LOCK);
}

fn broadcast(seat: Place<'_>, bytes: u64, steps: &mut Steps) {
    let kind = MeetingKind::Broadcast {
        root: DroneId::FIRST,
        bytes,
    };
    let payload_bytes = if seat.is_first() { bytes as usize } else { 0 };
    steps.meet(kind, payload_bytes);
}

/// Drone 0 fills a block, and all meet.
fn share_by_first(seat: Place<'_>, block: usize, bytes: u64, steps: &mut Steps) {
    if seat.is_first() {
        steps.write(seat.blocks[block], bytes);
    }
    steps.barrier();
}
