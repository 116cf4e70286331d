//! The floors: what the same work costs without a shared memory. Bare sockets between the drones of a job, or bare rings
//! where the links are shared memory, with the waiting of the links (look for a while and yield, then sleep).
//!
//! Deliberately elsewhere: which floor belongs to which figure (`cases`), and floors that need no message (`inside`).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::slice::SliceIndex;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hivemind::Hive;
use hivemind_memory::shared_ring::{self, Nonsense, Offer, Pair};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// As long as a thread of a drone looks for messages itself.
const LOOK: Duration = Duration::from_micros(50);

/// A drone that says nothing for so long has failed. Rounds take milliseconds.
const PATIENCE: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// What is asked for: as long as a short message.
pub(crate) const SHORT_BYTES: usize = 64;

/// As long as the rings of a small hive.
const RING_BYTES: usize = 1 << 20;

/// Wires from drone 0 to each other drone.
pub(crate) struct Wires {
    /// At drone 0 all others, in order; elsewhere drone 0.
    wires: Vec<Wire>,
    me: usize,
    looks: bool,
    buffer: Vec<u8>,
}

impl Wires {
    /// Connects the drones; collective.
    pub(crate) fn connect(hive: &mut Hive) -> anyhow::Result<Self> {
        let sockets = if hive.is_first() {
            let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            // Whoever else connects doesn't know it.
            let word = RandomState::new().hash_one(std::process::id());
            hive.broadcast(0, u64::from(door.local_addr()?.port()))?;
            hive.broadcast(0, word)?;
            Self::receive_all(&door, word, hive.drones())?
        } else {
            let port = hive.broadcast(0, 0_u64)? as u16;
            let word = hive.broadcast(0, 0_u64)?;
            let mut socket = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
            socket.write_all(&word.to_ne_bytes())?;
            socket.write_all(&(hive.me() as u64).to_ne_bytes())?;
            vec![socket]
        };
        let shared =
            std::env::var("HIVEMIND_TRANSPORT").is_ok_and(|transport| transport == "shared");
        let offers = hive.is_first();
        let wires = sockets
            .into_iter()
            .map(|socket| Wire::new(socket, shared, offers));
        Ok(Self {
            wires: wires.collect::<anyhow::Result<_>>()?,
            me: hive.me(),
            looks: hive.drones() <= cores(),
            buffer: Vec::new(),
        })
    }

