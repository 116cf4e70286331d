//! What goes through the tree of a meeting: who may arrive where and end what, that what is passed on is right, and that
//! whoever passes on another's lie would be blamed for it, so it is found before. The drones are three in a line.

mod peer;

use hivemind_protocol::{
    Arrival, BarrierId, Command, DroneId, Effect, Interval, IntervalId, IntervalIndex, LockId,
    Meeting, MeetingKind, Message, Met, Refusal,
};
use peer::{Drone, EPOCH, PAGES, arrive, grant, in_line, interval, meet};

const BARRIER: MeetingKind = MeetingKind::Barrier(BarrierId(0));

fn meeting(kind: MeetingKind) -> Option<Meeting> {
    let payload = Vec::new();
    Some(Meeting { kind, payload })
}

fn arrival(intervals: Vec<Interval>) -> Arrival {
    Arrival {
        intervals,
        meeting: meeting(BARRIER),
        declined: Vec::new(),
    }
}

fn together(arrivals: Vec<Arrival>) -> Message {
    Message::ArriveTogether {
        epoch: EPOCH,
        arrivals,
    }
}

fn depart(intervals: Vec<Interval>, met: Option<Met>) -> Message {
    Message::Depart {
        epoch: EPOCH,
        intervals,
        met,
        declined: Vec::new(),
    }
}

fn met() -> Option<Met> {
    Some(Met::Together {
        payloads: vec![Vec::new(); 3],
        block: None,
    })
}

/// The drone between, whose program is in a barrier.
fn between() -> Drone {
    in_line(1).calls(meet(BARRIER))
}

/// The same, when the last has arrived.
fn gathered() -> Drone {
    let last = interval(2, 1, &[(5, 1)]);
    between().hears(2, arrive(vec![last], meeting(BARRIER)))
}

fn sent(drone: &Drone) -> Vec<(DroneId, Message)> {
    let sent = drone.effects.iter().filter_map(|effect| match effect {
        Effect::Send { to, message } => Some((*to, message.clone())),
        Effect::Complete { .. } => None,
    });
    sent.collect()
}

#[test]
fn a_drone_arrives_at_the_one_above_and_nowhere_else() {
    let here = || arrive(Vec::new(), meeting(BARRIER));
    let said = between().refuses(0, here());
    assert!(said.contains("where nobody waits for it"), "{said}");
    let first = || in_line(0).calls(meet(BARRIER));
    let said = first().refuses(2, here());
    assert!(said.contains("where nobody waits for it"), "{said}");
    let last = || in_line(2).calls(meet(BARRIER));
    let said = last().refuses(1, here());
    assert!(said.contains("where nobody waits for it"), "{said}");
}

#[test]
fn a_drone_arrives_with_all_below_it_and_once() {
    let first = || in_line(0).calls(meet(BARRIER));
    let two = || vec![arrival(Vec::new()), arrival(Vec::new())];
    let said = first().refuses(1, arrive(Vec::new(), meeting(BARRIER)));
    assert!(said.contains("arrives for 1 drones"), "{said}");
    let three = [two(), vec![arrival(Vec::new())]].concat();
    let said = first().refuses(1, together(three));
    assert!(said.contains("arrives for 3 drones"), "{said}");
    assert!(!first().hears(1, together(two())).waits());
    let said = gathered().refuses(2, arrive(Vec::new(), meeting(BARRIER)));
    assert!(said.contains("twice"), "{said}");
}

#[test]
fn who_passes_an_arrival_on_has_looked_at_it() {
    let beyond = interval(2, 1, &[(PAGES, 1)]);
    let said = between().refuses(2, arrive(vec![beyond], meeting(BARRIER)));
    assert!(said.contains("the region has 64 pages"), "{said}");
    let (kind, payload) = (MeetingKind::Reduce { bytes: 8 }, vec![0; 7]);
    let short = Some(Meeting { kind, payload });
    let said = between().refuses(2, arrive(Vec::new(), short));
    assert!(said.contains("7 bytes of drone 2"), "{said}");
    let said = between().refuses(2, arrive(Vec::new(), None));
    assert!(said.contains("a collection that nobody called"), "{said}");
    // Each brings its own.
    let first = || in_line(0).calls(meet(BARRIER));
    let swapped = vec![
        arrival(vec![interval(2, 1, &[])]),
        arrival(vec![interval(1, 1, &[])]),
    ];
    let said = first().refuses(1, together(swapped));
    assert!(said.contains("another's intervals"), "{said}");
}

