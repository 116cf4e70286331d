//! What the border to C adds: each call of the C library beside the Rust call that it stands on, in the same process.
//!
//! A process joins one hive, and here the C library does: these cases share a job of their own and line up by a barrier.

use std::ffi::c_void;
use std::hint::black_box;
use std::ptr;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use hivemind::{LockId, PAGE_SIZE, RawHive};
use hivemind_capi::{
    hive_barrier, hive_exit, hive_lock, hive_me, hive_present, hive_sem_post, hive_startup,
    hive_status_t, hive_unlock, rust_hive,
};

use crate::series::Series;

use super::{Case, Goal, PLAIN};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "from-c/lock/cached",
        what: "hive_lock and hive_unlock of a lock that is here; floor: the same from Rust",
        ..C
    },
    Case {
        name: "from-c/lock/contended",
        what: "hive_lock and hive_unlock of a lock that two drones want all the time; floor: the same from Rust",
        ..C
    },
    Case {
        name: "from-c/barrier/2",
        what: "hive_barrier of two drones; floor: the same from Rust",
        ..C
    },
    Case {
        name: "from-c/fetch/1",
        what: "a page that the other drone has written is fetched by hive_present; floor: the same from Rust",
        ..C
    },
];

/// What all of them have in common. No other case has this transport: so they share a job with nobody else.
const C: Case = Case {
    transport: "auto",
    goal: Some(Goal::AtMost(1.1)),
    run: |_| bail!("the C library has no other hive beside it"),
    ..PLAIN
};

/// Rounds before the first that counts.
const WARM_UP_ROUNDS: u32 = 4;

/// How often an operation is done in a turn, and how many pages are fetched in one.
const OPERATIONS: u32 = 500;
const PAGES: usize = 64;

/// Whether these are cases of this file.
pub(super) fn are_ours(names: &[String]) -> bool {
    names.iter().all(|name| name.starts_with("from-c/"))
}

/// A drone's part: drone 0 hands each case's series to `show`.
pub(super) fn measure(
    names: &[String],
    rounds: u32,
    show: impl Fn(&Series) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    good(hive_startup(ptr::null_mut(), ptr::null_mut()))?;
    let bytes = PAGES as u64 * PAGE_SIZE as u64;
    let pages = rust(|hive| hive.allocate_together(bytes, PAGE_SIZE as u64))?;
    let base = rust(|hive| Ok(hive.base()))?;
    let pages = base + pages.address.0 as usize;
    for name in names {
        let mut series = Series::default();
        series.name.clone_from(name);
        for round in 0..WARM_UP_ROUNDS + rounds {
            // By turns the one or the other is first.
            for turn in 0..2 {
                let from_c = (round + turn).is_multiple_of(2);
                let each_ns = one_turn(name, from_c, base, pages)?;
                if round >= WARM_UP_ROUNDS {
                    let into = match from_c {
                        true => &mut series.ours_ns,
                        false => &mut series.floor_ns,
                    };
                    into.push(each_ns);
                }
            }
        }
        if hive_me() == 0 {
            show(&series)?;
        }
    }
    good(hive_exit())
}

/// What an operation takes on this drone, in nanoseconds.
fn one_turn(name: &str, from_c: bool, base: usize, pages: usize) -> anyhow::Result<f64> {
    let first = hive_me() == 0;
    let page = |at: usize| pages + at * PAGE_SIZE;
    if name == "from-c/fetch/1" && !first {
        // The other drone's: a word is written in each page.
        for at in 0..PAGES {
            good(hive_sem_post(ptr::with_exposed_provenance_mut(page(at))))?;
        }
    }
    let contends = first || name == "from-c/lock/contended";
    // By their addresses, so that none is put into its caller: a program in C has them from a library.
    let lock = black_box(hive_lock as extern "C" fn(u32) -> hive_status_t);
    let unlock = black_box(hive_unlock as extern "C" fn(u32) -> hive_status_t);
    let barrier = black_box(hive_barrier as extern "C" fn(u32) -> hive_status_t);
    let present =
        black_box(hive_present as extern "C" fn(*const c_void, usize, bool) -> hive_status_t);
    good(barrier(0))?;
    let begin = Instant::now();
    let operations = match name {
        "from-c/lock/cached" | "from-c/lock/contended" => {
            let id = u32::from(name == "from-c/lock/contended");
            for _ in (0..OPERATIONS).filter(|_| contends) {
                if from_c {
                    good(lock(id))?;
                    good(unlock(id))?;
                } else {
                    rust(|hive| hive.acquire(LockId(u64::from(id))))?;
                    rust(|hive| hive.release(LockId(u64::from(id))))?;
                }
            }
            OPERATIONS
        }
        "from-c/barrier/2" => {
            for _ in 0..OPERATIONS {
                match from_c {
                    true => good(barrier(1))?,
                    false => rust(|hive| hive.barrier(1))?,
                }
            }
            OPERATIONS
        }
        "from-c/fetch/1" => {
            for at in (0..PAGES).filter(|_| first) {
                if from_c {
                    let page: *const c_void = ptr::with_exposed_provenance(page(at));
                    good(present(page, 8, false))?;
                } else {
                    let offset = (page(at) - base) as u64;
                    rust(|hive| hive.make_present(offset..offset + 8, false))?;
                }
            }
            PAGES as u32
        }
        other => bail!("there is no case `{other}`"),
    };
    let took = begin.elapsed();
    good(hive_barrier(2))?;
    Ok(took.as_nanos() as f64 / f64::from(operations))
}

fn rust<T>(run: impl FnOnce(&RawHive) -> hivemind::Result<T>) -> anyhow::Result<T> {
    Ok(rust_hive(run).context("the hive is gone")??)
}

fn good(status: hive_status_t) -> anyhow::Result<()> {
    ensure!(status == hive_status_t::HIVE_OK, "{status:?}");
    Ok(())
}
