//! The seam between the links and what carries their bytes.
//!
//! A transport is one file with one type that implements [`ByteStream`], and one arm in the conformance suite
//! (`conformance.rs`). There are TCP (`tcp.rs`), which can be encrypted (`sealed.rs`), and shared memory between drones of
//! one machine (`ring.rs`).

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

/// Whom it wakes when something is sent to a drone where nobody looks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Wakes {
    /// Whoever waits there, and nobody where nobody there is awaited: it can wait until somebody looks. A drone that has a link over
    /// TCP is always awaited, since who waits behind that cannot tell; what it sends wakes as `Anyone`.
    Awaited,
    /// Whoever sleeps there.
    Anyone,
}

/// An ordered, reliable stream of bytes to one peer, both ways. No call blocks: what cannot be done now fails with
/// [`io::ErrorKind::WouldBlock`].
pub(crate) trait ByteStream: Send + Sync {
    /// What becomes readable or writable when [`receive`](Self::receive) or [`send`](Self::send) can go on.
    fn as_fd(&self) -> BorrowedFd<'_>;

    /// Sends what it takes of `parts`, in their order, and says how many bytes that were. Raises no signal. What it
    /// did not take is offered again before anything else is, and no less of it at a time.
    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// As [`send`](Self::send), but a receiver that sleeps need not be woken before [`ring_bell`](Self::ring_bell) is
    /// called.
    fn send_quietly(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send(parts)
    }

    /// Wakes the receiver if it sleeps over something that was [sent quietly](Self::send_quietly).
    fn ring_bell(&self, _: Wakes) {}

    /// Tells the peer that somebody here waits, and wakes it if it may sleep over something that was to wait: from here, or from
    /// `others` too.
    fn say_that_it_waits(&self, _others: bool) {}

    /// Takes that back.
    fn wait_no_more(&self) {}

    /// Whether somebody waits at the peer, as far as that is known.
    fn peer_waits(&self) -> bool {
        false
    }

    /// Receives into `space`. 0 says that the peer sends no more. When it gives less than there is room for and
    /// [holds](Self::holds_input) nothing, there is nothing more now, and the descriptor becomes readable anew when
    /// there is.
    fn receive(&self, space: &mut [u8]) -> io::Result<usize>;

    /// Whether it has taken something from its descriptor that it would give or say to a `receive` now. Bounded by
    /// a buffer's length.
    fn holds_input(&self) -> bool {
        false
    }

    /// Says that nothing more will be sent; the peer sees the end after everything sent before.
    fn finish_sending(&self) -> io::Result<()>;

    /// Whether the stream itself fails where a byte was lost, changed, repeated or moved on the way, as an encrypted one
    /// does: then frames need no envelope. Both ends say the same.
    fn vouches(&self) -> bool {
        false
    }

    /// Ends both ways at once. Errors are of no interest: the link is given up.
    fn abort(&self);

    /// Whether what it carries lies in shared memory: then a look at it costs no system call, and its descriptor brings
    /// bells alone. It becomes readable, never writable: where a [`send`](Self::send) was not taken whole and can go on,
    /// after [`rest`](Self::rest) where a `receive` can, and at the peer's end.
    fn is_shared(&self) -> bool {
        false
    }

    /// Takes the bells that made the descriptor readable. Where it tells of the peer's end, `receive` does from then on.
    fn answer_bell(&self) {}

    /// Whether bells may come yet.
    fn rings_yet(&self) -> bool {
        false
    }

    /// From now on who waits for the descriptor is told again of what comes; in shared memory by a bell, and of what can wait
    /// only where this end is `awaited`. False where there is something to receive of which nothing tells.
    fn rest(&self, _awaited: bool) -> bool {
        true
    }

    /// Takes that back: somebody calls `receive` often enough, and it costs both ends less where nobody else is told. It is
    /// no promise: word of something may be on its way, or of much.
    fn look_by_itself(&self) {}
}
