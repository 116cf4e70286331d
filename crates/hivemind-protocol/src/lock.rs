//! Locks: a manager that knows the last requester, a queue that lives with the holders, a token that stays
//! where it was used last. (Keleher et al., USENIX Winter 1994, section 2.2.)
//!
//! What a grant's intervals do lives in `interval`; a wish that goes with the token, in `again`; who sleeps until a condition is signalled, in `condition`.

use crate::again::{Again, Unopened};
use crate::condition::{Stage, Wait};
use crate::core::{Core, misbehaviour};
use crate::grant::Holding;
use crate::message::{Interval, NextWish};
use crate::mutant::{Mutant, mutant};
use crate::trial::Trial;
use crate::{
    DroneId, EpochId, LockId, LockState, MeetingKind, Memory, Message, Misbehaviour, Outcome,
    PageCopy, PageId, Refusal, Sleeper, Ticket, VectorTimestamp,
};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

/// Somebody's wish for a lock.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Wish {
    pub(crate) requester: DroneId,
    /// The requester's epoch when it asked.
    pub(crate) epoch: EpochId,
    /// What it knew then.
    pub(crate) known: VectorTimestamp,
    /// The pages that it wants with the lock.
    pub(crate) wants: Vec<PageId>,
    /// Whether it wants the lock only if that is free.
    pub(crate) tries: bool,
    /// Whether it came with the token, from a program that has not asked.
    pub(crate) ahead: bool,
}

impl Wish {
    /// The message that takes it from the manager to the last in line.
    pub(crate) fn forwarded(self, lock: LockId) -> Message {
        let Self {
            requester,
            epoch,
            known,
            wants,
            tries,
            ahead: _,
        } = self;
        Message::LockRequest {
            epoch,
            lock,
            requester,
            known,
            forwarded: true,
            wants,
            tries,
        }
    }
}

/// What a token brings.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) epoch: EpochId,
    pub(crate) intervals: Vec<Interval>,
    pub(crate) sleepers: Vec<Sleeper>,
    pub(crate) known: VectorTimestamp,
    pub(crate) pages: Vec<PageCopy>,
    pub(crate) again: Option<NextWish>,
}

/// All locks that this drone ever had to do with.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct LockTable {
    locks: BTreeMap<LockId, Lock>,
    /// Those that the program holds.
    pub(crate) held: BTreeSet<LockId>,
    /// What it touches under the one that it took last.
    pub(crate) holding: Holding,
    /// The one that the program waits for.
    pub(crate) waiting: Option<Wait>,
    /// Those that somebody waits for and that could not be sent on between arrival and departure.
    owed: BTreeSet<LockId>,
    /// What came with tokens that are here and that the program has not taken.
    pub(crate) unopened: BTreeMap<LockId, Unopened>,
    /// The one that was given away last, if the program has made no other call since.
    pub(crate) gave: Option<LockId>,
}

#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Lock {
    /// Whether the token is here.
    pub(crate) token: bool,
    /// Whom the token goes to next.
    pub(crate) next: Option<Wish>,
    /// At the manager: who asked last.
    pub(crate) tail: DroneId,
    /// At the manager: a try whose end is not known.
    pub(crate) trial: Option<Trial>,
    /// The pages that the program touched when it held the lock last.
    pub(crate) touched: Vec<PageId>,
    /// Whether its next wish goes with the token.
    pub(crate) again: Again,
    /// With the token: who sleeps until a condition of the lock is signalled, in the order in which they fell asleep.
    pub(crate) sleepers: Vec<Sleeper>,
}

impl LockTable {
    pub(crate) fn new() -> Self {
        Self {
            locks: BTreeMap::new(),
            held: BTreeSet::new(),
            holding: Holding::default(),
            waiting: None,
            owed: BTreeSet::new(),
            unopened: BTreeMap::new(),
            gave: None,
        }
    }

    /// Whether the program waits for a token, or sleeps before it asks for one.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether the program waits for this lock, awake.
    pub(crate) fn is_awaited(&self, id: LockId) -> bool {
        self.waiting
            .is_some_and(|wait| wait.lock == id && !matches!(wait.stage, Stage::Asleep(_)))
    }

    /// Whether this drone is in line for a token that has not come.
    fn is_coming(&self, id: LockId) -> bool {
        let ahead = self.locks.get(&id).is_some_and(|lock| lock.again.ahead);
        (self.is_awaited(id) || ahead) && !self.has_token(id)
    }

