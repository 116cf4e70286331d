//! What every transport must do: one suite, run for each of them. A new transport adds one arm at the end.
//!
//! The arms stand at the end, their streams in `streams`; who is woken is in `wakes`.

pub(super) mod streams;
mod wakes;

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hivemind_protocol::{DroneId, Sealer};

use super::frame::Kind;
use super::*;
use streams::{MakePair, tcp_pair};
use wakes::*;

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// The links of `drones` drones to each other.
pub(super) fn hive(drones: u32, config: LinksConfig, pair: &MakePair) -> Vec<Arc<Links>> {
    let mut ends: Vec<Vec<(DroneId, Box<dyn ByteStream>)>> =
        (0..drones).map(|_| Vec::new()).collect();
    for low in 0..drones {
        for high in low + 1..drones {
            let (one, other) = pair();
            ends[low as usize].push((DroneId(high), one));
            ends[high as usize].push((DroneId(low), other));
        }
    }
    let links = (0..)
        .map(DroneId)
        .zip(ends)
        .map(|(me, streams)| Links::new(me, streams, config).unwrap());
    links.map(Arc::new).collect()
}

fn pair_of(pair: &MakePair) -> (Arc<Links>, Arc<Links>) {
    let mut hive = hive(2, LinksConfig::default(), pair);
    let second = hive.pop().unwrap();
    (hive.pop().unwrap(), second)
}

/// Polls until `done` says so.
fn poll_until(
    links: &Links,
    mut done: impl FnMut() -> bool,
    mut receive: impl FnMut(DroneId, Incoming<'_>),
) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "nothing came for too long");
        links
            .poll(Some(Duration::from_millis(20)), &mut receive)
            .unwrap();
    }
}

/// Receives until the link's end; gives the frames and the end.
fn receive_all(links: &Links) -> (Vec<Vec<u8>>, Closed) {
    let mut frames = Vec::new();
    let mut end = None;
    let start = Instant::now();
    while end.is_none() {
        assert!(start.elapsed() < PATIENCE, "the link did not end");
        links
            .poll(
                Some(Duration::from_millis(20)),
                &mut |_, incoming| match incoming {
                    Incoming::Frame(body) => frames.push(body.to_vec()),
                    Incoming::Closed(closed) => end = Some(closed),
                },
            )
            .unwrap();
    }
    (frames, end.unwrap())
}

const FIRST: DroneId = DroneId(0);
const SECOND: DroneId = DroneId(1);
const THIRD: DroneId = DroneId(2);

