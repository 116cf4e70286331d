//! The links of one drone to all its peers: frames in order, liveness, and an end that loses nothing.
//!
//! [`Links`] is shared by every thread of the drone. Sending never blocks: what a stream won't take is queued and goes
//! out as the stream drains, so two peers that send to each other at once both go on. Receiving is a role that one
//! thread has at a time, from the system call to the end of the callback, so a link's frames are handled in their
//! order whichever thread takes them.
//!
//! What lives where: framing in `frame.rs`, the sending half of a link in `link.rs`, the receiving half in `receive.rs`, sleeping and waking in
//! `beds.rs` (who) and `poller.rs` (how), the seam for transports in `stream.rs`, TCP in `tcp.rs`, shared memory in
//! `ring.rs`, encryption in `record.rs` and `sealed.rs`. Deliberately elsewhere: how the connections come about and agree on keys (`join`), and
//! what a frame's body means (the protocol core).

mod beds;
pub(crate) mod frame;
mod link;
mod poller;
mod receive;
mod record;
mod ring;
mod sealed;
mod stream;
mod tcp;

#[cfg(all(loom, test))]
pub(crate) use beds::modelled;

#[cfg(all(test, not(loom)))]
mod conformance;

use std::io;
use std::sync::TryLockError;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use hivemind_protocol::{DroneId, Mutant, Opener, mutant};

use crate::primitive::{AtomicBool, Mutex, Ordering, lock};
use beds::{Attention as Attending, Turn};
use frame::Decoder;
use link::Link;
use poller::{LOOK_LINKS, Poller, Ready};
use receive::Glance;

pub(crate) use frame::{Frame, MAX_BODY_BYTES};
pub(crate) use record::{
    LENGTH_BYTES, MAX_PLAIN_BYTES, RecordOpener, RecordSealer, TAG_BYTES, Tampered, records,
};
pub(crate) use ring::Ring;
pub(crate) use sealed::Sealed;
pub(crate) use stream::{ByteStream, Wakes};
pub(crate) use tcp::Tcp;

/// How much may wait for a peer that does not read. It reads all the time (its service thread does), so only a broken
/// or overwhelmed one comes near; beyond the bound the link is given up rather than the machine's memory. Four of the
/// longest frames fit.
const OUTBOUND_LIMIT_BYTES: usize = 4 * MAX_BODY_BYTES;

/// With so few peers a thread that spins or watches reads each link outright, which costs one system call less than
/// asking first which link is ready.
const GLANCE_LINKS: usize = 2;

/// How patient the links are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinksConfig {
    /// After how many silent ticks (see [`Links::tick`]) a peer counts as lost.
    pub(crate) silence_limit_ticks: u32,
    /// How many bytes may wait for one peer.
    pub(crate) outbound_limit_bytes: usize,
}

impl Default for LinksConfig {
    fn default() -> Self {
        Self {
            silence_limit_ticks: 30,
            outbound_limit_bytes: OUTBOUND_LIMIT_BYTES,
        }
    }
}

/// What comes over a link.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    /// A frame's body, in the order in which the peer sent it.
    Frame(&'a [u8]),
    /// Nothing comes any more. Said once a link, after all its frames.
    Closed(Closed),
}

/// How a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The peer said goodbye first.
    Left,
    /// It did not; what happened, to stand behind the peer's name: "drone 2: …".
    Lost(String),
}

/// Who takes what comes.
pub(crate) type Receive<'a> = dyn FnMut(DroneId, Incoming<'_>) + 'a;

/// What all links together have carried. Bytes are counted with the frames' headers; heartbeats apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkStats {
    pub(crate) frames_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) frames_received: u64,
    pub(crate) bytes_received: u64,
    pub(crate) heartbeats_sent: u64,
    pub(crate) heartbeats_received: u64,
    /// How many links lie in shared memory.
    pub(crate) shared_links: u64,
}

/// What can go wrong with all links together; a single link's end is [`Incoming::Closed`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetError {
    /// The deadline came first; something may be lost on these links.
    #[error("leaving was not in order with {}", list(.peers))]
    Unfinished {
        /// The peers, and how it stands with each.
        peers: Vec<(DroneId, String)>,
    },
    /// The system refused to wait.
    #[error("cannot wait for the links")]
    Io(#[from] io::Error),
}

