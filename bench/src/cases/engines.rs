//! The fault engines side by side: the same cases on each, which is named first. Those that a machine lacks are left out.
//!
//! Deliberately elsewhere: what a fault, a write and a sweep are (`pages`).

use hivemind::Shared;
use hivemind_protocol::PAGE_SIZE;

use super::{Case, PLAIN, Unit, pages};
use crate::bare::SHORT_BYTES;
use crate::series::{Bench, Series, Turn};

/// The cases of one engine.
macro_rules! cases {
    ($engine:literal) => {
        [
            Case {
                name: concat!($engine, "/fault"),
                engine: Some($engine),
                drones: 1,
                what: "a read fault whose page is here; floor: the kernel's own first touch of a page",
                run: pages::own_fault,
                ..PLAIN
            },
            Case {
                name: concat!($engine, "/write"),
                engine: Some($engine),
                without: WITHOUT,
                what: "a page that was fetched to be read is written; floor: the kernel's own first touch of a page",
                run: pages::write_after_fetch,
                ..PLAIN
            },
            Case {
                name: concat!($engine, "/fill"),
                engine: Some($engine),
                without: WITHOUT,
                what: "fresh memory is stored to, page after page; floor: the kernel's own first touch of a page",
                run: pages::fill,
                ..PLAIN
            },
            Case {
                name: concat!($engine, "/sweep"),
                engine: Some($engine),
                without: WITHOUT,
                what: "64 MiB that no other drone uses are read and written, barrier after barrier; floor: as much private memory",
                unit: Unit::MebibytesPerSecond {
                    operation_bytes: PAGE_SIZE as u32,
                },
                run: pages::sweep,
                ..PLAIN
            },
            Case {
                name: concat!($engine, "/release/0-of-512"),
                engine: Some($engine),
                without: WITHOUT,
                what: "a lock is taken from a drone that holds 512 pages and stored to none of them; floor: a bare round trip",
                run: |bench| release(bench, 0),
                ..PLAIN
            },
            Case {
                name: concat!($engine, "/release/8-of-512"),
                engine: Some($engine),
                without: WITHOUT,
                what: "likewise from one that stored to 8 of them; floor: likewise",
                run: |bench| release(bench, 8),
                ..PLAIN
            },
            Case {
                name: concat!($engine, "/release/512-of-512"),
                engine: Some($engine),
                without: WITHOUT,
                what: "likewise from one that stored to all of them; floor: likewise",
                run: |bench| release(bench, PAGES),
                ..PLAIN
            },
        ]
    };
}

/// Neither pages nor tokens come unasked: what an engine does is asked for each time.
const WITHOUT: &str = "push,again";

pub(super) static CASES: [[Case; 7]; 4] = [
    cases!("uffd"),
    cases!("uffd-sync"),
    cases!("guard"),
    cases!("mprotect"),
];

/// Pages that the drone holds from which the lock is taken.
const PAGES: usize = 512;

/// Releases a turn, so that fetching the pages first does not take most of the time.
const RELEASES: u32 = 8;

/// Drone 0 takes a lock again and again, which drone 1 has just released. Its interval ends then.
fn release(bench: &mut Bench, dirty: usize) -> anyhow::Result<Series> {
    const WORDS: usize = PAGE_SIZE / 8;
    const LOCK: u32 = 0;
    let mut words: Shared<u64> = bench.hive.alloc(PAGES * WORDS)?;
    let first = bench.is_first();
    let series = bench.compare(
        |bench| {
            if first {
                let pages = words.view_mut(&bench.hive).chunks_mut(WORDS);
                pages.for_each(|page| page[0] += 1);
            }
            bench.hive.barrier()?;
            if !first {
                let pages = words.view(&bench.hive).chunks(WORDS);
                std::hint::black_box(pages.map(|page| page[0]).sum::<u64>());
            }
            let mut turn = Turn::bare(std::time::Duration::ZERO, 0);
            for _ in 0..RELEASES {
                if !first {
                    let held = bench.hive.lock(LOCK)?;
                    let pages = words.view_mut(&held).chunks_mut(WORDS);
                    pages.take(dirty).for_each(|page| page[1] += 1);
                    held.release()?;
                }
                // So that nothing of that is counted, nor what comes next.
                bench.line_up()?;
                turn = turn.and(bench.timed(1, |bench| {
                    if first {
                        bench.hive.lock(LOCK)?.release()?;
                    }
                    Ok(())
                })?);
                bench.line_up()?;
            }
            bench.hive.barrier()?;
            Ok(turn)
        },
        |bench| {
            let took = bench.wires.questions(RELEASES, SHORT_BYTES)?;
            Ok(Turn::bare(took, RELEASES))
        },
    )?;
    bench.hive.free(words)?;
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_has_the_same_cases_and_none_is_left_out() {
        let engines = hivemind::fault_engines();
        assert_eq!(engines.len(), CASES.len());
        for (engine, cases) in engines.iter().zip(&CASES) {
            for (case, other) in cases.iter().zip(&CASES[0]) {
                assert_eq!(case.engine, Some(engine.name.as_str()));
                let rest = |case: &Case| case.name.split_once('/').map(|(_, rest)| rest.to_owned());
                assert_eq!(rest(case), rest(other));
                assert!(case.name.starts_with(&format!("{}/", engine.name)));
            }
        }
    }
}
