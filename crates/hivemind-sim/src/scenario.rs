//! Runs short written scenarios on a world: exact message counts and classic shapes, each access and each
//! call judged by the oracle besides what the scenario itself expects. The language is in `script`.

use crate::finding::{Finding, Verdict};
use crate::memory::{Blocked, Watch};
use crate::network::Weather;
use crate::oracle::Oracle;
use crate::script::{ALIGN, Deed, Line, Script, parse};
use crate::trace::Trace;
use crate::world::{Completed, Started, World, WorldPlan};
use hivemind_protocol::{
    Address, Command, DroneId, Failure, Meeting, MeetingKind, Outcome, PAGE_SIZE, Ticket,
};
use std::collections::{BTreeSet, VecDeque};

/// Runs a scenario, with every way to learn of stores unless it names some.
///
/// ```
/// let scenario = "
///     drones 2
///     d0: lock 0
///     d0: write p0+0 = 7
///     d0: unlock 0
///     expect messages 0
///     d1: lock 0
///     settle
///     expect sends d1>d0 LockRequest, d0>d1 LockGrant
///     expect d1 read p0+0 = 7";
/// hivemind_sim::scenario::run(scenario)?;
/// assert!(hivemind_sim::scenario::run("drones 2\nd0: dance").is_err());
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// What is wrong, with the line of the scenario and what happened until then.
pub fn run(text: &str) -> Result<(), String> {
    let script = parse(text)?;
    for &watch in &script.watches {
        let mut stage = Stage::new(&script, watch);
        for (at, line) in &script.lines {
            stage.line(line).map_err(|finding| {
                let lines: Vec<&str> = stage.world.trace.lines().collect();
                format!("line {at}, {watch:?}: {finding}\n{}", lines.join("\n"))
            })?;
        }
    }
    Ok(())
}

/// How many lines of its record a failing scenario shows.
const LINES_SHOWN: usize = 60;

/// A scenario that runs.
struct Stage {
    world: World,
    oracle: Oracle,
    players: Vec<Player>,
    held: BTreeSet<(DroneId, DroneId)>,
    faults_counted: Vec<u64>,
    messages_counted: u64,
}

/// One drone's program: the lines that it has yet to do.
#[derive(Default)]
struct Player {
    deeds: VecDeque<Deed>,
    waits: Option<Ticket>,
    loaded: Vec<u8>,
    lost: Option<DroneId>,
    /// The block that it got last.
    allocated: Option<Address>,
}

impl Stage {
    fn new(script: &Script, watch: Watch) -> Self {
        let drones = script.drones as usize;
        let plan = WorldPlan {
            watches: vec![watch; drones],
            pages: script.pages,
            metadata_limit_bytes: script.limit_bytes,
            fan_out: script.fan_out,
            economies: script.economies,
            weather: Weather::Even(1),
            seed: 0,
            hostility: None,
        };
        let mut world = World::new(&plan, Trace::recording(LINES_SHOWN));
        world.keep_transcript();
        Self {
            world,
            oracle: Oracle::new(script.drones, script.pages * PAGE_SIZE as u64),
            players: (0..drones).map(|_| Player::default()).collect(),
            held: BTreeSet::new(),
            faults_counted: vec![0; drones],
            messages_counted: 0,
        }
    }

    fn line(&mut self, line: &Line) -> Verdict<()> {
        match line {
            Line::Do(who, deed) => {
                for drone in who {
                    self.player(*drone).deeds.push_back(deed.clone());
                    self.pump(*drone)?;
                }
                Ok(())
            }
            Line::Settle => self.settle(),
            Line::Deliver(from, to) => self.deliver(*from, *to),
            Line::Meanwhile(drone, to, bytes) => {
                let stored = self.world.memory_mut(*drone).store(*to, bytes);
                same("what hinders the store", &stored, &Ok(()), String::new)?;
                self.oracle.stored(*drone, *to, bytes)
            }
            Line::Hold(from, to) => {
                self.held.insert((*from, *to));
                Ok(())
            }
            Line::Let(from, to) => {
                self.held.remove(&(*from, *to));
                Ok(())
            }
            Line::Kill(drone) => {
                self.world.kill(*drone, false);
                Ok(())
            }
            expectation => self.expect(expectation),
        }
    }