    /// Whether this token is here.
    pub(crate) fn has_token(&self, id: LockId) -> bool {
        self.locks.get(&id).is_some_and(|lock| lock.token)
    }

    /// The trial of this lock, at its manager.
    pub(crate) fn trial(&self, id: LockId) -> Option<&Trial> {
        self.locks.get(&id)?.trial.as_ref()
    }

    /// The ticket that waits for a token, which it will not get any more.
    pub(crate) fn give_up(&mut self) -> Option<Ticket> {
        self.waiting.take().map(|wait| wait.ticket)
    }

    /// Every lock, for people.
    pub(crate) fn states(&self) -> BTreeMap<LockId, LockState> {
        let state = |(id, lock): (&LockId, &Lock)| {
            let state = LockState {
                token: lock.token,
                held: self.held.contains(id),
                wanted: self.waiting.is_some_and(|wait| wait.lock == *id),
                ahead: lock.again.ahead,
                unopened: self.unopened.contains_key(id),
                next: lock.next.as_ref().map(|wish| wish.requester),
                tail: Some(lock.tail),
                sleepers: lock.sleepers.clone(),
            };
            (*id, state)
        };
        self.locks.iter().map(state).collect()
    }

    /// A lock that the program holds, if it holds one.
    pub(crate) fn any_held(&self) -> Option<LockId> {
        self.held.first().copied()
    }
}

impl Lock {
    /// One that nobody has asked for yet.
    fn unused(manager: DroneId, me: DroneId) -> Self {
        Self {
            token: manager == me,
            next: None,
            tail: manager,
            trial: None,
            touched: Vec::new(),
            again: Again::default(),
            sleepers: Vec::new(),
        }
    }
}

/// The drone that knows who asked last for this lock: neighbouring numbers lie with neighbours.
pub(crate) fn manager(lock: LockId, drones: u32) -> DroneId {
    DroneId((lock.0 % u64::from(drones)) as u32)
}

impl<M: Memory> Core<M> {
    pub(crate) fn lock(&mut self, id: LockId) -> &mut Lock {
        let (me, drones) = (self.me, self.drones);
        let unused = || Lock::unused(manager(id, drones), me);
        let id = match mutant(Mutant::NarrowLockId) {
            true => LockId(id.0 % (1 << 16)),
            false => id,
        };
        self.locks.locks.entry(id).or_insert_with(unused)
    }

    /// The program wants a lock, or tries to take it.
    pub(crate) fn acquire(&mut self, id: LockId, tries: bool, ticket: Ticket) {
        if let Err(refusal) = self.refuse_busy() {
            return self.complete(ticket, Err(refusal.into()));
        }
        if self.locks.held.contains(&id) {
            return self.complete(ticket, Err(Refusal::AlreadyHeld(id).into()));
        }
        self.stats.locks_tried += u64::from(tries);
        let back = self.locks.gave.take() == Some(id);
        let here = self.lock(id).token;
        if here && !(self.locks.unopened.contains_key(&id) && self.epoch.has_arrived()) {
            return self.take_lock(id, ticket);
        }
        self.locks.waiting = Some(Wait {
            lock: id,
            ticket,
            stage: if tries { Stage::Tries } else { Stage::Asks },
        });
        let enough = self.economies.again;
        let again = &mut self.lock(id).again;
        if again.ahead {
            return self.catch_up(id, tries);
        }
        // Taking in what came with a token may end an interval, which may not be between arrival and departure (INV-7).
        if !here {
            again.count(back && !tries, enough);
            self.ask_for(id, tries);
        }
    }

    /// The program has the lock from here on, whose token is here.
    fn take_lock(&mut self, id: LockId, ticket: Ticket) {
        match self.locks.unopened.remove(&id) {
            Some(_) if mutant(Mutant::UnopenedNotOpened) => {}
            Some(unopened) => self.open(unopened),
            None => self.stats.locks_cached += 1,
        }
        self.locks.held.insert(id);
        self.locks.holding.begin(id);
        self.stats.locks_acquired += 1;
        self.complete(ticket, Ok(Outcome::Done));
    }

