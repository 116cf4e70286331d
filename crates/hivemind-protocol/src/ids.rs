//! The names of things: newtypes, none narrower than 32 bits.
//!
//! What the ids name lives elsewhere; here is only how they are told apart and printed.

use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// A drone: one process's seat in the hive, counted from 0.
    DroneId(u32), "drone "
);
id!(
    /// A page of the region, counted from 0.
    PageId(u64), "page "
);
id!(
    /// A lock. A program's own locks are 0 … 2³²−1; the library numbers its own above.
    LockId(u64), "lock "
);
id!(
    /// A barrier's name. Two drones that meet at different barriers are told so.
    BarrierId(u32), "barrier "
);
id!(
    /// An epoch: what lies between two barriers or collections. Totally ordered.
    EpochId(u64), "epoch "
);
id!(
    /// The number of an interval among those of its creator in one epoch, counted from 1.
    IntervalIndex(u32), "interval "
);
id!(
    /// A byte's place in the region, counted from its start.
    Address(u64), "address "
);
id!(
    /// What a driver hands in with a fault or a command, and gets back when it is complete.
    Ticket(u64), "ticket "
);

/// One interval of the current epoch: who made it and which of its it is.
///
/// ```
/// use hivemind_protocol::{DroneId, IntervalId, IntervalIndex};
/// let id = IntervalId { creator: DroneId(1), index: IntervalIndex(4) };
/// assert_eq!(format!("{} of {}", id.index, id.creator), "interval 4 of drone 1");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IntervalId {
    /// The drone that wrote in it.
    pub creator: DroneId,
    /// Which of its intervals in this epoch.
    pub index: IntervalIndex,
}

impl DroneId {
    /// The drone that keeps the barriers, the collections and the heap.
    pub const FIRST: Self = Self(0);
}

impl PageId {
    /// The page that holds `address`.
    ///
    /// ```
    /// use hivemind_protocol::{Address, PageId};
    /// assert_eq!(PageId::of(Address(4097)), PageId(1));
    /// assert_eq!(PageId(1).start(), Address(4096));
    /// ```
    pub fn of(address: Address) -> Self {
        Self(address.0 / crate::PAGE_SIZE as u64)
    }

    /// The first byte of this page.
    ///
    /// ```
    /// use hivemind_protocol::{Address, PageId};
    /// assert_eq!(PageId(2).start(), Address(8192));
    /// ```
    pub fn start(self) -> Address {
        Address(self.0 * crate::PAGE_SIZE as u64)
    }
}
