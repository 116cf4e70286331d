//! `hivemind __keeper`: a small process that outlives a launcher killed by SIGKILL.
//!
//! It sleeps on a pipe whose other end only the launcher has. When the pipe ends without a farewell, the
//! launcher died: the keeper ends what the drones have started (the drones themselves die with the launcher)
//! and removes the private directory. In every other case the launcher does all that itself.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// The word by which the launcher calls it.
pub(crate) const SUBCOMMAND: &str = "__keeper";

/// Each note on the pipe ends with this byte, which no path contains.
const END_OF_NOTE: u8 = 0;

/// The launcher's side of its keeper.
#[derive(Debug)]
pub(crate) struct Keeper {
    child: Child,
    notes: ChildStdin,
}

impl Keeper {
    /// Starts the keeper of the job with this private directory.
    ///
    /// # Errors
    /// The system's refusal to start a process.
    pub(crate) fn start(command: &Path, directory: &Path) -> io::Result<Self> {
        let mut child = Command::new(command)
            .arg0("hivemind")
            .arg(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        let notes = child.stdin.take().expect("the pipe was asked for");
        let mut keeper = Self { child, notes };
        keeper.note(b"directory ", directory.as_os_str().as_bytes());
        Ok(keeper)
    }

    /// Tells it of a drone, which leads a process group of its own.
    pub(crate) fn remember(&mut self, drone: Pid) {
        let number = drone.as_raw_nonzero().to_string();
        self.note(b"group ", number.as_bytes());
    }

    /// Says farewell and waits until it is gone: nothing is left for it to do.
    pub(crate) fn dismiss(mut self) {
        self.note(b"farewell", b"");
        drop(self.notes);
        let _ = self.child.wait();
    }

    /// A keeper that somebody killed can't be told anything; the job goes on without it.
    fn note(&mut self, kind: &[u8], value: &[u8]) {
        let note = [kind, value, &[END_OF_NOTE]].concat();
        let _ = self.notes.write_all(&note);
    }
}

/// The keeper itself: reads notes until the launcher is gone.
pub(crate) fn main(_arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut notes = Vec::new();
    // A broken pipe is an ended one.
    let _ = io::stdin().lock().read_to_end(&mut notes);
    let charge = Charge::read(&notes);
    if charge.dismissed {
        return ExitCode::SUCCESS;
    }
    for &group in &charge.groups {
        // Gone already is fine.
        let _ = kill_process_group(group, Signal::KILL);
    }
    if let Some(directory) = &charge.directory {
        crate::scratch::remove(directory);
    }
    eprintln!(
        "hivemind: the launcher died; its {} drones are ended",
        charge.groups.len()
    );
    ExitCode::FAILURE
}

/// What a keeper looks after.
#[derive(Default, Debug, PartialEq)]
struct Charge {
    directory: Option<PathBuf>,
    groups: Vec<Pid>,
    dismissed: bool,
}

impl Charge {
    fn read(notes: &[u8]) -> Self {
        let mut charge = Self::default();
        // What stands behind the last mark is a note cut short by the launcher's death.
        let whole = notes.iter().rposition(|&byte| byte == END_OF_NOTE);
        for note in notes[..whole.unwrap_or(0)].split(|&byte| byte == END_OF_NOTE) {
            if let Some(path) = note.strip_prefix(b"directory ") {
                charge.directory = Some(OsStr::from_bytes(path).into());
            } else if let Some(group) = note.strip_prefix(b"group ") {
                let number = std::str::from_utf8(group)
                    .ok()
                    .and_then(|word| word.parse().ok());
                charge.groups.extend(number.and_then(Pid::from_raw));
            } else if note == b"farewell" {
                charge.dismissed = true;
            }
        }
        charge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_cut_short_is_left_out() {
        let charge = Charge::read(b"directory /a b\0group 12\0group 345\0group 6");
        assert_eq!(charge.directory, Some("/a b".into()));
        assert_eq!(
            charge.groups,
            [12, 345].map(|pid| Pid::from_raw(pid).expect("a pid"))
        );
        assert!(!charge.dismissed);
        assert!(Charge::read(b"group 1\0farewell\0").dismissed);
        assert_eq!(Charge::read(b""), Charge::default());
    }
}
