//! The connection to one host: an ssh, the agent at its other end, and what ssh complains of.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Signal, kill_process_group};
use serde::de::DeserializeOwned;

use super::boot::{Agent, Booted};
use super::frame::{ANSWER_BYTES_MAX, Frame, PIECE_BYTES_MAX};
use super::message::{Hello, Order, Program, VERSION, Word};
use super::ssh::{Ssh, explain};
use super::wire::{Silence, Wire};
use crate::ending::Ending;
use crate::local::Local;
use crate::placement::Berth;

/// What is kept of ssh's complaints.
const COMPLAINT_BYTES_MAX: usize = 64 << 10;
/// How long a dead connection's last words may take.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How much of a file is queued at once.
const QUEUE_BYTES: usize = 256 << 10;

/// A connection to a host.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) berth: Berth,
    /// What sentences call it.
    pub(crate) name: Arc<str>,
    pub(crate) wire: Wire,
    /// What ssh and the agent print on standard error.
    pub(crate) errors: OwnedFd,
    ssh: Local,
    complaint: Vec<u8>,
}

impl Link {
    /// Starts ssh. Nothing is awaited yet.
    ///
    /// To be called on a thread that lives as long as the launcher.
    ///
    /// # Errors
    /// The system's refusal to start a process.
    pub(crate) fn start(
        ssh: &Ssh,
        berth: Berth,
        script: &str,
        directory: &Path,
    ) -> io::Result<Self> {
        let (process, input, output, errors) = ssh.start(&berth.host, script, directory)?;
        Ok(Self {
            name: berth.host.name.as_str().into(),
            berth,
            wire: Wire::new(output, input, ANSWER_BYTES_MAX)?,
            errors,
            ssh: process,
            complaint: Vec::new(),
        })
    }

    /// Gets the agent running.
    ///
    /// # Errors
    /// What keeps it from running, with a remedy.
    pub(crate) fn boot(&mut self, agent: &Agent, patience: Duration) -> Result<Booted, String> {
        let booted = match agent.boot(&mut self.wire, patience) {
            Ok(booted) => booted?,
            Err(silence) => return Err(self.broken(silence, patience)),
        };
        match self.await_word(patience)? {
            Word::Hello(Hello { version, release }) if version != VERSION => Err(format!(
                "the command there is release {release}, which this one ({}) cannot speak with; install the same there",
                env!("CARGO_PKG_VERSION")
            )),
            Word::Hello(_) => Ok(booted),
            _ => Err("its agent says something out of turn".into()),
        }
    }

    /// Waits for what the agent says.
    ///
    /// # Errors
    /// Why it says nothing.
    pub(crate) fn await_word(&mut self, patience: Duration) -> Result<Word, String> {
        match self.await_message(Instant::now() + patience) {
            Ok(Word::Refused(why)) => Err(why),
            Ok(word) => Ok(word),
            Err(silence) => Err(self.broken(silence, patience)),
        }
    }

    fn await_message<T: DeserializeOwned>(&mut self, deadline: Instant) -> Result<T, Silence> {
        self.wire.await_message(deadline)
    }

    /// Has a program stored, from this file of ours.
    ///
    /// # Errors
    /// What keeps it from running there, with a remedy.
    pub(crate) fn store(
        &mut self,
        program: &Program,
        path: &Path,
        patience: Duration,
    ) -> Result<(), String> {
        let unreadable = |error: io::Error| format!("cannot read {}: {error}", path.display());
        self.wire.say(&Order::Store(program.clone()));
        let mut file = File::open(path).map_err(unreadable)?.take(program.bytes);
        let mut left = program.bytes;
        while left > 0 {
            let mut piece = vec![0; PIECE_BYTES_MAX];
            let length = file.read(&mut piece).map_err(unreadable)?;
            if length == 0 {
                return Err(format!(
                    "{} became shorter while it was copied",
                    path.display()
                ));
            }
            piece.truncate(length);
            left -= length as u64;
            self.wire.send(&Frame::Piece(piece));
            let drained = self
                .wire
                .drain_to(QUEUE_BYTES, || Instant::now() + patience);
            drained.map_err(|silence| self.broken(silence, patience))?;
        }
        self.await_stored(patience)
    }

    /// Has a program found that should be there.
    ///
    /// # Errors
    /// What keeps it from running there, with a remedy.
    pub(crate) fn find(&mut self, program: &Program, patience: Duration) -> Result<(), String> {
        self.wire.say(&Order::Find(program.clone()));
        self.await_stored(patience)
    }

    fn await_stored(&mut self, patience: Duration) -> Result<(), String> {
        match self.await_word(patience)? {
            Word::Stored { complaint: None } => Ok(()),
            Word::Stored {
                complaint: Some(complaint),
            } => Err(complaint),
            _ => Err("its agent says something out of turn".into()),
        }
    }

    /// Why the connection says nothing any more.
    fn broken(&mut self, silence: Silence, patience: Duration) -> String {
        match silence {
            Silence::TooLong => {
                self.read_complaint();
                format!(
                    "it says nothing for {} s; see whether `ssh {}` works",
                    patience.as_secs(),
                    self.name
                )
            }
            Silence::Nonsense(why) => why,
            Silence::Ended => {
                let status = match self.await_end(LAST_WORDS) {
                    Some(Ending::Exited(status)) => Some(status),
                    _ => None,
                };
                self.read_complaint();
                let complaint = String::from_utf8_lossy(&self.complaint);
                explain(&self.berth.host, &complaint, status)
            }
        }
    }

    /// Reads what ssh and the agent print on standard error. Gives what is new, and whether there may be more.
    pub(crate) fn read_complaint(&mut self) -> (Vec<u8>, bool) {
        let mut piece = [0; 4096];
        let mut new = Vec::new();
        let mut open = true;
        while open && new.len() < COMPLAINT_BYTES_MAX {
            match rustix::io::read(&self.errors, &mut piece) {
                Ok(length @ 1..) => new.extend_from_slice(&piece[..length]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Ok(_) | Err(_) => open = false,
            }
        }
        let room = COMPLAINT_BYTES_MAX.saturating_sub(self.complaint.len());
        self.complaint
            .extend_from_slice(&new[..new.len().min(room)]);
        (new, open)
    }

    /// A way to end ssh from elsewhere. To be called only as long as the link lives.
    pub(crate) fn ender(&self) -> impl Fn() + use<> {
        let pid = self.ssh.pid();
        move || {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// Waits for ssh's end. None when it doesn't come in time.
    pub(crate) fn await_end(&self, patience: Duration) -> Option<Ending> {
        let until = Instant::now() + patience;
        loop {
            let ending = self.ssh.ending();
            if ending.is_some() || Instant::now() >= until {
                return ending;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends ssh, and with it the agent.
    pub(crate) fn end(&self) {
        self.ssh.signal(Signal::KILL);
    }

    /// Ends ssh if it hasn't ended, and frees its number.
    pub(crate) fn bury(self) {
        // The agent had its farewell; a connection that hangs, and what ssh has started, is not waited for.
        self.end();
        self.ssh.bury();
    }
}
