//! What must be true whatever the core does: a reference memory, a happens-before of its own, locks and meetings;
//! the heap is in `blocks`. It never looks at the core's clocks; it sees only what programs do and get.
//!
//! Programs without data races see sequential consistency, so the reference is one memory to which each store
//! is applied as it executes. That the programs of the simulator have no races is checked here as well.

mod blocks;

use crate::finding::{Finding, Verdict};
use crate::shadow::Shadow;
use hivemind_protocol::{
    Address, Block, ConditionId, DroneId, LockId, Meeting, Outcome, Refusal, Sleeper,
};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

/// The knowledge of what happened before what: for each drone, how many of its steps are known.
pub(crate) type HappensBefore = Vec<u32>;

/// The judge of one run. Two are equal when they judge the same from here on: how much was compared is only
/// counted.
#[derive(Clone, Debug)]
pub(crate) struct Oracle {
    drones: u32,
    region_bytes: u64,
    /// What each drone knows.
    known: Vec<HappensBefore>,
    memory: Shadow,
    locks: BTreeMap<LockId, Lock>,
    /// Collective calls, in order.
    episodes: Vec<Episode>,
    /// How many collective calls each drone has begun.
    begun: Vec<usize>,
    /// Bytes asked for of blocks in use, by address.
    heap: BTreeMap<u64, u64>,
    reads_checked: u64,
}

