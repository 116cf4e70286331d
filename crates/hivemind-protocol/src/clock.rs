//! Vector timestamps: what a drone has heard of in this epoch. Not the trace's clock, which is another.

use crate::{DroneId, IntervalId, IntervalIndex};
use alloc::vec::Vec;

/// For each drone, how many of its intervals of this epoch are known. Sparse: drones without an interval
/// take no room, so a program that only meets at barriers pays nothing for a thousand drones.
///
/// ```
/// use hivemind_protocol::{DroneId, IntervalId, IntervalIndex, VectorTimestamp};
///
/// let mut known = VectorTimestamp::new();
/// known.raise(DroneId(3), IntervalIndex(2));
/// assert_eq!(known.get(DroneId(3)), IntervalIndex(2));
/// assert!(known.covers(IntervalId { creator: DroneId(3), index: IntervalIndex(1) }));
/// assert_eq!((known.weight(), known.entries().len()), (2, 1));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct VectorTimestamp {
    /// Ascending by drone; no entry is 0.
    entries: Vec<(DroneId, IntervalIndex)>,
}

impl VectorTimestamp {
    /// The timestamp that knows nothing.
    ///
    /// ```
    /// use hivemind_protocol::{DroneId, IntervalIndex, VectorTimestamp};
    /// assert_eq!(VectorTimestamp::new().get(DroneId(7)), IntervalIndex(0));
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// How many intervals of `drone` are known.
    ///
    /// ```
    /// use hivemind_protocol::{DroneId, IntervalIndex, VectorTimestamp};
    /// let mut known = VectorTimestamp::new();
    /// known.raise(DroneId(2), IntervalIndex(5));
    /// assert_eq!(known.get(DroneId(2)), IntervalIndex(5));
    /// ```
    pub fn get(&self, drone: DroneId) -> IntervalIndex {
        match self.position(drone) {
            Ok(at) => self.entries[at].1,
            Err(_) => IntervalIndex(0),
        }
    }

    /// Raises the entry of `drone`.
    ///
    /// ```
    /// use hivemind_protocol::{DroneId, IntervalIndex, VectorTimestamp};
    /// let mut known = VectorTimestamp::new();
    /// known.raise(DroneId(2), IntervalIndex(5));
    /// known.raise(DroneId(2), IntervalIndex(6));
    /// assert_eq!(known.get(DroneId(2)), IntervalIndex(6));
    /// ```
    ///
    /// # Panics
    /// INV-2 (clocks are monotone): if the entry would fall.
    pub fn raise(&mut self, drone: DroneId, index: IntervalIndex) {
        match self.position(drone) {
            Ok(at) => {
                assert!(
                    index >= self.entries[at].1,
                    "INV-2: a clock would run backwards"
                );
                self.entries[at].1 = index;
            }
            Err(_) if index.0 == 0 => {}
            Err(at) => self.entries.insert(at, (drone, index)),
        }
    }

    /// Whether this timestamp knows of `interval`.
    ///
    /// ```
    /// use hivemind_protocol::{DroneId, IntervalId, IntervalIndex, VectorTimestamp};
    /// let mut known = VectorTimestamp::new();
    /// known.raise(DroneId(2), IntervalIndex(5));
    /// let (creator, index) = (DroneId(2), IntervalIndex(4));
    /// assert!(known.covers(IntervalId { creator, index }));
    /// ```
    pub fn covers(&self, interval: IntervalId) -> bool {
        self.get(interval.creator) >= interval.index
    }

    /// The sum of all entries. Strictly larger for an interval that happens after another, so ordering by
    /// it is a linear extension of happens-before.
    ///
    /// ```
    /// use hivemind_protocol::{DroneId, IntervalIndex, VectorTimestamp};
    /// let mut known = VectorTimestamp::new();
    /// known.raise(DroneId(2), IntervalIndex(5));
    /// known.raise(DroneId(0), IntervalIndex(2));
    /// assert_eq!(known.weight(), 7);
    /// ```
    pub fn weight(&self) -> u64 {
        self.entries
            .iter()
            .map(|(_, index)| u64::from(index.0))
            .sum()
    }

    /// The entries that are not 0, ascending by drone.
    ///
    /// ```
    /// use hivemind_protocol::{DroneId, IntervalIndex, VectorTimestamp};
    /// let mut known = VectorTimestamp::new();
    /// known.raise(DroneId(2), IntervalIndex(5));
    /// assert_eq!(known.entries(), [(DroneId(2), IntervalIndex(5))]);
    /// ```
    pub fn entries(&self) -> &[(DroneId, IntervalIndex)] {
        &self.entries
    }

    /// Entries that are ascending and not 0.
    pub(crate) fn from_ascending(entries: Vec<(DroneId, IntervalIndex)>) -> Self {
        Self { entries }
    }

    fn position(&self, drone: DroneId) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&drone, |entry| entry.0)
    }
}
