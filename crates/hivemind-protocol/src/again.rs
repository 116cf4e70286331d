//! A hot lock's next wish rides on the grant: a drone that always wants a lock again right after it gave it away says so
//! with the token, and need not ask. So a token that two drones want all the time costs one message a hand-over.
//!
//! Such a drone is in line *ahead* of its program. If the token comes before the program asks, it stays *unopened*: what
//! came with it may change nothing that a running program sees (INV-6). It is opened when the program takes the lock, and
//! goes on unopened, with all that it brought, when another wants it; no program is waited for. Who tries to take a lock
//! may not be refused for the sake of a drone that is merely ahead: that one asks the drone before it in line.
//!
//! When a token moves lives in `lock`, what a try is told in `trial`.

use crate::condition::Stage;
use crate::core::{Core, misbehaviour};
use crate::lock::{Wish, manager};
use crate::message::{Interval, NextWish};
use crate::mutant::{Mutant, mutant};
use crate::{
    DroneId, EpochId, LockId, Memory, Message, Misbehaviour, Outcome, PageCopy, VectorTimestamp,
};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

/// Of one lock: what its past says, and who is in line without having asked.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub(crate) struct Again {
    /// How often in a row the program came back at once after the token was given away.
    eager: u8,
    /// This drone is in line because its wish went with the token; its program does not wait in line.
    pub(crate) ahead: bool,
    /// Whether the drone before it in line was asked if the lock is taken, and has not answered.
    question: Question,
    /// Whom the answer is for, beside this drone's own try.
    doubter: Option<Doubter>,
    /// At the manager: behind whom those stand whose wish went with the token.
    before: BTreeMap<DroneId, DroneId>,
}

/// What a drone that is merely ahead asked the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
enum Question {
    #[default]
    None,
    Open,
    /// The token came before the answer, which says nothing any more.
    Settled,
}

/// Who wants to know of a drone that is merely ahead whether the lock is taken.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
enum Doubter {
    /// A drone that tries to take it.
    Tries(Wish),
    /// The next in line.
    Behind(DroneId),
}

/// What came with a token and is not taken in.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub(crate) struct Unopened {
    /// What was new when it came.
    pub(crate) intervals: Vec<Interval>,
    /// What the granter knew, if it sent pages.
    pub(crate) known: VectorTimestamp,
    pub(crate) pages: Vec<PageCopy>,
}

impl Unopened {
    /// Its epoch is over: all that came is part of the next one's start.
    pub(crate) fn clear(&mut self) {
        self.intervals.clear();
        self.pages.clear();
    }

    /// Joins what came to what this drone tells to one that knows `known`: those that neither knew, each in its place.
    pub(crate) fn join(
        self,
        intervals: &mut Vec<Interval>,
        (known, here): (&VectorTimestamp, &VectorTimestamp),
    ) {
        let lacks = |interval: &Interval| !known.covers(interval.id) && !here.covers(interval.id);
        if !mutant(Mutant::UnopenedForgotten) {
            intervals.extend(self.intervals.into_iter().filter(lacks));
        }
        intervals.sort_by_key(|interval| interval.id);
    }
}

impl Again {
    /// The program asks for a token that is elsewhere: whether it came back at once; and how often is enough.
    pub(crate) fn count(&mut self, at_once: bool, enough: Option<u8>) {
        self.eager = match at_once {
            true => enough.unwrap_or(0).min(self.eager.saturating_add(1)),
            false => 0,
        };
    }

    /// At the manager: a wish takes its place in line, behind the last.
    pub(crate) fn place(&mut self, wish: &Wish, last: DroneId) {
        match wish.ahead {
            true => self.before.insert(wish.requester, last),
            false => self.before.remove(&wish.requester),
        };
    }
}

impl NextWish {
    /// As if its drone had asked for it.
    pub(crate) fn of(self, requester: DroneId, epoch: EpochId) -> Wish {
        let Self { known, wants } = self;
        Wish {
            requester,
            epoch,
            known,
            wants,
            tries: false,
            ahead: true,
        }
    }
}

