//! The shared heap: which blocks are free, which in use. One drone keeps it for all; it holds no bytes.

use crate::{Address, Refusal};
use alloc::collections::BTreeMap;

/// A block of shared memory.
///
/// ```
/// use hivemind_protocol::Heap;
/// let mut heap = Heap::new(1 << 16);
/// let block = heap.allocate(100, 16)?;
/// assert!(block.bytes >= 100 && block.fresh); // still zero
/// # Ok::<(), hivemind_protocol::Refusal>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Block {
    /// Its first byte.
    pub address: Address,
    /// How many bytes it has: at least as many as were asked for.
    pub bytes: u64,
    /// Whether it holds zeros: no block ever covered any of it, or all drones allocate it together and it is whole pages.
    pub fresh: bool,
}

/// Blocks by address, best fit (the smallest that is large enough, then the lowest), neighbours coalesced.
///
/// ```
/// use hivemind_protocol::{Heap, Refusal};
///
/// let mut heap = Heap::new(4096);
/// let block = heap.allocate(100, 16)?;
/// heap.free(block.address)?;
/// assert_eq!(heap.free(block.address), Err(Refusal::BadAddress(block.address)));
/// assert!(!heap.allocate(100, 16)?.fresh);
/// # Ok::<(), Refusal>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Heap {
    /// Bytes of free blocks by address; no two touch.
    free: BTreeMap<u64, u64>,
    /// The same by (bytes, address).
    by_size: BTreeMap<(u64, u64), ()>,
    /// Bytes of blocks in use by address.
    used: BTreeMap<u64, u64>,
    /// From here on nothing was ever in use.
    fresh_from: u64,
    bytes: u64,
}

/// All sizes are rounded up to this, so that blocks stay aligned for every plain type.
const GRAIN_BYTES: u64 = 16;

/// A large block leaves a page free before it where there is room, for small ones. A program that walks through two arrays whose
/// distance is a large power of two would have both in the same sets of every cache and the same banks of memory: Jacobi's
/// iteration on 2048² points takes a fifth longer then. Where a C library maps large blocks, its own header does the same.
const LARGE_BYTES: u64 = 128 << 10;
const APART_BYTES: u64 = PAGE_BYTES;

const PAGE_BYTES: u64 = crate::PAGE_SIZE as u64;

impl Heap {
    /// A heap of `bytes` bytes, all free but for the first grain: no block lies at address 0, which programs
    /// may use as "nowhere".
    ///
    /// ```
    /// use hivemind_protocol::Heap;
    /// let heap = Heap::new(1 << 16);
    /// assert!(heap.largest_free() < 1 << 16); // address 0 stays free
    /// ```
    pub fn new(bytes: u64) -> Self {
        let bytes = bytes / GRAIN_BYTES * GRAIN_BYTES;
        let mut heap = Self {
            free: BTreeMap::new(),
            by_size: BTreeMap::new(),
            used: BTreeMap::new(),
            fresh_from: 0,
            bytes,
        };
        heap.insert_free(GRAIN_BYTES, bytes.saturating_sub(GRAIN_BYTES));
        heap
    }

    /// Takes a block of at least `bytes` bytes, aligned to `align`. A block that is aligned to pages is whole pages: no other
    /// lies in its last one.
    ///
    /// ```
    /// use hivemind_protocol::Heap;
    /// let mut heap = Heap::new(1 << 16);
    /// assert_eq!(heap.allocate(100, 64)?.address.0 % 64, 0);
    /// assert!(heap.allocate(1 << 20, 16).is_err());
    /// # Ok::<(), hivemind_protocol::Refusal>(())
    /// ```
    ///
    /// # Errors
    /// [`Refusal::BadAlignment`]; [`Refusal::Insufficient`] with the largest block that is free.
    pub fn allocate(&mut self, bytes: u64, align: u64) -> Result<Block, Refusal> {
        if !align.is_power_of_two() || align > self.bytes.max(1) {
            return Err(Refusal::BadAlignment(align));
        }
        let align = align.max(GRAIN_BYTES);
        let grain = match align >= PAGE_BYTES {
            true => PAGE_BYTES,
            false => GRAIN_BYTES,
        };
        let wanted = bytes.max(1).checked_next_multiple_of(grain);
        let found = wanted.and_then(|wanted| {
            let is_large = wanted >= LARGE_BYTES && align <= APART_BYTES;
            let apart = is_large.then(|| self.best_fit(wanted, align, APART_BYTES));
            let found = apart.flatten().or_else(|| self.best_fit(wanted, align, 0));
            found.map(|found| (found, wanted))
        });
        let Some(((size, start, address), wanted)) = found else {
            return Err(Refusal::Insufficient {
                bytes,
                largest: self.largest_free(),
            });
        };
        self.remove_free(start, size);
        self.insert_free(start, address - start);
        self.insert_free(address + wanted, start + size - address - wanted);
        self.used.insert(address, wanted);
        let fresh = address >= self.fresh_from;
        self.fresh_from = self.fresh_from.max(address + wanted);
        Ok(Block {
            address: Address(address),
            bytes: wanted,
            fresh,
        })
    }

