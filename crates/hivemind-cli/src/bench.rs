//! `hivemind bench`: becomes the program that measures, which lies beside this command.
//!
//! Deliberately elsewhere: everything that is measured (the package `hivemind-bench`).

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::program;
use crate::trouble::{NOT_EXECUTABLE, Trouble};

/// The program.
const PROGRAM: &str = "hivemind-bench";

/// Tells it which `hivemind` to measure.
const COMMAND: &str = "HIVEMIND_COMMAND";

/// Becomes the program.
///
/// # Errors
/// It is not there, or the system doesn't start it.
pub(crate) fn run(arguments: &[OsString]) -> Result<u8, Trouble> {
    let program = program::find(OsStr::new(PROGRAM))?;
    let mut command = Command::new(&program);
    command.args(arguments);
    if let Ok(own) = std::env::current_exe() {
        command.env(COMMAND, own);
    }
    let error = command.exec();
    Err(Trouble::new(
        NOT_EXECUTABLE,
        format!("cannot run {}: {error}", program.display()),
    ))
}
