//! `hivemind-sim model`: what larger hives would do, as a table, a file, a picture.

use crate::output::say;
use hivemind_protocol::FAN_OUT;
use hivemind_sim::model::{Case, Figures, Forecast, Program, forecast, json, picture, read, table};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const USAGE: &str = "usage: hivemind-sim model [options]
  --drones N,N,…    on so many drones (default 8,64,1024)
  --network G,G     at so many gigabits a second: 10, 100 or both (default 10,100)
  --fan-out N       for how many others a drone waits at a barrier (default 16); as many as there are drones: no tree
  --only NAME       one program: pi, jacobi, matmul, intsort, quicksort or tsp
  --size N          of the program that --only names: its steps, points a side, rows, keys, numbers or nodes
  --rounds N        its sweeps (jacobi) or rounds (intsort)
  --values N        the keys are below this (intsort)
  --figures FILE    figures of hivemind bench --json, or of bench/compare --json; may be said again
  --from FILE       runs nothing, but takes the forecasts of a file of --json; may be said again
  --json FILE       also write figures and forecasts to this file
  --picture FILE    also draw speed-ups into this file (SVG)
  --jobs J          so many cases at a time (default 1: a case of 1024 drones takes gigabytes)
messages and bytes are exact, times are modelled; what a figure is and where it comes from is in the JSON file";

#[derive(Default)]
struct Options {
    drones: Vec<u32>,
    networks: Vec<u32>,
    fan_out: Option<u64>,
    only: Option<String>,
    size: Option<u64>,
    rounds: Option<u64>,
    values: Option<u64>,
    figures: Vec<PathBuf>,
    from: Vec<PathBuf>,
    json: Option<PathBuf>,
    picture: Option<PathBuf>,
    jobs: Option<u64>,
}

/// Does what the words after `model` say.
pub(crate) fn run(words: impl Iterator<Item = String>) -> ExitCode {
    match try_run(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("hivemind-sim: {what}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn try_run(words: impl Iterator<Item = String>) -> Result<(), String> {
    let options = options(words)?;
    let mut figures = Figures::default();
    for file in &options.figures {
        let measured = figures.with_measured(&text_of(file)?);
        figures = measured.map_err(|what| format!("{}: {what}", file.display()))?;
    }
    let mut forecasts = Vec::new();
    for file in &options.from {
        let earlier = read(&text_of(file)?);
        forecasts.extend(earlier.map_err(|what| format!("{}: {what}", file.display()))?);
    }
    if options.from.is_empty() {
        forecasts = run_all(&cases(&options)?, &figures, options.jobs.unwrap_or(1))?;
    }
    if let Some(file) = &options.json {
        write(file, &(json(&figures, &forecasts) + "\n"))?;
    }
    if let Some(file) = &options.picture {
        write(file, &picture(&forecasts))?;
    }
    // Last: a reader that has gone away takes no file along.
    say!("{}", table(&forecasts).trim_end());
    Ok(())
}

fn text_of(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file);
    text.map_err(|error| format!("cannot read {}: {error}", file.display()))
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(word) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("{word} is no option, or wants a value"))?;
        match word.as_str() {
            "--drones" => options.drones = numbers(&word, &value)?,
            "--network" => options.networks = numbers(&word, &value)?,
            "--fan-out" => options.fan_out = Some(number(&word, &value)?),
            "--only" => options.only = Some(value),
            "--size" => options.size = Some(number(&word, &value)?),
            "--rounds" => options.rounds = Some(number(&word, &value)?),
            "--values" => options.values = Some(number(&word, &value)?),
            "--figures" => options.figures.push(PathBuf::from(value)),
            "--from" => options.from.push(PathBuf::from(value)),
            "--json" => options.json = Some(PathBuf::from(value)),
            "--picture" => options.picture = Some(PathBuf::from(value)),
            "--jobs" => options.jobs = Some(number(&word, &value)?),
            other => return Err(format!("{other} is no option")),
        }
    }
    Ok(options)
}

fn number(word: &str, value: &str) -> Result<u64, String> {
    value
        .parse()
        .map_err(|_| format!("{word} wants a number, not {value}"))
}

fn numbers(word: &str, value: &str) -> Result<Vec<u32>, String> {
    let number = |part: &str| {
        part.parse()
            .map_err(|_| format!("{word} wants numbers with commas between"))
    };
    value.split(',').map(number).collect()
}

fn cases(options: &Options) -> Result<Vec<Case>, String> {
    let list = |chosen: &[u32], default: &[u32]| {
        if chosen.is_empty() {
            default.to_vec()
        } else {
            chosen.to_vec()
        }
    };
    let drones = list(&options.drones, &[8, 64, 1024]);
    let networks = list(&options.networks, &[10, 100]);
    let fan_out = options.fan_out.map_or(Ok(FAN_OUT), u32::try_from);
    let fan_out = fan_out.map_err(|_| "no hive is that wide")?;
    let mut cases = Vec::new();
    for program in programs(options)? {
        for drones in &drones {
            if options.only.is_none() && !program.is_for(*drones) {
                eprintln!(
                    "{program} on {drones} drones is left out, as it takes too long: --only runs it"
                );
                continue;
            }
            for gigabits in &networks {
                cases.push(Case {
                    program,
                    drones: *drones,
                    gigabits: *gigabits,
                    fan_out,
                });
            }
        }
    }
    Ok(cases)
}

fn programs(options: &Options) -> Result<Vec<Program>, String> {
    let Some(only) = &options.only else {
        if options.size.or(options.rounds).or(options.values).is_some() {
            return Err(
                "--size, --rounds and --values belong to one program: say --only".to_owned(),
            );
        }
        return Ok(Program::shipped());
    };
    let program = Program::shipped()
        .into_iter()
        .find(|program| program.name() == only);
    let program = program.ok_or_else(|| format!("there is no program {only} in the model"))?;
    Ok(vec![sized(program, options)])
}

fn sized(program: Program, options: &Options) -> Program {
    let or = |chosen: Option<u64>, default| chosen.unwrap_or(default);
    match program {
        Program::Pi { steps } => Program::Pi {
            steps: or(options.size, steps),
        },
        Program::Jacobi { size, sweeps } => Program::Jacobi {
            size: or(options.size, size),
            sweeps: or(options.rounds, sweeps),
        },
        Program::Matmul { size } => Program::Matmul {
            size: or(options.size, size),
        },
        Program::Intsort {
            count,
            values,
            rounds,
        } => Program::Intsort {
            count: or(options.size, count),
            values: or(options.values, values),
            rounds: or(options.rounds, rounds),
        },
        Program::Quicksort { count } => Program::Quicksort {
            count: or(options.size, count),
        },
        Program::Tsp { nodes } => Program::Tsp {
            nodes: or(options.size, nodes),
        },
    }
}

/// Runs the cases, so many at a time; says on standard error which is done. The result is in the cases' order.
fn run_all(cases: &[Case], figures: &Figures, jobs: u64) -> Result<Vec<Forecast>, String> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    eprintln!(
                        "{} on {} drones at {} Gb/s …",
                        case.program, case.drones, case.gigabits
                    );
                    let at = cases.iter().position(|other| other == case);
                    let outcome = forecast(case, figures);
                    if let Ok(mut done) = done.lock() {
                        done.push((at, outcome));
                    }
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .map_err(|_| "a case ended in a panic".to_owned())?;
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}
