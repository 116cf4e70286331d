//! The start of a job: how long `hivemind run -n 2` takes for a program that joins and leaves, beside two processes that
//! do nothing.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use hivemind::Hive;

use crate::series::Series;

/// What an empty program does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Empty {
    /// Joins the hive and leaves it.
    Hive,
    /// Nothing.
    Nothing,
}

/// How the case is called.
pub(crate) const NAME: &str = "start/2";

/// What it is.
pub(crate) const WHAT: &str = "a whole `hivemind run -n 2` of a program that joins and leaves; floor: two processes that end at once";

/// What it shall take at most.
pub(crate) const GOAL: Duration = Duration::from_millis(100);

impl Empty {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if self == Self::Hive {
            Hive::join()?.leave()?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Starts jobs, and bare processes by turns.
pub(crate) fn measure(hivemind: &Path, program: &Path, rounds: u32) -> anyhow::Result<Series> {
    let mut series = Series {
        name: NAME.to_owned(),
        ..Series::default()
    };
    for _ in 0..rounds {
        let mut job = crate::plan::run_here(hivemind, 2);
        job.arg(program).args(["--empty", "hive"]);
        series.ours_ns.push(time(&mut [job])?);
        let mut bare = [(); 2].map(|()| Command::new(program));
        for process in &mut bare {
            process.args(["--empty", "nothing"]);
        }
        series.floor_ns.push(time(&mut bare)?);
    }
    Ok(series)
}

fn time(commands: &mut [Command]) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let mut children = Vec::new();
    for command in commands {
        let started = command.stdin(Stdio::null()).spawn();
        children.push(started.with_context(|| format!("cannot start {command:?}"))?);
    }
    for mut child in children {
        let status = child.wait()?;
        ensure!(status.success(), "an empty program ended with {status}");
    }
    Ok(begin.elapsed().as_nanos() as f64)
}
