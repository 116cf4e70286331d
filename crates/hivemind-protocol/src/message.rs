//! What drones say to one another. The table in docs/PROTOCOL.md lists who sends which, and when; the wire
//! form lives in `wire`.

use crate::{
    Address, Block, ConditionId, Diff, DroneId, EpochId, IntervalId, IntervalIndex, LockId,
    Meeting, PageId, PageRun, Refusal, VectorTimestamp,
};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// One message. Every one that speaks of intervals names the epoch that they belong to.
///
/// ```
/// use hivemind_protocol::{EpochId, Message};
///
/// let message = Message::CollectWanted { epoch: EpochId(1) };
/// let mut frame = Vec::new();
/// message.encode(&mut frame);
/// assert_eq!(Message::decode(&frame), Ok(message));
/// assert!(Message::decode(&frame[1..]).is_err()); // never a panic, and no list longer than what is there
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Message {
    /// Who faults asks the home, or the last writer, for whole pages.
    PageRequest {
        /// The requester's epoch.
        epoch: EpochId,
        /// Which pages, ascending; at most [`PAGES_A_MESSAGE_MOST`].
        pages: Vec<PageRun>,
        /// Whether the sender wants them from now on, unasked, after each epoch that writes them; only to
        /// their home.
        again: bool,
    },
    /// Whole pages and what is in them: of a request those that can be had now, or what the receiver wants
    /// at the start of each epoch.
    PageReply {
        /// The epoch of the request, or the one that starts.
        epoch: EpochId,
        /// What the sender knows: which writes the pages contain, but for those that each page names.
        known: VectorTimestamp,
        /// The pages.
        pages: Vec<PageCopy>,
    },
    /// From a home that has arrived at the end of its epoch, behind its arrival: pages that the receiver wants at the start of the
    /// next one, and that nobody else wrote in this one, as far as the sender knows. Void if another did.
    PagePush {
        /// The epoch that ends.
        epoch: EpochId,
        /// The pages, whole, ascending.
        pages: Vec<(PageId, Box<crate::PageBuffer>)>,
    },
    /// The asked drone holds no complete copy of the page: ask its home.
    PageRefused {
        /// The epoch of the request.
        epoch: EpochId,
        /// Which page.
        page: PageId,
    },
    /// Who faults asks a writer for its diffs of a page, for its intervals in (`after`, `upto`].
    DiffRequest {
        /// The requester's epoch.
        epoch: EpochId,
        /// Which page.
        page: PageId,
        /// The last interval of the writer that the requester has applied.
        after: IntervalIndex,
        /// The last interval of the writer that the requester knows of.
        upto: IntervalIndex,
        /// Whether the whole page will do where the diffs are larger: nothing else is being fetched for it.
        or_page: bool,
    },
    /// A writer's diffs, each with the first interval it stems from.
    DiffReply {
        /// The epoch of the request.
        epoch: EpochId,
        /// Which page.
        page: PageId,
        /// Up to which interval these are complete: `upto` of the request.
        upto: IntervalIndex,
        /// Ascending by interval.
        diffs: Vec<(IntervalIndex, Diff)>,
    },
    /// To the lock's manager, and from it to the last requester: somebody wants the lock.
    LockRequest {
        /// The requester's epoch.
        epoch: EpochId,
        /// Which lock.
        lock: LockId,
        /// Who wants it.
        requester: DroneId,
        /// What the requester knows.
        known: VectorTimestamp,
        /// Whether the manager has seen it: then it is for the drone it was forwarded to.
        forwarded: bool,
        /// Pages that the requester touched under this lock last time, ascending; at most
        /// [`PAGES_A_GRANT_MOST`](crate::PAGES_A_GRANT_MOST).
        wants: Vec<PageId>,
        /// Whether the requester does not wait in line: the last in line answers at once.
        tries: bool,
    },
    /// How a try for a lock ended. From the last in line to the lock's manager, if it gave the lock; else to who tried in
    /// vain, and from there to the manager.
    LockTried {
        /// Which lock.
        lock: LockId,
        /// Who tried.
        requester: DroneId,
        /// Whether it has the lock, and is last in line now.
        given: bool,
    },
    /// The lock, with every interval that the requester lacks.
    LockGrant {
        /// The granter's epoch.
        epoch: EpochId,
        /// Which lock.
        lock: LockId,
        /// Ascending by creator and index.
        intervals: Vec<Interval>,
        /// Who sleeps until a condition of the lock, in the order in which they fell asleep; each drone once, the
        /// requester not.
        sleepers: Vec<Sleeper>,
        /// What the granter knows, if it sends pages: they contain all of it.
        known: VectorTimestamp,
        /// Of the pages that the requester wants, those that are whole at the granter.
        pages: Vec<PageCopy>,
        /// The granter's next wish for the lock, if it is likely to have one: as if it asked right behind this.
        again: Option<NextWish>,
    },
    /// Somebody tries to take a lock for which it is in line, though only because its wish went with the token; or was
    /// asked about it by a try. From it to the lock's manager, and from there to the drone before it in line: is it taken?
    LockSought {
        /// The epoch of who wants to know.
        epoch: EpochId,
        /// Which lock.
        lock: LockId,
        /// Who wants to know.
        requester: DroneId,
    },
    /// The answer: the lock is taken or waited for, or its token went to the receiver before this.
    LockTaken {
        /// The sender's epoch.
        epoch: EpochId,
        /// Which lock.
        lock: LockId,
    },
    /// From the holder of a lock, which has taken the receiver from the list of the lock's sleepers: ask for the lock.
    Wake {
        /// Which lock.
        lock: LockId,
        /// The condition that the receiver sleeps for.
        condition: ConditionId,
    },
    /// From a drone that waits for no other to the one above: it has reached the end of its epoch, by a meeting or by a
    /// collection. The fields are those of an [`Arrival`].
    Arrive {
        /// The epoch that ends.
        epoch: EpochId,
        /// The sender's own intervals of the epoch.
        intervals: Vec<Interval>,
        /// The meeting it waits in, if it does.
        meeting: Option<Meeting>,
        /// Pages that it wants no more unasked.
        declined: Vec<PageRun>,
    },
    /// From a drone that waits for others to the one above: it and all below it have reached the end of their epoch.
    ArriveTogether {
        /// The epoch that ends.
        epoch: EpochId,
        /// What each brings, in the order of the drones.
        arrivals: Vec<Arrival>,
    },
    /// From the drone above: all have arrived, the epoch is over.
    Depart {
        /// The epoch that ends.
        epoch: EpochId,
        /// Every interval of the epoch but those of the receiver and of all below it.
        intervals: Vec<Interval>,
        /// How the meeting went, or none if this was a collection.
        met: Option<Met>,
        /// Which drones want which pages no more unasked.
        declined: Vec<(DroneId, Vec<PageRun>)>,
    },
    /// To the first drone: protocol memory nears its limit, please collect.
    CollectWanted {
        /// The sender's epoch.
        epoch: EpochId,
    },
    /// From the drone above: arrive as soon as no fault is outstanding.
    Collect {
        /// The epoch to end.
        epoch: EpochId,
    },
    /// After an epoch's end, a writer gives the home its diffs of pages that several wrote.
    Flush {
        /// The epoch that ended.
        epoch: EpochId,
        /// The pages, each with the diffs, ascending by interval.
        pages: Vec<(PageId, Vec<(IntervalIndex, Diff)>)>,
        /// Whether this writer's diffs of other pages of this home follow.
        more: bool,
    },
    /// To the first drone: allocate.
    Allocate {
        /// Echoed in the reply.
        request: u64,
        /// How many bytes.
        bytes: u64,
        /// A power of two.
        align: u64,
    },
    /// To the first drone: how large is the block that begins there?
    Measure {
        /// Echoed in the reply.
        request: u64,
        /// The block's start.
        address: Address,
    },
    /// To the first drone: free.
    Free {
        /// Echoed in the reply.
        request: u64,
        /// The block's start.
        address: Address,
    },
    /// From the first drone: how it went. A free answers with the freed address.
    HeapReply {
        /// Which request.
        request: u64,
        /// The block, or why not.
        result: Result<Block, Refusal>,
    },
}

