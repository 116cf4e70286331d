//! Shared memory as a carrier of links, between two drones of one machine: two byte rings for what is sent, and the
//! connection of the start for bells.
//!
//! While the receiver looks by itself, sending takes no system call and receiving takes none. Who is about to sleep asks
//! for the bell ([`ByteStream::rest`]), and then the next byte sent comes with one on the connection; so does the first
//! room after a full ring. The connection's end is the peer's end, whatever ended it.
//!
//! Deliberately elsewhere: the rings themselves and what protects them from the other process (`hivemind_memory`,
//! `shared_ring`), how two drones come to have one (`join`), and when anybody sleeps (`mod.rs`).

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::BorrowedFd;

use hivemind_memory::shared_ring::{Nonsense, Pair, RingReceiver, RingSender};

use super::stream::{ByteStream, Wakes};
use super::tcp::Tcp;
use crate::primitive::{AtomicBool, Mutex, Ordering, lock};

/// How many bells one look takes. A peer rings once a rest, so two are more than there ever are.
const BELLS: usize = 64;

/// A pair of rings with one peer.
pub(crate) struct Ring {
    bell: Tcp,
    sending: Mutex<RingSender>,
    receiving: Mutex<Receiving>,
    /// Whether the peer is gone, for a look without the lock.
    ended: AtomicBool,
}

struct Receiving {
    ring: RingReceiver,
    gone: Option<Gone>,
}

/// The connection has ended.
struct Gone {
    /// What the ring held then and has not been taken. More is not taken: a peer that is gone stores nothing.
    left_bytes: usize,
    /// In order, or what the system said.
    how: Option<ErrorKind>,
}

impl Ring {
    /// Takes over both rings, and a connection on which nothing is under way.
    pub(crate) fn new(bell: Tcp, rings: Pair) -> Self {
        Self {
            bell,
            sending: Mutex::new(rings.sender),
            receiving: Mutex::new(Receiving {
                ring: rings.receiver,
                gone: None,
            }),
            ended: AtomicBool::new(false),
        }
    }

    fn give_bell(&self) -> io::Result<()> {
        match self.bell.send(&[IoSlice::new(&[1])]) {
            // Then bells enough lie there.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            rung => rung.map(drop),
        }
    }
}

