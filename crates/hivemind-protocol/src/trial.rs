//! Trials: a program tries to take a lock, and does not wait in line for it. It is told whether it has it.
//!
//! A try goes the way of a wish: to the lock's manager, and from there to the last in line. But the last in line answers
//! at once: it gives the token away if that is free, and the requester is last in line then; else nothing has
//! changed. The manager forwards nothing of this lock until it knows which, so the line stays one line: a drone that
//! tries in vain is never in it.
//!
//! Wishes that wait in line live in `lock`.

use crate::condition::{Stage, Wait};
use crate::core::{Core, misbehaviour};
use crate::lock::{Wish, manager};
use crate::mutant::{Mutant, mutant};
use crate::{DroneId, LockId, Memory, Message, Misbehaviour, Outcome};
use alloc::collections::VecDeque;
use alloc::format;

/// At a lock's manager: a try of which it is not yet known how it ends.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Trial {
    /// The last in line, which decides.
    asked: DroneId,
    requester: DroneId,
    /// Wishes and tries that came since, each of another drone.
    waiting: VecDeque<Wish>,
}

impl Trial {
    /// Whether this drone tries, or has a wish that waits for the end.
    fn concerns(&self, drone: DroneId) -> bool {
        self.requester == drone || self.keeps(drone)
    }

    /// Whether a wish of this drone waits for the end.
    pub(crate) fn keeps(&self, drone: DroneId) -> bool {
        self.waiting.iter().any(|wish| wish.requester == drone)
    }
}

impl<M: Memory> Core<M> {
    /// At the manager: a wish or a try comes. It waits while a trial is on.
    pub(crate) fn manage_wish(&mut self, id: LockId, wish: Wish) -> Result<(), Misbehaviour> {
        self.check_not_in_line(wish.requester, id)?;
        let requester = wish.requester;
        let lock = self.lock(id);
        let last = lock.tail;
        match &mut lock.trial {
            Some(trial) if wish.tries || !mutant(Mutant::WishPassesTrial) => {
                trial.waiting.push_back(wish);
                return Ok(());
            }
            None if wish.tries => {
                lock.trial = Some(Trial {
                    asked: last,
                    requester,
                    waiting: VecDeque::new(),
                });
            }
            _ if mutant(Mutant::LastRequesterForgotten) => {}
            _ => {
                lock.tail = requester;
                lock.again.place(&wish, last);
            }
        }
        self.send(last, wish.forwarded(id));
        Ok(())
    }

    /// At the manager: whether a drone may come to the line's end.
    pub(crate) fn check_not_in_line(
        &mut self,
        requester: DroneId,
        id: LockId,
    ) -> Result<(), Misbehaviour> {
        let (me, last) = (self.me, self.lock(id).tail);
        let trial = &self.lock(id).trial;
        // Who was asked for this manager's own try may have given the token and ask for it again, before the token can be
        // taken here.
        let in_line = match trial {
            Some(trial) if trial.requester == me => trial.concerns(requester),
            Some(trial) => trial.concerns(requester) || last == requester,
            None => last == requester,
        };
        if in_line {
            let what = format!("it asks for {id} again while it is in line");
            return Err(misbehaviour(requester, &what));
        }
        Ok(())
    }

    /// At the last in line: somebody tries to take the lock.
    pub(crate) fn answer_try(
        &mut self,
        from: DroneId,
        id: LockId,
        wish: Wish,
    ) -> Result<(), Misbehaviour> {
        self.check_due(from, id)?;
        self.decide_try(id, wish);
        Ok(())
    }

    /// Gives the lock to who tries to take it, if it is free.
    pub(crate) fn decide_try(&mut self, id: LockId, wish: Wish) {
        let (requester, manager) = (wish.requester, manager(id, self.drones));
        let wanted = self.locks.held.contains(&id) || self.locks.is_awaited(id);
        if !self.locks.has_token(id) || wanted {
            return match self.is_merely_ahead(id) && !mutant(Mutant::AheadRefuses) {
                true => self.doubt_for(id, wish),
                false => self.refuse_try(id, requester),
            };
        }
        self.grant(id, wish);
        // A manager that tries is told by the token.
        if requester != manager {
            self.send_tried(manager, id, (requester, true));
        }
    }