/// The links of one drone to all its peers.
pub(crate) struct Links {
    /// Indexed by drone; none for the drone itself.
    links: Vec<Option<Link>>,
    peers: usize,
    /// To how many of them the link lies in shared memory.
    shared_peers: usize,
    /// Whether all links keep quiet while somebody looks by himself; else those in shared memory.
    quiet: bool,
    poller: Poller,
    role: Mutex<Receiver>,
    /// The wakes that [`poll`](Self::poll) has answered.
    wakes_answered: AtomicU64,
    closing: AtomicBool,
    /// Something was sent to a peer that may sleep over it, and who sent it has yet to see to that.
    owes_bells: AtomicBool,
    /// How many threads have told the peers that they wait.
    waiting: Mutex<usize>,
    silence_limit_ticks: u32,
    frames_received: AtomicU64,
    bytes_received: AtomicU64,
    heartbeats_received: AtomicU64,
}

/// What belongs to the thread that receives.
struct Receiver {
    /// What the last look found.
    ready: Vec<Ready>,
    /// Indexed as the links.
    inbound: Vec<Option<Inbound>>,
}

/// The receiving half of a link.
struct Inbound {
    decoder: Decoder,
    /// Whether [`Incoming::Closed`] has been said.
    closed: bool,
    silent_ticks: u32,
}

/// As long as it lives, its thread looks after the links by [`Links::try_poll`], and what comes wakes nobody else.
pub(crate) struct Attention<'a> {
    links: &'a Links,
}

impl Drop for Attention<'_> {
    fn drop(&mut self) {
        self.links.change(|attention| attention.spinning -= 1);
    }
}

/// As long as it lives, its thread sleeps in the links by [`Watch::poll_since`], and what comes wakes it and not the
/// thread in [`Links::poll`].
pub(crate) struct Watch<'a> {
    links: &'a Links,
}

impl Watch<'_> {
    /// How often [`Links::wake_watcher`] was called.
    pub(crate) fn wakes(&self) -> u64 {
        self.links.poller.beds.watcher.wakes()
    }

    /// Waits up to `timeout` for anything, then hands over what came, as [`Links::poll`] does. Its thread asks for
    /// [`wakes`](Self::wakes), looks whether its wait is over, and if not calls this with what it was told: a wake
    /// that came in between ends the wait at once, so none is missed.
    pub(crate) fn poll_since(
        &self,
        wakes_seen: u64,
        timeout: Duration,
        receive: &mut Receive<'_>,
    ) -> io::Result<usize> {
        let links = self.links;
        links.poller.beds.watcher.sleep(wakes_seen, Some(timeout))?;
        let mut receiver = lock(&links.role);
        if links.peers <= GLANCE_LINKS {
            let awaited = links.is_awaited();
            return Ok(links.glance(&mut receiver, Glance::Awoken { awaited }, receive));
        }
        links.look(&mut receiver, receive)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.links.change(|attention| attention.watching -= 1);
    }
}

/// As long as it lives, all peers know that its thread waits.
pub(crate) struct Waiting<'a> {
    links: &'a Links,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.links.waiting);
        *waiting -= 1;
        if *waiting == 0 {
            for link in self.links.shared() {
                link.stream.wait_no_more();
            }
        }
    }
}

