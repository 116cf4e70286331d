//! From what is asked for to jobs: cases that want the same number of drones, economies, transport and engine share one, which is
//! started by `hivemind run`; what drone 0 prints is gathered.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cases::{self, Case};
use crate::outcome::{self, Outcome};
use crate::series::Series;
use crate::{Options, plot, start};

/// The command that started us, so that another one in PATH isn't measured.
const COMMAND: &str = "HIVEMIND_COMMAND";

/// What the measurement itself decides; what the environment says of it would be measured otherwise.
const OURS: [&str; 7] = [
    "HIVEMIND_BIND",
    "HIVEMIND_DRONES",
    "HIVEMIND_HOSTS",
    "HIVEMIND_HIVE",
    "HIVEMIND_TRANSPORT",
    "HIVEMIND_FAN_OUT",
    "HIVEMIND_WITHOUT",
];

/// Measures what the options ask for, shows it and writes it.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let lacking = lacking_engines();
    let wanted: Vec<_> = cases::all()
        .filter(|case| case.name.contains(&options.only))
        .filter(|case| !lacking.iter().any(|lacks| case.engine == Some(lacks)))
        .collect();
    let starts = start::NAME.contains(&options.only);
    if options.list {
        for (name, what) in names(&wanted, starts) {
            println!("{name:22} {what}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(
        starts || !wanted.is_empty(),
        "no case has `{}` in its name; --list shows all",
        options.only
    );
    if cfg!(debug_assertions) {
        eprintln!("hivemind bench: this is no release build; its times say nothing");
    }
    let program = std::env::current_exe().context("cannot find this program itself")?;
    let hivemind = command(&program)?;
    let bar = progress(wanted.len() + usize::from(starts));
    let mut outcomes = Vec::new();
    for job in jobs(&wanted) {
        outcomes.extend(run_job(&hivemind, &program, &job, options, &bar)?);
    }
    if starts {
        bar.set_message(start::NAME);
        let series = start::measure(&hivemind, &program, options.rounds)?;
        outcomes.push(Outcome::of_start(&series));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let order: Vec<_> = names(&wanted, starts).map(|(name, _)| name).collect();
    outcomes.sort_by_key(|outcome| order.iter().position(|name| *name == outcome.name));
    outcome::show(&outcomes);
    if let Some(path) = &options.json {
        outcome::write(&outcomes, path)?;
    }
    if let Some(path) = &options.plot {
        plot::draw(&outcomes, path)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The fault engines that this machine has not.
fn lacking_engines() -> Vec<String> {
    let engines = hivemind::fault_engines().into_iter();
    let lacking = engines.filter(|engine| engine.refusal.is_some());
    lacking.map(|engine| engine.name).collect()
}

fn names(
    wanted: &[&'static Case],
    starts: bool,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let cases: Vec<_> = wanted.iter().map(|case| (case.name, case.what)).collect();
    cases
        .into_iter()
        .chain(starts.then_some((start::NAME, start::WHAT)))
}

/// The `hivemind` to measure.
pub(crate) fn command(program: &Path) -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os(COMMAND) {
        return Ok(named.into());
    }
    let beside = program.with_file_name("hivemind");
    ensure!(
        beside.is_file(),
        "there is no hivemind beside {}; call it by `hivemind bench`, or name it by {COMMAND}",
        program.display()
    );
    Ok(beside)
}

/// Cases that can share a job, in their order.
fn jobs<'a>(wanted: &[&'a Case]) -> Vec<Vec<&'a Case>> {
    let mut jobs: Vec<Vec<&Case>> = Vec::new();
    for &case in wanted {
        match jobs.iter_mut().find(|job| job[0].fits_with(case)) {
            Some(job) => job.push(case),
            None => jobs.push(vec![case]),
        }
    }
    jobs
}

/// `hivemind run` on this machine, whatever the environment or an allocation says of other places.
pub(crate) fn run_here(hivemind: &Path, drones: u32) -> Command {
    let mut command = Command::new(hivemind);
    command.args([
        "run",
        "--launcher",
        "local",
        "--no-prefix",
        "-n",
        &drones.to_string(),
    ]);
    for variable in OURS {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

fn run_job(
    hivemind: &Path,
    program: &Path,
    job: &[&Case],
    options: &Options,
    bar: &ProgressBar,
) -> anyhow::Result<Vec<Outcome>> {
    let names: Vec<_> = job.iter().map(|case| case.name).collect();
    let mut command = run_here(hivemind, job[0].drones);
    command
        .args(["--engine", job[0].engine.unwrap_or(&options.engine)])
        .args(["--transport", job[0].transport])
        .args((!job[0].without.is_empty()).then(|| format!("--without={}", job[0].without)))
        .arg(program)
        .args([
            "--rounds",
            &options.rounds.to_string(),
            "--drone",
            &names.join(","),
        ])
        .stdout(Stdio::piped());
    let started = command
        .spawn()
        .with_context(|| format!("cannot start {}", hivemind.display()))?;
    let mut running = Running(started);
    let lines = BufReader::new(running.0.stdout.take().expect("it is piped")).lines();
    let mut outcomes = Vec::new();
    bar.set_message(names[0]);
    for line in lines {
        let series: Series =
            serde_json::from_str(&line?).context("drone 0 printed something else")?;
        let Some(place) = names.iter().position(|name| *name == series.name) else {
            bail!("drone 0 measured {}, which nobody asked for", series.name);
        };
        outcomes.push(Outcome::of(job[place], &series));
        bar.inc(1);
        bar.set_message(names.get(place + 1).copied().unwrap_or(""));
    }
    let status = running.0.wait()?;
    ensure!(
        status.success(),
        "the job that measured {} ended with {status}",
        names.join(", ")
    );
    ensure!(
        outcomes.len() == job.len(),
        "drone 0 did not measure all of {}",
        names.join(", ")
    );
    Ok(outcomes)
}

/// A job, which ends with the measurement whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Its keeper ends the drones. Does nothing to one that was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A bar on a terminal; nothing elsewhere.
pub(crate) fn progress(cases: usize) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").expect("the template is right");
    ProgressBar::new(cases as u64).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_share_a_job_where_drones_economies_transport_and_engine_are_the_same() {
        let all: Vec<_> = cases::all().collect();
        let jobs = jobs(&all);
        assert_eq!(jobs.iter().map(Vec::len).sum::<usize>(), all.len());
        for (place, job) in jobs.iter().enumerate() {
            assert!(job.iter().all(|case| case.fits_with(job[0])));
            let same = |other: &Vec<&Case>| other[0].fits_with(job[0]);
            assert_eq!(jobs.iter().position(same), Some(place));
        }
    }

    #[test]
    fn memory_that_one_drone_uses_alone_is_swept_before_others_leave_pages_behind() {
        let all: Vec<_> = cases::all().collect();
        let firsts: Vec<_> = jobs(&all).iter().map(|job| job[0].name).collect();
        assert!(firsts.contains(&"sweep/64MiB"), "{firsts:?}");
    }
}
