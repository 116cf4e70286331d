//! What drones say to each other before they are a hive: letters, how they look on the wire, and how one is read.
//!
//! A letter is a fixed prefix (magic, protocol version, kind, length of what follows) and then text: JSON, or for a
//! refusal the plain sentence. Prefix and refusals stay the same in every version, so that an older or newer drone can
//! say why it was refused. This is no hot path, so readable text wins over bytes saved. Who sends what when lives in
//! `root.rs` and `member.rs`; frames of a running hive live in `net`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

pub(crate) use hivemind_protocol::Fact;
use hivemind_protocol::{Newcomer, PROTOCOL_VERSION};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"HiveMind";
const PREFIX_BYTES: usize = 17;
const REFUSAL: u8 = 0;
const JSON: u8 = 1;

/// What a stranger may send: far above any hello, far below what would hurt.
pub(crate) const MAX_HELLO_BYTES: usize = 64 << 10;

/// What drone 0 may send: the addresses of the largest hive, with room to spare.
pub(crate) const MAX_LETTER_BYTES: usize = 8 << 20;

/// How long one letter may take to go out. It fits the socket's buffer but for the largest hives.
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// What a drone says when it knocks at drone 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) job: String,
    pub(crate) rank: u32,
    pub(crate) size: u32,
    /// Where this drone listens for the drones above it.
    pub(crate) address: String,
    /// At which of the agreed bases its region could lie, a bit each.
    pub(crate) base_bitmap: u32,
    pub(crate) facts: Vec<Fact>,
}

impl Hello {
    /// What the membership asks of it.
    pub(crate) fn newcomer(self) -> Newcomer {
        Newcomer {
            job: self.job,
            rank: self.rank,
            size: self.size,
            address: self.address,
            base_bitmap: self.base_bitmap,
            facts: self.facts,
        }
    }
}

/// Everything that is said before a hive runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Letter {
    /// To drone 0: here I am.
    Hello(Hello),
    /// From drone 0: you are one of us; wait for the others.
    Admitted,
    /// From drone 0: all are here. Where each listens, by rank, and the base that is free on all.
    Welcome {
        addresses: Vec<String>,
        base_index: usize,
    },
    /// From a higher drone to a lower one's own address.
    Greeting { job: String, from: u32, to: u32 },
    /// And its answer.
    Greeted,
    /// To drone 0: I have a link to everybody.
    Ready,
    /// From drone 0: everybody has. What follows on this connection are frames.
    Go,
    /// To anybody: it won't be; why.
    #[serde(skip)]
    Refusal(String),
}

/// Why what came is no letter.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LetterError {
    #[error("it closed the connection")]
    Closed,
    #[error("it is no HiveMind drone")]
    Garbage,
    #[error(
        "it speaks protocol version {0}, this drone speaks {PROTOCOL_VERSION}: build all drones from the same version"
    )]
    Version(u32),
    #[error("its letter of {0} bytes is too long")]
    TooLong(usize),
    #[error("its letter makes no sense: {0}")]
    Malformed(String),
    #[error("the connection broke: {0}")]
    Broken(io::Error),
}

impl Letter {
    fn encode(&self) -> Vec<u8> {
        let (kind, text) = match self {
            Self::Refusal(why) => (REFUSAL, why.clone().into_bytes()),
            other => (
                JSON,
                serde_json::to_vec(other).expect("letters are plain data"),
            ),
        };
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + text.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&PROTOCOL_VERSION.to_le_bytes());
        bytes.push(kind);
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&text);
        bytes
    }
}

/// A connection on which letters are exchanged. Reads exactly one letter at a time, never a byte of what follows it.
#[derive(Debug)]
pub(crate) struct Mailbox {
    stream: TcpStream,
    have: Vec<u8>,
    bound: usize,
}