impl Message {
    /// What the table in docs/PROTOCOL.md calls it.
    ///
    /// ```
    /// use hivemind_protocol::{EpochId, Message};
    /// assert_eq!(Message::CollectWanted { epoch: EpochId(1) }.name(), "CollectWanted");
    /// ```
    pub fn name(&self) -> &'static str {
        match self {
            Self::PageRequest { .. } => "PageRequest",
            Self::PageReply { .. } => "PageReply",
            Self::PagePush { .. } => "PagePush",
            Self::PageRefused { .. } => "PageRefused",
            Self::DiffRequest { .. } => "DiffRequest",
            Self::DiffReply { .. } => "DiffReply",
            Self::LockRequest { .. } => "LockRequest",
            Self::LockTried { .. } => "LockTried",
            Self::LockGrant { .. } => "LockGrant",
            Self::LockSought { .. } => "LockSought",
            Self::LockTaken { .. } => "LockTaken",
            Self::Wake { .. } => "Wake",
            Self::Arrive { .. } => "Arrive",
            Self::ArriveTogether { .. } => "ArriveTogether",
            Self::Depart { .. } => "Depart",
            Self::CollectWanted { .. } => "CollectWanted",
            Self::Collect { .. } => "Collect",
            Self::Flush { .. } => "Flush",
            Self::Allocate { .. } => "Allocate",
            Self::Measure { .. } => "Measure",
            Self::Free { .. } => "Free",
            Self::HeapReply { .. } => "HeapReply",
        }
    }
}

