//! The envelope around what travels on a link: a running number and a checksum. With it a link that drops,
//! repeats, reorders, changes or misdelivers what it carries is found out at the next thing that comes, instead of
//! being believed.
//!
//! Pure: the driver puts envelopes into its frames, the simulator into its parcels. It guards against accidents (a
//! broken machine, a mistake in a transport), not against somebody who can compute a checksum: that is what
//! encrypted links are for, and they need no envelope. What a well-delivered message may say is checked in each
//! protocol.

use crate::DroneId;
use crc32fast::Hasher;
use thiserror::Error;

/// What travels in front of a body.
///
/// ```
/// use hivemind_protocol::{DroneId, Sealer};
/// let (from, to) = (DroneId(0), DroneId(1));
/// let mut sealer = Sealer::new(from, to);
/// assert_eq!(sealer.seal(0, b"one").number, 0);
/// assert_eq!(sealer.seal(0, b"two").number, 1);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Envelope {
    /// How many bodies went over the link in this direction before, modulo 2³²; the checksum covers all 64 bits.
    pub number: u32,
    /// CRC-32 of the link's two ends, the number, the kind and the body.
    pub check: u32,
}

/// How a link broke its promise to carry everything once, whole and in order.
///
/// ```
/// use hivemind_protocol::Breach;
/// let lost = Breach::Missing { expected: 1, came: 2 };
/// assert!(lost.to_string().contains("something was lost"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Breach {
    /// Something that was sent before this never came.
    #[error("number {came} came where number {expected} was due: something was lost on the way")]
    Missing {
        /// The number that was due.
        expected: u64,
        /// The number that came.
        came: u64,
    },
    /// This came before, or was overtaken by something that was sent later.
    #[error(
        "number {came} came where number {expected} was due: it came twice, or was overtaken on the way"
    )]
    Repeated {
        /// The number that was due.
        expected: u64,
        /// The number that came.
        came: u64,
    },
    /// These are not the bytes that were sent, or they were sent to another drone.
    #[error(
        "the checksum of number {number} is wrong: it was changed on the way, or meant for another drone"
    )]
    Damaged {
        /// Its number, as far as that can be believed.
        number: u64,
    },
}

/// The sending end of one direction of a link.
///
/// ```
/// use hivemind_protocol::{DroneId, Opener, Sealer};
/// let (from, to) = (DroneId(0), DroneId(1));
/// let mut sealer = Sealer::new(from, to);
/// let envelope = sealer.seal(0, b"honey");
/// assert!(Opener::new(from, to).open(envelope, 0, b"honey").is_ok());
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Sealer {
    link: Link,
    next: u64,
}

/// The receiving end of one direction of a link.
///
/// ```
/// use hivemind_protocol::{Breach, DroneId, Opener, Sealer};
/// let (from, to) = (DroneId(0), DroneId(1));
/// let (mut sealer, mut opener) = (Sealer::new(from, to), Opener::new(from, to));
/// let one = sealer.seal(0, b"one");
/// assert_eq!(opener.open(one, 0, b"one"), Ok(()));
/// let lost = sealer.seal(0, b"two");
/// let three = sealer.seal(0, b"three");
/// assert_eq!(opener.open(three, 0, b"three"), Err(Breach::Missing { expected: 1, came: 2 }));
/// # let _ = lost;
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Opener {
    link: Link,
    next: u64,
}

/// Who sends to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
struct Link {
    from: DroneId,
    to: DroneId,
}

impl Envelope {
    /// Its size on the wire.
    ///
    /// ```
    /// use hivemind_protocol::Envelope;
    /// assert_eq!(Envelope::BYTES, Envelope { number: 1, check: 2 }.to_bytes().len());
    /// ```
    pub const BYTES: usize = 8;