impl<M: Memory> Core<M> {
    /// The token goes to who wishes for it: this drone's next wish, if the program is likely to have one soon. Only where
    /// the line stays one line that its manager knows: if the new holder manages it, to whom it is a request that comes
    /// right behind the token; or if this drone does, and the new holder is last in line.
    pub(crate) fn next_wish(&mut self, id: LockId, wish: &Wish) -> Option<NextWish> {
        let (me, to, manager) = (self.me, wish.requester, manager(id, self.drones));
        let elsewhere = self.locks.waiting.is_some_and(|wait| wait.lock == id);
        let elsewhere = elsewhere || self.calls.attends() || self.epoch.has_arrived();
        let again_after = self.economies.again?;
        if wish.tries || elsewhere {
            return None;
        }
        self.locks.gave = Some(id);
        let lock = self.lock(id);
        let last = lock.tail == to && lock.trial.is_none();
        let in_place = to == manager || (me == manager && last);
        if !in_place || lock.again.eager < again_after || lock.again.question != Question::None {
            return None;
        }
        lock.again.ahead = true;
        let touched = lock.touched.clone();
        let known = self.log.known.clone();
        let wants = self.wanted_with(&touched);
        let wish = NextWish { known, wants };
        if me == manager {
            let placed = wish.clone().of(me, self.epoch.id);
            let lock = self.lock(id);
            lock.tail = me;
            lock.again.place(&placed, to);
        }
        Some(wish)
    }

    /// Whether a wish may come with a token.
    pub(crate) fn check_again(
        &mut self,
        from: DroneId,
        id: LockId,
        again: &NextWish,
    ) -> Result<(), Misbehaviour> {
        self.check_wants(from, &again.wants)?;
        let manager = manager(id, self.drones);
        if manager == self.me {
            return self.check_not_in_line(from, id);
        }
        if manager == from && self.lock(id).next.is_none() {
            return Ok(());
        }
        let what = format!("it wants {id} again where it cannot be next");
        Err(misbehaviour(from, &what))
    }

    /// The program wants a lock for which this drone is in line already.
    pub(crate) fn catch_up(&mut self, id: LockId, tries: bool) {
        if !tries {
            self.lock(id).again.ahead = false;
        } else if mutant(Mutant::AheadTriesInVain) {
            self.fail_try(id);
        } else {
            self.ask_before(id);
        }
    }

    /// Takes in what came with a token. Only while the program waits in an acquire (INV-6).
    pub(crate) fn open(&mut self, unopened: Unopened) {
        let Unopened {
            mut intervals,
            known,
            pages,
        } = unopened;
        // Other tokens may have brought some of it since.
        intervals.retain(|interval| !self.log.known.covers(interval.id));
        if !intervals.is_empty() || !self.epoch.stale.is_empty() {
            if !mutant(Mutant::NewsWithoutEnd) {
                self.close_interval();
            }
            self.incorporate(intervals);
            self.drop_stale();
        }
        self.take_granted(&known, pages);
    }

    /// A token goes on as it came: speculating did not pay.
    pub(crate) fn note_unopened(&mut self, id: LockId) {
        self.lock(id).again.eager = 0;
        self.stats.locks_unopened += 1;
    }

    /// Whether this drone is in line for a lock that its program does not ask for now.
    pub(crate) fn is_merely_ahead(&mut self, id: LockId) -> bool {
        let awaited = self.locks.is_awaited(id);
        self.lock(id).again.ahead && !awaited
    }

    /// Asked by a try while it is merely ahead.
    pub(crate) fn doubt_for(&mut self, id: LockId, wish: Wish) {
        self.lock(id).again.doubter = Some(Doubter::Tries(wish));
        self.ask_before(id);
    }

    /// Asks the drone before this one in line whether the lock is taken, by way of the manager.
    fn ask_before(&mut self, id: LockId) {
        let question = &mut self.lock(id).again.question;
        if core::mem::replace(question, Question::Open) == Question::Open {
            // Somebody else asks, and so tries as well: who tries now may be refused with it.
            return;
        }
        let sought = Message::LockSought {
            epoch: self.epoch.id,
            lock: id,
            requester: self.me,
        };
        self.send(manager(id, self.drones), sought);
    }