fn frames_of_all_lengths_arrive_whole_and_in_order(pair: &MakePair) {
    let (near, far) = pair_of(pair);
    // Around what a record holds, and what waiting frames are joined to, with each header's length.
    let around =
        |most: usize| [5, 13].map(|header| [most - header - 1, most - header, most - header + 1]);
    let edges = [MAX_PLAIN_BYTES, 64 << 10].map(around);
    let others = [0, 1, 64, 4096, 4101, 65_536, 300_000, 1, 0, 2_000_000];
    let edges = edges.as_flattened().as_flattened();
    let lengths: Vec<usize> = edges.iter().chain(&others).copied().collect();
    for (index, &length) in lengths.iter().enumerate() {
        near.send(
            SECOND,
            &mut Frame::of(&vec![index as u8; length]),
            Wakes::Anyone,
        );
    }
    let sender = {
        let near = Arc::clone(&near);
        thread::spawn(move || near.close(PATIENCE, &mut |_, _| {}))
    };
    let (frames, end) = receive_all(&far);
    assert_eq!(end, Closed::Left);
    assert_eq!(frames.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
    for (index, frame) in frames.iter().enumerate() {
        assert!(
            frame.iter().all(|&byte| byte == index as u8),
            "frame {index} is torn"
        );
    }
    far.close(PATIENCE, &mut |_, _| {}).unwrap();
    sender.join().unwrap().unwrap();
}

fn both_send_long_frames_at_once_and_neither_blocks(pair: &MakePair) {
    const LONG: usize = 64 << 20;
    let (near, far) = pair_of(pair);
    let run = |links: Arc<Links>, to: DroneId, mark: u8| {
        thread::spawn(move || {
            links.send(to, &mut Frame::of(&vec![mark; LONG]), Wakes::Anyone);
            links.send(to, &mut Frame::of(b"and more"), Wakes::Anyone);
            let mut got: Vec<(usize, u8)> = Vec::new();
            let count = AtomicUsize::new(0);
            let done = || count.load(Ordering::Relaxed) == 2;
            poll_until(&links, done, |_, incoming| {
                let Incoming::Frame(body) = incoming else {
                    // Having both frames of ours, the peer may leave at once.
                    assert!(
                        matches!(incoming, Incoming::Closed(Closed::Left)),
                        "{incoming:?}"
                    );
                    return;
                };
                assert!(body.iter().all(|byte| byte == &body[0]) || body.len() == 8);
                got.push((body.len(), body[0]));
                count.fetch_add(1, Ordering::Relaxed);
            });
            links.close(PATIENCE, &mut |_, _| {}).unwrap();
            got
        })
    };
    let (one, other) = (run(near, SECOND, 1), run(far, FIRST, 2));
    assert_eq!(one.join().unwrap(), [(LONG, 2), (8, b'a')]);
    assert_eq!(other.join().unwrap(), [(LONG, 1), (8, b'a')]);
}

fn order_holds_when_two_threads_receive(pair: &MakePair) {
    const FRAMES: u32 = 20_000;
    let (near, far) = pair_of(pair);
    let next = Arc::new(AtomicUsize::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let receivers: Vec<_> = (0..2)
        .map(|spins| {
            let (far, next, over) = (Arc::clone(&far), Arc::clone(&next), Arc::clone(&over));
            thread::spawn(move || {
                let mut receive = |_: DroneId, incoming: Incoming<'_>| match incoming {
                    Incoming::Frame(body) => {
                        let number = u32::from_le_bytes(body.try_into().unwrap());
                        assert_eq!(next.fetch_add(1, Ordering::SeqCst), number as usize);
                    }
                    Incoming::Closed(_) => over.store(true, Ordering::SeqCst),
                };
                while !over.load(Ordering::SeqCst) {
                    if spins == 1 {
                        let attention = far.attend();
                        for _ in 0..50 {
                            far.try_poll(&mut receive).transpose().unwrap();
                        }
                        drop(attention);
                    } else {
                        far.poll(Some(Duration::from_millis(20)), &mut receive)
                            .unwrap();
                    }
                }
            })
        })
        .collect();
    for number in 0..FRAMES {
        near.send(SECOND, &mut Frame::of(&number.to_le_bytes()), Wakes::Anyone);
    }
    let closer = {
        let near = Arc::clone(&near);
        thread::spawn(move || near.close(PATIENCE, &mut |_, _| {}))
    };
    for receiver in receivers {
        receiver.join().unwrap();
    }
    assert_eq!(next.load(Ordering::SeqCst), FRAMES as usize);
    far.close(PATIENCE, &mut |_, _| {}).unwrap();
    closer.join().unwrap().unwrap();
}

fn a_peer_that_goes_without_goodbye_is_lost(pair: &MakePair) {
    let (near, far) = pair_of(pair);
    near.send(SECOND, &mut Frame::of(b"last words"), Wakes::Anyone);
    poll_until(
        &near,
        || near.stats().frames_sent == 1 && drained(&near),
        |_, _| {},
    );
    drop(near);
    let (frames, end) = receive_all(&far);
    assert_eq!(frames, [b"last words"]);
    let Closed::Lost(why) = end else {
        panic!("it ended as {end:?}");
    };
    assert!(why.contains("without a goodbye"), "{why}");
    far.send(FIRST, &mut Frame::of(b"nobody hears this"), Wakes::Anyone);
    let error = far.close(PATIENCE, &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("drone 0 (it closed"), "{error}");
}

fn drained(links: &Links) -> bool {
    links.all().all(|link| link.queued_bytes() == 0)
}

fn a_peer_that_says_goodbye_has_left(pair: &MakePair) {
    let (near, far) = pair_of(pair);
    let closer = thread::spawn(move || near.close(PATIENCE, &mut |_, _| {}));
    assert_eq!(receive_all(&far), (Vec::new(), Closed::Left));
    // It reads on until we leave as well: what we send now is no error.
    far.send(FIRST, &mut Frame::of(b"still here"), Wakes::Anyone);
    far.close(PATIENCE, &mut |_, _| {}).unwrap();
    closer.join().unwrap().unwrap();
}

fn ten_thousand_frames_and_a_close_at_once_lose_none(pair: &MakePair) {
    let (near, far) = pair_of(pair);
    let leaver = thread::spawn(move || {
        for number in 0..10_000_u32 {
            near.send(
                SECOND,
                &mut Frame::of(&[number.to_le_bytes(); 25].concat()),
                Wakes::Anyone,
            );
        }
        near.close(PATIENCE, &mut |_, _| {}).unwrap();
    });
    let (frames, end) = receive_all(&far);
    assert_eq!(end, Closed::Left);
    assert_eq!(frames.len(), 10_000);
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!(frame[..4], (number as u32).to_le_bytes());
    }
    far.close(PATIENCE, &mut |_, _| {}).unwrap();
    leaver.join().unwrap();
}