    /// The wire form.
    ///
    /// ```
    /// use hivemind_protocol::{DroneId, Envelope, Sealer};
    /// let (from, to) = (DroneId(0), DroneId(1));
    /// let mut sealer = Sealer::new(from, to);
    /// let envelope = sealer.seal(0, b"honey");
    /// assert_eq!(Envelope::from_bytes(envelope.to_bytes()), envelope);
    /// ```
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let (number, check) = (self.number.to_le_bytes(), self.check.to_le_bytes());
        [
            number[0], number[1], number[2], number[3], check[0], check[1], check[2], check[3],
        ]
    }

    /// Reads the wire form.
    ///
    /// ```
    /// use hivemind_protocol::Envelope;
    /// let envelope = Envelope::from_bytes([1, 0, 0, 0, 2, 0, 0, 0]);
    /// assert_eq!((envelope.number, envelope.check), (1, 2));
    /// ```
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [n0, n1, n2, n3, c0, c1, c2, c3] = bytes;
        Self {
            number: u32::from_le_bytes([n0, n1, n2, n3]),
            check: u32::from_le_bytes([c0, c1, c2, c3]),
        }
    }
}

impl Sealer {
    /// The sending end, before anything was sent.
    ///
    /// ```
    /// use hivemind_protocol::{DroneId, Sealer};
    /// let (from, to) = (DroneId(0), DroneId(1));
    /// let mut sealer = Sealer::new(from, to);
    /// assert_eq!(sealer.seal(0, b"first").number, 0);
    /// ```
    pub fn new(from: DroneId, to: DroneId) -> Self {
        Self {
            link: Link { from, to },
            next: 0,
        }
    }

    /// The envelope of the next body. `kind` is whatever the transport tells apart (a message, a heartbeat); all
    /// kinds are counted together.
    ///
    /// ```
    /// use hivemind_protocol::{DroneId, Sealer};
    /// let (from, to) = (DroneId(0), DroneId(1));
    /// let mut sealer = Sealer::new(from, to);
    /// assert_ne!(sealer.seal(0, b"one").check, sealer.seal(0, b"one").check); // the number counts
    /// ```
    pub fn seal(&mut self, kind: u8, body: &[u8]) -> Envelope {
        let number = self.next;
        self.next += 1;
        Envelope {
            number: low(number),
            check: self.link.check(number, kind, body),
        }
    }
}

impl Opener {
    /// The receiving end, before anything came.
    ///
    /// ```
    /// use hivemind_protocol::{DroneId, Opener, Sealer};
    /// let (from, to) = (DroneId(0), DroneId(1));
    /// let mut sealer = Sealer::new(from, to);
    /// let mut opener = Opener::new(from, to);
    /// assert!(opener.open(sealer.seal(0, b"first"), 0, b"first").is_ok());
    /// ```
    pub fn new(from: DroneId, to: DroneId) -> Self {
        Self {
            link: Link { from, to },
            next: 0,
        }
    }

    /// Takes the next body.
    ///
    /// ```
    /// use hivemind_protocol::{Breach, DroneId, Opener, Sealer};
    /// let (from, to) = (DroneId(0), DroneId(1));
    /// let mut sealer = Sealer::new(from, to);
    /// let envelope = sealer.seal(0, b"honey");
    /// let mut opener = Opener::new(from, to);
    /// assert_eq!(opener.open(envelope, 0, b"money"), Err(Breach::Damaged { number: 0 }));
    /// ```
    ///
    /// # Errors
    /// [`Breach`]: what came is not what was sent next. The link cannot go on after it.
    pub fn open(&mut self, envelope: Envelope, kind: u8, body: &[u8]) -> Result<(), Breach> {
        let expected = self.next;
        let came = near(expected, envelope.number);
        let intact = envelope.check == self.link.check(came, kind, body);
        if !intact || low(came) != envelope.number {
            return Err(Breach::Damaged { number: came });
        }
        if came > expected {
            return Err(Breach::Missing { expected, came });
        }
        if came < expected {
            return Err(Breach::Repeated { expected, came });
        }
        self.next += 1;
        Ok(())
    }
}