    fn expect(&mut self, line: &Line) -> Verdict<()> {
        match line {
            Line::ExpectMessages(wanted) => {
                let sent = self.world.take_transcript();
                let count = self.world.messages() - self.messages_counted;
                self.messages_counted = self.world.messages();
                same("messages", &count, wanted, || sent.join(", "))
            }
            Line::ExpectSends(wanted) => {
                self.messages_counted = self.world.messages();
                let sent = self.world.take_transcript();
                same("the messages sent", &sent, wanted, String::new)
            }
            Line::ExpectFaults(drone, wanted) => {
                let stats = self.world.stats(*drone);
                let faults = stats.read_faults + stats.write_faults;
                let counted = std::mem::replace(&mut self.faults_counted[drone.0 as usize], faults);
                same("faults", &(faults - counted), wanted, String::new)
            }
            Line::ExpectCounted(drone, what, wanted) => {
                let stats = serde_json::to_value(self.world.stats(*drone));
                let counted = stats.ok().and_then(|stats| stats.get(what)?.as_u64());
                same(what, &counted, &Some(*wanted), String::new)
            }
            Line::ExpectRead(drone, from, bytes) => {
                self.settle()?;
                self.player(*drone)
                    .deeds
                    .push_back(Deed::Read(*from, bytes.clone()));
                self.pump(*drone)?;
                self.settle()?;
                same("idle", &self.is_idle(*drone), &true, || {
                    format!("{drone} never got to read")
                })
            }
            Line::ExpectWaits(drone) => same("idle", &self.is_idle(*drone), &false, String::new),
            Line::ExpectIdle(drone) => same("idle", &self.is_idle(*drone), &true, String::new),
            Line::ExpectLost(drone, other) => {
                let lost = self.player(*drone).lost;
                same("the lost drone", &lost, &Some(*other), String::new)
            }
            other => unreachable!("{other:?} expects nothing"),
        }
    }

    fn is_idle(&mut self, drone: DroneId) -> bool {
        let player = self.player(drone);
        player.waits.is_none() && player.deeds.is_empty()
    }

    fn player(&mut self, drone: DroneId) -> &mut Player {
        &mut self.players[drone.0 as usize]
    }

    /// Delivers everything on links that are not held, the lowest link first.
    fn settle(&mut self) -> Verdict<()> {
        loop {
            let busy = self.world.network().busy_links();
            let mut free = busy.filter(|(from, to, _)| {
                !self.held.contains(&(*from, *to)) && !self.world.is_dead(*to)
            });
            let Some((from, to, _)) = free.next() else {
                return Ok(());
            };
            drop(free);
            self.deliver(from, to)?;
        }
    }

    fn deliver(&mut self, from: DroneId, to: DroneId) -> Verdict<()> {
        let completed = self.world.deliver(from, to)?;
        self.dispatch(completed)
    }

    fn dispatch(&mut self, completed: Vec<Completed>) -> Verdict<()> {
        for Completed {
            drone,
            ticket,
            result,
        } in completed
        {
            let player = self.player(drone);
            if player.waits != Some(ticket) {
                return Err(Finding::new(
                    "a wait ends twice",
                    format!("{drone}: {ticket}"),
                ));
            }
            player.waits = None;
            self.ended(drone, result)?;
            self.pump(drone)?;
        }
        Ok(())
    }

