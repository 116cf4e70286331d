//! What a drone says that no correct drone says. A lie changes one message; who must find it out, and how, is the
//! receiving core's affair.

use crate::prng::Prng;
use hivemind_protocol::{
    Address, Arrival, ConditionId, Diff, DroneId, EpochId, Interval, IntervalIndex, Kernels,
    LockId, MeetingKind, Message, Met, NextWish, PAGE_SIZE, PageCopy, PageId, PageRun, Sleeper,
    VectorTimestamp,
};

/// The lie that changes nothing but says it two times.
pub(crate) const TWICE: &str = "is said twice";

/// Turns a message into a lie, of a hive of so many drones and pages; gives what was done, if anything. An honest
/// liar's lies cannot be believed; those of a mad one (the flag) may be.
pub(crate) fn lie(
    prng: &mut Prng,
    message: &mut Message,
    (drones, pages, mad): (u32, u64, bool),
) -> Option<&'static str> {
    if mad && prng.chance(60) {
        return madden(prng, message, drones, pages);
    }
    let far = 1000 + prng.below(1000);
    match prng.below(4) {
        0 if repeats(message) => Some(TWICE),
        1 => {
            let epoch = epoch_of(message)?;
            epoch.0 += far;
            Some("speaks of an epoch that is not")
        }
        2 => {
            let page = page_of(prng, message)?;
            page.0 = pages + prng.below(1 << 40);
            Some("speaks of a page that is not")
        }
        _ => contradict(prng, message, drones, far),
    }
}

/// Messages that are worth saying twice. Who asks twice is answered twice, which concerns only himself. And a token that
/// is granted twice, or a wish for it that is forwarded twice, may come when its receiver waits for that lock again, who
/// is woken or refused twice may sleep or try again: a counterfeit that nobody can tell from the real one, so that is for the mad.
fn repeats(message: &Message) -> bool {
    !matches!(
        message,
        Message::Allocate { .. }
            | Message::Measure { .. }
            | Message::Free { .. }
            | Message::CollectWanted { .. }
            | Message::LockGrant { .. }
            | Message::LockTried { .. }
            | Message::LockSought { .. }
            | Message::LockTaken { .. }
            | Message::Wake { .. }
            | Message::LockRequest {
                forwarded: true,
                ..
            }
    )
}

fn epoch_of(message: &mut Message) -> Option<&mut EpochId> {
    match message {
        Message::PageRequest { epoch, .. }
        | Message::PageReply { epoch, .. }
        | Message::PagePush { epoch, .. }
        | Message::PageRefused { epoch, .. }
        | Message::DiffRequest { epoch, .. }
        | Message::DiffReply { epoch, .. }
        | Message::LockRequest { epoch, .. }
        | Message::LockGrant { epoch, .. }
        | Message::LockSought { epoch, .. }
        | Message::LockTaken { epoch, .. }
        | Message::Arrive { epoch, .. }
        | Message::ArriveTogether { epoch, .. }
        | Message::Depart { epoch, .. }
        | Message::CollectWanted { epoch }
        | Message::Collect { epoch }
        | Message::Flush { epoch, .. } => Some(epoch),
        Message::LockTried { .. }
        | Message::Wake { .. }
        | Message::Allocate { .. }
        | Message::Measure { .. }
        | Message::Free { .. }
        | Message::HeapReply { .. } => None,
    }
}

fn page_of<'a>(prng: &mut Prng, message: &'a mut Message) -> Option<&'a mut PageId> {
    match message {
        Message::PageRequest { pages, .. } => {
            let at = prng.index(pages.len())?;
            Some(&mut pages[at].first)
        }
        Message::PageReply { pages, .. } => {
            let at = prng.index(pages.len())?;
            Some(&mut pages[at].page)
        }
        Message::PagePush { pages, .. } => {
            let at = prng.index(pages.len())?;
            Some(&mut pages[at].0)
        }
        Message::LockRequest { wants, .. } => wants.last_mut(),
        Message::LockGrant {
            pages, intervals, ..
        } => match prng.index(pages.len()) {
            Some(at) => Some(&mut pages[at].page),
            None => {
                let at = prng.index(intervals.len())?;
                intervals[at].pages.last_mut().map(|run| &mut run.first)
            }
        },
        Message::PageRefused { page, .. }
        | Message::DiffRequest { page, .. }
        | Message::DiffReply { page, .. } => Some(page),
        Message::Flush { pages, .. } => {
            let at = prng.index(pages.len())?;
            Some(&mut pages[at].0)
        }
        other => {
            let interval = some_interval(prng, other)?;
            interval.pages.last_mut().map(|run| &mut run.first)
        }
    }
}

