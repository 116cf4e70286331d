//! Quicksort: each drone groups its share by pivots that all derive from one sample; then each takes buckets from a
//! queue under a lock, gathers a bucket from all drones, and sorts it.

use crate::model::Figures;
use crate::model::script::{Place, Script, Steps, behind, share};
use hivemind_protocol::{DroneId, LockId, MeetingKind};
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

const NUMBER_BYTES: u64 = 4;
const SIZE_BYTES: u64 = 8;
const TASK_BYTES: u64 = 24;
const STATE_BYTES: u64 = 16;
const QUEUE: LockId = LockId(1);
const BUCKETS_EACH: u64 = 16;
const SAMPLES_EACH: u64 = 32;
const SMALLEST_SPLIT: u64 = 1 << 16;
const SHORTEST_PAUSE_NS: f64 = 20e3;
const LONGEST_PAUSE_NS: f64 = 4e6;

pub(super) fn scripts(count: u64, drones: u32, figures: &Figures) -> Vec<Box<dyn Script>> {
    let buckets = buckets(count, u64::from(drones));
    let queue = Rc::new(RefCell::new(Queue {
        left: buckets,
        sorted: 0,
    }));
    let sort = |_| Quicksort {
        count,
        buckets,
        figures: figures.clone(),
        queue: Rc::clone(&queue),
        state: State::Begins,
        done: 0,
        pause_ns: SHORTEST_PAUSE_NS,
    };
    (0..drones)
        .map(|nth| Box::new(sort(nth)) as Box<dyn Script>)
        .collect()
}

/// What one core takes to sort so many numbers.
pub(super) fn sort_ns(count: f64, figures: &Figures) -> f64 {
    count * count.max(2.0).log2() * figures.ns("quicksort number")
}

/// The memory of the sizes of all groups, and of the sample.
pub(super) fn table_bytes(count: u64, drones: u64) -> u64 {
    let buckets = buckets(count, drones);
    buckets * (drones * SIZE_BYTES + SAMPLES_EACH * NUMBER_BYTES + 5 * TASK_BYTES)
}

fn buckets(count: u64, drones: u64) -> u64 {
    (BUCKETS_EACH * drones).min(count / SAMPLES_EACH).max(1)
}

/// What lies in the queue's shared memory: looked at and changed only by who holds the lock.
struct Queue {
    /// The buckets 0 … left − 1 are still to be sorted.
    left: u64,
    sorted: u64,
}

struct Quicksort {
    count: u64,
    buckets: u64,
    figures: Figures,
    queue: Rc<RefCell<Queue>>,
    state: State,
    /// Numbers in their final place that the queue does not know of yet.
    done: u64,
    pause_ns: f64,
}

enum State {
    Begins,
    Fills,
    Samples,
    Groups,
    Queues,
    /// Asks for the lock.
    Asks,
    /// Has it.
    Holds,
    Over,
}

/// The blocks, in the order in which they are allocated.
const UNSORTED: usize = 0;
const SORTED: usize = 1;
const SAMPLES: usize = 2;
const SIZES: usize = 3;
const TASKS: usize = 4;
const STATE: usize = 5;

impl Script for Quicksort {
    fn next_phase(&mut self, seat: Place<'_>, steps: &mut Steps) -> bool {
        match self.state {
            State::Begins => {
                steps.allocate(self.count, NUMBER_BYTES);
                self.state = State::Fills;
            }
            State::Fills => {
                self.write_share(seat, steps);
                steps.barrier();
                steps.start_clock();
                steps.allocate(self.count, NUMBER_BYTES);
                steps.allocate(self.samples(), NUMBER_BYTES);
                self.state = State::Samples;
            }
            State::Samples => {
                self.sample(seat, steps);
                self.state = State::Groups;
            }
            State::Groups => {
                self.group(seat, steps);
                self.state = State::Queues;
            }
            State::Queues => {
                self.fill_queue(seat, steps);
                self.state = State::Asks;
            }
            State::Asks => {
                steps.acquire(QUEUE);
                self.state = State::Holds;
            }
            State::Holds => self.next_task(seat, steps),
            State::Over => return false,
        }
        true
    }
}

impl Quicksort {
    fn samples(&self) -> u64 {
        if self.buckets == 1 {
            0
        } else {
            self.buckets * SAMPLES_EACH
        }
    }

    fn write_share(&self, seat: Place<'_>, steps: &mut Steps) {
        let mine = seat.share_of(0..self.count);
        let at = behind(seat.blocks[UNSORTED], NUMBER_BYTES * mine.start);
        steps.write(at, NUMBER_BYTES * (mine.end - mine.start));
    }

