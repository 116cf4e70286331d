//! Whole starts, with drones as threads of this process and real sockets on the loopback. Who is refused is in `refused`.

mod refused;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::handshake::Purpose;
use super::*;
use crate::launch::Root;
use crate::net::{Closed, Frame, Incoming, Wakes};

/// No test waits longer than this for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) type Joined = Result<(Option<Links>, Agreement), JoinError>;

/// A directory of its own for each test, gone with it.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("hivemind-join-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn root(&self) -> Root {
        Root::File(self.0.join("root"))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Where drone 0 listens, as soon as it says so.
    pub(super) fn address(&self) -> SocketAddr {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < PATIENCE);
            if let Ok(text) = std::fs::read_to_string(self.0.join("root")) {
                return text.trim().parse().unwrap();
            }
            thread::yield_now();
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let left: Vec<_> = std::fs::read_dir(&self.0).unwrap().collect();
        std::fs::remove_dir_all(&self.0).unwrap();
        if !thread::panicking() {
            assert!(left.is_empty(), "the start left files behind: {left:?}");
        }
    }
}

pub(super) fn seat(rank: u32, size: u32, directory: &Directory) -> Seat {
    Seat {
        rank,
        size,
        job: "job".to_owned(),
        root: directory.root(),
        ..Seat::alone()
    }
}

pub(super) fn offer(start_timeout: Duration) -> Offer {
    Offer {
        base_bitmap: 0b1010,
        facts: vec![("region in bytes".to_owned(), (1_u64 << 30).to_string())],
        start_timeout,
        silence_limit: Duration::from_secs(30),
        listen: None,
        key: Some(key()),
        encryption: Encryption::Auto,
        transport: Transport::Auto,
    }
}

pub(super) fn key() -> Key {
    Key::of([42; 32])
}

pub(super) fn start(seat: Seat, offer: Offer) -> JoinHandle<Joined> {
    thread::spawn(move || join(&seat, offer))
}

pub(super) fn start_all(size: u32, directory: &Directory) -> Vec<JoinHandle<Joined>> {
    (0..size)
        .map(|rank| start(seat(rank, size, directory), offer(PATIENCE)))
        .collect()
}

pub(super) fn sentence(drone: JoinHandle<Joined>) -> String {
    match drone.join().unwrap() {
        Ok(_) => panic!("it joined"),
        Err(error) => error.to_string(),
    }
}

/// Each drone sends its number to each other and leaves; each must have heard all others.
pub(super) fn talk_and_leave(drones: Vec<JoinHandle<Joined>>) {
    let size = drones.len() as u32;
    let talkers = drones.into_iter().zip(0..).map(|(drone, me)| {
        let (links, agreement) = drone.join().unwrap().unwrap();
        let expected = Agreement {
            base_index: 1,
            local_drones: size,
        };
        assert_eq!(agreement, expected);
        thread::spawn(move || {
            let links = links.unwrap();
            for peer in (0..size).filter(|&peer| peer != me) {
                links.send(
                    DroneId(peer),
                    &mut Frame::of(&me.to_le_bytes()),
                    Wakes::Anyone,
                );
            }
            let mut heard = Vec::new();
            links
                .close(PATIENCE, &mut |from, incoming| match incoming {
                    Incoming::Frame(body) => {
                        assert_eq!(body, from.0.to_le_bytes());
                        heard.push(from.0);
                    }
                    Incoming::Closed(closed) => assert_eq!(closed, Closed::Left),
                })
                .unwrap();
            heard.sort_unstable();
            assert_eq!(
                heard,
                (0..size).filter(|&peer| peer != me).collect::<Vec<_>>()
            );
        })
    });
    for talker in talkers.collect::<Vec<_>>() {
        talker.join().unwrap();
    }
}

#[test]
fn a_hive_of_one_needs_no_links() {
    let seat = Seat::alone();
    let (links, agreement) = join(&seat, offer(PATIENCE)).unwrap();
    assert!(links.is_none());
    assert_eq!(agreement.base_index, 1);
}