    /// The block in use that begins there.
    ///
    /// ```
    /// use hivemind_protocol::{Address, Heap};
    /// let mut heap = Heap::new(1 << 16);
    /// let block = heap.allocate(100, 16)?;
    /// assert_eq!(heap.measure(block.address)?.bytes, block.bytes);
    /// assert!(heap.measure(Address(block.address.0 + 16)).is_err()); // none begins there
    /// # Ok::<(), hivemind_protocol::Refusal>(())
    /// ```
    ///
    /// # Errors
    /// [`Refusal::BadAddress`]: no block in use starts there.
    pub fn measure(&self, address: Address) -> Result<Block, Refusal> {
        let found = self.used.get(&address.0);
        let bytes = *found.ok_or(Refusal::BadAddress(address))?;
        Ok(Block {
            address,
            bytes,
            fresh: false,
        })
    }

    /// Gives a block back; says what it was.
    ///
    /// ```
    /// use hivemind_protocol::Heap;
    /// let mut heap = Heap::new(1 << 16);
    /// let block = heap.allocate(100, 16)?;
    /// assert_eq!(heap.free(block.address)?.bytes, block.bytes);
    /// assert!(heap.free(block.address).is_err()); // no longer a block
    /// # Ok::<(), hivemind_protocol::Refusal>(())
    /// ```
    ///
    /// # Errors
    /// [`Refusal::BadAddress`]: no block in use starts there: a foreign address, or a block freed before.
    pub fn free(&mut self, address: Address) -> Result<Block, Refusal> {
        let freed = self.measure(address)?;
        self.used.remove(&address.0);
        let (mut start, mut bytes) = (address.0, freed.bytes);
        if let Some((&before, &size)) = self.free.range(..start).next_back()
            && before + size == start
        {
            self.remove_free(before, size);
            (start, bytes) = (before, bytes + size);
        }
        if let Some(&size) = self.free.get(&(start + bytes)) {
            self.remove_free(start + bytes, size);
            bytes += size;
        }
        self.insert_free(start, bytes);
        Ok(freed)
    }

    /// How many bytes the largest free block has.
    ///
    /// ```
    /// use hivemind_protocol::Heap;
    /// let mut heap = Heap::new(1 << 16);
    /// let before = heap.largest_free();
    /// let block = heap.allocate(100, 16)?;
    /// heap.free(block.address)?;
    /// assert_eq!(heap.largest_free(), before); // neighbours are joined
    /// # Ok::<(), hivemind_protocol::Refusal>(())
    /// ```
    pub fn largest_free(&self) -> u64 {
        self.by_size
            .last_key_value()
            .map_or(0, |((bytes, _), ())| *bytes)
    }

    /// How many blocks are in use.
    ///
    /// ```
    /// use hivemind_protocol::Heap;
    /// let mut heap = Heap::new(1 << 16);
    /// heap.allocate(100, 16)?;
    /// assert_eq!(heap.blocks_in_use(), 1);
    /// # Ok::<(), hivemind_protocol::Refusal>(())
    /// ```
    pub fn blocks_in_use(&self) -> usize {
        self.used.len()
    }

    /// The smallest free block that holds so many bytes at such an address, and so many before it: its size, its start,
    /// and that address.
    fn best_fit(&self, wanted: u64, align: u64, before: u64) -> Option<(u64, u64, u64)> {
        let place = |start: u64, size: u64| {
            let address = start.checked_add(before)?.checked_next_multiple_of(align)?;
            let need = (address - start).checked_add(wanted)?;
            (need <= size).then_some((size, start, address))
        };
        let mut large_enough = self.by_size.range((wanted, 0)..).map(|(key, ())| *key);
        large_enough.find_map(|(size, start)| place(start, size))
    }

