//! `hivemind __drone LAUNCHER DIRECTORY CORES PROGRAM ARGS…`: the last step before a drone is the program.
//!
//! It binds the process's life to the launcher's and its threads to their cores, signs in with the keeper, and then becomes the program, so
//! that not even a launcher killed by SIGKILL leaves anything behind. Being a process of its own it needs no
//! code between fork and exec.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

use crate::binding::Binding;
use crate::keeper;
use crate::trouble::{MACHINE, NOT_EXECUTABLE, NOT_FOUND, USAGE};

/// The word by which the launcher calls it.
pub(crate) const SUBCOMMAND: &str = "__drone";

/// Becomes the program. Comes back only when it can't.
pub(crate) fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let launcher = arguments
        .next()
        .and_then(|word| word.to_str()?.parse::<i32>().ok());
    let directory = arguments.next();
    let binding = arguments
        .next()
        .and_then(|word| word.to_str()?.parse::<Binding>().ok());
    let (Some(launcher), Some(directory), Some(binding), Some(program)) =
        (launcher, directory, binding, arguments.next())
    else {
        eprintln!("hivemind: `{SUBCOMMAND}` is what `hivemind run` calls; it is of no use by hand");
        return ExitCode::from(USAGE);
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        eprintln!("hivemind: the kernel refuses to end drones with their launcher: {error}");
        return ExitCode::from(MACHINE);
    }
    let signed_in = File::create(keeper::sign_in_path(Path::new(&directory), getpid()));
    // The launcher may have died before it was to be our death. Asked only after the keeper can know of us.
    if getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(launcher) {
        return ExitCode::from(MACHINE);
    }
    if let Err(error) = signed_in {
        let directory = directory.display();
        eprintln!("hivemind: a drone cannot write to the job's directory {directory}: {error}");
        return ExitCode::from(MACHINE);
    }
    binding.bind();
    become_program(&program, arguments)
}

/// Runs a program in place of this process. Comes back only when it can't, with what a shell would give.
pub(crate) fn become_program(
    program: &OsStr,
    arguments: impl Iterator<Item = OsString>,
) -> ExitCode {
    let error = Command::new(program).args(arguments).exec();
    let hint = match error.kind() {
        std::io::ErrorKind::NotFound => " (is the interpreter that its first line names there?)",
        _ => "",
    };
    eprintln!("hivemind: cannot run {}: {error}{hint}", program.display());
    ExitCode::from(match error.kind() {
        std::io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    })
}
