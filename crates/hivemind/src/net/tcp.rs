//! TCP as a carrier of links: a non-blocking socket without Nagle's delay.
//!
//! How the connections come about lives in `join`; framing, queues and liveness live in `link.rs`.

use std::io::{self, IoSlice, Read};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};

use super::stream::ByteStream;

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
}