    /// The program takes the lock that it waits for, if the token is here and what came with it may be taken in.
    pub(crate) fn take_awaited(&mut self) {
        let arrived = self.epoch.has_arrived();
        let locks = &mut self.locks;
        let here = |wait: &Wait| locks.is_awaited(wait.lock) && locks.has_token(wait.lock);
        if let Some(wait) = locks.waiting.filter(|wait| here(wait) && !arrived) {
            locks.waiting = None;
            self.take_lock(wait.lock, wait.ticket);
        }
    }

    /// Asks for a token that is elsewhere.
    pub(crate) fn ask_for(&mut self, id: LockId, tries: bool) {
        let touched = self.lock(id).touched.clone();
        let request = Message::LockRequest {
            epoch: self.epoch.id,
            lock: id,
            requester: self.me,
            known: self.log.known.clone(),
            forwarded: false,
            wants: self.wanted_with(&touched),
            tries,
        };
        self.send(manager(id, self.drones), request);
    }

    /// The program lets a lock go.
    pub(crate) fn release(&mut self, id: LockId, ticket: Ticket) {
        if !self.locks.held.contains(&id) {
            return self.complete(ticket, Err(Refusal::NotHeld(id).into()));
        }
        self.let_go(id);
        self.complete(ticket, Ok(Outcome::Done));
    }

    /// A lock that the program holds is free from here on, for whoever wants it.
    pub(crate) fn let_go(&mut self, id: LockId) {
        self.locks.held.remove(&id);
        if let Some(touched) = self.locks.holding.end(id) {
            self.lock(id).touched = touched;
        }
        self.pass_on(id);
    }

    /// A wish arrives: at the manager for the first time, or forwarded to whoever asked before.
    pub(crate) fn lock_request(
        &mut self,
        from: DroneId,
        id: LockId,
        wish: Wish,
        forwarded: bool,
    ) -> Result<(), Misbehaviour> {
        let manager = manager(id, self.drones);
        self.check_wants(from, &wish.wants)?;
        if forwarded {
            if from != manager {
                return Err(misbehaviour(
                    from,
                    &format!("it forwards {id}, which {manager} manages"),
                ));
            }
            if wish.requester.0 >= self.drones || wish.requester == self.me {
                let what = format!("it forwards a wish for {id} of {}", wish.requester);
                return Err(misbehaviour(from, &what));
            }
            return match wish.tries {
                true => self.answer_try(from, id, wish),
                false => self.queue_wish(from, id, wish),
            };
        }
        if manager != self.me || wish.requester != from {
            let what = format!("it asks for {id} in another's name or at the wrong drone");
            return Err(misbehaviour(from, &what));
        }
        self.manage_wish(id, wish)
    }

    fn queue_wish(&mut self, from: DroneId, id: LockId, wish: Wish) -> Result<(), Misbehaviour> {
        self.check_due(from, id)?;
        self.lock(id).next = Some(wish);
        self.pass_on(id);
        Ok(())
    }

    /// Whether this drone may be the last in line for a lock.
    pub(crate) fn check_due(&mut self, from: DroneId, id: LockId) -> Result<(), Misbehaviour> {
        let coming = self.locks.is_coming(id);
        let lock = self.lock(id);
        if lock.next.is_none() && (lock.token || coming) {
            return Ok(());
        }
        let what = format!("it forwards {id}, which is not due here");
        Err(misbehaviour(from, &what))
    }

    /// Sends the token on, if it is here, free and wanted.
    fn pass_on(&mut self, id: LockId) {
        let wanted = self.locks.held.contains(&id) || self.locks.is_awaited(id);
        let ends_interval = !self.locks.unopened.contains_key(&id);
        let arrived = self.epoch.has_arrived() && ends_interval;
        let attends = self.epoch.attends();
        let lock = self.lock(id);
        if !lock.token || wanted || lock.next.is_none() {
            return;
        }
        if arrived && (!attends || mutant(Mutant::TokenWaitsInMeeting)) {
            // Between arrival and departure no interval may end (INV-7), and this program may be writing. The
            // wish waits, for a short time: a collection waits for no program. In a meeting there is nothing
            // to end: what a program writes that goes on meanwhile, it writes under no lock. And the meeting
            // itself may have to wait for whoever wants the lock.
            self.locks.owed.insert(id);
            return;
        }
        if let Some(wish) = lock.next.take() {
            self.grant(id, wish);
        }
    }

