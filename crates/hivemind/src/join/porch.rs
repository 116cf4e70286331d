//! The porch: where strangers stand until they have said who they are.
//!
//! Anything may knock at an open port: drones, drones of other jobs, scanners, connections that never say a word, a
//! flood of them. So strangers are few, have little time, cost little, and are read without blocking. Who does not open
//! with the job's key in its first 48 bytes is shown out without a word; who does may say one letter, and if it is told
//! no it is kept until it has read why. Who is let in is decided elsewhere (`root.rs`, `member.rs`).

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::handshake::{Door, MESSAGE_BYTES, Purpose};
use super::key::Key;
use super::letter::{Letter, LetterError, MAX_HELLO_BYTES, Mailbox, read_up_to};

/// How many strangers there may be at a time; more wait in the listener's backlog.
pub(super) const MAX_STRANGERS: usize = 256;

/// How many wait in the backlog at most, if the system allows so many.
const BACKLOG: i32 = 4096;

/// How long a stranger has to say who it is, or to read why it isn't let in.
const PATIENCE: Duration = Duration::from_secs(3);

/// When the porch is full, one that has not opened for this long makes room. A drone opens in the same breath as it
/// connects, so its opening is here when it is taken in, or a moment later; and should it not be, it calls again.
const MAKE_ROOM_AFTER: Duration = Duration::from_millis(10);

/// The same for one that knows the key.
const MAKE_KNOWN_ROOM_AFTER: Duration = Duration::from_millis(500);

/// A listener and the strangers before it.
pub(crate) struct Porch {
    listener: TcpListener,
    door: Door,
    strangers: Vec<Stranger>,
    /// How many were shown out since somebody asked.
    shown_out: usize,
}

struct Stranger {
    stage: Stage,
    since: Instant,
}

enum Stage {
    /// It has said nothing or not enough: what came of its opening.
    Opening(TcpStream, Vec<u8>),
    /// It knows the key, or has a recording of somebody who does.
    Speaking(Mailbox),
    /// It was told no.
    Refused(Mailbox),
}

/// A stranger that knows the job's key and has said something.
pub(crate) struct Caller {
    pub(crate) mailbox: Mailbox,
    pub(crate) said: Result<Letter, LetterError>,
}

/// What a look at a stranger found.
enum Found {
    Nothing,
    Gone,
    Stranger,
    Said(Result<Letter, LetterError>),
}

