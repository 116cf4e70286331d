//! Any stream, encrypted: what goes through it is cut into records (`record.rs`).
//!
//! Sending seals as much as one record holds and pushes it out; what the stream below does not take of a record is kept
//! here, and the bytes in it count as not taken until all of it is out. So nothing is hidden from the link that
//! sends: when its queue is empty, everything is with the system. Receiving keeps what came of a record until it is
//! whole, and hands out nothing that has not been authenticated.

use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::os::fd::BorrowedFd;

use super::record::{
    LENGTH_BYTES, MAX_PLAIN_BYTES, MAX_SEALED_BYTES, RecordOpener, RecordSealer, Tampered,
};
use super::stream::ByteStream;
use crate::primitive::{Mutex, lock};

/// How much is read at once: two of the longest records. Mapped lazily.
const READ_BYTES: usize = 2 * (LENGTH_BYTES + MAX_SEALED_BYTES);

/// An encrypted stream over another one.
pub(crate) struct Sealed<S> {
    under: S,
    outbound: Mutex<Outbound>,
    inbound: Mutex<Inbound>,
}

/// The record on its way out.
struct Outbound {
    sealer: RecordSealer,
    /// Where parts are joined before they are sealed.
    plain: Vec<u8>,
    record: Vec<u8>,
    /// How much of the record is out.
    gone: usize,
    /// How many of the caller's bytes it holds; 0: there is none.
    holds: usize,
}

/// What has come.
struct Inbound {
    opener: RecordOpener,
    /// Records as they came: `buffer[start..end]`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// A record that was opened where the caller had too little room: what is left of it.
    rest: Vec<u8>,
    rest_gone: usize,
    tampered: bool,
}

impl<S: ByteStream> Sealed<S> {
    /// Encrypts a stream on which the handshake is done and nothing else is on its way.
    pub(crate) fn new(under: S, sealer: RecordSealer, opener: RecordOpener) -> Self {
        Self {
            under,
            outbound: Mutex::new(Outbound {
                sealer,
                plain: Vec::new(),
                record: Vec::new(),
                gone: 0,
                holds: 0,
            }),
            inbound: Mutex::new(Inbound {
                opener,
                buffer: vec![0; READ_BYTES],
                start: 0,
                end: 0,
                rest: Vec::new(),
                rest_gone: 0,
                tampered: false,
            }),
        }
    }
}

impl<S: ByteStream> ByteStream for Sealed<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.under.as_fd()
    }

    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut outbound = lock(&self.outbound);
        let offered: usize = parts.iter().map(|part| part.len()).sum();
        assert!(
            offered >= outbound.holds,
            "INV-L1: {offered} bytes are offered where {} were not taken before",
            outbound.holds
        );
        let mut taken = 0;
        while taken < offered {
            if outbound.holds == 0 {
                outbound.seal(parts, taken);
            }
            match outbound.push(&self.under) {
                Ok(()) => taken += std::mem::take(&mut outbound.holds),
                // What is broken now will be so the next time.
                Err(_) if taken > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    fn receive(&self, space: &mut [u8]) -> io::Result<usize> {
        let mut inbound = lock(&self.inbound);
        let (mut filled, mut dry) = (0, false);
        loop {
            match inbound.unpack(&mut space[filled..]) {
                Ok(opened) => filled += opened,
                Err(tampered) if filled == 0 => {
                    return Err(io::Error::new(ErrorKind::InvalidData, tampered));
                }
                // Said the next time: see `holds_input`.
                Err(Tampered) => return Ok(filled),
            }
            if filled == space.len() || (filled > 0 && (dry || inbound.tampered)) {
                return Ok(filled);
            }
            let room = inbound.room();
            let room_bytes = room.len();
            match self.under.receive(room) {
                Ok(0) if filled > 0 => return Ok(filled),
                Ok(0) if inbound.start < inbound.end => {
                    let why = "it closed the connection amid a record";
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, why));
                }
                Ok(0) => return Ok(0),
                Ok(came) => {
                    dry = came < room_bytes;
                    inbound.end += came;
                }
                Err(error) if filled == 0 => return Err(error),
                Err(_) => return Ok(filled),
            }
        }
    }

    fn holds_input(&self) -> bool {
        let inbound = lock(&self.inbound);
        inbound.tampered || inbound.rest_gone < inbound.rest.len() || inbound.whole().is_some()
    }

    fn finish_sending(&self) -> io::Result<()> {
        self.under.finish_sending()
    }

    fn vouches(&self) -> bool {
        true
    }

    fn abort(&self) {
        self.under.abort();
    }

    fn rest(&self, awaited: bool) -> bool {
        self.under.rest(awaited)
    }

    fn look_by_itself(&self) {
        self.under.look_by_itself();
    }
}

