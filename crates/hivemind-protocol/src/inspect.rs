//! A core's state for people: what replays and traces show. Nothing here decides anything.

use crate::core::Core;
use crate::{
    Access, DroneId, EpochId, IntervalId, LockId, Memory, PageId, Sleeper, VectorTimestamp,
};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// What a drone knows, at one moment.
///
/// ```
#[doc = alone!()]
/// # let mut core = Core::new(config, Zeros);
/// let inspection = core.inspect();
/// assert_eq!(inspection.phase, "open");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspection {
    /// Its epoch.
    pub epoch: EpochId,
    /// How far it is in it: open, closing, arrived.
    pub phase: &'static str,
    /// Its vector timestamp.
    pub known: VectorTimestamp,
    /// Bytes of protocol memory.
    pub metadata_bytes: u64,
    /// Every page of the table's touched chunks.
    pub pages: BTreeMap<PageId, PageState>,
    /// Every lock that it ever had to do with.
    pub locks: BTreeMap<LockId, LockState>,
}

/// A page as one drone sees it.
///
/// ```
/// use hivemind_protocol::{AccessKind, Event, Ticket};
#[doc = alone!()]
/// # let mut core = Core::new(config, Zeros);
/// let mut effects = Vec::new();
/// let (page, kind, ticket) = (PageId(3), AccessKind::Read, Ticket(1));
/// core.handle(Event::Fault { page, kind, ticket }, &mut effects).expect("no message, so no misbehaviour");
/// assert_eq!(core.inspect().pages[&page].home, DroneId(0));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageState {
    /// What the program may do with it.
    pub access: Access,
    /// Who has the whole page at the epoch's start.
    pub home: DroneId,
    /// Who else may hold a copy; none is everybody.
    pub copies: Option<Vec<DroneId>>,
    /// Whether it has a twin.
    pub twin: bool,
    /// Whether the bytes hold all that was written before this epoch.
    pub based: bool,
    /// Whether it goes at the next acquire.
    pub stale: bool,
    /// Others' intervals that it lacks.
    pub lacking: Vec<IntervalId>,
    /// How many diffs of its own writes are kept.
    pub own_diffs: usize,
    /// Whom it was asked of, while it is being fetched.
    pub asks: Vec<DroneId>,
}

/// A lock as one drone sees it.
///
/// ```
/// use hivemind_protocol::{Command, Event, LockId, Ticket};
#[doc = alone!()]
/// # let mut core = Core::new(config, Zeros);
/// let event = Event::Command { command: Command::Acquire(LockId(4)), ticket: Ticket(1) };
/// core.handle(event, &mut Vec::new()).expect("no message, so no misbehaviour");
/// assert!(core.inspect().locks[&LockId(4)].held);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LockState {
    /// Whether the token is here.
    pub token: bool,
    /// Whether the program holds it.
    pub held: bool,
    /// Whether the program waits for it.
    pub wanted: bool,
    /// Whether it is in line for it though the program has not asked.
    pub ahead: bool,
    /// Whether the token is here and what came with it was not taken in.
    pub unopened: bool,
    /// Whom the token goes to next.
    pub next: Option<DroneId>,
    /// At the manager: who asked last.
    pub tail: Option<DroneId>,
    /// With the token: who sleeps until a condition of it is signalled, in turn.
    pub sleepers: Vec<Sleeper>,
}

impl<M: Memory> Core<M> {
    /// The state as it is. Copies much; for replays, not for runs.
    ///
    /// ```
    #[doc = alone!()]
    /// # let mut core = Core::new(config, Zeros);
    /// let inspection = core.inspect();
    /// assert!(inspection.locks.is_empty());
    /// ```
    pub fn inspect(&self) -> Inspection {
        let page = |(id, page): (PageId, &crate::page::Page)| {
            let state = PageState {
                access: page.access,
                home: page.home,
                copies: page.copies.named().map(<[_]>::to_vec),
                twin: page.twin.is_some(),
                based: page.based,
                stale: page.stale,
                lacking: page.lacking().collect(),
                own_diffs: page.history.as_ref().map_or(0, |history| history.own.len()),
                asks: self.fetches.asked(id),
            };
            (id, state)
        };
        Inspection {
            epoch: self.epoch.id,
            phase: self.epoch.phase_name(),
            known: self.log.known.clone(),
            metadata_bytes: self.stats().metadata_bytes,
            pages: self.pages.touched().map(page).collect(),
            locks: self.locks.states(),
        }
    }
}
