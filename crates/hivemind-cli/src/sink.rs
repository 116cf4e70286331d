//! Writes to standard output or standard error in a thread of its own, so that a reader who doesn't read
//! (a pager, a full pipe) never keeps the launcher from looking after its drones.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Above this nothing more is read from drones that write here, until half of it has been written.
const QUEUE_BYTES: usize = 1 << 20;

/// One of the launcher's own output streams.
#[derive(Debug)]
pub(crate) struct Sink {
    queue: Sender<Vec<u8>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queued_bytes: AtomicUsize,
    failure: Mutex<Option<io::Error>>,
    /// An eventfd that tells the launcher that something changed here.
    wake: Arc<OwnedFd>,
}

impl Sink {
    /// A sink on one of the standard streams; `wake` is an eventfd that it rings.
    ///
    /// # Errors
    /// The system's refusal to start a thread.
    pub(crate) fn open(stream: BorrowedFd<'static>, wake: Arc<OwnedFd>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queued_bytes: AtomicUsize::new(0),
            failure: Mutex::new(None),
            wake,
        });
        let (queue, incoming) = channel();
        let writer = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("output".into())
            .spawn(move || write_all(stream, &incoming, &writer))?;
        Ok(Self { queue, shared })
    }

    /// Queues bytes. Never blocks.
    pub(crate) fn send(&self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        self.shared.queued_bytes.fetch_add(length, Ordering::SeqCst);
        if self.queue.send(bytes).is_err() {
            self.shared.queued_bytes.fetch_sub(length, Ordering::SeqCst);
        }
    }

    /// Whether nobody should write more now.
    pub(crate) fn is_full(&self) -> bool {
        self.shared.queued_bytes.load(Ordering::SeqCst) > QUEUE_BYTES
    }

    /// Whether all that was sent has been written, or never will be.
    pub(crate) fn is_idle(&self) -> bool {
        self.shared.queued_bytes.load(Ordering::SeqCst) == 0
    }

    /// Takes the error that ended the writing, once.
    pub(crate) fn take_failure(&self) -> Option<io::Error> {
        self.shared
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

fn write_all(stream: BorrowedFd<'_>, incoming: &Receiver<Vec<u8>>, shared: &Shared) {
    let mut failed = false;
    while let Ok(bytes) = incoming.recv() {
        if !failed && let Err(error) = write_chunk(stream, &bytes) {
            failed = true;
            let mut failure = shared
                .failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *failure = Some(error);
        }
        let before = shared.queued_bytes.fetch_sub(bytes.len(), Ordering::SeqCst);
        let after = before - bytes.len();
        let crossed = before > QUEUE_BYTES / 2 && after <= QUEUE_BYTES / 2;
        if after == 0 || crossed || failed {
            let _ = rustix::io::write(&shared.wake, &1_u64.to_ne_bytes());
        }
    }
}

fn write_chunk(stream: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(stream, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Somebody else made the stream non-blocking.
            Err(Errno::AGAIN) => {
                let stream = stream.as_fd();
                let _ = poll(&mut [PollFd::new(&stream, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
