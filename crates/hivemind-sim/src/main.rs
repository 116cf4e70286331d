//! The command: runs seeds, prints what they found and how to replay it. Everything else is the library's.

#![forbid(unsafe_code)]

use hivemind_sim::{Plan, Report, check, replay, shrink};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str =
    "usage: hivemind-sim --seeds N [--first S] | --seed S [--lines L] [--shrink R] | --minutes M [--first S]
  --seeds N    run the worlds of N seeds
  --first S    the first of them (default 1)
  --seed S     run one world and print its last events
  --lines L    how many of them (default 400)
  --minutes M  run seeds for so many minutes
  --shrink R   with --seed: first make the program smaller, with at most R runs
  --all        go on after a finding, and count findings by rule
exit status: 0 when nothing was found, 1 when something was, 2 when the call is wrong";

#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    seeds: Option<u64>,
    first: Option<u64>,
    seed: Option<u64>,
    minutes: Option<u64>,
    lines: Option<u64>,
    shrink: Option<u64>,
    all: bool,
}

fn main() -> ExitCode {
    match wanted(std::env::args().skip(1)) {
        Ok(Wanted {
            seed: Some(seed),
            lines,
            shrink,
            ..
        }) => one(seed, lines.unwrap_or(400) as usize, shrink.unwrap_or(0)),
        Ok(wanted) if wanted.seeds.is_some() || wanted.minutes.is_some() => many(wanted),
        Ok(_) => complain("nothing to do"),
        Err(what) => complain(&what),
    }
}

fn complain(what: &str) -> ExitCode {
    eprintln!("hivemind-sim: {what}\n{USAGE}");
    ExitCode::from(2)
}

fn wanted(mut words: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    while let Some(word) = words.next() {
        let place = match word.as_str() {
            "--all" => {
                wanted.all = true;
                continue;
            }
            "--seeds" => &mut wanted.seeds,
            "--first" => &mut wanted.first,
            "--seed" => &mut wanted.seed,
            "--minutes" => &mut wanted.minutes,
            "--shrink" => &mut wanted.shrink,
            "--lines" => &mut wanted.lines,
            other => return Err(format!("{other} is no option")),
        };
        let number = words
            .next()
            .ok_or_else(|| format!("{word} wants a number"))?;
        let number = number
            .parse()
            .map_err(|_| format!("{word} wants a number, not {number}"))?;
        *place = Some(number);
    }
    Ok(wanted)
}

fn one(seed: u64, lines: usize, shrink_runs: u64) -> ExitCode {
    let mut total = Total::default();
    let mut plan = Plan::draw(seed);
    if shrink_runs > 0
        && let Err(failed) = check(&plan)
    {
        plan = shrink(&plan, failed, shrink_runs).plan;
    }
    match replay(&plan, lines) {
        Ok(report) => {
            total.add(&report);
            println!(
                "seed {seed}: nothing found, trace hash {:016x}\n{total}",
                report.hash
            );
            ExitCode::SUCCESS
        }
        Err(failed) => {
            println!("{failed}");
            ExitCode::FAILURE
        }
    }
}

fn many(wanted: Wanted) -> ExitCode {
    let begun = Instant::now();
    let most = Duration::from_secs(60 * wanted.minutes.unwrap_or(u64::MAX / 60));
    let first = wanted.first.unwrap_or(1);
    let mut total = Total::default();
    for seed in first..first.saturating_add(wanted.seeds.unwrap_or(u64::MAX)) {
        match check(&Plan::draw(seed)) {
            Ok(report) => total.add(&report),
            Err(failed) => {
                total.found += 1;
                println!(
                    "seed {seed}: {}\nreplay: cargo xtask sim --seed {seed}",
                    failed.finding
                );
                if !wanted.all {
                    break;
                }
            }
        }
        if begun.elapsed() > most {
            break;
        }
    }
    println!("{total}");
    if total.found == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What all seeds did together.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    seeds: u64,
    found: u64,
    sum: Report,
}

impl Total {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.sum.events += report.events;
        self.sum.messages += report.messages;
        self.sum.reads_checked += report.reads_checked;
        self.sum.virtual_us += report.virtual_us;
        self.sum.collections += report.collections;
        self.sum.faults.delays += report.faults.delays;
        self.sum.faults.stops += report.faults.stops;
        self.sum.faults.kills += report.faults.kills;
        self.sum.faults.races += report.faults.races;
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Report {
            events,
            messages,
            reads_checked,
            virtual_us,
            collections,
            faults,
            ..
        } = self.sum;
        write!(
            f,
            "{} seeds, {} found, {events} events, {messages} messages, {collections} collections, {reads_checked} reads checked, \
             faults: {} delays, {} stops, {} kills, {} racing stores; {:.1} virtual hours",
            self.seeds + self.found,
            self.found,
            faults.delays,
            faults.stops,
            faults.kills,
            faults.races,
            virtual_us as f64 / 3.6e9,
        )
    }
}
