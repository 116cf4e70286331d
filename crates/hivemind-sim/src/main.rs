//! The command: runs seeds on all cores, prints what they found and how to replay it, and replays one step by step.
//! Small worlds are `explore_command`'s, models of larger hives `model_command`'s. Everything else is the library's, which knows no threads.

#![forbid(unsafe_code)]

mod explore_command;
mod model_command;
mod output;

use hivemind_protocol::{DroneId, LockId, PageId};
use hivemind_sim::{Failed, Plan, Report, Show, Total, Wanted, check, replay, shrink};
use hivemind_trace::{Entry, cut, shiviz};
use output::say;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const USAGE: &str =
    "usage: hivemind-sim --seeds N [--first S] | --minutes M [--first S] | --seed S [what to show] | explore … | model …
  --seeds N         run the worlds of N seeds
  --minutes M       run seeds for so many minutes
  --first S         the first of them (default 1)
  --jobs J          on so many threads (default: one a core); the output is the same for any number
  --all             go on after a finding
  --hostile         in worlds whose network or drones break the rules
  --seed S          run one world and show its last events
  --lines L         how many lines of them (default 400; with --steps, --page, --lock or --drone all)
  --steps A..B      its steps A to B, with the states that change
  --page P          only what concerns page P, with the states that change
  --lock L          the same for lock L
  --drone D         only what happens at drone D, with the states that change
  --shiviz FILE     also write what is shown as a log for ShiViz (at most 20000 events: choose with --steps)
  --shrink R        first make the program smaller, with at most R runs
every order of events in small worlds: explore; explore --help says more
what larger hives would do, and how fast: model; model --help says more
exit status: 0 when nothing was found, 1 when something was, 2 when the call is wrong";

#[derive(Clone, Debug, Default)]
struct Options {
    seeds: Option<u64>,
    minutes: Option<u64>,
    first: Option<u64>,
    jobs: Option<u64>,
    all: bool,
    hostile: bool,
    seed: Option<u64>,
    lines: Option<u64>,
    wanted: Wanted,
    shiviz: Option<PathBuf>,
    shrink: Option<u64>,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if_eq("explore").is_some() {
        return explore_command::run(words);
    }
    if words.next_if_eq("model").is_some() {
        return model_command::run(words);
    }
    match options(words) {
        Ok(options) => match options.seed {
            Some(seed) => one(seed, &options),
            None if options.seeds.is_some() || options.minutes.is_some() => many(&options),
            None => complain("nothing to do"),
        },
        Err(what) => complain(&what),
    }
}

fn complain(what: &str) -> ExitCode {
    eprintln!("hivemind-sim: {what}\n{USAGE}");
    ExitCode::from(2)
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--all" => options.all = true,
            "--hostile" => options.hostile = true,
            "--shiviz" => {
                let file = words.next().ok_or("--shiviz wants a file")?;
                options.shiviz = Some(PathBuf::from(file));
            }
            "--steps" => {
                let steps = words.next().ok_or("--steps wants a range, as 100..200")?;
                let range = steps.split_once("..").ok_or("--steps wants a range")?;
                options.wanted.steps = number(&word, range.0)?..=number(&word, range.1)?;
                options.wanted.states = true;
            }
            _ => {
                let value = words.next().ok_or(format!("{word} wants a number"));
                set_number(&mut options, &word, value)?;
            }
        }
    }
    Ok(options)
}

fn set_number(
    options: &mut Options,
    word: &str,
    value: Result<String, String>,
) -> Result<(), String> {
    let value = || number(word, &value?);
    match word {
        "--seeds" => options.seeds = Some(value()?),
        "--minutes" => options.minutes = Some(value()?),
        "--first" => options.first = Some(value()?),
        "--jobs" => options.jobs = Some(value()?),
        "--seed" => options.seed = Some(value()?),
        "--lines" => options.lines = Some(value()?),
        "--shrink" => options.shrink = Some(value()?),
        "--page" => options.wanted.page = Some(PageId(value()?)),
        "--lock" => options.wanted.lock = Some(LockId(value()?)),
        "--drone" => {
            let drone = u32::try_from(value()?).map_err(|_| "there is no such drone")?;
            options.wanted.drone = Some(DroneId(drone));
        }
        other => return Err(format!("{other} is no option")),
    }
    options.wanted.states |= matches!(word, "--page" | "--lock" | "--drone");
    Ok(())
}

