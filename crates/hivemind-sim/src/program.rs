//! Random programs that have no data races by construction: what they are made of. They are drawn in `draw`; `expand`
//! turns their items into steps, `run` executes these.

mod draw;

pub(crate) use draw::Amount;

use crate::layout::Layout;
use hivemind_protocol::{BarrierId, DroneId};

/// A program for all drones: phases that end with a collective call.
///
/// ```
/// use hivemind_sim::Plan;
/// let program = Plan::draw(1).program;
/// println!("{} phases on {} drones", program.phases.len(), program.layout.drones);
/// ```
#[derive(Clone, Debug)]
pub struct Program {
    /// Where its data lie.
    pub layout: Layout,
    /// Whether the area is allocated from the heap before anything else.
    pub allocates_area: bool,
    /// The phases, in order. After the last, all drones read everything, and leave.
    pub phases: Vec<Phase>,
}

/// What happens between two collective calls.
///
/// ```
/// use hivemind_sim::Plan;
/// let program = Plan::draw(1).program;
/// let drones = program.layout.drones as usize;
/// assert!(program.phases.iter().all(|phase| phase.work.len() == drones));
/// ```
#[derive(Clone, Debug)]
pub struct Phase {
    /// Its number as drawn: decides who owns what in it.
    pub number: u64,
    /// For each drone, what it does.
    pub work: Vec<Work>,
    /// The collective call at its end.
    pub end: End,
    /// For each drone, what it does between the two calls of a split barrier; empty for any other end.
    pub between: Vec<Vec<Item>>,
    /// Whether a call in which the drones disagree precedes the end.
    pub mismatch: bool,
}

/// What one drone does in a phase.
///
/// ```
/// use hivemind_sim::{Item, Work};
/// let work = Work {
///     main: vec![Item::Compute(100)],
///     ..Work::default()
/// };
/// assert!(work.helper.is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Its main thread, which alone locks and meets.
    pub main: Vec<Item>,
    /// A second thread, which only touches pages.
    pub helper: Vec<Item>,
}

/// A collective call at the end of a phase.
///
/// ```
/// use hivemind_sim::{End, Plan, check};
/// let mut plan = Plan::draw(1);
/// for phase in &mut plan.program.phases {
///     phase.end = End::Reduce;
/// }
/// check(&plan)?;
/// # Ok::<(), Box<hivemind_sim::Failed>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// A barrier.
    Barrier(BarrierId),
    /// A barrier in two calls.
    Split(BarrierId),
    /// A value from one drone.
    Broadcast(DroneId),
    /// A value from each.
    Reduce,
    /// A block for all, with this number.
    Allocate {
        /// Its number.
        block: usize,
        /// Its size.
        bytes: u64,
        /// Its alignment.
        align: u64,
    },
    /// The block with this number is given back.
    Free(usize),
}

