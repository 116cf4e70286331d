//! The receiving half of the links: which of them are served in a look, how one is read, and how it ends.
//!
//! All of it is done by the thread that has the receiver's role. Deliberately elsewhere: who has it when, and who sleeps
//! (`mod.rs`, `beds.rs`), how bytes become frames (`frame.rs`).

use std::io;

use hivemind_protocol::{Mutant, mutant};

use super::frame::Kind;
use super::link::{Link, describe, heard};
use super::poller::LOOK_LINKS;
use super::{Closed, Inbound, Incoming, Links, Receive, Receiver};
use crate::primitive::Ordering;

/// How much one look takes from one link before the others have their turn.
const READ_BUDGET_BYTES: usize = 4 << 20;

/// Who looks at links without asking which is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Glance {
    /// A thread that does so all the time.
    Spinning,
    /// One that was asleep and may sleep again: it answers bells and asks for the next; for all that comes, if somebody awaits
    /// what this drone does.
    Awoken { awaited: bool },
}

impl Links {
    /// Serves every link that is ready now. Only for the thread that has the role, and that may sleep next.
    pub(super) fn look(
        &self,
        receiver: &mut Receiver,
        receive: &mut Receive<'_>,
    ) -> io::Result<usize> {
        let mut frames = 0;
        let mut looks = 0..=self.links.len() / LOOK_LINKS;
        loop {
            if looks.next().is_none() {
                self.poller.beds.nudge();
                break;
            }
            self.poller.look(&mut receiver.ready)?;
            frames += self.serve(receiver, receive);
            if receiver.ready.len() < LOOK_LINKS {
                break;
            }
        }
        let awaited = self.is_awaited();
        for link in self.shared() {
            frames += self.serve_outright(link, receiver, Glance::Awoken { awaited }, receive);
        }
        self.rest_as_awaited(awaited);
        Ok(frames)
    }

    /// Serves every link without asking which is ready. Only for the thread that has the role.
    pub(super) fn glance(
        &self,
        receiver: &mut Receiver,
        glance: Glance,
        receive: &mut Receive<'_>,
    ) -> usize {
        let mut frames = 0;
        for link in self.all() {
            if let Glance::Awoken { .. } = glance {
                link.stream.answer_bell();
            }
            frames += self.serve_outright(link, receiver, glance, receive);
        }
        if let Glance::Awoken { awaited } = glance {
            self.rest_as_awaited(awaited);
        }
        frames
    }

    /// Serves one link without asking whether it is ready.
    fn serve_outright(
        &self,
        link: &Link,
        receiver: &mut Receiver,
        glance: Glance,
        receive: &mut Receive<'_>,
    ) -> usize {
        self.tell_if_closing(link.drain(&self.poller));
        let mut frames = 0;
        let inbound = receiver.of(link);
        if !link.lost.load(Ordering::SeqCst) {
            frames += self.read(link, inbound, receive);
        }
        if let Glance::Awoken { awaited } = glance
            && link.stream.is_shared()
        {
            frames += self.before_sleep(link, inbound, awaited, receive);
        }
        frames
    }

    /// Asks a link in shared memory for a bell, so that this thread may sleep. Not where another one looks: each bell
    /// would cost the peer a system call, and wake us for nothing.
    fn before_sleep(
        &self,
        link: &Link,
        inbound: &mut Inbound,
        awaited: bool,
        receive: &mut Receive<'_>,
    ) -> usize {
        if link.ended() || self.poller.beds.somebody_looks() || link.stream.rest(awaited) {
            return 0;
        }
        // Something has come since, of which no bell tells.
        let frames = self.read(link, inbound, receive);
        if !link.ended() && !link.stream.rest(awaited) {
            self.poller.beds.rouse();
        }
        frames
    }

    /// Serves the links that a look found; of those in shared memory it answers the bells.
    fn serve(&self, receiver: &mut Receiver, receive: &mut Receive<'_>) -> usize {
        let mut frames = 0;
        for index in 0..receiver.ready.len() {
            let ready = receiver.ready[index];
            let link = self.links[ready.token as usize]
                .as_ref()
                .expect("only links are watched");
            if link.stream.is_shared() {
                link.stream.answer_bell();
                continue;
            }
            if ready.writable {
                self.tell_if_closing(link.drain(&self.poller));
            }
            if ready.readable {
                frames += self.read(link, receiver.of(link), receive);
            }
        }
        frames
    }

