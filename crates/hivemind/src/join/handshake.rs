//! The handshake with which every connection opens: Noise `NNpsk0` with the job's key, one message each way.
//!
//! The caller sends an ephemeral key under the job's key; who does not know the job's key cannot make such a message,
//! and that costs the called one a few hashes and no curve arithmetic. The answer carries the called one's ephemeral
//! key, and what follows is sealed under keys that only the two have: a recorded opening leads nowhere, and who learns
//! the job's key later cannot read what was recorded (Noise Protocol Framework, revision 34, sections 7.4, 9).
//!
//! Nothing else is in the clear: no name, no version. What a connection is for is bound in the prologue; versions,
//! program and job are compared inside, in letters (`letter.rs`). Deliberately elsewhere: reading and writing
//! (`letter.rs`, `porch.rs`) and the records that follow (`net::record`).

use std::collections::HashSet;

use snow::{Builder, HandshakeState};

use super::key::Key;
use crate::net::{RecordOpener, RecordSealer, records};

const PATTERN: &str = "Noise_NNpsk0_25519_AESGCM_SHA256";

/// Either message: an ephemeral key of 32 bytes and the tag of an empty payload.
pub(crate) const MESSAGE_BYTES: usize = 48;

/// One message of the handshake.
pub(crate) type HandshakeMessage = [u8; MESSAGE_BYTES];

/// How many openings a door remembers: many times more than the largest hive sends.
const MAX_OPENINGS: usize = 1 << 20;

/// What a connection is for. One made for the one purpose is of no use for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A drone calls drone 0 to be let in.
    Join,
    /// A drone calls another one to be linked.
    Pair,
}

impl Purpose {
    /// The handshake's own version and the purpose. The protocol's version is no part of it: a peer that differs in
    /// that shall be told so by name.
    fn prologue(self) -> &'static [u8] {
        match self {
            Self::Join => b"HiveMind handshake 1: join",
            Self::Pair => b"HiveMind handshake 1: pair",
        }
    }
}

/// Both halves of a connection whose handshake is done.
pub(crate) struct Session {
    pub(crate) sealer: RecordSealer,
    pub(crate) opener: RecordOpener,
}

/// The other side does not know the job's key, or does not mean us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stranger;

/// A caller that waits for the answer.
pub(crate) struct Calling {
    state: Box<HandshakeState>,
}

impl Calling {
    /// Begins a handshake. Gives the opening to send.
    pub(crate) fn begin(key: &Key, purpose: Purpose) -> (Self, HandshakeMessage) {
        let mut state = builder(key, purpose)
            .build_initiator()
            .expect("pattern and key fit each other");
        let mut opening = [0; MESSAGE_BYTES];
        let length = state
            .write_message(&[], &mut opening)
            .expect("an opening has its room, and the system its random numbers");
        assert_eq!(length, MESSAGE_BYTES);
        let state = Box::new(state);
        (Self { state }, opening)
    }

    /// Ends it with the other side's answer.
    pub(crate) fn end(mut self, answer: &HandshakeMessage) -> Result<Session, Stranger> {
        let read = self.state.read_message(answer, &mut []);
        read.map_err(|_| Stranger)?;
        Ok(session(*self.state))
    }
}

/// Answers openings at one listener.
pub(crate) struct Door {
    key: Key,
    purpose: Purpose,
    /// Openings that were right. One that comes again was recorded by somebody.
    openings: HashSet<HandshakeMessage>,
}

impl Door {
    pub(crate) fn new(key: Key, purpose: Purpose) -> Self {
        Self {
            key,
            purpose,
            openings: HashSet::new(),
        }
    }

    /// The answer to an opening, and the session that it begins.
    pub(crate) fn answer(
        &mut self,
        opening: &HandshakeMessage,
    ) -> Result<(HandshakeMessage, Session), Stranger> {
        let mut state = builder(&self.key, self.purpose)
            .build_responder()
            .expect("pattern and key fit each other");
        state.read_message(opening, &mut []).map_err(|_| Stranger)?;
        if self.openings.len() >= MAX_OPENINGS || !self.openings.insert(*opening) {
            return Err(Stranger);
        }
        let mut answer = [0; MESSAGE_BYTES];
        // Refused when the caller's ephemeral key is no point to agree with.
        let written = state.write_message(&[], &mut answer);
        assert_eq!(written.map_err(|_| Stranger)?, MESSAGE_BYTES);
        Ok((answer, session(state)))
    }
}

fn builder(key: &Key, purpose: Purpose) -> Builder<'_> {
    let pattern = PATTERN.parse().expect("the pattern is a pattern of Noise");
    Builder::new(pattern)
        .psk(0, key.bytes())
        .and_then(|builder| builder.prologue(purpose.prologue()))
        .expect("key and prologue are given once")
}

fn session(state: HandshakeState) -> Session {
    let state = state
        .into_stateless_transport_mode()
        .expect("both messages are through");
    let (sealer, opener) = records(state);
    Session { sealer, opener }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::of([byte; 32])
    }

    fn both(caller: &Key, door: &mut Door) -> Result<(Session, Session), Stranger> {
        let (calling, opening) = Calling::begin(caller, Purpose::Join);
        let (answer, far) = door.answer(&opening)?;
        Ok((calling.end(&answer)?, far))
    }

    #[test]
    fn who_has_the_key_gets_a_session() {
        let mut door = Door::new(key(1), Purpose::Join);
        let (mut near, mut far) = both(&key(1), &mut door).unwrap();
        let mut record = Vec::new();
        near.sealer.seal(b"hello", &mut record);
        let mut plain = [0; 64];
        let length = far.opener.open(&record[2..], &mut plain).unwrap();
        assert_eq!(&plain[..length], b"hello");
    }

    #[test]
    fn another_key_opens_nothing() {
        let mut door = Door::new(key(1), Purpose::Join);
        assert_eq!(both(&key(2), &mut door).err(), Some(Stranger));
        let (calling, _) = Calling::begin(&key(1), Purpose::Join);
        let (_, opening) = Calling::begin(&key(2), Purpose::Join);
        let (answer, _) = Door::new(key(2), Purpose::Join).answer(&opening).unwrap();
        assert_eq!(calling.end(&answer).err(), Some(Stranger));
    }

    #[test]
    fn an_opening_for_another_purpose_opens_nothing() {
        let (_, opening) = Calling::begin(&key(1), Purpose::Pair);
        let mut door = Door::new(key(1), Purpose::Join);
        assert_eq!(door.answer(&opening).err(), Some(Stranger));
    }

    #[test]
    fn a_recorded_opening_opens_nothing_a_second_time() {
        let (_, opening) = Calling::begin(&key(1), Purpose::Join);
        let mut door = Door::new(key(1), Purpose::Join);
        assert!(door.answer(&opening).is_ok());
        assert_eq!(door.answer(&opening).err(), Some(Stranger));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let (_, opening) = Calling::begin(&key(1), Purpose::Join);
        let mut door = Door::new(key(1), Purpose::Join);
        for bit in 0..8 * MESSAGE_BYTES {
            let mut changed = opening;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(door.answer(&changed).err(), Some(Stranger), "bit {bit}");
        }
        assert!(door.answer(&opening).is_ok());
    }
}
