//! Quicksort with shared work queues.
//!
//! 1. *One partition for all.* From a sample every drone derives the same pivots, and groups its own share
//!    of the numbers by them. Nothing leaves its drone yet.
//! 2. *A queue for each drone.* The sizes of the groups tell which range of the sorted array each bucket will
//!    fill. The buckets that fill a drone's share of it go into its queue in shared memory.
//! 3. *Plain quicksort.* Each drone takes a range from its queue, gathers its numbers from all drones' groups,
//!    and sorts it, while the numbers of the next one are on their way. A range that is too large for the work to
//!    stay even is partitioned, and its larger part is put back. Who finds its queue empty takes from the others',
//!    and where all are empty waits a little longer each time, while somebody may still put something back.
//!
//! So each number crosses the network once at most, and a skewed sample costs balance, never the answer.
//! The serial version is the standard library's unstable sort, the fastest at hand: a speed-up over a slow
//! twin would say nothing. Where numbers come from is in [`crate::numbers`]; the first step is in `groups`, and the
//! queues are in `queues`.

mod groups;
mod queues;

use crate::numbers::{self, Format, Key};
use crate::program::{self, Comparison, Console, Failure, parse_count, timed};
use crate::progress::Progress;
use clap::{Parser, ValueEnum};
use groups::{Groups, split};
use hivemind::{Hive, Shared};
use queues::{GATHERED, Next, Queues, Task};
use rayon::slice::ParallelSliceMut;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Quicksort of many integers with shared work queues, on shared memory.
#[derive(Parser, Debug)]
#[command(name = "quicksort", version)]
pub struct Arguments {
    /// How many numbers to make and sort, like 20000000 or 2e7
    #[arg(long, default_value = "10000000", value_parser = parse_count, conflicts_with = "file")]
    pub count: u64,
    /// What the numbers are made from: the same seed makes the same numbers on any number of drones
    #[arg(long, default_value_t = 1, conflicts_with = "file")]
    pub seed: u64,
    /// Sort the numbers of this file; drone 0 reads it
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Write the sorted numbers to this file
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What the files are made of
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// The type of the numbers
    #[arg(long = "type", value_enum, default_value = "i32")]
    pub width: Width,
    /// Also run the serial version and say whether the answers are equal
    #[arg(long)]
    pub check: bool,
}

/// The type of the numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Width {
    /// Signed, 32 bits
    I32,
    /// Signed, 64 bits
    I64,
}

/// Does what the command line says; collective.
pub fn run(arguments: &Arguments, hive: &mut Hive, console: &Console) -> Result<(), Failure> {
    match arguments.width {
        Width::I32 => run_with::<i32>(arguments, hive, console),
        Width::I64 => run_with::<i64>(arguments, hive, console),
    }
}

/// Sorts on one core of one machine.
pub fn serial<T: Key>(numbers: &mut [T]) {
    numbers.sort_unstable();
}

/// Sorts by all drones: returns the sorted numbers, and leaves `unsorted` in another order. Collective.
pub fn shared<T: Key>(
    hive: &mut Hive,
    unsorted: &mut Shared<T>,
    workers: &rayon::ThreadPool,
    progress: &Progress,
) -> hivemind::Result<Shared<T>> {
    let count = unsorted.len();
    let mut sorted = hive.alloc::<T>(count)?;
    let pivots = choose_pivots(hive, unsorted)?;
    let groups = Groups::make(hive, unsorted, &pivots, workers)?;
    let mut queues = Queues::fill(hive, &groups, count)?;
    let mut done = 0;
    let mut pause = SHORTEST_PAUSE;
    loop {
        match queues.next(hive)? {
            Next::Sort { task, then } => {
                if task.bucket != GATHERED {
                    let into = &mut sorted.view_mut(hive)[task.range()];
                    gather(hive, &groups, task.bucket, unsorted, into);
                }
                if let Some(then) = then.filter(|then| then.bucket != GATHERED) {
                    for place in groups.places(then.bucket as usize) {
                        unsorted.prefetch(hive, place)?;
                    }
                }
                done += work(hive, task, &mut sorted, &mut queues, workers)?;
                pause = SHORTEST_PAUSE;
            }
            Next::Wait => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Next::End => break,
        }
        // As far as this drone is, the others are too, nearly.
        progress.at((done * hive.drones() as u64).min(count as u64));
    }
    hive.barrier()?;
    queues.free(hive)?;
    Ok(sorted)
}

/// Buckets for each drone: enough that the last ones to be sorted don't leave other drones idle for long.
const BUCKETS_EACH: usize = 16;
/// Sampled numbers for each bucket: makes a bucket of twice the mean size unlikely.
const SAMPLES_EACH: usize = 32;
/// Ranges up to this are never worth a trip through the queue.
const SMALLEST_SPLIT: usize = 1 << 16;
/// Who finds all queues empty waits this long at first, and twice as long each time up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_micros(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(4);