    /// What a drone waited for has ended: a fault is tried again, a call is done.
    fn ended(&mut self, drone: DroneId, result: Result<Outcome, Failure>) -> Verdict<()> {
        let player = self.player(drone);
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(Failure::Lost(other)) => {
                player.lost = Some(other);
                player.deeds.clear();
                return Ok(());
            }
            Err(refused) => {
                return Err(Finding::new(
                    "a call refused",
                    format!("{drone}: {refused}"),
                ));
            }
        };
        match player.deeds.front().cloned() {
            Some(Deed::Lock(lock)) => {
                player.deeds.pop_front();
                self.oracle.acquired(drone, lock)
            }
            Some(Deed::Try(lock, taken)) => {
                player.deeds.pop_front();
                same("taken", &(outcome == Outcome::Done), &taken, String::new)?;
                match taken {
                    true => self.oracle.acquired(drone, lock),
                    false => self.oracle.tried_in_vain(drone, lock),
                }
            }
            Some(Deed::Wait(lock, _)) => {
                player.deeds.pop_front();
                self.oracle.woke(drone, lock)
            }
            Some(
                Deed::Unlock(_)
                | Deed::Signal(..)
                | Deed::Prefetch(_)
                | Deed::Free
                | Deed::Arrive(_),
            ) => {
                player.deeds.pop_front();
                Ok(())
            }
            Some(Deed::Measure) => {
                player.deeds.pop_front();
                let (Outcome::Allocated(block), Some(address)) = (outcome, player.allocated) else {
                    let what = format!("{drone} measured its block");
                    return Err(Finding::new("a call's outcome", what));
                };
                self.oracle.measured(address, block)
            }
            Some(Deed::Allocate(bytes)) => {
                player.deeds.pop_front();
                let Outcome::Allocated(block) = outcome else {
                    let what = format!("{drone} allocated and got {outcome:?}");
                    return Err(Finding::new("a call's outcome", what));
                };
                player.allocated = Some(block.address);
                self.oracle.allocated(block, bytes, ALIGN)
            }
            Some(Deed::Barrier(_) | Deed::Depart | Deed::Leave) => {
                player.deeds.pop_front();
                self.oracle.met(drone, &outcome).map(|_| ())
            }
            Some(Deed::AllocateTogether(bytes, align)) => {
                player.deeds.pop_front();
                let together = self.oracle.met(drone, &outcome)?;
                let Some(block) = together.allocated else {
                    let what = format!("{drone} allocated and got {outcome:?}");
                    return Err(Finding::new("a call's outcome", what));
                };
                self.player(drone).allocated = Some(block.address);
                match together.first {
                    true => self.oracle.allocated_together(block, bytes, align),
                    false => Ok(()),
                }
            }
            Some(Deed::FreeTogether) => {
                player.deeds.pop_front();
                let address = player.allocated.take();
                let together = self.oracle.met(drone, &outcome)?;
                if let Some(address) = address.filter(|_| together.first) {
                    self.oracle.frees(address);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A drone does its lines until one waits.
    fn pump(&mut self, drone: DroneId) -> Verdict<()> {
        while self.player(drone).waits.is_none() {
            let Some(deed) = self.player(drone).deeds.front().cloned() else {
                return Ok(());
            };
            match deed {
                Deed::Write(to, bytes) => self.write(drone, to, &bytes)?,
                Deed::Read(from, wanted) => self.read(drone, from, &wanted)?,
                Deed::Lock(lock) => {
                    self.oracle.wants(drone, lock);
                    self.call(drone, Command::Acquire(lock))?;
                }
                Deed::Try(lock, _) => {
                    self.oracle.tries(drone, lock);
                    self.call(drone, Command::TryAcquire(lock))?;
                }
                Deed::Unlock(lock) => {
                    self.oracle.releases(drone, lock);
                    self.call(drone, Command::Release(lock))?;
                }
                Deed::Wait(lock, condition) => {
                    self.oracle.falls_asleep(drone, lock, condition);
                    self.call(drone, Command::Wait { lock, condition })?;
                }
                Deed::Signal(lock, condition, all) => {
                    self.oracle.signals(lock, condition, all);
                    let command = Command::Signal {
                        lock,
                        condition,
                        all,
                    };
                    self.call(drone, command)?;
                }
                Deed::Prefetch(pages) => self.call(drone, Command::Prefetch(pages))?,
                Deed::Allocate(bytes) => {
                    let align = ALIGN;
                    self.call(drone, Command::Allocate { bytes, align })?;
                }
                Deed::Measure => {
                    let address = self.allocated(drone)?;
                    self.call(drone, Command::Measure(address))?;
                }
                Deed::Free => self.free(drone)?,
                Deed::AllocateTogether(bytes, align) => {
                    self.meet(drone, MeetingKind::Allocate { bytes, align })?;
                }
                Deed::FreeTogether => {
                    let address = self.allocated(drone)?;
                    self.meet(drone, MeetingKind::Free(address))?;
                }
                Deed::Barrier(barrier) => self.meet(drone, MeetingKind::Barrier(barrier))?,
                Deed::Arrive(barrier) => self.meet(drone, MeetingKind::Split(barrier))?,
                Deed::Depart => self.call(drone, Command::Depart)?,
                Deed::Leave => self.meet(drone, MeetingKind::Leave)?,
            }
        }
        Ok(())
    }

    fn write(&mut self, drone: DroneId, to: Address, bytes: &[u8]) -> Verdict<()> {
        if let Err(blocked) = self.world.memory_mut(drone).store(to, bytes) {
            return self.fault(drone, blocked);
        }
        self.player(drone).deeds.pop_front();
        self.oracle.stored(drone, to, bytes)
    }

    fn read(&mut self, drone: DroneId, from: Address, wanted: &[u8]) -> Verdict<()> {
        let mut loaded = vec![0; wanted.len()];
        if let Err(blocked) = self.world.memory(drone).load(from, &mut loaded) {
            return self.fault(drone, blocked);
        }
        let player = self.player(drone);
        player.deeds.pop_front();
        player.loaded.clone_from(&loaded);
        self.oracle.loaded(drone, from, &loaded)?;
        same("the bytes read", &loaded, &wanted.to_vec(), || {
            format!("{drone} at {from}")
        })
    }

    fn fault(&mut self, drone: DroneId, blocked: Blocked) -> Verdict<()> {
        let started = self.world.fault(drone, blocked)?;
        self.wait(drone, started)
    }

    /// The block that a drone has.
    fn allocated(&mut self, drone: DroneId) -> Verdict<Address> {
        self.player(drone).allocated.ok_or_else(|| {
            let what = format!("{drone} has no block");
            Finding::new("the scenario", what)
        })
    }

    fn free(&mut self, drone: DroneId) -> Verdict<()> {
        let address = self.allocated(drone)?;
        self.player(drone).allocated = None;
        self.oracle.frees(address);
        self.call(drone, Command::Free(address))
    }

    fn meet(&mut self, drone: DroneId, kind: MeetingKind) -> Verdict<()> {
        let meeting = Meeting {
            kind,
            payload: Vec::new(),
        };
        self.oracle.meets(drone, &meeting);
        self.call(drone, Command::Meet(meeting))
    }

    fn call(&mut self, drone: DroneId, command: Command) -> Verdict<()> {
        let started = self.world.command(drone, command)?;
        self.wait(drone, started)
    }

    fn wait(&mut self, drone: DroneId, Started { ticket, completed }: Started) -> Verdict<()> {
        self.player(drone).waits = Some(ticket);
        self.dispatch(completed)
    }
}

fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    got: &T,
    wanted: &T,
    more: impl FnOnce() -> String,
) -> Verdict<()> {
    if got == wanted {
        return Ok(());
    }
    Err(Finding::new(
        "the scenario",
        format!("{what}: got {got:?}, wanted {wanted:?}; {}", more()),
    ))
}