impl Outbound {
    /// Seals what one record holds of `parts`, from the byte after the first `skip` ones.
    fn seal(&mut self, parts: &[IoSlice<'_>], mut skip: usize) {
        self.plain.clear();
        self.record.clear();
        self.gone = 0;
        let mut pieces = parts.iter().filter_map(|part| {
            let from = skip.min(part.len());
            skip -= from;
            (from < part.len()).then(|| &part[from..])
        });
        let first = pieces.next().unwrap_or_default();
        let first = &first[..first.len().min(MAX_PLAIN_BYTES)];
        let second = pieces.next();
        if first.len() == MAX_PLAIN_BYTES || second.is_none() {
            self.sealer.seal(first, &mut self.record);
            self.holds = first.len();
            return;
        }
        self.plain.extend_from_slice(first);
        for piece in second.into_iter().chain(pieces) {
            let room = MAX_PLAIN_BYTES - self.plain.len();
            self.plain
                .extend_from_slice(&piece[..piece.len().min(room)]);
        }
        self.sealer.seal(&self.plain, &mut self.record);
        self.holds = self.plain.len();
    }

    /// Pushes the record out. An error where not all of it went.
    fn push(&mut self, under: &impl ByteStream) -> io::Result<()> {
        while self.gone < self.record.len() {
            self.gone += under.send(&[IoSlice::new(&self.record[self.gone..])])?;
        }
        Ok(())
    }
}

impl Inbound {
    /// Opens what is whole into `space`, as far as there is room; says how much that was.
    fn unpack(&mut self, space: &mut [u8]) -> Result<usize, Tampered> {
        let mut filled = 0;
        while filled < space.len() {
            let room = &mut space[filled..];
            if self.rest_gone < self.rest.len() {
                let piece = room.len().min(self.rest.len() - self.rest_gone);
                room[..piece].copy_from_slice(&self.rest[self.rest_gone..self.rest_gone + piece]);
                self.rest_gone += piece;
                filled += piece;
                continue;
            }
            if self.tampered && filled == 0 {
                return Err(Tampered);
            }
            let Some(sealed) = self.whole().filter(|_| !self.tampered) else {
                break;
            };
            self.start = sealed.end;
            let opened = if room.len() >= sealed.len() {
                self.opener.open(&self.buffer[sealed], room)
            } else {
                self.rest.resize(sealed.len(), 0);
                self.rest_gone = 0;
                let opened = self.opener.open(&self.buffer[sealed], &mut self.rest);
                self.rest.truncate(*opened.as_ref().unwrap_or(&0));
                opened.map(|_| 0)
            };
            match opened {
                Ok(opened) => filled += opened,
                Err(Tampered) => self.tampered = true,
            }
        }
        Ok(filled)
    }

    /// Where the next record lies, without its length, if it is whole. One that claims to be shorter than any record
    /// is as whole as it gets.
    fn whole(&self) -> Option<Range<usize>> {
        let &length = self.buffer[self.start..self.end].first_chunk::<LENGTH_BYTES>()?;
        let start = self.start + LENGTH_BYTES;
        let end = start + usize::from(u16::from_le_bytes(length));
        (end <= self.end).then_some(start..end)
    }

