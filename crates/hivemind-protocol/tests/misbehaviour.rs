//! What no correct drone says is refused, names who said it, and leaves no wait without an end. Bytes that are
//! no message at all are refused in the wire form; random ones are the business of the fuzz targets.

mod peer;

use hivemind_protocol::{
    AccessKind, Address, BarrierId, Block, Command, ConditionId, DroneId, Effect, EpochId, Event,
    IntervalIndex, LockId, Meeting, MeetingKind, Message, Met, NextWish, PAGE_SIZE, PageCopy,
    PageId, PageRun, Sleeper, Ticket, VectorTimestamp,
};
use peer::{EPOCH, PAGES, WAITING, arrive, drone, grant, interval, meet};

/// A lock's token, with a list of who sleeps under it.
fn token(sleepers: &[u32]) -> Message {
    let condition = ConditionId(4);
    let sleepers = sleepers.iter().map(|drone| Sleeper {
        condition,
        drone: DroneId(*drone),
    });
    Message::LockGrant {
        epoch: EPOCH,
        lock: LockId(0),
        intervals: Vec::new(),
        sleepers: sleepers.collect(),
        known: VectorTimestamp::new(),
        pages: Vec::new(),
        again: None,
    }
}

fn depart(payloads: Vec<Vec<u8>>, block: Option<Block>) -> Message {
    let met = Met::Together { payloads, block };
    Message::Depart {
        epoch: EPOCH,
        intervals: Vec::new(),
        met: Some(met),
        declined: Vec::new(),
    }
}

fn block(address: u64) -> Block {
    Block {
        address: Address(address),
        bytes: PAGE_SIZE as u64,
        fresh: true,
    }
}

#[test]
fn a_heap_reply_from_the_wrong_drone_swallows_no_call() {
    let (bytes, align) = (64, 16);
    let allocating = || drone(1).calls(Command::Allocate { bytes, align });
    let reply = |address| Message::HeapReply {
        request: 0,
        result: Ok(block(address)),
    };
    let said = allocating().refuses(2, reply(64));
    assert!(said.contains("nobody made"), "{said}");
    for outside in [0, 8, PAGES * PAGE_SIZE as u64, u64::MAX - 15] {
        let said = allocating().refuses(0, reply(outside));
        assert!(said.contains("for 64 bytes aligned to 16"), "{said}");
    }
    assert!(!allocating().hears(0, reply(64)).waits());
}

#[test]
fn a_grant_with_wrong_intervals_swallows_no_call() {
    let acquiring = || drone(1).calls(Command::Acquire(LockId(0)));
    for (wrong, what) in [
        (interval(2, 2, &[]), "where 1 comes next"),
        (interval(3, 1, &[]), "where 1 comes next"),
        (interval(1, 1, &[]), "did not make"),
        (interval(2, 1, &[(PAGES - 1, 2)]), "the region has 64 pages"),
        (interval(2, 1, &[(3, 2), (4, 1)]), "not in order"),
        (interval(2, 1, &[(3, 0)]), "not in order"),
    ] {
        let right = interval(0, 1, &[(0, 1)]);
        let said = acquiring().refuses(0, grant(vec![right, wrong]));
        assert!(said.contains(what), "{said}");
    }
    let mut stolen = interval(2, 1, &[]);
    stolen.known = VectorTimestamp::new();
    let said = acquiring().refuses(0, grant(vec![stolen]));
    assert!(said.contains("another's"), "{said}");
    let right = vec![
        interval(0, 1, &[(0, 64)]),
        interval(2, 1, &[(3, 2), (5, 1)]),
    ];
    assert!(!acquiring().hears(0, grant(right)).waits());
}

#[test]
fn a_wish_is_forwarded_for_other_drones_of_the_hive_only() {
    for requester in [1, 3, u32::MAX] {
        let wish = Message::LockRequest {
            epoch: EPOCH,
            lock: LockId(0),
            requester: DroneId(requester),
            known: VectorTimestamp::new(),
            forwarded: true,
            wants: Vec::new(),
            tries: false,
        };
        let said = drone(1).calls(Command::Acquire(LockId(0))).refuses(0, wish);
        assert!(said.contains("forwards a wish"), "{said}");
    }
}

#[test]
fn nobody_sleeps_who_cannot() {
    let acquiring = || drone(1).calls(Command::Acquire(LockId(0)));
    for sleepers in [&[1][..], &[3], &[u32::MAX], &[2, 0, 2]] {
        let said = acquiring().refuses(0, token(sleepers));
        assert!(said.contains("cannot sleep"), "{said}");
    }
    assert!(!acquiring().hears(0, token(&[2, 0])).waits());
}

