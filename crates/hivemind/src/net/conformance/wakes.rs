//! Who is woken by what comes, whatever carries it, and who is not.

use super::streams::{MakePair, ring_pair, tcp_pair};
use super::*;

pub(super) fn every_sleeper_is_woken_and_no_wake_is_missed(pair: &MakePair) {
    let (near, _far) = pair_of(pair);
    let asleep = Arc::new(AtomicUsize::new(0));
    let sleepers: Vec<_> = (0..4)
        .map(|_| {
            let (near, asleep) = (Arc::clone(&near), Arc::clone(&asleep));
            thread::spawn(move || {
                let watch = near.watch();
                let seen = watch.wakes();
                asleep.fetch_add(1, Ordering::SeqCst);
                watch.poll_since(seen, PATIENCE, &mut |_, _| {}).unwrap();
            })
        })
        .collect();
    while asleep.load(Ordering::SeqCst) < 4 {
        thread::yield_now();
    }
    let start = Instant::now();
    near.wake_watcher();
    for sleeper in sleepers {
        sleeper.join().unwrap();
    }
    // A wake that came before the sleep ends it as well, once.
    near.wake();
    near.poll(Some(PATIENCE), &mut |_, _| {}).unwrap();
    let watch = near.watch();
    watch.poll_since(0, PATIENCE, &mut |_, _| {}).unwrap();
    drop(watch);
    assert!(start.elapsed() < PATIENCE / 2);
    let start = Instant::now();
    near.poll(Some(Duration::from_millis(30)), &mut |_, _| {})
        .unwrap();
    assert!(
        start.elapsed() >= Duration::from_millis(25),
        "a wake was answered twice"
    );
}

pub(super) fn what_came_while_attended_wakes_a_sleeper_afterwards(pair: &MakePair) {
    let (near, far) = pair_of(pair);
    let attention = near.attend();
    far.send(FIRST, &mut Frame::of(b"early"), Wakes::Anyone);
    poll_until(&far, || drained(&far), |_, _| {});
    drop(attention);
    let came = std::cell::Cell::new(false);
    let start = Instant::now();
    while !came.get() {
        near.poll(Some(PATIENCE), &mut |_, _| came.set(true))
            .unwrap();
    }
    assert!(start.elapsed() < PATIENCE / 2);
}

pub(super) fn what_comes_wakes_the_watcher_and_not_who_polls(pair: &MakePair) {
    let (near, far) = pair_of(pair);
    let watching = near.watch();
    let service = Service::of(&near);
    let rounds = 100;
    let mut came = 0;
    while came < rounds {
        far.send(FIRST, &mut Frame::of(b"for who waits"), Wakes::Anyone);
        poll_until(&far, || drained(&far), |_, _| {});
        let seen = watching.wakes();
        came += watching.poll_since(seen, PATIENCE, &mut |_, _| {}).unwrap();
    }
    assert_eq!(service.wakes(), 0, "the service thread slept on");
    drop(watching);
    far.send(FIRST, &mut Frame::of(b"for who serves"), Wakes::Anyone);
    poll_until(&far, || drained(&far), |_, _| {});
    service.wakes_soon();
    service.end();
}

pub(super) fn what_comes_to_who_looks_by_himself_wakes_nobody(pair: &MakePair) {
    let (near, far) = pair_of(pair);
    let attention = near.attend();
    let service = Service::of(&near);
    let mut came = 0;
    let start = Instant::now();
    while came < 100 {
        assert!(start.elapsed() < PATIENCE, "nothing came for too long");
        far.send(FIRST, &mut Frame::of(b"for who looks"), Wakes::Anyone);
        poll_until(&far, || drained(&far), |_, _| {});
        came += near.try_poll(&mut |_, _| {}).unwrap().unwrap();
    }
    assert_eq!(service.wakes(), 0, "the service thread slept on");
    far.send(FIRST, &mut Frame::of(b"for who serves"), Wakes::Anyone);
    poll_until(&far, || drained(&far), |_, _| {});
    drop(attention);
    service.wakes_soon();
    service.end();
}

