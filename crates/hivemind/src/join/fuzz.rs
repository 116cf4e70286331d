//! Fuzz targets of the start: openings of strangers, letters, and sealed records on a path that somebody sits on. There
//! only in tests and in fuzzing builds; the table of targets is in `crate::fuzz`.

use hivemind_protocol::Membership;

use super::handshake::{Calling, Door, MESSAGE_BYTES, Purpose, Session};
use super::key::Key;
use super::letter::{Letter, MAX_HELLO_BYTES};
use crate::net::{LENGTH_BYTES, MAX_PLAIN_BYTES};

/// How long what precedes a letter's text is.
const PREFIX_BYTES: usize = 17;

/// Who has not the key opens no session, whatever it sends.
pub(crate) fn handshake(input: &[u8]) {
    let mut opening = [0; MESSAGE_BYTES];
    let given = input.len().min(MESSAGE_BYTES);
    opening[..given].copy_from_slice(&input[..given]);
    let answered = Door::new(Key::of([7; 32]), Purpose::Join).answer(&opening);
    assert!(answered.is_err(), "a stranger got in");
    let (calling, _) = Calling::begin(&Key::of([7; 32]), Purpose::Join);
    assert!(calling.end(&opening).is_err(), "a stranger was believed");
}

/// The first byte says whether the bytes are a whole letter, or the text of one whose prefix is right.
pub(crate) fn letter(input: &[u8]) {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    let whole = match mode % 2 {
        0 => rest.to_vec(),
        _ => with_prefix(rest),
    };
    let Ok(letter) = Letter::read(&whole, MAX_HELLO_BYTES) else {
        return;
    };
    // What was understood says the same when it is written again; a refusal is only for people.
    if !matches!(letter, Letter::Refusal(_)) {
        let again = Letter::read(&letter.encode(), MAX_HELLO_BYTES * 8);
        assert_eq!(again.expect("it was read before"), letter);
    }
    if let Letter::Hello(hello) = letter {
        let mut members = Membership::new(4, "job", &[], u32::MAX);
        let rank = hello.rank;
        if let Ok(drone) = members.consider(&hello.newcomer()) {
            assert!(
                drone.0 == rank && (1..4).contains(&rank),
                "{drone} was let in"
            );
        }
    }
}

fn with_prefix(text: &[u8]) -> Vec<u8> {
    let mut whole = Letter::Ready.encode();
    whole.truncate(PREFIX_BYTES - 4);
    whole.extend_from_slice(&(text.len() as u32).to_le_bytes());
    whole.extend_from_slice(text);
    whole
}

/// Records are changed, dropped, repeated and swapped, and what opens is what was sealed, up to the first that is wrong.
pub(crate) fn record(input: &[u8]) {
    let (mut near, mut far) = sessions();
    let sealed: Vec<(Vec<u8>, Vec<u8>)> = input
        .chunks(5)
        // Nobody seals nothing, and a record that holds nothing is refused.
        .filter(|chunk| chunk.len() > 1)
        .map(|chunk| {
            let plain = chunk[1..].repeat(1 + usize::from(chunk[0] % 4));
            let mut record = Vec::new();
            near.sealer
                .seal(&plain[..plain.len().min(MAX_PLAIN_BYTES)], &mut record);
            (plain, record)
        })
        .collect();
    let mut wire: Vec<Vec<u8>> = sealed.iter().map(|(_, record)| record.clone()).collect();
    for chunk in input.chunks_exact(5).filter(|chunk| chunk[0] > 127) {
        let at = usize::from(chunk[1]) % wire.len();
        match chunk[2] % 4 {
            0 if wire.len() > 1 => drop(wire.remove(at)),
            1 => wire.insert(at, wire[at].clone()),
            2 => {
                let other = usize::from(chunk[3]) % wire.len();
                wire.swap(at, other);
            }
            _ => {
                let place = usize::from(chunk[3]) % wire[at].len();
                wire[at][place] ^= chunk[4];
            }
        }
    }
    for (place, record) in wire.iter().enumerate() {
        let mut plain = vec![0; record.len()];
        match far.opener.open(&record[LENGTH_BYTES..], &mut plain) {
            Ok(length) => assert_eq!(
                Some(&plain[..length]),
                sealed.get(place).map(|(plain, _)| &plain[..]),
                "believed what was not sealed there"
            ),
            Err(_) => {
                // The length is no part of what is sealed; all else is.
                let intact = sealed
                    .get(place)
                    .is_some_and(|(_, sealed)| sealed == record);
                assert!(!intact, "lost what was right");
                return;
            }
        }
    }
}

fn sessions() -> (Session, Session) {
    let key = Key::of([7; 32]);
    let (calling, opening) = Calling::begin(&key, Purpose::Pair);
    let Ok((answer, far)) = Door::new(key, Purpose::Pair).answer(&opening) else {
        panic!("the caller knows the key");
    };
    let Ok(near) = calling.end(&answer) else {
        panic!("the called one knows the key");
    };
    (near, far)
}
