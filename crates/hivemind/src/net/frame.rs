//! Framing: how a stream of bytes is cut into frames, and nothing else. Pure: no socket, no thread.
//!
//! A frame is a header of five bytes, the body's length (`u32`, little-endian) and its kind (`u8`), and then the
//! body. A frame may arrive in any pieces and several may arrive at once; the [`Decoder`] puts them together again.
//! Deliberately elsewhere: reading and writing (`link.rs`), and what a body means (the protocol core).

use std::ops::Range;

/// Bytes in front of each body.
pub(crate) const HEADER_BYTES: usize = 5;

/// The longest body that a frame may have. A page reply, an interval list or a broadcast value stays far below it;
/// a header that claims more is garbage, and is refused before anything is allocated for it.
pub(crate) const MAX_BODY_BYTES: usize = 256 << 20;

/// What a decoder's buffer holds at first: some 60 pages, so that most bursts come with one read. It is mapped
/// lazily: a link that only ever carries short frames touches its first page alone.
const READ_BUFFER_BYTES: usize = 256 << 10;

/// A buffer that grew beyond this for one long frame is given back when that frame is done.
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
    /// A heartbeat or a goodbye that carries something.
    #[error("bad frame: a {kind:?} with a body of {claimed} bytes")]
    UnexpectedBody {
        /// Which of the two.
        kind: Kind,
        /// What the header says.
        claimed: u32,
    },
}

/// The header of a frame.
///
/// # Panics
///
/// When the body is longer than [`MAX_BODY_BYTES`]: the caller's own mistake, which no peer could read.
pub(crate) fn header(kind: Kind, body_bytes: usize) -> [u8; HEADER_BYTES] {
    assert!(
        body_bytes <= MAX_BODY_BYTES,
        "a frame of {body_bytes} bytes exceeds the bound of {MAX_BODY_BYTES}: split the message"
    );
    let length = (body_bytes as u32).to_le_bytes();
    let kind = match kind {
        Kind::Data => 0,
        Kind::Heartbeat => 1,
        Kind::Goodbye => 2,
    };
    [length[0], length[1], length[2], length[3], kind]
}

fn parse_header(bytes: [u8; HEADER_BYTES]) -> Result<(Kind, usize), FrameError> {
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
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
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
        let Some(&header) = self.buffer[self.start..self.end].first_chunk() else {
            return Ok(None);
        };
        let (kind, body_bytes) = parse_header(header)?;
        let body = self.start + HEADER_BYTES;
        if self.end - body < body_bytes {
            return Ok(None);
        }
        self.start = body + body_bytes;
        Ok(Some((kind, body..body + body_bytes)))
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
            .and_then(|&header| parse_header(header).ok())
            .map_or(HEADER_BYTES, |(_, body_bytes)| HEADER_BYTES + body_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: Kind, body: &[u8]) -> Vec<u8> {
        let mut bytes = header(kind, body.len()).to_vec();
        bytes.extend_from_slice(body);
        bytes
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
    fn frames_survive_every_cut_into_three_pieces() {
        let whole: Vec<u8> = sample()
            .iter()
            .flat_map(|(kind, body)| frame(*kind, body))
            .collect();
        for first in 0..=whole.len() {
            for second in first..=whole.len() {
                let (mut decoder, mut out) = (Decoder::new(), Vec::new());
                feed(&mut decoder, &whole[..first], &mut out);
                feed(&mut decoder, &whole[first..second], &mut out);
                feed(&mut decoder, &whole[second..], &mut out);
                assert_eq!(out, sample(), "cut at {first} and {second}");
                assert!(!decoder.is_amid_frame());
            }
        }
    }

    #[test]
    fn frames_survive_arriving_byte_by_byte() {
        let (mut decoder, mut out) = (Decoder::new(), Vec::new());
        for (kind, body) in sample() {
            for byte in frame(kind, &body) {
                feed(&mut decoder, &[byte], &mut out);
            }
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
        let bodies: Vec<Vec<u8>> = (0..200)
            .map(|i| vec![i as u8; random([10, 5_000, 400_000][i % 3])])
            .collect();
        let whole: Vec<u8> = bodies
            .iter()
            .flat_map(|body| frame(Kind::Data, body))
            .collect();
        let (mut decoder, mut out, mut rest) = (Decoder::new(), Vec::new(), &whole[..]);
        while !rest.is_empty() {
            let piece = (random(70_000) + 1).min(rest.len());
            feed(&mut decoder, &rest[..piece], &mut out);
            rest = &rest[piece..];
        }
        assert_eq!(out.len(), bodies.len());
        for (index, ((kind, got), sent)) in out.iter().zip(&bodies).enumerate() {
            assert!(*kind == Kind::Data && got == sent, "frame {index} differs");
        }
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let mut decoder = Decoder::new();
        let claim = header(Kind::Data, MAX_BODY_BYTES);
        decoder.space()[..HEADER_BYTES].copy_from_slice(&claim);
        decoder.filled(HEADER_BYTES);
        assert_eq!(decoder.next(), Ok(None));
        let _ = decoder.space();
        assert_eq!(decoder.buffer.len(), READ_BUFFER_BYTES);
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused() {
        let mut decoder = Decoder::new();
        let claimed = MAX_BODY_BYTES as u32 + 1;
        decoder.space()[..4].copy_from_slice(&claimed.to_le_bytes());
        decoder.space()[4] = 0;
        decoder.filled(HEADER_BYTES);
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
            let mut decoder = Decoder::new();
            decoder.space()[..HEADER_BYTES].copy_from_slice(&bytes);
            decoder.filled(HEADER_BYTES);
            assert_eq!(decoder.next(), Err(error));
        }
    }

    #[test]
    fn a_long_frame_gives_its_buffer_back() {
        let (mut decoder, mut out) = (Decoder::new(), Vec::new());
        feed(
            &mut decoder,
            &frame(Kind::Data, &vec![7; 3 * KEEP_BUFFER_BYTES]),
            &mut out,
        );
        assert_eq!(out[0].1.len(), 3 * KEEP_BUFFER_BYTES);
        let _ = decoder.space();
        assert_eq!(decoder.buffer.len(), READ_BUFFER_BYTES);
    }
}