#[test]
fn only_who_sleeps_is_woken() {
    let (lock, condition) = (LockId(1), ConditionId(4));
    let asleep = || {
        let mut sleeper = drone(1);
        let (command, ticket) = (Command::Acquire(lock), Ticket(1));
        let acquires = Event::Command { command, ticket };
        sleeper.core.handle(acquires, &mut sleeper.effects).unwrap();
        sleeper.calls(Command::Wait { lock, condition })
    };
    // Its token is here still: nobody can hold it.
    let said = asleep().refuses(2, Message::Wake { lock, condition });
    assert!(said.contains("nobody sleeps"), "{said}");
    let gone = || {
        asleep().hears(
            2,
            Message::LockRequest {
                epoch: EPOCH,
                lock,
                requester: DroneId(2),
                known: VectorTimestamp::new(),
                forwarded: false,
                wants: Vec::new(),
                tries: false,
            },
        )
    };
    for (lock, condition) in [(LockId(4), condition), (lock, ConditionId(5))] {
        let said = gone().refuses(2, Message::Wake { lock, condition });
        assert!(said.contains("nobody sleeps"), "{said}");
    }
    let woken = || gone().hears(2, Message::Wake { lock, condition });
    assert!(woken().waits(), "it waits for the lock now");
    let said = woken().refuses(2, Message::Wake { lock, condition });
    assert!(said.contains("nobody sleeps"), "{said}");
}

/// Drone 1 manages lock 1, has its token and waits for lock 0. Another asks for lock 1.
fn asks(requester: u32, tries: bool) -> Message {
    Message::LockRequest {
        epoch: EPOCH,
        lock: LockId(1),
        requester: DroneId(requester),
        known: VectorTimestamp::new(),
        forwarded: false,
        wants: Vec::new(),
        tries,
    }
}

fn tried(requester: u32, given: bool) -> Message {
    Message::LockTried {
        lock: LockId(1),
        requester: DroneId(requester),
        given,
    }
}

#[test]
fn a_trial_is_ended_by_who_was_asked_alone() {
    let acquiring = || drone(1).calls(Command::Acquire(LockId(0)));
    // Drone 0 has the token from here on: it is asked when drone 2 tries.
    let given = || acquiring().hears(0, asks(0, false));
    let said = given().refuses(0, tried(2, true));
    assert!(said.contains("was not asked for"), "{said}");
    let trying = || given().hears(2, asks(2, true));
    for (from, requester, given) in [(2, 2, true), (0, 2, false), (0, 0, true), (0, 1, false)] {
        let said = trying().refuses(from, tried(requester, given));
        let what = ["was not asked for", "nobody tries"];
        assert!(what.iter().any(|what| said.contains(what)), "{said}");
    }
    for again in [asks(2, true), asks(2, false)] {
        let said = trying().refuses(2, again);
        assert!(said.contains("while it is in line"), "{said}");
    }
    let said = trying().refuses(0, asks(0, false));
    assert!(said.contains("while it is in line"), "{said}");
    let ended = trying().hears(0, tried(2, true)).hears(0, asks(0, false));
    let forwarded = |effect: &Effect| {
        let Effect::Send { to, message } = effect else {
            return false;
        };
        *to == DroneId(2) && matches!(message, Message::LockRequest { tries: false, .. })
    };
    assert!(
        ended.effects.iter().any(forwarded),
        "drone 2 is last in line"
    );
}

#[test]
fn a_try_ends_in_vain_only_for_who_tries() {
    let vain = |lock| Message::LockTried {
        lock: LockId(lock),
        requester: DroneId(1),
        given: false,
    };
    let trying = || drone(1).calls(Command::TryAcquire(LockId(0)));
    assert!(!trying().hears(2, vain(0)).waits());
    for wrong in [vain(3), tried(2, false)] {
        let said = trying().refuses(2, wrong);
        let what = ["nobody tries", "was not asked for"];
        assert!(what.iter().any(|what| said.contains(what)), "{said}");
    }
    let said = drone(1)
        .calls(Command::Acquire(LockId(0)))
        .refuses(0, vain(0));
    assert!(said.contains("nobody tries"), "{said}");
}

/// Lock 0's token, with the wish of who gives it away.
fn token_and_wish(wants: Vec<PageId>) -> Message {
    let mut message = token(&[]);
    let Message::LockGrant { again, .. } = &mut message else {
        unreachable!("a token is a grant");
    };
    let known = VectorTimestamp::new();
    *again = Some(NextWish { known, wants });
    message
}

fn sought(lock: u64, requester: u32) -> Message {
    Message::LockSought {
        epoch: EPOCH,
        lock: LockId(lock),
        requester: DroneId(requester),
    }
}

fn taken(lock: u64) -> Message {
    Message::LockTaken {
        epoch: EPOCH,
        lock: LockId(lock),
    }
}

