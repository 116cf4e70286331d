//! What is measured: a table of cases, each with its floor and its goal, and the way from a name to a figure.
//!
//! What a case does is in `pages`, `locks`, `meetings`, `engines` and `c`. How often, and how figure and floor take turns, is in
//! `series`; which cases share a job is in `plan`.

mod c;
mod engines;
mod locks;
mod meetings;
mod pages;

use std::process::ExitCode;

use anyhow::{Context, bail};
use hivemind::Hive;

use crate::series::{Bench, Series};

/// One thing to measure.
pub(crate) struct Case {
    /// How it is called.
    pub(crate) name: &'static str,
    /// How many drones take part.
    pub(crate) drones: u32,
    /// Which ways of saving messages are left out, as `HIVEMIND_WITHOUT` takes them.
    pub(crate) without: &'static str,
    /// What carries the links, as `HIVEMIND_TRANSPORT` takes it, and the floor's bytes as well.
    pub(crate) transport: &'static str,
    /// The fault engine, as `HIVEMIND_ENGINE` takes it; none: that of all cases.
    pub(crate) engine: Option<&'static str>,
    /// What an operation and its floor are.
    pub(crate) what: &'static str,
    /// How the value is shown.
    pub(crate) unit: Unit,
    /// What the ratio to the floor shall be.
    pub(crate) goal: Option<Goal>,
    /// Does it; collective.
    run: fn(&mut Bench) -> anyhow::Result<Series>,
}

impl Case {
    /// Whether both can be measured in one job.
    pub(crate) fn fits_with(&self, other: &Self) -> bool {
        let wants = |case: &Self| (case.drones, case.without, case.transport, case.engine);
        wants(self) == wants(other)
    }
}

/// How a value is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// The time of an operation.
    Microseconds,
    /// How fast, where an operation moves so many bytes.
    MebibytesPerSecond { operation_bytes: u32 },
}

/// What a ratio shall be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Goal {
    /// Of times.
    AtMost(f64),
    /// Of speeds.
    AtLeast(f64),
}

/// What happens by time alone, over TCP, with all economies, without a goal.
const PLAIN: Case = Case {
    name: "",
    drones: 2,
    without: "",
    transport: "tcp",
    engine: None,
    what: "",
    unit: Unit::Microseconds,
    goal: None,
    run: |_| bail!("a case without work"),
};

/// All cases, in the order in which they are shown.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [pages::CASES, locks::CASES, meetings::CASES]
        .into_iter()
        .flatten()
        .chain(engines::CASES.as_flattened())
        .chain(c::CASES)
}

/// A drone's part: takes part in these cases one after the other; drone 0 prints each one's series.
pub(crate) fn measure(names: &[String], rounds: u32) -> anyhow::Result<ExitCode> {
    if c::are_ours(names) {
        c::measure(names, rounds, show)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut bench = Bench::new(Hive::join()?, rounds)?;
    for name in names {
        let case = all().find(|case| case.name == name);
        let case = case.with_context(|| format!("there is no case `{name}`"))?;
        let mut series = (case.run)(&mut bench).with_context(|| format!("case {name}"))?;
        series.name.clone_from(name);
        if bench.is_first() {
            show(&series)?;
        }
    }
    bench.hive.leave()?;
    Ok(ExitCode::SUCCESS)
}

/// For the process that gathers what came out.
fn show(series: &Series) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(series)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_cases_have_the_same_name() {
        let mut names: Vec<_> = all().map(|case| case.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.iter().all(|name| !name.contains([',', ' '])));
    }

    #[test]
    fn every_case_says_what_it_is() {
        for case in all() {
            assert!(case.what.contains("; floor: "), "{}", case.name);
        }
    }
}
