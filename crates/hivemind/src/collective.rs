//! Small values that all drones exchange: broadcast and reduction, in a fixed order.

use crate::{Hive, Result};
use bytemuck::Pod;
use hivemind_protocol::{DroneId, MeetingKind};

/// Numbers that can be added and compared, for [`Hive::sum`], [`Hive::min`] and [`Hive::max`].
///
/// ```
/// # fn main() -> hivemind::Result<()> {
/// # let mut hive = hivemind::Hive::join()?;
/// use hivemind::Number;
///
/// fn spread<T: Number>(hive: &mut hivemind::Hive, value: T) -> hivemind::Result<(T, T)> {
///     Ok((hive.min(value)?, hive.max(value)?))
/// }
/// assert_eq!(spread(&mut hive, 3)?, (3, 3));
/// assert_eq!(f64::NAN.least(1.0), 1.0);
/// # hive.leave() }
/// ```
pub trait Number: Pod {
    /// The sum; integers wrap around.
    ///
    /// ```
    /// assert_eq!(hivemind::Number::plus(250_u8, 10), 4);
    /// ```
    fn plus(self, other: Self) -> Self;
    /// The smaller; of floats, the one that is a number.
    ///
    /// ```
    /// assert_eq!(hivemind::Number::least(2.5, f64::NAN), 2.5);
    /// ```
    fn least(self, other: Self) -> Self;
    /// The larger; of floats, the one that is a number.
    ///
    /// ```
    /// assert_eq!(hivemind::Number::most(-3, 2), 2);
    /// ```
    fn most(self, other: Self) -> Self;
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Number for $integer {
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            fn least(self, other: Self) -> Self {
                Ord::min(self, other)
            }
            fn most(self, other: Self) -> Self {
                Ord::max(self, other)
            }
        }
    )*};
}

macro_rules! floats {
    ($($float:ty),*) => {$(
        impl Number for $float {
            fn plus(self, other: Self) -> Self {
                self + other
            }
            fn least(self, other: Self) -> Self {
                self.min(other)
            }
            fn most(self, other: Self) -> Self {
                self.max(other)
            }
        }
    )*};
}
integers!(
    u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize
);
floats!(f32, f64);

impl Hive {
    /// The value of drone `root`, on all drones; what the others bring is not looked at. Collective, and a barrier:
    /// blocks until all drones are here. For small values: it travels to drone 0 and from there to each.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// let mut hive = hivemind::Hive::join()?;
    /// let seed = hive.broadcast(0, 42_u64)?;
    /// assert_eq!(seed, 42);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost, or makes another collective call.
    ///
    /// # Panics
    /// If there is no drone `root`.
    pub fn broadcast<T: Pod>(&mut self, root: usize, value: T) -> Result<T> {
        assert!(
            root < self.drones(),
            "drone {root} cannot broadcast: there are {} drones",
            self.drones()
        );
        let bytes = size_of::<T>() as u64;
        let kind = MeetingKind::Broadcast {
            root: DroneId(root as u32),
            bytes,
        };
        let own = if root == self.me() {
            bytemuck::bytes_of(&value).to_vec()
        } else {
            Vec::new()
        };
        let (payloads, _) = self.meet(kind, own)?;
        Ok(bytemuck::pod_read_unaligned(&payloads[root]))
    }

    /// Folds the values of all drones, in the order of the drones: for a given number of drones the result
    /// has the same bits in every run. Collective, and a barrier: blocks until all drones are here. Each drone folds
    /// for itself, so `fold` must do the same everywhere.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let longest = hive.reduce("drone".len(), |a, b| a.max(b))?;
    /// assert_eq!(longest, 5);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// A drone was lost, or makes another collective call.
    pub fn reduce<T: Pod>(&mut self, value: T, fold: impl Fn(T, T) -> T) -> Result<T> {
        let kind = MeetingKind::Reduce {
            bytes: size_of::<T>() as u64,
        };
        let (payloads, _) = self.meet(kind, bytemuck::bytes_of(&value).to_vec())?;
        let values = payloads
            .iter()
            .map(|bytes| bytemuck::pod_read_unaligned(bytes));
        Ok(values.reduce(fold).unwrap_or(value))
    }

    /// The sum of the values of all drones; see [`Hive::reduce`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// assert_eq!(hive.sum(1_u32)? as usize, hive.drones());
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::reduce`].
    pub fn sum<T: Number>(&mut self, value: T) -> Result<T> {
        self.reduce(value, T::plus)
    }

    /// The smallest of the values of all drones; see [`Hive::reduce`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// assert_eq!(hive.min(hive.me())?, 0);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::reduce`].
    pub fn min<T: Number>(&mut self, value: T) -> Result<T> {
        self.reduce(value, T::least)
    }

    /// The largest of the values of all drones; see [`Hive::reduce`].
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// assert_eq!(hive.max(hive.me())?, hive.drones() - 1);
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// As for [`Hive::reduce`].
    pub fn max<T: Number>(&mut self, value: T) -> Result<T> {
        self.reduce(value, T::most)
    }
}
