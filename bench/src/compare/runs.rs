//! What this package itself runs: a program on one core, or as a drone. With two threads: `threads`.

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use apps::progress::Progress;
use apps::{intsort, jacobi, matmul, pi, quicksort, tsp};
use hivemind::Hive;

use super::Said;

/// A program and its size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Run {
    Pi { steps: u64 },
    Jacobi { size: usize, sweeps: u64 },
    Matmul { size: usize },
    Intsort(Intsort),
    Quicksort { count: usize },
    Tsp { cities: usize, seed: u64 },
}

/// The size of the program that sorts by counting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Intsort {
    pub(crate) count: usize,
    pub(crate) values: usize,
    pub(crate) rounds: u64,
}

impl Run {
    /// Its words on a command line; the first is the program's name.
    pub(super) fn words(self) -> Vec<String> {
        let (name, numbers) = match self {
            Self::Pi { steps } => ("pi", vec![steps]),
            Self::Jacobi { size, sweeps } => ("jacobi", vec![size as u64, sweeps]),
            Self::Matmul { size } => ("matmul", vec![size as u64]),
            Self::Intsort(Intsort {
                count,
                values,
                rounds,
            }) => ("intsort", vec![count as u64, values as u64, rounds]),
            Self::Quicksort { count } => ("quicksort", vec![count as u64]),
            Self::Tsp { cities, seed } => ("tsp", vec![cities as u64, seed]),
        };
        let numbers = numbers.iter().map(u64::to_string);
        std::iter::once(name.to_owned()).chain(numbers).collect()
    }

    /// What [`words`](Self::words) gave.
    pub(crate) fn of_words(words: &[String]) -> anyhow::Result<Self> {
        let (name, numbers) = words.split_first().context("a program is missing")?;
        let read = |word: &String| -> anyhow::Result<u64> {
            word.parse().with_context(|| format!("{word} is no number"))
        };
        let numbers: Vec<u64> = numbers.iter().map(read).collect::<Result<_, _>>()?;
        let size = |number: u64| number as usize;
        Ok(match (name.as_str(), numbers.as_slice()) {
            ("pi", &[steps]) => Self::Pi { steps },
            ("jacobi", &[points, sweeps]) => Self::Jacobi {
                size: size(points),
                sweeps,
            },
            ("matmul", &[rows]) => Self::Matmul { size: size(rows) },
            ("intsort", &[count, values, rounds]) => Self::Intsort(Intsort {
                count: size(count),
                values: size(values),
                rounds,
            }),
            ("quicksort", &[count]) => Self::Quicksort { count: size(count) },
            ("tsp", &[cities, seed]) => Self::Tsp {
                cities: size(cities),
                seed,
            },
            _ => bail!("there is no program {words:?}"),
        })
    }
}

/// Runs on one core, in this process.
pub(crate) fn serial(run: Run) -> anyhow::Result<ExitCode> {
    say(match run {
        Run::Pi { steps } => timed(|| pi::serial(steps)),
        Run::Jacobi { size, sweeps } => {
            let swept = jacobi::serial(plate(size, sweeps));
            Said {
                answer: heat(&swept.points, size, 1..size - 1),
                seconds: swept.time.as_secs_f64(),
            }
        }
        Run::Matmul { size } => {
            let product = matmul::serial(size);
            Said {
                answer: product.elements.iter().sum(),
                seconds: product.time.as_secs_f64(),
            }
        }
        Run::Intsort(task) => {
            let sorted = intsort::serial(task.into());
            Said {
                answer: exact([sorted.ranks, fingerprint(0, &sorted.keys)]),
                seconds: sorted.time.as_secs_f64(),
            }
        }
        Run::Quicksort { count } => {
            let mut numbers = unsorted(0..count);
            let said = timed(|| {
                quicksort::serial(&mut numbers);
                0.0
            });
            Said {
                answer: exact([fingerprint(0, &bits(&numbers))]),
                ..said
            }
        }
        Run::Tsp { cities, seed } => {
            let distances = distances(cities, seed);
            timed(|| tsp::serial(&distances).length as f64)
        }
    })
}