impl Mailbox {
    /// Takes a connection over; letters that come may have `bound` bytes.
    pub(crate) fn new(stream: TcpStream, bound: usize) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(SEND_LIMIT))?;
        Ok(Self {
            stream,
            have: Vec::new(),
            bound,
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// The connection, for frames.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Sends a letter; blocks for a few seconds at most.
    pub(crate) fn send(&mut self, letter: &Letter) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        let sent = self.stream.write_all(&letter.encode());
        self.stream.set_nonblocking(true)?;
        sent
    }

    /// Says no and ends the sending half. The connection must be kept until [`drained`](Self::drained), or what the
    /// other side has sent and nobody read would tear the sentence away.
    pub(crate) fn refuse(&mut self, why: &str) {
        // Whoever does not read it has no use for it.
        let _ = (&self.stream).write_all(&Letter::Refusal(why.to_owned()).encode());
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Throws away what comes; says whether the other side has ended.
    pub(crate) fn drained(&mut self) -> bool {
        let mut waste = [0; 4096];
        loop {
            match self.stream.read(&mut waste) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    }

    /// Reads on; gives the letter when it is whole. Never blocks.
    pub(crate) fn receive(&mut self) -> Result<Option<Letter>, LetterError> {
        while self.have.len() < PREFIX_BYTES {
            if !self.fill(PREFIX_BYTES)? {
                return Ok(None);
            }
            let checked = self.have.len().min(MAGIC.len());
            if self.have[..checked] != MAGIC[..checked] {
                return Err(LetterError::Garbage);
            }
        }
        let (kind, length) = self.check_prefix()?;
        let whole = PREFIX_BYTES + length;
        while self.have.len() < whole {
            if !self.fill(whole)? {
                return Ok(None);
            }
        }
        let text = self.have.split_off(PREFIX_BYTES);
        self.have.clear();
        if kind == REFUSAL {
            return Ok(Some(Letter::Refusal(
                String::from_utf8_lossy(&text).into_owned(),
            )));
        }
        let letter = serde_json::from_slice(&text);
        letter
            .map(Some)
            .map_err(|error| LetterError::Malformed(error.to_string()))
    }

    fn check_prefix(&self) -> Result<(u8, usize), LetterError> {
        let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| self.have[at + byte]));
        let (version, kind, length) = (number(8), self.have[12], number(13) as usize);
        if kind != REFUSAL && version != PROTOCOL_VERSION {
            return Err(LetterError::Version(version));
        }
        if kind > JSON {
            return Err(LetterError::Malformed(format!("its kind is {kind}")));
        }
        if length > self.bound {
            return Err(LetterError::TooLong(length));
        }
        Ok((kind, length))
    }

    /// Reads once, up to `target` bytes in all; false when nothing is there now.
    fn fill(&mut self, target: usize) -> Result<bool, LetterError> {
        let mut piece = [0; 4096];
        let wanted = (target - self.have.len()).min(piece.len());
        match self.stream.read(&mut piece[..wanted]) {
            Ok(0) => Err(LetterError::Closed),
            Ok(came) => {
                self.have.extend_from_slice(&piece[..came]);
                Ok(true)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => Ok(false),
                ErrorKind::Interrupted => Ok(true),
                ErrorKind::ConnectionReset => Err(LetterError::Closed),
                _ => Err(LetterError::Broken(error)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn connection() -> (TcpStream, Mailbox) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = listener.accept().unwrap().0;
        (near, Mailbox::new(far, MAX_HELLO_BYTES).unwrap())
    }

    fn hello() -> Letter {
        Letter::Hello(Hello {
            job: "job".to_owned(),
            rank: 1,
            size: 2,
            address: "127.0.0.1:1".to_owned(),
            base_bitmap: 3,
            facts: vec![("name".to_owned(), "value".to_owned())],
        })
    }

    fn receive(mailbox: &mut Mailbox) -> Result<Letter, LetterError> {
        loop {
            if let Some(letter) = mailbox.receive()? {
                return Ok(letter);
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_letter_survives_any_pieces_and_takes_nothing_of_what_follows() {
        let bytes = hello().encode();
        for cut in 0..bytes.len() {
            let (mut near, mut far) = connection();
            near.write_all(&bytes[..cut]).unwrap();
            // Whether the first piece has arrived by now or not, the letter isn't whole.
            assert_eq!(far.receive().unwrap(), None);
            near.write_all(&bytes[cut..]).unwrap();
            near.write_all(b"frame").unwrap();
            assert_eq!(receive(&mut far).unwrap(), hello());
            let mut rest = [0; 5];
            far.stream.set_nonblocking(false).unwrap();
            far.stream.read_exact(&mut rest).unwrap();
            assert_eq!(&rest, b"frame");
        }
    }

    #[test]
    fn garbage_is_told_from_letters_by_its_first_bytes() {
        let (mut near, mut far) = connection();
        near.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert!(matches!(receive(&mut far), Err(LetterError::Garbage)));
    }

    #[test]
    fn another_version_is_named_and_its_refusals_are_readable() {
        let (mut near, mut far) = connection();
        let mut bytes = hello().encode();
        bytes[8..12].copy_from_slice(&7_u32.to_le_bytes());
        near.write_all(&bytes).unwrap();
        assert!(matches!(receive(&mut far), Err(LetterError::Version(7))));
        let (mut near, mut far) = connection();
        let mut bytes = Letter::Refusal("no".to_owned()).encode();
        bytes[8..12].copy_from_slice(&7_u32.to_le_bytes());
        near.write_all(&bytes).unwrap();
        assert_eq!(receive(&mut far).unwrap(), Letter::Refusal("no".to_owned()));
    }

    #[test]
    fn a_long_letter_is_refused_before_it_is_read() {
        let (mut near, mut far) = connection();
        let mut bytes = hello().encode();
        bytes[13..17].copy_from_slice(&(MAX_HELLO_BYTES as u32 + 1).to_le_bytes());
        near.write_all(&bytes[..PREFIX_BYTES]).unwrap();
        assert!(matches!(receive(&mut far), Err(LetterError::TooLong(_))));
    }
}
