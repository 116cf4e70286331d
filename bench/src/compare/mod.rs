//! Programs on HiveMind beside what people would use instead: one core, threads of one process, and MPI written by hand, over
//! shared memory and over TCP. All on the same machine, by turns, each with its own time of computing, start-up apart.
//!
//! A way to run a program is a command that prints its answer and its seconds as JSON. What this package itself runs (on one
//! core, as drones, with threads) is in `runs` and `threads`; the yardsticks for MPI are the C programs in `bench/mpi`. How a ratio
//! becomes a line is in `outcome`.

mod runs;
mod threads;
mod ways;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;

use crate::outcome::{self, Outcome};
use crate::series::Series;
use runs::Intsort;
pub(crate) use runs::{Run, drone, serial, threads};
use ways::{Way, Ways};

/// Measure programs on two drones against one core, two threads, and MPI.
#[derive(Args, Debug)]
pub(crate) struct Compare {
    /// Only programs whose names contain PATTERN.
    #[arg(long, value_name = "PATTERN", default_value = "")]
    only: String,

    /// Write what came out to FILE, in the form of `hivemind bench`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// How often each program is run each way.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Small sizes: the figures say little and meet no goals, and all is over in seconds.
    #[arg(long)]
    quick: bool,
}

/// A program to compare.
struct Program {
    name: &'static str,
    /// Which program of ours, with its size and how often: for measuring, and for a quick look.
    sizes: [Run; 2],
    /// The shared memory that it needs.
    region: &'static str,
    /// How large the speed beside each way shall be at least.
    goals: &'static [(Way, f64)],
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "pi/1e8",
        sizes: [Run::Pi { steps: 100_000_000 }, Run::Pi { steps: 1_000_000 }],
        region: "64M",
        goals: &[(Way::Threads, 0.98)],
    },
    Program {
        name: "jacobi/2048",
        sizes: [
            Run::Jacobi {
                size: 2048,
                sweeps: 100,
            },
            Run::Jacobi {
                size: 130,
                sweeps: 20,
            },
        ],
        region: "256M",
        goals: &[(Way::MpiTcp, 0.95), (Way::MpiShared, 0.9)],
    },
    Program {
        name: "jacobi/8192",
        sizes: [
            Run::Jacobi {
                size: 8192,
                sweeps: 100,
            },
            Run::Jacobi {
                size: 259,
                sweeps: 20,
            },
        ],
        region: "2G",
        goals: &[(Way::MpiTcp, 0.95), (Way::MpiShared, 0.9)],
    },
    Program {
        name: "matmul/2048",
        sizes: [Run::Matmul { size: 2048 }, Run::Matmul { size: 100 }],
        region: "256M",
        goals: &[(Way::MpiTcp, 0.9)],
    },
    // As large as class A of the kernel IS.
    Program {
        name: "intsort/8M",
        sizes: [
            Run::Intsort(Intsort {
                count: 1 << 23,
                values: 1 << 19,
                rounds: 10,
            }),
            Run::Intsort(Intsort {
                count: 10_000,
                values: 1000,
                rounds: 3,
            }),
        ],
        region: "256M",
        goals: &[(Way::MpiTcp, 0.9)],
    },
    Program {
        name: "quicksort/32M",
        sizes: [
            Run::Quicksort { count: 32_000_000 },
            Run::Quicksort { count: 10_000 },
        ],
        region: "1G",
        goals: &[(Way::Serial, 1.7)],
    },
    Program {
        name: "tsp/90",
        sizes: [
            Run::Tsp {
                cities: 90,
                seed: 1,
            },
            Run::Tsp {
                cities: 12,
                seed: 1,
            },
        ],
        region: "64M",
        goals: &[(Way::Serial, 1.7)],
    },
];

/// The answers of two ways may differ by so much of the answer: sums are made in another order.
const TOLERANCE: f64 = 1e-11;

/// Compares what the options ask for.
pub(crate) fn run(options: &Compare) -> anyhow::Result<ExitCode> {
    let wanted = PROGRAMS
        .iter()
        .filter(|program| program.name.contains(&options.only));
    let wanted: Vec<_> = wanted.collect();
    ensure!(
        !wanted.is_empty(),
        "no program has `{}` in its name",
        options.only
    );
    let ways = Ways::prepare()?;
    let bar = crate::plan::progress(wanted.len() * options.rounds as usize);
    let mut outcomes = Vec::new();
    for program in wanted {
        bar.set_message(program.name);
        outcomes.extend(compare(program, &ways, options, &bar)?);
    }
    bar.finish_and_clear();
    outcome::show(&outcomes);
    if let Some(path) = &options.json {
        outcome::write(&outcomes, path)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a program all ways by turns; gives an outcome for each way but ours.
fn compare(
    program: &Program,
    ways: &Ways,
    options: &Compare,
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<Vec<Outcome>> {
    let size = program.sizes[usize::from(options.quick)];
    let others: Vec<Way> = ways
        .here(size)
        .filter(|way| *way != Way::HiveMind)
        .collect();
    let mut series: Vec<Series> = vec![Series::default(); others.len()];
    for round in 0..options.rounds as usize {
        // Each round begins with another way, so that none always comes after the same one.
        let mut order: Vec<Way> = ways.here(size).collect();
        let turn = round % order.len();
        order.rotate_left(turn);
        let mut said = BTreeMap::new();
        for way in order {
            said.insert(way, ways.run(way, size, program.region)?);
        }
        let ours = said[&Way::HiveMind];
        for (series, way) in series.iter_mut().zip(&others) {
            let theirs = said[way];
            let off = (theirs.answer - ours.answer).abs();
            ensure!(
                off <= TOLERANCE * ours.answer.abs(),
                "{}: {} says {} and HiveMind {}",
                program.name,
                way.name(),
                theirs.answer,
                ours.answer
            );
            series.ours_ns.push(ours.seconds * 1e9);
            series.floor_ns.push(theirs.seconds * 1e9);
        }
        bar.inc(1);
    }
    let outcome = |(way, series): (&Way, &Series)| {
        let goals = program.goals.iter().filter(|_| !options.quick);
        let goal = goals.into_iter().find(|(goal, _)| goal == way);
        let name = format!("{} : {}", program.name, way.name());
        Outcome::of_program(name, series, way.what(), goal.map(|(_, bound)| *bound))
    };
    Ok(others.iter().zip(&series).map(outcome).collect())
}

/// What every way prints.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Said {
    pub(crate) answer: f64,
    pub(crate) seconds: f64,
}

impl Said {
    fn read(output: &[u8], who: &str) -> anyhow::Result<Self> {
        let text = String::from_utf8_lossy(output);
        let line = text.lines().find(|line| line.starts_with('{'));
        let line = line.with_context(|| format!("{who} printed no answer: {text}"))?;
        serde_json::from_str(line).with_context(|| format!("{who} printed `{line}`"))
    }
}