fn run_with<T: Key>(
    arguments: &Arguments,
    hive: &mut Hive,
    console: &Console,
) -> Result<(), Failure> {
    let workers = program::workers(hive)?;
    let mut unsorted = load::<T>(arguments, hive)?;
    let count = unsorted.len();
    let progress = console.progress("number", count as u64);
    hive.barrier()?;
    let start = Instant::now();
    let sorted = shared(hive, &mut unsorted, &workers, &progress)?;
    let time = start.elapsed();
    drop(progress);
    hive.free(unsorted)?;
    program::first(hive, |hive| {
        let sorted = sorted.view(hive);
        console.answer(describe(sorted));
        match &arguments.output {
            None => Ok(()),
            Some(path) => numbers::write(path, arguments.format, sorted).map_err(Failure::Refused),
        }
    })?;
    if let Some(path) = &arguments.output {
        console.answer(format_args!("sorted numbers in {}", path.display()));
    }
    program::conclude(hive, console, time, arguments.check, |hive| {
        let mut expected = match again::<T>(arguments, count) {
            Ok(expected) => expected,
            Err(what) => {
                return Comparison {
                    serial: Duration::ZERO,
                    difference: Some(what),
                };
            }
        };
        let ((), serial) = timed(|| serial(&mut expected));
        Comparison {
            serial,
            difference: difference(sorted.view(hive), &expected),
        }
    })
}

/// Brings the numbers into shared memory: made by each drone for its share, or read by drone 0.
fn load<T: Key>(arguments: &Arguments, hive: &mut Hive) -> Result<Shared<T>, Failure> {
    let Some(path) = &arguments.file else {
        let count = usize::try_from(arguments.count).map_err(|_| {
            Failure::Refused(format!(
                "{} numbers are more than memory has",
                arguments.count
            ))
        })?;
        let mut unsorted = hive.alloc::<T>(count)?;
        let mine = hive.share_of(0..count);
        for (number, index) in unsorted.view_mut(hive)[mine.clone()].iter_mut().zip(mine) {
            *number = numbers::seeded(arguments.seed, index);
        }
        return Ok(unsorted);
    };
    let read = program::first(hive, |_| {
        numbers::read::<T>(path, arguments.format).map_err(Failure::Refused)
    })?;
    let count = hive.broadcast(0, read.as_ref().map_or(0, |read| read.len() as u64))?;
    let mut unsorted = hive.alloc::<T>(count as usize)?;
    if let Some(read) = read {
        unsorted.view_mut(hive).copy_from_slice(&read);
    }
    Ok(unsorted)
}

/// The numbers once more, as they were before the sort, for the serial twin.
fn again<T: Key>(arguments: &Arguments, count: usize) -> Result<Vec<T>, String> {
    match &arguments.file {
        Some(path) => numbers::read(path, arguments.format),
        None => Ok((0..count)
            .map(|index| numbers::seeded(arguments.seed, index))
            .collect()),
    }
}

/// The pivots between the buckets, ascending: each drone samples its own share, and all choose from all
/// samples, so all have the same. Collective.
fn choose_pivots<T: Key>(hive: &mut Hive, unsorted: &Shared<T>) -> hivemind::Result<Vec<T>> {
    let drones = hive.drones();
    let buckets = (BUCKETS_EACH * drones)
        .min(unsorted.len() / SAMPLES_EACH)
        .max(1);
    let wanted = if buckets == 1 {
        0
    } else {
        buckets * SAMPLES_EACH
    };
    let mut samples = hive.alloc::<T>(wanted)?;
    let (places, mine) = (hive.share_of(0..wanted), hive.share_of(0..unsorted.len()));
    for (nth, place) in places.clone().enumerate() {
        let from = mine.start + nth * mine.len() / places.len();
        samples.view_mut(hive)[place] = unsorted.view(hive)[from];
    }
    hive.barrier()?;
    let mut all = samples.view(hive).to_vec();
    hive.free(samples)?;
    all.sort_unstable();
    Ok((1..buckets)
        .map(|bucket| all[bucket * SAMPLES_EACH])
        .collect())
}

