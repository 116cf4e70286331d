//! What can go wrong in the launcher itself, and the exit status that each kind gives.
//!
//! A drone's failure is none of these: it is the job's answer and lives in `ending`.

use std::fmt;

/// The command line or an environment variable asks for something that cannot be.
pub(crate) const USAGE: u8 = 2;
/// A host can't be reached, can't take part, or is lost.
pub(crate) const HOSTS: u8 = 69;
/// The machine refused something that a start needs: memory, processes, a directory.
pub(crate) const MACHINE: u8 = 71;
/// Output that was asked for could not be written.
pub(crate) const OUTPUT: u8 = 74;
/// The program is there but cannot be executed; the same number as a shell's.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The program was not found; the same number as a shell's.
pub(crate) const NOT_FOUND: u8 = 127;

/// An error of the launcher: one message that says what happened and what to do, and an exit status.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// The exit status of the command.
    pub(crate) status: u8,
    message: String,
}

impl Trouble {
    /// An error with the given exit status.
    pub(crate) fn new(status: u8, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Trouble {}
