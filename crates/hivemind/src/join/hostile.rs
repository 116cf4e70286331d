//! Strangers that mean harm, thousands of them, against a hive that comes together: none gets in, none is told
//! anything, and the hive comes together nevertheless.
//!
//! How long that took is printed and not judged: the machine may be busy. What is judged is that no stranger is heard,
//! and how many may stand on the porch. Against a running job see `apps/tests/hostile.rs`.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::handshake::{Calling, MESSAGE_BYTES, Purpose};
use super::porch::MAX_STRANGERS;
use super::tests::{Directory, PATIENCE, key, offer, seat, start, talk_and_leave};
use super::*;

/// How many come.
const CALLS: usize = 3000;

/// What a stranger does.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Connects and says nothing, for as long as it is let.
    Silence,
    /// Says something else.
    Garbage,
    /// Repeats what a right drone once said.
    Replay,
    /// Opens with a key of its own.
    WrongKey,
    /// Says half of an opening and waits.
    HalfOpen,
    /// Claims more than there may be, after an opening that could be right.
    Oversized,
}

const KINDS: [Kind; 6] = [
    Kind::Silence,
    Kind::Garbage,
    Kind::Replay,
    Kind::WrongKey,
    Kind::HalfOpen,
    Kind::Oversized,
];

impl Kind {
    fn words(self, recorded: &[u8]) -> Vec<u8> {
        match self {
            Self::Silence => Vec::new(),
            Self::Garbage => {
                b"GET / HTTP/1.1\r\nHost: drone\r\nAccept: everything\r\n\r\n".to_vec()
            }
            Self::Replay => recorded.to_vec(),
            Self::WrongKey => Calling::begin(&Key::of([9; 32]), Purpose::Join).1.to_vec(),
            Self::HalfOpen => recorded[..MESSAGE_BYTES / 2].to_vec(),
            Self::Oversized => [&recorded[..MESSAGE_BYTES], &[0xff; 70_000][..]].concat(),
        }
    }
}

/// What came of a flood.
#[derive(Default)]
struct Toll {
    calls: AtomicUsize,
    /// Bytes that strangers were told.
    told_bytes: AtomicUsize,
    turned_away: AtomicUsize,
}

/// One stranger. Stays until it is shown out, or its time is over.
fn call(address: SocketAddr, words: &[u8], toll: &Toll) {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) else {
        return;
    };
    toll.calls.fetch_add(1, Ordering::Relaxed);
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let _ = stream.write_all(words);
    let mut waste = [0; 4096];
    loop {
        match stream.read(&mut waste) {
            Ok(0) => break,
            Ok(told) => drop(toll.told_bytes.fetch_add(told, Ordering::Relaxed)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => break,
        }
    }
    toll.turned_away.fetch_add(1, Ordering::Relaxed);
}

/// What a right drone said to drone 0 at first, as somebody on the path recorded it. What follows the opening was
/// sealed for a session that is over.
fn record(address: SocketAddr) -> Vec<u8> {
    let (_, opening) = Calling::begin(&key(), Purpose::Join);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&opening).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_exact(&mut [0; MESSAGE_BYTES]).unwrap();
    [&opening[..], &[0x55; 200]].concat()
}

/// As many threads as call at once. More of them than places on the porch, so that it is full all the time.
const THREADS: usize = MAX_STRANGERS + 64;

fn flood(
    address: SocketAddr,
    kinds: &'static [Kind],
    recorded: Vec<u8>,
    toll: Arc<Toll>,
    over: Arc<AtomicBool>,
) -> Vec<thread::JoinHandle<()>> {
    let recorded: Arc<[u8]> = recorded.into();
    let left = Arc::new(AtomicUsize::new(CALLS));
    let stranger = |_| {
        let (recorded, toll) = (Arc::clone(&recorded), Arc::clone(&toll));
        let (over, left) = (Arc::clone(&over), Arc::clone(&left));
        thread::Builder::new().stack_size(128 << 10).spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let turn = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                });
                let Ok(turn) = turn else { return };
                let kind = kinds[turn % kinds.len()];
                call(address, &kind.words(&recorded), &toll);
            }
        })
    };
    (0..THREADS)
        .map(stranger)
        .collect::<Result<_, _>>()
        .unwrap()
}

