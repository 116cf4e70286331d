//! The product of two square matrices. Each drone fills and multiplies a band of rows and reads all of the
//! second matrix, most of which others have filled. The arithmetic of a band is one function for the serial
//! and the shared version, and adds each element's products in the order of the columns, however the rows
//! are cut: so the products are equal bit for bit.

use crate::program::{self, Comparison, Console, Failure, parse_count};
use crate::progress::Progress;
use clap::Parser;
use hivemind::{Hive, Shared};
use rayon::prelude::*;
use std::time::{Duration, Instant};

/// The product of two square matrices, on shared memory.
#[derive(Parser, Debug)]
#[command(name = "matmul", version)]
pub struct Arguments {
    /// Rows and columns of the matrices
    #[arg(long, default_value = "1024", value_parser = parse_size)]
    pub size: usize,
    /// Also run the serial version and say whether the products agree to the last bit
    #[arg(long)]
    pub check: bool,
}

/// A product, row by row in `elements`.
pub struct Product<E> {
    /// The elements.
    pub elements: E,
    /// How long the multiplication took, filling the matrices apart.
    pub time: Duration,
}

/// Does what the command line says; collective.
pub fn run(arguments: &Arguments, hive: &mut Hive, console: &Console) -> Result<(), Failure> {
    let size = arguments.size;
    let workers = program::workers(hive)?;
    let progress = console.progress("row", size as u64);
    let product = shared(hive, size, &workers, &progress)?;
    drop(progress);
    let mine = hive.share_of(0..size);
    let part: f64 = product.elements.view(hive)[mine.start * size..mine.end * size]
        .iter()
        .sum();
    let sum = hive.sum(part)?;
    let trace: f64 = {
        let elements = product.elements.view(hive);
        (0..size).map(|at| elements[at * size + at]).sum()
    };
    console.answer(format_args!(
        "{size} x {size} product: sum {sum:.6e}, trace {trace:.6e}"
    ));
    program::conclude(hive, console, product.time, arguments.check, |hive| {
        let expected = serial(size);
        Comparison {
            serial: expected.time,
            difference: difference(size, product.elements.view(hive), &expected.elements),
        }
    })
}

/// The product, on one core of one machine.
pub fn serial(size: usize) -> Product<Vec<f64>> {
    let (mut a, mut b) = (vec![0.0; size * size], vec![0.0; size * size]);
    fill(Factor::First, size, 0, &mut a);
    fill(Factor::Second, size, 0, &mut b);
    let mut elements = vec![0.0; size * size];
    let start = Instant::now();
    for (a, c) in bands(size, &a).zip(elements.chunks_mut(BAND_ROWS * size)) {
        multiply(size, a, &b, c);
    }
    Product {
        elements,
        time: start.elapsed(),
    }
}

/// The product, by all drones: each multiplies a band of rows. Collective.
pub fn shared(
    hive: &mut Hive,
    size: usize,
    workers: &rayon::ThreadPool,
    progress: &Progress,
) -> hivemind::Result<Product<Shared<f64>>> {
    let mut a = hive.alloc::<f64>(size * size)?;
    let mut b = hive.alloc::<f64>(size * size)?;
    let mut elements = hive.alloc::<f64>(size * size)?;
    let rows = hive.share_of(0..size);
    let mine = rows.start * size..rows.end * size;
    fill(
        Factor::First,
        size,
        rows.start,
        &mut a.view_mut(hive)[mine.clone()],
    );
    fill(
        Factor::Second,
        size,
        rows.start,
        &mut b.view_mut(hive)[mine.clone()],
    );
    hive.barrier()?;
    let start = Instant::now();
    let mut done = 0;
    // A band for each thread between two reports of progress.
    for at in rows
        .clone()
        .step_by(BAND_ROWS * workers.current_num_threads())
    {
        let end = rows.end.min(at + BAND_ROWS * workers.current_num_threads());
        let (a, b) = (&a.view(hive)[at * size..end * size], b.view(hive));
        let out = &mut elements.view_mut(hive)[at * size..end * size];
        workers.install(|| {
            a.par_chunks(BAND_ROWS * size)
                .zip(out.par_chunks_mut(BAND_ROWS * size))
                .for_each(|(a, c)| multiply(size, a, b, c));
        });
        done += end - at;
        // All drones have equal parts: this one's speaks for all.
        progress.at((done * hive.drones()).min(size) as u64);
    }
    hive.barrier()?;
    let time = start.elapsed();
    hive.free(a)?;
    hive.free(b)?;
    Ok(Product { elements, time })
}

/// One of the two matrices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Factor {
    /// The one whose rows are multiplied.
    First,
    /// The one whose columns are multiplied.
    Second,
}

/// Fills the rows of a factor from `first` on: numbers from 0 to 1 that depend on the place alone and look
/// like chance, so that no row of the product is like another.
pub fn fill(factor: Factor, size: usize, first: usize, rows: &mut [f64]) {
    let salt = match factor {
        Factor::First => 0,
        Factor::Second => 1 << 63,
    };
    let start = (first * size) as u64 | salt;
    for (element, at) in rows.iter_mut().zip(start..) {
        // Knuth's multiplier of the golden ratio, and the middle bits of its square.
        let mixed = at.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        *element = (mixed >> 11) as f64 / (1_u64 << 53) as f64;
    }
}

