//! Framing: how a stream of bytes is cut into frames, and nothing else. Pure: no socket, no thread.
//!
//! A frame is a header, the body's length (`u32`, little-endian), its kind (`u8`) and its envelope (eight bytes), and
//! then the body. A frame may arrive in any pieces and several may arrive at once; the [`Decoder`] puts them together
//! again, and finds out by the envelope whether the stream kept its promise. A stream that vouches for its bytes itself
//! (encrypted: each record is authenticated and counted) carries no envelopes.
//! Deliberately elsewhere: reading and writing (`link.rs`), what an envelope is and what a body means (the protocol
//! core).

use std::ops::Range;

use hivemind_protocol::{Breach, Envelope, Mutant, Opener, Sealer, mutant};

/// Bytes of length and kind.
const START_BYTES: usize = 5;

/// The most bytes that stand in front of a body.
pub(crate) const HEADER_BYTES_MOST: usize = START_BYTES + Envelope::BYTES;

/// The longest body that a frame may have. A page reply, an interval list or a broadcast value stays far below it;
/// a header that claims more is garbage, and is refused before anything is allocated for it.
pub(crate) const MAX_BODY_BYTES: usize = 256 << 20;

/// What a decoder's buffer holds at first: some 60 pages, so that most bursts come with one read. It is mapped
/// lazily: a link that only ever carries short frames touches its first page alone.
const READ_BUFFER_BYTES: usize = 256 << 10;

/// A buffer that grew beyond this for one long frame is given back when that frame is done, or when the next begins.
const KEEP_BUFFER_BYTES: usize = 4 << 20;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message of the protocol.
    Data,
    /// A sign of life on an idle link; its body is empty.
    Heartbeat,
    /// The sender leaves in order: nothing comes after it. Its body is empty.
    Goodbye,
}

/// Why bytes that came are no frame. The link cannot go on after it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The header claims a body beyond [`MAX_BODY_BYTES`].
    #[error("bad frame: its header claims {claimed} bytes, more than the {MAX_BODY_BYTES} allowed")]
    TooLong {
        /// What the header says.
        claimed: u32,
    },
    /// The kind is none of ours.
    #[error("bad frame: kind {0} is unknown")]
    UnknownKind(u8),
    /// The frame is not the one that was sent next.
    #[error("bad frame: {0}")]
    Breach(#[from] Breach),
    /// A heartbeat or a goodbye that carries something.
    #[error("bad frame: a {kind:?} with a body of {claimed} bytes")]
    UnexpectedBody {
        /// Which of the two.
        kind: Kind,
        /// What the header says.
        claimed: u32,
    },
}

/// A frame on its way out: room for a header, and the body behind it, so that both go with one call and none is copied for that.
/// Kept for its memory.
pub(crate) struct Frame {
    /// The body begins at `HEADER_BYTES_MOST`.
    bytes: Vec<u8>,
}

impl Frame {
    /// A frame with this body.
    pub(crate) fn of(body: &[u8]) -> Self {
        let mut frame = Self::with_room(body.len());
        frame.begin().extend_from_slice(body);
        frame
    }

    /// A frame without a body, that takes one of so many bytes without more memory.
    pub(crate) fn with_room(body_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES_MOST + body_bytes);
        bytes.resize(HEADER_BYTES_MOST, 0);
        Self { bytes }
    }

    /// Begins anew: the body is what is appended to this.
    pub(crate) fn begin(&mut self) -> &mut Vec<u8> {
        if self.bytes.len() > KEEP_BUFFER_BYTES {
            *self = Self::with_room(0);
        }
        self.bytes.truncate(HEADER_BYTES_MOST);
        &mut self.bytes
    }

    /// What was appended so far.
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES_MOST..]
    }

    /// More of the body is appended to this.
    pub(crate) fn go_on(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Puts the header in front of the body, with an envelope where the link has them; gives what goes out.
    ///
    /// # Panics
    ///
    /// When the body is longer than [`MAX_BODY_BYTES`]: the caller's own mistake, which no peer could read.
    pub(crate) fn close(&mut self, kind: Kind, sealer: Option<&mut Sealer>) -> &[u8] {
        let (room, body) = self.bytes.split_at_mut(HEADER_BYTES_MOST);
        assert!(
            body.len() <= MAX_BODY_BYTES,
            "a frame of {} bytes exceeds the bound of {MAX_BODY_BYTES}: split the message",
            body.len()
        );
        let envelope = sealer.map(|sealer| sealer.seal(kind.byte(), body).to_bytes());
        let envelope = envelope.as_ref().map_or(&[][..], |bytes| &bytes[..]);
        let first = Envelope::BYTES - envelope.len();
        let header = &mut room[first..];
        header[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
        header[4] = kind.byte();
        header[START_BYTES..].copy_from_slice(envelope);
        &self.bytes[first..]
    }
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Heartbeat => 1,
            Self::Goodbye => 2,
        }
    }
}

