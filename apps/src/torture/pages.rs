//! Torture that writes pages: many writers on one page, many threads of a drone on one page, and sums
//! whose bits must not depend on anything. Locks are in [`super::locks`].

use super::Torture;
use crate::program::Failure;
use hivemind::Hive;
use rayon::prelude::*;

const PAGE: usize = 4096;

/// Every drone writes its own bytes of the same pages, scattered so that neighbours in a word belong to
/// different drones; after the barrier everybody reads all of them.
pub(super) fn bytes(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    const PAGES: usize = 4;
    let mut bytes = hive.alloc::<u8>(PAGES * PAGE)?;
    let (me, drones) = (hive.me(), hive.drones());
    for round in 0..torture.rounds {
        // In every other round only half of the bytes are written: the others must stay.
        let writes =
            |at: usize| at % drones == me && (round.is_multiple_of(2) || at.is_multiple_of(3));
        for (at, byte) in bytes
            .view_mut(hive)
            .iter_mut()
            .enumerate()
            .filter(|(at, _)| writes(*at))
        {
            *byte = value(round, at);
        }
        hive.barrier()?;
        let wrong = bytes.view(hive).iter().enumerate().position(|(at, &byte)| {
            let last = if round.is_multiple_of(2) || at.is_multiple_of(3) {
                round
            } else {
                round - 1
            };
            byte != value(last, at)
        });
        torture.expect(
            hive,
            &format!("the first wrong byte in round {round}"),
            wrong,
            None,
        )?;
        hive.barrier()?;
    }
    hive.free(bytes)?;
    Ok(())
}

/// Two threads of each drone fault on the same pages at once, reading and writing; then all is checked by
/// two threads again.
pub(super) fn threads(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    const PAGES: usize = 16;
    const PIECE: usize = 64;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    let pool = pool.map_err(|error| {
        Failure::WrongHere(format!("threads: can't start two threads: {error}"))
    })?;
    let mut bytes = hive.alloc::<u8>(PAGES * PAGE)?;
    let (me, drones) = (hive.me(), hive.drones());
    for round in 0..torture.rounds {
        let view = bytes.view_mut(hive);
        pool.install(|| {
            // Neighbouring pieces go to different drones, and those of a drone to different threads.
            let pieces = view.par_chunks_mut(PIECE).enumerate().with_max_len(1);
            pieces
                .filter(|(piece, _)| piece % drones == me)
                .for_each(|(piece, bytes)| {
                    for (at, byte) in bytes.iter_mut().enumerate() {
                        *byte = value(round, piece * PIECE + at);
                    }
                });
        });
        hive.barrier()?;
        let view = bytes.view(hive);
        let wrong = pool.install(|| {
            let bytes = view.par_iter().enumerate().with_max_len(PIECE);
            bytes
                .filter(|(at, byte)| **byte != value(round, *at))
                .map(|(at, _)| at)
                .min()
        });
        torture.expect(
            hive,
            &format!("the first wrong byte in round {round}"),
            wrong,
            None,
        )?;
        hive.barrier()?;
    }
    hive.free(bytes)?;
    Ok(())
}

/// Sums of numbers of very different sizes, whose result depends on the order: it must be that of the drones.
pub(super) fn sums(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    let part = |drone: usize, round: u64| {
        crate::numbers::seeded::<i64>(round, drone) as f64 * 10_f64.powi(drone as i32 * 7 % 23)
    };
    for round in 0..torture.rounds {
        let parts = (0..hive.drones()).map(|drone| part(drone, round));
        let (expected, largest) = (
            parts.clone().reduce(|sum, part| sum + part),
            parts.reduce(f64::max),
        );
        let own = part(hive.me(), round);
        let found = hive.sum(own)?;
        torture.expect(
            hive,
            &format!("the sum of round {round}"),
            Some(found),
            expected,
        )?;
        let found = hive.max(own)?;
        torture.expect(
            hive,
            &format!("the maximum of round {round}"),
            Some(found),
            largest,
        )?;
    }
    Ok(())
}

/// What byte `at` holds after `round`: never twice the same for neighbours, rarely for rounds.
fn value(round: u64, at: usize) -> u8 {
    (round.wrapping_mul(31).wrapping_add(at as u64 * 7) % 251) as u8 + 1
}