#[test]
fn two_drones_join_talk_and_leave() {
    let directory = Directory::new();
    talk_and_leave(start_all(2, &directory));
}

#[test]
fn eight_drones_join_talk_and_leave() {
    let directory = Directory::new();
    talk_and_leave(start_all(8, &directory));
}

#[test]
fn sixty_four_drones_join_talk_and_leave() {
    allow_open_files(8192);
    let directory = Directory::new();
    talk_and_leave(start_all(64, &directory));
}

/// To how many drones each link is shared memory.
fn shared_links(drones: Vec<JoinHandle<Joined>>) -> Vec<u64> {
    let links: Vec<_> = drones
        .into_iter()
        .map(|drone| drone.join().unwrap().unwrap().0.unwrap())
        .collect();
    links
        .iter()
        .map(|links| links.stats().shared_links)
        .collect()
}

#[test]
fn drones_of_one_machine_share_memory_unless_told_otherwise() {
    for (transport, encryption, links) in [
        (Transport::Auto, Encryption::Auto, 2),
        (Transport::Shared, Encryption::Never, 2),
        (Transport::Tcp, Encryption::Auto, 0),
        // Bytes in shared memory are not encrypted.
        (Transport::Auto, Encryption::Always, 0),
    ] {
        let directory = Directory::new();
        let drones = (0..3).map(|rank| {
            let mut offer = offer(PATIENCE);
            offer.transport = transport;
            offer.encryption = encryption;
            start(seat(rank, 3, &directory), offer)
        });
        assert_eq!(
            shared_links(drones.collect()),
            [links; 3],
            "{transport}, encryption {encryption}"
        );
    }
}

#[test]
fn drones_that_shall_share_memory_and_cannot_say_so() {
    let directory = Directory::new();
    let drones = (0..3).map(|rank| {
        let mut offer = offer(PATIENCE);
        offer.transport = Transport::Shared;
        offer.encryption = Encryption::Always;
        start(seat(rank, 3, &directory), offer)
    });
    let drones: Vec<_> = drones.collect();
    for drone in drones {
        let sentence = sentence(drone);
        assert!(
            sentence.contains("are on one machine and cannot share memory")
                && sentence.contains("--transport auto"),
            "{sentence}"
        );
    }
}

#[test]
fn drones_join_talk_and_leave_over_encrypted_links() {
    for size in [2, 5] {
        let directory = Directory::new();
        let drones = (0..size).map(|rank| {
            let mut offer = offer(PATIENCE);
            offer.encryption = Encryption::Always;
            start(seat(rank, size, &directory), offer)
        });
        talk_and_leave(drones.collect());
    }
}

#[test]
fn drones_listen_where_they_are_told_and_share_a_range_of_ports() {
    let directory = Directory::new();
    let start_at = |rank, at: &str| {
        let mut offer = offer(PATIENCE);
        offer.listen = Listen::parse(at);
        start(seat(rank, 4, &directory), offer)
    };
    let first = start_at(0, "127.0.0.2");
    assert_eq!(directory.address().ip().to_string(), "127.0.0.2");
    let range = free_ports();
    let others = [1, 2, 3].map(|rank| start_at(rank, &format!("127.0.0.3:{range}")));
    talk_and_leave([first].into_iter().chain(others).collect());
}

