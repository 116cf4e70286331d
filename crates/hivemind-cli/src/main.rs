//! The `hivemind` command: starts programs on a hive of drones and looks after them.
//!
//! Here stands only the way in: which subcommand is meant and which exit status it gives. The options live
//! in `options`, what `run` does in `run`, what `trace` does in `trace`. Four hidden subcommands are the command's own helpers and are
//! told apart before anything else: `__drone` becomes the program, `__keeper` outlives a killed launcher,
//! `__agent` is the launcher's hand on another host,
//! `__srun` becomes Slurm's.
//!
//! Deliberately elsewhere: the shared memory. Drones meet the library by themselves; what this command tells them stands in
//! the environment variables that `plan` writes and the library reads.

#![forbid(unsafe_code)]

mod agent;
mod batch;
mod bench;
mod binding;
mod compile;
mod console;
mod copies;
mod crew;
mod doctor;
mod drone;
mod ending;
mod hive_file;
mod hosts;
mod job;
mod keeper;
mod key;
mod limits;
mod lines;
mod local;
mod manual;
mod options;
mod placement;
mod plan;
mod program;
mod run;
mod scratch;
mod signals;
mod sink;
mod stats;
mod trace;
mod trouble;
mod units;

use std::process::ExitCode;

use clap::Parser;

use options::Command;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == drone::SUBCOMMAND => return drone::main(arguments),
        Some(first) if first == keeper::SUBCOMMAND => return keeper::main(arguments),
        Some(first) if first == agent::SUBCOMMAND => return agent::main(arguments),
        Some(first) if first == crew::srun::SUBCOMMAND => return crew::srun::main(arguments),
        _ => {}
    }
    let options::Options { color, command } = options::Options::parse();
    let done = match command {
        Command::Run(options) => run::run(options, color),
        Command::Deploy(options) => copies::deploy(&options),
        Command::Clean(options) => copies::clean(&options),
        Command::Doctor(options) => doctor::run(&options, color),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { directory } => manual::pages(directory.as_deref()),
        Command::Schema => run::print(&hive_file::HiveFile::schema(), "the schema"),
        Command::Bench { arguments } => bench::run(&arguments),
        Command::Cc { arguments } => compile::run(compile::C, &arguments),
        Command::Cxx { arguments } => compile::run(compile::CXX, &arguments),
        Command::Fc { arguments } => compile::run(compile::FORTRAN, &arguments),
        Command::Trace(what) => trace::run(&what),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(trouble) => {
            eprintln!("hivemind: {trouble}");
            ExitCode::from(trouble.status)
        }
    }
}
