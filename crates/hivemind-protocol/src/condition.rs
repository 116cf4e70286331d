//! Conditions: a drone that holds a lock may sleep until another, which holds it then, signals that something has
//! become true. (As in TreadMarks' interface, Amza et al., IEEE Computer 29(2), 1996; and Hoare's monitors as Lampson
//! and Redell have them, CACM 23(2), 1980: who is woken waits for the lock like anybody else, and looks again.)
//!
//! The sleepers of a lock are a list that travels with its token. Only who has the token needs it: to fall asleep
//! and to signal a drone must hold the lock. So nobody manages the list, and it costs no message of its own.
//!
//! When a token moves lives in `lock`.

use crate::core::{Core, misbehaviour};
use crate::mutant::{Mutant, mutant};
use crate::{
    ConditionId, DroneId, LockId, Memory, Message, Misbehaviour, Outcome, Refusal, Sleeper, Ticket,
};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

/// The program waits for a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Wait {
    pub(crate) lock: LockId,
    pub(crate) ticket: Ticket,
    pub(crate) stage: Stage,
}

/// How far the program is on its way to a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Stage {
    /// It sleeps before it asks.
    Asleep(ConditionId),
    /// It has asked, and is in line.
    Asks,
    /// It has asked to have the lock at once or not at all.
    Tries,
}

impl<M: Memory> Core<M> {
    /// The program lets a lock go and sleeps until it is woken.
    pub(crate) fn wait(&mut self, id: LockId, condition: ConditionId, ticket: Ticket) {
        if let Err(refusal) = self.refuse_busy() {
            return self.complete(ticket, Err(refusal.into()));
        }
        if !self.locks.held.contains(&id) {
            return self.complete(ticket, Err(Refusal::NotHeld(id).into()));
        }
        if self.drones == 1 {
            return self.complete(ticket, Err(Refusal::Alone(id).into()));
        }
        self.stats.condition_waits += 1;
        let drone = self.me;
        let sleeper = Sleeper { condition, drone };
        self.lock(id).sleepers.push(sleeper);
        self.locks.waiting = Some(Wait {
            lock: id,
            ticket,
            stage: Stage::Asleep(condition),
        });
        self.let_go(id);
    }

    /// The program wakes one that sleeps, or all.
    pub(crate) fn signal(&mut self, id: LockId, condition: ConditionId, all: bool, ticket: Ticket) {
        if !self.locks.held.contains(&id) {
            return self.complete(ticket, Err(Refusal::NotHeld(id).into()));
        }
        let sleepers = &mut self.lock(id).sleepers;
        let sleeps = |sleeper: &Sleeper| sleeper.condition == condition;
        let first = match mutant(Mutant::LatestSleeperWoken) {
            true => sleepers.iter().rposition(sleeps),
            false => sleepers.iter().position(sleeps),
        };
        let wakes = |(at, sleeper): (usize, &Sleeper)| {
            let wakes = sleeps(sleeper) && (all || Some(at) == first);
            wakes.then_some(sleeper.drone)
        };
        let woken: Vec<DroneId> = sleepers.iter().enumerate().filter_map(wakes).collect();
        if !mutant(Mutant::SleeperStaysListed) {
            sleepers.retain(|sleeper| !woken.contains(&sleeper.drone));
        }
        self.stats.condition_wakes += woken.len() as u64;
        for drone in woken {
            let lock = id;
            self.send(drone, Message::Wake { lock, condition });
        }
        self.complete(ticket, Ok(Outcome::Done));
    }

    /// Somebody who holds the lock has woken this drone: now it waits for the lock.
    pub(crate) fn wake(
        &mut self,
        from: DroneId,
        id: LockId,
        condition: ConditionId,
    ) -> Result<(), Misbehaviour> {
        let asleep = |wait: &Wait| wait.lock == id && wait.stage == Stage::Asleep(condition);
        // Who holds the lock has the token: it cannot be here.
        let here = |wait: &Wait| self.locks.has_token(wait.lock);
        let wait = self.locks.waiting.filter(asleep);
        let Some(wait) = wait.filter(|wait| !here(wait)) else {
            let what = format!("it wakes from {condition} of {id}, for which nobody sleeps here");
            return Err(misbehaviour(from, &what));
        };
        self.locks.waiting = Some(Wait {
            stage: Stage::Asks,
            ..wait
        });
        self.ask_for(id, false);
        Ok(())
    }

    /// Whether these could sleep while this drone takes the lock.
    pub(crate) fn check_sleepers(
        &self,
        from: DroneId,
        id: LockId,
        sleepers: &[Sleeper],
    ) -> Result<(), Misbehaviour> {
        let mut seen = BTreeSet::new();
        let may = |sleeper: &Sleeper| {
            let drone = sleeper.drone;
            drone.0 < self.drones && drone != self.me && seen.insert(drone)
        };
        if sleepers.iter().all(may) {
            return Ok(());
        }
        let what = format!("it tells of drones that cannot sleep under {id}");
        Err(misbehaviour(from, &what))
    }
}
