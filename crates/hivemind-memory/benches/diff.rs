//! Making a page's diff and applying it, by how much of the page changed and how scattered it is, with every row of
//! kernels that this processor has, beside the floors: copying a page and comparing two. All is in the nearest cache.
//!
//! `cargo bench -p hivemind-memory --bench diff`; look at ratios, times differ from hour to hour.

#![forbid(unsafe_code)]

use std::fmt;

use divan::{Bencher, black_box};
use hivemind_memory::all_kernels;
use hivemind_protocol::{Diff, Kernels, PAGE_SIZE, PageBytes};

/// What changed: its name, and whether the byte at a place did.
type Change = (&'static str, fn(usize) -> bool);

/// From nothing to all, side by side and scattered.
const CHANGES: &[Change] = &[
    ("nothing", |_| false),
    ("one byte", |at| at == 2019),
    ("one run of 64", |at| (1000..1064).contains(&at)),
    ("every 64th byte", |at| at % 64 == 5),
    ("every 8th byte", |at| at % 8 == 5),
    ("six bytes of eight", |at| at % 8 < 6),
    ("every other word", |at| at / 8 % 2 == 0),
    ("every other byte", |at| at % 2 == 0),
    ("all bytes", |_| true),
];

fn main() {
    divan::main();
}

#[derive(Clone, Copy)]
struct Case {
    kernels: &'static Kernels,
    name: &'static str,
    changes: fn(usize) -> bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.name, self.kernels.name)
    }
}

impl Case {
    /// A page before and after. Each in a place of its own, as twins are: side by side on the stack a load would wait
    /// for stores to the other page that end in the same twelve bits.
    fn pages(self) -> (Box<PageBytes>, Box<PageBytes>) {
        let old: Box<PageBytes> = Box::new(std::array::from_fn(|at| (at * 31) as u8));
        let changed = |at: usize| match (self.changes)(at) {
            true => !old[at],
            false => old[at],
        };
        let new = Box::new(std::array::from_fn(changed));
        (old, new)
    }
}

fn cases() -> Vec<Case> {
    let case = |&(name, changes): &Change| {
        all_kernels().into_iter().map(move |kernels| Case {
            kernels,
            name,
            changes,
        })
    };
    CHANGES.iter().flat_map(case).collect()
}

#[divan::bench(args = cases())]
fn make(bencher: Bencher<'_, '_>, case: Case) {
    let (old, new) = case.pages();
    bencher.bench_local(|| Diff::between(case.kernels, black_box(&old), black_box(&new)));
}

#[divan::bench(args = cases())]
fn apply(bencher: Bencher<'_, '_>, case: Case) {
    let (old, new) = case.pages();
    let mut page = old.clone();
    let diff = Diff::between(case.kernels, &old, &new);
    bencher.bench_local(|| {
        if let Some(diff) = black_box(&diff) {
            diff.apply(case.kernels, black_box(&mut page));
        }
    });
}

#[divan::bench]
fn floor_copy_a_page(bencher: Bencher<'_, '_>) {
    let (from, mut to) = (Box::new([1; PAGE_SIZE]), Box::new([0; PAGE_SIZE]));
    bencher.bench_local(|| black_box(&mut to).copy_from_slice(&black_box(&from)[..]));
}

#[divan::bench]
fn floor_compare_two_pages(bencher: Bencher<'_, '_>) {
    let (one, other) = (Box::new([1u8; PAGE_SIZE]), Box::new([1u8; PAGE_SIZE]));
    bencher.bench_local(|| black_box(&one) == black_box(&other));
}
