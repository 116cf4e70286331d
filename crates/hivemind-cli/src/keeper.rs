//! `hivemind __keeper`: a small process that outlives a launcher killed by SIGKILL.
//!
//! It sleeps on a pipe whose other end only the launcher has. When the pipe ends without a farewell, the
//! launcher died: the keeper ends what the drones have started (the drones themselves die with the launcher)
//! and removes the private directory. In every other case the launcher does all that itself.
//!
//! It knows the drones by files that they make in the private directory before they become the program: a
//! launcher could be killed between starting a drone and telling of it.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// The word by which the launcher calls it.
pub(crate) const SUBCOMMAND: &str = "__keeper";

/// Each note on the pipe ends with this byte, which no path contains.
const END_OF_NOTE: u8 = 0;

/// What the names of the files begin with by which drones sign in.
const SIGN_IN: &str = "drone-";

/// The launcher's pipe ends a moment before its children learn that they are orphans. In that moment a drone
/// may still sign in, so the keeper looks more than once.
const LOOKS: u32 = 10;
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// The launcher's side of its keeper.
#[derive(Debug)]
pub(crate) struct Keeper {
    child: Child,
    notes: ChildStdin,
}

impl Keeper {
    /// Starts a keeper for a process of the kind `who` that starts processes of the kind `what`; a sentence at a bad
    /// end names both.
    ///
    /// # Errors
    /// The system's refusal to start a process.
    pub(crate) fn start(command: &Path, who: &str, what: &str) -> io::Result<Self> {
        let mut child = Command::new(command)
            .arg0("hivemind")
            .args([SUBCOMMAND, who, what])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        let notes = child.stdin.take().expect("the pipe was asked for");
        Ok(Self { child, notes })
    }

    /// Tells it of a private directory. To be called before the directory is made.
    pub(crate) fn look_after(&mut self, directory: &Path) {
        self.note(b"directory ", directory.as_os_str().as_bytes());
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

/// The file by which a drone signs in with the keeper of the job with this directory.
pub(crate) fn sign_in_path(directory: &Path, drone: Pid) -> PathBuf {
    directory.join(format!("{SIGN_IN}{drone}"))
}

/// The keeper itself: reads notes until the launcher is gone.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut notes = Vec::new();
    // A broken pipe is an ended one.
    let _ = io::stdin().lock().read_to_end(&mut notes);
    let charge = Charge::read(&notes);
    if charge.dismissed {
        return ExitCode::SUCCESS;
    }
    let mut count = 0;
    for _ in 0..LOOKS {
        for drone in charge.directories.iter().flat_map(|path| signed_in(path)) {
            // Gone already is fine.
            let _ = kill_process_group(drone, Signal::KILL);
            count += 1;
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    for directory in &charge.directories {
        crate::scratch::remove(directory);
    }
    let words: Vec<String> = arguments
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let [who, what] = &words[..] else {
        return ExitCode::FAILURE;
    };
    let verb = if count == 1 { " is" } else { "s are" };
    eprintln!("hivemind: the {who} died; its {count} {what}{verb} ended");
    ExitCode::FAILURE
}

/// The drones that have signed in and not been ended yet: their files are taken away with this.
fn signed_in(directory: &Path) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let number: i32 = name.to_str()?.strip_prefix(SIGN_IN)?.parse().ok()?;
            std::fs::remove_file(entry.path()).ok()?;
            Pid::from_raw(number)
        })
        .collect()
}

/// What a keeper looks after.
#[derive(Default, Debug, PartialEq)]
struct Charge {
    directories: Vec<PathBuf>,
    dismissed: bool,
}

impl Charge {
    fn read(notes: &[u8]) -> Self {
        let mut charge = Self::default();
        // What stands behind the last mark is a note cut short by the launcher's death.
        let whole = notes.iter().rposition(|&byte| byte == END_OF_NOTE);
        for note in notes[..whole.unwrap_or(0)].split(|&byte| byte == END_OF_NOTE) {
            if let Some(path) = note.strip_prefix(b"directory ") {
                charge.directories.push(OsStr::from_bytes(path).into());
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
        let charge = Charge::read(b"directory /a b\0directory /c\0directory /et");
        assert_eq!(charge.directories, [Path::new("/a b"), Path::new("/c")]);
        assert!(!charge.dismissed);
        assert!(Charge::read(b"directory /a\0farewell\0").dismissed);
        assert_eq!(Charge::read(b""), Charge::default());
    }

    #[test]
    fn drones_are_known_by_their_files() {
        let place = tempfile::tempdir().expect("a directory");
        let drone = rustix::process::getpid();
        std::fs::write(sign_in_path(place.path(), drone), "").expect("a file can be made");
        std::fs::write(place.path().join("root"), "").expect("a file can be made");
        assert_eq!(signed_in(place.path()), [drone]);
        assert_eq!(signed_in(place.path()), []);
    }
}