impl Porch {
    /// Strangers come to `listener`, for `purpose`.
    pub(crate) fn new(listener: TcpListener, key: &Key, purpose: Purpose) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(Self {
            listener,
            door: Door::new(key.clone(), purpose),
            strangers: Vec::new(),
            shown_out: 0,
        })
    }

    /// How many did not know the key since this was last asked.
    pub(crate) fn take_shown_out(&mut self) -> usize {
        std::mem::take(&mut self.shown_out)
    }

    /// What to wait for, and how long at most.
    pub(crate) fn watch<'a>(&'a self, fds: &mut Vec<BorrowedFd<'a>>) -> Option<Duration> {
        fds.extend(self.strangers.iter().map(Stranger::fd));
        let is_full = self.strangers.len() >= MAX_STRANGERS;
        if !is_full {
            fds.push(self.listener.as_fd());
        }
        let left = self.strangers.iter().map(|stranger| {
            let patience = if is_full {
                stranger.makes_room_after()
            } else {
                PATIENCE
            };
            patience.saturating_sub(stranger.since.elapsed())
        });
        left.min()
    }

    /// Lets strangers onto the porch, listens to all of them, and gives those that have said something. Takes no more in
    /// than fit on the porch, so that a flood leaves time for others.
    pub(crate) fn serve(&mut self) -> io::Result<Vec<Caller>> {
        let mut callers = Vec::new();
        self.listen_from(0, &mut callers);
        for _ in 0..MAX_STRANGERS {
            if self.strangers.len() >= MAX_STRANGERS && !self.make_room() {
                break;
            }
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if stream.set_nonblocking(true).is_ok() {
                        let newest = self.strangers.len();
                        self.strangers
                            .push(Stranger::new(Stage::Opening(stream, Vec::new())));
                        self.listen_from(newest, &mut callers);
                    }
                }
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::WOULDBLOCK) => break,
                    // It was gone before it was taken in, or the network had something to say about it.
                    Some(
                        Errno::CONNABORTED
                        | Errno::CONNRESET
                        | Errno::INTR
                        | Errno::PROTO
                        | Errno::NETDOWN
                        | Errno::NETUNREACH
                        | Errno::HOSTUNREACH
                        | Errno::PERM,
                    ) => {}
                    // Strangers shall not take the files that the hive needs.
                    Some(Errno::MFILE | Errno::NFILE) if !self.strangers.is_empty() => {
                        self.strangers.swap_remove(self.oldest());
                        break;
                    }
                    _ => return Err(error),
                },
            }
        }
        Ok(callers)
    }

    /// Tells a caller no, and keeps it until it has read that.
    pub(crate) fn refuse(&mut self, mut mailbox: Mailbox, why: &str) {
        mailbox.refuse(why);
        self.strangers.push(Stranger::new(Stage::Refused(mailbox)));
    }

    /// Listens to all strangers from this one on.
    fn listen_from(&mut self, mut index: usize, callers: &mut Vec<Caller>) {
        while index < self.strangers.len() {
            let stranger = &mut self.strangers[index];
            let late = stranger.since.elapsed() >= PATIENCE;
            match stranger.listen(&mut self.door) {
                Found::Nothing if !late => index += 1,
                Found::Nothing | Found::Gone => drop(self.strangers.swap_remove(index)),
                Found::Stranger => {
                    self.shown_out += 1;
                    self.strangers.swap_remove(index);
                }
                Found::Said(said) => {
                    if let Stage::Speaking(mailbox) = self.strangers.swap_remove(index).stage {
                        callers.push(Caller { mailbox, said });
                    }
                }
            }
        }
    }

    fn make_room(&mut self) -> bool {
        let overdue = |stranger: &Stranger| {
            let age = stranger.since.elapsed();
            (age >= stranger.makes_room_after()).then_some(age)
        };
        let overdue = self.strangers.iter().map(overdue).enumerate();
        let oldest = overdue
            .filter_map(|(index, age)| Some((index, age?)))
            .max_by_key(|(_, age)| *age);
        if let Some((index, _)) = oldest {
            self.strangers.swap_remove(index);
        }
        oldest.is_some()
    }

    fn oldest(&self) -> usize {
        let ages = self.strangers.iter().enumerate();
        let oldest = ages.max_by_key(|(_, stranger)| stranger.since.elapsed());
        oldest.map_or(0, |(index, _)| index)
    }
}

impl Stranger {
    fn new(stage: Stage) -> Self {
        let since = Instant::now();
        Self { stage, since }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.stage {
            Stage::Opening(stream, _) => stream.as_fd(),
            Stage::Speaking(mailbox) | Stage::Refused(mailbox) => mailbox.fd(),
        }
    }

    fn makes_room_after(&self) -> Duration {
        match self.stage {
            Stage::Opening(..) => MAKE_ROOM_AFTER,
            Stage::Speaking(_) | Stage::Refused(_) => MAKE_KNOWN_ROOM_AFTER,
        }
    }

    fn listen(&mut self, door: &mut Door) -> Found {
        if let Stage::Opening(stream, have) = &mut self.stage {
            match read_up_to(stream, have, MESSAGE_BYTES) {
                Ok(true) => match let_in(stream, have, door) {
                    Some(mailbox) => *self = Self::new(Stage::Speaking(mailbox)),
                    None => return Found::Stranger,
                },
                Ok(false) => return Found::Nothing,
                Err(_) => return Found::Gone,
            }
        }
        match &mut self.stage {
            Stage::Speaking(mailbox) => match mailbox.receive() {
                Ok(None) => Found::Nothing,
                Ok(Some(letter)) => Found::Said(Ok(letter)),
                Err(LetterError::Closed) => Found::Gone,
                // It had a recording, not the key.
                Err(LetterError::Tampered(_)) => Found::Stranger,
                Err(error) => Found::Said(Err(error)),
            },
            Stage::Refused(mailbox) => match mailbox.drained() {
                true => Found::Gone,
                false => Found::Nothing,
            },
            Stage::Opening(..) => Found::Nothing,
        }
    }
}

/// Answers an opening, if it is one.
fn let_in(stream: &TcpStream, opening: &[u8], door: &mut Door) -> Option<Mailbox> {
    let (answer, session) = door.answer(opening.try_into().ok()?).ok()?;
    let mut stream = stream.try_clone().ok()?;
    // It fits the socket's buffer: nothing was sent on it before.
    stream.write_all(&answer).ok()?;
    Mailbox::answered(stream, session, MAX_HELLO_BYTES).ok()
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
