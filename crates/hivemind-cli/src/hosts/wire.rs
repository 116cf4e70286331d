//! One connection between launcher and agent: two pipes that never block, frames, and a queue of what the
//! other side has not taken yet. Both sides use it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::{Decoder, Frame};

/// How much is read at once.
const READ_BYTES: usize = 64 << 10;

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    input: OwnedFd,
    output: OwnedFd,
    decoder: Decoder,
    queue: Vec<u8>,
    buffer: Vec<u8>,
    ended: bool,
}

/// Why nothing came.
#[derive(Debug, PartialEq)]
pub(crate) enum Silence {
    /// The other side has ended.
    Ended,
    /// It said nothing in time.
    TooLong,
    /// What it said makes no sense.
    Nonsense(String),
}

impl Wire {
    /// A connection over these two, for messages of at most so many bytes.
    ///
    /// # Errors
    /// The system's refusal to make them non-blocking.
    pub(crate) fn new(
        input: OwnedFd,
        output: OwnedFd,
        message_bytes_max: usize,
    ) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&input, true)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        Ok(Self {
            input,
            output,
            decoder: Decoder::new(message_bytes_max),
            queue: Vec::new(),
            buffer: vec![0; READ_BYTES],
            ended: false,
        })
    }

    /// What becomes readable when something comes.
    pub(crate) fn input(&self) -> &OwnedFd {
        &self.input
    }

    /// What becomes writable when something can go.
    pub(crate) fn output(&self) -> &OwnedFd {
        &self.output
    }

    /// How much waits to be taken.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queue.len()
    }

    /// Queues a message and sends what can be sent.
    pub(crate) fn say(&mut self, message: &impl Serialize) {
        let text = serde_json::to_vec(message).expect("messages are plain data");
        self.send(&Frame::Message(text));
    }

    /// Queues a frame and sends what can be sent.
    pub(crate) fn send(&mut self, frame: &Frame) {
        frame.encode(&mut self.queue);
        self.flush();
    }

    /// Queues bytes outside of any frame and sends what can be sent.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.queue.extend_from_slice(bytes);
        self.flush();
    }

    /// Sends what can be sent. What nobody will read is thrown away; that the other side is gone is seen when reading.
    pub(crate) fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.queue.len() {
            match rustix::io::write(&self.output, &self.queue[sent..]) {
                Ok(written) => sent += written,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => sent = self.queue.len(),
            }
        }
        self.queue.drain(..sent);
    }

    /// Reads once.
    pub(crate) fn read(&mut self) {
        match rustix::io::read(&self.input, &mut self.buffer[..]) {
            Ok(length @ 1..) => self.decoder.push(&self.buffer[..length]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(_) | Err(_) => self.ended = true,
        }
    }

    /// The next frame that is there.
    ///
    /// # Errors
    /// There is none any more, or what came makes no sense.
    pub(crate) fn frame(&mut self) -> Result<Option<Frame>, Silence> {
        match self.decoder.frame() {
            Err(why) => Err(Silence::Nonsense(why)),
            Ok(None) if self.ended => Err(Silence::Ended),
            Ok(frame) => Ok(frame),
        }
    }

    /// Waits for a frame.
    ///
    /// # Errors
    /// None came until then.
    pub(crate) fn await_frame(&mut self, deadline: Instant) -> Result<Frame, Silence> {
        loop {
            if let Some(frame) = self.frame()? {
                return Ok(frame);
            }
            self.wait(deadline)?;
        }
    }

    /// Waits for a message.
    ///
    /// # Errors
    /// None came until then, or something else did.
    pub(crate) fn await_message<T: DeserializeOwned>(
        &mut self,
        deadline: Instant,
    ) -> Result<T, Silence> {
        match self.await_frame(deadline)? {
            Frame::Message(text) => read_message(&text).map_err(Silence::Nonsense),
            _ => Err(Silence::Nonsense("it sends something out of turn".into())),
        }
    }

    /// Waits for a line, before the first frame.
    ///
    /// # Errors
    /// None came until then.
    pub(crate) fn await_line(&mut self, deadline: Instant) -> Result<String, Silence> {
        loop {
            match self.decoder.line() {
                Ok(Some(line)) => return Ok(String::from_utf8_lossy(&line).into_owned()),
                Ok(None) if self.ended => return Err(Silence::Ended),
                Ok(None) => self.wait(deadline)?,
                Err(why) => return Err(Silence::Nonsense(why)),
            }
        }
    }

    /// Waits until no more than so much is queued. `deadline` is asked anew whenever something went.
    ///
    /// # Errors
    /// The other side takes nothing, or has something to say that comes first.
    pub(crate) fn drain_to(
        &mut self,
        bytes: usize,
        deadline: impl Fn() -> Instant,
    ) -> Result<(), Silence> {
        while self.queue.len() > bytes {
            if self.ended {
                return Err(Silence::Ended);
            }
            self.wait(deadline())?;
        }
        Ok(())
    }

    /// Waits until something moves, in either direction.
    fn wait(&mut self, deadline: Instant) -> Result<(), Silence> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Silence::TooLong);
        }
        let timeout = Timespec::try_from(left).expect("deadlines are near");
        let (input, output) = (self.input.as_fd(), self.output.as_fd());
        let mut waiting = vec![PollFd::new(&input, PollFlags::IN)];
        if !self.queue.is_empty() {
            waiting.push(PollFd::new(&output, PollFlags::OUT));
        }
        let _ = poll(&mut waiting, Some(&timeout));
        let readable = !waiting[0].revents().is_empty();
        if readable {
            self.read();
        }
        self.flush();
        Ok(())
    }
}

/// Reads a message.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_message<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|error| format!("its message makes no sense: {error}"))
}