/// Floods drone 0, brings the hive together in the middle of it, and gives how long that took.
fn start_among(kinds: &'static [Kind]) -> (Duration, Arc<Toll>) {
    allow_open_files(8192);
    let directory = Directory::new();
    let first = start(seat(0, 4, &directory), offer(PATIENCE));
    let address = directory.address();
    let recorded = record(address);
    let (toll, over) = (Arc::<Toll>::default(), Arc::<AtomicBool>::default());
    let strangers = match kinds {
        [] => Vec::new(),
        kinds => flood(
            address,
            kinds,
            recorded,
            Arc::clone(&toll),
            Arc::clone(&over),
        ),
    };
    let begin = Instant::now();
    while !kinds.is_empty() && toll.calls.load(Ordering::Relaxed) < 2 * MAX_STRANGERS {
        assert!(begin.elapsed() < PATIENCE, "strangers find no way");
        thread::sleep(Duration::from_millis(1));
    }
    let begin = Instant::now();
    let others = [1, 2, 3].map(|rank| start(seat(rank, 4, &directory), offer(PATIENCE)));
    let drones: Vec<_> = [first].into_iter().chain(others).collect();
    while !drones.iter().all(thread::JoinHandle::is_finished) {
        thread::sleep(Duration::from_millis(1));
    }
    let took = begin.elapsed();
    over.store(true, Ordering::Relaxed);
    talk_and_leave(drones);
    for stranger in strangers {
        stranger.join().unwrap();
    }
    (took, toll)
}

#[test]
fn a_flood_of_strangers_gets_nothing_and_keeps_nobody_out() {
    let (alone, _) = start_among(&[]);
    let (took, toll) = start_among(&KINDS);
    let calls = toll.calls.load(Ordering::Relaxed);
    println!("four drones came together in {alone:?}, among {calls} hostile calls in {took:?}");
    assert!(calls >= 2 * MAX_STRANGERS, "{calls} calls are no flood");
    assert_eq!(toll.told_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn a_flood_of_silence_alone_keeps_nobody_out() {
    let (took, toll) = start_among(&[Kind::Silence]);
    let calls = toll.calls.load(Ordering::Relaxed);
    println!("four drones came together among {calls} silent calls in {took:?}");
    assert_eq!(toll.told_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn each_kind_of_stranger_is_shown_out_without_a_word() {
    let directory = Directory::new();
    let first = start(seat(0, 2, &directory), offer(PATIENCE));
    let address = directory.address();
    let recorded = record(address);
    for kind in KINDS {
        let toll = Toll::default();
        let begin = Instant::now();
        call(address, &kind.words(&recorded), &toll);
        println!("{kind:?} was shown out after {:?}", begin.elapsed());
        assert_eq!(toll.turned_away.load(Ordering::Relaxed), 1, "{kind:?}");
        assert_eq!(toll.told_bytes.load(Ordering::Relaxed), 0, "{kind:?}");
    }
    talk_and_leave(vec![first, start(seat(1, 2, &directory), offer(PATIENCE))]);
}

#[test]
fn a_recording_that_drone_0_never_heard_gets_an_answer_and_no_further() {
    let directory = Directory::new();
    let first = start(seat(0, 2, &directory), offer(PATIENCE));
    // As recorded at another listener of the job, or in a job with the same key.
    let (_, opening) = Calling::begin(&key(), Purpose::Join);
    let toll = Toll::default();
    let words = [&opening[..], &[0x55; 70_000]].concat();
    call(directory.address(), &words, &toll);
    assert_eq!(toll.turned_away.load(Ordering::Relaxed), 1);
    assert!(toll.told_bytes.load(Ordering::Relaxed) <= MESSAGE_BYTES);
    talk_and_leave(vec![first, start(seat(1, 2, &directory), offer(PATIENCE))]);
}

#[test]
fn another_drones_listener_is_guarded_as_well() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut porch = porch::Porch::new(listener, &key(), Purpose::Pair).unwrap();
    let (_, for_drone_0) = Calling::begin(&key(), Purpose::Join);
    let strangers: Vec<_> = [&for_drone_0[..], b"x", b""]
        .into_iter()
        .cycle()
        .take(2 * MAX_STRANGERS)
        .map(|words| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(words).unwrap();
            stream
        })
        .collect();
    let begin = Instant::now();
    let (mut shown_out, mut most) = (0, 0);
    while shown_out < strangers.len() / 3 {
        assert!(begin.elapsed() < PATIENCE);
        assert!(
            porch.serve().unwrap().is_empty(),
            "a stranger counts as a caller"
        );
        shown_out += porch.take_shown_out();
        let mut fds = Vec::new();
        porch.watch(&mut fds);
        most = most.max(fds.len());
    }
    // The listener itself is one of them.
    assert!(
        most <= MAX_STRANGERS + 1,
        "{most} were on the porch at once"
    );
}
