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

use super::stream::ByteStream;
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

    fn ring_bell(&self) -> io::Result<()> {
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
        if self.ended.load(Ordering::Acquire) {
            // The ring would take it, and nobody out of it.
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut ring = lock(&self.sending);
        let (mut sent, mut wakes, mut full) = (0, false, false);
        for part in parts {
            let mut rest = &part[..];
            while !rest.is_empty() && !full {
                let (taken, needs_bell) = ring.send(rest).map_err(nonsense)?;
                sent += taken;
                wakes |= needs_bell;
                rest = &rest[taken..];
                // Asked for at once, and not by the next call: whoever queues the rest waits for the bell.
                full = !rest.is_empty() && ring.rest().map_err(nonsense)?;
            }
        }
        if wakes {
            self.ring_bell()?;
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
            let _ = self.ring_bell();
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
            self.ring_bell()?;
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

    fn rest(&self) -> bool {
        // Nonsense is found by the receive that follows where there is something to take.
        lock(&self.receiving).ring.rest().unwrap_or(false)
    }

    fn look_by_itself(&self) {
        lock(&self.receiving).ring.look_by_itself();
    }
}

fn nonsense(what: Nonsense) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}
