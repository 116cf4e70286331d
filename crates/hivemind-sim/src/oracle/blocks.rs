//! What must be true of the heap's blocks: where they lie, how large they are, which hold zeros, and that none is refused for which
//! there is room. What is stored in them is judged as all memory is, in `oracle`.

use super::Oracle;
use crate::finding::{Finding, Verdict};
use hivemind_protocol::{Address, Block, PAGE_SIZE};
use std::ops::Range;

impl Oracle {
    /// A block was given out.
    ///
    /// # Errors
    /// It overlaps another, is not aligned or leaves the region.
    pub(crate) fn allocated(&mut self, block: Block, bytes: u64, align: u64) -> Verdict<()> {
        let (start, end) = (block.address.0, block.address.0 + block.bytes);
        if !Self::granted(bytes, align).contains(&block.bytes) {
            let what = format!("{block:?} for {bytes} bytes aligned to {align}");
            return Err(Finding::new("the size of a block of the heap", what));
        }
        let before = self.heap.range(..end).next_back();
        let overlapped = before.filter(|(other, size)| *other + (**size).max(1) > start);
        if let Some((other, size)) = overlapped {
            let what = format!("{bytes} bytes at {start} overlap {size} at {other}");
            return Err(Finding::new("two blocks of the heap overlap", what));
        }
        if !start.is_multiple_of(align) || end > self.region_bytes {
            let what = format!(
                "{bytes} bytes aligned to {align} at {start} of {}",
                self.region_bytes
            );
            return Err(Finding::new("a block of the heap", what));
        }
        if block.fresh && self.memory.was_written(start, end) {
            let what = format!("{bytes} bytes at {start} are called fresh but were written");
            return Err(Finding::new("a fresh block of the heap", what));
        }
        self.heap.insert(start, block.bytes);
        Ok(())
    }

    /// A block was given to all: whole pages hold zeros, whoever had them before.
    pub(crate) fn allocated_together(
        &mut self,
        block: Block,
        bytes: u64,
        align: u64,
    ) -> Verdict<()> {
        let page = PAGE_SIZE as u64;
        if block.address.0.is_multiple_of(page) && block.bytes.is_multiple_of(page) {
            let (start, end) = (block.address.0, block.address.0 + block.bytes);
            self.memory.forget(start, end);
            if !block.fresh {
                let what = format!("{block:?} for {bytes} bytes aligned to {align}");
                return Err(Finding::new("whole pages for all that are not fresh", what));
            }
        }
        self.allocated(block, bytes, align)
    }

    /// A block was measured.
    pub(crate) fn measured(&self, address: Address, block: Block) -> Verdict<()> {
        let given = self.heap.get(&address.0).copied();
        if block.address == address && given == Some(block.bytes) {
            return Ok(());
        }
        let what = format!("{block:?} at {address}, where a block of {given:?} bytes was given");
        Err(Finding::new("a block of the heap that was measured", what))
    }

    /// A block is about to be given back; false if there is no such block.
    pub(crate) fn frees(&mut self, address: Address) -> bool {
        self.heap.remove(&address.0).is_some()
    }

    /// An allocation was refused for want of room.
    ///
    /// # Errors
    /// There is room.
    pub(crate) fn refused_room(&self, bytes: u64, align: u64) -> Verdict<()> {
        let bytes = match align >= PAGE_SIZE as u64 {
            true => Self::granted(bytes, align).end,
            false => bytes,
        };
        let mut at = 0;
        let end_of_last = (self.region_bytes, 0);
        let blocks = self
            .heap
            .iter()
            .map(|(start, size)| (*start, *size))
            .chain([end_of_last]);
        for (start, size) in blocks {
            // A grain of rounding at either end, and the skip to the alignment, may be lost.
            if start.saturating_sub(at) > bytes.saturating_add(align + 64) {
                let what =
                    format!("{bytes} bytes aligned to {align} were refused; {at}..{start} is free");
                return Err(Finding::new("an allocation refused without need", what));
            }
            at = start + size;
        }
        Ok(())
    }

    /// How many bytes a block may have.
    fn granted(bytes: u64, align: u64) -> Range<u64> {
        let grain = match align >= PAGE_SIZE as u64 {
            true => PAGE_SIZE as u64,
            false => 16,
        };
        bytes.max(1)..bytes.max(1).saturating_add(grain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hivemind_protocol::DroneId;

    const ONE: DroneId = DroneId(0);

    #[test]
    fn blocks_that_overlap_are_found() {
        let mut oracle = Oracle::new(1, 8192);
        let block = |start, bytes| Block {
            address: Address(start),
            bytes,
            fresh: false,
        };
        oracle.allocated(block(64, 64), 64, 16).expect("room");
        oracle.allocated(block(128, 64), 64, 16).expect("room");
        oracle.allocated(block(0, 64), 64, 16).expect("room");
        assert!(oracle.allocated(block(112, 16), 16, 16).is_err());
        assert!(oracle.frees(Address(64)));
        assert!(!oracle.frees(Address(64)));
        oracle.allocated(block(112, 16), 16, 16).expect("room");
        assert!(
            oracle.allocated(block(1024, 80), 64, 16).is_err(),
            "too large"
        );
        assert!(oracle.refused_room(4000, 16).is_err());
        assert_eq!(oracle.refused_room(8192, 16), Ok(()));
    }

    #[test]
    fn whole_pages_for_all_must_be_fresh_whoever_had_them() {
        let mut oracle = Oracle::new(1, 1 << 16);
        let page = PAGE_SIZE as u64;
        let block = |fresh| Block {
            address: Address(page),
            bytes: page,
            fresh,
        };
        oracle
            .stored(ONE, Address(page), &[7])
            .expect("nobody else");
        assert!(oracle.allocated_together(block(false), 9, page).is_err());
        let mut oracle = Oracle::new(1, 1 << 16);
        oracle
            .stored(ONE, Address(page), &[7])
            .expect("nobody else");
        assert_eq!(oracle.allocated_together(block(true), 9, page), Ok(()));
        assert_eq!(oracle.loaded(ONE, Address(page), &[0]), Ok(()));
        assert!(oracle.loaded(ONE, Address(page), &[7]).is_err());
    }
}