    /// Where to read into; there is room for the rest of the record that has begun.
    fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.buffer.len() - self.start < LENGTH_BYTES + MAX_SEALED_BYTES {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.buffer[self.end..]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::net::Wakes;
    use crate::net::conformance::streams::sockets;
    use crate::net::record::tests::two_ends;
    use crate::net::{Closed, Frame, Incoming, Links, LinksConfig, Tcp};
    use hivemind_protocol::DroneId;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::thread;
    use std::time::{Duration, Instant};

    const PEER: DroneId = DroneId(0);
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Somebody sits between two drones. Lets `harm` change what the first says before the second hears it; gives the
    /// frames that the second took, and how its link ended.
    fn with_somebody_between(
        frames: &[&[u8]],
        harm: impl FnOnce(Vec<Vec<u8>>) -> Vec<u8>,
    ) -> (Vec<Vec<u8>>, Closed) {
        let [(seals, opens), (far_seals, far_opens)] = two_ends();
        let (near, mut tap) = sockets();
        let near = Sealed::new(Tcp::new(near).unwrap(), seals, opens);
        let first = Links::new(
            PEER,
            vec![(DroneId(1), Box::new(near))],
            LinksConfig::default(),
        );
        let first = first.unwrap();
        frames
            .iter()
            .for_each(|frame| first.send(DroneId(1), &mut Frame::of(frame), Wakes::Anyone));
        drop(first);
        let mut said = Vec::new();
        tap.read_to_end(&mut said).unwrap();

        let (mut victim_side, victim) = sockets();
        let victim = Sealed::new(Tcp::new(victim).unwrap(), far_seals, far_opens);
        let second = Links::new(
            DroneId(1),
            vec![(PEER, Box::new(victim))],
            LinksConfig::default(),
        );
        let bytes = harm(records(&said));
        let sender = thread::spawn(move || send_and_end(&mut victim_side, &bytes));
        let outcome = hear(&second.unwrap());
        sender.join().unwrap();
        outcome
    }

    fn send_and_end(stream: &mut TcpStream, bytes: &[u8]) {
        // The victim may hang up before it has heard all.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }

    fn hear(links: &Links) -> (Vec<Vec<u8>>, Closed) {
        let (mut frames, mut end) = (Vec::new(), None);
        let begin = Instant::now();
        while end.is_none() {
            assert!(begin.elapsed() < PATIENCE, "the link did not end");
            let heard =
                links.poll(
                    Some(Duration::from_millis(20)),
                    &mut |_, incoming| match incoming {
                        Incoming::Frame(body) => frames.push(body.to_vec()),
                        Incoming::Closed(closed) => end = Some(closed),
                    },
                );
            heard.unwrap();
        }
        (frames, end.unwrap())
    }

    /// The records of a stream, each with its length.
    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        while let Some(&length) = bytes.first_chunk::<LENGTH_BYTES>() {
            let (record, rest) =
                bytes.split_at(LENGTH_BYTES + usize::from(u16::from_le_bytes(length)));
            records.push(record.to_vec());
            bytes = rest;
        }
        records
    }

    const WORDS: [&[u8]; 4] = [b"one", b"two", b"three", b"four"];

    /// Harms a stream of four frames; wants those before the harm, none after it, and `expected` as the reason.
    fn harmed(whole: usize, expected: &str, harm: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let (frames, end) = with_somebody_between(&WORDS, |mut records| {
            assert_eq!(records.len(), WORDS.len());
            harm(&mut records);
            records.concat()
        });
        assert_eq!(frames, WORDS[..whole], "{expected}");
        let Closed::Lost(why) = end else {
            panic!("it ended as {end:?}");
        };
        assert!(why.contains(expected), "{why}");
    }

    #[test]
    fn what_is_not_harmed_arrives() {
        harmed(4, "without a goodbye", |_| {});
    }

    #[test]
    fn a_changed_record_ends_the_link_before_anybody_sees_it() {
        harmed(1, "tampered with", |records| records[1][7] ^= 1);
        harmed(0, "tampered with", |records| records[0][2] ^= 0x80);
    }

    #[test]
    fn a_repeated_a_lost_and_a_moved_record_end_the_link() {
        harmed(2, "tampered with", |records| {
            let again = records[1].clone();
            records.insert(2, again);
        });
        harmed(2, "tampered with", |records| drop(records.remove(2)));
        harmed(1, "tampered with", |records| records.swap(1, 2));
    }

    #[test]
    fn a_record_cut_short_ends_the_link() {
        harmed(3, "amid a record", |records| records[3].truncate(9));
        harmed(2, "amid a record", |records| {
            records.truncate(3);
            records[2].truncate(1);
        });
    }

    #[test]
    fn whole_records_cut_off_are_no_goodbye() {
        harmed(2, "without a goodbye", |records| records.truncate(2));
    }

    #[test]
    fn bytes_put_in_between_end_the_link() {
        harmed(2, "tampered with", |records| {
            records.insert(2, vec![3, 0, 1, 2, 3]);
        });
        harmed(2, "tampered with", |records| records.insert(2, vec![0, 0]));
        harmed(1, "amid a record", |records| {
            records.truncate(1);
            records.push(vec![0xff, 0xff, 1, 2, 3]);
        });
    }

    #[test]
    fn nothing_that_passes_can_be_read() {
        let secret = [b's'; 5000];
        let (frames, _) = with_somebody_between(&[&secret], |records| {
            let all = records.concat();
            assert!(!all.windows(8).any(|bytes| bytes == &secret[..8]));
            all
        });
        assert_eq!(frames, [secret]);
    }
}
