//! Records: how bytes are sealed for a path that others may sit on. Pure: no socket, no thread.
//!
//! A record is its length (`u16`, little-endian), then what was sealed and its tag: AES-256-GCM under the keys that the
//! handshake gave, one for each way (Noise Protocol Framework, revision 34, section 5.2). Records are counted by both
//! ends and the count is each one's nonce, so one that is changed, left out, repeated or moved does not open. A long
//! body spans many records; where it is cut says nothing.
//!
//! Deliberately elsewhere: the handshake (`join`), reading and writing (`sealed.rs`), and frames, which lie inside.

use std::sync::{Arc, PoisonError, RwLock};

use snow::StatelessTransportState;

/// Bytes of the length in front of each record.
pub(crate) const LENGTH_BYTES: usize = 2;

/// Bytes by which a record is longer than what it holds, its length apart.
pub(crate) const TAG_BYTES: usize = 16;

/// The longest record, its length apart.
pub(crate) const MAX_SEALED_BYTES: usize = u16::MAX as usize;

/// How much one record holds.
pub(crate) const MAX_PLAIN_BYTES: usize = MAX_SEALED_BYTES - TAG_BYTES;

/// After so many records each way has a new key. 2^20 of the longest are 64 GiB, 2^32 blocks of AES: far below what
/// makes two keys' worth of AES-GCM telling (RFC 8446, section 5.5, allows 2^24.5 records of 16 KiB, 2^34.5 blocks).
const RECORDS_PER_KEY: u64 = 1 << 20;

/// A record that does not open: it was changed, left out, repeated or moved on the way, or cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record was tampered with: changed, lost, repeated or out of its order")]
pub(crate) struct Tampered;

/// The keys of both ways.
struct Keys {
    /// Written to only for a new key, once in a million records.
    state: RwLock<StatelessTransportState>,
    records_per_key: u64,
}

/// Seals what goes out.
pub(crate) struct RecordSealer {
    keys: Arc<Keys>,
    count: u64,
}

/// Opens what comes in.
pub(crate) struct RecordOpener {
    keys: Arc<Keys>,
    count: u64,
}

/// Both halves of what a handshake agreed on.
pub(crate) fn records(state: StatelessTransportState) -> (RecordSealer, RecordOpener) {
    with_new_key_after(RECORDS_PER_KEY, state)
}

fn with_new_key_after(
    records_per_key: u64,
    state: StatelessTransportState,
) -> (RecordSealer, RecordOpener) {
    let state = RwLock::new(state);
    let keys = Arc::new(Keys {
        state,
        records_per_key,
    });
    let sealer = RecordSealer {
        keys: Arc::clone(&keys),
        count: 0,
    };
    (sealer, RecordOpener { keys, count: 0 })
}

impl RecordSealer {
    /// Puts a record that holds `plain` behind what is in `out`.
    ///
    /// # Panics
    ///
    /// When `plain` is longer than [`MAX_PLAIN_BYTES`].
    pub(crate) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        assert!(
            plain.len() <= MAX_PLAIN_BYTES,
            "a record for {} bytes",
            plain.len()
        );
        if self.keys.is_new_key_due(self.count) {
            let state = self.keys.state.write();
            state
                .unwrap_or_else(PoisonError::into_inner)
                .rekey_outgoing();
        }
        let sealed_bytes = plain.len() + TAG_BYTES;
        let start = out.len() + LENGTH_BYTES;
        out.extend_from_slice(&(sealed_bytes as u16).to_le_bytes());
        out.resize(start + sealed_bytes, 0);
        let state = self.keys.state.read();
        let written = state
            .unwrap_or_else(PoisonError::into_inner)
            .write_message(self.count, plain, &mut out[start..])
            .expect("a record has its room, and 2^64 of them do not come");
        assert_eq!(written, sealed_bytes);
        self.count += 1;
    }
}

impl RecordOpener {
    /// Opens a record, given without its length, into `plain`; says how many bytes it holds. Room for the whole
    /// `sealed` spares it an allocation.
    pub(crate) fn open(&mut self, sealed: &[u8], plain: &mut [u8]) -> Result<usize, Tampered> {
        // One that holds nothing is of no use to anybody but who wants us busy.
        if sealed.len() <= TAG_BYTES {
            return Err(Tampered);
        }
        if self.keys.is_new_key_due(self.count) {
            let state = self.keys.state.write();
            state
                .unwrap_or_else(PoisonError::into_inner)
                .rekey_incoming();
        }
        let state = self.keys.state.read();
        let opened = state
            .unwrap_or_else(PoisonError::into_inner)
            .read_message(self.count, sealed, plain)
            .map_err(|_| Tampered)?;
        self.count += 1;
        Ok(opened)
    }
}