    fn sample(&self, seat: Place<'_>, steps: &mut Steps) {
        let wanted = self.samples();
        let (places, mine) = (seat.share_of(0..wanted), seat.share_of(0..self.count));
        let length = places.end - places.start;
        for (nth, place) in places.enumerate() {
            let from = mine.start + nth as u64 * (mine.end - mine.start) / length;
            steps.read(
                behind(seat.blocks[UNSORTED], NUMBER_BYTES * from),
                NUMBER_BYTES,
            );
            steps.write(
                behind(seat.blocks[SAMPLES], NUMBER_BYTES * place),
                NUMBER_BYTES,
            );
        }
        steps.barrier();
        steps.read(seat.blocks[SAMPLES], NUMBER_BYTES * wanted);
        steps.free(seat.blocks[SAMPLES]);
        steps.compute(sort_ns(wanted as f64, &self.figures));
        steps.allocate(seat.drones * self.buckets, SIZE_BYTES);
    }

    fn group(&self, seat: Place<'_>, steps: &mut Steps) {
        let mine = seat.share_of(0..self.count);
        let doublings = (self.buckets as f64).log2();
        self.write_share(seat, steps);
        steps.compute(
            (mine.end - mine.start) as f64 * doublings * self.figures.ns("quicksort number"),
        );
        let row = SIZE_BYTES * self.buckets;
        steps.write(behind(seat.blocks[SIZES], row * seat.me), row);
        steps.barrier();
        steps.read(seat.blocks[SIZES], row * seat.drones);
        steps.free(seat.blocks[SIZES]);
        let longest = (self.count / (8 * seat.drones)).max(SMALLEST_SPLIT);
        steps.allocate(self.buckets + 4 * self.count / longest + 1, TASK_BYTES);
        steps.allocate(STATE_BYTES / 8, 8);
    }

    fn fill_queue(&self, seat: Place<'_>, steps: &mut Steps) {
        if seat.is_first() {
            steps.write(seat.blocks[TASKS], TASK_BYTES * self.buckets);
            steps.write(seat.blocks[STATE], STATE_BYTES);
        }
        steps.barrier();
    }

    /// With the lock held: says what is done, and takes the next bucket.
    fn next_task(&mut self, seat: Place<'_>, steps: &mut Steps) {
        let state = seat.blocks[STATE];
        let mut queue = self.queue.borrow_mut();
        queue.sorted += std::mem::take(&mut self.done);
        steps.write(state, STATE_BYTES);
        self.state = State::Asks;
        if queue.sorted == self.count {
            steps.release(QUEUE);
            drop(queue);
            self.end(seat, steps);
            self.state = State::Over;
        } else if queue.left == 0 {
            steps.release(QUEUE);
            steps.compute(self.pause_ns);
            self.pause_ns = (self.pause_ns * 2.0).min(LONGEST_PAUSE_NS);
        } else {
            queue.left -= 1;
            let bucket = queue.left;
            drop(queue);
            steps.read(behind(seat.blocks[TASKS], TASK_BYTES * bucket), TASK_BYTES);
            steps.release(QUEUE);
            self.sort(seat, bucket, steps);
            self.pause_ns = SHORTEST_PAUSE_NS;
        }
    }

    /// Where a bucket's numbers lie in a drone's share.
    fn place(&self, seat: Place<'_>, bucket: u64, drone: u64) -> Range<u64> {
        let part = share(0..self.count, drone, seat.drones);
        share(part, bucket, self.buckets)
    }

    fn sort(&mut self, seat: Place<'_>, bucket: u64, steps: &mut Steps) {
        let before = |drone| {
            share(
                0..share_length(self.count, drone, seat.drones),
                bucket,
                self.buckets,
            )
            .start
        };
        let start: u64 = (0..seat.drones).map(before).sum();
        let mut at = start;
        for drone in 0..seat.drones {
            let place = self.place(seat, bucket, drone);
            let bytes = NUMBER_BYTES * (place.end - place.start);
            steps.read(
                behind(seat.blocks[UNSORTED], NUMBER_BYTES * place.start),
                bytes,
            );
            steps.write(behind(seat.blocks[SORTED], NUMBER_BYTES * at), bytes);
            at += place.end - place.start;
        }
        steps.compute(sort_ns((at - start) as f64, &self.figures));
        steps.write(
            behind(seat.blocks[SORTED], NUMBER_BYTES * start),
            NUMBER_BYTES * (at - start),
        );
        self.done = at - start;
    }

    fn end(&self, seat: Place<'_>, steps: &mut Steps) {
        steps.barrier();
        steps.free(seat.blocks[TASKS]);
        steps.free(seat.blocks[STATE]);
        steps.stop_clock();
        steps.free(seat.blocks[UNSORTED]);
        if seat.is_first() {
            for at in [0, self.count / 2, self.count - 1] {
                steps.read(behind(seat.blocks[SORTED], NUMBER_BYTES * at), NUMBER_BYTES);
            }
        }
        let kind = MeetingKind::Broadcast {
            root: DroneId::FIRST,
            bytes: 8,
        };
        steps.meet(kind, if seat.is_first() { 8 } else { 0 });
        steps.leave();
    }
}

fn share_length(count: u64, drone: u64, drones: u64) -> u64 {
    let part = share(0..count, drone, drones);
    part.end - part.start
}
