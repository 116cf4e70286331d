//! What this package itself runs: a program on one core, with two threads on private memory, or as a drone.

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use apps::progress::Progress;
use hivemind::Hive;
use rayon::prelude::*;

use super::Said;

/// A program and its size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Run {
    Pi { steps: u64 },
    Jacobi { size: usize, sweeps: u64 },
}

impl Run {
    /// Its words on a command line; the first is the program's name.
    pub(super) fn words(self) -> Vec<String> {
        match self {
            Self::Pi { steps } => vec!["pi".into(), steps.to_string()],
            Self::Jacobi { size, sweeps } => {
                vec!["jacobi".into(), size.to_string(), sweeps.to_string()]
            }
        }
    }

    /// What [`words`](Self::words) gave.
    pub(crate) fn of_words(words: &[String]) -> anyhow::Result<Self> {
        let number = |place: usize| -> anyhow::Result<u64> {
            let word: &String = words.get(place).context("a number is missing")?;
            word.parse().with_context(|| format!("{word} is no number"))
        };
        match words.first().map(String::as_str) {
            Some("pi") => Ok(Self::Pi { steps: number(1)? }),
            Some("jacobi") => Ok(Self::Jacobi {
                size: number(1)? as usize,
                sweeps: number(2)?,
            }),
            other => bail!("there is no program {other:?}"),
        }
    }

    fn plate(size: usize, sweeps: u64) -> apps::jacobi::Plate {
        apps::jacobi::Plate {
            size,
            steps: sweeps,
            tolerance: None,
        }
    }
}

/// Runs on one core, in this process.
pub(crate) fn serial(run: Run) -> anyhow::Result<ExitCode> {
    say(match run {
        Run::Pi { steps } => {
            let begin = Instant::now();
            let answer = apps::pi::serial(steps);
            Said {
                answer,
                seconds: begin.elapsed().as_secs_f64(),
            }
        }
        Run::Jacobi { size, sweeps } => {
            let swept = apps::jacobi::serial(Run::plate(size, sweeps));
            Said {
                answer: heat(&swept.points, size, 1..size - 1),
                seconds: swept.time.as_secs_f64(),
            }
        }
    })
}

/// Runs with two threads on private memory, in this process.
pub(crate) fn threads(run: Run) -> anyhow::Result<ExitCode> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
    say(pool.install(|| match run {
        Run::Pi { steps } => threads_pi(steps),
        Run::Jacobi { size, sweeps } => threads_jacobi(size, sweeps),
    }))
}

fn threads_pi(steps: u64) -> Said {
    const BLOCK: u64 = 1 << 20;
    const LANES: usize = 8;
    let width = 1.0 / steps as f64;
    let begin = Instant::now();
    let sum: f64 = (0..steps.div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let (first, end) = (block * BLOCK, steps.min((block + 1) * BLOCK));
            let height = |step: u64| 4.0 / (1.0 + ((step as f64 + 0.5) * width).powi(2));
            let mut lanes = [0.0; LANES];
            let whole = first + (end - first) / LANES as u64 * LANES as u64;
            for step in (first..whole).step_by(LANES) {
                for (lane, sum) in lanes.iter_mut().enumerate() {
                    *sum += height(step + lane as u64);
                }
            }
            lanes.iter().sum::<f64>() + (whole..end).map(height).sum::<f64>()
        })
        .sum();
    Said {
        answer: sum * width,
        seconds: begin.elapsed().as_secs_f64(),
    }
}

fn threads_jacobi(size: usize, sweeps: u64) -> Said {
    // The same start as the shared version's: no sweep.
    let mut now = apps::jacobi::serial(Run::plate(size, 0)).points;
    let mut next = now.clone();
    let begin = Instant::now();
    for _ in 0..sweeps {
        let rows = next[size..size * (size - 1)].par_chunks_exact_mut(size);
        rows.enumerate().for_each(|(row, out)| {
            let at = (row + 1) * size;
            let (above, here, below) = (
                &now[at - size..at],
                &now[at..at + size],
                &now[at + size..at + 2 * size],
            );
            for i in 1..size - 1 {
                out[i] = 0.25 * ((above[i] + below[i]) + (here[i - 1] + here[i + 1]));
            }
        });
        std::mem::swap(&mut now, &mut next);
    }
    let seconds = begin.elapsed().as_secs_f64();
    Said {
        answer: heat(&now, size, 1..size - 1),
        seconds,
    }
}

/// Runs as one drone; drone 0 says the answer.
pub(crate) fn drone(run: Run) -> anyhow::Result<ExitCode> {
    let mut hive = Hive::join()?;
    let workers = rayon::ThreadPoolBuilder::new()
        .num_threads(hive.threads().max(1))
        .use_current_thread()
        .build()?;
    hive.barrier()?;
    let said = match run {
        Run::Pi { steps } => {
            let begin = Instant::now();
            let answer = apps::pi::shared(&mut hive, steps, &workers, &Progress::silent())?;
            Said {
                answer,
                seconds: begin.elapsed().as_secs_f64(),
            }
        }
        Run::Jacobi { size, sweeps } => {
            let plate = Run::plate(size, sweeps);
            let swept = apps::jacobi::shared(&mut hive, plate, &workers, &Progress::silent())?;
            let mine = hive.share_of(1..size - 1);
            let heat = heat(swept.points.view(&hive), size, mine);
            Said {
                answer: hive.sum(heat)?,
                seconds: swept.time.as_secs_f64(),
            }
        }
    };
    if hive.is_first() {
        say(said)?;
    }
    hive.leave()?;
    Ok(ExitCode::SUCCESS)
}

/// What some rows hold: the sum of their points. Every sweep changes it, and so does a neighbour's row that didn't arrive; one
/// point far from the cold sides would keep the temperature from which it starts.
fn heat(points: &[f64], size: usize, rows: Range<usize>) -> f64 {
    let rows = rows.map(|row| &points[row * size..][..size]);
    rows.map(|row| row.iter().sum::<f64>()).sum()
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
        for run in [Run::Pi { steps: 5 }, Run::Jacobi { size: 9, sweeps: 3 }] {
            assert_eq!(Run::of_words(&run.words()).unwrap(), run);
        }
        for wrong in [&["pi"][..], &["pi", "x"], &["jacobi", "3"], &["sort"], &[]] {
            let words: Vec<String> = wrong.iter().map(|word| (*word).to_owned()).collect();
            assert!(Run::of_words(&words).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn threads_give_the_serial_answer() {
        let pi = threads_pi(1_000_003);
        assert!((pi.answer - apps::pi::serial(1_000_003)).abs() < 1e-12);
        let swept = apps::jacobi::serial(Run::plate(67, 11));
        assert_eq!(
            threads_jacobi(67, 11).answer,
            heat(&swept.points, 67, 1..66)
        );
    }

    #[test]
    fn a_sweep_left_out_is_seen_in_the_answer() {
        let size = 259;
        let answer = |sweeps| {
            let swept = apps::jacobi::serial(Run::plate(size, sweeps));
            heat(&swept.points, size, 1..size - 1)
        };
        let (all, one_less) = (answer(20), answer(19));
        assert!((all - one_less).abs() > 1e3 * super::super::TOLERANCE * all);
    }
}
