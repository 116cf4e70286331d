//! `hivemind run` from the checked options to the exit status. The parts are elsewhere: what is asked for in
//! `options`, what the machine bears in `limits`, the life of the drones in `job`, the table in `stats`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::job::Job;
use crate::keeper::Keeper;
use crate::options::{Color, Run};
use crate::plan::{self, Plan};
use crate::scratch::Scratch;
use crate::signals::Signals;
use crate::stats::Destination;
use crate::trouble::{MACHINE, OUTPUT, Trouble};
use crate::{key, limits, local, program};

/// Runs a job. Gives the exit status.
///
/// # Errors
/// Everything that keeps the job from starting.
pub(crate) fn run(options: &Run, color: Color) -> Result<u8, Trouble> {
    let program = program::find(&options.command[0])?;
    limits::check_drones(options.drones)?;
    let warning = match options.region {
        Some(region_bytes) => limits::check_region(region_bytes, options.drones)?,
        None => None,
    };
    if let Some(warning) = warning {
        eprintln!("hivemind: warning: {warning}");
    }
    let job = plan::job_name();
    let terminal = rustix::termios::isatty(rustix::stdio::stderr());
    let plan = Plan::new(options, program, &job, terminal);
    if options.dry_run {
        return show(&plan, &Scratch::preview(&job));
    }
    if let Some(directory) = &options.trace {
        fs::create_dir_all(directory).map_err(|error| cannot_trace(directory, &error))?;
    }
    let stats = Destination::open(options.stats.as_ref(), options.drones)?;
    let signals = Signals::install().map_err(|error| refused("a signal handler", &error))?;
    let mut keeper = Keeper::start(Path::new(local::COMMAND))
        .map_err(|error| refused("the keeper process", &error))?;
    let watched =
        Scratch::create(&job, |directory| keeper.look_after(directory)).and_then(|scratch| {
            key::fresh()
                .and_then(|key| key::write(scratch.path(), &key))
                .map_err(|error| refused("the job: its key cannot be made", &error))?;
            let mut job = Job::start(&plan, scratch.path(), signals, color, !options.no_prefix)?;
            job.watch();
            stats.finish(plan.drones, scratch.path(), &mut job);
            Ok(job)
        });
    // The directory is gone, the drones are; only their output may still be on its way.
    keeper.dismiss();
    Ok(watched?.finish())
}

fn cannot_trace(directory: &Path, error: &io::Error) -> Trouble {
    let directory = directory.display();
    Trouble::new(
        OUTPUT,
        format!("cannot write a trace into {directory}: {error}"),
    )
}

fn show(plan: &Plan, directory: &Path) -> Result<u8, Trouble> {
    io::stdout()
        .write_all(plan.show(directory).as_bytes())
        .map_err(|error| Trouble::new(OUTPUT, format!("cannot print the plan: {error}")))?;
    Ok(0)
}

/// The machine's refusal of something that every job needs.
pub(crate) fn refused(what: &str, error: &io::Error) -> Trouble {
    Trouble::new(
        MACHINE,
        format!(
            "cannot start {what}: {error}; look at `ulimit -a` for limits of processes, files and memory"
        ),
    )
}