/// Adds to `c`, some rows of the product, the same rows `a` of the first factor times all of the second, `b`.
pub fn multiply(size: usize, a: &[f64], b: &[f64], c: &mut [f64]) {
    // A tile of `b` stays in the second cache while all rows of the band pass over it.
    for tile in tiles(size, TILE_COLUMNS) {
        for inner in tiles(size, TILE_INNER) {
            for (a, c) in a.chunks_exact(size).zip(c.chunks_exact_mut(size)) {
                let c = &mut c[tile.clone()];
                let mut k = inner.start;
                while k + 4 <= inner.end {
                    let b = |k: usize| &b[k * size + tile.start..k * size + tile.end];
                    add_four(c, &a[k..k + 4], [b(k), b(k + 1), b(k + 2), b(k + 3)]);
                    k += 4;
                }
                for k in k..inner.end {
                    let b = &b[k * size + tile.start..k * size + tile.end];
                    for (c, b) in c.iter_mut().zip(b) {
                        *c += a[k] * b;
                    }
                }
            }
        }
    }
}

/// So many rows are multiplied at once by one thread: enough to use a tile of the second factor often.
const BAND_ROWS: usize = 16;
/// A tile of the second factor has 128 rows of 256 elements: 256 KiB.
const TILE_INNER: usize = 128;
const TILE_COLUMNS: usize = 256;
/// More rows than the addresses of any machine reach.
const MOST_ROWS: u64 = 1 << 22;

/// Adds four products to each element, one after the other: the order of the columns is kept.
fn add_four(c: &mut [f64], a: &[f64], b: [&[f64]; 4]) {
    let length = c.len();
    let [b0, b1, b2, b3] = b.map(|b| &b[..length]);
    let [a0, a1, a2, a3] = [a[0], a[1], a[2], a[3]];
    for i in 0..length {
        c[i] = (((c[i] + a0 * b0[i]) + a1 * b1[i]) + a2 * b2[i]) + a3 * b3[i];
    }
}

fn bands(size: usize, rows: &[f64]) -> impl Iterator<Item = &[f64]> {
    rows.chunks(BAND_ROWS * size)
}

fn tiles(size: usize, length: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..size)
        .step_by(length)
        .map(move |start| start..size.min(start + length))
}

fn difference(size: usize, elements: &[f64], expected: &[f64]) -> Option<String> {
    let differs = |(shared, serial): (&f64, &f64)| shared.to_bits() != serial.to_bits();
    let pairs = || elements.iter().zip(expected);
    let at = pairs().position(differs)?;
    let count = pairs().filter(|&pair| differs(pair)).count();
    Some(format!(
        "{count} of {} elements, the first in row {}, column {}: shared {:?}, serial {:?}",
        elements.len(),
        at / size,
        at % size,
        elements[at],
        expected[at]
    ))
}

fn parse_size(text: &str) -> Result<usize, String> {
    match parse_count(text)? {
        0 => Err("a matrix has at least 1 row".to_owned()),
        size if size > MOST_ROWS => Err(format!("at most {MOST_ROWS} rows")),
        size => usize::try_from(size).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The product as the definition has it.
    fn plain(size: usize) -> Vec<f64> {
        let (mut a, mut b) = (vec![0.0; size * size], vec![0.0; size * size]);
        fill(Factor::First, size, 0, &mut a);
        fill(Factor::Second, size, 0, &mut b);
        let element = |at: usize| {
            let (row, column) = (at / size, at % size);
            (0..size).fold(0.0, |sum, k| sum + a[row * size + k] * b[k * size + column])
        };
        (0..size * size).map(element).collect()
    }

    #[test]
    fn the_product_is_that_of_the_definition_to_the_last_bit() {
        // Sizes that end within a group of four, a band, and a tile.
        for size in [1, 2, 3, 5, 16, 17, 127, 131, 259] {
            assert_eq!(
                difference(size, &serial(size).elements, &plain(size)),
                None,
                "{size}"
            );
        }
    }

    #[test]
    fn rows_are_filled_alike_whoever_fills_them() {
        let size = 7;
        let mut whole = vec![0.0; size * size];
        fill(Factor::Second, size, 0, &mut whole);
        let mut part = vec![0.0; 2 * size];
        fill(Factor::Second, size, 3, &mut part);
        assert_eq!(part, whole[3 * size..5 * size]);
        assert!(whole.iter().all(|element| (0.0..1.0).contains(element)));
        let mut first = vec![0.0; size * size];
        fill(Factor::First, size, 0, &mut first);
        assert!(
            first
                .iter()
                .zip(&whole)
                .all(|(first, second)| first != second)
        );
    }

    #[test]
    fn a_difference_names_the_first_element() {
        let right = plain(4);
        let mut wrong = right.clone();
        wrong[6] = 0.0;
        wrong[9] = 0.0;
        let told = difference(4, &wrong, &right).unwrap();
        assert!(
            told.starts_with("2 of 16 elements, the first in row 1, column 2: shared 0.0"),
            "{told}"
        );
    }
}