    /// Gives the token, which is here and free, to who wishes for it.
    pub(crate) fn grant(&mut self, id: LockId, wish: Wish) {
        let arrived = self.epoch.has_arrived();
        let lock = self.lock(id);
        lock.token = false;
        let mut sleepers = core::mem::take(&mut lock.sleepers);
        if mutant(Mutant::SleepersLeftBehind) {
            core::mem::swap(&mut sleepers, &mut lock.sleepers);
        }
        let unopened = self.locks.unopened.remove(&id);
        let opened = unopened.is_none();
        if !arrived && opened {
            self.close_interval();
        }
        let nothing = VectorTimestamp::new();
        let known = if wish.epoch == self.epoch.id || mutant(Mutant::OldTimestampTaken) {
            &wish.known
        } else {
            &nothing
        };
        let mut intervals = self.log.beyond(known);
        if let Some(unopened) = unopened {
            unopened.join(&mut intervals, (known, &self.log.known));
        }
        intervals.retain(|interval| interval.id.creator != wish.requester);
        if mutant(Mutant::GrantOfOwnIntervals) {
            intervals.retain(|interval| interval.id.creator == self.me);
        }
        let epoch = self.epoch.id;
        // An older wish is of other homes; and what is written after an arrival is the next epoch's.
        let pages = match wish.epoch == epoch && !arrived && opened {
            true => self.pages_for_grant(wish.requester, &wish.wants),
            false => Vec::new(),
        };
        let known = match pages.is_empty() {
            true => VectorTimestamp::new(),
            false => self.log.known.clone(),
        };
        let again = match opened {
            true => self.next_wish(id, &wish),
            false => {
                self.note_unopened(id);
                None
            }
        };
        self.send(
            wish.requester,
            Message::LockGrant {
                epoch,
                lock: id,
                intervals,
                sleepers,
                known,
                pages,
                again,
            },
        );
    }

    /// After a departure: sends on what had to wait for it.
    pub(crate) fn pass_on_owed(&mut self) {
        for id in core::mem::take(&mut self.locks.owed) {
            self.pass_on(id);
        }
    }

    /// The token comes.
    pub(crate) fn lock_grant(
        &mut self,
        from: DroneId,
        id: LockId,
        grant: Grant,
    ) -> Result<(), Misbehaviour> {
        if !self.locks.is_coming(id) {
            return Err(misbehaviour(
                from,
                &format!("it grants {id}, for which nobody waits here"),
            ));
        }
        let Grant {
            epoch,
            intervals,
            sleepers,
            known,
            pages,
            again,
        } = grant;
        self.check_sleepers(from, id, &sleepers)?;
        let tried = self.check_own_trial(from, id)?;
        if let Some(again) = &again {
            self.check_again(from, id, again)?;
        }
        // Pages of an epoch that is over are void, like its intervals.
        let pages = match epoch == self.epoch.id {
            true => pages,
            false => Vec::new(),
        };
        let touched = self.lock(id).touched.clone();
        self.check_granted(from, &touched, &known, &pages)?;
        // Intervals of an epoch that is over are part of this one's start.
        let intervals = if epoch == self.epoch.id || mutant(Mutant::OldGrantTaken) {
            self.news(from, intervals)?
        } else {
            Vec::new()
        };
        let unopened = Unopened {
            intervals,
            known,
            pages,
        };
        self.locks.unopened.insert(id, unopened);
        let lock = self.lock(id);
        lock.token = true;
        lock.sleepers = sleepers;
        lock.again.ahead = false;
        if mutant(Mutant::EarlyForwardDropped) {
            lock.next = None;
        }
        if mutant(Mutant::OpenedAtOnce) && !self.epoch.has_arrived() {
            let unopened = self.locks.unopened.insert(id, Unopened::default());
            unopened
                .into_iter()
                .for_each(|unopened| self.open(unopened));
        }
        self.take_awaited();
        if tried {
            self.end_trial(from, id, self.me, true)?;
        }
        if let Some(again) = again {
            let forwarded = manager(id, self.drones) != self.me;
            self.lock_request(from, id, again.of(from, epoch), forwarded)?;
        }
        self.pass_on(id);
        self.answer_doubter(id);
        Ok(())
    }
}

/// Why a meeting may not start now: a lock is held.
pub(crate) fn refuse_meeting(locks: &LockTable, meeting: MeetingKind) -> Result<(), Refusal> {
    match locks.any_held() {
        Some(lock) => Err(Refusal::HeldAtMeeting { lock, meeting }),
        None => Ok(()),
    }
}
