//! The way between two hosts, measured as drones would use it: one host opens a door at its address, another comes,
//! and both exchange short messages and then many bytes over a bare TCP connection.
//!
//! Who comes must know a word that travelled inside ssh; a door is open for one guest and a short time.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::hive_file::Ports;

/// How long a door is open, and how long any one step may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A guest that has not said the word by then is sent away: the next one may be the right one.
const INTRODUCTION: Duration = Duration::from_millis(500);
/// For so long many bytes are sent.
const SEND: Duration = Duration::from_millis(300);
/// Short messages that go to and fro.
const ROUND_TRIPS: usize = 200;
const SHORT_BYTES: usize = 64;
const PIECE_BYTES: usize = 256 << 10;

/// What the guest must say first: a fresh secret.
pub(crate) type Word = [u8; 32];

/// What was measured.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Way {
    /// The median time of a short message to and fro.
    pub(crate) round_trip_us: f64,
    pub(crate) bytes_per_second: f64,
}

/// Opens a door at this host for one guest that knows the word, for as long as [`PATIENCE`]; gives its place.
///
/// # Errors
/// Nothing can listen there.
pub(crate) fn open(address: IpAddr, ports: Option<Ports>, word: Word) -> io::Result<SocketAddr> {
    let (first, last) = ports.map_or((0, 0), |ports| (ports.first, ports.last));
    let mut refusal = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for port in first..=last {
        match TcpListener::bind((address, port)) {
            Ok(listener) => {
                let place = listener.local_addr()?;
                listener.set_nonblocking(true)?;
                let porter = std::thread::Builder::new().name("door".into());
                porter.spawn(move || receive(&listener, &word))?;
                return Ok(place);
            }
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

/// Waits for the guest; strangers are sent away.
fn receive(listener: &TcpListener, word: &Word) {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        match listener.accept() {
            Ok((guest, _)) => {
                if host(guest, word).is_ok() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(_) => return,
        }
    }
}

fn host(mut guest: TcpStream, word: &Word) -> io::Result<()> {
    prepare(&guest)?;
    let mut said: Word = [0; 32];
    guest.set_read_timeout(Some(INTRODUCTION))?;
    guest.read_exact(&mut said)?;
    guest.set_read_timeout(Some(PATIENCE))?;
    // All bytes are looked at, so that the time tells nothing of them.
    let differs = said
        .iter()
        .zip(word)
        .fold(0, |seen, (one, other)| seen | (one ^ other));
    if differs != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut short = [0; SHORT_BYTES];
    for _ in 0..ROUND_TRIPS {
        guest.read_exact(&mut short)?;
        guest.write_all(&short)?;
    }
    let mut piece = vec![0; PIECE_BYTES];
    let mut came: u64 = 0;
    loop {
        match guest.read(&mut piece)? {
            0 => break,
            length => came += length as u64,
        }
    }
    guest.write_all(&came.to_le_bytes())
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

/// Goes through a door and measures the way.
///
/// # Errors
/// It cannot be reached, or breaks.
pub(crate) fn visit(place: SocketAddr, word: &Word) -> io::Result<Way> {
    let mut stream = TcpStream::connect_timeout(&place, PATIENCE)?;
    prepare(&stream)?;
    stream.write_all(word)?;
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    let mut short = [0; SHORT_BYTES];
    for _ in 0..ROUND_TRIPS {
        let begin = Instant::now();
        stream.write_all(&short)?;
        stream.read_exact(&mut short)?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let piece = vec![0; PIECE_BYTES];
    let begin = Instant::now();
    while begin.elapsed() < SEND {
        stream.write_all(&piece)?;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut came = [0; 8];
    stream.read_exact(&mut came)?;
    let took = begin.elapsed();
    Ok(Way {
        round_trip_us: times[ROUND_TRIPS / 2].as_secs_f64() * 1e6,
        bytes_per_second: u64::from_le_bytes(came) as f64 / took.as_secs_f64(),
    })
}

/// Who visits whom, in turns in which each host has one part at most: every two meet once. Places are numbers below
/// `hosts`.
pub(crate) fn turns(hosts: usize) -> Vec<Vec<(usize, usize)>> {
    // One stays, all others go round (a tournament's circle); with an odd number one rests in each turn.
    let seats = hosts + hosts % 2;
    (0..seats.saturating_sub(1))
        .map(|turn| {
            let at = |seat: usize| match seat {
                0 => 0,
                seat => 1 + (seat - 1 + turn) % (seats - 1),
            };
            let pairs = (0..seats / 2).map(|seat| (at(seat), at(seats - 1 - seat)));
            let pairs = pairs.filter(|&(one, other)| one < hosts && other < hosts);
            pairs
                .map(|(one, other)| (one.min(other), one.max(other)))
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_two_hosts_meet_once_and_nobody_is_in_two_places() {
        for hosts in 0..12 {
            let mut met = BTreeSet::new();
            for turn in turns(hosts) {
                let mut busy = BTreeSet::new();
                for (one, other) in turn {
                    assert!(
                        one < other && busy.insert(one) && busy.insert(other),
                        "{hosts}"
                    );
                    assert!(met.insert((one, other)), "{hosts}");
                }
            }
            assert_eq!(met.len(), hosts * hosts.saturating_sub(1) / 2, "{hosts}");
        }
    }

    #[test]
    fn a_guest_that_knows_the_word_measures_the_way() {
        let word = [7; 32];
        let place = open([127, 0, 0, 1].into(), None, word).expect("a door");
        // Strangers first: one says nothing, one the wrong thing.
        let _silent = TcpStream::connect(place).expect("the door is open");
        visit(place, &[8; 32]).expect_err("it does not know the word");
        let way = visit(place, &word).expect("a way");
        assert!(
            way.round_trip_us > 0.0 && way.bytes_per_second > 1e6,
            "{way:?}"
        );
    }

    #[test]
    fn a_door_opens_within_its_ports() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let first = taken.local_addr().expect("an address").port();
        let ports = |last| Some(Ports { first, last });
        open([127, 0, 0, 1].into(), ports(first), [0; 32]).expect_err("it is taken");
        if let Ok(place) = open(
            [127, 0, 0, 1].into(),
            ports(first.saturating_add(20)),
            [0; 32],
        ) {
            assert!(place.port() > first);
        }
    }
}