fn silence_is_counted_in_ticks_and_ended_by_any_sign_of_life(pair: &MakePair) {
    let config = LinksConfig {
        silence_limit_ticks: 3,
        ..LinksConfig::default()
    };
    let mut links = hive(2, config, pair);
    let (far, near) = (links.pop().unwrap(), links.pop().unwrap());
    let ends = std::cell::RefCell::new(Vec::new());
    let mut receive = |from: DroneId, incoming: Incoming<'_>| {
        if let Incoming::Closed(closed) = incoming {
            ends.borrow_mut().push((from, closed));
        }
    };
    // The far one ticks as well: its heartbeats wait in the socket, and that is enough.
    for _ in 0..10 {
        far.tick(&mut |_, _| {});
        poll_until(&far, || drained(&far), |_, _| {});
        let heard = || near.stats().heartbeats_received;
        let before = heard();
        poll_until(&near, || heard() > before, |_, _| {});
        near.tick(&mut receive);
    }
    assert_eq!(*ends.borrow(), []);
    assert_eq!(near.stats().frames_received, 0);
    assert!(near.stats().heartbeats_sent >= 9);
    // It falls silent. The tick that follows the last heartbeat still finds that one.
    near.tick(&mut receive);
    near.tick(&mut receive);
    assert_eq!(*ends.borrow(), []);
    near.tick(&mut receive);
    assert_eq!(
        *ends.borrow(),
        [(SECOND, Closed::Lost("silent for 3 s".to_owned()))]
    );
    near.tick(&mut receive);
    assert_eq!(ends.borrow().len(), 1, "an end is said once");
    // It was stopped, and goes on: what it sends now comes too late.
    far.send(FIRST, &mut Frame::of(b"late"), Wakes::Anyone);
    near.poll(Some(Duration::from_millis(20)), &mut |_, incoming| {
        panic!("{incoming:?} from a peer that is lost")
    })
    .unwrap();
}

fn an_idle_link_still_carries_what_comes(pair: &MakePair) {
    let (near, far) = pair_of(pair);
    for _ in 0..10 {
        near.tick(&mut |_, incoming| panic!("{incoming:?} on an idle link"));
    }
    far.send(FIRST, &mut Frame::of(b"at last"), Wakes::Anyone);
    poll_until(&far, || drained(&far), |_, _| {});
    let came = std::cell::Cell::new(false);
    poll_until(
        &near,
        || came.get(),
        |_, incoming| came.set(matches!(incoming, Incoming::Frame(b"at last"))),
    );
}

fn input_that_waits_already_is_a_sign_of_life(pair: &MakePair) {
    let config = LinksConfig {
        silence_limit_ticks: 1,
        ..LinksConfig::default()
    };
    let mut links = hive(2, config, pair);
    let (far, near) = (links.pop().unwrap(), links.pop().unwrap());
    // As after a stop: nothing was read for long, and the socket is full of heartbeats. One tick must not blame.
    for _ in 0..40 {
        far.send(FIRST, &mut Frame::of(b"alive"), Wakes::Anyone);
    }
    poll_until(&far, || drained(&far), |_, _| {});
    near.tick(&mut |from, incoming| {
        assert!(
            matches!(incoming, Incoming::Frame(_)),
            "{from} was blamed: {incoming:?}"
        );
    });
}

fn a_peer_that_takes_nothing_ends_with_its_queue_full(pair: &MakePair) {
    let config = LinksConfig {
        outbound_limit_bytes: 1 << 20,
        ..LinksConfig::default()
    };
    let mut links = hive(2, config, pair);
    let (_far, near) = (links.pop().unwrap(), links.pop().unwrap());
    for _ in 0..1000 {
        near.send(SECOND, &mut Frame::of(&[0; 100_000]), Wakes::Anyone);
    }
    let (_, end) = receive_all(&near);
    let Closed::Lost(why) = end else {
        panic!("it ended as {end:?}");
    };
    assert!(why.contains("the bound is 1048576"), "{why}");
}

