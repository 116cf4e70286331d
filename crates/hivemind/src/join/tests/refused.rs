//! Drones that do not belong to a hive knock at it: each is told why it may not come in, and the hive comes together
//! without it.

use super::*;

/// Lets a wrong drone knock at a hive of two, wants it refused with `expected`, and the hive to come together after.
fn wrong_drone_is_refused(expected: &str, change: impl FnOnce(&mut Seat, &mut Offer)) {
    let directory = Directory::new();
    let first = start(seat(0, 2, &directory), offer(PATIENCE));
    let (mut wrong, mut wrong_offer) = (seat(1, 2, &directory), offer(PATIENCE));
    change(&mut wrong, &mut wrong_offer);
    let sentence = sentence(start(wrong, wrong_offer));
    assert!(sentence.contains(expected), "{sentence}");
    talk_and_leave(vec![first, start(seat(1, 2, &directory), offer(PATIENCE))]);
}

#[test]
fn a_drone_of_another_job_is_refused_and_the_hive_goes_on() {
    wrong_drone_is_refused(
        "drone 1 was refused by drone 0: drone 1 belongs to job `other`",
        |seat, _| {
            seat.job = "other".to_owned();
        },
    );
}

#[test]
fn a_drone_of_a_hive_of_another_size_is_refused_and_the_hive_goes_on() {
    wrong_drone_is_refused(
        "drone 1 was started for a hive of 3, drone 0 for one of 2",
        |seat, _| seat.size = 3,
    );
}

#[test]
fn a_rank_beyond_the_hive_is_refused_and_the_hive_goes_on() {
    wrong_drone_is_refused("there is no drone 9 in a hive of 2", |seat, _| {
        seat.rank = 9
    });
}

#[test]
fn a_drone_with_another_region_is_refused_and_the_hive_goes_on() {
    wrong_drone_is_refused(
        "drone 1 has a region of 64 MiB, drone 0 of 1 GiB",
        |_, offer| {
            offer.facts[0].1 = (64 << 20).to_string();
        },
    );
}

#[test]
fn a_drone_that_wants_other_encryption_is_refused_and_the_hive_goes_on() {
    wrong_drone_is_refused(
        "the encryption of drone 1 is never, that of drone 0 is auto",
        |_, offer| offer.encryption = Encryption::Never,
    );
}

#[test]
fn a_drone_that_wants_another_transport_is_refused_and_the_hive_goes_on() {
    wrong_drone_is_refused(
        "the transport of drone 1 is tcp, that of drone 0 is auto",
        |_, offer| offer.transport = Transport::Tcp,
    );
}

#[test]
fn a_drone_of_another_program_is_refused_and_the_hive_goes_on() {
    wrong_drone_is_refused(
        "the program of drone 1 is build 2, that of drone 0 is unknown",
        |_, offer| {
            offer
                .facts
                .push(("program".to_owned(), "build 2".to_owned()));
        },
    );
}

#[test]
fn a_drone_with_another_key_is_told_so_and_the_hive_goes_on() {
    wrong_drone_is_refused("do not have the same key: it hangs up", |_, offer| {
        offer.key = Some(Key::of([43; 32]));
    });
}

#[test]
fn a_rank_that_is_here_already_is_refused_and_the_hive_goes_on() {
    let directory = Directory::new();
    let mut drones: Vec<_> = [0, 1]
        .into_iter()
        .map(|rank| start(seat(rank, 3, &directory), offer(PATIENCE)))
        .collect();
    // One of the two that are drone 1 is let in, whichever came first; the other is told.
    let twin = start(seat(1, 3, &directory), offer(PATIENCE));
    let start_time = Instant::now();
    while !twin.is_finished() && !drones[1].is_finished() {
        assert!(start_time.elapsed() < PATIENCE);
        thread::yield_now();
    }
    let refused = if twin.is_finished() {
        twin
    } else {
        std::mem::replace(&mut drones[1], twin)
    };
    let sentence = sentence(refused);
    assert!(
        sentence.contains("drone 1 is here already: two processes"),
        "{sentence}"
    );
    drones.push(start(seat(2, 3, &directory), offer(PATIENCE)));
    talk_and_leave(drones);
}
