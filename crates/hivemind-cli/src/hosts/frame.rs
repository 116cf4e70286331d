//! Frames: how launcher and agent tell their words apart on a stream of bytes. Pure.
//!
//! A frame is a kind, a length (32 bits, little endian) and so many bytes. What a message says is in `message`;
//! what drones print and files travel as they are.

/// Bytes in front of a frame.
const HEAD_BYTES: usize = 5;
/// The most bytes of a frame that isn't a message.
pub(crate) const PIECE_BYTES_MAX: usize = 64 << 10;
/// The longest message to an agent: a job's description with all arguments that a system takes, as numbers.
pub(crate) const ORDER_BYTES_MAX: usize = 16 << 20;
/// The longest message from an agent.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 << 10;

const MESSAGE: u8 = 1;
const PRINTED: u8 = 2;
const INPUT: u8 = 3;
const PIECE: u8 = 4;

/// A frame.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Frame {
    /// A message, as JSON.
    Message(Vec<u8>),
    /// What a drone wrote to one of its streams.
    Printed {
        drone: u32,
        stream: usize,
        bytes: Vec<u8>,
    },
    /// For drone 0's standard input.
    Input(Vec<u8>),
    /// A part of a file.
    Piece(Vec<u8>),
}

impl Frame {
    /// Puts the frame behind `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let (kind, head, body): (u8, Vec<u8>, &[u8]) = match self {
            Self::Message(bytes) => (MESSAGE, Vec::new(), bytes),
            Self::Printed {
                drone,
                stream,
                bytes,
            } => {
                let mut head = drone.to_le_bytes().to_vec();
                head.push(*stream as u8);
                (PRINTED, head, bytes)
            }
            Self::Input(bytes) => (INPUT, Vec::new(), bytes),
            Self::Piece(bytes) => (PIECE, Vec::new(), bytes),
        };
        out.push(kind);
        out.extend_from_slice(&((head.len() + body.len()) as u32).to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(body);
    }
}

/// Finds frames in bytes that come in pieces of any size.
#[derive(Debug)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
    message_bytes_max: usize,
}

impl Decoder {
    /// A decoder for messages of at most so many bytes.
    pub(crate) fn new(message_bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            message_bytes_max,
        }
    }

    /// Takes bytes that came.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes a line without its end, before the first frame.
    ///
    /// # Errors
    /// So much came without an end that it is no line.
    pub(crate) fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        let Some(end) = self.bytes.iter().position(|&byte| byte == b'\n') else {
            return if self.bytes.len() > PIECE_BYTES_MAX {
                Err("it sends something without lines".into())
            } else {
                Ok(None)
            };
        };
        let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
        line.pop();
        Ok(Some(line))
    }

    /// Takes the next frame, when it is whole.
    ///
    /// # Errors
    /// What came is no frame, or a longer one than is allowed.
    pub(crate) fn frame(&mut self) -> Result<Option<Frame>, String> {
        let Some(head) = self.bytes.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let kind = head[0];
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let most = match kind {
            MESSAGE => self.message_bytes_max,
            PRINTED => PIECE_BYTES_MAX + 5,
            INPUT | PIECE => PIECE_BYTES_MAX,
            other => return Err(format!("it sends a frame of the unknown kind {other}")),
        };
        if length > most {
            return Err(format!(
                "it sends a frame of {length} bytes; {most} are allowed"
            ));
        }
        if self.bytes.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        let mut body: Vec<u8> = self.bytes.drain(..HEAD_BYTES + length).collect();
        body.drain(..HEAD_BYTES);
        Ok(Some(match kind {
            MESSAGE => Frame::Message(body),
            INPUT => Frame::Input(body),
            PIECE => Frame::Piece(body),
            _ => printed(body)?,
        }))
    }
}