fn some_interval<'a>(prng: &mut Prng, message: &'a mut Message) -> Option<&'a mut Interval> {
    match message {
        Message::LockGrant { intervals, .. }
        | Message::Arrive { intervals, .. }
        | Message::Depart { intervals, .. } => {
            let at = prng.index(intervals.len())?;
            Some(&mut intervals[at])
        }
        Message::ArriveTogether { arrivals, .. } => {
            let brought = arrivals.iter_mut();
            let mut brought: Vec<&mut Interval> =
                brought.flat_map(|arrival| &mut arrival.intervals).collect();
            let at = prng.index(brought.len())?;
            Some(brought.swap_remove(at))
        }
        _ => None,
    }
}

/// Says what contradicts something that the receiver knows.
fn contradict(
    prng: &mut Prng,
    message: &mut Message,
    drones: u32,
    far: u64,
) -> Option<&'static str> {
    let later = IntervalIndex(far as u32);
    match message {
        Message::DiffRequest { upto, .. } | Message::DiffReply { upto, .. } => {
            *upto = later;
            Some("speaks of an interval that is not")
        }
        Message::LockGrant { known, pages, .. } if !pages.is_empty() => {
            *known = timestamp(DroneId(drones + 7), later);
            Some("labels a page for another hive")
        }
        Message::PageReply { known, .. } => {
            *known = timestamp(DroneId(drones + 7), later);
            Some("labels a page for another hive")
        }
        Message::PageRequest { pages, .. } => {
            pages.first_mut()?.count = far;
            Some("asks for more pages than a message may")
        }
        Message::LockRequest { requester, .. } => {
            requester.0 = drones + prng.below(9) as u32;
            Some("asks for a drone that is not")
        }
        Message::LockGrant { lock, .. } if prng.chance(30) => {
            lock.0 += far;
            Some("grants a lock for which nobody asked")
        }
        Message::LockGrant { sleepers, .. } if prng.chance(30) => {
            let drone = DroneId(drones + prng.below(9) as u32);
            let condition = ConditionId(far as u32);
            sleepers.push(Sleeper { condition, drone });
            Some("tells of a sleeper that is not")
        }
        Message::LockGrant { again, .. } if prng.chance(30) => {
            let (known, wants) = (VectorTimestamp::new(), vec![PageId(u64::MAX)]);
            *again = Some(NextWish { known, wants });
            Some("wants a page that is not with the lock again")
        }
        Message::LockGrant { again, .. } if again.is_none() && prng.chance(50) => {
            let (known, wants) = (VectorTimestamp::new(), Vec::new());
            *again = Some(NextWish { known, wants });
            Some("says that it wants the lock again, and does not")
        }
        Message::LockSought { requester, .. } if prng.chance(50) => {
            requester.0 = drones + prng.below(9) as u32;
            Some("seeks a lock for a drone that is not")
        }
        Message::LockSought { lock, .. } => {
            lock.0 += far;
            Some("seeks a lock for which it is not in line")
        }
        Message::LockTaken { lock, .. } => {
            lock.0 += far;
            Some("says what nobody asked")
        }
        Message::LockTried { requester, .. } if prng.chance(50) => {
            requester.0 = drones + prng.below(9) as u32;
            Some("tells of a drone that is not")
        }
        Message::LockTried { lock, .. } => {
            lock.0 += far;
            Some("ends a try that nobody made")
        }
        Message::Wake { lock, .. } if prng.chance(50) => {
            lock.0 += far;
            Some("wakes from a lock under which nobody sleeps")
        }
        Message::Wake { condition, .. } => {
            condition.0 += far as u32;
            Some("wakes from what nobody sleeps for")
        }
        Message::Depart {
            met: Some(Met::Together { payloads, .. }),
            ..
        } if prng.chance(30) => {
            payloads.push(vec![1]);
            Some("brings a payload of nobody")
        }
        Message::ArriveTogether { arrivals, .. } if prng.chance(30) => {
            if prng.chance(50) {
                arrivals.pop()?;
            } else {
                arrivals.push(arrivals.last()?.clone());
            }
            Some("arrives for others than those below")
        }
        Message::HeapReply { request, .. } => {
            *request += far;
            Some("answers what nobody asked")
        }
        Message::Flush {
            pages, more: false, ..
        } => {
            pages.pop()?;
            Some("keeps a page's diffs back")
        }
        Message::LockGrant { .. }
        | Message::Arrive { .. }
        | Message::ArriveTogether { .. }
        | Message::Depart { .. } => {
            let interval = some_interval(prng, message)?;
            match prng.below(3) {
                0 => interval.id.index = later,
                1 => interval.id.creator = DroneId(drones + prng.below(5) as u32),
                _ => interval.known.raise(interval.id.creator, later),
            }
            Some("speaks of an interval that is not")
        }
        _ => None,
    }
}