#[test]
fn a_wish_comes_with_a_token_only_where_it_can_be_next() {
    let acquiring = || drone(1).calls(Command::Acquire(LockId(0)));
    assert!(!acquiring().hears(0, token_and_wish(Vec::new())).waits());
    // Drone 2 does not manage the lock.
    let said = acquiring().refuses(2, token_and_wish(Vec::new()));
    assert!(said.contains("where it cannot be next"), "{said}");
    let said = acquiring().refuses(0, token_and_wish(vec![PageId(PAGES)]));
    assert!(said.contains("the region has 64 pages"), "{said}");
    let behind = Message::LockRequest {
        epoch: EPOCH,
        lock: LockId(0),
        requester: DroneId(2),
        known: VectorTimestamp::new(),
        forwarded: true,
        wants: Vec::new(),
        tries: false,
    };
    let said = acquiring()
        .hears(0, behind)
        .refuses(0, token_and_wish(Vec::new()));
    assert!(said.contains("where it cannot be next"), "{said}");
}

#[test]
fn a_token_that_was_not_promised_is_refused() {
    // Drone 1 waits for lock 0; lock 1, which it manages, went to drone 0, and drone 1 did not ask for it again.
    let gave = || {
        drone(1)
            .calls(Command::Acquire(LockId(0)))
            .hears(0, asks(0, false))
    };
    let mut back = token(&[]);
    let Message::LockGrant { lock, .. } = &mut back else {
        unreachable!("a token is a grant");
    };
    *lock = LockId(1);
    let said = gave().refuses(0, back);
    assert!(said.contains("for which nobody waits here"), "{said}");
}

#[test]
fn who_is_not_in_line_ahead_seeks_no_lock_and_is_told_nothing() {
    let waiting = || drone(1).calls(Command::Acquire(LockId(0)));
    for (from, lock, requester, what) in [
        (2, 1, 2, "not in line ahead"),
        (2, 1, 0, "in another's name or at the wrong drone"),
        (2, 0, 2, "in another's name or at the wrong drone"),
        (0, 0, 1, "in another's name or at the wrong drone"),
        (0, 0, 9, "in another's name or at the wrong drone"),
    ] {
        let said = waiting().refuses(from, sought(lock, requester));
        assert!(said.contains(what), "{said}");
    }
    for lock in [0, 1] {
        let said = waiting().refuses(2, taken(lock));
        assert!(said.contains("which nobody asked"), "{said}");
    }
    let tries = drone(1).calls(Command::TryAcquire(LockId(0)));
    let said = tries.refuses(0, taken(0));
    assert!(said.contains("which nobody asked"), "{said}");
}

#[test]
fn who_arrives_with_something_wrong_is_blamed_and_not_who_passes_it_on() {
    let steward = || drone(0).calls(meet(MeetingKind::Leave));
    let beyond = interval(2, 1, &[(PAGES, 1)]);
    let said = steward().refuses(2, arrive(vec![beyond], None));
    assert!(said.contains("the region has 64 pages"), "{said}");
    let gap = vec![interval(2, 1, &[]), interval(2, 3, &[])];
    let said = steward().refuses(2, arrive(gap, None));
    assert!(said.contains("where 2 comes next"), "{said}");
    let (kind, payload) = (MeetingKind::Reduce { bytes: 8 }, vec![0; 7]);
    let said = steward().refuses(2, arrive(Vec::new(), Some(Meeting { kind, payload })));
    assert!(said.contains("7 bytes of drone 2"), "{said}");
}

#[test]
fn a_meeting_ends_as_the_meeting_that_it_is() {
    let page = PAGE_SIZE as u64;
    let allocation = MeetingKind::Allocate {
        bytes: page,
        align: page,
    };
    let reduction = MeetingKind::Reduce { bytes: 0 };
    let freeing = MeetingKind::Free(Address(page));
    let endless = Block {
        bytes: u64::MAX,
        ..block(page)
    };
    let brought = |count| vec![Vec::new(); count];
    for (kind, end, what) in [
        (MeetingKind::Leave, depart(brought(2), None), "of 2 drones"),
        (reduction, depart(vec![vec![1]; 3], None), "1 bytes of"),
        (allocation, depart(brought(3), None), "without a block"),
        (allocation, depart(brought(3), Some(block(100))), "aligned"),
        (
            allocation,
            depart(brought(3), Some(block(page * PAGES))),
            "aligned",
        ),
        (
            MeetingKind::Leave,
            depart(brought(3), Some(block(page))),
            "nobody asked",
        ),
        (freeing, depart(brought(3), None), "another block"),
        (
            freeing,
            depart(brought(3), Some(block(2 * page))),
            "another block",
        ),
        (freeing, depart(brought(3), Some(endless)), "aligned"),
    ] {
        let said = drone(1).calls(meet(kind)).refuses(0, end);
        assert!(said.contains(what), "{said}");
    }
    for kind in [allocation, freeing] {
        let right = depart(brought(3), Some(block(page)));
        let met = drone(1).calls(meet(kind)).hears(0, right);
        assert!(!met.waits());
    }
}

