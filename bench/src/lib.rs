//! Measures what the shared memory costs, every figure beside its floor: the same work over a bare socket, in private
//! memory or by the kernel alone, taken by turns in the same processes with the same way of waiting. What counts is the
//! ratio; times differ from machine to machine and from hour to hour.
//!
//! `hivemind bench` is this program. It starts itself again as drones, by `hivemind run`, a job for each set of cases that
//! goes together (`plan`); drones measure (`cases`, `series`) and drone 0 prints what came out as JSON, a line a case,
//! which is gathered and shown here (`outcome`, `plot`).
//!
//! `compare` runs whole programs against what people would use instead (`bench/compare` calls it).
//!
//! What needs no message stands in `inside`, for `benches/inside.rs` too, which takes its times without the launcher and
//! with another clock. Deliberately elsewhere: figures of one function without drones, such as a diff's, and of the core
//! with the pages but without links (the benches of `hivemind-memory`).

#![forbid(unsafe_code)]

mod bare;
mod cases;
mod compare;
pub mod inside;
mod outcome;
mod plan;
mod plot;
mod series;
mod start;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Measure the shared memory against its floors, on this machine.
///
/// Each figure is the median of many rounds. A round takes it and its floor one after the other, so that both meet the
/// same weather; the ratio's spread is that of the middle 80 % of the rounds. Nothing else should run meanwhile.
#[derive(Parser, Debug)]
#[command(name = "bench", bin_name = "hivemind bench", version)]
pub(crate) struct Options {
    /// Only cases whose names contain PATTERN.
    #[arg(long, value_name = "PATTERN", default_value = "")]
    only: String,

    /// Write what came out to FILE: a list of objects with name, value, unit, floor, ratio, low, high, goal, met.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Draw the ratios into FILE (SVG): each with its spread and its goal.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,

    /// How many rounds each figure is taken.
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u32).range(3..=10_000))]
    rounds: u32,

    /// How page faults are caught.
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    engine: String,

    /// List the cases, measure none.
    #[arg(long)]
    list: bool,

    /// A drone's part: the cases it takes part in. Only for `hivemind bench` itself.
    #[arg(long, hide = true, value_delimiter = ',')]
    drone: Option<Vec<String>>,

    /// One program, one way; its words follow. Only for `compare` itself.
    #[arg(long, hide = true)]
    program: Option<ProgramWay>,

    /// The program's words.
    #[arg(hide = true, requires = "program")]
    words: Vec<String>,

    #[command(subcommand)]
    task: Option<Task>,

    /// A drone that does nothing, or nothing but join and leave. Only for `hivemind bench` itself.
    #[arg(long, hide = true)]
    empty: Option<start::Empty>,
}

#[derive(clap::Subcommand, Debug)]
enum Task {
    Compare(compare::Compare),
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ProgramWay {
    Serial,
    Threads,
    Drone,
}

/// One program, one way.
fn program(way: ProgramWay, words: &[String]) -> anyhow::Result<ExitCode> {
    let run = compare::Run::of_words(words)?;
    match way {
        ProgramWay::Serial => compare::serial(run),
        ProgramWay::Threads => compare::threads(run),
        ProgramWay::Drone => compare::drone(run),
    }
}

/// The command.
pub fn main() -> ExitCode {
    let options = Options::parse();
    let done = match (
        &options.task,
        &options.drone,
        options.empty,
        options.program,
    ) {
        (Some(Task::Compare(compare)), ..) => compare::run(compare),
        (_, _, Some(empty), _) => empty.run(),
        (_, Some(names), ..) => cases::measure(names, options.rounds),
        (.., Some(way)) => program(way, &options.words),
        _ => plan::run(&options),
    };
    match done {
        Ok(status) => status,
        Err(error) => {
            eprintln!("hivemind bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
