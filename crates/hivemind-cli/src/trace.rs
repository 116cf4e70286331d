//! `hivemind trace`: looks at the logs that drones wrote under `--trace`. Checks them, puts them in one order, cuts
//! windows, and writes what ShiViz, Perfetto or a browser show.
//!
//! Reading logs and their times is in `logs`, the options of a window in `window`, the timeline in `timeline`, the
//! picture in `picture`. Deliberately elsewhere: the form, the clocks and the rules (`hivemind-trace`), and what
//! drones write (the library).

mod logs;
mod picture;
mod timeline;
mod window;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use hivemind_trace::shiviz::{self, EVENTS_MOST};
use hivemind_trace::{Entry, Happening, check_clocks, check_promises, cut};

use crate::trouble::{OUTPUT, Trouble};
use crate::units::show_microseconds;
use logs::Log;
use window::Window;

/// The exit status where a log breaks a rule.
const BROKEN: u8 = 1;

/// A picture with more events than this shows nothing but ink.
const PICTURE_EVENTS_MOST: usize = 5_000;

/// Look at what drones did: the logs that `hivemind run --trace DIR` leaves.
#[derive(Subcommand, Debug)]
pub(crate) enum Trace {
    Check(Check),
    Merge(Merge),
}

/// Hold logs to every rule: their form, their clocks, and what the protocol promises.
///
/// A directory is held to all rules: the form that ShiViz reads, vector clocks (which ShiViz does not check), each receive
/// has its send, links keep the order, waits end once, nobody leaves a meeting early, a lock is had by one drone. A single
/// file, as `hivemind trace merge` writes it, is held to those of form and clocks. The exit status is 1 where a rule is
/// broken.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Directories of logs, or single files.
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
}

/// Put the logs of all drones in one order, or a window of them, and write it to look at.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Merge {
    /// The directory of logs, or single files.
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,

    /// What to write: a log for ShiViz, a timeline for Perfetto (or chrome://tracing), a picture, or plain lines.
    #[arg(long = "as", value_enum, default_value = "shiviz", value_name = "FORM")]
    form: Form,

    /// Where to write it [default: standard output].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    window: Window,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Form {
    Shiviz,
    Perfetto,
    Svg,
    Text,
}

const EXAMPLES: &str = "\
Examples:
  hivemind run -n 4 --trace t jacobi --size 200 --steps 20
  hivemind trace check t
  hivemind trace merge t -o run.log                             for https://bestchai.bitbucket.io/shiviz/
  hivemind trace merge t --as perfetto -o run.json              for https://ui.perfetto.dev
  hivemind trace merge t --as svg --from 1ms --to 3ms -o run.svg
  hivemind trace merge t --as text --page 12                    one page's life
  hivemind trace merge t --as text --lock 0 --drone 2           one lock, seen by one drone";

/// Does what is asked. Gives the exit status.
///
/// # Errors
/// Logs that can't be read, output that can't be written.
pub(crate) fn run(what: &Trace) -> Result<u8, Trouble> {
    match what {
        Trace::Check(options) => check(&options.paths),
        Trace::Merge(options) => merge(options),
    }
}

fn check(paths: &[PathBuf]) -> Result<u8, Trouble> {
    let mut status = 0;
    for path in paths {
        let is_directory = path.is_dir();
        let logs = logs::read(std::slice::from_ref(path))?;
        let breaches = if is_directory {
            check_together(&logs)
        } else {
            check_alone(&logs)
        };
        for breach in &breaches {
            say(&format!("{breach}\n"))?;
        }
        if breaches.is_empty() {
            let events: usize = logs.iter().map(|log| log.events.len()).sum();
            let what = match logs.len() {
                1 => "1 log".to_owned(),
                many => format!("{many} logs"),
            };
            say(&format!(
                "{}: {what}, {events} events, every rule is kept\n",
                path.display()
            ))?;
        } else {
            status = BROKEN;
        }
    }
    Ok(status)
}

/// Each log's own breach, or else the first of all together.
fn check_together(logs: &[Log]) -> Vec<String> {
    let own = |log: &Log| Some(format!("{}: {}", log.path.display(), log.breach.as_ref()?));
    let breaches: Vec<String> = logs.iter().filter_map(own).collect();
    if !breaches.is_empty() {
        return breaches;
    }
    let events: Vec<_> = logs.iter().map(|log| log.events.as_slice()).collect();
    let checked = check_clocks(&events).and_then(|()| check_promises(&events));
    let named = checked.map_err(|(log, breach)| format!("{}: {breach}", logs[log].path.display()));
    named.err().into_iter().collect()
}

fn check_alone(logs: &[Log]) -> Vec<String> {
    let breach = |log: &Log| {
        let breach = hivemind_trace::check(&log.text).err()?;
        Some(format!("{}: {breach}", log.path.display()))
    };
    logs.iter().filter_map(breach).collect()
}

fn merge(options: &Merge) -> Result<u8, Trouble> {
    let logs = logs::read(&options.paths)?;
    for log in &logs {
        if let Some(breach) = &log.breach {
            eprintln!(
                "hivemind: {}: {breach}; what stands before is taken",
                log.path.display()
            );
        }
    }
    let mut entries = logs::merge(logs);
    let all = entries.len();
    entries = cut(&entries, |entry| options.window.keeps(entry));
    if entries.is_empty() {
        let what = format!("none of the {all} events is in this window");
        return Err(Trouble::new(crate::trouble::USAGE, what));
    }
    let most = match options.form {
        Form::Shiviz => EVENTS_MOST,
        Form::Svg => PICTURE_EVENTS_MOST,
        Form::Perfetto | Form::Text => usize::MAX,
    };
    entries = shorten(entries, most);
    let text = match options.form {
        Form::Shiviz => shiviz::write(&entries),
        Form::Perfetto => timeline::write(&entries),
        Form::Svg => picture::write(&entries),
        Form::Text => entries.iter().map(line).collect(),
    };
    match &options.output {
        None => say(&text)?,
        Some(path) => {
            let written = File::create(path).and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|error| cannot_write(path, &error))?;
        }
    }
    Ok(0)
}

/// The first `most` events: a beginning of an order that keeps causes before effects is a trace too.
fn shorten(mut entries: Vec<Entry>, most: usize) -> Vec<Entry> {
    let all = entries.len();
    if all <= most {
        return entries;
    }
    entries.truncate(most);
    let end_us = entries.last().and_then(time_ns).unwrap_or(0) as f64 / 1000.0;
    eprintln!(
        "hivemind: the first {most} of {all} events, up to {}; for others cut a window: --from, --to, --drone, --page, --lock",
        show_microseconds(end_us)
    );
    cut(&entries, |_| true)
}

fn time_ns(entry: &Entry) -> Option<u64> {
    Happening::read(&entry.text).time_ns("at_us")
}

fn line(entry: &Entry) -> String {
    let at_us = time_ns(entry).unwrap_or(0) as f64 / 1000.0;
    let happening = Happening::read(&entry.text);
    let waited = happening
        .get("waited_us")
        .map_or(String::new(), |waited| format!(" waited_us={waited}"));
    format!(
        "{at_us:>14.3} µs  d{:<3} {}{waited}\n",
        entry.host,
        happening.brief()
    )
}

fn say(text: &str) -> Result<(), Trouble> {
    let written = io::stdout().write_all(text.as_bytes());
    written
        .map_err(|error| Trouble::new(OUTPUT, format!("cannot write to standard output: {error}")))
}

fn cannot_write(path: &Path, error: &io::Error) -> Trouble {
    Trouble::new(OUTPUT, format!("cannot write {}: {error}", path.display()))
}