#[test]
fn no_meeting_ends_for_a_drone_that_arrived_for_a_collection() {
    let said = drone(1)
        .hears(0, Message::Collect { epoch: EPOCH })
        .calls(meet(MeetingKind::Barrier(BarrierId(0))))
        .refuses(0, depart(vec![Vec::new(); 3], None));
    assert!(said.contains("may not end"), "{said}");
}

#[test]
fn what_is_said_of_a_wrong_message_is_short_however_long_the_message() {
    let early = Message::PageReply {
        epoch: EpochId(9),
        known: VectorTimestamp::new(),
        pages: vec![PageCopy {
            page: PageId(0),
            without: Vec::new(),
            bytes: Box::new([0; PAGE_SIZE].into()),
        }],
    };
    let said = drone(1)
        .calls(Command::Acquire(LockId(0)))
        .refuses(0, early);
    assert_eq!(said, "its PageReply does not belong into epoch 0");
}

#[test]
fn nobody_arrives_for_a_collection_that_nobody_called() {
    let steward = drone(0).calls(meet(MeetingKind::Leave));
    let what = steward.refuses(1, arrive(Vec::new(), None));
    assert!(what.contains("a collection that nobody called"), "{what}");
}

#[test]
fn only_its_home_pushes_a_page_and_only_to_who_wants_it() {
    let whole = |page: &u64| (PageId(*page), Box::new([0; PAGE_SIZE].into()));
    let push_all = |epoch, pages: &[u64]| Message::PagePush {
        epoch,
        pages: pages.iter().map(whole).collect(),
    };
    let push = |epoch, page| push_all(epoch, &[page]);
    let waiting = || drone(1).calls(Command::Acquire(LockId(0)));
    // Of 64 pages, 16 in turn have their home at each of the three drones: nobody wants one yet.
    for page in [0, 3, 16, 40] {
        let said = waiting().refuses(0, push(EPOCH, page));
        assert!(said.contains("which nobody wants of it"), "{said}");
    }
    let said = waiting().refuses(0, push(EPOCH, PAGES));
    assert!(said.contains("the region has 64 pages"), "{said}");
    let said = waiting().refuses(0, push(EpochId(EPOCH.0 + 2), 0));
    assert!(said.contains("does not belong into"), "{said}");
    for pages in [[3, 3], [4, 3]] {
        let said = waiting().refuses(0, push_all(EPOCH, &pages));
        assert!(said.contains("pages that are not in order"), "{said}");
    }
}

#[test]
fn pages_are_asked_for_in_order_within_the_region_and_as_many_as_a_message_holds() {
    let ask = |runs: &[(u64, u64)]| Message::PageRequest {
        epoch: EPOCH,
        pages: runs
            .iter()
            .map(|(first, count)| PageRun {
                first: PageId(*first),
                count: *count,
            })
            .collect(),
        again: false,
    };
    let waiting = || drone(1).calls(Command::Acquire(LockId(0)));
    for runs in [[(5, 2), (6, 1)], [(5, 2), (3, 1)], [(5, 1), (5, 1)]] {
        let said = waiting().refuses(0, ask(&runs));
        assert!(said.contains("pages that are not in order"), "{said}");
    }
    let said = waiting().refuses(0, ask(&[(3, 1), (PAGES - 1, 2)]));
    assert!(said.contains("the region has 64 pages"), "{said}");
    let said = waiting().refuses(0, ask(&[(0, u64::MAX)]));
    assert!(said.contains("the region has 64 pages"), "{said}");
}

#[test]
fn a_page_comes_with_its_senders_own_writes_and_of_this_hive() {
    let page = PageId(3);
    let strange = {
        let mut known = VectorTimestamp::new();
        known.raise(DroneId(2), IntervalIndex(1));
        known.raise(DroneId(9), IntervalIndex(1));
        known
    };
    for known in [VectorTimestamp::new(), strange] {
        let writer = interval(2, 1, &[(3, 1)]);
        let mut reader = drone(1)
            .calls(Command::Acquire(LockId(0)))
            .hears(0, grant(vec![writer]));
        reader.effects.clear();
        let fault = Event::Fault {
            page,
            kind: AccessKind::Read,
            ticket: WAITING,
        };
        reader.core.handle(fault, &mut reader.effects).unwrap();
        let copy = PageCopy {
            page,
            without: Vec::new(),
            bytes: Box::new([0; PAGE_SIZE].into()),
        };
        let reply = Message::PageReply {
            epoch: EPOCH,
            known,
            pages: vec![copy],
        };
        let what = reader.refuses(2, reply);
        assert!(what.contains("labels a page"), "{what}");
    }
}
