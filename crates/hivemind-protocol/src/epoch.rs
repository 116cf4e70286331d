//! Epochs: how one ends for all drones at once, where pages go then, and what is forgotten.
//!
//! An epoch ends when every drone has arrived, by a meeting (`meeting`) or by a collection (`collect`).
//! Then each page that several wrote is made whole at its home (Zhou, Iftode, Li, OSDI 1996), everybody
//! else's copy of what was written is void, and intervals, notices, twins and diffs are garbage.
//!
//! Homes move to their writers only at meetings, where no program runs. A collection, and a split barrier, may end
//! an epoch under a running program: what it may see does not change then (INV-6); pages that are void become `stale`
//! and go at its next acquire.
//!
//! How arrivals come together and departures go out is in `gathering`; how the diffs of a page come to its home, and
//! wait there, in `homecoming`.

use crate::again::Unopened;
use crate::core::{Core, misbehaviour};
use crate::gathering::Departure;
use crate::homecoming::{Flushed, Homecoming};
use crate::lock::manager;
use crate::message::{Arrival, Met};
use crate::mutant::{Mutant, mutant};
use crate::note::Note;
use crate::page::{CopySet, Readers};
use crate::page_map::PageMap;
use crate::push::{PushList, in_messages};
use crate::written::Written;
use crate::{
    Access, AccessKind, Diff, DroneId, EpochId, IntervalId, IntervalIndex, MeetingKind, Memory,
    Message, Misbehaviour, PageId, PageRun, Ticket,
};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

/// Where this drone stands in its epoch.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Epoch {
    pub(crate) id: EpochId,
    phase: Phase,
    /// Whether a collection was called for this epoch.
    pub(crate) collecting: bool,
    /// Whether this drone arrives, or has arrived, for a meeting of its program.
    attends: bool,
    /// Pages to drop at the next acquire.
    pub(crate) stale: BTreeSet<PageId>,
    /// Faults that wait for the next epoch.
    pub(crate) held_faults: Vec<HeldFault>,
    /// What the program said meanwhile that it will touch.
    pub(crate) held_prefetches: Vec<PageRun>,
    /// Messages of the next epoch that came early.
    deferred: Vec<(DroneId, Message)>,
    /// Pages that come home.
    pub(crate) homecomings: PageMap<Homecoming>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Phase {
    /// As usual.
    Open,
    /// To arrive as soon as nothing is outstanding; new faults wait.
    Closing,
    /// Waiting for all others.
    Arrived,
}

/// A fault that came while the epoch ended.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct HeldFault {
    pub(crate) page: PageId,
    pub(crate) kind: AccessKind,
    pub(crate) ticket: Ticket,
}

/// What a departing drone gives to homes.
type Flushes = BTreeMap<DroneId, Flushed>;

/// What becomes of the pages that were written, when all are turned.
#[derive(Debug, Default)]
struct Turned {
    /// Its diffs of pages that live elsewhere.
    flushes: Flushes,
    /// Pages that live here, to be sent unasked.
    pushes: PushList,
    /// Pages that live elsewhere and come unasked, and whether only their homes wrote them.
    expected: Vec<(PageId, bool)>,
    /// Pages of which this drone has no whole copy now.
    void: Vec<PageId>,
    /// Pages that live here, whole, and are sent to nobody.
    alone: Vec<PageId>,
    /// Pages that live here and that only this drone wrote.
    stored: Vec<PageId>,
}

/// What is left to do of a departure when its pages have been turned.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Beginning {
    /// What is yet to be sent unasked.
    pushes: VecDeque<(DroneId, Vec<PageId>)>,
    /// What came of the meeting, if it was one.
    met: Option<Met>,
}

/// The circumstances of a departure.
#[derive(Clone, Copy)]
struct Circumstances {
    /// Homes move to writers.
    homes_move: bool,
    /// The program waits in the meeting and has written nothing since it came: pages may go at once.
    parked: bool,
    /// What is wanted at each such end is sent unasked.
    pushes: bool,
    /// Nobody will touch a page again.
    last: bool,
}

impl Epoch {
    pub(crate) fn new() -> Self {
        Self {
            id: EpochId(0),
            phase: Phase::Open,
            collecting: false,
            attends: false,
            stale: BTreeSet::new(),
            held_faults: Vec::new(),
            held_prefetches: Vec::new(),
            deferred: Vec::new(),
            homecomings: PageMap::new(),
        }
    }