fn number(word: &str, value: &str) -> Result<u64, String> {
    value
        .parse()
        .map_err(|_| format!("{word} wants a number, not {value}"))
}

fn draw(seed: u64, hostile: bool) -> Plan {
    if hostile {
        Plan::draw_hostile(seed)
    } else {
        Plan::draw(seed)
    }
}

fn one(seed: u64, options: &Options) -> ExitCode {
    let mut plan = draw(seed, options.hostile);
    let shrink_runs = options.shrink.unwrap_or(0);
    if shrink_runs > 0
        && let Err(failed) = check(&plan)
    {
        plan = shrink(&plan, failed, shrink_runs).plan;
    }
    let everything = options.wanted.states || options.shiviz.is_some();
    let lines = options
        .lines
        .unwrap_or(if everything { u64::MAX } else { 400 });
    let show = Show {
        lines: usize::try_from(lines).unwrap_or(usize::MAX),
        wanted: options.wanted.clone(),
    };
    let (status, entries) = match replay(&plan, &show) {
        Ok(replayed) => {
            if options.wanted.states || options.lines.is_some() {
                say!("{}", replayed.lines.join("\n"));
            }
            let mut total = Total::default();
            total.add(&replayed.report);
            let hash = replayed.report.hash;
            say!("seed {seed}: nothing found, trace hash {hash:016x}\n{total}");
            (ExitCode::SUCCESS, replayed.entries)
        }
        Err(failed) => {
            say!("{failed}");
            (ExitCode::FAILURE, failed.entries)
        }
    };
    match &options.shiviz {
        Some(file) => write_shiviz(file, &entries).unwrap_or(status),
        None => status,
    }
}

/// Writes a log for ShiViz, its last events where there are too many; gives an exit status if that fails.
fn write_shiviz(file: &Path, entries: &[Entry]) -> Option<ExitCode> {
    let left_out = entries.len().saturating_sub(shiviz::EVENTS_MOST);
    let mut at = 0;
    let entries = cut(entries, |_| {
        at += 1;
        at > left_out
    });
    if left_out > 0 {
        eprintln!("{left_out} events stay out of {file:?}: choose others with --steps");
    }
    let written = std::fs::write(file, shiviz::write(&entries));
    written
        .err()
        .map(|error| complain(&format!("cannot write {file:?}: {error}")))
}

fn many(options: &Options) -> ExitCode {
    let mut total = Total::default();
    run_all(options, |seed, result| match result {
        Ok(report) => {
            total.add(&report);
            ControlFlow::Continue(())
        }
        Err(failed) => {
            total.add_found();
            say!(
                "seed {seed}: {}\nreplay: {}",
                failed.finding,
                failed.command()
            );
            if options.all {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        }
    });
    say!("{total}");
    if total.found() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

type Outcome = Result<Report, Box<Failed>>;

/// Runs the seeds on several threads and hands the outcomes over in the order of the seeds, until told to stop.
fn run_all(options: &Options, mut take: impl FnMut(u64, Outcome) -> ControlFlow<()>) {
    let begun = Instant::now();
    let most = Duration::from_secs(60 * options.minutes.unwrap_or(u64::MAX / 60));
    let first = options.first.unwrap_or(1);
    let end = first.saturating_add(options.seeds.unwrap_or(u64::MAX));
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let (next, over) = (AtomicU64::new(first), AtomicBool::new(false));
    let (sender, outcomes) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.unwrap_or(cores).max(1) {
            let (sender, next, over) = (sender.clone(), &next, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) && begun.elapsed() <= most {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let outcome = check(&draw(seed, options.hostile));
                    if sender.send((seed, outcome)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let (mut early, mut due) = (BTreeMap::new(), first);
        for (seed, outcome) in outcomes {
            early.insert(seed, outcome);
            while let Some(outcome) = early.remove(&due) {
                if take(due, outcome).is_break() {
                    over.store(true, Ordering::Relaxed);
                    return;
                }
                due += 1;
            }
        }
    });
}
