//! Pages: fetching, writing, giving up, and keeping them.

use std::hint::black_box;
use std::time::Instant;

use hivemind::{Hive, Shared};
use hivemind_protocol::PAGE_SIZE;

use super::{Case, Goal, PLAIN, Unit};
use crate::inside::{self, FirstTouches, OwnFaults};
use crate::series::{Bench, Series, Turn};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "fetch/1",
        without: "push",
        what: "a page that another drone wrote is read; floor: a bare round trip with 4 KiB, and the fault by itself",
        goal: Some(Goal::AtMost(1.25)),
        run: |bench| fetch(bench, 1),
        ..PLAIN
    },
    Case {
        name: "fetch/2",
        without: "push",
        what: "2 neighbouring pages that another drone wrote are read; floor: a bare round trip with both, and one fault by itself",
        run: |bench| fetch(bench, 2),
        ..PLAIN
    },
    Case {
        name: "fetch/4",
        without: "push",
        what: "4 neighbouring pages likewise; floor: likewise",
        run: |bench| fetch(bench, 4),
        ..PLAIN
    },
    Case {
        name: "fetch/8",
        without: "push",
        what: "8 neighbouring pages likewise; floor: likewise",
        run: |bench| fetch(bench, 8),
        ..PLAIN
    },
    Case {
        name: "fetch/16",
        without: "push",
        what: "16 neighbouring pages likewise; floor: likewise",
        run: |bench| fetch(bench, 16),
        ..PLAIN
    },
    Case {
        name: "fetch/64MiB",
        without: "push",
        what: "64 MiB that another drone wrote are read in sequence; floor: as much through a bare socket",
        unit: Unit::MebibytesPerSecond {
            operation_bytes: PAGE_SIZE as u32,
        },
        goal: Some(Goal::AtLeast(0.8)),
        run: stream,
        ..PLAIN
    },
    Case {
        name: "shared/fetch/1",
        without: "push",
        transport: "shared",
        what: "a page that another drone wrote is read, through shared memory; floor: a bare round trip with 4 KiB through shared memory, and the fault by itself",
        goal: Some(Goal::AtMost(1.5)),
        run: |bench| fetch(bench, 1),
        ..PLAIN
    },
    Case {
        name: "shared/fetch/64MiB",
        without: "push",
        transport: "shared",
        what: "64 MiB that another drone wrote are read in sequence, through shared memory; floor: as much through bare shared memory",
        unit: Unit::MebibytesPerSecond {
            operation_bytes: PAGE_SIZE as u32,
        },
        run: stream,
        ..PLAIN
    },
    Case {
        name: "fault/own",
        drones: 1,
        what: "a read fault whose page is here; floor: the kernel's own first touch of a page",
        run: own_fault,
        ..PLAIN
    },
    Case {
        name: "write/after-fetch",
        without: "push",
        what: "a page that was fetched to be read is written; floor: the kernel's own first touch of a page",
        run: write_after_fetch,
        ..PLAIN
    },
    // First of its job: `fill` leaves pages that would be used again, while the floor's are fresh.
    Case {
        name: "sweep/64MiB",
        what: "64 MiB that no other drone uses are read and written, barrier after barrier; floor: as much private memory",
        unit: Unit::MebibytesPerSecond {
            operation_bytes: PAGE_SIZE as u32,
        },
        goal: Some(Goal::AtLeast(1.0 / 1.03)),
        run: sweep,
        ..PLAIN
    },
    Case {
        name: "fill/4MiB",
        what: "fresh memory is stored to, page after page; floor: the kernel's own first touch of a page",
        run: fill,
        ..PLAIN
    },
    Case {
        name: "malloc",
        drones: 1,
        what: "64 bytes are allocated and freed; floor: likewise in private memory",
        run: allocate,
        ..PLAIN
    },
];

/// Words in a page.
const PAGE_WORDS: usize = PAGE_SIZE / 8;

/// So far apart that no fetch takes a neighbour along.
const STRIDE_PAGES: usize = 128;

/// A page each, far apart, in one array.
struct Spots {
    words: Shared<u64>,
    count: usize,
}

impl Spots {
    fn new(hive: &mut Hive, count: usize) -> hivemind::Result<Self> {
        let words = hive.alloc(count * STRIDE_PAGES * PAGE_WORDS)?;
        Ok(Self { words, count })
    }

    /// The first word of `pages` neighbouring pages at each spot.
    fn words(&self, pages: usize) -> impl Iterator<Item = usize> {
        let spots = (0..self.count).map(|spot| spot * STRIDE_PAGES);
        spots.flat_map(move |first| (first..first + pages).map(|page| page * PAGE_WORDS))
    }

    fn read(&self, hive: &Hive, pages: usize) {
        let words = self.words.view(hive);
        for word in self.words(pages) {
            black_box(words[word]);
        }
    }

    fn write(&mut self, hive: &Hive, pages: usize) {
        let places: Vec<_> = self.words(pages).collect();
        let words = self.words.view_mut(hive);
        for word in places {
            words[word] += 1;
        }
    }
}

fn fetch(bench: &mut Bench, pages: usize) -> anyhow::Result<Series> {
    const SPOTS: usize = 32;
    let mut spots = Spots::new(&mut bench.hive, SPOTS)?;
    let mut faults = OwnFaults::new(inside::engine_of_the_hive()?, SPOTS as u32)?;
    let first = bench.is_first();
    let series = bench.compare(
        |bench| {
            if !first {
                spots.write(&bench.hive, pages);
            }
            bench.hive.barrier()?;
            bench.timed_alone(SPOTS as u32, |bench| {
                spots.read(&bench.hive, pages);
                Ok(())
            })
        },
        |bench| {
            let count = SPOTS as u32;
            let asked = bench.wires.questions(count, pages * PAGE_SIZE)?;
            Ok(Turn::bare(asked, count).plus(Turn::taken(&mut faults, count)))
        },
    )?;
    bench.hive.free(spots.words)?;
    Ok(series)
}

