//! Who sleeps until something comes, who is woken for it, and how a sleeper is woken for another reason.
//!
//! Two beds: the service thread sleeps in one, a thread of the program that waits for its answer in the other. What comes
//! wakes one of them, or nobody while somebody spins: a wake that finds nothing to do costs several times a round trip.
//! The bed that hears of what comes is a function of who is there ([`Attention::listener`]).
//!
//! Deliberately elsewhere: the system calls behind a bed ([`Berth`]; `poller.rs` has them on epoll sets).

use std::io;
use std::time::Duration;

use crate::primitive::{Mutex, lock};

/// What the system gives: a place to sleep, where one hears of what comes while one listens.
pub(super) trait Berth {
    /// Sleeps until something comes while it listens, until the bell rings, or until `timeout` is over; returns at once
    /// where one of them is so already. Of what came, one sleeper is told, once.
    fn sleep(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Rings the bell, which ends all sleep until it is silenced.
    fn ring(&self);

    fn silence(&self);

    /// Listens from now on to what comes, or not. Begins with what is there and was not taken; also where it has been
    /// listening already.
    fn listen(&self, listens: bool);
}

/// Both beds, and who is there.
pub(super) struct Beds<B> {
    pub(super) service: Bed<B>,
    pub(super) watcher: Bed<B>,
    attention: Mutex<Attention>,
    /// The streams keep quiet while somebody looks by himself (see `ByteStream::look_by_itself`). Then nobody need be made
    /// not to listen, which takes longer: what comes is noted for each set, heard or not.
    quiet: bool,
}

/// What a change of who is there meant for who looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// From now on somebody looks by himself.
    Looks,
    /// Nobody does any more.
    Sleeps,
    /// Nobody does, and a thread of the program has begun to sleep over what comes, or has ceased to.
    Moves,
    /// It is as it was.
    Same,
}

/// Who looks after the links, beside the service thread.
#[derive(Default)]
pub(super) struct Attention {
    /// Threads that look all the time.
    pub(super) spinning: usize,
    /// Threads that sleep in the watcher's bed, or are about to.
    pub(super) watching: usize,
    /// Who hears of what comes, as the system knows it.
    listening: Listener,
}

/// Who hears of what comes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Listener {
    /// Somebody finds it by himself.
    Nobody,
    Watcher,
    #[default]
    Service,
}

impl Attention {
    fn listener(&self) -> Listener {
        match self {
            Self {
                spinning: 0,
                watching: 0,
                ..
            } => Listener::Service,
            Self { spinning: 0, .. } => Listener::Watcher,
            _ => Listener::Nobody,
        }
    }
}

impl<B: Berth> Beds<B> {
    /// Beds in which nobody is yet. `service` listens and `watcher` does not. `quiet`: nothing tells of what comes while
    /// somebody looks.
    pub(super) fn new(service: B, watcher: B, quiet: bool) -> Self {
        Self {
            service: Bed::new(service),
            watcher: Bed::new(watcher),
            attention: Mutex::new(Attention::default()),
            quiet,
        }
    }

    /// Changes who looks after the links. What came and was not taken wakes whoever listens then.
    pub(super) fn attend(&self, change: impl FnOnce(&mut Attention)) -> Turn {
        let mut attention = lock(&self.attention);
        let before = attention.listener();
        change(&mut attention);
        let now = attention.listener();
        let needless = self.quiet && now == Listener::Nobody;
        if now != attention.listening && !needless {
            self.listen(attention.listening, false);
            self.listen(now, true);
            attention.listening = now;
        }
        match (before, now) {
            (Listener::Nobody, Listener::Watcher | Listener::Service) => Turn::Sleeps,
            (Listener::Watcher | Listener::Service, Listener::Nobody) => Turn::Looks,
            (Listener::Service, Listener::Watcher) | (Listener::Watcher, Listener::Service) => {
                Turn::Moves
            }
            _ => Turn::Same,
        }
    }

    /// Whether somebody looks by himself now. Who does so last sees to what came until then.
    pub(super) fn somebody_looks(&self) -> bool {
        lock(&self.attention).spinning > 0
    }

    /// Whether a thread of the program sleeps over what comes, or is about to.
    pub(super) fn somebody_watches(&self) -> bool {
        lock(&self.attention).watching > 0
    }

    /// Wakes whoever sleeps in either bed, or is about to: there is something that no bell tells of.
    pub(super) fn rouse(&self) {
        self.service.wake();
        self.watcher.wake();
    }

    /// Something was left untaken: wakes whoever listens for it, or the next to go to sleep there.
    pub(super) fn nudge(&self) {
        let attention = lock(&self.attention);
        self.listen(attention.listener(), true);
    }

    fn listen(&self, listener: Listener, listens: bool) {
        match listener {
            Listener::Nobody => {}
            Listener::Watcher => self.watcher.berth.listen(listens),
            Listener::Service => self.service.berth.listen(listens),
        }
    }
}

