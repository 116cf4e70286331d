//! Prefetches: memory that will be touched soon is fetched while the program does something else.

use crate::{Hive, Result, Shared};
use bytemuck::Pod;
use hivemind_protocol::Address;
use std::ops::Range;

impl<T: Pod> Shared<T> {
    /// Begins to fetch these values, as far as they are not here; who touches one before it has come waits only for the rest.
    /// Blocks for nobody. At most the first 4 MiB that are not here are asked for: of more, prefetch the next part when
    /// you come near it. What is named again after a later barrier is sent unasked at those that follow, as long as it is touched.
    ///
    /// What is prefetched before an acquire may have to be fetched again after it. Programs that walk through memory
    /// need no prefetch: what comes next is fetched ahead of them.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let table = hive.alloc::<f64>(100_000)?;
    /// table.prefetch(&hive, 70_000..71_000)?;
    /// let sum: f64 = table.view(&hive)[..1000].iter().sum(); // while those come
    /// let more: f64 = table.view(&hive)[70_000..71_000].iter().sum();
    /// # assert_eq!(sum + more, 0.0);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost.
    ///
    /// # Panics
    /// If there are not so many values.
    pub fn prefetch(&self, hive: &Hive, values: Range<usize>) -> Result<()> {
        let (first, end, len) = (values.start, values.end, self.len());
        assert!(
            first <= end && end <= len,
            "values {first}..{end} are not all there: there are {len}"
        );
        let size = size_of::<T>() as u64;
        let start = Address(self.address().0 + first as u64 * size);
        hive.drone.prefetch(start, (end - first) as u64 * size)
    }
}

impl Hive {
    /// Begins to fetch `bytes` bytes at an address; see [`Shared::prefetch`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let block = hive.malloc(100_000)?;
    /// hive.prefetch_at(block, 100_000)?;
    /// assert!(hive.prefetch_at(block, usize::MAX).is_err()); // out of bounds
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// Out of bounds, or in a block that this drone has freed since its last acquire; a drone was lost.
    pub fn prefetch_at(&self, address: Address, bytes: usize) -> Result<()> {
        self.check_range(address, bytes as u64)?;
        self.drone.prefetch(address, bytes as u64)
    }
}
