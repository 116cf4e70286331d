//! One link: the sending half, with its queue and its end, and the signs of life of both halves.
//!
//! The models of what threads share here are in `link/models.rs`. The receiving half (a [`Decoder`](super::frame::Decoder) a link) belongs to whoever holds the receiver's role, in
//! `mod.rs`. A link's lock is held only for system calls that don't block.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};

use crate::primitive::{AtomicBool, Mutex, Ordering, lock};
use hivemind_protocol::{DroneId, Mutant, Sealer, mutant};

use super::frame::{Frame, Kind};
use super::poller::{Interest, Poller};
use super::stream::{ByteStream, Wakes};

/// Queued frames are joined to pieces of about this size, so that a long queue needs few system calls.
const PIECE_BYTES: usize = 64 << 10;

/// How many pieces one system call takes.
const PIECES_PER_SEND: usize = 16;

/// One link to one peer.
pub(crate) struct Link {
    pub(crate) peer: DroneId,
    pub(crate) stream: Box<dyn ByteStream>,
    /// Whether anything came since the last tick.
    pub(crate) heard: AtomicBool,
    /// Whether the peer said goodbye.
    pub(crate) left: AtomicBool,
    /// Whether it ended without one.
    pub(crate) lost: AtomicBool,
    outbound: Mutex<Outbound>,
    /// Whom something wakes that was sent, where who sent it has yet to see to that.
    owed: Mutex<Option<Wakes>>,
}

/// What is on its way out, and how far the link is.
struct Outbound {
    stage: Stage,
    /// None where the stream vouches for its bytes itself.
    sealer: Option<Sealer>,
    queue: VecDeque<Vec<u8>>,
    /// How much of the queue's first piece is gone already.
    gone: usize,
    queued_bytes: usize,
    limit_bytes: usize,
    interest: Interest,
    /// Whether anything was sent since the last tick.
    spoken: bool,
    frames: u64,
    bytes: u64,
    heartbeats: u64,
}

/// How far the sending half is.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Frames go out.
    Open,
    /// The goodbye is queued or sent; nothing goes behind it.
    Leaving,
    /// Everything went out and the peer sees the end.
    Finished,
    /// The link is given up; why.
    Failed(String),
}

/// What one link has sent.
pub(crate) struct Sent {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) heartbeats: u64,
}

impl Link {
    pub(crate) fn new(
        me: DroneId,
        peer: DroneId,
        stream: Box<dyn ByteStream>,
        limit_bytes: usize,
    ) -> Self {
        let sealer = (!stream.vouches()).then(|| Sealer::new(me, peer));
        Self {
            peer,
            stream,
            heard: AtomicBool::new(false),
            left: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            outbound: Mutex::new(Outbound {
                stage: Stage::Open,
                sealer,
                queue: VecDeque::new(),
                gone: 0,
                queued_bytes: 0,
                limit_bytes,
                interest: Interest::default(),
                spoken: false,
                frames: 0,
                bytes: 0,
                heartbeats: 0,
            }),
            owed: Mutex::new(None),
        }
    }

    pub(crate) fn sent(&self) -> Sent {
        let outbound = lock(&self.outbound);
        Sent {
            frames: outbound.frames,
            bytes: outbound.bytes,
            heartbeats: outbound.heartbeats,
        }
    }

    /// Whether nothing comes any more.
    pub(crate) fn ended(&self) -> bool {
        self.left.load(Ordering::SeqCst) || self.lost.load(Ordering::SeqCst)
    }