fn printed(mut body: Vec<u8>) -> Result<Frame, String> {
    let Some(&[a, b, c, d, stream @ 0..=1]) = body.first_chunk::<5>() else {
        return Err("it sends output of no drone".into());
    };
    body.drain(..5);
    Ok(Frame::Printed {
        drone: u32::from_le_bytes([a, b, c, d]),
        stream: stream.into(),
        bytes: body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All frames of these bytes, given in pieces of such lengths over and over; and whether they end in nonsense.
    fn all(bytes: &[u8], pieces: &[usize]) -> (Vec<Frame>, bool) {
        let (mut decoder, mut frames, mut rest) = (Decoder::new(64), Vec::new(), bytes);
        let mut lengths = pieces.iter().cycle();
        while !rest.is_empty() {
            let length = lengths
                .next()
                .map_or(rest.len(), |length| *length)
                .clamp(1, rest.len());
            let (now, later) = rest.split_at(length);
            decoder.push(now);
            rest = later;
            loop {
                match decoder.frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(_) => return (frames, true),
                }
            }
        }
        (frames, false)
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_frames_that_they_hold(
            heads in proptest::collection::vec((0u8..6, 0u32..80), 0..6),
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            pieces in proptest::collection::vec(1usize..40, 1..4),
        ) {
            // Heads that are nearly right, so that something comes after them.
            let mut sent = Vec::new();
            let mut rest = &bytes[..];
            for (kind, length) in heads {
                sent.push(kind);
                sent.extend_from_slice(&length.to_le_bytes());
                let (body, after) = rest.split_at((length as usize).min(rest.len()));
                sent.extend_from_slice(body);
                rest = after;
            }
            let whole = all(&sent, &[]);
            let same = all(&sent, &pieces);
            let encoded = |frames: &[Frame]| {
                let mut out = Vec::new();
                frames.iter().for_each(|frame| frame.encode(&mut out));
                out
            };
            prop_assert_eq!(encoded(&whole.0), encoded(&same.0));
            prop_assert_eq!(whole.1, same.1);
            prop_assert!(sent.starts_with(&encoded(&whole.0)), "a frame is not what came");
        }
    }

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Message(b"{}".to_vec()),
            Frame::Printed {
                drone: 70_000,
                stream: 1,
                bytes: b"hello\n".to_vec(),
            },
            Frame::Input(Vec::new()),
            Frame::Piece(vec![7; PIECE_BYTES_MAX]),
        ]
    }

    #[test]
    fn frames_survive_any_pieces() {
        let mut bytes = Vec::new();
        for frame in frames() {
            frame.encode(&mut bytes);
        }
        for size in [1, 2, 5, 7, 4096, bytes.len()] {
            let mut decoder = Decoder::new(16);
            let mut seen = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                while let Some(frame) = decoder.frame().expect("they are right") {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, frames(), "in pieces of {size}");
        }
    }

    #[test]
    fn a_long_frame_is_refused_before_it_is_there() {
        for (kind, length) in [(MESSAGE, 17), (PIECE, PIECE_BYTES_MAX as u32 + 1), (99, 0)] {
            let mut decoder = Decoder::new(16);
            decoder.push(&[kind]);
            decoder.push(&length.to_le_bytes());
            assert!(decoder.frame().is_err(), "kind {kind}");
        }
        let mut decoder = Decoder::new(16);
        decoder.push(&[PRINTED, 5, 0, 0, 0, 1, 0, 0, 0, 2]);
        assert!(decoder.frame().is_err(), "a third stream");
    }

    #[test]
    fn lines_come_before_frames() {
        let mut decoder = Decoder::new(16);
        decoder.push(b"Welcome!\nhave");
        assert_eq!(decoder.line(), Ok(Some(b"Welcome!".to_vec())));
        assert_eq!(decoder.line(), Ok(None));
        decoder.push(b"\n");
        Frame::Message(b"x".to_vec()).encode(&mut decoder.bytes);
        assert_eq!(decoder.line(), Ok(Some(b"have".to_vec())));
        assert_eq!(decoder.frame(), Ok(Some(Frame::Message(b"x".to_vec()))));
        decoder.push(&vec![b'x'; PIECE_BYTES_MAX + 1]);
        assert!(decoder.line().is_err());
    }
}