/// A collective call that ended well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Together {
    /// Whether this drone is the first to hear of it.
    pub first: bool,
    /// The block, if there is one.
    pub allocated: Option<Block>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Lock {
    holder: Option<DroneId>,
    left_behind: Option<HappensBefore>,
    /// Who sleeps until a condition of it is signalled, in turn.
    sleepers: Vec<Sleeper>,
    /// Who waits for it.
    wanted_by: BTreeSet<DroneId>,
    /// Who tries to take it, and whether it was free all the time since.
    tried_by: BTreeMap<DroneId, bool>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Episode {
    calls: Vec<Option<Meeting>>,
    known: HappensBefore,
    /// What the first drone to come out was told of an allocation.
    allocated: Option<Option<Block>>,
}

impl Lock {
    fn wants(&mut self, drone: DroneId) {
        self.wanted_by.insert(drone);
        self.is_not_free();
    }

    /// Who tries to take it now may be refused.
    fn is_not_free(&mut self) {
        self.tried_by.values_mut().for_each(|free| *free = false);
    }
}

impl Oracle {
    /// The judge of a world at its start.
    pub(crate) fn new(drones: u32, region_bytes: u64) -> Self {
        let known = (0..drones as usize).map(|me| {
            let mut known = vec![0; drones as usize];
            known[me] = 1;
            known
        });
        Self {
            drones,
            region_bytes,
            known: known.collect(),
            memory: Shadow::new(drones),
            locks: BTreeMap::new(),
            episodes: Vec::new(),
            begun: vec![0; drones as usize],
            heap: BTreeMap::new(),
            reads_checked: 0,
        }
    }

    /// How many bytes were loaded and compared.
    pub(crate) fn reads_checked(&self) -> u64 {
        self.reads_checked
    }

    /// A program loaded these bytes.
    ///
    /// # Errors
    /// A byte is not what the last store before it in happens-before wrote.
    pub(crate) fn loaded(&mut self, drone: DroneId, from: Address, bytes: &[u8]) -> Verdict<()> {
        self.reads_checked += bytes.len() as u64;
        self.memory
            .load(drone, &self.known[drone.0 as usize], from, bytes)
    }

    /// A program stored these bytes.
    ///
    /// # Errors
    /// The program races: the simulator's own mistake.
    pub(crate) fn stored(&mut self, drone: DroneId, to: Address, bytes: &[u8]) -> Verdict<()> {
        self.memory
            .store(drone, &self.known[drone.0 as usize], to, bytes)
    }

    /// The reference's bytes.
    pub(crate) fn expected(&self, from: Address, count: usize) -> Vec<u8> {
        self.memory.bytes(from, count)
    }

    /// A drone begins to wait for a lock.
    pub(crate) fn wants(&mut self, drone: DroneId, lock: LockId) {
        self.locks.entry(lock).or_default().wants(drone);
    }

    /// A drone begins to try for a lock.
    pub(crate) fn tries(&mut self, drone: DroneId, lock: LockId) {
        let found = self.locks.entry(lock).or_default();
        let free = found.holder.is_none() && found.wanted_by.is_empty();
        let alone = free && found.tried_by.is_empty();
        found.is_not_free();
        found.tried_by.insert(drone, alone);
    }

    /// A drone tried in vain.
    ///
    /// # Errors
    /// The lock was free, and nobody else asked for it.
    pub(crate) fn tried_in_vain(&mut self, drone: DroneId, lock: LockId) -> Verdict<()> {
        let found = self.locks.entry(lock).or_default();
        if found.tried_by.remove(&drone) == Some(true) {
            let what = format!("{drone} did not get {lock}, which is free");
            return Err(Finding::new("a lock refused without need", what));
        }
        Ok(())
    }

    /// A drone was given a lock.
    ///
    /// # Errors
    /// Another holds it.
    pub(crate) fn acquired(&mut self, drone: DroneId, lock: LockId) -> Verdict<()> {
        let found = self.locks.entry(lock).or_default();
        found.wanted_by.remove(&drone);
        found.tried_by.remove(&drone);
        found.is_not_free();
        if let Some(holder) = found.holder.replace(drone) {
            let what = format!("{drone} was given {lock} while {holder} holds it");
            return Err(Finding::new("a lock held by two", what));
        }
        if let Some(left) = &found.left_behind {
            join(&mut self.known[drone.0 as usize], left);
        }
        Ok(())
    }

    /// A drone is about to let a lock go.
    pub(crate) fn releases(&mut self, drone: DroneId, lock: LockId) {
        let found = self.locks.entry(lock).or_default();
        assert_eq!(
            found.holder,
            Some(drone),
            "the simulator's program releases what it does not hold"
        );
        found.holder = None;
        found.left_behind = Some(self.known[drone.0 as usize].clone());
        self.known[drone.0 as usize][drone.0 as usize] += 1;
    }

    /// A drone is about to fall asleep: it lets the lock go.
    pub(crate) fn falls_asleep(&mut self, drone: DroneId, lock: LockId, condition: ConditionId) {
        self.releases(drone, lock);
        let found = self.locks.entry(lock).or_default();
        found.sleepers.push(Sleeper { condition, drone });
    }

    /// A drone is about to signal: who sleeps longest is awake from here on, or all are.
    pub(crate) fn signals(&mut self, lock: LockId, condition: ConditionId, all: bool) {
        let found = self.locks.entry(lock).or_default();
        let mut woken = Vec::new();
        found.sleepers.retain(|sleeper| {
            let wakes = sleeper.condition == condition && (all || woken.is_empty());
            if wakes {
                woken.push(sleeper.drone);
            }
            !wakes
        });
        for drone in woken {
            found.wants(drone);
        }
    }

    /// A drone that slept was given its lock.
    ///
    /// # Errors
    /// Nobody woke it, or another was to be woken; or another holds the lock.
    pub(crate) fn woke(&mut self, drone: DroneId, lock: LockId) -> Verdict<()> {
        let found = self.locks.entry(lock).or_default();
        if found.sleepers.iter().any(|sleeper| sleeper.drone == drone) {
            let what = format!(
                "{drone} came out of a wait under {lock}: {:?}",
                found.sleepers
            );
            return Err(Finding::new("a sleeper that nobody woke", what));
        }
        self.acquired(drone, lock)
    }

    /// A drone is about to take part in a collective call.
    pub(crate) fn meets(&mut self, drone: DroneId, meeting: &Meeting) {
        let me = drone.0 as usize;
        let episode = self.begun[me];
        self.begun[me] += 1;
        if self.episodes.len() == episode {
            let calls = vec![None; self.drones as usize];
            let known = vec![0; self.drones as usize];
            self.episodes.push(Episode {
                calls,
                known,
                allocated: None,
            });
        }
        let found = &mut self.episodes[episode];
        found.calls[me] = Some(meeting.clone());
        join(&mut found.known, &self.known[me]);
        self.known[me][me] += 1;
    }

    /// A collective call ended well for a drone.
    ///
    /// # Errors
    /// Somebody is missing, or what it brought, or where the block lies.
    pub(crate) fn met(&mut self, drone: DroneId, outcome: &Outcome) -> Verdict<Together> {
        let me = drone.0 as usize;
        let number = self.begun[me] - 1;
        let episode = &mut self.episodes[number];
        let Some(calls) = all(&episode.calls) else {
            let missing = episode
                .calls
                .iter()
                .position(Option::is_none)
                .expect("one is missing");
            let what = format!("{drone} came through call {number} before drone {missing} made it");
            return Err(Finding::new("a meeting without somebody", what));
        };
        let Outcome::Met {
            payloads,
            allocated,
        } = outcome
        else {
            return Err(Finding::new(
                "a meeting's outcome",
                format!("{drone} met and got {outcome:?}"),
            ));
        };
        let brought: Vec<&[u8]> = calls.iter().map(|call| call.payload.as_slice()).collect();
        if calls.iter().any(|call| call.kind != calls[0].kind) || brought != *payloads {
            let what = format!("{drone} got {payloads:?} from {calls:?}");
            return Err(Finding::new("a meeting's payloads", what));
        }
        let first = episode.allocated.is_none();
        let first_told = *episode.allocated.get_or_insert(*allocated);
        if first_told != *allocated {
            let what = format!("{drone} was told {allocated:?}, another {first_told:?}");
            return Err(Finding::new("a meeting's block", what));
        }
        let known = episode.known.clone();
        join(&mut self.known[me], &known);
        Ok(Together {
            first,
            allocated: *allocated,
        })
    }

    /// A collective call was refused to all.
    ///
    /// # Errors
    /// The refusal is wrong: they did make the same call, or not those that it says.
    pub(crate) fn mismatched(&self, drone: DroneId, refusal: &Refusal) -> Verdict<()> {
        let episode = &self.episodes[self.begun[drone.0 as usize] - 1];
        let made = |who: DroneId| {
            episode
                .calls
                .get(who.0 as usize)?
                .as_ref()
                .map(|call| call.kind)
        };
        let right = match refusal {
            Refusal::Mismatch {
                one,
                here,
                other,
                there,
            } => made(*one) == Some(*here) && made(*other) == Some(*there) && here != there,
            _ => false,
        };
        if right && all(&episode.calls).is_some() {
            return Ok(());
        }
        let what = format!(
            "{drone} was told {refusal:?} when these were made: {:?}",
            episode.calls
        );
        Err(Finding::new("a refused meeting", what))
    }

    /// All that decides what this judge says next. A field that is added has to be sorted in here.
    fn deciding(&self) -> impl PartialEq + Hash + '_ {
        let Self {
            drones,
            region_bytes,
            known,
            memory,
            locks,
            episodes,
            begun,
            heap,
            reads_checked: _,
        } = self;
        let world = (drones, region_bytes);
        (world, known, memory, locks, episodes, begun, heap)
    }
}