    /// Where in its epoch the drone is, in a word.
    pub(crate) fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::Open => "open",
            Phase::Closing => "closing",
            Phase::Arrived => "arrived",
        }
    }

    pub(crate) fn has_arrived(&self) -> bool {
        self.phase == Phase::Arrived
    }

    /// Whether the program was in the meeting already when this drone arrived: all it wrote before it came there is in
    /// closed intervals, and it holds no lock until it comes out.
    pub(crate) fn attends(&self) -> bool {
        self.attends
    }

    /// Whether new faults have to wait for the next epoch.
    pub(crate) fn holds_faults(&self) -> bool {
        self.phase != Phase::Open
    }
}

impl<M: Memory> Core<M> {
    /// Gives the message back if it is for now; keeps it if it is for the next epoch.
    pub(crate) fn defer(
        &mut self,
        from: DroneId,
        message: Message,
    ) -> Result<Option<Message>, Misbehaviour> {
        let (mine, arrived) = (self.epoch.id, self.epoch.has_arrived());
        let next = EpochId(mine.0 + 1);
        let (fits, waits) = match &message {
            Message::PageRequest { epoch, .. } | Message::DiffRequest { epoch, .. } => {
                (*epoch == mine, *epoch == next)
            }
            // Pages may be pushed by a home that has departed already.
            Message::PageReply { epoch, .. } => (*epoch == mine, *epoch == next),
            Message::DiffReply { epoch, .. }
            | Message::PageRefused { epoch, .. }
            | Message::Arrive { epoch, .. }
            | Message::ArriveTogether { epoch, .. }
            | Message::Collect { epoch } => (*epoch == mine, false),
            Message::Depart { epoch, .. } => (*epoch == mine && arrived, false),
            // A try is answered at once, so it comes when a token may go.
            Message::LockRequest {
                forwarded: true,
                tries: true,
                epoch,
                ..
            } if arrived && !self.epoch.attends() => (false, *epoch <= next),
            Message::LockRequest { epoch, .. } => (*epoch <= mine, *epoch == next),
            // So is what a try makes a drone ask of the one before it in line; on its way there nothing waits.
            Message::LockSought {
                epoch,
                lock,
                requester,
            } if arrived
                && !self.epoch.attends()
                && *requester != self.me
                && manager(*lock, self.drones) == from =>
            {
                (false, *epoch <= next)
            }
            // These come behind tokens, and may not be taken before them.
            Message::LockSought { epoch, .. } | Message::LockTaken { epoch, .. } => {
                (*epoch <= mine, *epoch == next)
            }
            Message::LockGrant { epoch, .. } if mutant(Mutant::UnopenedWaits) => {
                (*epoch <= mine && !arrived, *epoch <= next)
            }
            Message::LockGrant { epoch, .. } => (*epoch <= mine, *epoch == next),
            Message::CollectWanted { epoch } => (*epoch <= mine, false),
            // Void ones may come late.
            Message::PagePush { epoch, .. } => (*epoch <= mine, *epoch == next),
            // A flush belongs to the epoch after the one that it ends.
            Message::Flush { epoch, .. } => (*epoch < mine, *epoch == mine),
            // These have to do with no intervals.
            Message::LockTried { .. }
            | Message::Wake { .. }
            | Message::Allocate { .. }
            | Message::Measure { .. }
            | Message::Free { .. }
            | Message::HeapReply { .. } => (true, false),
        };
        if fits || (waits && mutant(Mutant::EarlyMessageTaken)) {
            return Ok(Some(message));
        }
        if !waits {
            let what = alloc::format!("its {} does not belong into {mine}", message.name());
            return Err(misbehaviour(from, &what));
        }
        self.epoch.deferred.push((from, message));
        Ok(None)
    }