    fn receive_all(door: &TcpListener, word: u64, drones: usize) -> anyhow::Result<Vec<TcpStream>> {
        let mut found: Vec<Option<TcpStream>> = (1..drones).map(|_| None).collect();
        while found.iter().any(Option::is_none) {
            wait_for(door, PollFlags::IN).context("a drone's connection does not come")?;
            let mut socket = door.accept()?.0;
            socket.set_read_timeout(Some(Duration::from_secs(10)))?;
            let mut number = || {
                let mut bytes = [0; 8];
                socket
                    .read_exact(&mut bytes)
                    .map(|()| u64::from_ne_bytes(bytes))
            };
            let (said, drone) = (number()?, number()?);
            let Some(place) = found.get_mut((drone as usize).wrapping_sub(1)) else {
                bail!("a stranger connected amid the measurement");
            };
            if said != word {
                bail!("a stranger connected amid the measurement");
            }
            *place = Some(socket);
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// `count` times: every drone sends a short message to drone 0, which answers each with `reply_bytes` when all
    /// have come. With two drones a round trip. Gives the time that drone 0 took.
    pub(crate) fn round_trips(&mut self, count: u32, reply_bytes: usize) -> io::Result<Duration> {
        let begin = Instant::now();
        for _ in 0..count {
            if self.me == 0 {
                self.take(.., SHORT_BYTES)?;
                self.give(.., reply_bytes)?;
            } else {
                self.give(.., SHORT_BYTES)?;
                self.take(.., reply_bytes)?;
            }
        }
        Ok(begin.elapsed())
    }

    /// `count` times: drone 0 asks drone 1 by a short message and gets `reply_bytes`. Gives the time drone 0 took.
    pub(crate) fn questions(&mut self, count: u32, reply_bytes: usize) -> io::Result<Duration> {
        let begin = Instant::now();
        for _ in 0..count {
            match self.me {
                0 => {
                    self.give(..1, SHORT_BYTES)?;
                    self.take(..1, reply_bytes)?;
                }
                1 => {
                    self.take(.., SHORT_BYTES)?;
                    self.give(.., reply_bytes)?;
                }
                _ => {}
            }
        }
        Ok(begin.elapsed())
    }

    /// Drone 1 sends `bytes` to drone 0 as fast as they go. Gives the time drone 0 took.
    pub(crate) fn stream(&mut self, bytes: usize) -> io::Result<Duration> {
        const PIECE_BYTES: usize = 1 << 20;
        let begin = Instant::now();
        for _ in 0..bytes / PIECE_BYTES {
            match self.me {
                0 => self.take(..1, PIECE_BYTES)?,
                1 => self.give(.., PIECE_BYTES)?,
                _ => {}
            }
        }
        Ok(begin.elapsed())
    }

    fn take(
        &mut self,
        which: impl SliceIndex<[Wire], Output = [Wire]>,
        bytes: usize,
    ) -> io::Result<()> {
        self.buffer.resize(bytes.max(self.buffer.len()), 0);
        for wire in &mut self.wires[which] {
            let mut taken = 0;
            let mut end = Instant::now() + LOOK;
            while taken < bytes {
                match wire.take(&mut self.buffer[taken..bytes])? {
                    0 if self.looks && Instant::now() < end => std::thread::yield_now(),
                    0 => wire.wait(PollFlags::IN)?,
                    came => {
                        taken += came;
                        end = Instant::now() + LOOK;
                    }
                }
            }
        }
        Ok(())
    }

    fn give(
        &mut self,
        which: impl SliceIndex<[Wire], Output = [Wire]>,
        bytes: usize,
    ) -> io::Result<()> {
        self.buffer.resize(bytes.max(self.buffer.len()), 0);
        for wire in &mut self.wires[which] {
            let mut given = 0;
            while given < bytes {
                match wire.give(&self.buffer[given..bytes])? {
                    0 => wire.wait(PollFlags::OUT)?,
                    sent => given += sent,
                }
            }
        }
        Ok(())
    }
}

/// The cores of all drones together, as the launcher counts them.
fn cores() -> usize {
    let counted = std::env::var("HIVEMIND_LOCAL_CORES").ok();
    let own = || std::thread::available_parallelism().map_or(1, usize::from);
    counted
        .and_then(|count| count.parse().ok())
        .unwrap_or_else(own)
}

/// A bare connection with one other drone.
struct Wire {
    socket: TcpStream,
    /// Then the socket only rings: a byte for who asked for it.
    rings: Option<Pair>,
}

impl Wire {
    fn new(mut socket: TcpStream, shared: bool, offers: bool) -> anyhow::Result<Self> {
        socket.set_nodelay(true)?;
        let rings = match (shared, offers) {
            (false, _) => None,
            (true, true) => Some(offer_rings(&mut socket)?),
            (true, false) => Some(open_rings(&mut socket)?),
        };
        socket.set_nonblocking(true)?;
        Ok(Self { socket, rings })
    }

    /// Takes what is there: 0 where nothing is.
    fn take(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let Some(rings) = &mut self.rings else {
            return match nothing_if_blocked(self.socket.read(space))? {
                Some(0) => Err(ErrorKind::UnexpectedEof.into()),
                came => Ok(came.unwrap_or(0)),
            };
        };
        let (came, bell) = rings.receiver.receive(space).map_err(nonsense)?;
        if bell {
            self.socket.write_all(&[1])?;
        }
        Ok(came)
    }

    /// Gives what there is room for: 0 where none is.
    fn give(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(rings) = &mut self.rings else {
            return Ok(nothing_if_blocked(self.socket.write(bytes))?.unwrap_or(0));
        };
        let (gone, bell) = rings.sender.send(bytes).map_err(nonsense)?;
        if bell {
            self.socket.write_all(&[1])?;
        }
        Ok(gone)
    }

    /// Sleeps until there is something, or room.
    fn wait(&mut self, until: PollFlags) -> io::Result<()> {
        let Some(rings) = &mut self.rings else {
            return wait_for(&self.socket, until);
        };
        let rests = if until == PollFlags::IN {
            rings.receiver.rest(true)
        } else {
            rings.sender.rest()
        };
        if rests.map_err(nonsense)? {
            wait_for(&self.socket, PollFlags::IN)?;
            // Where it was rung for the other reason, whoever waits asks again.
            let _ = self.socket.read(&mut [0; 64])?;
        }
        Ok(())
    }
}

fn offer_rings(socket: &mut TcpStream) -> anyhow::Result<Pair> {
    let mut nonce = [0; 32];
    for piece in nonce.chunks_exact_mut(8) {
        piece.copy_from_slice(&RandomState::new().hash_one(0).to_ne_bytes());
    }
    let (rings, offer, _file) = shared_ring::share(nonce, RING_BYTES)?;
    socket.write_all(&offer.process.to_ne_bytes())?;
    socket.write_all(&offer.descriptor.to_ne_bytes())?;
    socket.write_all(&nonce)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.read_exact(&mut [0])?;
    Ok(rings)
}

fn open_rings(socket: &mut TcpStream) -> anyhow::Result<Pair> {
    let (mut process, mut descriptor, mut nonce) = ([0; 4], [0; 4], [0; 32]);
    socket.read_exact(&mut process)?;
    socket.read_exact(&mut descriptor)?;
    socket.read_exact(&mut nonce)?;
    let offer = Offer {
        process: u32::from_ne_bytes(process),
        descriptor: u32::from_ne_bytes(descriptor),
        nonce,
    };
    let rings = shared_ring::open(&offer, RING_BYTES)?;
    socket.write_all(&[1])?;
    Ok(rings)
}

fn nonsense(what: Nonsense) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

fn nothing_if_blocked(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        other => other.map(Some),
    }
}

fn wait_for(socket: impl AsFd, until: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::new(&socket, until)], Some(&PATIENCE))? {
        0 => Err(ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}
