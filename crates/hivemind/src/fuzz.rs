//! The library's fuzz targets for what is private: frames and the environment; those of the start are in `join/fuzz.rs`. There only in tests and in fuzzing
//! builds. How targets are driven, and those for what is public, is in the package `hivemind-fuzz`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use hivemind_protocol::{DroneId, Opener, PAGE_SIZE, Sealer};

use crate::launch::{Root, read_all};
use crate::net::frame::{Decoder, Frame, FrameError, Kind};
use crate::settings::MAX_DRONES;

/// The targets, each with its name, which is its folder of seeds in `fuzz/corpus` too.
///
/// ```
/// for (name, body) in hivemind::fuzz::TARGETS {
///     println!("{name}");
///     body(b"any bytes");
/// }
/// ```
pub const TARGETS: &[Target] = &[
    ("environment", environment),
    ("frame", frame),
    ("handshake", crate::join::fuzz::handshake),
    ("letter", crate::join::fuzz::letter),
    ("record", crate::join::fuzz::record),
];

type Target = (&'static str, fn(&[u8]));

/// The two ends of the link.
const ENDS: (DroneId, DroneId) = (DroneId(0), DroneId(1));

/// Room that a decoder may have, whatever comes: its first buffer, and for each byte that came two.
const ROOM_BYTES: usize = 256 << 10;

/// Lines like `NAME=value`.
fn environment(input: &[u8]) {
    let variables: Vec<(&[u8], &[u8])> = input
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let at = line.iter().position(|byte| *byte == b'=')?;
            Some((&line[..at], &line[at + 1..]))
        })
        .collect();
    let lookup = |name: &str| {
        let found = variables
            .iter()
            .find(|(known, _)| *known == name.as_bytes());
        found.map(|(_, value)| OsStr::from_bytes(value).to_owned())
    };
    match read_all(&lookup) {
        Ok((seat, options)) => {
            assert!(seat.rank < seat.size && seat.size <= MAX_DRONES);
            assert!(options.region_bytes >= PAGE_SIZE as u64);
            assert!(options.local_drones != Some(0) && options.threads != Some(0));
            match &seat.root {
                Root::Addresses(places) => assert!(!places.is_empty() && seat.size > 1),
                Root::File(_) => assert!(seat.size > 1),
                Root::Alone => assert_eq!(seat.size, 1),
            }
            for time in [
                options.start_timeout,
                options.silence_limit,
                options.wait_limit,
            ] {
                assert!(!time.is_zero());
            }
        }
        Err(error) => {
            let error = error.to_string();
            let names_a_variable = variables.iter().any(|(name, _)| {
                !name.is_empty() && error.contains(&*String::from_utf8_lossy(name))
            });
            assert!(names_a_variable || error.contains("HIVEMIND_"), "{error}");
        }
    }
}

/// The first byte says whether any bytes come, or right frames to which something happens on the way.
fn frame(input: &[u8]) {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    match mode % 2 {
        0 => any_bytes(rest),
        _ => breached(rest),
    }
}

type Content = (Kind, Vec<u8>);

/// Gives a decoder the bytes in pieces of these lengths, over and over.
fn decode(
    opener: Option<Opener>,
    mut bytes: &[u8],
    pieces: &[usize],
) -> (Vec<Content>, Option<FrameError>, bool) {
    let (came, mut frames) = (bytes.len(), Vec::new());
    let mut decoder = Decoder::new(opener);
    let mut lengths = pieces.iter().cycle();
    while !bytes.is_empty() {
        let piece = lengths.next().map_or(bytes.len(), |length| *length);
        let space = decoder.space();
        assert!(!space.is_empty() && space.len() <= ROOM_BYTES + 2 * came);
        let count = piece.clamp(1, space.len()).min(bytes.len());
        let (now, later) = bytes.split_at(count);
        space[..count].copy_from_slice(now);
        decoder.filled(count);
        bytes = later;
        loop {
            match decoder.next() {
                Ok(Some((kind, place))) => frames.push((kind, decoder.body(place).to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Some(error), true),
            }
        }
    }
    (frames, None, decoder.is_amid_frame())
}

/// Without envelopes any body is right: what comes out depends on the bytes alone, and is what they say.
fn any_bytes(bytes: &[u8]) {
    let whole = decode(None, bytes, &[]);
    for pieces in [&[1][..], &[3, 1, 7], &[5]] {
        assert_eq!(
            decode(None, bytes, pieces),
            whole,
            "in pieces of {pieces:?}"
        );
    }
    let (frames, _, amid) = whole;
    let again = on_the_wire(&frames, None).concat();
    assert!(bytes.starts_with(&again));
    assert_eq!(amid, again.len() < bytes.len(), "something was swallowed");
}

fn on_the_wire(frames: &[Content], mut sealer: Option<Sealer>) -> Vec<Vec<u8>> {
    let frame = |(kind, body): &Content| Frame::of(body).close(*kind, sealer.as_mut()).to_vec();
    frames.iter().map(frame).collect()
}

/// With envelopes: frames are dropped, repeated, swapped or changed in a byte, and what comes out is what was
/// sent, up to the first of them that is wrong.
fn breached(input: &[u8]) {
    let sent: Vec<Content> = input
        .chunks(5)
        .map(|chunk| match chunk[0] % 8 {
            0 => (Kind::Heartbeat, Vec::new()),
            _ => (Kind::Data, chunk[1..].to_vec()),
        })
        .collect();
    let mut wire = on_the_wire(&sent, Some(Sealer::new(ENDS.0, ENDS.1)));
    let mut broken_from = wire.len();
    for chunk in input.chunks_exact(5).filter(|chunk| chunk[0] > 127) {
        let at = usize::from(chunk[1]) % wire.len();
        let intact = wire.clone();
        match chunk[2] % 4 {
            0 if wire.len() > 1 => drop(wire.remove(at)),
            1 => wire.insert(at, wire[at].clone()),
            2 => wire.swap(at, usize::from(chunk[3]) % intact.len()),
            _ => {
                let place = usize::from(chunk[3]) % wire[at].len();
                wire[at][place] ^= chunk[4];
            }
        }
        let same = wire
            .iter()
            .zip(&intact)
            .take_while(|(now, then)| now == then);
        broken_from = broken_from.min(same.count());
    }
    let opener = Some(Opener::new(ENDS.0, ENDS.1));
    let (came, error, _) = decode(opener, &wire.concat(), &[64, 1]);
    assert!(sent.starts_with(&came), "believed what was not sent");
    let expected = broken_from.min(sent.len());
    assert!(came.len() >= expected, "lost what was right");
    assert!(error.is_some() || came.len() <= wire.len());
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn every_file_of_the_corpus_passes() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        for (target, body) in super::TARGETS {
            let mut files = 0;
            for file in fs::read_dir(corpus.join(target)).expect("a folder of seeds") {
                let path = file.expect("an entry").path();
                // Shown when it fails.
                println!("{}", path.display());
                body(&fs::read(path).expect("it was listed"));
                files += 1;
            }
            assert!(files > 0, "no seeds for {target}");
        }
    }
}
