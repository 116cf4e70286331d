//! The first words with a host, before an agent runs there: a line of shell that finds this very command by its
//! content, takes it over the same connection where it isn't there yet, and becomes it.
//!
//! Nothing secret is in the line: a hash, a length, a path.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::digest::{self, machine_of};
use super::message::Program;
use super::wire::{Silence, Wire};
use crate::local;
use crate::trouble::{MACHINE, Trouble, USAGE};

/// The hidden subcommand that a host runs.
pub(crate) const SUBCOMMAND: &str = "__agent";
/// What the lines of the script begin with; all others are a login shell's greetings.
const MARK: &str = "hivemind-host ";
/// More greetings than this is no host of ours.
const GREETINGS_MAX: usize = 1000;
/// How much of the command is queued at once.
const PIECE_BYTES: usize = 64 << 10;

/// This command, as hosts get it.
#[derive(Debug)]
pub(crate) struct Agent {
    path: PathBuf,
    program: Program,
    /// The machine that it is for, as `uname -m` says it; none where that isn't known.
    machine: Option<&'static str>,
    copies: bool,
}

/// What the boot of an agent was like.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Booted {
    pub(crate) copied_bytes: u64,
}

impl Agent {
    /// This very command. `copies`: whether it may be copied; if not, it lies at the same path everywhere.
    ///
    /// # Errors
    /// The command's own file cannot be read, or its path is none for a shell.
    pub(crate) fn new(copies: bool) -> Result<Self, Trouble> {
        let path = std::env::current_exe().map_err(|error| unreadable(&error))?;
        let own = Path::new(local::COMMAND);
        let program = digest::program(own, "hivemind").map_err(|error| unreadable(&error))?;
        if !copies {
            check_path(&path.to_string_lossy())?;
        }
        Ok(Self {
            machine: machine_of(own).and_then(|machine| machine.uname),
            path,
            program,
            copies,
        })
    }

    /// The script for a host with this cache, as its user wrote it.
    ///
    /// # Errors
    /// The cache's path is none for a shell.
    pub(crate) fn script(&self, cache: Option<&Path>) -> Result<String, Trouble> {
        let place = match cache.map(|cache| cache.to_string_lossy()) {
            None => "${XDG_CACHE_HOME:-$HOME/.cache}/hivemind".to_owned(),
            Some(path) => {
                check_path(&path)?;
                match path.strip_prefix("~/") {
                    Some(rest) => format!("$HOME/{rest}"),
                    None if path.starts_with('/') => path.into_owned(),
                    None => format!("$HOME/{path}"),
                }
            }
        };
        let start = format!(
            "umask 077; d=\"{place}\"; say() {{ echo \"{MARK}$*\"; }}; say system \"$(uname -s)\" \"$(uname -m)\"; "
        );
        if !self.copies {
            let path = self.path.display();
            return Ok(format!(
                "{start}say have; exec \"{path}\" {SUBCOMMAND} \"$d\""
            ));
        }
        let Program { sha256, bytes, .. } = &self.program;
        Ok(format!(
            "{start}p=\"$d/{sha256}\"; f=\"$p/hivemind\"; mkdir -p \"$p\" || exit 1; \
             [ -O \"$d\" ] && [ -O \"$p\" ] || {{ echo \"$d belongs to somebody else\" >&2; exit 1; }}; \
             right() {{ [ \"$(sha256sum < \"$1\")\" = \"{sha256}  -\" ]; }}; \
             if [ -x \"$f\" ] && right \"$f\"; then say have; else say want; read -r answer || exit 1; \
             t=\"$p/new.$$.$(uname -n)\"; \
             if head -c {bytes} > \"$t\" && right \"$t\" && chmod 700 \"$t\" && mv -f \"$t\" \"$f\"; then say stored; \
             else rm -f \"$t\"; exit 1; fi; fi; exec \"$f\" {SUBCOMMAND} \"$d\""
        ))
    }

    /// Speaks with the script until the agent runs.
    ///
    /// # Errors
    /// In the inner result what keeps it from running there, with a remedy; the outer one is a broken connection.
    pub(crate) fn boot(
        &self,
        wire: &mut Wire,
        patience: Duration,
    ) -> Result<Result<Booted, String>, Silence> {
        let system = await_mark(wire, patience)?;
        if let Some(complaint) = system
            .strip_prefix("system ")
            .and_then(|system| self.complaint(system))
        {
            return Ok(Err(complaint));
        }
        match await_mark(wire, patience)?.as_str() {
            "have" => Ok(Ok(Booted { copied_bytes: 0 })),
            "want" => {
                if let Err(error) = self.copy(wire, patience)? {
                    return Ok(Err(error));
                }
                match await_mark(wire, patience)?.as_str() {
                    "stored" => Ok(Ok(Booted {
                        copied_bytes: self.program.bytes,
                    })),
                    other => Err(Silence::Nonsense(format!("it answers `{other}`"))),
                }
            }
            other => Err(Silence::Nonsense(format!("it answers `{other}`"))),
        }
    }

    /// Why a host of this system can't run the command.
    fn complaint(&self, system: &str) -> Option<String> {
        let (kernel, machine) = system.split_once(' ')?;
        if kernel != "Linux" {
            return Some(format!(
                "it runs {kernel}; HiveMind needs Linux on every host"
            ));
        }
        let ours = self.machine.filter(|&ours| !is_machine(ours, machine))?;
        Some(format!(
            "it is a machine of the type {machine}, and this command is for {ours}; all hosts of a hive must be of one type"
        ))
    }

    fn copy(&self, wire: &mut Wire, patience: Duration) -> Result<Result<(), String>, Silence> {
        let opened = File::open(local::COMMAND);
        let mut file = match opened {
            Ok(file) => file.take(self.program.bytes),
            Err(error) => return Ok(Err(unreadable(&error).to_string())),
        };
        wire.send_raw(b"send\n");
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => wire.send_raw(&piece[..length]),
                Err(error) => return Ok(Err(unreadable(&error).to_string())),
            }
            wire.drain_to(PIECE_BYTES, || Instant::now() + patience)?;
        }
        wire.drain_to(0, || Instant::now() + patience)?;
        Ok(Ok(()))
    }
}

/// Whether `uname -m` means this machine.
fn is_machine(ours: &str, uname: &str) -> bool {
    ours == uname || (ours == "aarch64" && uname == "arm64")
}

fn await_mark(wire: &mut Wire, patience: Duration) -> Result<String, Silence> {
    for _ in 0..GREETINGS_MAX {
        let line = wire.await_line(Instant::now() + patience)?;
        if let Some(rest) = line.strip_prefix(MARK) {
            return Ok(rest.trim_end().to_owned());
        }
    }
    Err(Silence::Nonsense(
        "its login shell prints too much; let it print nothing where nobody is at a terminal"
            .into(),
    ))
}

/// Only what every shell leaves alone.
fn check_path(path: &str) -> Result<(), Trouble> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-/+,@%=:~".contains(letter);
    if !path.is_empty() && path.chars().all(plain) {
        return Ok(());
    }
    Err(Trouble::new(
        USAGE,
        format!(
            "the path {path} cannot be used on hosts; letters, digits and ._-/+,@%=:~ are allowed in it"
        ),
    ))
}

fn unreadable(error: &std::io::Error) -> Trouble {
    Trouble::new(
        MACHINE,
        format!("cannot read this very command to copy it to hosts: {error}"),
    )
}