/// Some ports that were free a moment ago, as a range.
fn free_ports() -> String {
    let port = TcpListener::bind("127.0.0.3:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    format!("{}-{}", port, port.saturating_add(40))
}

#[test]
fn a_range_that_is_taken_is_told_with_a_remedy() {
    let directory = Directory::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut offer = offer(PATIENCE);
    offer.listen = Listen::parse(&taken.local_addr().unwrap().to_string());
    let sentence = sentence(start(seat(0, 2, &directory), offer));
    let expected = format!("drone 0 cannot listen at {}:", taken.local_addr().unwrap());
    assert!(sentence.starts_with(&expected), "{sentence}");
    assert!(
        sentence.contains("give HIVEMIND_LISTEN an address"),
        "{sentence}"
    );
}

#[test]
fn drone_0_may_come_last() {
    let directory = Directory::new();
    let mut drones = vec![
        start(seat(1, 3, &directory), offer(PATIENCE)),
        start(seat(2, 3, &directory), offer(PATIENCE)),
    ];
    thread::sleep(Duration::from_millis(100));
    drones.insert(0, start(seat(0, 3, &directory), offer(PATIENCE)));
    talk_and_leave(drones);
}

#[test]
fn drones_meet_at_a_host_and_port() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let root = Root::Addresses(vec![format!("localhost:{port}")]);
    let seat = |rank| Seat {
        rank,
        size: 2,
        job: "job".to_owned(),
        root: root.clone(),
        ..Seat::alone()
    };
    talk_and_leave(vec![
        start(seat(0), offer(PATIENCE)),
        start(seat(1), offer(PATIENCE)),
    ]);
}

/// A seat of a hive of two that meets at these addresses.
fn seat_at(rank: u32, addresses: &[String]) -> Seat {
    Seat {
        rank,
        size: 2,
        job: "job".to_owned(),
        root: Root::Addresses(addresses.to_vec()),
        ..Seat::alone()
    }
}

#[test]
fn where_a_stranger_has_the_first_address_all_meet_at_the_next() {
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [&stranger, &free].map(|listener| listener.local_addr().unwrap().to_string());
    drop(free);
    let seat = |rank| seat_at(rank, &addresses);
    // It hangs up on every caller, until nobody calls any more.
    let (end, ended) = std::sync::mpsc::channel();
    stranger.set_nonblocking(true).unwrap();
    let stranger = thread::spawn(move || {
        let mut callers = 0;
        while ended.try_recv().is_err() {
            callers += u32::from(stranger.accept().is_ok());
            thread::sleep(Duration::from_millis(1));
        }
        callers
    });
    let first = start(seat(1), offer(PATIENCE));
    thread::sleep(Duration::from_millis(100));
    talk_and_leave(vec![start(seat(0), offer(PATIENCE)), first]);
    end.send(()).unwrap();
    assert!(stranger.join().unwrap() > 0);
}

#[test]
fn drone_0_listens_where_it_is_told_at_the_port_that_all_know() {
    let free = TcpListener::bind("127.0.0.2:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let told = Offer {
        listen: Listen::parse("127.0.0.2"),
        ..offer(PATIENCE)
    };
    // As behind an address that is translated: drone 0's own host does not have it.
    let outside = seat_at(0, &[format!("203.0.113.7:{port}")]);
    let inside = seat_at(1, &[format!("127.0.0.2:{port}")]);
    talk_and_leave(vec![start(outside, told), start(inside, offer(PATIENCE))]);
}

#[test]
fn with_several_hosts_no_drone_meets_on_the_loopback() {
    for rank in [0, 1] {
        let seat = Seat {
            several_hosts: true,
            ..seat_at(rank, &["localhost:20000".to_owned()])
        };
        let sentence = sentence(start(seat, offer(Duration::from_millis(100))));
        assert!(
            sentence.contains("on this host that name means the loopback"),
            "{sentence}"
        );
    }
}

#[test]
fn each_says_who_is_missing() {
    let directory = Directory::new();
    let short = || offer(Duration::from_millis(400));
    let drones: Vec<_> = [0, 1, 2]
        .into_iter()
        .map(|rank| start(seat(rank, 4, &directory), short()))
        .collect();
    for (drone, me) in drones.into_iter().zip(0..) {
        let sentence = sentence(drone);
        assert!(
            sentence.contains(&format!("says drone {me}:")),
            "{sentence}"
        );
        assert!(
            sentence.contains("drone 3 never came within 400ms (3 of 4 are here)"),
            "{sentence}"
        );
    }
}

