//! The streams that the conformance suite runs on: TCP, and one that is no transport but a torment: it takes a few
//! bytes at a time, so that the paths for torn frames and full sockets are walked all the time, at both ends. Both
//! also encrypted. Shared memory, with rings as they are and with very short ones.

use std::io::{self, IoSlice};
use std::net::{TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::net::record::tests::two_ends;
use crate::net::{ByteStream, Ring, Sealed, Tcp};
use hivemind_memory::shared_ring;

/// Makes two ends that are joined.
pub(super) type MakePair = dyn Fn() -> (Box<dyn ByteStream>, Box<dyn ByteStream>) + Sync;

pub(in crate::net) fn sockets() -> (TcpStream, TcpStream) {
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

pub(super) fn trickle_pair() -> (Box<dyn ByteStream>, Box<dyn ByteStream>) {
    let (near, far) = sockets();
    let trickle = |socket| Box::new(Trickle::new(Tcp::new(socket).unwrap()));
    (trickle(near), trickle(far))
}

pub(super) fn sealed_pair() -> (Box<dyn ByteStream>, Box<dyn ByteStream>) {
    let (near, far) = sockets();
    sealed([near, far].map(|socket| Tcp::new(socket).unwrap()))
}

pub(super) fn sealed_trickle_pair() -> (Box<dyn ByteStream>, Box<dyn ByteStream>) {
    let (near, far) = sockets();
    sealed([near, far].map(|socket| Trickle::new(Tcp::new(socket).unwrap())))
}

pub(super) fn ring_pair() -> (Box<dyn ByteStream>, Box<dyn ByteStream>) {
    rings_of(256 << 10)
}

/// Rings that are full nearly always.
pub(super) fn narrow_ring_pair() -> (Box<dyn ByteStream>, Box<dyn ByteStream>) {
    rings_of(4 << 10)
}

pub(in crate::net) fn rings_of(bytes: usize) -> (Box<dyn ByteStream>, Box<dyn ByteStream>) {
    let (near, far) = sockets();
    let (ours, offer, file) = shared_ring::share([7; 32], bytes).unwrap();
    let theirs = shared_ring::open(&offer, bytes).unwrap();
    drop(file);
    let ring = |socket, rings| Box::new(Ring::new(Tcp::new(socket).unwrap(), rings));
    (ring(near, ours), ring(far, theirs))
}

fn sealed<S: ByteStream + 'static>(
    [near, far]: [S; 2],
) -> (Box<dyn ByteStream>, Box<dyn ByteStream>) {
    let [(near_seals, near_opens), (far_seals, far_opens)] = two_ends();
    (
        Box::new(Sealed::new(near, near_seals, near_opens)),
        Box::new(Sealed::new(far, far_seals, far_opens)),
    )
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

    fn rest(&self, awaited: bool) -> bool {
        self.under.rest(awaited)
    }

    fn look_by_itself(&self) {
        self.under.look_by_itself();
    }
}