fn garbage_is_named_and_ends_only_its_link(pair: &MakePair) {
    let (garbage, good) = (pair(), pair());
    let streams = vec![(FIRST, garbage.1), (SECOND, good.1)];
    let mut sealers = [FIRST, SECOND].map(|from| sealer(&*garbage.0, from, THIRD));
    let links = Links::new(THIRD, streams, LinksConfig::default()).unwrap();
    send_raw(
        &*garbage.0,
        Frame::of(b"ok").close(Kind::Data, sealers[0].as_mut()),
    );
    send_raw(&*garbage.0, b"\xff\xff\xff\xff\x00");
    let mut seen = Vec::new();
    let start = Instant::now();
    while seen.len() < 2 {
        assert!(start.elapsed() < PATIENCE);
        links
            .poll(Some(Duration::from_millis(20)), &mut |from, incoming| {
                seen.push((from, format!("{incoming:?}")));
            })
            .unwrap();
    }
    assert_eq!(seen[0], (FIRST, "Frame([111, 107])".to_owned()));
    assert!(seen[1].1.contains("claims 4294967295 bytes"), "{seen:?}");
    send_raw(
        &*good.0,
        Frame::of(b"hi").close(Kind::Data, sealers[1].as_mut()),
    );
    let came = std::cell::Cell::new(false);
    poll_until(
        &links,
        || came.get(),
        |from, incoming| {
            assert!(from == SECOND && matches!(incoming, Incoming::Frame(b"hi")));
            came.set(true);
        },
    );
}

/// A stream that does not vouch for its bytes has its frames in envelopes: what it repeats, loses or changes is named.
fn what_the_stream_does_to_its_frames_is_named(pair: &MakePair) {
    let (good, vouches) = (b"good", pair().0.vouches());
    for (spoil, says) in [
        (0, "it came twice, or was overtaken"),
        (1, "something was lost on the way"),
        (2, "it was changed on the way"),
    ] {
        let (near, far) = pair();
        let links = Links::new(SECOND, vec![(FIRST, far)], LinksConfig::default()).unwrap();
        let mut sealer = sealer(&*near, FIRST, SECOND);
        let mut frame = || Frame::of(good).close(Kind::Data, sealer.as_mut()).to_vec();
        let first = frame();
        send_raw(&*near, &first);
        match spoil {
            0 => send_raw(&*near, &first),
            1 => {
                let lost = frame();
                send_raw(&*near, &frame());
                drop(lost);
            }
            _ => {
                let mut second = frame();
                *second.last_mut().unwrap() ^= 1;
                send_raw(&*near, &second);
            }
        }
        if vouches {
            continue;
        }
        let (frames, end) = receive_all(&links);
        assert_eq!(frames, [good]);
        assert!(
            matches!(&end, Closed::Lost(why) if why.contains(says)),
            "{end:?}"
        );
    }
}

/// What seals the frames of a stream, if it needs that.
fn sealer(stream: &dyn ByteStream, from: DroneId, to: DroneId) -> Option<Sealer> {
    (!stream.vouches()).then(|| Sealer::new(from, to))
}