/// One interval's record: what a drone wrote between two of its synchronisations
/// (Keleher, Cox, Zwaenepoel, ISCA 1992, section 3).
///
/// ```
/// use hivemind_protocol::{DroneId, Interval, IntervalId, IntervalIndex, PageId, PageRun, VectorTimestamp};
/// let (creator, index) = (DroneId(1), IntervalIndex(1));
/// let mut known = VectorTimestamp::new();
/// known.raise(creator, index);
/// let id = IntervalId { creator, index };
/// let interval = Interval { id, known, pages: vec![PageRun::one(PageId(3))] };
/// assert!(interval.known.covers(interval.id)); // its own entry is included
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Interval {
    /// Who made it, and which it is.
    pub id: IntervalId,
    /// What its creator knew when it ended, its own entry included.
    pub known: VectorTimestamp,
    /// Its write notices, ascending.
    pub pages: Vec<PageRun>,
}

/// What a drone brings to an epoch's end.
///
/// ```
/// use hivemind_protocol::{Arrival, BarrierId, Meeting, MeetingKind};
/// let (kind, payload) = (MeetingKind::Barrier(BarrierId(0)), Vec::new());
/// let meeting = Some(Meeting { kind, payload });
/// let arrival = Arrival { intervals: Vec::new(), meeting, declined: Vec::new() };
/// assert!(arrival.intervals.is_empty()); // it wrote nothing
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Arrival {
    /// Its own intervals of the epoch.
    pub intervals: Vec<Interval>,
    /// The meeting it waits in, if it does.
    pub meeting: Option<Meeting>,
    /// Pages that it wants no more unasked.
    pub declined: Vec<PageRun>,
}

/// A drone whose program sleeps until a condition of a lock is signalled. The list of them travels with the lock.
///
/// ```
/// use hivemind_protocol::{ConditionId, DroneId, Sleeper};
/// let sleeper = Sleeper { condition: ConditionId(0), drone: DroneId(2) };
/// println!("{} sleeps for {}", sleeper.drone, sleeper.condition);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Sleeper {
    /// What it sleeps for.
    pub condition: ConditionId,
    /// Who sleeps.
    pub drone: DroneId,
}

