//! One partition for all: each drone groups its own share of the numbers by pivots that all have, and all learn how large
//! each other's groups are.

use crate::numbers::Key;
use hivemind::{Hive, Shared};
use std::ops::Range;

/// Where the numbers of each bucket lie: `sizes[drone][bucket]` of them in the drone's share, bucket by bucket.
pub(super) struct Groups {
    pub(super) buckets: usize,
    sizes: Vec<u64>,
    shares: Vec<Range<usize>>,
}

impl Groups {
    /// Groups this drone's share by the pivots and learns of the others' groups. Collective.
    pub(super) fn make<T: Key>(
        hive: &mut Hive,
        unsorted: &mut Shared<T>,
        pivots: &[T],
        workers: &rayon::ThreadPool,
    ) -> hivemind::Result<Groups> {
        let (drones, buckets) = (hive.drones(), pivots.len() + 1);
        let count = unsorted.len();
        let shares = (0..drones)
            .map(|drone| hive.share_of_drone(0..count, drone))
            .collect();
        let mut sizes = hive.alloc::<u64>(drones * buckets)?;
        let share = &mut unsorted.view_mut(hive)[hive.share_of(0..count)];
        let mine = &mut sizes.view_mut(hive)[hive.me() * buckets..][..buckets];
        workers.install(|| group(share, pivots, mine));
        hive.barrier()?;
        let all = sizes.view(hive).to_vec();
        hive.free(sizes)?;
        Ok(Groups {
            buckets,
            sizes: all,
            shares,
        })
    }

    fn sizes_at(&self, drone: usize) -> &[u64] {
        &self.sizes[drone * self.buckets..][..self.buckets]
    }

    /// How many numbers a bucket has on all drones.
    pub(super) fn size(&self, bucket: usize) -> u64 {
        (0..self.shares.len())
            .map(|drone| self.sizes_at(drone)[bucket])
            .sum()
    }

    /// Where a bucket's numbers lie, one range a drone.
    pub(super) fn places(&self, bucket: usize) -> impl Iterator<Item = Range<usize>> {
        self.shares.iter().enumerate().map(move |(drone, share)| {
            let sizes = self.sizes_at(drone);
            let start = share.start + sizes[..bucket].iter().sum::<u64>() as usize;
            start..start + sizes[bucket] as usize
        })
    }
}

/// Reorders a share so that its numbers stand bucket by bucket: quicksort that stops at the last pivot.
/// Writes how many numbers each bucket has; there is one more of them than of pivots.
fn group<T: Key>(share: &mut [T], pivots: &[T], sizes: &mut [u64]) {
    let Some(&pivot) = pivots.get(pivots.len() / 2) else {
        sizes[0] = share.len() as u64;
        return;
    };
    let less = split(share, |number| number < pivot);
    let (low, high) = share.split_at_mut(less);
    let (low_sizes, high_sizes) = sizes.split_at_mut(pivots.len() / 2 + 1);
    let (low_pivots, high_pivots) = (&pivots[..pivots.len() / 2], &pivots[pivots.len() / 2 + 1..]);
    rayon::join(
        || group(low, low_pivots, low_sizes),
        || group(high, high_pivots, high_sizes),
    );
}

/// Moves the numbers of which `goes_first` is true to the front; returns how many they are. Every number is
/// swapped, needed or not: a processor that never guesses wrong is several times faster.
pub(super) fn split<T: Key>(numbers: &mut [T], goes_first: impl Fn(T) -> bool) -> usize {
    let mut first = 0;
    for at in 0..numbers.len() {
        let number = numbers[at];
        numbers.swap(first, at);
        first += usize::from(goes_first(number));
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quicksort::serial;
    use crate::quicksort::tests::seeded;

    #[test]
    fn groups_hold_each_number_once_in_the_order_of_the_pivots() {
        let numbers = seeded(1000, 50);
        for pivots in [vec![], vec![0], vec![-10, -10, 0, 20], vec![100]] {
            let mut grouped = numbers.clone();
            let mut sizes = vec![0; pivots.len() + 1];
            group(&mut grouped, &pivots, &mut sizes);
            let mut start = 0;
            for (bucket, &size) in sizes.iter().enumerate() {
                let end = start + size as usize;
                let low = bucket
                    .checked_sub(1)
                    .map_or(i32::MIN, |before| pivots[before]);
                let high = pivots.get(bucket).copied().unwrap_or(i32::MAX);
                assert!(
                    grouped[start..end]
                        .iter()
                        .all(|&number| low <= number && number < high)
                );
                start = end;
            }
            assert_eq!(start, 1000);
            grouped.sort_unstable();
            let mut expected = numbers.clone();
            serial(&mut expected);
            assert_eq!(grouped, expected);
        }
    }

    #[test]
    fn places_of_a_bucket_follow_the_shares() {
        let groups = Groups {
            buckets: 2,
            sizes: vec![3, 1, 0, 4],
            shares: vec![0..4, 4..8],
        };
        assert_eq!(groups.size(0), 3);
        assert_eq!(groups.size(1), 5);
        assert_eq!(groups.places(0).collect::<Vec<_>>(), [0..3, 4..4]);
        assert_eq!(groups.places(1).collect::<Vec<_>>(), [3..4, 4..8]);
    }
}
