//! The streams that the conformance suite runs on: TCP, and two that are no transports. One torments: it takes a few
//! bytes at a time, so that the paths for torn frames and full sockets are walked all the time, at both ends. The other
//! says that it vouches for its bytes, as an encrypted stream does.

use std::io::{self, IoSlice};
use std::net::{TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::net::{ByteStream, Tcp};

/// Makes two ends that are joined.
pub(super) type MakePair = dyn Fn() -> (Box<dyn ByteStream>, Box<dyn ByteStream>) + Sync;

fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

pub(super) fn tcp_pair() -> (Box<dyn ByteStream>, Box<dyn ByteStream>) {
    let (near, far) = sockets();
    (
        Box::new(Tcp::new(near).unwrap()),
        Box::new(Tcp::new(far).unwrap()),
    )
}

/// As [`tcp_pair`], of streams that vouch for their bytes.
pub(super) fn vouching_pair() -> (Box<dyn ByteStream>, Box<dyn ByteStream>) {
    let (near, far) = sockets();
    let vouching = |socket| Box::new(Vouching(Tcp::new(socket).unwrap()));
    (vouching(near), vouching(far))
}

/// Stands for an encrypted stream: its frames go without envelopes.
struct Vouching(Tcp);

impl ByteStream for Vouching {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.send(parts)
    }

    fn receive(&self, space: &mut [u8]) -> io::Result<usize> {
        self.0.receive(space)
    }

    fn finish_sending(&self) -> io::Result<()> {
        self.0.finish_sending()
    }

    fn vouches(&self) -> bool {
        true
    }

    fn abort(&self) {
        self.0.abort();
    }
}

pub(super) fn trickle_pair() -> (Box<dyn ByteStream>, Box<dyn ByteStream>) {
    let (near, far) = sockets();
    let trickle = |socket| Box::new(Trickle::new(Tcp::new(socket).unwrap()));
    (trickle(near), trickle(far))
}

/// Takes a few bytes at a time.
struct Trickle {
    under: Tcp,
    turn: AtomicUsize,
}

impl Trickle {
    fn new(under: Tcp) -> Self {
        let turn = AtomicUsize::new(0);
        Self { under, turn }
    }

    /// How much goes this time: mostly little, sometimes much, so that long frames end.
    fn allowance(&self) -> usize {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        [1, 3, 5, 7, 100_000, 2, 4096, 4, 13, 700_000][turn % 10]
    }
}

impl ByteStream for Trickle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.under.as_fd()
    }

    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let first = parts
            .iter()
            .find(|part| !part.is_empty())
            .expect("something to send");
        let taken = first.len().min(self.allowance());
        self.under.send(&[IoSlice::new(&first[..taken])])
    }

    fn receive(&self, space: &mut [u8]) -> io::Result<usize> {
        self.under.receive(space)
    }

    fn finish_sending(&self) -> io::Result<()> {
        self.under.finish_sending()
    }

    fn abort(&self) {
        self.under.abort();
    }
}
