//! The addresses where a region may start. That drones agree on one is the driver's matter.

use crate::sys;

/// Where a region may start, in the order that drones try. All drones of a hive must agree on one: start-up intersects
/// what [`free_bases`] tells of each.
///
/// They lie 4 TiB apart from 17 TiB to 81 TiB, below 47 bits. Nothing else wants to be there by itself: programs
/// load at 0x40_0000 or from 0x5555_… on with their heap behind them, libraries, stacks and the vdso lie from 0x7e…_ on,
/// Go's heap is at 0xc0_0000_0000, and the address sanitizer's shadow ends just above 0x1000_0000_0000. A region may be
/// larger than 4 TiB; it then covers the next bases.
///
/// ```
/// assert!(hivemind_memory::BASES.iter().all(|base| base % 4096 == 0));
/// ```
pub const BASES: [usize; 16] = {
    const FIRST: usize = 0x1100_0000_0000;
    const STEP: usize = 0x0400_0000_0000;
    let mut bases = [0; 16];
    let mut index = 0;
    while index < bases.len() {
        bases[index] = FIRST + index * STEP;
        index += 1;
    }
    bases
};

/// Which bases are free in this process for a region of `bytes`: bit `i` stands for `BASES[i]`. 0 where `bytes` is 0 or
/// no base has that much room. Tries each address and leaves nothing behind.
///
/// ```
/// use hivemind_memory::{BASES, free_bases};
/// let free = free_bases(1 << 30);
/// let first = BASES[free.trailing_zeros() as usize];
/// assert_eq!(first % 4096, 0);
/// assert_eq!(free_bases(0), 0);
/// ```
pub fn free_bases(bytes: u64) -> u32 {
    let Some(bytes) = sys::round_to_pages(bytes) else {
        return 0;
    };
    BASES
        .iter()
        .enumerate()
        .filter(|(_, base)| sys::is_free(**base, bytes))
        .fold(0, |bits, (index, _)| bits | 1 << index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_far_apart_below_47_bits_and_below_programs() {
        assert!(BASES.windows(2).all(|pair| pair[1] - pair[0] >= 4 << 40));
        assert!(
            BASES
                .iter()
                .all(|base| base + (4 << 40) <= 0x5500_0000_0000)
        );
    }

    #[test]
    fn a_region_of_no_bytes_or_beyond_the_address_space_fits_nowhere() {
        assert_eq!(free_bases(0), 0);
        assert_eq!(free_bases(1 << 47), 0);
        assert_eq!(free_bases(u64::MAX), 0);
    }
}