impl Links {
    /// Links of `me` over streams that are ready, one a peer.
    ///
    /// # Errors
    ///
    /// Where the system refuses an epoll set or an eventfd.
    pub(crate) fn new(
        me: DroneId,
        streams: Vec<(DroneId, Box<dyn ByteStream>)>,
        config: LinksConfig,
    ) -> io::Result<Self> {
        #[cfg(hivemind_mutants)]
        hivemind_protocol::choose_mutant(|variable| std::env::var(variable).ok());
        let peers = streams.len();
        let shared = streams.iter().filter(|(_, stream)| stream.is_shared());
        let shared_peers = shared.count();
        let quiet = shared_peers == peers || peers <= GLANCE_LINKS;
        let poller = Poller::new(quiet)?;
        let places = streams
            .iter()
            .map(|(peer, _)| peer.0 as usize + 1)
            .max()
            .unwrap_or(0);
        let mut links: Vec<Option<Link>> = (0..places).map(|_| None).collect();
        let mut inbound: Vec<Option<Inbound>> = (0..places).map(|_| None).collect();
        for (peer, stream) in streams {
            let opener = (!stream.vouches()).then(|| Opener::new(peer, me));
            let link = Link::new(me, peer, stream, config.outbound_limit_bytes);
            link.start_reading(&poller)?;
            links[peer.0 as usize] = Some(link);
            inbound[peer.0 as usize] = Some(Inbound {
                decoder: Decoder::new(opener),
                closed: false,
                silent_ticks: 0,
            });
        }
        let ready = Vec::with_capacity(LOOK_LINKS);
        let links = Self {
            links,
            peers,
            shared_peers,
            quiet,
            poller,
            role: Mutex::new(Receiver { ready, inbound }),
            wakes_answered: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            owes_bells: AtomicBool::new(false),
            waiting: Mutex::new(0),
            silence_limit_ticks: config.silence_limit_ticks,
            frames_received: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
            heartbeats_received: AtomicU64::new(0),
        };
        links.rest();
        Ok(links)
    }

    /// Totals up to now.
    pub(crate) fn stats(&self) -> LinkStats {
        let mut stats = LinkStats {
            frames_received: self.frames_received.load(Ordering::Relaxed),
            bytes_received: self.bytes_received.load(Ordering::Relaxed),
            heartbeats_received: self.heartbeats_received.load(Ordering::Relaxed),
            shared_links: self.shared_peers as u64,
            ..LinkStats::default()
        };
        for link in self.all() {
            let sent = link.sent();
            stats.frames_sent += sent.frames;
            stats.bytes_sent += sent.bytes;
            stats.heartbeats_sent += sent.heartbeats;
        }
        stats
    }

    /// Sends a frame. Never blocks; frames to one peer arrive in the order of the calls. On a link that has ended it
    /// does nothing. May be called from within a `receive`.
    ///
    /// # Panics
    ///
    /// When there is no such peer, or the body is longer than [`MAX_BODY_BYTES`].
    pub(crate) fn send(&self, to: DroneId, frame: &mut Frame, wakes: Wakes) {
        self.link(to)
            .send(frame, self.who_is_awaited(wakes), &self.poller);
    }

    /// As [`send`](Self::send), but a peer that sleeps is not woken before [`ring_owed`](Self::ring_owed): for who calls
    /// that soon, unless the answer comes first.
    pub(crate) fn send_owing(&self, to: DroneId, frame: &mut Frame, wakes: Wakes) {
        let link = self.link(to);
        link.send_owing(frame, self.who_is_awaited(wakes), &self.poller);
        if link.stream.is_shared() {
            self.owes_bells.store(true, Ordering::Release);
        }
    }

    /// Wakes every peer that sleeps over something that was [sent](Self::send_owing) and that it has not taken.
    pub(crate) fn ring_owed(&self) {
        if self.owes_bells.load(Ordering::Relaxed) && self.owes_bells.swap(false, Ordering::Acquire)
        {
            for link in self.shared() {
                link.ring_owed();
            }
        }
    }