fn parse_start(bytes: [u8; START_BYTES]) -> Result<(Kind, usize), FrameError> {
    let claimed = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let kind = match bytes[4] {
        0 => Kind::Data,
        1 => Kind::Heartbeat,
        2 => Kind::Goodbye,
        other => return Err(FrameError::UnknownKind(other)),
    };
    if claimed as usize > MAX_BODY_BYTES {
        return Err(FrameError::TooLong { claimed });
    }
    if kind != Kind::Data && claimed != 0 {
        return Err(FrameError::UnexpectedBody { kind, claimed });
    }
    Ok((kind, claimed as usize))
}

/// Puts the frames of one link together again.
///
/// Used in turns: [`space`](Self::space) is where to read into, [`filled`](Self::filled) says how much came, then
/// [`next`](Self::next) until it gives nothing more. The buffer grows with what has arrived, never with what a
/// header claims.
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    /// What has come and is not yet taken: `buffer[start..end]`.
    start: usize,
    end: usize,
    /// None where the stream vouches for its bytes itself: then there are no envelopes.
    opener: Option<Opener>,
}

impl Decoder {
    pub(crate) fn new(opener: Option<Opener>) -> Self {
        Self {
            opener,
            buffer: vec![0; READ_BUFFER_BYTES],
            start: 0,
            end: 0,
        }
    }