fn stream(bench: &mut Bench) -> anyhow::Result<Series> {
    const PAGES: usize = 16384;
    let mut words: Shared<u64> = bench.hive.alloc(PAGES * PAGE_WORDS)?;
    let first = bench.is_first();
    let series = bench.compare(
        |bench| {
            if !first {
                for page in words.view_mut(&bench.hive).chunks_mut(PAGE_WORDS) {
                    page[0] += 1;
                }
            }
            bench.hive.barrier()?;
            bench.timed_alone(PAGES as u32, |bench| {
                for page in words.view(&bench.hive).chunks(PAGE_WORDS) {
                    black_box(page[0]);
                }
                Ok(())
            })
        },
        |bench| {
            Ok(Turn::bare(
                bench.wires.stream(PAGES * PAGE_SIZE)?,
                PAGES as u32,
            ))
        },
    )?;
    bench.hive.free(words)?;
    Ok(series)
}

pub(super) fn own_fault(bench: &mut Bench) -> anyhow::Result<Series> {
    const COUNT: u32 = 256;
    let mut faults = OwnFaults::new(inside::engine_of_the_hive()?, COUNT)?;
    let mut touches = FirstTouches::new(COUNT);
    bench.compare(
        |_| Ok(Turn::taken(&mut faults, COUNT)),
        |_| Ok(Turn::taken(&mut touches, COUNT)),
    )
}

pub(super) fn write_after_fetch(bench: &mut Bench) -> anyhow::Result<Series> {
    const SPOTS: usize = 32;
    let mut spots = Spots::new(&mut bench.hive, SPOTS)?;
    let mut touches = FirstTouches::new(SPOTS as u32);
    let first = bench.is_first();
    let series = bench.compare(
        |bench| {
            if !first {
                spots.write(&bench.hive, 1);
            }
            bench.hive.barrier()?;
            if first {
                spots.read(&bench.hive, 1);
            }
            bench.timed_alone(SPOTS as u32, |bench| {
                spots.write(&bench.hive, 1);
                Ok(())
            })
        },
        |_| Ok(Turn::taken(&mut touches, SPOTS as u32)),
    )?;
    bench.hive.free(spots.words)?;
    Ok(series)
}

pub(super) fn fill(bench: &mut Bench) -> anyhow::Result<Series> {
    const PAGES: u32 = 1024;
    // Kept until the end, so that each turn has memory that nobody has used.
    let mut filled: Vec<Shared<u64>> = Vec::new();
    let mut touches = FirstTouches::new(PAGES);
    let series = bench.compare(
        |bench| {
            let mut words = bench.hive.alloc(PAGES as usize * PAGE_WORDS)?;
            let turn = bench.timed_alone(PAGES, |bench| {
                let pages = words.view_mut(&bench.hive).chunks_mut(PAGE_WORDS);
                pages.for_each(|page| page[0] = 1);
                Ok(())
            })?;
            filled.push(words);
            Ok(turn)
        },
        |_| Ok(Turn::taken(&mut touches, PAGES)),
    )?;
    for words in filled {
        bench.hive.free(words)?;
    }
    Ok(series)
}

pub(super) fn sweep(bench: &mut Bench) -> anyhow::Result<Series> {
    const PAGES: usize = 16384;
    let mut words: Shared<f64> = bench.hive.alloc(PAGES * PAGE_WORDS)?;
    let mut private = vec![0.0_f64; PAGES * PAGE_WORDS];
    let first = bench.is_first();
    if first {
        touch_by_turns(words.view_mut(&bench.hive), &mut private);
    }
    // One after the other, so that neither disturbs the other's memory.
    let series = bench.compare(
        |bench| {
            bench.hive.barrier()?;
            bench.timed_alone(PAGES as u32, |bench| {
                inside::sweep(words.view_mut(&bench.hive));
                Ok(())
            })
        },
        |bench| {
            bench.line_up()?;
            let begin = Instant::now();
            if first {
                inside::sweep(&mut private);
            }
            let took = begin.elapsed();
            bench.line_up()?;
            Ok(Turn::bare(took, PAGES as u32))
        },
    )?;
    bench.hive.free(words)?;
    Ok(series)
}

/// Touches both for the first time, a piece of one and then a piece of the other. Pages that lie one behind the other in the
/// machine's memory are swept faster, up to a quarter, and whose do is the kernel's mood. So neither is the first to choose.
fn touch_by_turns(words: &mut [f64], private: &mut [f64]) {
    const PIECE: usize = 512 * PAGE_WORDS;
    for (words, private) in words.chunks_mut(PIECE).zip(private.chunks_mut(PIECE)) {
        inside::sweep(words);
        inside::sweep(private);
    }
}

fn allocate(bench: &mut Bench) -> anyhow::Result<Series> {
    const COUNT: u32 = 1000;
    bench.compare(
        |bench| {
            bench.timed(COUNT, |bench| {
                for _ in 0..COUNT {
                    inside::allocate(&mut bench.hive)?;
                }
                Ok(())
            })
        },
        |_| {
            let begin = Instant::now();
            for _ in 0..COUNT {
                inside::allocate_privately();
            }
            Ok(Turn::bare(begin.elapsed(), COUNT))
        },
    )
}