    /// Arrives at the epoch's end, if somebody wants it to end and nothing is outstanding here.
    pub(crate) fn try_arrive(&mut self) {
        let wanted = self.calls.meeting().is_some() || self.epoch.collecting;
        if self.epoch.has_arrived() || !wanted {
            return;
        }
        let meeting = self.calls.meeting().cloned();
        self.epoch.phase = Phase::Closing;
        let comes = meeting.is_some() && !core::mem::replace(&mut self.epoch.attends, true);
        if comes {
            self.close_last_interval();
        }
        if comes && !self.calls.is_split() {
            self.drop_stale();
            if !mutant(Mutant::BlindWritesLeft) {
                for page in self.log.blind.clone() {
                    self.fetch_for_itself(page);
                }
            }
        }
        let coming = self.epoch.awaits_any_flush();
        if !self.fetches.is_empty() || coming || self.epoch.has_arrived() {
            return;
        }
        // Where the program has come to a meeting this was done: stores since then count for the next epoch, as those after the arrival.
        self.close_interval();
        self.epoch.phase = Phase::Arrived;
        let intervals = self.log.of(self.me).cloned().collect();
        let declined = match meeting {
            Some(_) => self.decline_untouched(),
            None => Vec::new(),
        };
        // Of what is freed nobody wants a page.
        let drops = |kind| matches!(kind, MeetingKind::Leave | MeetingKind::Free(_));
        let goes_on = meeting.as_ref().is_some_and(|part| !drops(part.kind));
        self.arrive(Arrival {
            intervals,
            meeting,
            declined,
        });
        self.go_on_from_arrival();
        if goes_on {
            self.plan_early();
        }
    }

    /// The epoch is over, for this drone as well.
    pub(crate) fn take_departure(&mut self, departure: Departure) -> Result<(), Misbehaviour> {
        let Departure {
            from,
            intervals,
            mut met,
            declined,
        } = departure;
        for interval in self.news(from, intervals)? {
            self.log.insert(interval);
        }
        self.drop_declined(&declined);
        self.forget_landed();
        let circumstances = self.circumstances(met.as_ref());
        let freed = self.freed(met.as_ref());
        let anew = self.taken_anew(met.as_ref());
        if let Some(pages) = freed.or(anew) {
            self.pushes.forget_all(pages);
        }
        let turned = self.turn_pages(circumstances);
        self.make_void(turned.void, circumstances.parked);
        self.open_alone(turned.alone, circumstances.parked);
        self.note_stored(turned.stored);
        if let Some(pages) = freed {
            self.forget_freed(pages);
        }
        if let Some(pages) = anew {
            self.make_anew(pages);
            met.iter_mut().for_each(Met::hold_zeros);
        }
        if circumstances.parked {
            self.close_unfilled();
        }
        if circumstances.last {
            self.epoch.held_prefetches.clear();
        }
        self.log.clear();
        self.locks.unopened.values_mut().for_each(Unopened::clear);
        self.spare.end_epoch();
        let epoch = self.epoch.id;
        let collection = met.is_none();
        self.notes.add(|| Note::EpochEnded { epoch, collection });
        self.epoch.id.0 += 1;
        if mutant(Mutant::EpochWraps) {
            self.epoch.id.0 %= 1 << 8;
        }
        self.epoch.phase = Phase::Open;
        self.epoch.collecting = false;
        self.epoch.attends = false;
        self.early.end_epoch();
        for (home, pages) in turned.flushes {
            self.send_flush(home, epoch, pages);
        }
        self.expect_pushes(turned.expected);
        self.open_due(circumstances.parked);
        let pushes = in_messages(turned.pushes);
        self.beginning = Some(Beginning { pushes, met });
        Ok(())
    }

    /// How this drone departs. Whether homes move, all must see alike, and where a meeting was refused they did not all make the
    /// same call. Not at a split barrier: what a home's program writes on has no twin there, and would be lost with the home.
    fn circumstances(&self, met: Option<&Met>) -> Circumstances {
        let split = self.calls.is_split();
        let together = matches!(met, Some(Met::Together { .. }));
        Circumstances {
            homes_move: together && (!split || mutant(Mutant::HomesMoveUnderWriters)),
            parked: self.epoch.attends() && (!split || mutant(Mutant::SplitTakesAtOnce)),
            pushes: met.is_some(),
            last: met.is_some() && self.calls.is_leaving(),
        }
    }

    /// The next part of an epoch's beginning: a message of pages that are pushed, so that it is under way, and its memory free,
    /// while the next one is put together; in the end all that waited for this epoch.
    pub(crate) fn go_on_beginning(&mut self) {
        let Some(beginning) = &mut self.beginning else {
            return;
        };
        match beginning.pushes.pop_front() {
            Some((to, pages)) => self.push_pages(to, &pages),
            None => {
                let met = beginning.met.take();
                self.beginning = None;
                self.begin_epoch(met);
            }
        }
    }

