//! A wish about sockets that neither the standard library nor `rustix` can pass on. All else about sockets is the links'.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Has a socket wake those who wait for it only once so many bytes lie there, or its end does (`SO_RCVLOWAT`). What lies
/// there by then counts: who waits is woken at once where it is enough. Receiving without waiting takes what there is, as
/// ever. The kernel gives a TCP socket room for so many bytes if it had less (a buffer of twice as many, at most half of what
/// `net.ipv4.tcp_rmem` allows), and leaves it that.
///
/// ```
/// use std::io::Write;
/// use std::net::{TcpListener, TcpStream};
/// let door = TcpListener::bind("127.0.0.1:0")?;
/// let mut near = TcpStream::connect(door.local_addr()?)?;
/// let far = door.accept()?.0;
/// hivemind_memory::wake_for(&far, 1 << 20)?; // nobody is woken for less
/// near.write_all(b"honey")?;
/// hivemind_memory::wake_for(&far, 1)?; // who waits is woken now
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// What the system says: it is no socket.
pub fn wake_for(socket: &impl AsFd, bytes: i32) -> io::Result<()> {
    let bytes: c_int = bytes;
    // SAFETY: the descriptor is open, and the value is an integer of the length that is told.
    let set = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const bytes).cast::<c_void>(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