    /// Why the link is given up, if it is.
    pub(crate) fn failure(&self) -> Option<String> {
        match &lock(&self.outbound).stage {
            Stage::Failed(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// Whether everything went out, the goodbye included.
    pub(crate) fn is_finished(&self) -> bool {
        lock(&self.outbound).stage == Stage::Finished
    }

    /// Whether nothing more can or need go out.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(
            lock(&self.outbound).stage,
            Stage::Finished | Stage::Failed(_)
        )
    }

    /// How many bytes wait for the peer.
    pub(crate) fn queued_bytes(&self) -> usize {
        lock(&self.outbound).queued_bytes
    }

    /// Starts to listen to the peer.
    pub(crate) fn start_reading(&self, poller: &Poller) -> io::Result<()> {
        let mut outbound = lock(&self.outbound);
        let to = Interest {
            reading: true,
            ..outbound.interest
        };
        self.change_interest(&mut outbound, to, poller)
    }

    /// The peer sends no more. What we still have to send goes out nevertheless, so bells are listened to.
    pub(crate) fn stop_reading(&self, poller: &Poller) {
        if self.stream.rings_yet() {
            return;
        }
        let mut outbound = lock(&self.outbound);
        let to = Interest {
            reading: false,
            ..outbound.interest
        };
        let _ = self.change_interest(&mut outbound, to, poller);
    }

    /// Sends a data frame, or queues what the stream won't take. On a link that has ended it does nothing: the end is
    /// reported by the receiving half.
    pub(crate) fn send(&self, frame: &mut Frame, wakes: Wakes, poller: &Poller) {
        self.send_quietly(frame, poller);
        self.stream.ring_bell(wakes);
    }

    /// As [`send`](Self::send), but a peer that sleeps is not woken before [`ring_owed`](Self::ring_owed).
    pub(crate) fn send_owing(&self, frame: &mut Frame, wakes: Wakes, poller: &Poller) {
        self.send_quietly(frame, poller);
        let mut owed = lock(&self.owed);
        *owed = (*owed).max(Some(wakes));
    }

    /// Wakes the peer, if that is owed, and it sleeps over something that it has not taken.
    pub(crate) fn ring_owed(&self) {
        if let Some(wakes) = lock(&self.owed).take() {
            self.stream.ring_bell(wakes);
        }
    }

    fn send_quietly(&self, frame: &mut Frame, poller: &Poller) {
        let mut outbound = lock(&self.outbound);
        if outbound.stage != Stage::Open {
            return;
        }
        outbound.frames += 1;
        let bytes = self.send_frame(&mut outbound, Kind::Data, frame, poller);
        outbound.bytes += bytes as u64;
    }

    /// Sends a heartbeat where nothing else went out since the last tick.
    pub(crate) fn tick(&self, poller: &Poller) {
        let mut outbound = lock(&self.outbound);
        if outbound.stage != Stage::Open {
            return;
        }
        if !outbound.spoken && outbound.queue.is_empty() {
            outbound.heartbeats += 1;
            self.send_frame(&mut outbound, Kind::Heartbeat, &mut Frame::of(&[]), poller);
            self.stream.ring_bell(Wakes::Anyone);
        }
        outbound.spoken = false;
    }

    /// Says goodbye. When all is out, the sending half ends.
    pub(crate) fn leave(&self, poller: &Poller) {
        let mut outbound = lock(&self.outbound);
        if outbound.stage == Stage::Open {
            outbound.stage = Stage::Leaving;
            self.send_frame(&mut outbound, Kind::Goodbye, &mut Frame::of(&[]), poller);
            self.stream.ring_bell(Wakes::Anyone);
            self.finish_if_drained(&mut outbound);
        }
    }

    /// Sends on what is queued, as far as the stream takes it. Says whether that settled the link (see
    /// [`is_settled`](Self::is_settled)).
    pub(crate) fn drain(&self, poller: &Poller) -> bool {
        let mut outbound = lock(&self.outbound);
        if outbound.queue.is_empty() {
            return false;
        }
        let mut drained = self.drain_queue(&mut outbound);
        if outbound.queue.is_empty() {
            let to = Interest {
                writing: false,
                ..outbound.interest
            };
            drained = drained.and_then(|()| self.change_interest(&mut outbound, to, poller));
        }
        if let Err(error) = drained {
            self.give_up(&mut outbound, describe(&error), poller);
        }
        self.finish_if_drained(&mut outbound);
        matches!(outbound.stage, Stage::Finished | Stage::Failed(_))
    }

    /// Gives the link up. The first reason stays.
    pub(crate) fn fail(&self, why: String, poller: &Poller) {
        let mut outbound = lock(&self.outbound);
        self.give_up(&mut outbound, why, poller);
    }

    /// Takes the link out of the poller's sight for good.
    pub(crate) fn forget(&self, poller: &Poller) {
        let mut outbound = lock(&self.outbound);
        let _ = self.change_interest(&mut outbound, Interest::default(), poller);
    }

    /// Sends a frame or queues it; gives its length.
    fn send_frame(
        &self,
        outbound: &mut Outbound,
        kind: Kind,
        frame: &mut Frame,
        poller: &Poller,
    ) -> usize {
        outbound.spoken = true;
        let whole = frame.close(kind, outbound.sealer.as_mut());
        if let Err(why) = self.send_or_queue(outbound, whole, poller) {
            self.give_up(outbound, why, poller);
        }
        whole.len()
    }

    /// Offers a frame to the stream and queues what it won't take. Fails with the reason to give the link up.
    fn send_or_queue(
        &self,
        outbound: &mut Outbound,
        whole: &[u8],
        poller: &Poller,
    ) -> Result<(), String> {
        let overtakes = mutant(Mutant::FrameOvertakes);
        let sent = if outbound.queue.is_empty() || overtakes {
            none_if_blocked(self.stream.send_quietly(&[IoSlice::new(whole)]))
                .map_err(|error| describe(&error))?
        } else {
            0
        };
        if sent == whole.len() {
            return Ok(());
        }
        outbound.enqueue(&whole[sent..]);
        while mutant(Mutant::SendBlocks) && !outbound.queue.is_empty() {
            self.drain_queue(outbound)
                .map_err(|error| describe(&error))?;
        }
        if outbound.queued_bytes > outbound.limit_bytes {
            return Err(format!(
                "{} bytes wait for it and it does not take them (the bound is {})",
                outbound.queued_bytes, outbound.limit_bytes
            ));
        }
        let to = Interest {
            writing: true,
            ..outbound.interest
        };
        self.change_interest(outbound, to, poller)
            .map_err(|error| describe(&error))
    }

    fn drain_queue(&self, outbound: &mut Outbound) -> io::Result<()> {
        while let Some(first) = outbound.queue.front() {
            let mut parts = [IoSlice::new(&[]); PIECES_PER_SEND];
            parts[0] = IoSlice::new(&first[outbound.gone..]);
            let mut used = 1;
            for (part, piece) in parts[1..].iter_mut().zip(outbound.queue.iter().skip(1)) {
                *part = IoSlice::new(piece);
                used += 1;
            }
            // Until it takes none at all: only then does the stream become writable anew.
            match none_if_blocked(self.stream.send(&parts[..used]))? {
                0 => break,
                sent => outbound.dequeue(sent),
            }
        }
        Ok(())
    }

    fn finish_if_drained(&self, outbound: &mut Outbound) {
        if outbound.stage == Stage::Leaving && outbound.queue.is_empty() {
            outbound.stage = Stage::Finished;
            // Fails only when the peer is gone already, and then there is nobody to tell.
            let _ = self.stream.finish_sending();
        }
    }

    fn give_up(&self, outbound: &mut Outbound, why: String, poller: &Poller) {
        let over = outbound.stage == Stage::Finished && self.left.load(Ordering::SeqCst);
        if over || matches!(outbound.stage, Stage::Failed(_)) {
            return;
        }
        outbound.stage = Stage::Failed(why);
        outbound.queue.clear();
        outbound.queued_bytes = 0;
        outbound.gone = 0;
        self.stream.abort();
        // Still reading, so that the receiving half notices the end, after what came before it.
        let to = Interest {
            writing: false,
            ..outbound.interest
        };
        let _ = self.change_interest(outbound, to, poller);
    }

    fn change_interest(
        &self,
        outbound: &mut Outbound,
        to: Interest,
        poller: &Poller,
    ) -> io::Result<()> {
        // Shared memory tells of room by a bell, as of everything.
        let writing = to.writing && !self.stream.is_shared();
        let to = Interest { writing, ..to };
        let from = std::mem::replace(&mut outbound.interest, to);
        if from == to {
            return Ok(());
        }
        poller.change(self.stream.as_fd(), self.peer.0, from, to)
    }
}

impl Outbound {
    fn enqueue(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.queued_bytes += bytes.len();
        match self.queue.back_mut() {
            Some(last) if last.len() + bytes.len() <= PIECE_BYTES => last.extend_from_slice(bytes),
            _ => self.queue.push_back(bytes.to_vec()),
        }
    }

    fn dequeue(&mut self, sent: usize) {
        self.queued_bytes -= sent;
        self.gone += sent;
        while let Some(first) = self.queue.front() {
            if self.gone < first.len() {
                break;
            }
            self.gone -= first.len();
            self.queue.pop_front();
        }
    }
}

fn none_if_blocked(sent: io::Result<usize>) -> io::Result<usize> {
    match sent {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(0)
        }
        other => other,
    }
}

/// How a link broke, in words for a person.
pub(crate) fn describe(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
            "it closed the connection without a goodbye (reset)".to_owned()
        }
        _ => format!("the connection broke: {error}"),
    }
}

/// Marks a sign of life.
pub(crate) fn heard(link: &Link) {
    link.heard.store(true, Ordering::Relaxed);
}

#[cfg(all(loom, test))]
mod models;