    /// Somebody who is merely ahead wants to know whether the lock is taken: at the manager, or at the drone before it.
    pub(crate) fn lock_sought(
        &mut self,
        from: DroneId,
        id: LockId,
        (requester, epoch): (DroneId, EpochId),
    ) -> Result<(), Misbehaviour> {
        let manager = manager(id, self.drones);
        if manager == self.me && requester == from {
            return self.find_before(id, (from, epoch));
        }
        if manager != from || requester.0 >= self.drones || requester == self.me {
            let what = format!("it seeks {id} in another's name or at the wrong drone");
            return Err(misbehaviour(from, &what));
        }
        let unsure = self.is_merely_ahead(id);
        let lock = self.lock(id);
        let next = lock.next.as_ref().map(|wish| wish.requester) == Some(requester);
        if !unsure || !next || lock.again.doubter.is_some() {
            // The token went to it before this, or this drone's program has the lock or waits for it.
            self.say_taken(requester, id);
            return Ok(());
        }
        lock.again.doubter = Some(Doubter::Behind(requester));
        self.ask_before(id);
        Ok(())
    }

    /// At the manager: passes the question on.
    fn find_before(
        &mut self,
        id: LockId,
        (requester, epoch): (DroneId, EpochId),
    ) -> Result<(), Misbehaviour> {
        let lock = self.lock(id);
        let keeps = lock
            .trial
            .as_ref()
            .is_some_and(|trial| trial.keeps(requester));
        let before = lock.again.before.get(&requester).copied();
        match before {
            // Its wish waits for the end of another's try.
            _ if keeps => self.say_taken(requester, id),
            Some(before) => {
                let sought = Message::LockSought {
                    epoch,
                    lock: id,
                    requester,
                };
                self.send(before, sought);
            }
            None => {
                let what = format!("it seeks {id}, for which it is not in line ahead");
                return Err(misbehaviour(requester, &what));
            }
        }
        Ok(())
    }

    fn say_taken(&mut self, to: DroneId, lock: LockId) {
        let epoch = self.epoch.id;
        self.send(to, Message::LockTaken { epoch, lock });
    }

    /// The lock is taken, says the one before in line; or it has sent the token before it said so.
    pub(crate) fn lock_taken(&mut self, from: DroneId, id: LockId) -> Result<(), Misbehaviour> {
        match core::mem::take(&mut self.lock(id).again.question) {
            Question::None => {
                let what = format!("it says that {id} is taken, which nobody asked");
                return Err(misbehaviour(from, &what));
            }
            Question::Settled => return Ok(()),
            Question::Open => {}
        }
        self.fail_try(id);
        match self.lock(id).again.doubter.take() {
            Some(Doubter::Tries(wish)) => self.refuse_try(id, wish.requester),
            Some(Doubter::Behind(drone)) => self.say_taken(drone, id),
            None => {}
        }
        Ok(())
    }

    /// If the program tries to take this lock, it does so in vain.
    fn fail_try(&mut self, id: LockId) {
        let tries =
            |wait: &mut crate::condition::Wait| wait.lock == id && wait.stage == Stage::Tries;
        if let Some(wait) = self.locks.waiting.take_if(tries) {
            self.stats.locks_tried_in_vain += 1;
            self.complete(wait.ticket, Ok(Outcome::Unavailable));
        }
    }

    /// The token has come: so does the answer to who wanted to know.
    pub(crate) fn answer_doubter(&mut self, id: LockId) {
        let again = &mut self.lock(id).again;
        if again.question == Question::Open {
            again.question = Question::Settled;
        }
        match again.doubter.take() {
            Some(Doubter::Tries(wish)) => self.decide_try(id, wish),
            Some(Doubter::Behind(drone)) => self.say_taken(drone, id),
            None => {}
        }
    }
}