    /// What waited for this epoch goes on.
    fn begin_epoch(&mut self, met: Option<Met>) {
        match met {
            Some(met) => self.end_meeting(met),
            None => self.stats.collections += 1,
        }
        self.take_early();
        for (from, message) in core::mem::take(&mut self.epoch.deferred) {
            self.requeue(from, message);
        }
        for HeldFault { page, kind, ticket } in core::mem::take(&mut self.epoch.held_faults) {
            self.fault(page, kind, ticket);
        }
        for pages in core::mem::take(&mut self.epoch.held_prefetches) {
            self.prefetch(pages);
        }
        self.take_awaited();
        self.come_out();
        self.pass_on_owed();
        self.try_arrive();
    }

    /// Brings every page that was written in this epoch to its home.
    fn turn_pages(&mut self, circumstances: Circumstances) -> Turned {
        let runs = self.log.all().flat_map(|interval| {
            let runs = interval.pages.iter();
            runs.map(|run| (*run, interval.id))
        });
        let mut written = Written::new(runs);
        let mut turned = Turned::default();
        while let Some((run, writers)) = written.next() {
            for page in run.pages() {
                self.turn_page(page, writers, circumstances, &mut turned);
            }
        }
        turned
    }

    /// Brings a page home that these intervals wrote, ascending.
    fn turn_page(
        &mut self,
        page: PageId,
        writers: &[IntervalId],
        circumstances: Circumstances,
        turned: &mut Turned,
    ) {
        let pushes = circumstances.pushes && !circumstances.last;
        let old = self.pages.get_mut(page).home;
        let home = match circumstances.homes_move {
            true => home_after(page, writers, old),
            false => old,
        };
        if home != old && !mutant(Mutant::PushOutlivesHome) {
            self.pushes.forget(page);
        }
        let of_one = is_of_one(writers, home);
        if home != self.me {
            if let Some(own) = self.leave_home(page, home, writers, circumstances) {
                turned.flushes.entry(home).or_default().push((page, own));
            }
            if pushes && self.pushes.is_sent_here(page) {
                turned.expected.push((page, of_one));
            }
            return turned.void.push(page);
        }
        let whole = self.bring_home(page, writers, circumstances);
        if pushes && of_one {
            turned.stored.push(page);
        }
        self.pushes.note_writers(page, of_one);
        let subscribers: Vec<DroneId> = self.pushes.subscribers(page).collect();
        match (whole, pushes && !subscribers.is_empty()) {
            (true, false) => turned.alone.push(page),
            (true, true) => {
                for to in subscribers {
                    if !of_one || !self.early.went_to(to, page) {
                        turned.pushes.entry(to).or_default().push(page);
                    } else {
                        self.pages.get_mut(page).copies.insert(to);
                    }
                }
            }
            (false, pushed) => {
                for to in subscribers.into_iter().filter(|_| pushed) {
                    self.epoch.wait_for_flush(page, to);
                }
                turned.void.push(page);
            }
        }
    }

    /// The page lives here from now on; gives whether all of it is here.
    fn bring_home(
        &mut self,
        page: PageId,
        writers: &[IntervalId],
        circumstances: Circumstances,
    ) -> bool {
        let me = self.me;
        let entry = self.pages.get_mut(page);
        assert!(entry.based, "INV-4: a home without the whole page");
        entry.home = me;
        if !mutant(Mutant::OldCopysetKept) {
            entry.copies = CopySet::Nobody;
        }
        if !mutant(Mutant::TwinKept) {
            self.spare.give_twin(entry.twin.take());
        }
        let history = entry.history.take();
        let applied = |id: IntervalId| {
            let mut notices = history.iter().flat_map(|history| &history.notices);
            id.creator == me || notices.any(|notice| notice.interval == id && notice.applied)
        };
        let lacks = writers.iter().copied().filter(|id| !applied(*id));
        let mut lacks = lacks.peekable();
        if lacks.peek().is_none() || circumstances.last {
            return true;
        }
        let expected: BTreeMap<_, _> = lacks.map(|id| (id, self.log.weight(id))).collect();
        self.epoch.await_flushes(page, expected);
        false
    }

