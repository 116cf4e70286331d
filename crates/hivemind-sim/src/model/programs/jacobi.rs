//! Jacobi: each drone sweeps a band of rows and reads its neighbours' nearest rows.

use crate::model::Figures;
use crate::model::script::{Place, Script, Steps, behind};
use hivemind_protocol::{AccessKind, Address};
use std::ops::Range;

const POINT_BYTES: u64 = 8;

pub(super) fn scripts(
    size: u64,
    sweeps: u64,
    drones: u32,
    figures: &Figures,
) -> Vec<Box<dyn Script>> {
    let jacobi = Jacobi {
        size,
        sweeps,
        point_ns: figures.ns("jacobi point"),
        phase: 0,
    };
    (0..drones)
        .map(|_| Box::new(jacobi.clone()) as Box<dyn Script>)
        .collect()
}

#[derive(Clone)]
struct Jacobi {
    size: u64,
    sweeps: u64,
    point_ns: f64,
    phase: u64,
}

impl Script for Jacobi {
    fn next_phase(&mut self, seat: Place<'_>, steps: &mut Steps) -> bool {
        self.phase += 1;
        let size = self.size;
        match self.phase {
            1 => {
                steps.allocate(size * size, POINT_BYTES);
                steps.allocate(size * size, POINT_BYTES);
            }
            2 => {
                let rows = self.band_with_edges(seat);
                for plate in &seat.blocks[..2] {
                    let band = self.at(*plate, rows.start, 0);
                    steps.write(band, POINT_BYTES * size * (rows.end - rows.start));
                }
                steps.barrier();
                steps.start_clock();
            }
            phase if phase <= self.sweeps + 2 => {
                let sweep = phase - 3;
                let now = seat.blocks[(sweep % 2) as usize];
                let next = seat.blocks[((sweep + 1) % 2) as usize];
                let rows = seat.share_of(1..size - 1);
                let inner = rows.start + 1..rows.end.max(rows.start + 2) - 1;
                let edges = [inner.start - 1, inner.end];
                for row in edges.into_iter().filter(|row| rows.contains(row)) {
                    self.relax(now, next, row, steps);
                }
                steps.arrive();
                for row in inner {
                    self.relax(now, next, row, steps);
                }
                steps.depart();
            }
            phase if phase == self.sweeps + 3 => self.end(seat, steps),
            _ => return false,
        }
        true
    }
}

impl Jacobi {
    fn at(&self, plate: Address, row: u64, column: u64) -> Address {
        behind(plate, POINT_BYTES * (row * self.size + column))
    }

    /// One row of a sweep.
    fn relax(&self, now: Address, next: Address, row: u64, steps: &mut Steps) {
        let arrays = [
            (self.at(now, row - 1, 1), AccessKind::Read),
            (self.at(now, row + 1, 1), AccessKind::Read),
            (self.at(now, row, 0), AccessKind::Read),
            (self.at(now, row, 2), AccessKind::Read),
            (self.at(next, row, 1), AccessKind::Write),
        ];
        let bytes = POINT_BYTES * (self.size - 2);
        steps.walk(&arrays, bytes, self.point_ns / POINT_BYTES as f64);
    }

    /// The rows that this drone swept, and the edge of the plate with the first and the last row.
    fn band_with_edges(&self, seat: Place<'_>) -> Range<u64> {
        let rows = seat.share_of(1..self.size - 1);
        if rows.is_empty() {
            return 0..0;
        }
        let start = if rows.start == 1 { 0 } else { rows.start };
        let end = if rows.end == self.size - 1 {
            self.size
        } else {
            rows.end
        };
        start..end
    }

    /// After the sweeps: the mean, and the point in the centre.
    fn end(&self, seat: Place<'_>, steps: &mut Steps) {
        let now = seat.blocks[(self.sweeps % 2) as usize];
        let next = seat.blocks[((self.sweeps + 1) % 2) as usize];
        steps.stop_clock();
        steps.free(next);
        let rows = self.band_with_edges(seat);
        let band = self.at(now, rows.start, 0);
        steps.read(band, POINT_BYTES * self.size * (rows.end - rows.start));
        steps.sum();
        steps.read(self.at(now, self.size / 2, self.size / 2), POINT_BYTES);
        steps.leave();
    }
}
