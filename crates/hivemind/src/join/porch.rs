//! The porch: where strangers stand until they have said who they are.
//!
//! Anything may knock at an open port: drones, drones of other versions, scanners, connections that never say a word.
//! So strangers are few, have little time and are read without blocking; whoever is told no is kept until it has read
//! why. Who is let in is decided elsewhere (`root.rs`, `member.rs`).

use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::letter::{Letter, LetterError, MAX_HELLO_BYTES, Mailbox};

/// How many strangers there may be at a time; more wait in the listener's backlog.
const MAX_STRANGERS: usize = 64;

/// How long a stranger has to say who it is, or to read why it isn't let in.
const PATIENCE: Duration = Duration::from_secs(3);

/// When the porch is full, a stranger that has been silent for this long makes room. A drone says hello in the same
/// breath as it connects.
const MAKE_ROOM_AFTER: Duration = Duration::from_millis(250);

/// A listener and the strangers before it.
pub(crate) struct Porch {
    listener: TcpListener,
    strangers: Vec<Stranger>,
}

struct Stranger {
    mailbox: Mailbox,
    since: Instant,
    refused: bool,
}

/// A stranger that has said something.
pub(crate) struct Caller {
    pub(crate) mailbox: Mailbox,
    pub(crate) said: Result<Letter, LetterError>,
}

impl Porch {
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            strangers: Vec::new(),
        })
    }

    /// What to wait for, and how long at most.
    pub(crate) fn watch<'a>(&'a self, fds: &mut Vec<BorrowedFd<'a>>) -> Option<Duration> {
        let oldest = self
            .strangers
            .iter()
            .map(|stranger| stranger.since.elapsed())
            .max();
        fds.extend(self.strangers.iter().map(|stranger| stranger.mailbox.fd()));
        if self.strangers.len() < MAX_STRANGERS {
            fds.push(self.listener.as_fd());
            return oldest.map(|age| PATIENCE.saturating_sub(age));
        }
        oldest.map(|age| MAKE_ROOM_AFTER.saturating_sub(age))
    }

    /// Lets strangers onto the porch, listens to all of them, and gives those that have said something.
    pub(crate) fn serve(&mut self) -> io::Result<Vec<Caller>> {
        let mut callers = Vec::new();
        self.listen_to_all(&mut callers);
        loop {
            if self.strangers.len() >= MAX_STRANGERS && !self.make_room() {
                return Ok(callers);
            }
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Ok(mailbox) = Mailbox::new(stream, MAX_HELLO_BYTES) {
                        self.strangers.push(Stranger {
                            mailbox,
                            since: Instant::now(),
                            refused: false,
                        });
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => break,
                    // It was gone before it was taken in.
                    ErrorKind::ConnectionAborted
                    | ErrorKind::ConnectionReset
                    | ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        self.listen_to_all(&mut callers);
        Ok(callers)
    }

    /// Tells a caller no, and keeps it until it has read that.
    pub(crate) fn refuse(&mut self, mut mailbox: Mailbox, why: &str) {
        mailbox.refuse(why);
        self.strangers.push(Stranger {
            mailbox,
            since: Instant::now(),
            refused: true,
        });
    }

    fn listen_to_all(&mut self, callers: &mut Vec<Caller>) {
        let mut index = 0;
        while index < self.strangers.len() {
            let stranger = &mut self.strangers[index];
            let said = match stranger.refused {
                true if stranger.mailbox.drained() => Some(Err(LetterError::Closed)),
                true => None,
                false => stranger.mailbox.receive().transpose(),
            };
            let late = stranger.since.elapsed() >= PATIENCE;
            if said.is_none() && !late {
                index += 1;
                continue;
            }
            let stranger = self.strangers.swap_remove(index);
            if let Some(said) = said.filter(|said| !matches!(said, Err(LetterError::Closed))) {
                callers.push(Caller {
                    mailbox: stranger.mailbox,
                    said,
                });
            }
        }
    }

    fn make_room(&mut self) -> bool {
        let ages = self.strangers.iter().enumerate();
        let oldest = ages.max_by_key(|(_, stranger)| stranger.since.elapsed());
        match oldest {
            Some((index, stranger)) if stranger.since.elapsed() >= MAKE_ROOM_AFTER => {
                self.strangers.swap_remove(index);
                true
            }
            _ => false,
        }
    }
}

/// Waits until one of `fds` has something, or for `timeout`. Says which have.
pub(crate) fn wait(fds: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<Vec<bool>> {
    let mut polled: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let timeout = Timespec {
        tv_sec: timeout.as_secs().min(3600) as i64,
        // At least a millisecond: a wait that ends just before its deadline would be followed by many short ones.
        tv_nsec: timeout.subsec_nanos().max(1_000_000).into(),
    };
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) => Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
        Err(Errno::INTR) => Ok(vec![false; fds.len()]),
        Err(error) => Err(error.into()),
    }
}