    /// Somebody tried in vain. It tells the manager itself: so its next wish comes there after that.
    pub(crate) fn refuse_try(&mut self, id: LockId, requester: DroneId) {
        let vain = (requester, false);
        self.send_tried(requester, id, vain);
        if self.me == manager(id, self.drones) {
            self.send_tried(self.me, id, vain);
        }
    }

    fn send_tried(&mut self, to: DroneId, lock: LockId, (requester, given): (DroneId, bool)) {
        let tried = Message::LockTried {
            lock,
            requester,
            given,
        };
        self.send(to, tried);
    }

    /// A try has ended: who tried in vain is told, and the manager.
    pub(crate) fn lock_tried(
        &mut self,
        from: DroneId,
        id: LockId,
        requester: DroneId,
        given: bool,
    ) -> Result<(), Misbehaviour> {
        let manager = manager(id, self.drones);
        let own = requester == self.me && !given;
        if !own && manager != self.me {
            let what = format!("it tells of a try of {requester} for {id} here");
            return Err(misbehaviour(from, &what));
        }
        if !own {
            return self.end_trial(from, id, requester, given);
        }
        let ticket = self.check_tries(from, id)?;
        if manager == self.me {
            self.end_trial(from, id, requester, given)?;
        } else if from != manager {
            self.send_tried(manager, id, (requester, given));
        }
        self.locks.waiting = None;
        self.stats.locks_tried_in_vain += 1;
        self.complete(ticket, Ok(Outcome::Unavailable));
        Ok(())
    }

    /// The ticket of this drone's own try, which may end in vain now.
    fn check_tries(&mut self, from: DroneId, id: LockId) -> Result<crate::Ticket, Misbehaviour> {
        let tries = |wait: &Wait| wait.lock == id && wait.stage == Stage::Tries;
        match self.locks.waiting.filter(tries) {
            // Whom the token is due to next must get it.
            Some(wait) if self.may_fail(id) => Ok(wait.ticket),
            _ => {
                let what = format!("it refuses {id}, which nobody tries to take here");
                Err(misbehaviour(from, &what))
            }
        }
    }

    /// Whether an own try may be refused. Who is in line ahead of its program was not asked by its try.
    fn may_fail(&mut self, id: LockId) -> bool {
        let lock = self.lock(id);
        lock.next.is_none() && !lock.token && !lock.again.ahead
    }

    /// At the manager: how a trial ended. What waited for that goes on.
    pub(crate) fn end_trial(
        &mut self,
        from: DroneId,
        id: LockId,
        requester: DroneId,
        given: bool,
    ) -> Result<(), Misbehaviour> {
        let me = self.me;
        let trial = self.lock(id).trial.take_if(|trial| {
            let told_by_asked = given || requester == me || trial.asked == me;
            let teller = if told_by_asked {
                trial.asked
            } else {
                requester
            };
            trial.requester == requester && teller == from
        });
        let Some(trial) = trial else {
            let what = format!("it ends a trial of {id} that it was not asked for");
            return Err(misbehaviour(from, &what));
        };
        if given || mutant(Mutant::VainTrialMovesTail) {
            self.lock(id).tail = requester;
        }
        for wish in trial.waiting {
            self.manage_wish(id, wish)?;
        }
        Ok(())
    }

    /// At the manager, where a token comes: if its own program tried to take it, the one that was asked must have sent
    /// it. Gives whether that is so.
    pub(crate) fn check_own_trial(&self, from: DroneId, id: LockId) -> Result<bool, Misbehaviour> {
        let trial = self.locks.trial(id);
        match trial.filter(|trial| trial.requester == self.me) {
            None => Ok(false),
            Some(trial) if trial.asked == from => Ok(true),
            Some(_) => {
                let what = format!("it grants {id}, which another was asked for");
                Err(misbehaviour(from, &what))
            }
        }
    }
}