impl ByteStream for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let sent = self.send_quietly(parts);
        if lock(&self.sending).needs_bell() {
            self.give_bell()?;
        }
        sent
    }

    fn ring_bell(&self, wakes: Wakes) {
        let mut ring = lock(&self.sending);
        let needed = match wakes {
            Wakes::Anyone => ring.needs_bell(),
            Wakes::Awaited => ring.is_awaited(),
        };
        drop(ring);
        if needed {
            // Fails only where the peer is gone, of which the next bell's answer tells.
            let _ = self.give_bell();
        }
    }

    fn say_that_it_waits(&self, others: bool) {
        if lock(&self.sending).says_that_it_waits(others) {
            // As in `ring_bell`.
            let _ = self.give_bell();
        }
    }

    fn wait_no_more(&self) {
        lock(&self.sending).waits_no_more();
    }

    fn peer_waits(&self) -> bool {
        lock(&self.receiving).ring.other_waits()
    }

    fn send_quietly(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.ended.load(Ordering::Acquire) {
            // The ring would take it, and nobody out of it.
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut ring = lock(&self.sending);
        let (mut sent, mut full) = (0, false);
        for part in parts {
            let mut rest = &part[..];
            while !rest.is_empty() && !full {
                let taken = ring.put(rest).map_err(nonsense)?;
                sent += taken;
                rest = &rest[taken..];
                // Asked for at once, and not by the next call: whoever queues the rest waits for the bell.
                full = !rest.is_empty() && ring.rest().map_err(nonsense)?;
            }
        }
        match sent {
            0 if full => Err(ErrorKind::WouldBlock.into()),
            sent => Ok(sent),
        }
    }

    fn receive(&self, space: &mut [u8]) -> io::Result<usize> {
        let mut receiving = lock(&self.receiving);
        let Receiving { ring, gone } = &mut *receiving;
        let most = match gone {
            Some(gone) => space.len().min(gone.left_bytes),
            None => space.len(),
        };
        let (taken, needs_bell) = ring.receive(&mut space[..most]).map_err(nonsense)?;
        if let Some(gone) = gone {
            gone.left_bytes -= taken;
            return match gone.how {
                Some(how) if taken == 0 => Err(how.into()),
                _ => Ok(taken),
            };
        }
        if needs_bell {
            // Fails only where the peer is gone, of which the next bell's answer tells.
            let _ = self.give_bell();
        }
        if taken == 0 && !ring.is_over().map_err(nonsense)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    fn holds_input(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn finish_sending(&self) -> io::Result<()> {
        // The connection stays open both ways: bells for room may be needed yet.
        if lock(&self.sending).end() {
            self.give_bell()?;
        }
        Ok(())
    }

    fn abort(&self) {
        self.bell.abort();
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn answer_bell(&self) {
        let mut receiving = lock(&self.receiving);
        let Receiving { ring, gone } = &mut *receiving;
        if gone.is_some() {
            return;
        }
        let how = loop {
            match self.bell.receive(&mut [0; BELLS]) {
                Ok(0) => break None,
                Ok(_) => return,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Some(error.kind()),
            }
        };
        // What it had sent before is there, for its end came after.
        let left_bytes = ring.waiting().unwrap_or(0);
        *gone = Some(Gone { left_bytes, how });
        self.ended.store(true, Ordering::Release);
    }

    fn rings_yet(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }

    fn rest(&self, awaited: bool) -> bool {
        // Nonsense is found by the receive that follows where there is something to take.
        lock(&self.receiving).ring.rest(awaited).unwrap_or(false)
    }

    fn look_by_itself(&self) {
        lock(&self.receiving).ring.look_by_itself();
    }
}

fn nonsense(what: Nonsense) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::net::conformance::streams::sockets;
    use crate::net::{Closed, Incoming, Links, LinksConfig};
    use hivemind_memory::shared_ring;
    use hivemind_protocol::DroneId;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    const BYTES: usize = 4 << 10;
    /// Where in the file the first ring says how much was ever sent.
    const SENT_AT: u64 = 1024;

    /// The two ends, and their file.
    fn ends() -> (Ring, Ring, File) {
        let (near, far) = sockets();
        let (ours, offer, file) = shared_ring::share([7; 32], BYTES).unwrap();
        let theirs = shared_ring::open(&offer, BYTES).unwrap();
        let near = Ring::new(Tcp::new(near).unwrap(), ours);
        let far = Ring::new(Tcp::new(far).unwrap(), theirs);
        (near, far, file.into())
    }

    fn is_blocked<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    #[test]
    fn a_peer_that_stores_nonsense_is_lost_by_name() {
        let (_near, far, file) = ends();
        let config = LinksConfig::default();
        let links = Links::new(DroneId(1), vec![(DroneId(0), Box::new(far))], config).unwrap();
        file.write_all_at(&u64::MAX.to_ne_bytes(), SENT_AT).unwrap();
        let mut end = None;
        links.tick(&mut |from, incoming| match incoming {
            Incoming::Closed(Closed::Lost(why)) => end = Some((from, why)),
            other => panic!("{other:?}"),
        });
        let (from, why) = end.expect("the link has ended");
        assert_eq!(from, DroneId(0));
        assert!(why.contains("nonsense into the shared ring"), "{why}");
    }

    #[test]
    fn no_bell_rings_for_who_looks_by_itself() {
        let (near, far, _) = ends();
        let mut space = [0; 64];
        for _ in 0..100 {
            near.send(&[IoSlice::new(b"frame")]).unwrap();
            assert_eq!(far.receive(&mut space).unwrap(), 5);
            assert!(is_blocked(far.receive(&mut space)));
        }
        assert!(is_blocked(far.bell.receive(&mut space)), "a bell rang");
        assert!(far.rest(true));
        near.send(&[IoSlice::new(b"one"), IoSlice::new(b"two")])
            .unwrap();
        near.send(&[IoSlice::new(b"three")]).unwrap();
        assert_eq!(far.bell.receive(&mut space).unwrap(), 1, "one bell a rest");
        assert!(!far.rest(true), "there is something to receive");
    }

    #[test]
    fn what_is_sent_quietly_rings_when_it_is_asked_to_and_was_not_taken() {
        let (near, far, _) = ends();
        let mut space = [0; 64];
        for taken in [true, false] {
            assert!(far.rest(false));
            near.send_quietly(&[IoSlice::new(b"frame")]).unwrap();
            assert!(is_blocked(far.bell.receive(&mut space)), "too early");
            if taken {
                assert_eq!(far.receive(&mut space).unwrap(), 5);
            }
            near.ring_bell(Wakes::Anyone);
            assert_eq!(far.bell.receive(&mut space).is_ok(), !taken);
        }
    }

    #[test]
    fn who_found_no_room_hears_of_the_first_that_there_is() {
        let (near, far, _) = ends();
        let mut space = [0; 64];
        let much = [1; BYTES + 1];
        assert_eq!(near.send(&[IoSlice::new(&much)]).unwrap(), BYTES);
        assert!(is_blocked(near.send(&[IoSlice::new(b"x")])));
        assert_eq!(far.receive(&mut space).unwrap(), space.len());
        assert_eq!(near.bell.receive(&mut space).unwrap(), 1);
        assert_eq!(near.send(&[IoSlice::new(&much)]).unwrap(), space.len());
    }

    #[test]
    fn what_a_dead_peer_had_sent_is_received_before_its_end() {
        let (near, far, _) = ends();
        let mut space = [0; 64];
        near.send(&[IoSlice::new(b"last words")]).unwrap();
        drop(near);
        far.answer_bell();
        assert!(far.holds_input() && !far.rings_yet());
        assert_eq!(far.receive(&mut space).unwrap(), 10);
        assert_eq!(far.receive(&mut space).unwrap(), 0);
        let sent = far.send(&[IoSlice::new(b"to whom?")]);
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
