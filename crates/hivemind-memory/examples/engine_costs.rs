//! What a page costs under each fault engine, in microseconds: medians, one thread, no network. The handler does nothing
//! but make the page valid, so this is the floor below which no fault of a drone can be.
//!
//! `cargo run --release -p hivemind-memory --example engine_costs`

use hivemind_memory::{
    BASES, EngineChoice, EngineKind, FaultHandler, RegionMemory, RegionView, choose, free_bases,
};
use hivemind_protocol::{Access, AccessKind, Memory, PAGE_SIZE, PageId, PageRun};
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Pages a round: 4 MiB, larger than the caches near a core, and as many as the engine with guard pages keeps copies of.
const PAGES: u64 = 1024;
/// Rounds, of which the first warms up.
const ROUNDS: usize = 6;

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{:<10}{:>12}{:>13}{:>13}{:>15}{:>12}{:>17}",
        "engine",
        "read fault",
        "write fault",
        "first write",
        "scan, written",
        "scan, clean",
        "invalidate, one"
    );
    for engine in EngineKind::all() {
        match choose(EngineChoice::Only(engine)) {
            Ok(_) => print_costs(engine)?,
            Err(refused) => println!("{engine:<10}{refused}"),
        }
    }
    println!(
        "\nMicroseconds a page, medians over {} pages; a scan divided by its {PAGES} pages.",
        PAGES as usize * (ROUNDS - 1)
    );
    Ok(())
}

/// Makes a page valid for what it is wanted for.
struct Serve(Mutex<RegionMemory>);

impl FaultHandler for Serve {
    fn fault(&self, page: PageId, kind: AccessKind) {
        let access = if kind == AccessKind::Write {
            Access::ReadWrite
        } else {
            Access::ReadOnly
        };
        self.0
            .lock()
            .expect("no panic under this lock")
            .set_access(PageRun::one(page), access);
    }
}

fn print_costs(engine: EngineKind) -> Result<(), Box<dyn Error>> {
    let bytes = PAGES * PAGE_SIZE as u64;
    let base = (0..BASES.len())
        .find(|index| free_bases(bytes) & (1 << index) != 0)
        .ok_or("no base is free")?;
    let memory = RegionMemory::create(bytes, base, engine)?;
    let view = memory.view();
    let serve = Arc::new(Serve(Mutex::new(memory)));
    let guard = serve
        .0
        .lock()
        .expect("no panic under this lock")
        .handle_faults(serve.clone());

    let mut costs: [Vec<f64>; 6] = Default::default();
    for round in 0..ROUNDS {
        let measured = one_round(&serve, &view);
        if round > 0 {
            costs
                .iter_mut()
                .zip(measured)
                .for_each(|(all, some)| all.extend(some));
        }
    }
    drop(guard);

    let [read, write, first, written, clean, invalidate] = costs.map(median);
    println!(
        "{engine:<10}{read:>12.2}{write:>13.2}{first:>13.2}{written:>15.3}{clean:>12.3}{invalidate:>17.2}"
    );
    Ok(())
}

/// Every cost once a page, in the order of the heading.
fn one_round(serve: &Serve, view: &RegionView) -> [Vec<f64>; 6] {
    let set = |page, access| {
        serve
            .0
            .lock()
            .expect("no panic under this lock")
            .set_access(PageRun::one(PageId(page)), access)
    };
    let touch =
        |page: u64, kind| view.touch(page * PAGE_SIZE as u64..page * PAGE_SIZE as u64 + 1, kind);
    let scan = || {
        let mut runs = Vec::new();
        vec![
            clock(|| {
                serve
                    .0
                    .lock()
                    .expect("no panic under this lock")
                    .take_written(&mut runs)
            }) / PAGES as f64,
        ]
    };
    let each = |what: &dyn Fn(u64)| {
        (0..PAGES)
            .map(|page| clock(|| what(page)))
            .collect::<Vec<_>>()
    };

    let read = each(&|page| touch(page, AccessKind::Read));
    let first = each(&|page| touch(page, AccessKind::Write));
    let written = scan();
    let clean = scan();
    let invalidate = each(&|page| set(page, Access::Invalid));
    let write = each(&|page| touch(page, AccessKind::Write));
    each(&|page| set(page, Access::Invalid));
    [read, write, first, written, clean, invalidate]
}

/// How long it takes, in microseconds.
fn clock(what: impl FnOnce()) -> f64 {
    let start = Instant::now();
    what();
    start.elapsed().as_secs_f64() * 1e6
}

fn median(mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}