impl PartialEq for Oracle {
    fn eq(&self, other: &Self) -> bool {
        self.deciding() == other.deciding()
    }
}

impl Eq for Oracle {}

impl Hash for Oracle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.deciding().hash(state);
    }
}

fn all(calls: &[Option<Meeting>]) -> Option<Vec<&Meeting>> {
    calls.iter().map(Option::as_ref).collect()
}

fn join(into: &mut HappensBefore, from: &HappensBefore) {
    for (mine, other) in into.iter_mut().zip(from) {
        *mine = (*mine).max(*other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hivemind_protocol::MeetingKind;

    const LOCK: LockId = LockId(1);
    const ONE: DroneId = DroneId(0);
    const TWO: DroneId = DroneId(1);

    #[test]
    fn a_wrong_byte_is_found_and_a_right_one_is_not() {
        let mut oracle = Oracle::new(2, 8192);
        oracle.acquired(ONE, LOCK).expect("free");
        oracle.stored(ONE, Address(10), &[1, 2]).expect("no race");
        oracle.releases(ONE, LOCK);
        oracle.acquired(TWO, LOCK).expect("free");
        assert_eq!(oracle.loaded(TWO, Address(9), &[0, 1, 2]), Ok(()));
        let found = oracle
            .loaded(TWO, Address(9), &[0, 1, 3])
            .expect_err("a wrong byte");
        assert_eq!(found.rule, "a read of a wrong value");
    }

    #[test]
    fn a_race_of_the_simulators_own_programs_is_found() {
        let mut oracle = Oracle::new(2, 8192);
        oracle.stored(ONE, Address(0), &[1]).expect("no race");
        assert!(oracle.loaded(TWO, Address(0), &[1]).is_err());
        assert!(oracle.stored(TWO, Address(0), &[1]).is_err());
        oracle.loaded(TWO, Address(1), &[0]).expect("no race");
        assert!(oracle.stored(ONE, Address(1), &[1]).is_err());
    }

    #[test]
    fn two_holders_and_early_meetings_are_found() {
        let mut oracle = Oracle::new(2, 8192);
        oracle.acquired(ONE, LOCK).expect("free");
        assert!(oracle.acquired(TWO, LOCK).is_err());
        let kind = MeetingKind::Barrier(hivemind_protocol::BarrierId(0));
        oracle.meets(
            ONE,
            &Meeting {
                kind,
                payload: vec![],
            },
        );
        let outcome = Outcome::Met {
            payloads: vec![vec![], vec![]],
            allocated: None,
        };
        assert!(oracle.met(ONE, &outcome).is_err());
        oracle.meets(
            TWO,
            &Meeting {
                kind,
                payload: vec![],
            },
        );
        assert_eq!(
            oracle.met(ONE, &outcome),
            Ok(Together {
                first: true,
                allocated: None
            })
        );
    }

    #[test]
    fn a_sleeper_that_is_woken_out_of_turn_is_found() {
        let condition = ConditionId(3);
        let mut oracle = Oracle::new(3, 8192);
        for drone in [ONE, TWO] {
            oracle.acquired(drone, LOCK).expect("free");
            oracle.falls_asleep(drone, LOCK, condition);
        }
        let mut other = oracle.clone();
        assert!(oracle.clone().woke(ONE, LOCK).is_err());
        oracle.signals(LOCK, ConditionId(4), true);
        assert!(oracle.clone().woke(ONE, LOCK).is_err());
        oracle.signals(LOCK, condition, false);
        assert!(oracle.woke(TWO, LOCK).is_err());
        assert_eq!(oracle.woke(ONE, LOCK), Ok(()));
        other.signals(LOCK, condition, true);
        assert_eq!(other.woke(TWO, LOCK), Ok(()));
        assert!(other.woke(ONE, LOCK).is_err(), "two hold the lock");
    }

    #[test]
    fn a_try_in_vain_for_a_free_lock_is_found() {
        let mut oracle = Oracle::new(3, 8192);
        oracle.tries(ONE, LOCK);
        let mut both = oracle.clone();
        assert!(oracle.clone().tried_in_vain(ONE, LOCK).is_err());
        oracle.wants(TWO, LOCK);
        assert_eq!(oracle.tried_in_vain(ONE, LOCK), Ok(()));
        both.tries(TWO, LOCK);
        assert_eq!(both.clone().tried_in_vain(ONE, LOCK), Ok(()));
        assert_eq!(both.tried_in_vain(TWO, LOCK), Ok(()));
        oracle.acquired(TWO, LOCK).expect("free");
        oracle.tries(ONE, LOCK);
        oracle.releases(TWO, LOCK);
        assert_eq!(oracle.tried_in_vain(ONE, LOCK), Ok(()));
    }
}