impl Keys {
    fn is_new_key_due(&self, count: u64) -> bool {
        count > 0 && count.is_multiple_of(self.records_per_key)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Both ends of a handshake.
    fn states() -> [StatelessTransportState; 2] {
        let pattern = || "Noise_NNpsk0_25519_AESGCM_SHA256".parse().unwrap();
        let builder = || snow::Builder::new(pattern()).psk(0, &[7; 32]).unwrap();
        let mut near = builder().build_initiator().unwrap();
        let mut far = builder().build_responder().unwrap();
        let mut message = [0; 48];
        near.write_message(&[], &mut message).unwrap();
        far.read_message(&message, &mut []).unwrap();
        far.write_message(&[], &mut message).unwrap();
        near.read_message(&message, &mut []).unwrap();
        [near, far].map(|state| state.into_stateless_transport_mode().unwrap())
    }

    /// Both ends' halves.
    pub(in crate::net) fn two_ends() -> [(RecordSealer, RecordOpener); 2] {
        states().map(records)
    }

    fn open(opener: &mut RecordOpener, record: &[u8]) -> Result<Vec<u8>, Tampered> {
        let mut plain = vec![0; record.len()];
        let length = opener.open(&record[LENGTH_BYTES..], &mut plain)?;
        plain.truncate(length);
        Ok(plain)
    }

    fn seal(sealer: &mut RecordSealer, plain: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        sealer.seal(plain, &mut record);
        record
    }

    #[test]
    fn records_hold_what_was_put_in_both_ways() {
        let [(mut a_seals, mut a_opens), (mut b_seals, mut b_opens)] = two_ends();
        for length in [1, 2, 64, 4096, MAX_PLAIN_BYTES] {
            let plain = vec![length as u8; length];
            let record = seal(&mut a_seals, &plain);
            assert_eq!(record.len(), LENGTH_BYTES + length + TAG_BYTES);
            assert_eq!(
                u16::from_le_bytes([record[0], record[1]]) as usize,
                length + TAG_BYTES
            );
            assert_eq!(open(&mut b_opens, &record), Ok(plain.clone()));
            assert_eq!(
                open(&mut a_opens, &seal(&mut b_seals, &plain)),
                Ok(plain.clone())
            );
        }
    }

    #[test]
    fn the_same_bytes_never_look_the_same() {
        let [(mut sealer, _), _] = two_ends();
        assert_ne!(seal(&mut sealer, b"again"), seal(&mut sealer, b"again"));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let [(mut sealer, _), (_, mut opener)] = two_ends();
        let record = seal(&mut sealer, b"twenty bytes of data");
        for bit in 8 * LENGTH_BYTES..8 * record.len() {
            let mut changed = record.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&mut opener, &changed), Err(Tampered), "bit {bit}");
        }
        assert!(open(&mut opener, &record).is_ok());
    }

    #[test]
    fn records_repeated_left_out_moved_or_turned_back_do_not_open() {
        let [(mut sealer, mut own), (_, mut opener)] = two_ends();
        let [first, second, third] = [b"one", b"two", b"six"].map(|plain| seal(&mut sealer, plain));
        assert_eq!(open(&mut opener, &second), Err(Tampered), "moved");
        assert!(open(&mut opener, &first).is_ok());
        assert_eq!(open(&mut opener, &first), Err(Tampered), "repeated");
        assert_eq!(open(&mut opener, &third), Err(Tampered), "one left out");
        assert_eq!(open(&mut own, &second), Err(Tampered), "turned back");
        assert!(open(&mut opener, &second).is_ok());
    }

    #[test]
    fn records_that_hold_nothing_or_are_too_short_do_not_open() {
        let [(mut sealer, _), (_, mut opener)] = two_ends();
        let empty = seal(&mut sealer, b"");
        for length in 0..=empty.len() - LENGTH_BYTES {
            let sealed = &empty[LENGTH_BYTES..LENGTH_BYTES + length];
            assert_eq!(opener.open(sealed, &mut [0; 64]), Err(Tampered));
        }
    }

    #[test]
    fn keys_change_on_both_ends_at_the_same_record() {
        let [a, b] = states();
        let (mut sealer, _) = with_new_key_after(3, a);
        let (_, mut opener) = with_new_key_after(3, b);
        for number in 0..20_u8 {
            assert_eq!(
                open(&mut opener, &seal(&mut sealer, &[number])),
                Ok(vec![number])
            );
        }
        // Without the change the fourth does not open.
        let [a, b] = states();
        let (mut sealer, _) = with_new_key_after(3, a);
        let (_, mut opener) = with_new_key_after(100, b);
        for number in 0..4_u8 {
            let opened = open(&mut opener, &seal(&mut sealer, &[number]));
            assert_eq!(opened.is_ok(), number < 3, "record {number}");
        }
    }
}
