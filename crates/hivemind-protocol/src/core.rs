//! The core as a value: its parts, the way in and the way out. What goes to which protocol is in `dispatch`; each protocol's
//! rules live in its own file: `fault`, `interval`, `lock`, `meeting`, `epoch`, `collect`.

use crate::early::Early;
use crate::epoch::{Beginning, Epoch};
use crate::fetch::Fetches;
use crate::gathering::{Departure, Gathering};
use crate::interval::IntervalLog;
use crate::lock::LockTable;
use crate::meeting::Calls;
use crate::note::{Note, Notes};
use crate::page::PageTable;
use crate::push::Pushes;
use crate::rhythm::Dues;
use crate::spare::SparePages;
use crate::tree::Tree;
use crate::walk::Walks;
use crate::{
    DroneId, Economies, Effect, Event, Failure, Heap, Memory, Message, Misbehaviour, Outcome,
    PAGE_SIZE, Stats, Ticket, WireError,
};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

/// What a core must know at its start. Chosen at run time, the same on all drones but for `me`.
///
/// ```
/// use hivemind_protocol::{CoreConfig, DroneId, Economies, FAN_OUT};
/// let config = CoreConfig {
///     me: DroneId(0),
///     drones: 1,
///     pages: 16,
///     metadata_limit_bytes: 1 << 20,
///     fan_out: FAN_OUT,
///     economies: Economies::default(),
/// };
/// let other = CoreConfig { me: DroneId(1), ..config };
/// assert_eq!(other.pages, config.pages);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CoreConfig {
    /// This drone.
    pub me: DroneId,
    /// How many drones there are; at least 1.
    pub drones: u32,
    /// How many pages the region has.
    pub pages: u64,
    /// How large intervals, notices and diffs may grow in bytes before this drone asks for a collection.
    pub metadata_limit_bytes: u64,
    /// For how many others a drone waits at an epoch's end, at least 1; [`FAN_OUT`](crate::FAN_OUT) unless a test wants a
    /// deep tree of few drones.
    pub fan_out: u32,
    /// Which ways of saving messages are in use. May differ from drone to drone.
    pub economies: Economies,
}

/// The protocol of one drone. The same events in the same order give the same effects.
///
/// Two drones, of which one takes a lock whose token lies at the other. Whoever drives a core carries its
/// messages and wakes whom a ticket stands for:
///
/// ```
/// use hivemind_protocol::{
///     Access, Command, Core, CoreConfig, DroneId, Economies, Effect, Event, FAN_OUT, LockId, Memory,
///     Outcome, PageBytes, PageId, PageRun, Ticket, WriteDetection,
/// };
///
/// struct Zeros;
/// impl Memory for Zeros {
///     fn write_detection(&self) -> WriteDetection { WriteDetection::Traps }
///     fn set_access(&mut self, _: PageRun, _: Access) {}
///     fn read(&self, _: PageId, into: &mut PageBytes) { into.fill(0) }
///     fn write(&mut self, _: PageId, _: usize, _: &[u8]) {}
///     fn take_written(&mut self, _: &mut Vec<PageRun>) {}
/// }
///
/// let core = |me| Core::new(CoreConfig {
///     me: DroneId(me),
///     drones: 2,
///     pages: 16,
///     metadata_limit_bytes: 1 << 20,
///     fan_out: FAN_OUT,
///     economies: Economies::default(),
/// }, Zeros);
/// let mut drones = [core(0), core(1)];
///
/// let mut effects = Vec::new();
/// let wants = Event::Command { command: Command::Acquire(LockId(0)), ticket: Ticket(7) };
/// drones[1].handle(wants, &mut effects).unwrap();
/// let mut here = DroneId(1);
/// let done = loop {
///     match effects.pop().expect("something is always under way") {
///         Effect::Send { to, message } => {
///             let comes = Event::Message { from: here, message };
///             drones[to.0 as usize].handle(comes, &mut effects).unwrap();
///             here = to;
///         }
///         Effect::Complete { ticket, result } => break (ticket, result),
///     }
/// };
/// assert_eq!(done, (Ticket(7), Ok(Outcome::Done)));
/// ```
///
/// Two cores are equal when the same events make them do the same from here on, to the last effect. What was
/// only counted or noted is left out of the comparison (and of the hash): nothing is ever decided by [`Stats`] or a
/// [`Note`].
#[derive(Clone, Debug)]
pub struct Core<M> {
    pub(crate) me: DroneId,
    pub(crate) drones: u32,
    pub(crate) memory: M,
    pub(crate) pages: PageTable,
    pub(crate) log: IntervalLog,
    pub(crate) epoch: Epoch,
    pub(crate) fetches: Fetches,
    pub(crate) walks: Walks,
    pub(crate) pushes: Pushes,
    pub(crate) early: Early,
    pub(crate) dues: Dues,
    pub(crate) locks: LockTable,
    pub(crate) calls: Calls,
    pub(crate) tree: Tree,
    pub(crate) gathering: Gathering,
    /// A departure that those below have been told of, and that this drone has yet to take.
    pub(crate) departure: Option<Departure>,
    /// An epoch that has yet to begin.
    pub(crate) beginning: Option<Beginning>,
    /// Only the first drone keeps it.
    pub(crate) heap: Option<Heap>,
    pub(crate) stats: Stats,
    pub(crate) notes: Notes,
    pub(crate) metadata_limit_bytes: u64,
    pub(crate) economies: Economies,
    lost: Option<DroneId>,
    /// Messages to handle before this event is over: this drone's own to itself, and those that were
    /// deferred and whose time has come.
    inbox: VecDeque<(DroneId, Message)>,
    effects: Vec<Effect>,
    pub(crate) spare: SparePages,
}