/// A wish for a lock that goes with its token: who gives it away wants it again.
///
/// ```
/// use hivemind_protocol::{NextWish, PageId, VectorTimestamp};
/// let wish = NextWish { known: VectorTimestamp::new(), wants: vec![PageId(3)] };
/// assert_eq!(wish.wants.len(), 1);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct NextWish {
    /// What the granter knows.
    pub known: VectorTimestamp,
    /// Pages that it wants with the lock, as in a request.
    pub wants: Vec<PageId>,
}

/// How many pages a request may ask for and a reply may bring: 256 KiB, so that no link is busy with one
/// message for long while others wait.
///
/// ```
/// use hivemind_protocol::{PAGES_A_MESSAGE_MOST, PageId, PageRun};
/// let run = PageRun { first: PageId(0), count: 100 };
/// assert_eq!(run.split(PAGES_A_MESSAGE_MOST).count(), 2);
/// ```
pub const PAGES_A_MESSAGE_MOST: u64 = 64;

/// How many pages one flush brings home: whoever wrote a whole array flushes it in pieces, which no link needs long for.
pub(crate) const PAGES_A_FLUSH_MOST: usize = 16;

/// A whole page on its way.
///
/// ```
/// use hivemind_protocol::{PAGE_SIZE, PageCopy, PageId};
/// let (page, without) = (PageId(3), Vec::new());
/// let copy = PageCopy { page, without, bytes: Box::new([0; PAGE_SIZE].into()) };
/// assert!(copy.without.is_empty()); // it has all that its sender knew of
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct PageCopy {
    /// Which page.
    pub page: PageId,
    /// What the sender knew of but had not applied to it, ascending.
    pub without: Vec<IntervalId>,
    /// Its bytes.
    pub bytes: Box<crate::PageBuffer>,
}

/// Which writes a copy of a page contains: all those known at `known`, but `without`.
///
/// ```
/// use hivemind_protocol::{DroneId, IntervalId, IntervalIndex, Label, VectorTimestamp};
/// let lacking = IntervalId { creator: DroneId(1), index: IntervalIndex(2) };
/// let mut known = VectorTimestamp::new();
/// known.raise(lacking.creator, lacking.index);
/// let label = Label { known, without: vec![lacking] };
/// assert!(!label.covers(lacking));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct Label {
    /// What the sender knew.
    pub known: VectorTimestamp,
    /// What it knew of but had not applied, ascending.
    pub without: Vec<IntervalId>,
}

/// The end of a meeting.
///
/// ```
/// use hivemind_protocol::Met;
/// let met = Met::Together { payloads: vec![b"0".to_vec(), b"1".to_vec()], block: None };
/// assert!(!matches!(met, Met::Refused(_)));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Met {
    /// All drones made the same call.
    Together {
        /// What each brought, in the order of the drones.
        payloads: Vec<Vec<u8>>,
        /// The block that was allocated or freed, if the call was one of those.
        block: Option<Block>,
    },
    /// They did not, or the call itself was refused.
    Refused(Refusal),
}

impl Met {
    /// The block that was allocated holds zeros now, whoever had it before.
    pub(crate) fn hold_zeros(&mut self) {
        if let Self::Together {
            block: Some(block), ..
        } = self
        {
            block.fresh = true;
        }
    }
}

impl Label {
    /// Whether a copy with this label contains the writes of `interval`.
    ///
    /// ```
    /// use hivemind_protocol::{DroneId, IntervalId, IntervalIndex, Label, VectorTimestamp};
    /// let lacking = IntervalId { creator: DroneId(1), index: IntervalIndex(2) };
    /// let mut known = VectorTimestamp::new();
    /// known.raise(lacking.creator, lacking.index);
    /// let label = Label { known, without: vec![lacking] };
    /// let first = IntervalId { index: IntervalIndex(1), ..lacking };
    /// assert!(label.covers(first) && !label.covers(lacking));
    /// ```
    pub fn covers(&self, interval: IntervalId) -> bool {
        self.known.covers(interval) && self.without.binary_search(&interval).is_err()
    }
}
