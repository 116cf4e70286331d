//! What drones say to each other before they are a hive: letters, how they look on the wire, and how one is read.
//!
//! A letter is a fixed prefix (magic, protocol version, kind, length of what follows) and then text: JSON, or for a
//! refusal the plain sentence; and all of it lies in sealed records (`net::record`), for a connection opens with the
//! handshake (`handshake.rs`). Prefix and refusals stay the same in every version, so that an older or newer drone of
//! the same job can say why it was refused. This is no hot path, so readable text wins over bytes saved. Who sends
//! what when lives in `root.rs` and `member.rs`; frames of a running hive live in `net`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

pub(crate) use hivemind_protocol::Fact;
use hivemind_protocol::{Newcomer, PROTOCOL_VERSION};
use serde::{Deserialize, Serialize};

use super::handshake::{Calling, HandshakeMessage, MESSAGE_BYTES, Purpose, Session};
use super::key::Key;
use super::sharing::Segment;
use crate::net::{LENGTH_BYTES, MAX_PLAIN_BYTES, TAG_BYTES, Tampered};

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
    /// On which machine it is, as far as it can tell.
    pub(crate) machine: String,
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
    /// From drone 0: you are one of us; wait for the others. On which machine drone 0 is.
    Admitted { machine: String },
    /// From drone 0: all are here. Where each listens, by rank, the base that is free on all, and memory to share.
    Welcome {
        addresses: Vec<String>,
        base_index: usize,
        segment: Option<Segment>,
    },
    /// From a higher drone to a lower one's own address.
    Greeting {
        job: String,
        from: u32,
        to: u32,
        machine: String,
    },
    /// And its answer, with memory to share.
    Greeted {
        machine: String,
        segment: Option<Segment>,
    },
    /// To who offered memory to share: whether it could be opened.
    Opened(bool),
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
    #[error("it does not know this job's key")]
    Stranger,
    #[error("it hung up on the handshake")]
    HungUp,
    #[error("{0}")]
    Tampered(#[from] Tampered),
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
    /// A whole letter, as it lies in its records.
    #[cfg(any(test, fuzzing))]
    pub(super) fn read(whole: &[u8], bound: usize) -> Result<Self, LetterError> {
        if whole.len() < PREFIX_BYTES {
            return Err(LetterError::Closed);
        }
        let (kind, length) = check_prefix(whole, bound)?;
        match whole[PREFIX_BYTES..].len().cmp(&length) {
            std::cmp::Ordering::Equal => Self::of(kind, &whole[PREFIX_BYTES..]),
            _ => Err(LetterError::TooLong(length)),
        }
    }

    /// A letter of this kind by its text.
    fn of(kind: u8, text: &[u8]) -> Result<Self, LetterError> {
        if kind == REFUSAL {
            return Ok(Self::Refusal(String::from_utf8_lossy(text).into_owned()));
        }
        serde_json::from_slice(text).map_err(|error| LetterError::Malformed(error.to_string()))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
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

/// A connection on which letters are exchanged. Reads exactly what belongs to one letter at a time, never a byte of
/// what follows it.
pub(crate) struct Mailbox {
    stream: TcpStream,
    stage: Stage,
    /// What has come of a handshake message or record.
    have: Vec<u8>,
    /// What has been opened of a letter.
    letter: Vec<u8>,
    bound: usize,
}

/// How far a connection is.
enum Stage {
    /// The opening is sent; the letter goes out when the answer is here.
    Calling(Calling, Letter),
    Open(Session),
    /// The handshake failed.
    Over,
}

impl Mailbox {
    /// Calls whoever is at the other end: sends the handshake's opening, and `first` as soon as it was answered, for
    /// which [`receive`](Self::receive) must be called. Letters that come may have `bound` bytes.
    pub(crate) fn call(
        stream: TcpStream,
        key: &Key,
        purpose: Purpose,
        first: Letter,
        bound: usize,
    ) -> io::Result<Self> {
        let (calling, opening) = Calling::begin(key, purpose);
        let mut mailbox = Self::new(stream, Stage::Calling(calling, first), bound)?;
        mailbox.stream.write_all(&opening)?;
        Ok(mailbox)
    }

    /// Takes a connection over on which the handshake was answered.
    pub(crate) fn answered(stream: TcpStream, session: Session, bound: usize) -> io::Result<Self> {
        Self::new(stream, Stage::Open(session), bound)
    }

    fn new(stream: TcpStream, stage: Stage, bound: usize) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(SEND_LIMIT))?;
        Ok(Self {
            stream,
            stage,
            have: Vec::new(),
            letter: Vec::new(),
            bound,
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// The connection.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The connection, for frames, and the session that seals them.
    ///
    /// # Panics
    ///
    /// Before the handshake is done.
    pub(crate) fn into_parts(self) -> (TcpStream, Session) {
        match self.stage {
            Stage::Open(session) => (self.stream, session),
            _ => panic!("INV-L2: a connection carries frames only after its handshake"),
        }
    }

    /// Sends a letter; blocks for a few seconds at most.
    pub(crate) fn send(&mut self, letter: &Letter) -> io::Result<()> {
        let sealed = self.seal(letter)?;
        self.stream.set_nonblocking(false)?;
        let sent = self.stream.write_all(&sealed);
        self.stream.set_nonblocking(true)?;
        sent
    }

    /// Says no and ends the sending half. The connection must be kept until [`drained`](Self::drained), or what the
    /// other side has sent and nobody read would tear the sentence away.
    pub(crate) fn refuse(&mut self, why: &str) {
        // Whoever does not read it has no use for it.
        if let Ok(sealed) = self.seal(&Letter::Refusal(why.to_owned())) {
            let _ = (&self.stream).write_all(&sealed);
        }
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

    /// Reads on, through the handshake first; gives the letter when it is whole. Never waits for anything to come.
    pub(crate) fn receive(&mut self) -> Result<Option<Letter>, LetterError> {
        if matches!(self.stage, Stage::Calling(..)) && !self.take_answer()? {
            return Ok(None);
        }
        loop {
            if self.letter.len() >= PREFIX_BYTES {
                let (kind, length) = check_prefix(&self.letter, self.bound)?;
                if self.letter.len() >= PREFIX_BYTES + length {
                    return self.take_letter(kind, length).map(Some);
                }
            }
            if !self.take_record()? {
                return Ok(None);
            }
        }
    }

    /// Reads the handshake's answer; says whether it is whole. Then sends what the connection was made for.
    fn take_answer(&mut self) -> Result<bool, LetterError> {
        match self.fill(MESSAGE_BYTES) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(LetterError::Closed) => return Err(LetterError::HungUp),
            Err(error) => return Err(error),
        }
        let answer: HandshakeMessage = std::mem::take(&mut self.have)
            .try_into()
            .expect("as many bytes as were asked for");
        let Stage::Calling(calling, first) = std::mem::replace(&mut self.stage, Stage::Over) else {
            unreachable!("only a caller takes an answer");
        };
        let session = calling.end(&answer).map_err(|_| LetterError::Stranger)?;
        self.stage = Stage::Open(session);
        self.send(&first).map_err(LetterError::Broken)?;
        Ok(true)
    }

    /// Reads one record; says whether it is whole.
    fn take_record(&mut self) -> Result<bool, LetterError> {
        if !self.fill(LENGTH_BYTES)? {
            return Ok(false);
        }
        let length = usize::from(u16::from_le_bytes([self.have[0], self.have[1]]));
        if !self.fill(LENGTH_BYTES + length)? {
            return Ok(false);
        }
        let Stage::Open(session) = &mut self.stage else {
            return Err(LetterError::Stranger);
        };
        let start = self.letter.len();
        self.letter.resize(start + length, 0);
        let opened = session
            .opener
            .open(&self.have[LENGTH_BYTES..], &mut self.letter[start..]);
        self.letter.truncate(start + opened?);
        self.have.clear();
        Ok(true)
    }

    fn take_letter(&mut self, kind: u8, length: usize) -> Result<Letter, LetterError> {
        let whole = std::mem::take(&mut self.letter);
        if whole.len() > PREFIX_BYTES + length {
            let why = "it is longer than it says".to_owned();
            return Err(LetterError::Malformed(why));
        }
        Letter::of(kind, &whole[PREFIX_BYTES..])
    }

    /// A letter as records.
    fn seal(&mut self, letter: &Letter) -> io::Result<Vec<u8>> {
        let Stage::Open(session) = &mut self.stage else {
            return Err(ErrorKind::NotConnected.into());
        };
        let bytes = letter.encode();
        let mut sealed = Vec::with_capacity(bytes.len() + LENGTH_BYTES + TAG_BYTES);
        for piece in bytes.chunks(MAX_PLAIN_BYTES) {
            session.sealer.seal(piece, &mut sealed);
        }
        Ok(sealed)
    }

    /// Reads up to `target` bytes in all; false when no more is there now.
    fn fill(&mut self, target: usize) -> Result<bool, LetterError> {
        read_up_to(&self.stream, &mut self.have, target)
    }
}

/// What a letter's first bytes say: its kind, and how long its text is.
fn check_prefix(letter: &[u8], bound: usize) -> Result<(u8, usize), LetterError> {
    let prefix = &letter[..PREFIX_BYTES];
    if prefix[..MAGIC.len()] != MAGIC[..] {
        return Err(LetterError::Malformed("it is none of ours".to_owned()));
    }
    let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| prefix[at + byte]));
    let (version, kind, length) = (number(8), prefix[12], number(13) as usize);
    if kind != REFUSAL && version != PROTOCOL_VERSION {
        return Err(LetterError::Version(version));
    }
    if kind > JSON {
        return Err(LetterError::Malformed(format!("its kind is {kind}")));
    }
    if length > bound {
        return Err(LetterError::TooLong(length));
    }
    Ok((kind, length))
}

/// Reads until `have` is `target` bytes long, never beyond; false when no more is there now.
pub(super) fn read_up_to(
    mut stream: &TcpStream,
    have: &mut Vec<u8>,
    target: usize,
) -> Result<bool, LetterError> {
    let mut piece = [0; 4096];
    while have.len() < target {
        let wanted = (target - have.len()).min(piece.len());
        match stream.read(&mut piece[..wanted]) {
            Ok(0) => return Err(LetterError::Closed),
            Ok(came) => have.extend_from_slice(&piece[..came]),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => return Ok(false),
                ErrorKind::Interrupted => {}
                ErrorKind::ConnectionReset => return Err(LetterError::Closed),
                _ => return Err(LetterError::Broken(error)),
            },
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::handshake::Door;
    use std::net::TcpListener;

    /// A connection whose handshake is done, and what came of it: the near end seals by hand.
    fn connection() -> (TcpStream, Session, Mailbox) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = listener.accept().unwrap().0;
        let key = Key::of([1; 32]);
        let (calling, opening) = Calling::begin(&key, Purpose::Join);
        let (answer, session) = Door::new(key, Purpose::Join).answer(&opening).unwrap();
        let mailbox = Mailbox::answered(far, session, MAX_HELLO_BYTES).unwrap();
        (near, calling.end(&answer).unwrap(), mailbox)
    }

    fn hello() -> Letter {
        Letter::Hello(Hello {
            job: "job".to_owned(),
            rank: 1,
            size: 2,
            address: "127.0.0.1:1".to_owned(),
            base_bitmap: 3,
            machine: String::new(),
            facts: vec![("name".to_owned(), "value".to_owned())],
        })
    }

    fn sealed(session: &mut Session, bytes: &[u8]) -> Vec<u8> {
        let mut records = Vec::new();
        for piece in bytes.chunks(MAX_PLAIN_BYTES) {
            session.sealer.seal(piece, &mut records);
        }
        records
    }

    fn receive(mailbox: &mut Mailbox) -> Result<Letter, LetterError> {
        loop {
            if let Some(letter) = mailbox.receive()? {
                return Ok(letter);
            }
            std::thread::yield_now();
        }
    }

    /// What the far end makes of these bytes, once they are sealed.
    fn received(bytes: &[u8]) -> Result<Letter, LetterError> {
        let (mut near, mut session, mut far) = connection();
        near.write_all(&sealed(&mut session, bytes)).unwrap();
        receive(&mut far)
    }

    #[test]
    fn a_letter_survives_any_pieces_and_takes_nothing_of_what_follows() {
        let length = {
            let (_, mut session, _) = connection();
            sealed(&mut session, &hello().encode()).len()
        };
        for cut in 0..length {
            let (mut near, mut session, mut far) = connection();
            let bytes = sealed(&mut session, &hello().encode());
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
    fn a_letter_of_many_records_arrives() {
        let (near, mut session, mut far) = connection();
        far.bound = MAX_LETTER_BYTES;
        let welcome = Letter::Welcome {
            addresses: vec!["[2001:db8:1234:5678::1]:65535".to_owned(); 20_000],
            base_index: 1,
            segment: None,
        };
        let bytes = sealed(&mut session, &welcome.encode());
        assert!(bytes.len() > 8 * MAX_PLAIN_BYTES);
        let sender = std::thread::spawn(move || (&near).write_all(&bytes).unwrap());
        assert_eq!(receive(&mut far).unwrap(), welcome);
        sender.join().unwrap();
    }

    #[test]
    fn two_letters_in_one_record_are_none() {
        let twice = [hello().encode(), hello().encode()].concat();
        let error = received(&twice).unwrap_err().to_string();
        assert!(error.contains("longer than it says"), "{error}");
    }

    #[test]
    fn what_is_not_sealed_is_no_letter() {
        let (mut near, _, mut far) = connection();
        near.write_all(&hello().encode()).unwrap();
        near.write_all(&[0; 1 << 16]).unwrap();
        let error = receive(&mut far).unwrap_err().to_string();
        assert!(error.contains("tampered with"), "{error}");
    }

    #[test]
    fn another_version_is_named_and_its_refusals_are_readable() {
        let another = PROTOCOL_VERSION + 1;
        let mut bytes = hello().encode();
        bytes[8..12].copy_from_slice(&another.to_le_bytes());
        let refused = received(&bytes);
        assert!(matches!(refused, Err(LetterError::Version(version)) if version == another));
        let mut bytes = Letter::Refusal("no".to_owned()).encode();
        bytes[8..12].copy_from_slice(&another.to_le_bytes());
        assert_eq!(received(&bytes).unwrap(), Letter::Refusal("no".to_owned()));
    }

    #[test]
    fn a_long_letter_is_refused_before_it_is_read() {
        let mut bytes = hello().encode();
        bytes[13..17].copy_from_slice(&(MAX_HELLO_BYTES as u32 + 1).to_le_bytes());
        let error = received(&bytes[..PREFIX_BYTES]);
        assert!(matches!(error, Err(LetterError::TooLong(_))), "{error:?}");
    }

    #[test]
    fn a_caller_tells_a_stranger_from_one_that_hangs_up() {
        let call = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let key = Key::of([1; 32]);
            let mailbox = Mailbox::call(near, &key, Purpose::Join, hello(), MAX_HELLO_BYTES);
            (mailbox.unwrap(), listener.accept().unwrap().0)
        };
        let (mut mailbox, mut far) = call();
        far.write_all(&[b'x'; MESSAGE_BYTES]).unwrap();
        assert!(matches!(receive(&mut mailbox), Err(LetterError::Stranger)));
        let (mut mailbox, far) = call();
        drop(far);
        assert!(matches!(receive(&mut mailbox), Err(LetterError::HungUp)));
    }
}
