//! Two byte rings in one memory file, one a direction, between two processes of one machine that do not trust each
//! other with more than these bytes.
//!
//! Each ring has one sender and one receiver, each a value of its own, so that the compiler keeps it so. A full or an
//! empty ring is no error: who finds it so says that it rests, and whoever ends that state is told to ring the bell.
//! Deliberately elsewhere: the bell itself (a byte on the connection that the two already have), and what the bytes
//! mean (`hivemind`).
//!
//! The other process may store anything into the file at any time. So an end never reads its own cursor back, checks
//! the other's each time it reads it, and copies bytes out before anybody looks at them. The file's size is sealed, so
//! no access can hit a hole behind its end.

use crate::primitive::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(not(all(loom, test)))]
mod ends;
#[cfg(not(all(loom, test)))]
mod segment;

#[cfg(not(all(loom, test)))]
pub use self::ends::{RingReceiver, RingSender};
#[cfg(not(all(loom, test)))]
pub use self::segment::{Offer, Pair, RingRefused, open, share};

/// The other process stored a cursor that no correct one stores. The link with it is over.
///
/// ```
/// # use hivemind_memory::shared_ring;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
/// let sent: Result<(usize, bool), shared_ring::Nonsense> = ours.sender.send(b"hello");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it wrote nonsense into the shared ring (its cursor says {theirs}, ours {ours})")]
pub struct Nonsense {
    ours: u64,
    theirs: u64,
}

/// On a cache line of its own; two, for processors fetch them in pairs.
#[repr(C, align(128))]
struct Apart<T>(T);

/// What the two ends of one ring tell each other. All zero at first.
#[repr(C)]
struct Lane {
    /// How many bytes were ever sent.
    sent: Apart<AtomicU64>,
    /// How many bytes were ever taken.
    taken: Apart<AtomicU64>,
    /// Not 0: the receiver found the ring empty and wants the bell: [`RESTS`] or [`RESTS_AWAITED`].
    receiver_rests: Apart<AtomicU32>,
    /// Not 0: the sender found the ring full and wants the bell.
    sender_rests: Apart<AtomicU32>,
    /// Not 0: the sender sends no more.
    ended: Apart<AtomicU32>,
    /// Not 0: somebody at the sender waits for something, of this receiver or of another.
    sender_waits: Apart<AtomicU32>,
}

/// Who rests wants the bell for what cannot wait until it looks by itself.
const RESTS: u32 = 1;
/// Who rests wants it for everything: somebody waits for what comes, or for what it does with it.
const RESTS_AWAITED: u32 = 2;

/// One end's view of a lane: its own cursor, and the last it saw of the other's.
struct Cursor {
    own: u64,
    others: u64,
}

impl Cursor {
    const fn new() -> Self {
        Self { own: 0, others: 0 }
    }

    /// How many bytes the sender may still put in.
    fn room(&mut self, lane: &Lane, capacity: u64) -> Result<u64, Nonsense> {
        let taken = lane.taken.0.load(Ordering::Acquire);
        self.accept(taken, self.others, self.own)?;
        Ok(capacity - (self.own - self.others))
    }

    /// Whether the sender sent no more than what was taken.
    fn is_over(&mut self, lane: &Lane, capacity: u64) -> Result<bool, Nonsense> {
        // First the end, then what came before it.
        let ended = lane.ended.0.load(Ordering::Acquire) != 0;
        Ok(ended && self.waiting(lane, capacity)? == 0)
    }

    /// How many bytes the receiver may take.
    fn waiting(&mut self, lane: &Lane, capacity: u64) -> Result<u64, Nonsense> {
        let sent = lane.sent.0.load(Ordering::Acquire);
        self.accept(sent, self.others, self.own + capacity)?;
        Ok(self.others - self.own)
    }

    /// Takes the other's cursor, which goes forward only and stays within the ring.
    fn accept(&mut self, theirs: u64, least: u64, most: u64) -> Result<(), Nonsense> {
        if !(least..=most).contains(&theirs) {
            let ours = self.own;
            return Err(Nonsense { ours, theirs });
        }
        self.others = theirs;
        Ok(())
    }

    /// Says that `bytes` more were done by this end. Sooner or later [`wakes`] has to be asked: two stores and two loads
    /// that cross (Dekker). This end stores its cursor and looks whether the other rests; the other stores that it rests
    /// and looks at the cursor. With a fence between store and load on both sides, at least one of them sees.
    fn advance(&mut self, bytes: u64, cursor: &AtomicU64) {
        self.own += bytes;
        cursor.store(self.own, Ordering::Release);
    }