fn send_raw(stream: &dyn ByteStream, mut bytes: &[u8]) {
    let start = Instant::now();
    while !bytes.is_empty() {
        assert!(start.elapsed() < PATIENCE);
        match stream.send(&[IoSlice::new(bytes)]) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

fn a_deadline_names_who_has_not_left(pair: &MakePair) {
    let links = hive(3, LinksConfig::default(), pair);
    let leaver = {
        let second = Arc::clone(&links[1]);
        thread::spawn(move || second.close(Duration::from_millis(300), &mut |_, _| {}))
    };
    let error = links[0]
        .close(Duration::from_millis(300), &mut |_, _| {})
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "leaving was not in order with drone 2 (it has not said goodbye)"
    );
    assert!(leaver.join().unwrap().is_err());
}

fn more_than_a_turn_of_input_is_read_to_its_end(pair: &MakePair) {
    let (near, far) = pair_of(pair);
    let sender = thread::spawn(move || {
        for _ in 0..40 {
            near.send(SECOND, &mut Frame::of(&[5; 1 << 20]), Wakes::Anyone);
        }
        near.close(PATIENCE, &mut |_, _| {}).unwrap();
    });
    let (mut frames, mut over) = (0, false);
    let start = Instant::now();
    while !over {
        // A sleep without a timeout of note: what is left unread must end it.
        far.poll(Some(PATIENCE), &mut |_, incoming| match incoming {
            Incoming::Frame(_) => frames += 1,
            Incoming::Closed(_) => over = true,
        })
        .unwrap();
        assert!(start.elapsed() < PATIENCE / 2);
    }
    assert_eq!(frames, 40);
    far.close(PATIENCE, &mut |_, _| {}).unwrap();
    sender.join().unwrap();
}

fn sixteen_drones_talk_all_at_once_and_leave(pair: &MakePair) {
    const DRONES: u32 = 16;
    let mut sealer = sealer(&*pair().0, FIRST, SECOND);
    let frame_bytes = Frame::of(&[0; 4]).close(Kind::Data, sealer.as_mut()).len() as u64;
    let hive = hive(DRONES, LinksConfig::default(), pair);
    let drones: Vec<_> = hive
        .into_iter()
        .enumerate()
        .map(|(me, links)| {
            thread::spawn(move || {
                for round in 0..50_u32 {
                    for peer in (0..DRONES).filter(|&peer| peer as usize != me) {
                        links.send(
                            DroneId(peer),
                            &mut Frame::of(&round.to_le_bytes()),
                            Wakes::Anyone,
                        );
                    }
                }
                let mut rounds = [0_u32; DRONES as usize];
                links
                    .close(PATIENCE, &mut |from, incoming| {
                        if let Incoming::Frame(body) = incoming {
                            let round = &mut rounds[from.0 as usize];
                            assert_eq!(body, round.to_le_bytes());
                            *round += 1;
                        }
                    })
                    .unwrap();
                assert_eq!(rounds.iter().sum::<u32>(), 50 * (DRONES - 1));
                let stats = links.stats();
                assert_eq!(stats.frames_sent, stats.frames_received);
                assert_eq!(stats.bytes_sent, stats.frames_sent * frame_bytes);
            })
        })
        .collect();
    for drone in drones {
        drone.join().unwrap();
    }
}

#[test]
fn links_of_a_hive_of_one_wait_and_leave() {
    let links = Links::new(FIRST, Vec::new(), LinksConfig::default()).unwrap();
    assert_eq!(links.poll(Some(Duration::ZERO), &mut |_, _| {}).unwrap(), 0);
    links.tick(&mut |_, _| {});
    links.close(Duration::ZERO, &mut |_, _| {}).unwrap();
}

#[test]
#[should_panic(expected = "a message for drone 7")]
fn a_message_for_nobody_is_a_mistake() {
    tcp_pair_links()
        .0
        .send(DroneId(7), &mut Frame::of(b""), Wakes::Anyone);
}

fn tcp_pair_links() -> (Arc<Links>, Arc<Links>) {
    pair_of(&tcp_pair)
}

macro_rules! suite {
    ($transport:ident, $pair:expr, [$($fact:ident),* $(,)?]) => {
        mod $transport {
            $(#[test]
            fn $fact() {
                super::$fact(&$pair);
            })*
        }
    };
}

macro_rules! suites {
    ($($transport:ident: $pair:expr;)*) => {
        $(suite!($transport, $pair, [
            frames_of_all_lengths_arrive_whole_and_in_order,
            both_send_long_frames_at_once_and_neither_blocks,
            order_holds_when_two_threads_receive,
            a_peer_that_goes_without_goodbye_is_lost,
            a_peer_that_says_goodbye_has_left,
            ten_thousand_frames_and_a_close_at_once_lose_none,
            silence_is_counted_in_ticks_and_ended_by_any_sign_of_life,
            an_idle_link_still_carries_what_comes,
            input_that_waits_already_is_a_sign_of_life,
            a_peer_that_takes_nothing_ends_with_its_queue_full,
            garbage_is_named_and_ends_only_its_link,
            what_the_stream_does_to_its_frames_is_named,
            a_deadline_names_who_has_not_left,
            every_sleeper_is_woken_and_no_wake_is_missed,
            what_came_while_attended_wakes_a_sleeper_afterwards,
            what_comes_wakes_the_watcher_and_not_who_polls,
            what_comes_to_who_looks_by_himself_wakes_nobody,
            what_can_wait_wakes_nobody_until_somebody_waits,
            what_can_wait_is_taken_at_once_where_a_third_one_waits,
            what_can_wait_wakes_who_waits_for_it,
            more_than_a_turn_of_input_is_read_to_its_end,
            sixteen_drones_talk_all_at_once_and_leave,
        ]);)*
    };
}

suites! {
    tcp: crate::net::conformance::tcp_pair;
    trickle: crate::net::conformance::streams::trickle_pair;
    sealed: crate::net::conformance::streams::sealed_pair;
    sealed_trickle: crate::net::conformance::streams::sealed_trickle_pair;
    shared: crate::net::conformance::streams::ring_pair;
    shared_narrow: crate::net::conformance::streams::narrow_ring_pair;
}