/// Sorts one gathered range; puts back what others may do of it. Returns how many numbers are in their final place.
fn work<T: Key>(
    hive: &mut Hive,
    task: Task,
    sorted: &mut Shared<T>,
    queues: &mut Queues,
    workers: &rayon::ThreadPool,
) -> hivemind::Result<u64> {
    let mut range = task.range();
    let mut done = 0;
    while range.len() > queues.longest {
        let (less, greater) = partition(&mut sorted.view_mut(hive)[range.clone()]);
        done += (range.len() - less - greater) as u64;
        let low = range.start..range.start + less;
        let high = range.end - greater..range.end;
        let (small, large) = if less < greater {
            (low, high)
        } else {
            (high, low)
        };
        if large.len() <= queues.longest / 4 {
            done += sort(hive, sorted, &large, workers);
        } else {
            queues.put(
                hive,
                Task {
                    start: large.start as u64,
                    end: large.end as u64,
                    bucket: GATHERED,
                },
            )?;
        }
        range = small;
    }
    Ok(done + sort(hive, sorted, &range, workers))
}

fn gather<T: Key>(
    hive: &Hive,
    groups: &Groups,
    bucket: u64,
    unsorted: &Shared<T>,
    mut into: &mut [T],
) {
    for place in groups.places(bucket as usize) {
        let (head, tail) = into.split_at_mut(place.len());
        head.copy_from_slice(&unsorted.view(hive)[place]);
        into = tail;
    }
}

/// Sorts a range to its final order by this drone alone, with all its threads; returns its length.
fn sort<T: Key>(
    hive: &Hive,
    sorted: &mut Shared<T>,
    range: &Range<usize>,
    workers: &rayon::ThreadPool,
) -> u64 {
    let numbers = &mut sorted.view_mut(hive)[range.clone()];
    if workers.current_num_threads() == 1 {
        numbers.sort_unstable();
    } else {
        workers.install(|| numbers.par_sort_unstable());
    }
    range.len() as u64
}

/// Quicksort's step: what is less than a pivot to the front, what is greater to the back, what is equal
/// between them and so in its final place. Returns how many are less and how many are greater.
fn partition<T: Key>(numbers: &mut [T]) -> (usize, usize) {
    let pivot = pivot(numbers);
    let less = split(numbers, |number| number < pivot);
    let equal = split(&mut numbers[less..], |number| number == pivot);
    (less, numbers.len() - less - equal)
}

/// The median of nine numbers spread over the range.
fn pivot<T: Key>(numbers: &[T]) -> T {
    let mut spread: [T; 9] = std::array::from_fn(|nth| numbers[nth * (numbers.len() - 1) / 8]);
    spread.sort_unstable();
    spread[4]
}

fn describe<T: Key>(sorted: &[T]) -> String {
    match sorted {
        [] => "0 numbers sorted".to_owned(),
        [least, ..] => format!(
            "{} numbers ({}) sorted: least {least}, median {}, greatest {}",
            sorted.len(),
            T::NAME,
            sorted[sorted.len() / 2],
            sorted[sorted.len() - 1],
        ),
    }
}

fn difference<T: Key>(sorted: &[T], expected: &[T]) -> Option<String> {
    if sorted.len() != expected.len() {
        return Some(format!(
            "shared has {} numbers, serial {}",
            sorted.len(),
            expected.len()
        ));
    }
    let at = sorted
        .iter()
        .zip(expected)
        .position(|(shared, serial)| shared != serial)?;
    let count = sorted
        .iter()
        .zip(expected)
        .filter(|(shared, serial)| shared != serial)
        .count();
    Some(format!(
        "{count} of {} numbers, the first at {at}: shared {}, serial {}",
        sorted.len(),
        sorted[at],
        expected[at]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn seeded(count: usize, modulus: i32) -> Vec<i32> {
        (0..count)
            .map(|index| numbers::seeded::<i32>(7, index) % modulus)
            .collect()
    }

    #[test]
    fn a_partition_leaves_equals_in_their_final_place() {
        for modulus in [1, 2, 10, i32::MAX] {
            for count in [1, 2, 9, 1000] {
                let mut numbers = seeded(count, modulus);
                let mut expected = numbers.clone();
                expected.sort_unstable();
                let (less, greater) = partition(&mut numbers);
                assert!(
                    less + greater < count,
                    "a partition always places one number at least"
                );
                assert_eq!(
                    numbers[less..count - greater],
                    expected[less..count - greater]
                );
                numbers[..less].sort_unstable();
                numbers[count - greater..].sort_unstable();
                assert_eq!(numbers, expected);
            }
        }
    }

    #[test]
    fn a_difference_names_the_first_place() {
        assert_eq!(difference(&[1, 2, 3], &[1, 2, 3]), None);
        assert!(
            difference(&[1, 3, 2], &[1, 2, 3])
                .unwrap()
                .contains("2 of 3 numbers, the first at 1")
        );
        assert!(difference(&[1], &[1, 2]).unwrap().contains("shared has 1"));
    }
}