    fn insert_free(&mut self, start: u64, bytes: u64) {
        if bytes > 0 {
            self.free.insert(start, bytes);
            self.by_size.insert((bytes, start), ());
        }
    }

    fn remove_free(&mut self, start: u64, bytes: u64) {
        self.free.remove(&start);
        self.by_size.remove(&(bytes, start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn what_is_freed_is_whole_again() {
        let mut heap = Heap::new(1 << 20);
        let blocks: Vec<_> = (1..200)
            .map(|n| heap.allocate(n * 7, 8).unwrap().address)
            .collect();
        for block in blocks
            .iter()
            .step_by(2)
            .chain(blocks.iter().skip(1).step_by(2))
        {
            heap.free(*block).unwrap();
        }
        assert_eq!(heap.largest_free(), (1 << 20) - GRAIN_BYTES);
    }

    #[test]
    fn a_second_free_and_a_foreign_address_are_refused() {
        let mut heap = Heap::new(4096);
        let block = heap.allocate(100, 16).unwrap();
        assert_eq!(heap.free(Address(8)), Err(Refusal::BadAddress(Address(8))));
        let freed = heap.free(block.address).unwrap();
        assert_eq!((freed.address, freed.bytes), (block.address, block.bytes));
        let again = heap.free(block.address);
        assert_eq!(again, Err(Refusal::BadAddress(block.address)));
    }

    #[test]
    fn a_refused_allocation_names_the_largest_block() {
        let mut heap = Heap::new(4096);
        heap.allocate(4000, 16).unwrap();
        let refused = heap.allocate(97, 16);
        assert_eq!(
            refused,
            Err(Refusal::Insufficient {
                bytes: 97,
                largest: 80
            })
        );
        assert!(matches!(
            heap.allocate(u64::MAX, 16),
            Err(Refusal::Insufficient { .. })
        ));
        assert_eq!(heap.allocate(8, 24), Err(Refusal::BadAlignment(24)));
    }

    #[test]
    fn two_large_blocks_do_not_lie_a_power_of_two_apart_unless_the_heap_is_full() {
        let mut heap = Heap::new((1 << 22) + (1 << 13));
        let mut take = || heap.allocate(1 << 20, 4096).unwrap().address.0;
        let (first, second, third) = (take(), take(), take());
        assert_eq!(
            (second - first, third - second),
            ((1 << 20) + 4096, (1 << 20) + 4096)
        );
        // What lies between is free.
        let between = heap.allocate(4096, 4096).unwrap().address.0;
        assert!(between < third, "{between}");
        let mut full = Heap::new((1 << 20) + 4096);
        assert!(full.allocate(1 << 20, 4096).is_ok());
    }

    #[test]
    fn only_memory_that_nobody_had_is_fresh() {
        let mut heap = Heap::new(1 << 16);
        let first = heap.allocate(64, 16).unwrap();
        assert!(first.fresh);
        heap.free(first.address).unwrap();
        assert!(!heap.allocate(64, 16).unwrap().fresh);
    }

    #[test]
    fn a_block_that_begins_at_a_page_shares_none() {
        let mut heap = Heap::new(1 << 16);
        let block = heap.allocate(5000, 4096).unwrap();
        assert_eq!((block.address.0, block.bytes), (4096, 8192));
        let other = heap.allocate(60, 16).unwrap().address.0;
        assert!(!(4096..12288).contains(&other), "{other}");
        assert_eq!(heap.allocate(5000, 2048).unwrap().bytes, 5008);
    }

    proptest! {
        #[test]
        fn blocks_in_use_never_overlap(
            steps in proptest::collection::vec((any::<bool>(), 0u64..5000, 0u32..13), 1..300)
        ) {
            let mut heap = Heap::new(1 << 18);
            let mut live: Vec<(u64, u64)> = Vec::new();
            for (allocate, bytes, align) in steps {
                if allocate || live.is_empty() {
                    let Ok(block) = heap.allocate(bytes, 1 << align) else { continue };
                    let (start, end) = (block.address.0, block.address.0 + bytes.max(1));
                    prop_assert_eq!(start % (1 << align), 0);
                    prop_assert!(end <= 1 << 18);
                    prop_assert!(live.iter().all(|&(a, b)| end <= a || b <= start));
                    live.push((start, end));
                } else {
                    let (start, _) = live.swap_remove(bytes as usize % live.len());
                    prop_assert_eq!(heap.free(Address(start)).unwrap().address, Address(start));
                }
            }
        }
    }
}
