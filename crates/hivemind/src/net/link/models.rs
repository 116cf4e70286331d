//! A link and the threads that share it, under every order of their steps (loom): those that send, one that drains, and one that gives
//! the link up.
//!
//! What they do is in `link.rs`; how the models are run, in docs/TESTING.md.

use super::super::frame::Decoder;
use super::*;
use crate::primitive::{Arc, check};
use hivemind_protocol::Opener;
use loom::thread;
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const ENDS: (DroneId, DroneId) = (DroneId(0), DroneId(1));

/// A stream that takes as much as there is room for, and then blocks until it gets room.
struct Narrow {
    fd: OwnedFd,
    wire: Arc<Mutex<Wire>>,
}

struct Wire {
    room: usize,
    came: Vec<u8>,
    ended: bool,
}

impl ByteStream for Narrow {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut wire = lock(&self.wire);
        let before = wire.came.len();
        for part in parts {
            let taken = part.len().min(wire.room);
            wire.came.extend_from_slice(&part[..taken]);
            wire.room -= taken;
        }
        match wire.came.len() - before {
            0 => Err(ErrorKind::WouldBlock.into()),
            sent => Ok(sent),
        }
    }

    fn receive(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn finish_sending(&self) -> io::Result<()> {
        lock(&self.wire).ended = true;
        Ok(())
    }

    fn abort(&self) {
        lock(&self.wire).ended = true;
    }
}

struct Model {
    link: Link,
    poller: Poller,
    wire: Arc<Mutex<Wire>>,
}

impl Model {
    fn new(room: usize) -> Arc<Self> {
        let wire = Arc::new(Mutex::new(Wire {
            room,
            came: Vec::new(),
            ended: false,
        }));
        let stream = Narrow {
            fd: eventfd(0, EventfdFlags::CLOEXEC).unwrap(),
            wire: Arc::clone(&wire),
        };
        Arc::new(Self {
            link: Link::new(ENDS.0, ENDS.1, Box::new(stream), 1 << 20),
            poller: Poller::new(false).unwrap(),
            wire,
        })
    }

    fn drain_with(&self, room: usize) -> bool {
        lock(&self.wire).room += room;
        self.link.drain(&self.poller)
    }

    /// The bodies of the frames that came, each of them whole and in the order of its number.
    fn bodies(&self) -> Vec<Vec<u8>> {
        let came = lock(&self.wire).came.clone();
        let mut decoder = Decoder::new(Some(Opener::new(ENDS.0, ENDS.1)));
        decoder.space()[..came.len()].copy_from_slice(&came);
        decoder.filled(came.len());
        let mut bodies = Vec::new();
        while let Some((kind, place)) = decoder.next().expect("frames are whole and in order") {
            if kind == Kind::Data {
                bodies.push(decoder.body(place).to_vec());
            }
        }
        bodies
    }
}

fn spawn(model: &Arc<Model>, run: impl FnOnce(&Model) + 'static) -> thread::JoinHandle<()> {
    let model = Arc::clone(model);
    thread::spawn(move || run(&model))
}

#[test]
fn frames_of_two_threads_arrive_whole_while_a_third_drains() {
    check(3, || {
        let model = Model::new(30);
        let senders = [b"one", b"two"].map(|body| {
            spawn(&model, move |model| {
                model
                    .link
                    .send(&mut Frame::of(body), Wakes::Anyone, &model.poller)
            })
        });
        model.drain_with(15);
        for sender in senders {
            sender.join().unwrap();
        }
        model.drain_with(1 << 10);
        assert_eq!(model.link.queued_bytes(), 0);
        let mut bodies = model.bodies();
        bodies.sort();
        assert_eq!(bodies, [b"one", b"two"]);
    });
}

#[test]
fn the_end_comes_after_everything_that_went_before_the_goodbye() {
    check(3, || {
        let model = Model::new(10);
        let sender = spawn(&model, |model| {
            model
                .link
                .send(&mut Frame::of(b"late"), Wakes::Anyone, &model.poller)
        });
        let drainer = spawn(&model, |model| {
            model.drain_with(20);
        });
        model.link.leave(&model.poller);
        sender.join().unwrap();
        drainer.join().unwrap();
        model.drain_with(1 << 10);
        assert!(model.link.is_finished());
        assert!(lock(&model.wire).ended, "the peer sees the end");
        assert_eq!(model.bodies().len() as u64, model.link.sent().frames);
    });
}

#[test]
fn a_link_that_is_given_up_while_two_threads_use_it_keeps_nothing_and_says_why() {
    check(3, || {
        let model = Model::new(10);
        let sender = spawn(&model, |model| {
            model
                .link
                .send(&mut Frame::of(b"lost"), Wakes::Anyone, &model.poller)
        });
        let drainer = spawn(&model, |model| {
            model.drain_with(5);
        });
        model.link.fail("silent".to_owned(), &model.poller);
        model.link.fail("later".to_owned(), &model.poller);
        sender.join().unwrap();
        drainer.join().unwrap();
        assert_eq!(model.link.failure().as_deref(), Some("silent"));
        assert_eq!(model.link.queued_bytes(), 0);
    });
}
