//! Where threads wait for their tickets, and which of them looks after the links meanwhile.
//!
//! One waiting thread at most is the *watcher*: it sleeps in the links, takes what comes, and so brings about its own end
//! without another thread's help. The others park until their ticket is done. Who stops watching hands the watch to one
//! of them. A wake-up costs more than a round trip (docs/decisions/0013-who-waits-watches.md): with one thread waiting there is one a wait.
//!
//! Deliberately elsewhere: what a ticket is for, and what watching is (the driver, through [`Lookout`]).

use crate::primitive::{Arc, AtomicBool, Condvar, Mutex, Ordering, lock};
use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// What a watcher does: it looks for what comes and sees to it that tickets are completed.
pub(crate) trait Lookout {
    /// How often the watcher was woken for another reason than what came (see [`Waiter::complete`]).
    fn wakes(&self) -> u64;

    /// Sleeps until something comes, a wake comes that was not among the `wakes_seen`, or `longest` is over; then
    /// deals with what came.
    fn watch(&self, wakes_seen: u64, longest: Duration);
}

/// The threads that wait.
pub(crate) struct Parking<R> {
    room: Mutex<Room<R>>,
}

struct Room<R> {
    /// Whether there is a watcher, or nobody may be.
    watched: bool,
    /// Whoever may become it, in the order in which they came. One whose ticket is done may still be here.
    parked: VecDeque<Arc<Waiter<R>>>,
}

/// Where one thread waits for one result.
pub(crate) struct Waiter<R> {
    /// For a look without the lock.
    done: AtomicBool,
    slot: Mutex<Slot<R>>,
    changed: Condvar,
}

struct Slot<R> {
    result: Option<R>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Not asleep.
    Awake,
    Parked,
    /// Asleep in the links, or about to be.
    Watching,
}

/// A wait without a limit of note.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

impl<R> Parking<R> {
    /// Nobody waits yet. Where there is nothing to look after, all park.
    pub(crate) fn new(has_links: bool) -> Self {
        Self {
            room: Mutex::new(Room {
                watched: !has_links,
                parked: VecDeque::new(),
            }),
        }
    }

    /// Waits for the result, at most `limit`: none then. `lookout` is asked for where this thread becomes the watcher,
    /// and dropped before it stops being it.
    pub(crate) fn wait<L: Lookout>(
        &self,
        waiter: &Arc<Waiter<R>>,
        limit: Duration,
        lookout: impl FnOnce() -> L,
    ) -> Option<R> {
        if !waiter.is_done() {
            let end = Instant::now() + limit.min(LONGEST_WAIT);
            self.enter(waiter);
            if waiter.park(end) == Place::Watching {
                waiter.watch(end, &lookout());
            }
            self.leave(waiter);
        }
        waiter.take()
    }

    fn enter(&self, waiter: &Arc<Waiter<R>>) {
        let mut room = lock(&self.room);
        let place = if room.watched {
            room.parked.push_back(Arc::clone(waiter));
            Place::Parked
        } else {
            room.watched = true;
            Place::Watching
        };
        lock(&waiter.slot).place = place;
    }

    fn leave(&self, waiter: &Arc<Waiter<R>>) {
        let mut room = lock(&self.room);
        let place = std::mem::replace(&mut lock(&waiter.slot).place, Place::Awake);
        match place {
            Place::Parked => room.parked.retain(|other| !Arc::ptr_eq(other, waiter)),
            // Also where the watch came to a parked thread as it gave up.
            Place::Watching => room.hand_on_the_watch(),
            Place::Awake => {
                unreachable!("INV-12: a thread leaves the parking once, after it entered")
            }
        }
    }
}

impl<R> Room<R> {
    fn hand_on_the_watch(&mut self) {
        while let Some(next) = self.parked.pop_front() {
            let mut slot = lock(&next.slot);
            if slot.result.is_none() {
                slot.place = Place::Watching;
                next.changed.notify_one();
                return;
            }
        }
        self.watched = false;
    }
}

impl<R> Waiter<R> {
    pub(crate) fn new() -> Self {
        Self {
            done: AtomicBool::new(false),
            slot: Mutex::new(Slot {
                result: None,
                place: Place::Awake,
            }),
            changed: Condvar::new(),
        }
    }

    /// Whether the result is there.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// The result, if it is there; once.
    pub(crate) fn take(&self) -> Option<R> {
        self.is_done().then(|| lock(&self.slot).result.take())?
    }

    /// Brings the result. Says whether its thread is the watcher, which the caller must wake then.
    #[must_use = "the watcher is woken through the links"]
    pub(crate) fn complete(&self, result: R) -> bool {
        let mut slot = lock(&self.slot);
        slot.result = Some(result);
        self.done.store(true, Ordering::Release);
        if slot.place == Place::Parked {
            self.changed.notify_one();
        }
        slot.place == Place::Watching
    }

    /// Sleeps while parked: until the result is there, the watch comes to this thread, or the end.
    fn park(&self, end: Instant) -> Place {
        let mut slot = lock(&self.slot);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if slot.place != Place::Parked || slot.result.is_some() || left.is_zero() {
                return slot.place;
            }
            let waited = self.changed.wait_timeout(slot, left);
            slot = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn watch(&self, end: Instant, lookout: &impl Lookout) {
        loop {
            // Asked for before the look: who completes this ticket after the look wakes after the question.
            let wakes = lookout.wakes();
            let left = end.saturating_duration_since(Instant::now());
            if self.is_done() || left.is_zero() {
                return;
            }
            lookout.watch(wakes, left);
        }
    }
}

#[cfg(all(loom, test))]
mod models {
    use super::*;
    use crate::net::modelled::ModelBeds;
    use crate::primitive::check;
    use loom::thread;