    /// Tells all peers that a thread of this drone waits, until it drops what this gives: whoever sleeps over something that
    /// can wait is woken, and from now on by all that comes to it. None where nobody sleeps so: who has a link over TCP does not.
    pub(crate) fn say_waiting(&self) -> Option<Waiting<'_>> {
        let tells = self.shared_peers > 0 && !mutant(Mutant::WaitsUntold);
        tells.then(|| {
            let mut waiting = lock(&self.waiting);
            *waiting += 1;
            if *waiting == 1 {
                // What a third drone has sent to a peer, nobody sees here.
                let others = self.peers > 1;
                for link in self.shared() {
                    link.stream.say_that_it_waits(others);
                }
            }
            Waiting { links: self }
        })
    }

    /// Waits up to `timeout` (none: without end) for anything, then hands every whole frame that came to `receive`.
    /// Returns how many were handed over. Returns early on [`wake`](Self::wake), also on one that came since the last
    /// `poll` returned. `receive` may send, but not poll, tick or close.
    pub(crate) fn poll(
        &self,
        timeout: Option<Duration>,
        receive: &mut Receive<'_>,
    ) -> io::Result<usize> {
        let seen = self.wakes_answered.load(Ordering::Acquire);
        let bed = &self.poller.beds.service;
        bed.sleep(seen, timeout)?;
        self.wakes_answered.store(bed.wakes(), Ordering::Release);
        self.look(&mut lock(&self.role), receive)
    }

    /// As [`poll`](Self::poll) without waiting. None when another thread is receiving.
    pub(crate) fn try_poll(&self, receive: &mut Receive<'_>) -> Option<io::Result<usize>> {
        let mut receiver = match self.role.try_lock() {
            Ok(receiver) => receiver,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if self.peers <= GLANCE_LINKS || self.peers == self.shared_peers {
            return Some(Ok(self.glance(&mut receiver, Glance::Spinning, receive)));
        }
        Some(self.look(&mut receiver, receive))
    }

    /// Says that this thread spins on [`try_poll`](Self::try_poll) from now on, so what comes need wake no sleeper.
    /// Keep it only while spinning.
    pub(crate) fn attend(&self) -> Attention<'_> {
        self.change(|attention| attention.spinning += 1);
        Attention { links: self }
    }

    /// Says that this thread waits for what comes, in [`Watch::poll_since`], until it drops the watch.
    pub(crate) fn watch(&self) -> Watch<'_> {
        self.change(|attention| attention.watching += 1);
        Watch { links: self }
    }

    /// Ends every [`poll`](Self::poll) that is waiting.
    pub(crate) fn wake(&self) {
        self.poller.beds.service.wake();
    }

    /// Ends every [`Watch::poll_since`] that is waiting.
    pub(crate) fn wake_watcher(&self) {
        self.poller.beds.watcher.wake();
    }

    /// Once a second, by the service thread's own count and not by the clock: takes what has come, sends a heartbeat
    /// on links that were idle since the last tick, and counts the silent ticks of each peer. A peer that was silent
    /// for as many ticks as the configuration says is lost. A drone that was itself stopped does not tick, and finds
    /// its peers' heartbeats waiting when it goes on, so it blames nobody.
    pub(crate) fn tick(&self, receive: &mut Receive<'_>) {
        let mut receiver = lock(&self.role);
        // A system that refuses to look is reported by the next poll.
        let _ = self.look(&mut receiver, receive);
        for link in self.all() {
            link.tick(&self.poller);
            let inbound = receiver.of(link);
            if inbound.closed {
                continue;
            }
            if link.heard.swap(false, Ordering::Relaxed) {
                inbound.silent_ticks = 0;
                continue;
            }
            inbound.silent_ticks += 1;
            if mutant(Mutant::IdleReaderEnds) {
                link.stop_reading(&self.poller);
            }
            if inbound.silent_ticks >= self.silence_limit_ticks {
                let why = format!("silent for {} s", inbound.silent_ticks);
                self.lose(link, inbound, why, receive);
            }
        }
    }

    /// Leaves in order: says goodbye on all links, sends all that is queued, and receives until every peer has said
    /// goodbye or is gone. So the first drone to leave takes nobody's last message along.
    ///
    /// # Errors
    ///
    /// Names the peers with which it did not end in order by the deadline, or that were lost before.
    pub(crate) fn close(
        &self,
        deadline: Duration,
        receive: &mut Receive<'_>,
    ) -> Result<(), NetError> {
        let end = Instant::now() + deadline;
        self.closing.store(true, Ordering::SeqCst);
        for link in self.all() {
            link.leave(&self.poller);
        }
        // Read before it begins to watch, which may find what has come, and wake the watcher for it.
        let mut wakes = self.poller.beds.watcher.wakes();
        let watch = self.watch();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.all().all(|link| link.is_settled() && link.ended()) {
                break;
            }
            watch.poll_since(wakes, left, receive)?;
            wakes = watch.wakes();
        }
        let peers: Vec<_> = self.all().filter_map(unfinished).collect();
        if peers.is_empty() {
            Ok(())
        } else {
            Err(NetError::Unfinished { peers })
        }
    }

    fn link(&self, to: DroneId) -> &Link {
        let link = self.links.get(to.0 as usize).and_then(Option::as_ref);
        link.unwrap_or_else(|| panic!("a message for {to}, to which there is no link"))
    }

    fn all(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().flatten()
    }

    fn shared(&self) -> impl Iterator<Item = &Link> {
        let some = self.shared_peers > 0;
        self.all()
            .filter(move |link| some && link.stream.is_shared())
    }

    /// Links that tell nobody of what comes while somebody looks by himself.
    fn keep_quiet(&self) -> impl Iterator<Item = &Link> {
        let (quiet, some) = (self.quiet, self.shared_peers > 0);
        self.all()
            .filter(move |link| quiet || (some && link.stream.is_shared()))
    }

    /// Changes who looks after the links, and tells those that keep quiet meanwhile.
    fn change(&self, change: impl FnOnce(&mut Attending)) {
        match self.poller.beds.attend(change) {
            Turn::Sleeps => self.rest(),
            Turn::Moves if self.all_are_shared() => self.rest(),
            Turn::Looks => {
                for link in self.keep_quiet() {
                    link.stream.look_by_itself();
                }
            }
            Turn::Moves | Turn::Same => {}
        }
    }

    /// Has all links tell of what comes again: whoever looked at them by himself does so no more.
    fn rest(&self) {
        let awaited = self.is_awaited();
        self.rest_as(awaited);
        self.rest_as_awaited(awaited);
    }

    /// Has them tell of all that comes, if somebody has begun to await what this drone does since they were told how to: who did
    /// so may have found it looking.
    fn rest_as_awaited(&self, awaited: bool) {
        if !awaited && !self.poller.beds.somebody_looks() && self.is_awaited() {
            self.rest_as(true);
        }
    }

    fn rest_as(&self, awaited: bool) {
        let mut came = false;
        for link in self.keep_quiet().filter(|link| !link.ended()) {
            came |= !link.stream.rest(awaited);
        }
        if came {
            self.poller.beds.rouse();
        }
    }

    /// Whether somebody waits for what comes here, or for what this drone does with it; or might, and cannot tell.
    fn is_awaited(&self) -> bool {
        let mut living = self.shared().filter(|link| !link.ended());
        !self.all_are_shared()
            || self.poller.beds.somebody_watches()
            || living.any(|link| link.stream.peer_waits())
    }

    /// Whether each that waits can tell this drone.
    fn all_are_shared(&self) -> bool {
        self.shared_peers == self.peers
    }

    fn who_is_awaited(&self, wakes: Wakes) -> Wakes {
        if self.all_are_shared() {
            wakes
        } else {
            Wakes::Anyone
        }
    }

    /// A thread in [`close`](Self::close) may sleep while another one brings about what it waits for.
    fn tell_if_closing(&self, news: bool) {
        if news && self.closing.load(Ordering::SeqCst) {
            self.wake_watcher();
        }
    }
}

impl Receiver {
    fn of(&mut self, link: &Link) -> &mut Inbound {
        self.inbound[link.peer.0 as usize]
            .as_mut()
            .expect("each link has both halves")
    }
}

/// How it stands with a link that did not end in order. A peer that said goodbye and is gone wants nothing more.
fn unfinished(link: &Link) -> Option<(DroneId, String)> {
    let left = link.left.load(Ordering::SeqCst);
    let why = if let Some(why) = link.failure() {
        if left {
            return None;
        }
        why
    } else if !link.is_finished() {
        format!("{} bytes for it have not gone out", link.queued_bytes())
    } else if !link.ended() {
        "it has not said goodbye".to_owned()
    } else {
        return None;
    };
    Some((link.peer, why))
}

fn list(peers: &[(DroneId, String)]) -> String {
    let peers: Vec<_> = peers
        .iter()
        .map(|(peer, why)| format!("{peer} ({why})"))
        .collect();
    peers.join(", ")
}
