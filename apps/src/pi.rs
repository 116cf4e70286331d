//! Pi by the midpoint rule: the integral of 4/(1+x²) from 0 to 1. The steps are cut into blocks of a size
//! that depends on nothing but their number; a block's sum is always made in the same order, and so is the
//! sum of the blocks. So the answer is the same to the last bit on any number of drones and threads.

use crate::program::{self, Comparison, Console, Failure, parse_count, timed};
use crate::progress::Progress;
use clap::Parser;
use hivemind::Hive;
use rayon::prelude::*;
use std::ops::Range;
use std::time::Instant;

/// Pi by numerical integration of 4/(1+x²), on shared memory.
#[derive(Parser, Debug)]
#[command(name = "pi", version)]
pub struct Arguments {
    /// How many steps the integral is cut into, like 100000000 or 5e9
    #[arg(long, default_value = "100000000", value_parser = parse_steps)]
    pub steps: u64,
    /// Also run the serial version and say whether the answers agree to the last bit
    #[arg(long)]
    pub check: bool,
}

/// Does what the command line says; collective.
pub fn run(arguments: &Arguments, hive: &mut Hive, console: &Console) -> Result<(), Failure> {
    let steps = arguments.steps;
    let workers = program::workers(hive)?;
    let progress = console.progress("step", steps);
    let start = Instant::now();
    let answer = shared(hive, steps, &workers, &progress)?;
    let time = start.elapsed();
    drop(progress);
    console.answer(format_args!(
        "pi = {answer:.17} from {steps} steps, {:.1e} off",
        off(answer)
    ));
    program::conclude(hive, console, time, arguments.check, |_| {
        let (expected, serial) = timed(|| serial(steps));
        Comparison {
            serial,
            difference: difference(steps, answer, expected),
        }
    })
}

/// The integral, on one core of one machine.
pub fn serial(steps: u64) -> f64 {
    let blocks = Blocks::new(steps);
    fold((0..blocks.count()).map(|block| blocks.sum(block)), steps)
}

/// The integral, by all drones: each sums its own blocks into shared memory, then everybody adds them up.
pub fn shared(
    hive: &mut Hive,
    steps: u64,
    workers: &rayon::ThreadPool,
    progress: &Progress,
) -> hivemind::Result<f64> {
    let blocks = Blocks::new(steps);
    let mut sums = hive.alloc::<f64>(blocks.count())?;
    let mine = hive.share_of(0..blocks.count());
    let begin = mine.start;
    for batch in batches(mine, BATCH_BLOCKS) {
        let sums = &mut sums.view_mut(hive)[batch.clone()];
        workers.install(|| {
            sums.par_iter_mut()
                .zip(batch.clone())
                .for_each(|(sum, block)| *sum = blocks.sum(block));
        });
        // All drones have equal parts: this one's speaks for all.
        let done = (batch.end - begin) * hive.drones();
        progress.at((done as u64 * blocks.length).min(steps));
    }
    hive.barrier()?;
    let answer = fold(sums.view(hive).iter().copied(), steps);
    hive.free(sums)?;
    Ok(answer)
}

/// How far the answer may lie from pi: the midpoint rule's own error, 1/(12 n²), and the rounding of the
/// longest chain of additions, twice for safety.
pub fn bound(steps: u64) -> f64 {
    let blocks = Blocks::new(steps);
    let chain = blocks.length as f64 / LANES as f64 + blocks.count() as f64 + 16.0;
    1.0 / (12.0 * (steps as f64).powi(2)) + 2.0 * chain * f64::EPSILON * std::f64::consts::PI
}

/// The most steps whose middles a double still tells apart.
const MOST_STEPS: u64 = 1 << 52;
/// A block is long enough that its sum costs far more than the page it is written to.
const SHORTEST_BLOCK: u64 = 1 << 20;
/// More blocks than any hive has cores to keep busy; few enough that adding them up costs nothing.
const MOST_BLOCKS: u64 = 1 << 16;
/// So many blocks are summed between two reports of progress: some 0.05 s of one core.
const BATCH_BLOCKS: usize = 64;
/// Independent sums inside a block, so that the processor can add several at once.
const LANES: usize = 8;