    const LONG: Duration = Duration::from_secs(3600);

    /// A drone with some tickets: frame n completes ticket n.
    struct Model {
        beds: ModelBeds,
        parking: Parking<u32>,
        tickets: Vec<Arc<Waiter<u32>>>,
    }

    struct Watch<'a>(&'a Model);

    impl<'a> Watch<'a> {
        fn begin(model: &'a Model) -> Self {
            model.beds.watch(true);
            Self(model)
        }
    }

    impl Drop for Watch<'_> {
        fn drop(&mut self) {
            self.0.beds.watch(false);
        }
    }

    impl Lookout for Watch<'_> {
        fn wakes(&self) -> u64 {
            self.0.beds.watcher_wakes()
        }

        fn watch(&self, wakes_seen: u64, _: Duration) {
            self.0.beds.watcher_sleeps(wakes_seen);
            self.0.take();
        }
    }

    impl Model {
        fn new(tickets: usize) -> Arc<Self> {
            Arc::new(Self {
                beds: ModelBeds::new(),
                parking: Parking::new(true),
                tickets: (0..tickets).map(|_| Arc::new(Waiter::new())).collect(),
            })
        }

        fn complete(&self, ticket: u32) {
            if self.tickets[ticket as usize].complete(ticket) {
                self.beds.wake_watcher();
            }
        }

        fn take(&self) {
            while let Some(frame) = self.beds.take() {
                self.complete(frame);
            }
        }

        fn wait(&self, ticket: u32, limit: Duration) -> Option<u32> {
            let waiter = &self.tickets[ticket as usize];
            self.parking.wait(waiter, limit, || Watch::begin(self))
        }

        fn expect_empty(&self) {
            let room = lock(&self.parking.room);
            assert!(!room.watched, "the watch is given back");
            assert!(room.parked.is_empty());
        }
    }

    fn spawn<T: 'static>(
        model: &Arc<Model>,
        run: impl FnOnce(&Model) -> T + 'static,
    ) -> thread::JoinHandle<T> {
        let model = Arc::clone(model);
        thread::spawn(move || run(&model))
    }

    #[test]
    fn a_completion_between_the_look_and_the_sleep_is_not_missed() {
        check(3, || {
            let model = Model::new(1);
            let other = spawn(&model, |model| model.complete(0));
            assert_eq!(model.wait(0, LONG), Some(0));
            other.join().unwrap();
            model.expect_empty();
        });
    }

    #[test]
    fn a_watcher_completes_its_own_ticket_with_what_comes() {
        check(3, || {
            let model = Model::new(1);
            let peer = spawn(&model, |model| model.beds.send(0));
            assert_eq!(model.wait(0, LONG), Some(0));
            peer.join().unwrap();
            model.expect_empty();
        });
    }

    #[test]
    fn who_stops_watching_hands_the_watch_to_one_who_still_waits() {
        for order in [[0, 1], [1, 0]] {
            check(2, move || {
                let model = Model::new(2);
                let peer = spawn(&model, move |model| {
                    order.map(|frame| model.beds.send(frame))
                });
                let second = spawn(&model, |model| model.wait(1, LONG));
                assert_eq!(model.wait(0, LONG), Some(0));
                assert_eq!(second.join().unwrap(), Some(1));
                peer.join().unwrap();
                model.expect_empty();
            });
        }
    }

    #[test]
    fn two_that_wait_are_completed_by_a_third_thread_each_with_its_own() {
        check(2, || {
            let model = Model::new(2);
            let other = spawn(&model, |model| [1, 0].map(|ticket| model.complete(ticket)));
            let second = spawn(&model, |model| model.wait(1, LONG));
            assert_eq!(model.wait(0, LONG), Some(0));
            assert_eq!(second.join().unwrap(), Some(1));
            other.join().unwrap();
            model.expect_empty();
        });
    }

    #[test]
    fn who_gives_up_takes_no_watch_along() {
        check(2, || {
            let model = Model::new(2);
            let peer = spawn(&model, |model| model.beds.send(0));
            let hasty = spawn(&model, |model| model.wait(1, Duration::ZERO));
            assert_eq!(model.wait(0, LONG), Some(0));
            assert_eq!(hasty.join().unwrap(), None);
            peer.join().unwrap();
            model.expect_empty();
        });
    }

    #[test]
    fn a_watch_that_comes_to_one_who_is_giving_up_goes_on_to_the_next() {
        check(2, || {
            let model = Model::new(3);
            // Whoever comes first watches, and the watch may pass through both that give up.
            let first = spawn(&model, |model| model.wait(1, Duration::ZERO));
            let second = spawn(&model, |model| model.wait(2, Duration::ZERO));
            let peer = spawn(&model, |model| model.beds.send(0));
            assert_eq!(model.wait(0, LONG), Some(0));
            for thread in [first, second] {
                assert_eq!(thread.join().unwrap(), None);
            }
            peer.join().unwrap();
            model.expect_empty();
        });
    }
}
