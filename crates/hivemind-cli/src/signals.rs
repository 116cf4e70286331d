//! The signals that the launcher lives with, as something that can be waited for beside pipes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::process::{getpgrp, getpid, getppid, getsid};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use signal_hook::low_level::emulate_default_handler;

/// What the signals that came mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// A drone may have ended.
    Look,
    /// Somebody wants the job to end: SIGINT, SIGTERM or SIGHUP.
    End(i32),
    /// Somebody wants it to pause: Ctrl-Z.
    Pause,
}

/// The installed handlers.
#[derive(Debug)]
pub(crate) struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

impl Signals {
    /// Installs the handlers. SIGHUP keeps being ignored where it is (under `nohup`).
    ///
    /// # Errors
    /// The system's refusal of a socket pair or a handler.
    pub(crate) fn install() -> io::Result<Self> {
        let mut wanted = vec![SIGCHLD, SIGINT, SIGTERM, SIGTSTP];
        if !is_ignored(SIGHUP) {
            wanted.push(SIGHUP);
        }
        let (read, write) = UnixStream::pair()?;
        let delivery = SignalDelivery::with_pipe(read, write, SignalOnly, wanted)?;
        Ok(Self { delivery })
    }

    /// What came since the last call. Never blocks.
    pub(crate) fn take(&mut self) -> Vec<Request> {
        let request = |signal| match signal {
            SIGCHLD => Request::Look,
            SIGTSTP => Request::Pause,
            _ => Request::End(signal),
        };
        self.delivery.pending().map(request).collect()
    }
}

/// Becomes readable when a signal came.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

/// Whether there is a shell above us that could continue us after a stop.
pub(crate) fn can_be_continued() -> bool {
    getppid().is_some_and(|parent| parent.as_raw_nonzero().get() > 1)
        && getsid(None).is_ok_and(|session| session != getpid() && session != getpgrp())
}

/// Stops this process. Comes back when it is continued.
pub(crate) fn stop_self() {
    let _ = emulate_default_handler(SIGTSTP);
}

fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}
