//! The reference memory byte by byte, with who wrote and who read each byte last, so that races of the
//! simulator's own programs are told apart from faults of the core. Locks and meetings are in `oracle`.
//!
//! It is made in blocks as bytes are touched, small enough that a program which touches few bytes has a
//! reference that is cheap to clone and to compare.

use crate::finding::{Finding, Verdict};
use hivemind_protocol::{Address, DroneId, PAGE_SIZE};
use std::collections::BTreeMap;

/// The reference memory, made block by block as it is touched.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Shadow {
    drones: usize,
    blocks: BTreeMap<u64, Block>,
}

/// How many bytes a block has.
const BLOCK_BYTES: usize = 64;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Block {
    bytes: Vec<u8>,
    /// Who wrote each byte last, and in which of its steps; step 0 is never.
    writers: Vec<(u16, u32)>,
    /// For each byte and drone, in which of its steps it read the byte last.
    readers: Vec<u32>,
}

impl Shadow {
    pub(crate) fn new(drones: u32) -> Self {
        Self {
            drones: drones as usize,
            blocks: BTreeMap::new(),
        }
    }

    /// Compares loaded bytes with the reference.
    pub(crate) fn load(
        &mut self,
        drone: DroneId,
        known: &[u32],
        from: Address,
        bytes: &[u8],
    ) -> Verdict<()> {
        let me = drone.0 as usize;
        let drones = self.drones;
        for (start, part) in spans(from, bytes) {
            let (block, first) = self.place(start);
            for (at, byte) in (first..).zip(part) {
                let address = start + (at - first) as u64;
                let (writer, step) = block.writers[at];
                if step > known[usize::from(writer)] {
                    let what =
                        format!("{drone} loads address {address}, written by drone {writer}");
                    return Err(Finding::new("the simulator's program races", what));
                }
                block.readers[at * drones + me] = known[me];
                if block.bytes[at] != *byte {
                    let (wanted, last) = (block.bytes[at], (writer, step));
                    return Err(wrong(drone, address, *byte, wanted, last, (from, bytes)));
                }
            }
        }
        Ok(())
    }

    /// Applies a store to the reference.
    pub(crate) fn store(
        &mut self,
        drone: DroneId,
        known: &[u32],
        to: Address,
        bytes: &[u8],
    ) -> Verdict<()> {
        let me = drone.0 as usize;
        let drones = self.drones;
        for (start, part) in spans(to, bytes) {
            let (block, first) = self.place(start);
            for (at, byte) in (first..).zip(part) {
                let address = start + (at - first) as u64;
                let (writer, step) = block.writers[at];
                let readers = &block.readers[at * drones..(at + 1) * drones];
                let read = readers
                    .iter()
                    .zip(known)
                    .position(|(step, known)| step > known);
                let written = (step > known[usize::from(writer)]).then_some(usize::from(writer));
                if let Some(other) = written.or(read) {
                    let what =
                        format!("{drone} stores to address {address}, touched by drone {other}");
                    return Err(Finding::new("the simulator's program races", what));
                }
                block.bytes[at] = *byte;
                block.writers[at] = (me as u16, known[me]);
            }
        }
        Ok(())
    }

    /// The reference's bytes.
    pub(crate) fn bytes(&self, from: Address, count: usize) -> Vec<u8> {
        let byte = |address: u64| {
            let block = self.blocks.get(&(address / BLOCK_BYTES as u64));
            block.map_or(0, |block| {
                block.bytes[(address % BLOCK_BYTES as u64) as usize]
            })
        };
        (from.0..from.0 + count as u64).map(byte).collect()
    }

    /// Whether any of these bytes was ever written.
    pub(crate) fn was_written(&self, start: u64, end: u64) -> bool {
        let blocks = self
            .blocks
            .range(start / BLOCK_BYTES as u64..=(end - 1) / BLOCK_BYTES as u64);
        blocks.into_iter().any(|(number, block)| {
            let first = number * BLOCK_BYTES as u64;
            let bytes = block.writers.iter().zip(first..);
            bytes
                .into_iter()
                .any(|((_, step), at)| *step > 0 && (start..end).contains(&at))
        })
    }

    /// Nobody ever wrote these bytes, all agree.
    pub(crate) fn forget(&mut self, start: u64, end: u64) {
        let zeros = vec![0; (end - start) as usize];
        for (at, part) in spans(Address(start), &zeros) {
            if part.len() == BLOCK_BYTES {
                self.blocks.remove(&(at / BLOCK_BYTES as u64));
                continue;
            }
            let drones = self.drones;
            let (block, first) = self.place(at);
            let last = first + part.len();
            block.bytes[first..last].fill(0);
            block.writers[first..last].fill((0, 0));
            block.readers[first * drones..last * drones].fill(0);
        }
    }

    fn place(&mut self, address: u64) -> (&mut Block, usize) {
        let drones = self.drones;
        let block = self
            .blocks
            .entry(address / BLOCK_BYTES as u64)
            .or_insert_with(|| Block {
                bytes: vec![0; BLOCK_BYTES],
                writers: vec![(0, 0); BLOCK_BYTES],
                readers: vec![0; BLOCK_BYTES * drones],
            });
        (block, (address % BLOCK_BYTES as u64) as usize)
    }
}

/// The parts of an access that lie in one block each, with the address at which each starts.
fn spans(from: Address, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut rest = (from.0, bytes);
    std::iter::from_fn(move || {
        let (start, left) = rest;
        let room = BLOCK_BYTES - (start % BLOCK_BYTES as u64) as usize;
        let (part, after) = left.split_at(room.min(left.len()));
        rest = (start + part.len() as u64, after);
        (!part.is_empty()).then_some((start, part))
    })
}

fn wrong(
    drone: DroneId,
    address: u64,
    byte: u8,
    wanted: u8,
    (writer, step): (u16, u32),
    (from, bytes): (Address, &[u8]),
) -> Finding {
    let (page, at) = (address / PAGE_SIZE as u64, address % PAGE_SIZE as u64);
    let from_writer = match step {
        0 => "never written".to_owned(),
        _ => format!("written last by drone {writer} in its step {step}"),
    };
    let what = format!(
        "{drone} read {byte} at page {page} + {at}, which is {wanted}, {from_writer} (a load of {} bytes from {from})",
        bytes.len()
    );
    Finding::new("a read of a wrong value", what)
}