/// Runs with two threads on private memory, in this process.
pub(crate) fn threads(run: Run) -> anyhow::Result<ExitCode> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
    say(pool.install(|| super::threads::run(run)))
}

/// Runs as one drone; drone 0 says the answer.
pub(crate) fn drone(run: Run) -> anyhow::Result<ExitCode> {
    let mut hive = Hive::join()?;
    let workers = rayon::ThreadPoolBuilder::new()
        .num_threads(hive.threads().max(1))
        .use_current_thread()
        .build()?;
    hive.barrier()?;
    let said = shared(run, &mut hive, &workers)?;
    if hive.is_first() {
        say(said)?;
    }
    hive.leave()?;
    Ok(ExitCode::SUCCESS)
}

fn shared(run: Run, hive: &mut Hive, workers: &rayon::ThreadPool) -> anyhow::Result<Said> {
    let silent = Progress::silent();
    Ok(match run {
        Run::Pi { steps } => {
            let begin = Instant::now();
            let answer = pi::shared(hive, steps, workers, &silent)?;
            said(answer, begin)
        }
        Run::Jacobi { size, sweeps } => {
            let swept = jacobi::shared(hive, plate(size, sweeps), workers, &silent)?;
            let mine = hive.share_of(1..size - 1);
            let heat = heat(swept.points.view(hive), size, mine);
            Said {
                answer: hive.sum(heat)?,
                seconds: swept.time.as_secs_f64(),
            }
        }
        Run::Matmul { size } => {
            let product = matmul::shared(hive, size, workers, &silent)?;
            let mine = hive.share_of(0..size * size);
            let sum: f64 = product.elements.view(hive)[mine].iter().sum();
            Said {
                answer: hive.sum(sum)?,
                seconds: product.time.as_secs_f64(),
            }
        }
        Run::Intsort(task) => {
            let sorted = intsort::shared(hive, task.into(), workers, &silent)?;
            let mine = hive.share_of(0..task.count);
            let print = fingerprint(mine.start, &sorted.keys.view(hive)[mine.clone()]);
            Said {
                answer: exact([sorted.ranks, hive.sum(print)?]),
                seconds: sorted.time.as_secs_f64(),
            }
        }
        Run::Quicksort { count } => shared_quicksort(hive, count, workers)?,
        Run::Tsp { cities, seed } => {
            let distances = distances(cities, seed);
            let silent = apps::program::Console::new("tsp", false);
            let begin = Instant::now();
            let (best, _) = tsp::shared(hive, &distances, &silent)?;
            said(best.length as f64, begin)
        }
    })
}

fn shared_quicksort(
    hive: &mut Hive,
    count: usize,
    workers: &rayon::ThreadPool,
) -> anyhow::Result<Said> {
    let mut numbers = hive.alloc::<i32>(count)?;
    let mine = hive.share_of(0..count);
    numbers.view_mut(hive)[mine.clone()].copy_from_slice(&unsorted(mine.clone()));
    hive.barrier()?;
    let begin = Instant::now();
    let sorted = quicksort::shared(hive, &mut numbers, workers, &Progress::silent())?;
    let seconds = begin.elapsed().as_secs_f64();
    let print = fingerprint(mine.start, &bits(&sorted.view(hive)[mine]));
    Ok(Said {
        answer: exact([hive.sum(print)?]),
        seconds,
    })
}

pub(super) fn plate(size: usize, sweeps: u64) -> jacobi::Plate {
    jacobi::Plate {
        size,
        steps: sweeps,
        tolerance: None,
    }
}

impl From<Intsort> for intsort::Task {
    fn from(task: Intsort) -> Self {
        Self {
            count: task.count,
            values: task.values,
            rounds: task.rounds,
        }
    }
}