/// Something a thread does: can be left out without making the rest race.
///
/// ```
/// use hivemind_sim::{Deed, Item, Plan, check};
/// let mut plan = Plan::draw(1);
/// let lock_alone = vec![Deed::Lock(1), Deed::Unlock(1)];
/// plan.program.phases[0].work[0].main.push(Item::Section(lock_alone));
/// check(&plan)?;
/// # Ok::<(), Box<hivemind_sim::Failed>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// Nothing, for so many microseconds.
    Compute(u64),
    /// These in order. Locks that are taken here are let go here.
    Section(Vec<Deed>),
    /// If the baton is this drone's, touch its data and pass it on.
    Pass {
        /// Which.
        baton: usize,
        /// To whom.
        next: DroneId,
        /// Whether the data are touched outside of the lock.
        outside: bool,
        /// What is done with the data.
        touches: Vec<Touch>,
    },
    /// If the slot has no block, allocate one and fill it partly.
    Fill {
        /// Which slot.
        slot: usize,
        /// How many bytes to allocate.
        bytes: u64,
        /// Their alignment.
        align: u64,
        /// What the block gets, at most as much as fits.
        content: Vec<u8>,
    },
    /// If the slot has a block, load from it, store to it.
    Use {
        /// Which slot.
        slot: usize,
        /// Where in the block, scaled to its size: of 2¹⁶.
        place: u64,
        /// What to store there.
        content: Vec<u8>,
    },
    /// If the slot has a block, free it.
    Empty {
        /// Which slot.
        slot: usize,
    },
    /// Allocate as the library does, in turn with all other calls to the heap, use the block without a lock, and
    /// perhaps free it.
    Own {
        /// How many bytes.
        bytes: u64,
        /// What the block gets.
        content: Vec<u8>,
        /// Whether it is freed.
        frees: bool,
    },
    /// If that block of all exists, touch this drone's stripe of it.
    Stripe {
        /// Which block.
        block: usize,
        /// Which element of the stripe.
        element: u64,
        /// What to store; its length is the width of an element. Empty: load instead.
        content: Vec<u8>,
    },
    /// Put a thing on a shelf, and tell who waits.
    Put {
        /// Which.
        shelf: usize,
        /// Which of its conditions is signalled.
        condition: u32,
        /// Whether all that wait are told.
        all: bool,
    },
    /// Wait until there is a thing on a shelf, or the shelf is closed, and take it.
    Take {
        /// Which.
        shelf: usize,
        /// Which of its conditions is waited for.
        condition: u32,
    },
    /// Begin to fetch pages of the area.
    Prefetch {
        /// The first, counted from the start of the area.
        first: u64,
        /// How many.
        count: u64,
    },
    /// A call that must be refused and change nothing.
    Wrong(Wrong),
}

/// A part of a section.
///
/// ```
/// use hivemind_sim::{Deed, Item};
/// let section = Item::Section(vec![Deed::Lock(1), Deed::Compute(50), Deed::Unlock(1)]);
/// println!("{section:?}");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// Take this lock (its number in the layout).
    Lock(usize),
    /// Let it go.
    Unlock(usize),
    /// Take this lock if it is free, touch memory, and let it go.
    Try(usize, Vec<Touch>),
    /// Touch memory.
    Touch(Touch),
    /// Do nothing for so many microseconds.
    Compute(u64),
    /// Take a lock that is held: refused.
    LockAgain(usize),
    /// Meet while a lock is held: refused.
    MeetHolding(usize),
}

/// An access, by its place in the area.
///
/// ```
/// use hivemind_sim::{Deed, Item, Touch};
/// let increment = Touch::Increment { at: 16, bytes: 8 };
/// let section = Item::Section(vec![Deed::Lock(1), Deed::Touch(increment), Deed::Unlock(1)]);
/// println!("{section:?}");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Touch {
    /// Load so many bytes.
    Load {
        /// Where.
        at: u64,
        /// How many.
        bytes: u64,
    },
    /// Store bytes.
    Store {
        /// Where.
        at: u64,
        /// What.
        content: Vec<u8>,
    },
    /// Load so many bytes and store them plus one.
    Increment {
        /// Where.
        at: u64,
        /// How many.
        bytes: u64,
    },
}

/// A call that must be refused.
///
/// ```
/// use hivemind_sim::{Item, Plan, Wrong, check};
/// let mut plan = Plan::draw(1);
/// let refused = Item::Wrong(Wrong::Release(1));
/// plan.program.phases[0].work[0].main.push(refused);
/// check(&plan)?; // it was refused
/// # Ok::<(), Box<hivemind_sim::Failed>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// Let go of a lock that is not held.
    Release(usize),
    /// Sleep under a lock that is not held.
    Wait(usize),
    /// Signal under a lock that is not held.
    Signal(usize),
    /// Free or measure an address where no block starts.
    Free(u64),
    /// Ask for an odd alignment.
    Align(u64),
}
