//! Torture of the heap: every drone allocates and frees all the time, some of it what other drones made.

use super::Torture;
use crate::numbers::seeded;
use crate::program::Failure;
use hivemind::{Address, Hive};
use std::collections::VecDeque;

/// So many blocks of a drone are alive at a time.
const ALIVE: usize = 40;
/// So often all allocate what they freed.
const ROUNDS_OF_REUSE: u64 = 40;
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
    hand_over(torture, hive, alive)?;
    reuse(torture, hive)
}

/// What all allocate together holds zeros, whoever filled and freed it before, and however.
fn reuse(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    const BYTES: usize = 150_000;
    let (me, drones) = (hive.me(), hive.drones());
    for round in 0..torture.rounds.min(ROUNDS_OF_REUSE) {
        let mut bytes = hive.alloc::<u8>(BYTES - round as usize * 1000)?;
        let found = bytes.view(hive).iter().position(|byte| *byte != 0);
        let what = format!("the first byte that is not zero in round {round}");
        torture.expect(hive, &what, found, None)?;
        hive.barrier()?;
        // Each fills another part in each round, and one of them some of all.
        let turn = (me + round as usize) % drones;
        let part = bytes.len() * turn / drones..bytes.len() * (turn + 1) / drones;
        bytes.view_mut(hive)[part].fill(me as u8 + 1);
        hive.barrier()?;
        let first = round as usize % drones;
        if me == first {
            bytes
                .view_mut(hive)
                .iter_mut()
                .step_by(5000)
                .for_each(|byte| *byte ^= 0x80);
        }
        if round.is_multiple_of(3) {
            if me == first {
                hive.free_at(bytes.address())?;
            }
            hive.barrier()?;
        } else {
            hive.free(bytes)?;
        }
    }
    Ok(())
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