/// Says anything, small numbers mostly: they are believed best.
fn madden(prng: &mut Prng, message: &mut Message, drones: u32, pages: u64) -> Option<&'static str> {
    let drone = DroneId(prng.below(u64::from(drones)) as u32);
    let index = IntervalIndex(1 + prng.skewed(6) as u32);
    if prng.chance(25) {
        *message = invent(prng, drone, pages);
        return Some("is invented");
    }
    match prng.below(6) {
        0 => epoch_of(message)?.0 = prng.skewed(20),
        1 => page_of(prng, message)?.0 = prng.below(pages),
        2 => {
            let interval = some_interval(prng, message)?;
            match prng.below(4) {
                0 => interval.id.index = index,
                1 => interval.id.creator = drone,
                2 => interval.known = timestamp(drone, index),
                _ => interval.pages.reverse(),
            }
        }
        3 => match message {
            Message::LockGrant { intervals, .. }
            | Message::Arrive { intervals, .. }
            | Message::Depart { intervals, .. } => {
                let at = prng.index(intervals.len())?;
                intervals.remove(at);
            }
            Message::ArriveTogether { arrivals, .. } => {
                let at = prng.index(arrivals.len())?;
                arrivals[at].intervals.pop();
            }
            Message::PageReply { pages, .. } => {
                let at = prng.index(pages.len())?;
                pages[at].bytes[prng.below(PAGE_SIZE as u64) as usize] ^= 1;
                pages[at].without.pop();
            }
            Message::PagePush { pages, .. } => {
                let at = prng.index(pages.len())?;
                pages.remove(at);
            }
            Message::DiffReply { diffs, .. } => diffs.reverse(),
            Message::Flush {
                pages, more: false, ..
            } => pages.clear(),
            _ => return None,
        },
        4 => match message {
            Message::LockRequest {
                requester,
                forwarded,
                known,
                ..
            } => match prng.below(3) {
                0 => *requester = drone,
                1 => *forwarded ^= true,
                _ => *known = timestamp(drone, index),
            },
            Message::Arrive { meeting, .. } => *meeting = None,
            Message::ArriveTogether { arrivals, .. } => {
                let at = prng.index(arrivals.len())?;
                match &mut arrivals[at].meeting {
                    Some(meeting) if prng.chance(50) => meeting.kind = MeetingKind::Leave,
                    meeting => *meeting = None,
                }
            }
            Message::Depart { met, .. } => *met = None,
            Message::HeapReply { result, .. } => {
                result.as_mut().ok()?.address.0 = prng.below(pages * PAGE_SIZE as u64);
            }
            Message::DiffReply { upto, diffs, .. } => {
                *upto = index;
                diffs.push((index, diff(prng)));
            }
            Message::PageReply { known, .. } => *known = timestamp(drone, index),
            _ => return None,
        },
        _ => return Some(TWICE),
    }
    Some("is changed by its sender")
}