#[test]
fn without_drone_0_the_others_say_so() {
    let directory = Directory::new();
    let sentence = sentence(start(
        seat(1, 2, &directory),
        offer(Duration::from_millis(200)),
    ));
    assert!(
        sentence.contains("drone 0 never came within 200ms: its address is not in"),
        "{sentence}"
    );
}

#[test]
fn a_drone_that_dies_while_waiting_leaves_its_place_to_another() {
    let directory = Directory::new();
    let first = start(seat(0, 3, &directory), offer(PATIENCE));
    let stream = TcpStream::connect(directory.address()).unwrap();
    let mut facts = offer(PATIENCE).facts;
    facts.push(("encryption".to_owned(), "auto".to_owned()));
    facts.push(("transport".to_owned(), "auto".to_owned()));
    let hello = letter::Hello {
        job: "job".to_owned(),
        rank: 1,
        size: 3,
        address: "127.0.0.1:1".to_owned(),
        base_bitmap: 0b1010,
        machine: String::new(),
        facts,
    };
    let hello = letter::Letter::Hello(hello);
    let mut dying = Mailbox::call(
        stream,
        &key(),
        Purpose::Join,
        hello,
        letter::MAX_HELLO_BYTES,
    )
    .unwrap();
    let begin = Instant::now();
    let admitted = loop {
        assert!(begin.elapsed() < PATIENCE);
        if let Some(letter) = dying.receive().unwrap() {
            break letter;
        }
    };
    assert!(
        matches!(admitted, letter::Letter::Admitted { .. }),
        "{admitted:?}"
    );
    drop(dying);
    let others = [1, 2].map(|rank| start(seat(rank, 3, &directory), offer(PATIENCE)));
    talk_and_leave([first].into_iter().chain(others).collect());
}

#[test]
fn without_a_common_base_all_are_told() {
    let directory = Directory::new();
    let with = |base_bitmap| Offer {
        base_bitmap,
        ..offer(PATIENCE)
    };
    let drones = [
        start(seat(0, 2, &directory), with(0b01)),
        start(seat(1, 2, &directory), with(0b10)),
    ];
    for drone in drones {
        let sentence = sentence(drone);
        assert!(
            sentence.contains("no address for the region is free on all drones at once"),
            "{sentence}"
        );
    }
}

#[test]
fn something_else_at_the_address_of_drone_0_is_told_from_a_hive() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let root = Root::Addresses(vec![listener.local_addr().unwrap().to_string()]);
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let banner = b"220 mail.example.org ready: say HELO before anything else\r\n";
        stream.write_all(banner).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let seat = Seat {
        rank: 1,
        size: 2,
        job: "job".to_owned(),
        root,
        ..Seat::alone()
    };
    let sentence = sentence(start(seat, offer(PATIENCE)));
    assert!(
        sentence.contains("drone 1 found something else at 127.0.0.1:"),
        "{sentence}"
    );
    server.join().unwrap();
}

#[test]
fn an_address_in_use_is_refused_with_a_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let root = Root::Addresses(vec![taken.local_addr().unwrap().to_string()]);
    let seat = Seat {
        rank: 0,
        size: 2,
        job: "job".to_owned(),
        root,
        ..Seat::alone()
    };
    let sentence = sentence(start(seat, offer(PATIENCE)));
    assert!(
        sentence.contains("drone 0 cannot listen at 127.0.0.1:"),
        "{sentence}"
    );
    assert!(sentence.contains("HIVEMIND_ROOT"), "{sentence}");
}

#[test]
fn nothing_listens_once_the_hive_runs() {
    let directory = Directory::new();
    let first = start(seat(0, 2, &directory), offer(PATIENCE));
    let address = directory.address();
    let second = start(seat(1, 2, &directory), offer(PATIENCE));
    let joined = [first, second].map(|drone| drone.join().unwrap().unwrap());
    assert!(
        TcpStream::connect(address).is_err(),
        "drone 0 still listens"
    );
    talk_and_leave(
        joined
            .into_iter()
            .map(|joined| thread::spawn(|| Ok(joined)))
            .collect(),
    );
}