impl<M: Memory> Core<M> {
    /// A drone at the start: every page zero, every lock's token at its manager.
    ///
    /// ```
    #[doc = alone!()]
    /// let core = Core::new(config, Zeros);
    /// assert_eq!(core.stats().read_faults, 0);
    /// ```
    pub fn new(config: CoreConfig, memory: M) -> Self {
        assert!(
            config.me.0 < config.drones,
            "a drone's number is below the number of drones"
        );
        let tree = Tree::new(config.drones, config.fan_out);
        Self {
            me: config.me,
            drones: config.drones,
            memory,
            pages: PageTable::new(config.drones, config.pages),
            log: IntervalLog::new(),
            epoch: Epoch::new(),
            fetches: Fetches::new(),
            walks: Walks::new(),
            pushes: Pushes::new(),
            early: Early::new(),
            dues: Dues::default(),
            locks: LockTable::new(),
            calls: Calls::new(),
            tree,
            gathering: Gathering::new(tree, config.me),
            departure: None,
            beginning: None,
            heap: (config.me == DroneId::FIRST).then(|| Heap::new(config.pages * PAGE_SIZE as u64)),
            stats: Stats::default(),
            notes: Notes::default(),
            metadata_limit_bytes: config.metadata_limit_bytes,
            economies: config.economies,
            lost: None,
            inbox: VecDeque::new(),
            effects: Vec::new(),
            spare: SparePages::default(),
        }
    }

    /// What was counted so far.
    ///
    /// ```
    /// use hivemind_protocol::{AccessKind, Event, Ticket};
    #[doc = alone!()]
    /// # let mut core = Core::new(config, Zeros);
    /// let mut effects = Vec::new();
    /// let (page, kind, ticket) = (PageId(3), AccessKind::Read, Ticket(1));
    /// core.handle(Event::Fault { page, kind, ticket }, &mut effects).expect("no message, so no misbehaviour");
    /// assert_eq!(core.stats().read_faults, 1);
    /// ```
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// From now on [`Note`]s are kept. Whoever asks for that takes them after every event.
    ///
    /// ```
    #[doc = alone!()]
    /// # let mut core = Core::new(config, Zeros);
    /// core.observe();
    /// let mut notes = Vec::new();
    /// core.take_notes(&mut notes);
    /// assert!(notes.is_empty()); // nothing has happened
    /// ```
    pub fn observe(&mut self) {
        self.notes.begin();
    }

    /// Appends what was noted since the last call.
    ///
    /// ```
    #[doc = alone!()]
    /// # let mut core = Core::new(config, Zeros);
    /// let mut notes = Vec::new();
    /// core.take_notes(&mut notes); // nobody observes: there is nothing to take
    /// assert!(notes.is_empty());
    /// ```
    pub fn take_notes(&mut self, into: &mut Vec<Note>) {
        self.notes.take(into);
    }