    /// The page lives elsewhere; gives this drone's diffs for its home, if it wrote any of it.
    fn leave_home(
        &mut self,
        page: PageId,
        home: DroneId,
        writers: &[IntervalId],
        circumstances: Circumstances,
    ) -> Option<Vec<(IntervalIndex, Diff)>> {
        let wrote = writers.iter().any(|id| id.creator == self.me);
        let history = self.pages.get_mut(page).history.as_ref();
        // Only what hides closed intervals: then the home lacks them and waits for this flush. Stores after
        // the arrival belong to the next epoch, and stay behind the twin.
        let hides = history.is_some_and(|history| history.uncut.is_some());
        let hides = hides && !mutant(Mutant::FlushWithoutCut);
        if (hides || mutant(Mutant::LaterStoresFlushed)) && !circumstances.last {
            self.cut(page);
        }
        let entry = self.pages.get_mut(page);
        if !mutant(Mutant::OldHomeKept) {
            entry.home = home;
        }
        entry.based = false;
        self.fetches.forget_arrived(page, &mut self.spare);
        entry.unwanted |= core::mem::take(&mut entry.ahead);
        entry.copies = CopySet::Nobody;
        entry.readers = Readers::NONE;
        // Mostly nothing is known but that another wrote it.
        let own = match entry.history.take() {
            Some(history) => self.own_of_the_epoch(page, history.own),
            None => Vec::new(),
        };
        (wrote && !circumstances.last).then_some(own)
    }

    /// Of this drone's diffs of a page those of the epoch that is over; later ones stay.
    fn own_of_the_epoch(
        &mut self,
        page: PageId,
        own: Vec<(IntervalIndex, Diff)>,
    ) -> Vec<(IntervalIndex, Diff)> {
        let open = self.log.open_index(self.me);
        let ended = |index: IntervalIndex| {
            (index < open || mutant(Mutant::LaterStoresFlushed)) && !mutant(Mutant::DiffsKept)
        };
        let (own, later): (Vec<_>, Vec<_>) = own.into_iter().partition(|(index, _)| ended(*index));
        if !later.is_empty() {
            // Cut since the arrival, because somebody asked: the next epoch's first interval.
            let first = IntervalIndex(1);
            let later = later.into_iter().map(|(_, diff)| (first, diff));
            self.pages.get_mut(page).history_mut().own = later.collect();
        }
        own
    }

    /// Takes pages from the program: now if it waits, at its next acquire if it runs.
    fn make_void(&mut self, pages: Vec<PageId>, parked: bool) {
        let valid = pages.into_iter().filter(|page| {
            let entry = self.pages.get_mut(*page);
            entry.stale |= entry.access != Access::Invalid;
            entry.access != Access::Invalid
        });
        let valid: Vec<PageId> = valid.collect();
        if parked {
            self.invalidate(valid);
        } else {
            self.epoch.stale.extend(valid);
        }
    }

    /// Pages that only this drone wrote: nobody has a copy now, so its stores need not be noticed, unless somebody is likely
    /// to want one.
    fn open_alone(&mut self, pages: Vec<PageId>, parked: bool) {
        let open = pages.into_iter().filter(|page| {
            let entry = self.pages.get_mut(*page);
            let opens = entry.access == Access::ReadOnly && entry.is_alone();
            entry.readers.end_epoch();
            if opens {
                entry.access = Access::ReadWrite;
            }
            opens
        });
        for run in PageRun::join(open.collect::<Vec<_>>()) {
            if parked {
                self.memory.hide(run);
            }
            self.memory.set_access(run, Access::ReadWrite);
        }
    }
}

/// Where a page goes after an epoch. All drones come to the same answer.
fn home_after(page: PageId, writers: &[IntervalId], home: DroneId) -> DroneId {
    let only = writers[0].creator;
    if writers[writers.len() - 1].creator == only {
        return only;
    }
    let mut drones: Vec<DroneId> = writers.iter().map(|id| id.creator).collect();
    drones.dedup();
    match drones.binary_search(&home) {
        Ok(_) => home,
        Err(_) => drones[(page.0 % drones.len() as u64) as usize],
    }
}

/// Whether only this drone wrote the page.
fn is_of_one(writers: &[IntervalId], drone: DroneId) -> bool {
    writers.iter().all(|id| id.creator == drone)
}