impl Link {
    fn check(self, number: u64, kind: u8, body: &[u8]) -> u32 {
        let mut head = [0; 17];
        head[..4].copy_from_slice(&self.from.0.to_le_bytes());
        head[4..8].copy_from_slice(&self.to.0.to_le_bytes());
        head[8..16].copy_from_slice(&number.to_le_bytes());
        head[16] = kind;
        let mut hasher = Hasher::new();
        hasher.update(&head);
        hasher.update(body);
        hasher.finalize()
    }
}

/// The low half of a number.
fn low(number: u64) -> u32 {
    (number & u64::from(u32::MAX)) as u32
}

/// The number with this low half that lies nearest to `expected`; 0 where that would be below.
fn near(expected: u64, low_half: u32) -> u64 {
    let ahead = low_half.wrapping_sub(low(expected)).cast_signed();
    expected.saturating_add_signed(i64::from(ahead))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const ENDS: (DroneId, DroneId) = (DroneId(3), DroneId(70_000));

    fn ends() -> (Sealer, Opener) {
        (Sealer::new(ENDS.0, ENDS.1), Opener::new(ENDS.0, ENDS.1))
    }

    #[test]
    fn what_comes_as_it_was_sent_is_taken() {
        let (mut sealer, mut opener) = ends();
        for count in 0..100_u8 {
            let body = vec![count; usize::from(count)];
            let envelope = sealer.seal(count % 3, &body);
            let read = Envelope::from_bytes(envelope.to_bytes());
            assert_eq!(opener.open(read, count % 3, &body), Ok(()));
        }
    }

    #[test]
    fn a_repeated_and_an_overtaken_body_are_found() {
        let (mut sealer, mut opener) = ends();
        let envelopes: Vec<Envelope> = (0..3).map(|_| sealer.seal(0, b"x")).collect();
        opener.open(envelopes[0], 0, b"x").unwrap();
        let repeated = Breach::Repeated {
            expected: 1,
            came: 0,
        };
        assert_eq!(opener.open(envelopes[0], 0, b"x"), Err(repeated));
        let missing = Breach::Missing {
            expected: 1,
            came: 2,
        };
        assert_eq!(opener.open(envelopes[2], 0, b"x"), Err(missing));
    }

    #[test]
    fn a_body_for_another_drone_is_found() {
        let mut sealer = Sealer::new(ENDS.0, DroneId(5));
        let envelope = sealer.seal(0, b"x");
        let damaged = Breach::Damaged { number: 0 };
        assert_eq!(ends().1.open(envelope, 0, b"x"), Err(damaged));
        let reflected = Sealer::new(ENDS.1, ENDS.0).seal(0, b"x");
        assert_eq!(ends().1.open(reflected, 0, b"x"), Err(damaged));
    }

    #[test]
    fn the_count_goes_on_beyond_32_bits() {
        let (mut sealer, mut opener) = ends();
        let last = u64::from(u32::MAX);
        (sealer.next, opener.next) = (last, last);
        for _ in 0..3 {
            let envelope = sealer.seal(0, b"x");
            assert_eq!(opener.open(envelope, 0, b"x"), Ok(()));
        }
        // Exactly 2³² bodies later the number looks the same; the checksum does not.
        let envelope = sealer.seal(0, b"x");
        opener.next += 1 << 32;
        let number = opener.next;
        assert_eq!(
            opener.open(envelope, 0, b"x"),
            Err(Breach::Damaged { number })
        );
    }

    proptest! {
        #[test]
        fn any_changed_bit_is_found(body in proptest::collection::vec(any::<u8>(), 0..200), at: usize) {
            let (mut sealer, mut opener) = ends();
            let mut sent = sealer.seal(1, &body).to_bytes().to_vec();
            sent.push(1);
            sent.extend_from_slice(&body);
            let at = at % (sent.len() * 8);
            sent[at / 8] ^= 1 << (at % 8);
            let envelope = Envelope::from_bytes(sent[..8].try_into().unwrap());
            prop_assert!(opener.open(envelope, sent[8], &sent[9..]).is_err());
        }
    }
}