fn timestamp(drone: DroneId, index: IntervalIndex) -> VectorTimestamp {
    let mut known = VectorTimestamp::new();
    known.raise(drone, index);
    known
}

fn diff(prng: &mut Prng) -> Diff {
    let mut page = [0; PAGE_SIZE];
    page[prng.below(PAGE_SIZE as u64) as usize] = 1;
    Diff::between(&Kernels::PORTABLE, &[0; PAGE_SIZE], &page).expect("a byte changed")
}

/// A message out of the blue.
fn invent(prng: &mut Prng, drone: DroneId, pages: u64) -> Message {
    let epoch = EpochId(prng.skewed(10));
    let (page, lock) = (PageId(prng.below(pages)), LockId(prng.below(8)));
    let index = IntervalIndex(1 + prng.skewed(4) as u32);
    let known = timestamp(drone, index);
    let interval = Interval {
        id: hivemind_protocol::IntervalId {
            creator: drone,
            index,
        },
        known: known.clone(),
        pages: vec![PageRun::one(page)],
    };
    let intervals = vec![interval];
    match prng.below(18) {
        0 => Message::PageRequest {
            epoch,
            pages: vec![PageRun::one(page)],
            again: prng.chance(50),
        },
        1 => Message::PageRefused { epoch, page },
        2 => Message::DiffRequest {
            epoch,
            page,
            after: IntervalIndex(0),
            upto: index,
            or_page: prng.chance(50),
        },
        3 => Message::DiffReply {
            epoch,
            page,
            upto: index,
            diffs: vec![(index, diff(prng))],
        },
        4 => Message::LockRequest {
            epoch,
            lock,
            requester: drone,
            known,
            forwarded: prng.chance(50),
            wants: vec![page],
            tries: prng.chance(30),
        },
        5 => Message::LockGrant {
            epoch,
            lock,
            intervals,
            sleepers: vec![Sleeper {
                condition: ConditionId(0),
                drone,
            }],
            known,
            pages: vec![PageCopy {
                page,
                without: Vec::new(),
                bytes: Box::new([1; PAGE_SIZE].into()),
            }],
            again: prng.chance(50).then(|| NextWish {
                known: timestamp(drone, index),
                wants: vec![page],
            }),
        },
        6 => Message::Arrive {
            epoch,
            intervals,
            meeting: None,
            declined: vec![PageRun::one(page)],
        },
        14 => Message::ArriveTogether {
            epoch,
            arrivals: (0..prng.between(1, 3))
                .map(|_| Arrival {
                    intervals: intervals.clone(),
                    meeting: None,
                    declined: vec![PageRun::one(page)],
                })
                .collect(),
        },
        7 => Message::Depart {
            epoch,
            intervals,
            met: None,
            declined: vec![(drone, vec![PageRun::one(page)])],
        },
        8 => Message::CollectWanted { epoch },
        9 => Message::Collect { epoch },
        10 => Message::Flush {
            epoch,
            pages: vec![(page, vec![(index, diff(prng))])],
            more: false,
        },
        11 => Message::Wake {
            lock,
            condition: ConditionId(prng.below(2) as u32),
        },
        12 => Message::LockTried {
            lock,
            requester: drone,
            given: prng.chance(50),
        },
        13 => Message::LockSought {
            epoch,
            lock,
            requester: drone,
        },
        15 => Message::LockTaken { epoch, lock },
        16 => Message::Measure {
            request: prng.below(10),
            address: Address(prng.below(pages * PAGE_SIZE as u64)),
        },
        _ => Message::Free {
            request: prng.below(10),
            address: Address(prng.below(pages * PAGE_SIZE as u64)),
        },
    }
}
