//! The project's own commands, called as `cargo xtask …`: run the demo, install, run every test, torture, check models, hunt mutants,
//! simulate, explore, fuzz.
//!
//! Here are the command line and the way to cargo. What a test run is stands in `test`, what its last line
//! counts in `tally`, which packages it needs in `packages`, the demo in `demo`, what is installed where in `install`. The rules of the house are a
//! test: `tests/architecture.rs`.

#![forbid(unsafe_code)]

mod demo;
mod fuzz;
mod install;
mod mutants;
mod packages;
mod tally;
mod test;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};

/// HiveMind's own commands.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Options {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand, Debug)]
enum Task {
    Demo(demo::Demo),
    Install(install::Install),
    Test(test::Test),
    Torture(test::Torture),
    Mutants(mutants::Mutants),
    Fuzz(fuzz::Fuzz),
    /// Check the models of what threads share, under every order of their steps.
    Models,
    /// Drive the protocol core with seeds in the simulator; all arguments are the simulator's.
    Sim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Go through every order of events in small worlds; all arguments are the simulator's.
    #[command(disable_help_flag = true)]
    Explore {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let outcome = match Options::parse().command {
        Task::Demo(demo) => demo.run(),
        Task::Install(install) => install.run(),
        Task::Test(test) => test.run(),
        Task::Torture(torture) => torture.run(),
        Task::Mutants(mutants) => mutants.run(),
        Task::Fuzz(fuzz) => fuzz.run(),
        Task::Models => test::check_models(),
        Task::Sim { arguments } => simulate(&[], &arguments),
        Task::Explore { arguments } => simulate(&["explore"], &arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

fn simulate(words: &[&str], arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let mut simulator = cargo(&["run", "--release", "--package", "hivemind-sim", "--"]);
    Err(become_it(simulator.args(words).args(arguments)))
}

/// Cargo in the project's folder, with these words. What cargo tells this program of itself would have build scripts of
/// others run again, and so build most of it anew each time that somebody calls cargo without it.
fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(cargo_path());
    command.args(words).current_dir(root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text == "OUT_DIR" || text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST")
        {
            command.env_remove(name);
        }
    }
    command
}

fn cargo_path() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The project's folder.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the project's folder")
}

/// Where cargo puts programs of the release profile.
fn release_folder() -> anyhow::Result<PathBuf> {
    Ok(target_folder()?.join("release"))
}

/// Where cargo puts what it makes.
fn target_folder() -> anyhow::Result<PathBuf> {
    let output = cargo(&["metadata", "--format-version=1", "--no-deps"])
        .output()
        .context("cannot run cargo")?;
    anyhow::ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let target = metadata["target_directory"]
        .as_str()
        .context("cargo metadata names no target folder")?;
    Ok(target.into())
}

/// What builds all programs and libraries. The same words everywhere: others would have cargo choose other features, and build
/// most of it again.
const BUILD: &[&str] = &["build", "--release", "--workspace"];

/// Builds all programs and libraries in release.
fn build() -> anyhow::Result<()> {
    let status = cargo(BUILD).status().context("cannot run cargo")?;
    anyhow::ensure!(status.success(), "the build failed");
    Ok(())
}

/// Becomes another program, so that signals and the exit status are its own. Comes back only with an error.
fn become_it(command: &mut Command) -> anyhow::Error {
    let error = command.exec();
    anyhow::Error::new(error).context(format!(
        "cannot run {}",
        command.get_program().to_string_lossy()
    ))
}
