//! TCP as a carrier of links: a non-blocking socket without Nagle's delay.
//!
//! How the connections come about lives in `join`; framing, queues and liveness live in `link.rs`.

use std::io::{self, IoSlice, Read};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use hivemind_memory::wake_for;
use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};

use super::stream::ByteStream;

/// While somebody looks by himself, others are told of what comes from so many bytes on: about as many as a drone may be sent
/// unasked in one epoch. The kernel gives the socket room for as much.
const MUCH_BYTES: i32 = 1 << 20;

/// A TCP connection to one peer.
pub(crate) struct Tcp {
    socket: TcpStream,
}

impl Tcp {
    /// Takes over a connection. Fails where the system refuses to set its options.
    pub(crate) fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(Self { socket })
    }
}

impl ByteStream for Tcp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        // NOSIGNAL: a C program that loads the library has SIGPIPE at its default, which would kill it.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = match parts {
            [only] => send(&self.socket, only, flags),
            several => sendmsg(
                &self.socket,
                several,
                &mut SendAncillaryBuffer::default(),
                flags,
            ),
        };
        sent.map_err(io::Error::from)
    }

    fn receive(&self, space: &mut [u8]) -> io::Result<usize> {
        (&self.socket).read(space)
    }

    fn finish_sending(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    fn abort(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    fn rest(&self, _: bool) -> bool {
        // Taken from every socket; if it were not, none would have been told to be quiet.
        let _ = wake_for(&self.socket, 1);
        true
    }

    fn look_by_itself(&self) {
        let _ = wake_for(&self.socket, MUCH_BYTES);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::net::conformance::streams::sockets;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::time::Duration;

    /// Whether who waits for the stream is told of something, now or soon.
    fn tells(stream: &Tcp, within: Duration) -> bool {
        let timeout = Timespec::try_from(within).unwrap();
        poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&timeout)).unwrap() == 1
    }

    impl AsFd for Tcp {
        fn as_fd(&self) -> BorrowedFd<'_> {
            ByteStream::as_fd(self)
        }
    }

    #[test]
    fn what_comes_while_somebody_looks_tells_nobody_until_he_rests() {
        let (near, far) = sockets();
        let (near, far) = (Tcp::new(near).unwrap(), Tcp::new(far).unwrap());
        let (soon, long) = (Duration::from_millis(50), Duration::from_secs(60));
        let mut space = [0; 64];
        far.look_by_itself();
        near.send(&[IoSlice::new(b"taken")]).unwrap();
        assert!(!tells(&far, soon));
        assert_eq!(far.receive(&mut space).unwrap(), 5);
        near.send(&[IoSlice::new(b"left")]).unwrap();
        assert!(!tells(&far, soon));
        assert!(far.rest(true));
        assert!(tells(&far, long), "of what came before the rest");
        assert_eq!(far.receive(&mut space).unwrap(), 4);
        near.send(&[IoSlice::new(b"later")]).unwrap();
        assert!(tells(&far, long), "and after it");
    }

    #[test]
    fn the_end_is_told_whoever_looks() {
        let (near, far) = sockets();
        let far = Tcp::new(far).unwrap();
        far.look_by_itself();
        drop(near);
        assert!(tells(&far, Duration::from_secs(60)));
    }
}
