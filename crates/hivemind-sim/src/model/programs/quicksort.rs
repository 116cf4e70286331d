//! Quicksort: each drone groups its share by pivots that all derive from one sample; then each takes buckets from its
//! queue, and where that is empty from others', gathers a bucket from all drones, and sorts it while the next one comes.

use crate::model::Figures;
use crate::model::script::{Place, Script, Steps, behind, share};
use hivemind_protocol::{Address, DroneId, LockId, MeetingKind};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

const NUMBER_BYTES: u64 = 4;
const SIZE_BYTES: u64 = 8;
const WORD_BYTES: u64 = 8;
const TASK_WORDS: u64 = 3;
/// Where a queue begins, how long it is, and whether its owner splits a range.
const HEAD_WORDS: u64 = 3;
/// Queues begin at pages.
const WORDS_A_PAGE: u64 = 512;
const BUCKETS_EACH: u64 = 16;
const SAMPLES_EACH: u64 = 32;
const SMALLEST_SPLIT: u64 = 1 << 16;

pub(super) fn scripts(count: u64, drones: u32, figures: &Figures) -> Vec<Box<dyn Script>> {
    let buckets = buckets(count, u64::from(drones));
    let queues = Rc::new(RefCell::new(Queues {
        left: (0..u64::from(drones))
            .map(|drone| share(0..buckets, drone, u64::from(drones)).collect())
            .collect(),
    }));
    let sort = || Quicksort {
        count,
        buckets,
        figures: figures.clone(),
        queues: Rc::clone(&queues),
        state: State::Begins,
    };
    (0..drones)
        .map(|_| Box::new(sort()) as Box<dyn Script>)
        .collect()
}

/// What one core takes to sort so many numbers.
pub(super) fn sort_ns(count: f64, figures: &Figures) -> f64 {
    count * count.max(2.0).log2() * figures.ns("quicksort number")
}

/// The memory of the sizes of all groups, and of the sample.
pub(super) fn table_bytes(count: u64, drones: u64) -> u64 {
    let buckets = buckets(count, drones);
    let sampled = buckets * (drones * SIZE_BYTES + SAMPLES_EACH * NUMBER_BYTES);
    sampled + drones * row_words(count, buckets, drones) * WORD_BYTES
}

/// Words of one queue.
fn row_words(count: u64, buckets: u64, drones: u64) -> u64 {
    let longest = (count / (8 * drones)).max(SMALLEST_SPLIT);
    let most = buckets.div_ceil(drones) + 4 * count / longest + 1;
    (HEAD_WORDS + most * TASK_WORDS).next_multiple_of(WORDS_A_PAGE)
}

fn buckets(count: u64, drones: u64) -> u64 {
    (BUCKETS_EACH * drones).min(count / SAMPLES_EACH).max(1)
}

/// What lies in the queues' shared memory: looked at and changed only by who holds the lock.
struct Queues {
    /// The buckets that are still to be sorted, a queue for each drone.
    left: Vec<VecDeque<u64>>,
}

struct Quicksort {
    count: u64,
    buckets: u64,
    figures: Figures,
    queues: Rc<RefCell<Queues>>,
    state: State,
}

enum State {
    Begins,
    Fills,
    Samples,
    Groups,
    Queues,
    /// Asks for the lock of the queue of the drone so many places further.
    Asks(u64),
    /// Has it.
    Holds(u64),
    Over,
}

/// The blocks, in the order in which they are allocated.
const UNSORTED: usize = 0;
const SORTED: usize = 1;
const SAMPLES: usize = 2;
const SIZES: usize = 3;
const ROWS: usize = 4;

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
                self.state = State::Asks(0);
            }
            State::Asks(further) => {
                steps.acquire(LockId((seat.me + further) % seat.drones));
                self.state = State::Holds(further);
            }
            State::Holds(further) => self.next_task(seat, further, steps),
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
        steps.allocate(
            seat.drones * row_words(self.count, self.buckets, seat.drones),
            WORD_BYTES,
        );
    }

    /// Where the queue of a drone lies.
    fn row(&self, seat: Place<'_>, drone: u64) -> Address {
        let words = row_words(self.count, self.buckets, seat.drones);
        behind(seat.blocks[ROWS], WORD_BYTES * words * drone)
    }

    fn fill_queue(&self, seat: Place<'_>, steps: &mut Steps) {
        let mine = seat.share_of(0..self.buckets);
        let words = HEAD_WORDS + TASK_WORDS * (mine.end - mine.start);
        steps.write(self.row(seat, seat.me), WORD_BYTES * words);
        steps.barrier();
    }

    /// With the lock of a queue held: takes a bucket.
    fn next_task(&mut self, seat: Place<'_>, further: u64, steps: &mut Steps) {
        let drone = (seat.me + further) % seat.drones;
        let row = self.row(seat, drone);
        let mut queues = self.queues.borrow_mut();
        let left = &mut queues.left[drone as usize];
        let (bucket, then) = match further {
            0 => (left.pop_back(), left.back().copied()),
            _ => (left.pop_front(), None),
        };
        steps.read(row, WORD_BYTES * (HEAD_WORDS + TASK_WORDS));
        if bucket.is_some() {
            steps.write(row, WORD_BYTES * HEAD_WORDS);
        }
        drop(queues);
        steps.release(LockId(drone));
        match bucket {
            Some(bucket) => self.sort(seat, bucket, then, steps),
            None if further + 1 < seat.drones => self.state = State::Asks(further + 1),
            // Buckets are even here: nobody splits one and puts a part back.
            None => {
                self.end(seat, steps);
                self.state = State::Over;
            }
        }
    }

    /// Where a bucket's numbers lie in a drone's share.
    fn place(&self, seat: Place<'_>, bucket: u64, drone: u64) -> Range<u64> {
        let part = share(0..self.count, drone, seat.drones);
        share(part, bucket, self.buckets)
    }

    fn sort(&mut self, seat: Place<'_>, bucket: u64, then: Option<u64>, steps: &mut Steps) {
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
        if let Some(then) = then {
            self.prefetch(seat, then, steps);
        }
        steps.compute(sort_ns((at - start) as f64, &self.figures));
        steps.write(
            behind(seat.blocks[SORTED], NUMBER_BYTES * start),
            NUMBER_BYTES * (at - start),
        );
        self.state = State::Asks(0);
    }

    fn prefetch(&self, seat: Place<'_>, bucket: u64, steps: &mut Steps) {
        for drone in 0..seat.drones {
            let place = self.place(seat, bucket, drone);
            let at = behind(seat.blocks[UNSORTED], NUMBER_BYTES * place.start);
            steps.prefetch(at, NUMBER_BYTES * (place.end - place.start));
        }
    }

    fn end(&self, seat: Place<'_>, steps: &mut Steps) {
        steps.barrier();
        steps.free(seat.blocks[ROWS]);
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