/// A place to sleep from which one can be woken.
pub(super) struct Bed<B> {
    berth: B,
    sleepers: Mutex<Sleepers>,
}

/// Who sleeps, so that one wake ends the sleep of all who slept when it came, and of nobody else.
#[derive(Default)]
struct Sleepers {
    asleep: usize,
    /// How many wakes there have been.
    wakes: u64,
    /// How many of those asleep have still to notice a wake; the bell rings until they have.
    to_wake: usize,
}

impl<B: Berth> Bed<B> {
    fn new(berth: B) -> Self {
        Self {
            berth,
            sleepers: Mutex::new(Sleepers::default()),
        }
    }

    /// Sleeps until something comes, a wake comes, or `timeout` is over. Returns at once when there has been a wake
    /// since `wakes_seen` (see [`wakes`](Self::wakes)).
    pub(super) fn sleep(&self, wakes_seen: u64, timeout: Option<Duration>) -> io::Result<()> {
        {
            let mut sleepers = lock(&self.sleepers);
            if sleepers.wakes != wakes_seen {
                return Ok(());
            }
            sleepers.asleep += 1;
        }
        let slept = self.berth.sleep(timeout);
        let mut sleepers = lock(&self.sleepers);
        sleepers.asleep -= 1;
        if sleepers.wakes != wakes_seen {
            sleepers.to_wake -= 1;
            if sleepers.to_wake == 0 {
                self.berth.silence();
            }
        }
        slept
    }

    /// How many wakes there have been.
    pub(super) fn wakes(&self) -> u64 {
        lock(&self.sleepers).wakes
    }

    /// Ends the sleep of every thread that sleeps here now.
    pub(super) fn wake(&self) {
        let mut sleepers = lock(&self.sleepers);
        sleepers.wakes += 1;
        if sleepers.asleep > 0 {
            sleepers.to_wake = sleepers.asleep;
            self.berth.ring();
        }
    }
}

/// Beds on a modelled system, for the models of this file and of those who sleep in them.
#[cfg(all(loom, test))]
pub(crate) mod modelled {
    use super::*;
    use crate::primitive::{Arc, Condvar};
    use std::collections::VecDeque;

    /// What came and was not taken, as a socket holds it.
    pub(crate) type Wire = Arc<Mutex<VecDeque<u32>>>;

    pub(crate) struct ModelBerth {
        wire: Wire,
        kernel: Mutex<Kernel>,
        changed: Condvar,
    }

    struct Kernel {
        bell: bool,
        listens: bool,
        /// Something came that nobody has been told of. Nobody need be, where it has been taken since.
        edge: bool,
    }

    impl ModelBerth {
        fn new(wire: &Wire, listens: bool) -> Self {
            let kernel = Kernel {
                bell: false,
                listens,
                edge: false,
            };
            Self {
                wire: Arc::clone(wire),
                kernel: Mutex::new(kernel),
                changed: Condvar::new(),
            }
        }

        fn came(&self) {
            let mut kernel = lock(&self.kernel);
            if kernel.listens {
                kernel.edge = true;
                self.changed.notify_one();
            }
        }

        pub(super) fn rings(&self) -> bool {
            lock(&self.kernel).bell
        }
    }

    impl Berth for ModelBerth {
        fn sleep(&self, _: Option<Duration>) -> io::Result<()> {
            let mut kernel = lock(&self.kernel);
            loop {
                if std::mem::take(&mut kernel.edge) && !lock(&self.wire).is_empty() || kernel.bell {
                    return Ok(());
                }
                kernel = self.changed.wait(kernel).unwrap();
            }
        }

        fn ring(&self) {
            lock(&self.kernel).bell = true;
            self.changed.notify_all();
        }

        fn silence(&self) {
            lock(&self.kernel).bell = false;
        }

        fn listen(&self, listens: bool) {
            let mut kernel = lock(&self.kernel);
            kernel.listens = listens;
            kernel.edge = listens && !lock(&self.wire).is_empty();
            if kernel.edge {
                self.changed.notify_one();
            }
        }
    }

    pub(crate) struct ModelBeds {
        pub(crate) wire: Wire,
        pub(in crate::net) beds: Beds<ModelBerth>,
    }

    impl ModelBeds {
        pub(crate) fn new() -> Self {
            let wire = Arc::new(Mutex::new(VecDeque::new()));
            let (service, watcher) = (ModelBerth::new(&wire, true), ModelBerth::new(&wire, false));
            let beds = Beds::new(service, watcher, false);
            Self { wire, beds }
        }

        pub(crate) fn send(&self, frame: u32) {
            lock(&self.wire).push_back(frame);
            self.beds.service.berth.came();
            self.beds.watcher.berth.came();
        }

        pub(crate) fn take(&self) -> Option<u32> {
            lock(&self.wire).pop_front()
        }