#[test]
fn an_epoch_is_ended_from_above_and_after_all_have_arrived() {
    let said = gathered().refuses(2, depart(Vec::new(), met()));
    assert!(said.contains("may not end"), "{said}");
    let last = in_line(2).calls(meet(BARRIER));
    let said = last.refuses(0, depart(Vec::new(), met()));
    assert!(said.contains("may not end"), "{said}");
    let said = between().refuses(0, depart(Vec::new(), met()));
    assert!(said.contains("before all are here"), "{said}");
    let said = gathered().refuses(0, depart(Vec::new(), None));
    assert!(
        said.contains("may not end"),
        "nobody called a collection: {said}"
    );
}

#[test]
fn a_departure_is_passed_on_with_what_the_receiver_has_not_said() {
    let first = interval(0, 1, &[(0, 1)]);
    let mut drone = gathered();
    let arrived = sent(&drone);
    let [(DroneId(0), Message::ArriveTogether { arrivals, .. })] = &arrived[..] else {
        panic!("{arrived:?}");
    };
    assert_eq!(arrivals.len(), 2);
    drone.effects.clear();
    let drone = drone.hears(0, depart(vec![first.clone()], met()));
    assert!(!drone.waits());
    assert_eq!(sent(&drone), [(DroneId(2), depart(vec![first], met()))]);
}

/// Drone 1 knows of drone 0's interval from a lock's grant and would not look at it again, but drone 2 does not.
#[test]
fn who_passes_a_departure_on_has_looked_at_all_of_it() {
    let knows = || {
        let first = interval(0, 1, &[(0, 1)]);
        let lock = LockId(0);
        let mut drone = in_line(1).calls(Command::Acquire(lock));
        drone = drone.hears(0, grant(vec![first]));
        drone.effects.clear();
        drone = drone.calls_at_once(Command::Release(lock));
        let drone = drone.calls(meet(BARRIER));
        drone.hears(2, arrive(vec![interval(2, 1, &[(5, 1)])], meeting(BARRIER)))
    };
    let beyond = interval(0, 1, &[(PAGES, 1)]);
    let said = knows().refuses(0, depart(vec![beyond], met()));
    assert!(said.contains("the region has 64 pages"), "{said}");
    let second = IntervalId {
        creator: DroneId(0),
        index: IntervalIndex(2),
    };
    let mut gap = interval(0, 2, &[]);
    gap.id = second;
    let said = knows().refuses(0, depart(vec![gap], met()));
    assert!(said.contains("where 1 comes next"), "{said}");
    for creator in [1, 2] {
        let said = knows().refuses(0, depart(vec![interval(creator, 2, &[])], met()));
        assert!(said.contains("which arrived here"), "{said}");
    }
}

#[test]
fn a_meeting_ends_only_for_all_that_are_in_it() {
    // Drone 2 computes, and arrived because a collection was called.
    let computes = || {
        let called = in_line(1).hears(0, Message::Collect { epoch: EPOCH });
        let below = sent(&called);
        assert_eq!(below[0], (DroneId(2), Message::Collect { epoch: EPOCH }));
        // It has arrived for the collection itself already, before its program came into the barrier.
        called
            .hears(2, arrive(Vec::new(), None))
            .calls(meet(BARRIER))
    };
    let said = computes().refuses(0, depart(Vec::new(), met()));
    assert!(said.contains("may not end"), "{said}");
    let in_barrier = between()
        .hears(0, Message::Collect { epoch: EPOCH })
        .hears(2, arrive(Vec::new(), None));
    let said = in_barrier.refuses(0, depart(Vec::new(), met()));
    assert!(said.contains("not all are"), "{said}");
    // Drone 2 is in another meeting: it cannot have gone well, but may have been refused.
    let apart = || between().hears(2, arrive(Vec::new(), meeting(MeetingKind::Leave)));
    let said = apart().refuses(0, depart(Vec::new(), met()));
    assert!(said.contains("not all are"), "{said}");
    let refused = Met::Refused(Refusal::Mismatch {
        one: DroneId(0),
        here: BARRIER,
        other: DroneId(2),
        there: MeetingKind::Leave,
    });
    assert!(!apart().hears(0, depart(Vec::new(), Some(refused))).waits());
}

#[test]
fn a_collection_is_called_from_above() {
    let call = || Message::Collect { epoch: EPOCH };
    let said = in_line(2)
        .calls(Command::Acquire(LockId(0)))
        .refuses(0, call());
    assert!(said.contains("only the drone above"), "{said}");
    let said = between().refuses(2, call());
    assert!(said.contains("only the drone above"), "{said}");
    let said = between().refuses(2, Message::CollectWanted { epoch: EPOCH });
    assert!(said.contains("not at the first drone"), "{said}");
}