/// In shared memory, where nobody need be woken for it; others tell of all that comes.
pub(super) fn what_can_wait_wakes_nobody_until_somebody_waits(pair: &MakePair) {
    let (near, far) = pair_of(pair);
    let shared = far.stats().shared_links == 1;
    let service = Service::of(&near);
    far.send(FIRST, &mut Frame::of(b"can wait"), Wakes::Awaited);
    far.send_owing(FIRST, &mut Frame::of(b"can wait too"), Wakes::Awaited);
    far.ring_owed();
    poll_until(&far, || drained(&far), |_, _| {});
    if shared {
        thread::sleep(Duration::from_millis(30));
        assert_eq!(service.wakes(), 0, "the service thread slept on");
    }
    let waiting = far.say_waiting();
    assert_eq!(waiting.is_some(), shared);
    comes_soon(&near, 2);
    far.send(FIRST, &mut Frame::of(b"awaited now"), Wakes::Awaited);
    poll_until(&far, || drained(&far), |_, _| {});
    comes_soon(&near, 3);
    drop(waiting);
    far.send(FIRST, &mut Frame::of(b"cannot wait"), Wakes::Anyone);
    poll_until(&far, || drained(&far), |_, _| {});
    comes_soon(&near, 4);
    service.end();
}

pub(super) fn what_can_wait_is_taken_at_once_where_a_third_one_waits(pair: &MakePair) {
    let hive = hive(3, LinksConfig::default(), pair);
    let service = Service::of(&hive[0]);
    let waiting = hive[2].say_waiting();
    for came in 1..=20 {
        hive[1].send(FIRST, &mut Frame::of(b"can wait"), Wakes::Awaited);
        poll_until(&hive[1], || drained(&hive[1]), |_, _| {});
        comes_soon(&hive[0], came);
    }
    drop(waiting);
    service.end();
}

pub(super) fn what_can_wait_wakes_who_waits_for_it(pair: &MakePair) {
    let (near, far) = pair_of(pair);
    let service = Service::of(&near);
    let watching = near.watch();
    let mut came = 0;
    while came < 20 {
        far.send(FIRST, &mut Frame::of(b"can wait"), Wakes::Awaited);
        poll_until(&far, || drained(&far), |_, _| {});
        let start = Instant::now();
        let seen = watching.wakes();
        came += watching.poll_since(seen, PATIENCE, &mut |_, _| {}).unwrap();
        assert!(start.elapsed() < PATIENCE / 2, "nobody was woken");
    }
    drop(watching);
    service.end();
}

/// Who waits behind TCP can tell nobody there.
#[test]
fn who_has_a_link_over_tcp_is_woken_for_what_can_wait() {
    let made = AtomicUsize::new(0);
    let pair = move || match made.fetch_add(1, Ordering::SeqCst) {
        2 => tcp_pair(),
        _ => ring_pair(),
    };
    let hive = hive(3, LinksConfig::default(), &pair);
    let shared: Vec<u64> = hive.iter().map(|one| one.stats().shared_links).collect();
    assert_eq!(shared, [2, 1, 1]);
    let service = Service::of(&hive[1]);
    for came in 1..=20 {
        hive[0].send(SECOND, &mut Frame::of(b"can wait"), Wakes::Awaited);
        comes_soon(&hive[1], came);
    }
    service.end();
    let service = Service::of(&hive[0]);
    let waiting = hive[2].say_waiting();
    hive[1].send(FIRST, &mut Frame::of(b"cannot wait"), Wakes::Awaited);
    comes_soon(&hive[0], 1);
    drop(waiting);
    service.end();
}

/// Waits until so many frames have come.
fn comes_soon(links: &Links, frames: u64) {
    let start = Instant::now();
    while links.stats().frames_received < frames {
        assert!(start.elapsed() < PATIENCE, "nobody was woken");
        thread::yield_now();
    }
}

/// A service thread, which sleeps until something wakes it.
struct Service {
    links: Arc<Links>,
    stop: Arc<AtomicBool>,
    wakes: Arc<AtomicUsize>,
    thread: thread::JoinHandle<()>,
}

impl Service {
    fn of(links: &Arc<Links>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let wakes = Arc::new(AtomicUsize::new(0));
        let thread = {
            let (links, stop, wakes) = (Arc::clone(links), Arc::clone(&stop), Arc::clone(&wakes));
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    links.poll(None, &mut |_, _| {}).unwrap();
                    wakes.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        Self {
            links: Arc::clone(links),
            stop,
            wakes,
            thread,
        }
    }

    /// How often it was woken.
    fn wakes(&self) -> usize {
        self.wakes.load(Ordering::SeqCst)
    }

    fn wakes_soon(&self) {
        let start = Instant::now();
        while self.wakes() == 0 {
            assert!(start.elapsed() < PATIENCE, "nobody was woken");
            thread::yield_now();
        }
    }

    fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.links.wake();
        self.thread.join().unwrap();
    }
}