        pub(crate) fn watcher_wakes(&self) -> u64 {
            self.beds.watcher.wakes()
        }

        pub(crate) fn watcher_sleeps(&self, wakes_seen: u64) {
            self.beds.watcher.sleep(wakes_seen, None).unwrap();
        }

        pub(crate) fn wake_watcher(&self) {
            self.beds.watcher.wake();
        }

        pub(crate) fn watch(&self, come: bool) {
            self.beds.attend(|attention| {
                attention.watching = if come {
                    attention.watching + 1
                } else {
                    attention.watching - 1
                };
            });
        }
    }
}

#[cfg(all(loom, test))]
mod models {
    use super::modelled::ModelBeds;
    use crate::primitive::{Arc, AtomicBool, Ordering, check};
    use loom::thread;

    /// What the service thread does until somebody has taken the frame: it sleeps, looks, sleeps.
    fn serve(beds: &ModelBeds, taken: &AtomicBool) {
        loop {
            let seen = beds.beds.service.wakes();
            if taken.load(Ordering::Acquire) {
                return;
            }
            beds.beds.service.sleep(seen, None).unwrap();
            take(beds, taken);
        }
    }

    fn take(beds: &ModelBeds, taken: &AtomicBool) {
        if beds.take().is_some() {
            taken.store(true, Ordering::Release);
            beds.beds.service.wake();
        }
    }

    #[test]
    fn a_wake_ends_every_sleep_and_then_the_bell_is_silent() {
        check(3, || {
            let beds = Arc::new(ModelBeds::new());
            let sleepers: Vec<_> = (0..2)
                .map(|_| {
                    let beds = Arc::clone(&beds);
                    thread::spawn(move || beds.watcher_sleeps(0))
                })
                .collect();
            beds.wake_watcher();
            for sleeper in sleepers {
                sleeper.join().unwrap();
            }
            assert!(
                !beds.beds.watcher.berth.rings(),
                "nobody is left to be woken"
            );
        });
    }

    #[test]
    fn a_second_wake_is_not_lost_while_the_first_is_being_noticed() {
        check(3, || {
            let beds = Arc::new(ModelBeds::new());
            let sleeper = {
                let beds = Arc::clone(&beds);
                thread::spawn(move || {
                    beds.watcher_sleeps(0);
                    let seen = beds.watcher_wakes();
                    if seen < 2 {
                        beds.watcher_sleeps(seen);
                    }
                })
            };
            beds.wake_watcher();
            beds.wake_watcher();
            sleeper.join().unwrap();
            assert!(!beds.beds.watcher.berth.rings());
        });
    }

    #[test]
    fn what_comes_while_one_spins_is_found_by_him_or_wakes_the_service_thread() {
        check(2, || {
            let (beds, taken) = (Arc::new(ModelBeds::new()), Arc::new(AtomicBool::new(false)));
            let service = {
                let (beds, taken) = (Arc::clone(&beds), Arc::clone(&taken));
                thread::spawn(move || serve(&beds, &taken))
            };
            let peer = {
                let beds = Arc::clone(&beds);
                thread::spawn(move || beds.send(1))
            };
            beds.beds.attend(|attention| attention.spinning += 1);
            take(&beds, &taken);
            beds.beds.attend(|attention| attention.spinning -= 1);
            peer.join().unwrap();
            service.join().unwrap();
        });
    }

    #[test]
    fn what_comes_as_the_watcher_goes_wakes_the_service_thread() {
        check(2, || {
            let (beds, taken) = (Arc::new(ModelBeds::new()), Arc::new(AtomicBool::new(false)));
            let service = {
                let (beds, taken) = (Arc::clone(&beds), Arc::clone(&taken));
                thread::spawn(move || serve(&beds, &taken))
            };
            let peer = {
                let beds = Arc::clone(&beds);
                thread::spawn(move || {
                    beds.send(1);
                    beds.wake_watcher();
                })
            };
            // Its answer comes otherwise: it goes, and what the wire holds is another's matter.
            beds.watch(true);
            beds.watcher_sleeps(0);
            beds.watch(false);
            peer.join().unwrap();
            service.join().unwrap();
        });
    }

    #[test]
    fn a_watcher_sleeps_on_while_another_thread_spins_and_hears_of_what_that_one_leaves() {
        check(2, || {
            let beds = Arc::new(ModelBeds::new());
            beds.watch(true);
            let spinner = {
                let beds = Arc::clone(&beds);
                thread::spawn(move || {
                    beds.beds.attend(|attention| attention.spinning += 1);
                    beds.beds.attend(|attention| attention.spinning -= 1);
                })
            };
            let peer = {
                let beds = Arc::clone(&beds);
                thread::spawn(move || beds.send(1))
            };
            beds.watcher_sleeps(0);
            assert_eq!(beds.take(), Some(1));
            beds.watch(false);
            peer.join().unwrap();
            spinner.join().unwrap();
        });
    }
}