/// How the steps are cut into blocks.
#[derive(Clone, Copy)]
struct Blocks {
    steps: u64,
    length: u64,
}

impl Blocks {
    fn new(steps: u64) -> Blocks {
        Blocks {
            steps,
            length: steps.div_ceil(MOST_BLOCKS).max(SHORTEST_BLOCK),
        }
    }

    fn count(&self) -> usize {
        self.steps.div_ceil(self.length) as usize
    }

    /// The sum of the function's values in the middles of a block's steps.
    fn sum(&self, block: usize) -> f64 {
        let start = block as u64 * self.length;
        let end = (start + self.length).min(self.steps);
        let width = 1.0 / self.steps as f64;
        let value = |step: f64| {
            let x = (step + 0.5) * width;
            4.0 / (1.0 + x * x)
        };
        let whole = (end - start) / LANES as u64;
        let mut lanes = [0.0; LANES];
        let mut step = [0.0; LANES];
        for (lane, step) in step.iter_mut().enumerate() {
            *step = (start + lane as u64) as f64;
        }
        for _ in 0..whole {
            for lane in 0..LANES {
                lanes[lane] += value(step[lane]);
                step[lane] += LANES as f64;
            }
        }
        let rest = (start + whole * LANES as u64..end).map(|step| value(step as f64));
        lanes
            .iter()
            .copied()
            .chain(rest)
            .fold(0.0, |sum, part| sum + part)
    }
}

fn fold(sums: impl Iterator<Item = f64>, steps: u64) -> f64 {
    sums.fold(0.0, |sum, block| sum + block) / steps as f64
}

fn batches(all: Range<usize>, length: usize) -> impl Iterator<Item = Range<usize>> {
    all.clone()
        .step_by(length)
        .map(move |start| start..(start + length).min(all.end))
}

fn off(answer: f64) -> f64 {
    (answer - std::f64::consts::PI).abs()
}

fn difference(steps: u64, answer: f64, expected: f64) -> Option<String> {
    if answer.to_bits() != expected.to_bits() {
        return Some(format!("shared {answer:.17}, serial {expected:.17}"));
    }
    // Equal to the twin, but both may be wrong: the error of the method is known.
    (off(answer) > bound(steps)).then(|| {
        format!(
            "{:.1e} off pi, more than the {:.1e} that {steps} steps may be",
            off(answer),
            bound(steps)
        )
    })
}

fn parse_steps(text: &str) -> Result<u64, String> {
    match parse_count(text)? {
        0 => Err("at least 1 step is needed".to_owned()),
        steps if steps > MOST_STEPS => Err(format!(
            "at most {MOST_STEPS} steps: a double can't tell more apart"
        )),
        steps => Ok(steps),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_within_the_stated_bound() {
        for steps in [1, 2, 3, 7, 8, 9, 1000, 1 << 20, (1 << 20) + 1, 10_000_000] {
            assert!(
                off(serial(steps)) <= bound(steps),
                "{steps} steps: {} off",
                off(serial(steps))
            );
        }
        assert!(bound(100_000_000) < 1e-9);
    }

    #[test]
    fn every_step_lies_in_exactly_one_block() {
        for steps in [1, 1 << 20, (1 << 20) + 1, 5_000_000_000, MOST_STEPS] {
            let blocks = Blocks::new(steps);
            let count = blocks.count() as u64;
            assert!(count <= MOST_BLOCKS);
            assert!(
                (count - 1) * blocks.length < steps && steps <= count * blocks.length,
                "{steps}"
            );
        }
    }

    #[test]
    fn a_short_block_is_the_plain_sum() {
        let plain = (0..5)
            .map(|i| 4.0 / (1.0 + ((f64::from(i) + 0.5) / 5.0).powi(2)))
            .sum::<f64>()
            / 5.0;
        assert!((serial(5) - plain).abs() < 1e-14);
    }

    #[test]
    fn a_difference_is_told_and_agreement_is_not() {
        let answer = serial(1000);
        assert_eq!(difference(1000, answer, answer), None);
        assert!(
            difference(1000, answer, answer.next_up())
                .unwrap()
                .contains("serial")
        );
        assert!(difference(1000, 3.0, 3.0).unwrap().contains("off pi"));
    }
}
