//! Torture of the heap: every drone allocates and frees all the time, some of it what other drones made.

use super::Torture;
use crate::numbers::seeded;
use crate::program::Failure;
use hivemind::{Address, Hive};
use std::collections::VecDeque;

/// So many blocks of a drone are alive at a time.
const ALIVE: usize = 40;
/// Most blocks are small, some take more than a page.
const LARGEST: u64 = 6000;

/// Each drone makes `rounds` blocks of all sizes, fills them, finds them as it left them, and frees them,
/// the oldest first or the newest; what is left at the end goes to the next drone, which checks and frees it.
pub(super) fn heap(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    let mut alive: VecDeque<Block> = VecDeque::new();
    let me = hive.me() as u64;
    for round in 0..torture.rounds {
        let random = seeded::<i64>(me, round as usize) as u64;
        let size = if random.is_multiple_of(8) {
            random >> 8
        } else {
            (random >> 8) % 200
        } % LARGEST
            + 1;
        let address = hive.malloc(size as usize)?;
        let block = Block {
            address,
            size,
            mark: me * torture.rounds + round,
        };
        hive.write_n(block.address, &block.bytes())?;
        alive.push_back(block);
        if alive.len() > ALIVE {
            let dies = if random.is_multiple_of(3) {
                alive.pop_back()
            } else {
                alive.pop_front()
            };
            if let Some(block) = dies {
                block.check_and_free(torture, hive)?;
            }
        }
    }
    hand_over(torture, hive, alive)
}

fn hand_over(torture: &Torture, hive: &mut Hive, alive: VecDeque<Block>) -> Result<(), Failure> {
    const WORDS: usize = 3;
    let drones = hive.drones();
    let mut table = hive.alloc::<[u64; WORDS]>(drones * ALIVE)?;
    let own = hive.me() * ALIVE;
    for (place, block) in table.view_mut(hive)[own..][..ALIVE].iter_mut().zip(&alive) {
        *place = [block.address.0, block.size, block.mark];
    }
    hive.barrier()?;
    let from = (hive.me() + 1) % drones * ALIVE;
    let others = table.view(hive)[from..][..ALIVE].to_vec();
    for [address, size, mark] in others.into_iter().filter(|[_, size, _]| *size > 0) {
        Block {
            address: Address(address),
            size,
            mark,
        }
        .check_and_free(torture, hive)?;
    }
    hive.barrier()?;
    hive.free(table)?;
    Ok(())
}

/// A block of the heap and the mark it is filled with.
struct Block {
    address: Address,
    size: u64,
    mark: u64,
}

impl Block {
    fn bytes(&self) -> Vec<u8> {
        (0..self.size)
            .map(|at| (self.mark.wrapping_mul(17).wrapping_add(at) % 253) as u8)
            .collect()
    }

    fn check_and_free(&self, torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
        let found = hive.read_n(self.address, self.size as usize)?;
        let wrong = found
            .iter()
            .zip(self.bytes())
            .position(|(found, expected)| *found != expected);
        let what = format!(
            "the first wrong byte of block {} with {} bytes",
            self.mark, self.size
        );
        torture.expect(hive, &what, wrong, None)?;
        Ok(hive.free_at(self.address)?)
    }
}