    /// Room for what comes next; never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.buffer.len() > KEEP_BUFFER_BYTES {
                self.buffer = vec![0; READ_BUFFER_BYTES];
            }
        } else if self.start > 0 && self.start + self.unfinished_bytes() > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            let wanted = self.unfinished_bytes().max(self.buffer.len() + 1);
            let grown = wanted.min(self.buffer.len() * 2);
            self.buffer.resize(grown, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// Says that `bytes` have been read into [`space`](Self::space).
    pub(crate) fn filled(&mut self, bytes: usize) {
        self.end += bytes;
        assert!(
            self.end <= self.buffer.len(),
            "more read than there was room for"
        );
    }

    /// Takes the next whole frame: its kind, and where its body lies (see [`body`](Self::body)).
    pub(crate) fn next(&mut self) -> Result<Option<(Kind, Range<usize>)>, FrameError> {
        let came = &self.buffer[self.start..self.end];
        let Some(&start) = came.first_chunk() else {
            return Ok(None);
        };
        let (kind, mut body_bytes) = parse_start(start)?;
        let header_bytes = self.header_bytes();
        if mutant(Mutant::ShortRead) && came.len() > header_bytes {
            body_bytes = body_bytes.min(came.len() - header_bytes);
        }
        if came.len() < header_bytes + body_bytes {
            return Ok(None);
        }
        if let Some(opener) = &mut self.opener {
            let (header, rest) = came.split_at(header_bytes);
            if let Some(&envelope) = header[START_BYTES..].first_chunk() {
                let envelope = Envelope::from_bytes(envelope);
                opener.open(envelope, kind.byte(), &rest[..body_bytes])?;
            }
        }
        let body = self.start + header_bytes;
        self.start = body + body_bytes;
        Ok(Some((kind, body..body + body_bytes)))
    }

    /// How many bytes stand in front of each body.
    pub(crate) fn header_bytes(&self) -> usize {
        match self.opener {
            Some(_) => HEADER_BYTES_MOST,
            None => START_BYTES,
        }
    }

    /// The body that [`next`](Self::next) found, without copying; valid until [`space`](Self::space) is asked for.
    pub(crate) fn body(&self, place: Range<usize>) -> &[u8] {
        &self.buffer[place]
    }

    /// Whether a frame has begun and not ended.
    pub(crate) fn is_amid_frame(&self) -> bool {
        self.start != self.end
    }

    /// How long the frame at `start` is, as far as its header tells.
    fn unfinished_bytes(&self) -> usize {
        self.buffer[self.start..self.end]
            .first_chunk()
            .and_then(|&start| parse_start(start).ok())
            .map_or(self.header_bytes(), |(_, body_bytes)| {
                self.header_bytes() + body_bytes
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hivemind_protocol::DroneId;

    const ENDS: (DroneId, DroneId) = (DroneId(0), DroneId(1));

    fn sealer(sealed: bool) -> Option<Sealer> {
        sealed.then(|| Sealer::new(ENDS.0, ENDS.1))
    }

    fn decoder(sealed: bool) -> Decoder {
        Decoder::new(sealed.then(|| Opener::new(ENDS.0, ENDS.1)))
    }

    /// The frames of these bodies, one after the other on a link.
    fn frames(sealed: bool, list: &[(Kind, Vec<u8>)]) -> Vec<Vec<u8>> {
        let mut sealer = sealer(sealed);
        let frame =
            |(kind, body): &(Kind, Vec<u8>)| Frame::of(body).close(*kind, sealer.as_mut()).to_vec();
        list.iter().map(frame).collect()
    }

    fn feed(decoder: &mut Decoder, mut bytes: &[u8], out: &mut Vec<(Kind, Vec<u8>)>) {
        while !bytes.is_empty() {
            let space = decoder.space();
            let taken = space.len().min(bytes.len());
            space[..taken].copy_from_slice(&bytes[..taken]);
            decoder.filled(taken);
            bytes = &bytes[taken..];
            while let Some((kind, place)) = decoder.next().unwrap() {
                out.push((kind, decoder.body(place).to_vec()));
            }
        }
    }

    fn sample() -> Vec<(Kind, Vec<u8>)> {
        vec![
            (Kind::Data, b"one".to_vec()),
            (Kind::Data, Vec::new()),
            (Kind::Heartbeat, Vec::new()),
            (Kind::Data, (0..=40).collect()),
            (Kind::Goodbye, Vec::new()),
        ]
    }

    #[test]
    fn a_long_frame_is_not_kept_and_a_shorter_one_is() {
        let mut frame = Frame::with_room(KEEP_BUFFER_BYTES / 2);
        let capacity = frame.bytes.capacity();
        frame.begin().extend_from_slice(b"short");
        assert_eq!(frame.body(), b"short");
        assert_eq!(frame.bytes.capacity(), capacity);
        let long = frame.begin();
        long.resize(long.len() + 2 * KEEP_BUFFER_BYTES, 1);
        frame.begin().extend_from_slice(b"next");
        assert_eq!(frame.body(), b"next");
        assert!(frame.bytes.capacity() < capacity);
        frame.go_on().extend_from_slice(b" word");
        let whole = frame.close(Kind::Data, None);
        assert_eq!(whole, b"\x09\0\0\0\0next word");
    }

    #[test]
    fn frames_survive_every_cut_into_three_pieces() {
        for sealed in [true, false] {
            let whole = frames(sealed, &sample()).concat();
            for first in 0..=whole.len() {
                for second in first..=whole.len() {
                    let (mut decoder, mut out) = (decoder(sealed), Vec::new());
                    feed(&mut decoder, &whole[..first], &mut out);
                    feed(&mut decoder, &whole[first..second], &mut out);
                    feed(&mut decoder, &whole[second..], &mut out);
                    assert_eq!(out, sample(), "cut at {first} and {second}");
                    assert!(!decoder.is_amid_frame());
                }
            }
        }
    }

    #[test]
    fn frames_survive_arriving_byte_by_byte() {
        let (mut decoder, mut out) = (decoder(true), Vec::new());
        for byte in frames(true, &sample()).concat() {
            feed(&mut decoder, &[byte], &mut out);
        }
        assert_eq!(out, sample());
    }

    #[test]
    fn frames_of_random_lengths_survive_random_pieces_across_the_end_of_the_buffer() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % below as u64) as usize
        };
        let sent: Vec<(Kind, Vec<u8>)> = (0..200)
            .map(|i| {
                let body = vec![i as u8; random([10, 5_000, 400_000][i % 3])];
                (Kind::Data, body)
            })
            .collect();
        let whole = frames(true, &sent).concat();
        let (mut decoder, mut out, mut rest) = (decoder(true), Vec::new(), &whole[..]);
        while !rest.is_empty() {
            let piece = (random(70_000) + 1).min(rest.len());
            feed(&mut decoder, &rest[..piece], &mut out);
            rest = &rest[piece..];
        }
        assert_eq!(out.len(), sent.len());
        for (index, (got, sent)) in out.iter().zip(&sent).enumerate() {
            assert!(got == sent, "frame {index} differs");
        }
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let mut decoder = decoder(true);
        let claim = (MAX_BODY_BYTES as u32).to_le_bytes();
        decoder.space()[..START_BYTES]
            .copy_from_slice(&[claim[0], claim[1], claim[2], claim[3], 0]);
        decoder.filled(START_BYTES);
        assert_eq!(decoder.next(), Ok(None));
        let _ = decoder.space();
        assert_eq!(decoder.buffer.len(), READ_BUFFER_BYTES);
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused() {
        let mut decoder = decoder(true);
        let claimed = MAX_BODY_BYTES as u32 + 1;
        decoder.space()[..4].copy_from_slice(&claimed.to_le_bytes());
        decoder.space()[4] = 0;
        decoder.filled(START_BYTES);
        assert_eq!(decoder.next(), Err(FrameError::TooLong { claimed }));
        assert_eq!(decoder.buffer.len(), READ_BUFFER_BYTES);
    }

    #[test]
    fn unknown_kinds_and_heartbeats_with_a_body_are_refused() {
        for (bytes, error) in [
            ([1, 0, 0, 0, 9], FrameError::UnknownKind(9)),
            (
                [1, 0, 0, 0, 1],
                FrameError::UnexpectedBody {
                    kind: Kind::Heartbeat,
                    claimed: 1,
                },
            ),
        ] {
            let mut decoder = decoder(true);
            decoder.space()[..START_BYTES].copy_from_slice(&bytes);
            decoder.filled(START_BYTES);
            assert_eq!(decoder.next(), Err(error));
        }
    }

    #[test]
    fn a_long_frame_gives_its_buffer_back() {
        let (mut decoder, mut out) = (decoder(true), Vec::new());
        let long = (Kind::Data, vec![7; 3 * KEEP_BUFFER_BYTES]);
        feed(&mut decoder, &frames(true, &[long]).concat(), &mut out);
        assert_eq!(out[0].1.len(), 3 * KEEP_BUFFER_BYTES);
        let _ = decoder.space();
        assert_eq!(decoder.buffer.len(), READ_BUFFER_BYTES);
    }

    /// What a decoder says of these frames.
    fn verdict(frames: &[Vec<u8>]) -> Result<usize, FrameError> {
        let (mut decoder, bytes) = (decoder(true), frames.concat());
        decoder.space()[..bytes.len()].copy_from_slice(&bytes);
        decoder.filled(bytes.len());
        let mut count = 0;
        while decoder.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn a_frame_that_is_lost_repeated_or_overtaken_is_found() {
        let sent = frames(true, &sample());
        assert_eq!(verdict(&sent), Ok(5));
        for lost in 0..4 {
            let mut came = sent.clone();
            came.remove(lost);
            let missing = Breach::Missing {
                expected: lost as u64,
                came: lost as u64 + 1,
            };
            assert_eq!(verdict(&came), Err(missing.into()));
            let mut came = sent.clone();
            came.swap(lost, lost + 1);
            assert_eq!(verdict(&came), Err(missing.into()));
            let mut came = sent.clone();
            came.insert(lost, sent[lost].clone());
            let repeated = Breach::Repeated {
                expected: lost as u64 + 1,
                came: lost as u64,
            };
            assert_eq!(verdict(&came), Err(repeated.into()));
        }
    }

    #[test]
    fn a_lost_last_message_is_found_at_the_next_heartbeat() {
        let list = [
            (Kind::Data, b"last".to_vec()),
            (Kind::Heartbeat, Vec::new()),
        ];
        let missing = Breach::Missing {
            expected: 0,
            came: 1,
        };
        assert_eq!(verdict(&frames(true, &list)[1..]), Err(missing.into()));
    }

    #[test]
    fn every_changed_bit_is_found_or_makes_the_frame_wait_for_more() {
        let sent = frames(true, &sample()).concat();
        for bit in 0..sent.len() * 8 {
            let mut came = sent.clone();
            came[bit / 8] ^= 1 << (bit % 8);
            // A length that grew swallows what follows and waits; then fewer frames come, and the link falls silent.
            let verdict = verdict(&[came]);
            assert!(!matches!(verdict, Ok(5..)), "bit {bit}: {verdict:?}");
        }
    }
}