    /// Whether the receiver, resting, is to be woken for what was sent: not where it took all without that.
    fn wakes_receiver(&self, lane: &Lane) -> bool {
        self.was_left(lane) && wakes(&lane.receiver_rests.0, RESTS)
    }

    /// As [`wakes_receiver`](Self::wakes_receiver), for what can wait: not where nobody awaits it. `waits`: whether somebody at the
    /// sender does. The receiver may not know that yet, where it had nothing to take when it was said.
    fn wakes_awaited(&self, lane: &Lane, waits: bool) -> bool {
        let at_least = if waits { RESTS } else { RESTS_AWAITED };
        self.was_left(lane) && wakes(&lane.receiver_rests.0, at_least)
    }

    /// Says that somebody at the sender waits, and whether the receiver, resting, is to be woken for it: it may rest over what
    /// could wait until now, from this sender or, if that is `others`' matter too, from another.
    fn says_that_it_waits(&self, lane: &Lane, others: bool) -> bool {
        lane.sender_waits.0.store(1, Ordering::Relaxed);
        (others || self.was_left(lane)) && wakes(&lane.receiver_rests.0, RESTS)
    }

    fn was_left(&self, lane: &Lane) -> bool {
        lane.taken.0.load(Ordering::Acquire) != self.own
    }
}

impl Lane {
    /// Says that the sender sends no more, and whether the receiver, resting, is to be woken for it.
    fn end(&self) -> bool {
        self.ended.0.store(1, Ordering::Release);
        wakes(&self.receiver_rests.0, RESTS)
    }

    /// Says that the receiver rests, and whether it is awaited: whether there is nothing that it would have to take, so that it
    /// may sleep.
    fn receiver_may_sleep(
        &self,
        cursor: &mut Cursor,
        capacity: u64,
        awaited: bool,
    ) -> Result<bool, Nonsense> {
        let how = if awaited { RESTS_AWAITED } else { RESTS };
        rest(&self.receiver_rests.0, how);
        let ended = self.ended.0.load(Ordering::Acquire) != 0;
        Ok(!ended && cursor.waiting(self, capacity)? == 0)
    }
}

/// After a store that the other end, going to rest, looks for: whether it rests like this at least, and is to be woken.
fn wakes(other_rests: &AtomicU32, at_least: u32) -> bool {
    fence(Ordering::SeqCst);
    other_rests.load(Ordering::Relaxed) >= at_least && other_rests.swap(0, Ordering::Relaxed) != 0
}

/// Says that this end rests; the caller looks after it at what the other would have done, and sleeps only if nothing has changed.
fn rest(rests: &AtomicU32, how: u32) {
    rests.store(how, Ordering::Relaxed);
    fence(Ordering::SeqCst);
}

#[cfg(all(loom, test))]
mod models {
    use super::*;
    use crate::primitive::check;
    use loom::sync::Arc;
    use loom::thread;

    fn lane() -> Lane {
        Lane {
            sent: Apart(AtomicU64::new(0)),
            taken: Apart(AtomicU64::new(0)),
            receiver_rests: Apart(AtomicU32::new(0)),
            sender_rests: Apart(AtomicU32::new(0)),
            ended: Apart(AtomicU32::new(0)),
            sender_waits: Apart(AtomicU32::new(0)),
        }
    }

    #[test]
    fn who_goes_to_rest_on_an_empty_ring_sees_the_byte_or_gets_the_bell() {
        check(|| {
            let lane = Arc::new(lane());
            let theirs = Arc::clone(&lane);
            let sender = thread::spawn(move || {
                let mut cursor = Cursor::new();
                cursor.advance(1, &theirs.sent.0);
                cursor.wakes_receiver(&theirs)
            });
            let sleeps = lane
                .receiver_may_sleep(&mut Cursor::new(), 1, false)
                .unwrap();
            let bell = sender.join().unwrap();
            assert!(!sleeps || bell, "a receiver sleeps and nobody wakes it");
        });
    }

    #[test]
    fn who_takes_a_byte_and_rests_gets_the_bell_for_the_next() {
        check(|| {
            let lane = Arc::new(lane());
            let theirs = Arc::clone(&lane);
            let sender = thread::spawn(move || {
                let mut cursor = Cursor::new();
                cursor.advance(1, &theirs.sent.0);
                cursor.advance(1, &theirs.sent.0);
                // The bell is owed until now, for both.
                cursor.wakes_receiver(&theirs)
            });
            let mut cursor = Cursor::new();
            let first = cursor.waiting(&lane, 2).unwrap();
            cursor.advance(first, &lane.taken.0);
            let sleeps = lane.receiver_may_sleep(&mut cursor, 2, false).unwrap();
            let bell = sender.join().unwrap();
            assert!(
                !sleeps || bell || first == 2,
                "a receiver sleeps and nobody wakes it"
            );
        });
    }