/// The numbers to sort, of this part.
pub(super) fn unsorted(part: Range<usize>) -> Vec<i32> {
    part.map(|index| apps::numbers::seeded(1, index)).collect()
}

pub(super) fn distances(cities: usize, seed: u64) -> tsp::search::Distances {
    tsp::instance::Instance::random(cities, seed, 10_000).distances
}

/// What some rows hold: the sum of their points. Every sweep changes it, and so does a neighbour's row that didn't arrive; one
/// point far from the cold sides would keep the temperature from which it starts.
pub(super) fn heat(points: &[f64], size: usize, rows: Range<usize>) -> f64 {
    let rows = rows.map(|row| &points[row * size..][..size]);
    rows.map(|row| row.iter().sum::<f64>()).sum()
}

/// So many bits of a sum of whole numbers are compared: a double has them all.
const EXACT_BITS: u32 = 52;

/// A number that another order of the keys changes; `keys` begin with number `first` of all, and the numbers of parts add up
/// to that of the whole. `intsort.c` makes the same.
pub(super) fn fingerprint(first: usize, keys: &[u32]) -> u64 {
    let prints = keys.iter().zip(first as u64..).map(|(&key, at)| {
        let mixed = (u64::from(key) ^ (at << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32
    });
    prints.sum()
}

/// The sum of some whole numbers as an answer.
pub(super) fn exact<const COUNT: usize>(parts: [u64; COUNT]) -> f64 {
    let sum = parts.into_iter().fold(0, u64::wrapping_add);
    (sum % (1 << EXACT_BITS)) as f64
}

pub(super) fn bits(numbers: &[i32]) -> Vec<u32> {
    numbers
        .iter()
        .map(|number| number.cast_unsigned())
        .collect()
}

fn timed(work: impl FnOnce() -> f64) -> Said {
    let begin = Instant::now();
    said(work(), begin)
}

pub(super) fn said(answer: f64, begin: Instant) -> Said {
    Said {
        answer,
        seconds: begin.elapsed().as_secs_f64(),
    }
}

fn say(said: Said) -> anyhow::Result<ExitCode> {
    println!("{}", serde_json::to_string(&said)?);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for run in [
            Run::Pi { steps: 5 },
            Run::Jacobi { size: 9, sweeps: 3 },
            Run::Matmul { size: 7 },
            Run::Intsort(Intsort {
                count: 5,
                values: 4,
                rounds: 3,
            }),
            Run::Quicksort { count: 8 },
            Run::Tsp { cities: 9, seed: 2 },
        ] {
            assert_eq!(Run::of_words(&run.words()).unwrap(), run);
        }
        for wrong in [&["pi"][..], &["pi", "x"], &["jacobi", "3"], &["sort"], &[]] {
            let words: Vec<String> = wrong.iter().map(|word| (*word).to_owned()).collect();
            assert!(Run::of_words(&words).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_sweep_left_out_is_seen_in_the_answer() {
        let size = 259;
        let answer = |sweeps| {
            let swept = jacobi::serial(plate(size, sweeps));
            heat(&swept.points, size, 1..size - 1)
        };
        let (all, one_less) = (answer(20), answer(19));
        assert!((all - one_less).abs() > 1e3 * super::super::TOLERANCE * all);
    }

    #[test]
    fn the_fingerprint_of_a_million_keys_shows_two_that_changed_places() {
        let mut keys: Vec<u32> = (0..1_000_000).collect();
        let right = exact([fingerprint(0, &keys)]);
        let parts = [fingerprint(0, &keys[..7]), fingerprint(7, &keys[7..])];
        assert_eq!(exact(parts), right);
        keys.swap(500_000, 500_001);
        let wrong = exact([fingerprint(0, &keys)]);
        assert!((right - wrong).abs() > 1e3 * super::super::TOLERANCE * right);
    }
}