    /// Reads one link until it is dry or has had its turn.
    fn read(&self, link: &Link, inbound: &mut Inbound, receive: &mut Receive<'_>) -> usize {
        let (mut frames, mut taken) = (0, 0);
        loop {
            let space = inbound.decoder.space();
            let room = space.len();
            let came = match link.stream.receive(space) {
                Ok(0) => {
                    self.end(link, inbound, receive);
                    return frames;
                }
                Ok(came) => came,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return frames,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.lose(link, inbound, describe(&error), receive);
                    return frames;
                }
            };
            heard(link);
            inbound.decoder.filled(came);
            frames += self.hand_over(link, inbound, receive);
            taken += came;
            if link.lost.load(Ordering::SeqCst) {
                return frames;
            }
            if link.stream.holds_input() {
                // No descriptor would tell of it.
                continue;
            }
            if came < room {
                return frames;
            }
            if taken >= READ_BUDGET_BYTES {
                if link.stream.is_shared() {
                    self.poller.beds.rouse();
                } else {
                    self.poller.beds.nudge();
                }
                return frames;
            }
        }
    }

    /// Hands every whole frame of a link over.
    fn hand_over(&self, link: &Link, inbound: &mut Inbound, receive: &mut Receive<'_>) -> usize {
        let mut frames = 0;
        loop {
            let (kind, place) = match inbound.decoder.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => return frames,
                Err(error) => {
                    self.lose(link, inbound, error.to_string(), receive);
                    return frames;
                }
            };
            match kind {
                _ if inbound.closed => {
                    self.lose(
                        link,
                        inbound,
                        "it sent something after its goodbye".to_owned(),
                        receive,
                    );
                    return frames;
                }
                Kind::Data => {
                    frames += 1;
                    self.frames_received.fetch_add(1, Ordering::Relaxed);
                    let bytes = (inbound.decoder.header_bytes() + place.len()) as u64;
                    self.bytes_received.fetch_add(bytes, Ordering::Relaxed);
                    receive(link.peer, Incoming::Frame(inbound.decoder.body(place)));
                }
                Kind::Heartbeat => {
                    self.heartbeats_received.fetch_add(1, Ordering::Relaxed);
                }
                Kind::Goodbye => {
                    inbound.closed = true;
                    link.left.store(true, Ordering::SeqCst);
                    receive(link.peer, Incoming::Closed(Closed::Left));
                    self.tell_if_closing(true);
                }
            }
        }
    }

    /// The peer sends no more: in order after its goodbye, a loss without one.
    fn end(&self, link: &Link, inbound: &mut Inbound, receive: &mut Receive<'_>) {
        if link.left.load(Ordering::SeqCst) {
            link.stop_reading(&self.poller);
        } else {
            let why = if inbound.decoder.is_amid_frame() {
                "it closed the connection amid a message"
            } else {
                "it closed the connection without a goodbye"
            };
            self.lose(link, inbound, why.to_owned(), receive);
        }
    }

    /// Gives a link up, and says so unless its end has been said before.
    pub(super) fn lose(
        &self,
        link: &Link,
        inbound: &mut Inbound,
        why: String,
        receive: &mut Receive<'_>,
    ) {
        if mutant(Mutant::LostLinkRead) {
            return receive(link.peer, Incoming::Closed(Closed::Lost(why)));
        }
        // Where sending found the link broken or overfull before, that is the reason.
        let why = link.failure().unwrap_or(why);
        link.fail(why.clone(), &self.poller);
        link.forget(&self.poller);
        if !inbound.closed {
            inbound.closed = true;
            receive(link.peer, Incoming::Closed(Closed::Lost(why)));
        }
        link.lost.store(true, Ordering::SeqCst);
        self.tell_if_closing(true);
    }
}
