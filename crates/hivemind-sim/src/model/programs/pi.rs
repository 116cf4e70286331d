//! Pi: each drone sums its own blocks into shared memory, then everybody adds them up.

use crate::model::Figures;
use crate::model::script::{Place, Script, Steps, behind};

/// As the program cuts its steps.
const SHORTEST_BLOCK: u64 = 1 << 20;
const MOST_BLOCKS: u64 = 1 << 16;
const SUM_BYTES: u64 = 8;

pub(super) fn scripts(steps: u64, drones: u32, figures: &Figures) -> Vec<Box<dyn Script>> {
    let length = steps.div_ceil(MOST_BLOCKS).max(SHORTEST_BLOCK);
    let pi = Pi {
        blocks: steps.div_ceil(length),
        block_ns: length as f64 * figures.ns("pi step"),
        phase: 0,
    };
    (0..drones)
        .map(|_| Box::new(pi.clone()) as Box<dyn Script>)
        .collect()
}

#[derive(Clone)]
struct Pi {
    blocks: u64,
    block_ns: f64,
    phase: u64,
}

impl Script for Pi {
    fn next_phase(&mut self, seat: Place<'_>, steps: &mut Steps) -> bool {
        self.phase += 1;
        match self.phase {
            1 => {
                steps.start_clock();
                steps.allocate(self.blocks, SUM_BYTES);
            }
            2 => {
                let sums = seat.blocks[0];
                for block in seat.share_of(0..self.blocks) {
                    steps.compute(self.block_ns);
                    steps.write(behind(sums, SUM_BYTES * block), SUM_BYTES);
                }
                steps.barrier();
                steps.read(sums, SUM_BYTES * self.blocks);
                steps.free(sums);
                steps.stop_clock();
                steps.leave();
            }
            _ => return false,
        }
        true
    }
}
