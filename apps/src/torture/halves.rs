//! Torture for barriers in two calls: work of every length in between, pages of one drone and of several, and at times a lock,
//! or a barrier in one call. Whoever comes early waits for drones that compute.

use super::Torture;
use crate::program::Failure;
use hivemind::Hive;
use std::time::{Duration, Instant};

/// Words in a page.
const PAGE: usize = 512;

/// So many rounds a word keeps its value: until each drone has read it and arrived again.
const KEPT: usize = 4;

/// How long a drone works in between at most; now and then one works much longer.
const WORK_MOST_US: u64 = 300;
const MUCH_WORK_US: u64 = 3000;

/// Every drone writes a page of its own and a word of a page that all write before it arrives, and more in between. What was
/// written before the arrival is there after the departure, what was written in between a round later.
pub(super) fn halves(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    let (me, drones) = (hive.me(), hive.drones());
    let mut own = hive.alloc::<u64>(KEPT * drones * PAGE)?;
    let mut common = hive.alloc::<u64>(KEPT * PAGE.max(drones))?;
    let mut late = hive.alloc::<u64>(KEPT * PAGE.max(drones))?;
    let mut counter = hive.alloc::<u64>(1)?;
    let rows = PAGE.max(drones);
    for round in 1..=torture.rounds {
        let place = (round as usize % KEPT) * drones * PAGE;
        let row = (round as usize % KEPT) * rows;
        own.view_mut(hive)[place + me * PAGE..][..PAGE].fill(round);
        common.view_mut(hive)[row + me] = round;

        let between = hive.arrive()?;
        work(round, me);
        late.view_mut(&between)[row + me] = round;
        between.depart()?;

        let all = |words: &[u64], expected| words.iter().all(|word| *word == expected);
        let words = &own.view(hive)[place..][..drones * PAGE];
        let whole = all(words, round);
        let shared = all(&common.view(hive)[row..][..drones], round);
        let before = ((round - 1) as usize % KEPT) * rows;
        let told = all(&late.view(hive)[before..][..drones], round - 1);
        let what =
            format!("pages of one, words of all and words of the round before in round {round}");
        torture.expect(hive, &what, (whole, shared, told), (true, true, true))?;

        if round % 5 == 0 {
            let guard = hive.lock(0)?;
            counter.view_mut(&guard)[0] += 1;
            guard.release()?;
        }
        if round % 16 == 0 {
            hive.barrier()?;
        }
    }
    hive.barrier()?;
    let count = counter.view(hive)[0];
    torture.expect(
        hive,
        "the counter",
        count,
        torture.rounds / 5 * drones as u64,
    )?;
    hive.free(own)?;
    hive.free(common)?;
    hive.free(late)?;
    Ok(hive.free(counter)?)
}

/// Computes for a while that looks like chance, and differs from drone to drone.
fn work(round: u64, me: usize) {
    let mixed = (round * 0x9E37_79B9 + me as u64 * 0x85EB_CA6B) >> 7;
    let long = mixed.is_multiple_of(23);
    let time_us = if long {
        MUCH_WORK_US
    } else {
        mixed % WORK_MOST_US
    };
    let end = Instant::now() + Duration::from_micros(time_us);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}