    /// Local memory.
    ///
    /// ```
    #[doc = alone!()]
    /// # let mut core = Core::new(config, Zeros);
    /// assert_eq!(core.memory().write_detection(), WriteDetection::Traps);
    /// ```
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Local memory, to change. What the core may rely on is written at [`Memory`].
    ///
    /// ```
    #[doc = alone!()]
    /// # let mut core = Core::new(config, Zeros);
    /// core.memory_mut().set_access(PageRun::one(PageId(0)), Access::Invalid);
    /// ```
    pub fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }

    /// Takes one event and appends what is to be done about it, in order.
    ///
    /// ```
    /// use hivemind_protocol::{AccessKind, Effect, Event, Outcome, Ticket};
    #[doc = alone!()]
    /// # let mut core = Core::new(config, Zeros);
    /// let mut effects = Vec::new();
    /// let (page, kind, ticket) = (PageId(3), AccessKind::Read, Ticket(1));
    /// core.handle(Event::Fault { page, kind, ticket }, &mut effects).expect("no message, so no misbehaviour");
    /// let result = Ok(Outcome::Done); // alone, a drone has every page
    /// assert_eq!(effects, [Effect::Complete { ticket, result }]);
    /// ```
    ///
    /// # Errors
    /// A message that no correct peer sends. Nothing that it asked for was done; its sender is to be cut off.
    ///
    /// # Panics
    /// When an invariant of this drone is broken: the assertion names it (INV-n, docs/ARCHITECTURE.md).
    pub fn handle(&mut self, event: Event, effects: &mut Vec<Effect>) -> Result<(), Misbehaviour> {
        let mut more = self.begin(event, effects)?;
        while more {
            more = self.go_on(effects)?;
        }
        Ok(())
    }

    /// As [`handle`](Self::handle), but comes back as soon as there is something to send for which many wait, though work
    /// is left (then it gives true). Whoever sends the effects first and calls [`go_on`](Self::go_on) after that, before
    /// anything else, keeps the others waiting for less long.
    ///
    /// ```
    /// use hivemind_protocol::{AccessKind, Event, Ticket};
    #[doc = alone!()]
    /// # let mut core = Core::new(config, Zeros);
    /// let mut effects = Vec::new();
    /// let (page, kind, ticket) = (PageId(3), AccessKind::Read, Ticket(1));
    /// let mut more = core.begin(Event::Fault { page, kind, ticket }, &mut effects)?;
    /// while more {
    ///     // Here the effects would be seen to.
    ///     more = core.go_on(&mut effects)?;
    /// }
    /// # Ok::<(), hivemind_protocol::Misbehaviour>(())
    /// ```
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    ///
    /// # Panics
    /// As [`handle`](Self::handle); and if it is called again before all is done.
    pub fn begin(&mut self, event: Event, effects: &mut Vec<Effect>) -> Result<bool, Misbehaviour> {
        assert!(
            !self.has_more(),
            "INV-14: an event comes before the one before is done"
        );
        let result = match event {
            Event::Fault { page, kind, ticket } => {
                self.fault(page, kind, ticket);
                Ok(())
            }
            Event::Command { command, ticket } => {
                self.command(command, ticket);
                Ok(())
            }
            Event::Message { from, message } => {
                self.stats.messages_received += 1;
                self.message(from, message)
            }
            Event::Lost { drone } => {
                self.lose(drone);
                Ok(())
            }
        };
        self.finish(result, effects)
    }

    /// Does the next part of what [`begin`](Self::begin) left, which shows how it is used; gives whether more is left.
    ///
    /// ```
    #[doc = alone!()]
    /// # let mut core = Core::new(config, Zeros);
    /// assert_eq!(core.go_on(&mut Vec::new()), Ok(false)); // nothing was left
    /// ```
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn go_on(&mut self, effects: &mut Vec<Effect>) -> Result<bool, Misbehaviour> {
        let result = match self.departure.take() {
            Some(departure) => self.take_departure(departure),
            None if self.beginning.is_some() => {
                self.go_on_beginning();
                Ok(())
            }
            None => {
                self.go_on_arriving();
                Ok(())
            }
        };
        self.finish(result, effects)
    }

    /// What comes after each event, and each part of one.
    fn finish(
        &mut self,
        result: Result<(), Misbehaviour>,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, Misbehaviour> {
        let result = result.and_then(|()| self.empty_inbox());
        self.mind_limit();
        let result = result.and_then(|()| self.empty_inbox());
        self.ask_for_pages();
        self.note_metadata();
        effects.append(&mut self.effects);
        result.map(|()| self.has_more())
    }

    /// Whether something of the latest event is left to do.
    fn has_more(&self) -> bool {
        self.is_amid_departure() || self.early.is_going()
    }

    fn is_amid_departure(&self) -> bool {
        self.departure.is_some() || self.beginning.is_some()
    }

    /// Makes memory for so many pages that come with messages, before they come: the first ones then take no longer than
    /// all others. It is kept as long as the core lives.
    ///
    /// ```
    #[doc = alone!()]
    /// # let mut core = Core::new(config, Zeros);
    /// core.reserve_pages(256); // 1 MiB
    /// ```
    pub fn reserve_pages(&mut self, count: usize) {
        self.spare.reserve(count);
    }

    /// Reads a message that fills `bytes` exactly, as [`Message::decode`] does. What earlier ones left behind is where
    /// its pages go.
    ///
    /// ```
    /// use hivemind_protocol::{EpochId, Message};
    #[doc = alone!()]
    /// # let mut core = Core::new(config, Zeros);
    /// let message = Message::CollectWanted { epoch: EpochId(3) };
    /// let mut bytes = Vec::new();
    /// message.encode(&mut bytes);
    /// assert_eq!(core.read_message(&bytes), Ok(message));
    /// ```
    ///
    /// # Errors
    /// As [`Message::decode`].
    pub fn read_message(&mut self, bytes: &[u8]) -> Result<Message, WireError> {
        Message::decode_into(bytes, &mut self.spare)
    }

    /// Takes a message back that was to be sent and has been: its pages' memory is used again.
    ///
    /// ```
    /// use hivemind_protocol::{EpochId, Message};
    #[doc = alone!()]
    /// # let mut core = Core::new(config, Zeros);
    /// core.take_back(Message::CollectWanted { epoch: EpochId(3) });
    /// ```
    pub fn take_back(&mut self, message: Message) {
        self.spare.give_message(message);
    }

    fn empty_inbox(&mut self) -> Result<(), Misbehaviour> {
        while !self.is_amid_departure()
            && let Some((from, message)) = self.inbox.pop_front()
        {
            self.message(from, message)?;
        }
        Ok(())
    }

    /// A drone is gone: every wait ends, now and from now on.
    fn lose(&mut self, drone: DroneId) {
        if self.lost.is_some() {
            return;
        }
        self.lost = Some(drone);
        let mut waiting: Vec<Ticket> = Vec::new();
        waiting.extend(self.fetches.tickets());
        waiting.extend(self.epoch.held_faults.iter().map(|fault| fault.ticket));
        waiting.extend(self.locks.give_up());
        waiting.extend(self.calls.tickets());
        for ticket in waiting {
            self.complete(ticket, Err(Failure::Lost(drone)));
        }
        self.fetches = Fetches::new();
        self.early = Early::new();
        self.epoch.held_faults.clear();
        self.epoch.held_prefetches.clear();
        self.calls = Calls::new();
    }

    /// Which drone is lost, if one is.
    pub(crate) fn lost(&self) -> Option<DroneId> {
        self.lost
    }

    /// Sends to a peer, or to this drone itself by the same way.
    pub(crate) fn send(&mut self, to: DroneId, message: Message) {
        if to == self.me {
            return self.inbox.push_back((to, message));
        }
        self.stats.messages_sent += 1;
        self.effects.push(Effect::Send { to, message });
    }

    /// Hands a message in again whose time has come.
    pub(crate) fn requeue(&mut self, from: DroneId, message: Message) {
        self.inbox.push_back((from, message));
    }

    pub(crate) fn complete(&mut self, ticket: Ticket, result: Result<Outcome, Failure>) {
        self.effects.push(Effect::Complete { ticket, result });
    }

    /// All that decides what this core does next. A field that is added has to be sorted in here.
    fn deciding(&self) -> impl PartialEq + Hash + '_
    where
        M: PartialEq + Hash,
    {
        let Self {
            me,
            drones,
            memory,
            pages,
            log,
            epoch,
            fetches,
            walks,
            pushes,
            early,
            dues,
            locks,
            calls,
            tree,
            gathering,
            departure,
            beginning,
            heap,
            stats: _,
            notes: _,
            metadata_limit_bytes,
            economies,
            lost,
            inbox,
            effects,
            spare: _,
        } = self;
        let place = (me, drones, metadata_limit_bytes, economies, lost);
        let tables = (
            pages,
            log,
            epoch,
            (fetches, walks, (pushes, early), dues),
            locks,
            (calls, tree, gathering, departure, beginning, heap),
        );
        (place, memory, tables, inbox, effects)
    }

    pub(crate) fn drones(&self) -> impl Iterator<Item = DroneId> + use<M> {
        (0..self.drones).map(DroneId)
    }

    /// The page that a peer speaks of, if the region has it.
    pub(crate) fn check_page(
        &self,
        from: DroneId,
        page: crate::PageId,
    ) -> Result<(), Misbehaviour> {
        if self.pages.has(page) {
            return Ok(());
        }
        let count = self.pages.count();
        Err(misbehaviour(
            from,
            &format!("it speaks of {page}; the region has {count} pages"),
        ))
    }

    /// The pages that a peer speaks of, if the region has them all.
    pub(crate) fn check_run(&self, from: DroneId, run: crate::PageRun) -> Result<(), Misbehaviour> {
        self.check_page(from, crate::PageId(run.end().0.saturating_sub(1)))
    }
}

impl<M: Memory + PartialEq + Hash> PartialEq for Core<M> {
    fn eq(&self, other: &Self) -> bool {
        self.deciding() == other.deciding()
    }
}

impl<M: Memory + Eq + Hash> Eq for Core<M> {}

impl<M: Memory + PartialEq + Hash> Hash for Core<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.deciding().hash(state);
    }
}

/// A peer's fault, in its words.
pub(crate) fn misbehaviour(peer: DroneId, what: &str) -> Misbehaviour {
    Misbehaviour {
        peer,
        what: String::from(what),
    }
}
