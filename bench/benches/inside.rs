//! What the shared memory costs inside one process, beside what the same work costs without it: page faults by engine,
//! memory that nobody else uses, and the calls of a hive of one. What is measured is the suite's (`hivemind bench`), the
//! clock is divan's.
//!
//! `cargo bench --bench inside`; look at ratios, times differ from hour to hour.

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::sync::Mutex;

use divan::Bencher;
use divan::counter::BytesCount;
use hivemind::Hive;
use hivemind_bench::inside::{self, FirstTouches, Operation, OwnFaults};
use hivemind_memory::{EngineChoice, EngineKind, choose};

fn main() {
    divan::main();
    if let Some(hive) = HIVE.take() {
        hive.leave().expect("nobody is missing");
    }
}

thread_local! {
    /// A process joins once.
    static HIVE: RefCell<Option<Hive>> = const { RefCell::new(None) };
}

/// Measures calls of a hive of one.
fn in_hive(run: impl FnOnce(&mut Hive)) {
    HIVE.with_borrow_mut(|hive| {
        run(hive.get_or_insert_with(|| Hive::join().expect("a hive of one, without a launcher")));
    });
}

/// Faults in a row.
const ROW: u32 = 256;

/// The fault engines that this machine has.
fn engines() -> impl Iterator<Item = EngineKind> {
    EngineKind::all().filter(|&engine| choose(EngineChoice::Only(engine)).is_ok())
}

/// Measures an operation in samples of [`ROW`]: divan makes all inputs of a sample before it starts the clock.
fn in_rows(bencher: Bencher<'_, '_>, operation: impl Operation) {
    let (operation, next) = (RefCell::new(operation), Cell::new(0));
    bencher
        .with_inputs(|| {
            let at = next.replace((next.get() + 1) % ROW);
            operation.borrow_mut().prepare(at);
            at
        })
        .bench_local_values(|at| operation.borrow_mut().run(at));
}

#[divan::bench(args = engines(), sample_size = ROW)]
fn read_fault_of_a_page_that_is_here(bencher: Bencher<'_, '_>, engine: EngineKind) {
    in_rows(
        bencher,
        OwnFaults::new(engine, ROW).expect("the engine works here"),
    );
}

#[divan::bench(sample_size = ROW)]
fn floor_first_touch_of_a_private_page(bencher: Bencher<'_, '_>) {
    in_rows(bencher, FirstTouches::new(ROW));
}

/// Much more than caches hold.
const SWEEP_WORDS: usize = 64 << 20 >> 3;
const SWEEP_BYTES: BytesCount = BytesCount::of_many::<f64>(SWEEP_WORDS);

#[divan::bench(sample_count = 20, sample_size = 1)]
fn sweep(bencher: Bencher<'_, '_>) {
    in_hive(|hive| {
        let mut words = hive.alloc::<f64>(SWEEP_WORDS).expect("room");
        let cell = RefCell::new((hive, &mut words));
        bencher
            .counter(SWEEP_BYTES)
            .with_inputs(|| cell.borrow_mut().0.barrier().expect("alone"))
            .bench_local_values(|()| {
                let (hive, words) = &mut *cell.borrow_mut();
                inside::sweep(words.view_mut(hive));
            });
        cell.into_inner().0.free(words).expect("it is ours");
    });
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn floor_sweep_of_private_memory(bencher: Bencher<'_, '_>) {
    let mut words = vec![0.0; SWEEP_WORDS];
    bencher
        .counter(SWEEP_BYTES)
        .bench_local(|| inside::sweep(&mut words));
}

#[divan::bench]
fn allocate_and_free(bencher: Bencher<'_, '_>) {
    in_hive(|hive| bencher.bench_local(|| inside::allocate(hive)));
}

#[divan::bench]
fn floor_allocate_and_free_privately(bencher: Bencher<'_, '_>) {
    bencher.bench_local(inside::allocate_privately);
}

#[divan::bench]
fn lock_cached(bencher: Bencher<'_, '_>) {
    in_hive(|hive| bencher.bench_local(|| inside::lock(hive, 0)));
}

#[divan::bench]
fn floor_lock_a_mutex(bencher: Bencher<'_, '_>) {
    let mutex = Mutex::new(0);
    bencher.bench_local(|| inside::lock_mutex(&mutex));
}

#[divan::bench]
fn barrier_alone(bencher: Bencher<'_, '_>) {
    in_hive(|hive| bencher.bench_local(|| hive.barrier()));
}

#[divan::bench]
fn sum_alone(bencher: Bencher<'_, '_>) {
    in_hive(|hive| bencher.bench_local(|| inside::sum(hive)));
}
