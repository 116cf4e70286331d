//! Locks: kept, fetched from their manager, fetched from a third drone, and passed to and fro.

use crate::bare::SHORT_BYTES;
use crate::inside;
use crate::series::{Bench, Series, Turn};

use super::{Case, Goal, PLAIN};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "lock/cached",
        what: "a lock whose token is here is acquired and released; floor: a mutex of this process likewise",
        run: cached,
        ..PLAIN
    },
    Case {
        name: "lock/manager",
        what: "a lock whose token is at its manager is acquired and released; floor: a bare round trip",
        goal: Some(Goal::AtMost(1.25)),
        run: |bench| managed(bench, 1),
        ..PLAIN
    },
    Case {
        name: "lock/three-hops",
        drones: 3,
        what: "a lock whose token is at neither its manager nor here is acquired and released; floor: one and a half bare round trips",
        run: three_hops,
        ..PLAIN
    },
    Case {
        name: "lock/contended",
        what: "a lock that two drones want all the time is handed over; floor: a bare round trip",
        goal: Some(Goal::AtMost(0.75)),
        run: contended,
        ..PLAIN
    },
    Case {
        name: "shared/lock/manager",
        transport: "shared",
        what: "as lock/manager, through shared memory; floor: a bare round trip through shared memory",
        run: |bench| managed(bench, 1),
        ..PLAIN
    },
    Case {
        name: "shared/lock/contended",
        transport: "shared",
        what: "as lock/contended, through shared memory; floor: a bare round trip through shared memory",
        run: contended,
        ..PLAIN
    },
];

fn cached(bench: &mut Bench) -> anyhow::Result<Series> {
    const COUNT: u32 = 1000;
    let mutex = std::sync::Mutex::new(0_u32);
    bench.compare(
        |bench| {
            bench.timed_alone(COUNT, |bench| {
                for _ in 0..COUNT {
                    inside::lock(&mut bench.hive, 0)?;
                }
                Ok(())
            })
        },
        |_| {
            let begin = std::time::Instant::now();
            for _ in 0..COUNT {
                inside::lock_mutex(&mutex);
            }
            Ok(Turn::bare(begin.elapsed(), COUNT))
        },
    )
}

/// Locks that one drone manages, and has taken last.
fn managed(bench: &mut Bench, manager: u32) -> anyhow::Result<Series> {
    const COUNT: u32 = 32;
    let drones = bench.hive.drones() as u32;
    let ids: Vec<_> = (1..=COUNT).map(|at| at * drones + manager).collect();
    bench.compare(
        |bench| {
            if bench.hive.me() == manager as usize {
                for &id in &ids {
                    inside::lock(&mut bench.hive, id)?;
                }
            }
            bench.hive.barrier()?;
            bench.timed_alone(COUNT, |bench| {
                for &id in &ids {
                    inside::lock(&mut bench.hive, id)?;
                }
                Ok(())
            })
        },
        |bench| {
            Ok(Turn::bare(
                bench.wires.questions(COUNT, SHORT_BYTES)?,
                COUNT,
            ))
        },
    )
}

fn three_hops(bench: &mut Bench) -> anyhow::Result<Series> {
    const COUNT: u32 = 32;
    let drones = bench.hive.drones() as u32;
    let ids: Vec<_> = (1..=COUNT).map(|at| at * drones + 1).collect();
    bench.compare(
        |bench| {
            if bench.hive.me() == 2 {
                for &id in &ids {
                    inside::lock(&mut bench.hive, id)?;
                }
            }
            bench.hive.barrier()?;
            bench.timed_alone(COUNT, |bench| {
                for &id in &ids {
                    inside::lock(&mut bench.hive, id)?;
                }
                Ok(())
            })
        },
        // Three messages one after the other, where a round trip is two.
        |bench| {
            let took = bench.wires.questions(COUNT, SHORT_BYTES)?;
            Ok(Turn::bare(took * 3 / 2, COUNT))
        },
    )
}

fn contended(bench: &mut Bench) -> anyhow::Result<Series> {
    // Who comes out of the barrier first takes the lock some hundred times before the other asks for it: few of so many.
    const COUNT: u32 = 4000;
    const QUESTIONS: u32 = 200;
    bench.compare(
        |bench| {
            let before = bench.hive.stats().counts;
            let turn = bench.timed(COUNT, |bench| {
                for _ in 0..COUNT {
                    inside::lock(&mut bench.hive, 1)?;
                }
                Ok(bench.hive.barrier()?)
            })?;
            let now = bench.hive.stats().counts;
            // As often as it came it went.
            let acquired = now.locks_acquired - before.locks_acquired;
            let came = acquired - (now.locks_cached - before.locks_cached);
            Ok(turn.of(2 * came as u32))
        },
        |bench| {
            Ok(Turn::bare(
                bench.wires.questions(QUESTIONS, SHORT_BYTES)?,
                QUESTIONS,
            ))
        },
    )
}
