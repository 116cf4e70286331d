//! Sorting by counting: each drone counts its own keys into a row of its own, adds up the rows for its share of the values, and writes that
//! share of the ranks and of the sorted keys.

use crate::model::Figures;
use crate::model::script::{Place, Script, Steps, behind};
use hivemind_protocol::AccessKind;

const WORD_BYTES: u64 = 4;
/// Rows begin at pages.
const VALUES_A_PAGE: u64 = 1024;
/// So many ranks are looked at after each round.
const PROBES: u64 = 5;

#[derive(Clone, Copy)]
pub(super) struct Task {
    pub(super) count: u64,
    pub(super) values: u64,
    pub(super) rounds: u64,
}

pub(super) fn scripts(task: Task, drones: u32, figures: &Figures) -> Vec<Box<dyn Script>> {
    let intsort = Intsort {
        task,
        row: task.values.next_multiple_of(VALUES_A_PAGE),
        key_ns: figures.ns("intsort key"),
        phase: 0,
    };
    (0..drones)
        .map(|_| Box::new(intsort.clone()) as Box<dyn Script>)
        .collect()
}

#[derive(Clone)]
struct Intsort {
    task: Task,
    /// Words of a row.
    row: u64,
    key_ns: f64,
    phase: u64,
}

/// The blocks, in the order in which they are allocated.
const KEYS: usize = 0;
const SORTED: usize = 1;
const COUNTS: usize = 2;
const RANKS: usize = 3;

impl Script for Intsort {
    fn next_phase(&mut self, seat: Place<'_>, steps: &mut Steps) -> bool {
        self.phase += 1;
        let Task {
            count,
            values,
            rounds,
        } = self.task;
        match self.phase {
            1 => {
                for words in [count, count, self.row * seat.drones, values] {
                    steps.allocate(words, WORD_BYTES);
                }
            }
            2 => {
                let mine = seat.share_of(0..count);
                let keys = behind(seat.blocks[KEYS], WORD_BYTES * mine.start);
                steps.write(keys, WORD_BYTES * (mine.end - mine.start));
                steps.barrier();
                steps.start_clock();
            }
            phase if phase <= rounds + 2 => {
                self.count(seat, steps);
                steps.barrier();
                self.add_up(seat, steps);
                steps.sum();
                self.probe(seat, steps);
            }
            phase if phase == rounds + 3 => self.end(seat, steps),
            _ => return false,
        }
        true
    }
}

impl Intsort {
    /// Counts this drone's keys into its row.
    fn count(&self, seat: Place<'_>, steps: &mut Steps) {
        let row = behind(seat.blocks[COUNTS], WORD_BYTES * self.row * seat.me);
        steps.write(row, WORD_BYTES * self.task.values);
        let mine = seat.share_of(0..self.task.count);
        let keys = mine.end - mine.start;
        let keys_at = behind(seat.blocks[KEYS], WORD_BYTES * mine.start);
        steps.read(keys_at, WORD_BYTES * keys);
        steps.compute(keys as f64 * self.key_ns);
    }

    /// Makes the ranks of this drone's share of the values from all rows; an addition costs a nanosecond.
    fn add_up(&self, seat: Place<'_>, steps: &mut Steps) {
        let share = seat.share_of(0..self.task.values);
        let bytes = WORD_BYTES * (share.end - share.start);
        let ranks = behind(seat.blocks[RANKS], WORD_BYTES * share.start);
        let row = |drone: u64| {
            let place = WORD_BYTES * (drone * self.row + share.start);
            behind(seat.blocks[COUNTS], place)
        };
        for drone in (0..seat.drones).filter(|drone| *drone != seat.me) {
            steps.prefetch(row(drone), bytes);
        }
        let rows = (0..seat.drones).map(|drone| (row(drone), AccessKind::Read));
        let arrays: Vec<_> = rows.chain([(ranks, AccessKind::Write)]).collect();
        steps.walk(&arrays, bytes, seat.drones as f64 / WORD_BYTES as f64);
    }

    /// Looks at a few ranks of its share.
    fn probe(&self, seat: Place<'_>, steps: &mut Steps) {
        let share = seat.share_of(0..self.task.values);
        let probes = (0..PROBES).map(|probe| (2 * probe + 1) * self.task.values / (2 * PROBES));
        for value in probes.filter(|value| share.contains(value)) {
            steps.read(behind(seat.blocks[RANKS], WORD_BYTES * value), WORD_BYTES);
        }
    }

    fn end(&self, seat: Place<'_>, steps: &mut Steps) {
        let share = seat.share_of(0..self.task.values);
        let ranks = behind(seat.blocks[RANKS], WORD_BYTES * share.start);
        steps.read(ranks, WORD_BYTES * (share.end - share.start));
        let out = seat.share_of(0..self.task.count);
        let sorted = behind(seat.blocks[SORTED], WORD_BYTES * out.start);
        steps.write(sorted, WORD_BYTES * (out.end - out.start));
        steps.compute((out.end - out.start) as f64);
        steps.barrier();
        steps.stop_clock();
        steps.sum();
        for block in [KEYS, COUNTS, RANKS] {
            steps.free(seat.blocks[block]);
        }
        steps.read(sorted, WORD_BYTES * (out.end - out.start));
        steps.sum();
        steps.leave();
    }
}
