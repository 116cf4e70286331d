//! Meetings: barriers of few and many drones, with nothing and with much to tell, and values for all.

use hivemind::{Hive, Shared};
use hivemind_protocol::PAGE_SIZE;

use super::{Case, Goal, PLAIN};
use crate::bare::SHORT_BYTES;
use crate::inside;
use crate::series::{Bench, Series, Turn};

const BARRIER: Case = Case {
    what: "a barrier of all; floor: all send to drone 0 and get its answer, through bare sockets",
    run: |bench| barrier(bench, 0, Valid::side_by_side(0)),
    ..PLAIN
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "barrier/2",
        goal: Some(Goal::AtMost(1.25)),
        ..BARRIER
    },
    Case {
        name: "shared/barrier/2",
        transport: "shared",
        what: "a barrier of two, through shared memory; floor: a bare round trip through shared memory",
        ..BARRIER
    },
    Case {
        name: "barrier/4",
        drones: 4,
        ..BARRIER
    },
    Case {
        name: "barrier/8",
        drones: 8,
        ..BARRIER
    },
    Case {
        name: "barrier/16",
        drones: 16,
        ..BARRIER
    },
    Case {
        name: "barrier/32",
        drones: 32,
        ..BARRIER
    },
    Case {
        name: "barrier/64",
        drones: 64,
        ..BARRIER
    },
    Case {
        name: "barrier/0-of-1024",
        what: "a barrier, 1024 pages valid on both drones and none written; floor: a bare round trip",
        run: |bench| barrier(bench, 0, Valid::side_by_side(1024)),
        ..PLAIN
    },
    Case {
        name: "barrier/1-of-1024",
        what: "a barrier, 1 of 1024 such pages written before; floor: a bare round trip",
        run: |bench| barrier(bench, 1, Valid::side_by_side(1024)),
        ..PLAIN
    },
    Case {
        name: "barrier/64-of-1024",
        what: "a barrier, 64 of 1024 such pages written before; floor: a bare round trip",
        run: |bench| barrier(bench, 64, Valid::side_by_side(1024)),
        ..PLAIN
    },
    Case {
        name: "barrier/1024-of-1024",
        what: "a barrier, all of 1024 such pages written before; floor: a bare round trip",
        run: |bench| barrier(bench, 1024, Valid::side_by_side(1024)),
        ..PLAIN
    },
    Case {
        name: "barrier/1-of-512-apart",
        what: "a barrier, 1 of 512 pages written before that lie 16 apart; floor: a bare round trip",
        run: |bench| {
            let valid = Valid {
                pages: 512,
                apart: 16,
            };
            barrier(bench, 1, valid)
        },
        ..PLAIN
    },
    Case {
        name: "broadcast/2",
        what: "a word of drone 0 for both; floor: a bare round trip",
        run: |bench| collective(bench, |bench| bench.hive.broadcast(0, 1_u64)),
        ..PLAIN
    },
    Case {
        name: "reduce/2",
        what: "the sum of a number of each drone for both; floor: a bare round trip",
        run: |bench| collective(bench, |bench| inside::sum(&mut bench.hive)),
        ..PLAIN
    },
];

/// Pages that are valid when a barrier comes.
#[derive(Clone, Copy)]
struct Valid {
    pages: usize,
    /// How many pages it is from one to the next.
    apart: usize,
}

impl Valid {
    fn side_by_side(pages: usize) -> Self {
        Self { pages, apart: 1 }
    }

    fn read(self, hive: &Hive, pages: &Shared<Page>) {
        for page in pages.view(hive).iter().step_by(self.apart).take(self.pages) {
            std::hint::black_box(page[0]);
        }
    }
}

type Page = [u64; PAGE_SIZE / 8];

/// Barriers one after the other; before each, drone 1 writes `dirty` of the `valid` pages, which drone 0 has read. Time
/// counts from when both are about to call; where there is nothing to do before each, all are timed at once, as the round trips are.
fn barrier(bench: &mut Bench, dirty: usize, valid: Valid) -> anyhow::Result<Series> {
    const COUNT: u32 = 16;
    let first = bench.is_first();
    let mut pages: Shared<Page> = bench.hive.alloc((valid.pages * valid.apart).max(1))?;
    valid.read(&bench.hive, &pages);
    let series = bench.compare(
        |bench| {
            if dirty == 0 {
                return bench.timed(COUNT, |bench| {
                    (0..COUNT).try_for_each(|_| Ok(bench.hive.barrier()?))
                });
            }
            let mut whole: Option<Turn> = None;
            for _ in 0..COUNT {
                if first {
                    valid.read(&bench.hive, &pages);
                }
                bench.hive.barrier()?;
                if !first {
                    let view = pages.view_mut(&bench.hive);
                    for page in view.iter_mut().step_by(valid.apart).take(dirty) {
                        page[0] += 1;
                    }
                }
                let turn = bench.timed(1, |bench| Ok(bench.hive.barrier()?))?;
                whole = Some(whole.map_or(turn, |whole| whole.and(turn)));
            }
            Ok(whole.expect("there is one at least"))
        },
        |bench| {
            Ok(Turn::bare(
                bench.wires.round_trips(COUNT, SHORT_BYTES)?,
                COUNT,
            ))
        },
    )?;
    bench.hive.free(pages)?;
    Ok(series)
}

fn collective(
    bench: &mut Bench,
    call: impl Fn(&mut Bench) -> hivemind::Result<u64>,
) -> anyhow::Result<Series> {
    const COUNT: u32 = 64;
    bench.compare(
        |bench| {
            bench.timed(COUNT, |bench| {
                for _ in 0..COUNT {
                    std::hint::black_box(call(bench)?);
                }
                Ok(())
            })
        },
        |bench| {
            Ok(Turn::bare(
                bench.wires.round_trips(COUNT, SHORT_BYTES)?,
                COUNT,
            ))
        },
    )
}
