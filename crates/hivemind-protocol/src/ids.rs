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
    ///
    /// ```
    /// use hivemind_protocol::DroneId;
    /// assert_eq!(DroneId(3).to_string(), "drone 3");
    /// ```
    DroneId(u32), "drone "
);
id!(
    /// A page of the region, counted from 0.
    ///
    /// ```
    /// use hivemind_protocol::PageId;
    /// assert_eq!(PageId(3).to_string(), "page 3");
    /// ```
    PageId(u64), "page "
);
id!(
    /// A lock. A program's own locks are 0 … 2³²−1; the library numbers its own above.
    ///
    /// ```
    /// use hivemind_protocol::LockId;
    /// assert_eq!(LockId(3).to_string(), "lock 3");
    /// ```
    LockId(u64), "lock "
);
id!(
    /// A condition of a lock: what drones that hold the lock may wait for. Each lock has its own.
    ///
    /// ```
    /// use hivemind_protocol::ConditionId;
    /// assert_eq!(ConditionId(3).to_string(), "condition 3");
    /// ```
    ConditionId(u32), "condition "
);
id!(
    /// A barrier's name. Two drones that meet at different barriers are told so.
    ///
    /// ```
    /// use hivemind_protocol::BarrierId;
    /// assert_eq!(BarrierId(3).to_string(), "barrier 3");
    /// ```
    BarrierId(u32), "barrier "
);
id!(
    /// An epoch: what lies between two barriers or collections. Totally ordered.
    ///
    /// ```
    /// use hivemind_protocol::EpochId;
    /// assert!(EpochId(3) < EpochId(4));
    /// ```
    EpochId(u64), "epoch "
);
id!(
    /// The number of an interval among those of its creator in one epoch, counted from 1.
    ///
    /// ```
    /// use hivemind_protocol::IntervalIndex;
    /// assert_eq!(IntervalIndex(1).to_string(), "interval 1");
    /// ```
    IntervalIndex(u32), "interval "
);
id!(
    /// A byte's place in the region, counted from its start.
    ///
    /// ```
    /// use hivemind_protocol::Address;
    /// assert_eq!(format!("{}", Address(16)), Address(16).to_string());
    /// ```
    Address(u64), "address "
);
id!(
    /// What a driver hands in with a fault or a command, and gets back when it is complete.
    ///
    /// ```
    /// use hivemind_protocol::Ticket;
    /// assert_ne!(Ticket(1), Ticket(2));
    /// ```
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
    ///
    /// ```
    /// use hivemind_protocol::DroneId;
    /// assert_eq!(DroneId::FIRST, DroneId(0));
    /// ```
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