    #[test]
    fn who_rests_awaited_sees_what_could_wait_or_gets_the_bell() {
        check(|| {
            let lane = Arc::new(lane());
            let theirs = Arc::clone(&lane);
            let sender = thread::spawn(move || {
                let mut cursor = Cursor::new();
                cursor.advance(1, &theirs.sent.0);
                cursor.wakes_awaited(&theirs, false)
            });
            let mut cursor = Cursor::new();
            let sleeps = lane.receiver_may_sleep(&mut cursor, 1, true).unwrap();
            let bell = sender.join().unwrap();
            assert!(
                !sleeps || bell,
                "an awaited receiver sleeps and nobody wakes it"
            );
        });
    }

    #[test]
    fn who_rests_over_what_can_wait_sees_that_the_other_waits_or_gets_the_bell() {
        for others in [true, false] {
            who_rests_over_what_can_wait(others);
        }
    }

    fn who_rests_over_what_can_wait(others: bool) {
        check(move || {
            let lane = Arc::new(lane());
            let theirs = Arc::clone(&lane);
            let sender = thread::spawn(move || {
                let mut cursor = Cursor::new();
                cursor.advance(1, &theirs.sent.0);
                let bell = cursor.wakes_awaited(&theirs, false);
                assert!(!bell, "nobody has said that it is awaited");
                cursor.says_that_it_waits(&theirs, others)
            });
            let mut cursor = Cursor::new();
            let sleeps = lane.receiver_may_sleep(&mut cursor, 1, false).unwrap();
            let sees = lane.sender_waits.0.load(Ordering::Relaxed) != 0;
            let bell = sender.join().unwrap();
            assert!(
                !sleeps || sees || bell,
                "a receiver sleeps while the sender waits for it"
            );
        });
    }

    #[test]
    fn who_rests_over_nothing_gets_the_bell_for_what_comes_from_who_waits() {
        check(|| {
            let lane = Arc::new(lane());
            let theirs = Arc::clone(&lane);
            let sender = thread::spawn(move || {
                let mut cursor = Cursor::new();
                let told = cursor.says_that_it_waits(&theirs, false);
                assert!(!told, "nothing was left");
                cursor.advance(1, &theirs.sent.0);
                cursor.wakes_awaited(&theirs, true)
            });
            let mut cursor = Cursor::new();
            let sleeps = lane.receiver_may_sleep(&mut cursor, 1, false).unwrap();
            let bell = sender.join().unwrap();
            assert!(
                !sleeps || bell,
                "a receiver sleeps over what somebody waits for"
            );
        });
    }

    #[test]
    fn who_goes_to_rest_before_the_end_sees_it_or_gets_the_bell() {
        check(|| {
            let lane = Arc::new(lane());
            let theirs = Arc::clone(&lane);
            let sender = thread::spawn(move || theirs.end());
            let sleeps = lane
                .receiver_may_sleep(&mut Cursor::new(), 1, false)
                .unwrap();
            let bell = sender.join().unwrap();
            assert!(
                !sleeps || bell,
                "a receiver sleeps and nobody tells it the end"
            );
        });
    }

    #[test]
    fn the_end_is_seen_after_everything_that_was_sent_before_it() {
        check(|| {
            let lane = Arc::new(lane());
            let theirs = Arc::clone(&lane);
            let sender = thread::spawn(move || {
                Cursor::new().advance(1, &theirs.sent.0);
                theirs.end();
            });
            assert!(!Cursor::new().is_over(&lane, 1).unwrap(), "a byte was lost");
            sender.join().unwrap();
        });
    }

    #[test]
    fn who_goes_to_rest_on_a_full_ring_sees_the_room_or_gets_the_bell() {
        check(|| {
            let lane = Arc::new(lane());
            lane.sent.0.store(1, Ordering::SeqCst);
            let theirs = Arc::clone(&lane);
            let receiver = thread::spawn(move || {
                Cursor::new().advance(1, &theirs.taken.0);
                wakes(&theirs.sender_rests.0, RESTS)
            });
            let mut cursor = Cursor { own: 1, others: 0 };
            rest(&lane.sender_rests.0, RESTS);
            let sleeps = cursor.room(&lane, 1).unwrap() == 0;
            let bell = receiver.join().unwrap();
            assert!(!sleeps || bell, "a sender sleeps and nobody wakes it");
        });
    }
}
