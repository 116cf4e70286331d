//! Target `heap`: calls to the shared heap, beside a plain list of the blocks that are in use.

use std::collections::BTreeMap;

use hivemind_protocol::{Address, Heap, Refusal};

use crate::Bytes;

/// The heap and what must be true of it.
struct Reference {
    heap: Heap,
    bytes: u64,
    /// Ends of blocks in use, by their starts.
    live: BTreeMap<u64, u64>,
    /// From here on nothing was ever in use.
    used_to: u64,
}

pub(crate) fn run(input: &[u8]) {
    let mut input = Bytes::new(input);
    let bytes = number(&mut input);
    let mut reference = Reference {
        heap: Heap::new(bytes),
        // It takes whole grains of 16 bytes.
        bytes: bytes / 16 * 16,
        live: BTreeMap::new(),
        used_to: 0,
    };
    let whole = reference.heap.largest_free();
    while !input.is_empty() {
        match input.byte() % 4 {
            0 => reference.free_one(input.byte()),
            1 => reference.free_any(number(&mut input)),
            _ => {
                let (bytes, align) = (number(&mut input), number(&mut input));
                reference.allocate(bytes, align);
            }
        }
        assert_eq!(reference.heap.blocks_in_use(), reference.live.len());
    }
    while let Some((&start, _)) = reference.live.first_key_value() {
        reference.free_any(start);
        reference.free_any(start);
    }
    assert_eq!(reference.heap.largest_free(), whole, "it fell into pieces");
}

/// A size, an alignment, an address: a small one, a power of two or a little beside one, or any at all.
fn number(input: &mut Bytes<'_>) -> u64 {
    let kind = input.byte();
    match kind % 4 {
        0 => u64::from(input.byte()),
        1 => 1 << (kind / 4),
        2 => (1_u64 << (kind / 4)).wrapping_add_signed(i64::from(input.byte().cast_signed())),
        _ => input.long(),
    }
}

impl Reference {
    fn allocate(&mut self, bytes: u64, align: u64) {
        let largest = self.heap.largest_free();
        match self.heap.allocate(bytes, align) {
            Ok(block) => {
                let start = block.address.0;
                assert!(align.is_power_of_two() && start.is_multiple_of(align));
                let end = start.checked_add(bytes.max(1)).expect("it ends");
                assert!(
                    start > 0 && end <= self.bytes,
                    "{start}..{end} lies outside"
                );
                let before = self.live.range(..end).next_back();
                assert!(
                    before.is_none_or(|(_, &before)| before <= start),
                    "{start}..{end} overlaps {before:?}"
                );
                if block.fresh {
                    assert!(start >= self.used_to, "{start} was in use before");
                }
                self.used_to = self.used_to.max(end);
                self.live.insert(start, end);
            }
            Err(Refusal::BadAlignment(named)) => {
                assert!(named == align && (!align.is_power_of_two() || align > self.bytes.max(1)));
            }
            Err(Refusal::Insufficient {
                bytes: named,
                largest: room,
            }) => {
                assert_eq!((named, room), (bytes, largest));
                // With an alignment that every block has, only want of room is a reason.
                assert!(
                    align > 16 || bytes.max(1) > room,
                    "{bytes} bytes would fit into {room}"
                );
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Frees one of the blocks in use.
    fn free_one(&mut self, which: u8) {
        let found = self.live.keys().nth(usize::from(which));
        if let Some(&start) = found {
            self.free_any(start);
        }
    }

    /// Frees an address that may be anything.
    fn free_any(&mut self, start: u64) {
        let freed = self.heap.free(Address(start));
        match self.live.remove(&start) {
            Some(_) => assert!(freed.is_ok()),
            None => assert_eq!(freed, Err(Refusal::BadAddress(Address(start)))),
        }
    }
}
