//! The product of two matrices: each drone multiplies a band of rows and reads all of the second factor, tile by tile.

use crate::model::Figures;
use crate::model::script::{Place, Script, Steps, behind};
use hivemind_protocol::Address;
use std::ops::Range;

const ELEMENT_BYTES: u64 = 8;
/// As the program cuts its rows and tiles.
const BAND_ROWS: u64 = 16;
const TILE_INNER: u64 = 128;
const TILE_COLUMNS: u64 = 256;
/// So many rows of the second factor are added at once.
const ROWS_AT_ONCE: u64 = 4;

pub(super) fn scripts(size: u64, drones: u32, figures: &Figures) -> Vec<Box<dyn Script>> {
    let matmul = Matmul {
        size,
        product_ns: figures.ns("matmul product"),
        begun: false,
        left: None,
    };
    (0..drones)
        .map(|_| Box::new(matmul.clone()) as Box<dyn Script>)
        .collect()
}

#[derive(Clone)]
struct Matmul {
    size: u64,
    product_ns: f64,
    begun: bool,
    /// The bands and tiles that are still to be multiplied; none before and after that.
    left: Option<std::vec::IntoIter<Tile>>,
}

/// Rows of a band, columns of a tile, and rows of it.
#[derive(Clone)]
struct Tile {
    rows: Range<u64>,
    columns: Range<u64>,
    inner: Range<u64>,
}

impl Script for Matmul {
    fn next_phase(&mut self, seat: Place<'_>, steps: &mut Steps) -> bool {
        if !self.begun {
            self.begun = true;
            for _ in 0..3 {
                steps.allocate(self.size * self.size, ELEMENT_BYTES);
            }
            return true;
        }
        let Some(left) = &mut self.left else {
            if seat.blocks.len() < 3 || self.size == 0 {
                return false;
            }
            self.left = Some(self.tiles(seat).into_iter());
            self.fill(seat, steps);
            return true;
        };
        match left.next() {
            Some(tile) => self.multiply(seat, &tile, steps),
            None if self.size > 0 => {
                self.end(seat, steps);
                self.size = 0;
            }
            None => return false,
        }
        true
    }
}

impl Matmul {
    fn at(&self, matrix: Address, row: u64, column: u64) -> Address {
        behind(matrix, ELEMENT_BYTES * (row * self.size + column))
    }

    fn tiles(&self, seat: Place<'_>) -> Vec<Tile> {
        let size = self.size;
        let mut tiles = Vec::new();
        for rows in cut(seat.share_of(0..size), BAND_ROWS) {
            for columns in cut(0..size, TILE_COLUMNS) {
                for inner in cut(0..size, TILE_INNER) {
                    let (rows, columns) = (rows.clone(), columns.clone());
                    tiles.push(Tile {
                        rows,
                        columns,
                        inner,
                    });
                }
            }
        }
        tiles
    }

    fn fill(&self, seat: Place<'_>, steps: &mut Steps) {
        let rows = seat.share_of(0..self.size);
        for factor in &seat.blocks[..2] {
            let bytes = ELEMENT_BYTES * self.size * (rows.end - rows.start);
            steps.write(self.at(*factor, rows.start, 0), bytes);
        }
        steps.barrier();
        steps.start_clock();
    }

    /// All rows of a band pass over a tile of the second factor.
    fn multiply(&self, seat: Place<'_>, tile: &Tile, steps: &mut Steps) {
        let [a, b, c] = [seat.blocks[0], seat.blocks[1], seat.blocks[2]];
        let width = tile.columns.end - tile.columns.start;
        let bytes = ELEMENT_BYTES * width;
        for row in tile.rows.clone() {
            if row > tile.rows.start {
                // What is touched of the second factor has been touched by the first row.
                let inner = tile.inner.end - tile.inner.start;
                steps.read(self.at(a, row, tile.inner.start), ELEMENT_BYTES * inner);
                steps.write(self.at(c, row, tile.columns.start), bytes);
                steps.compute((width * inner) as f64 * self.product_ns);
                continue;
            }
            for four in cut(tile.inner.clone(), ROWS_AT_ONCE) {
                let count = four.end - four.start;
                steps.read(self.at(a, row, four.start), ELEMENT_BYTES * count);
                for k in four {
                    steps.read(self.at(b, k, tile.columns.start), bytes);
                }
                steps.write(self.at(c, row, tile.columns.start), bytes);
                steps.compute((width * count) as f64 * self.product_ns);
            }
        }
    }

    /// After the product: its sum, and its trace, which every drone takes.
    fn end(&self, seat: Place<'_>, steps: &mut Steps) {
        let [a, b, c] = [seat.blocks[0], seat.blocks[1], seat.blocks[2]];
        steps.barrier();
        steps.stop_clock();
        steps.free(a);
        steps.free(b);
        let rows = seat.share_of(0..self.size);
        let bytes = ELEMENT_BYTES * self.size * (rows.end - rows.start);
        steps.read(self.at(c, rows.start, 0), bytes);
        steps.sum();
        for at in 0..self.size {
            steps.read(self.at(c, at, at), ELEMENT_BYTES);
        }
        steps.leave();
    }
}

/// A range in pieces of a length, the last one shorter.
fn cut(all: Range<u64>, length: u64) -> impl Iterator<Item = Range<u64>> {
    let end = all.end;
    all.step_by(length as usize)
        .map(move |start| start..end.min(start + length))
}
