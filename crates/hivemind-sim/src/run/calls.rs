//! The calls of a program into the core: what the oracle must know before, and what their outcomes mean.
//! Accesses to memory are in `accesses`, the order of steps in the parent.

use super::Run;
use crate::finding::{Finding, Verdict};
use crate::program::End;
use crate::step::{Purpose, Step};
use crate::thread::{HELPER, MAIN, State};
use crate::world::may_wait;
use hivemind_protocol::{
    BarrierId, Block, Command, DroneId, Failure, LockId, Meeting, MeetingKind, Outcome, Refusal,
};

impl Run {
    /// A call of the program into the core.
    pub(super) fn call(&mut self, drone: DroneId, thread: usize, step: Step) -> Verdict<()> {
        let me = drone.0 as usize;
        let command = command_of(&step);
        let waits = may_wait(&command);
        if waits {
            // Nobody may be in a fault when the program acquires or meets.
            let actor = &mut self.actors[me];
            actor.wants_call = matches!(actor.threads[HELPER].state, State::Waiting { .. });
            if actor.wants_call {
                self.park(drone, step);
                return Ok(());
            }
            actor.in_call = true;
        }
        self.before_call(drone, &step);
        let armed = if waits {
            None
        } else {
            self.arm(drone, Some(thread))
        };
        let started = self.world.command(drone, command)?;
        self.settle_race(drone, armed)?;
        let done_at_once = started
            .completed
            .iter()
            .any(|done| done.ticket == started.ticket);
        if matches!(
            step,
            Step::Release(_) | Step::Signal(..) | Step::Prefetch(_)
        ) && !done_at_once
        {
            return Err(Finding::new(
                "a release that waits",
                format!("{drone}: {step:?}"),
            ));
        }
        self.await_ticket(drone, thread, started, Some(step))
    }

    /// What the oracle must know before the core does.
    fn before_call(&mut self, drone: DroneId, step: &Step) {
        match step {
            Step::Release(lock) => {
                self.oracle.releases(drone, *lock);
                self.actors[drone.0 as usize]
                    .held
                    .retain(|held| held != lock);
            }
            Step::Acquire(lock) => self.oracle.wants(drone, *lock),
            Step::Try(lock, _) => self.oracle.tries(drone, *lock),
            Step::Wait(lock, condition) => {
                self.oracle.falls_asleep(drone, *lock, *condition);
                self.actors[drone.0 as usize]
                    .held
                    .retain(|held| held != lock);
            }
            Step::Signal(lock, condition, all) => self.oracle.signals(*lock, *condition, *all),
            Step::Meet(meeting, _) => self.oracle.meets(drone, meeting),
            Step::Allocate { .. } => {
                self.heap.alone = self.heap.outstanding == 0;
                self.heap.outstanding += 1;
            }
            Step::Free(address) => {
                self.heap.alone = false;
                self.heap.outstanding += 1;
                let known = self.oracle.frees(*address);
                assert!(
                    known,
                    "the simulator's program frees what it has not allocated"
                );
            }
            _ => {}
        }
    }

    pub(super) fn after_call(
        &mut self,
        drone: DroneId,
        thread: usize,
        step: Step,
        result: Result<Outcome, Failure>,
    ) -> Verdict<()> {
        let actor = &mut self.actors[drone.0 as usize];
        match (step, result) {
            (Step::Acquire(lock), Ok(Outcome::Done)) => {
                actor.held.push(lock);
                self.oracle.acquired(drone, lock)
            }
            (Step::Try(lock, then), Ok(Outcome::Done)) => {
                actor.held.push(lock);
                let steps = &mut actor.threads[thread].steps;
                steps.push_front(Step::Release(lock));
                for step in then.into_iter().rev() {
                    steps.push_front(step);
                }
                self.oracle.acquired(drone, lock)
            }
            (Step::Try(lock, _), Ok(Outcome::Unavailable)) => {
                self.oracle.tried_in_vain(drone, lock)
            }
            (Step::Wait(lock, _), Ok(Outcome::Done)) => {
                actor.held.push(lock);
                self.oracle.woke(drone, lock)
            }
            (Step::Release(_) | Step::Signal(..) | Step::Prefetch(_), Ok(Outcome::Done)) => Ok(()),
            (Step::Meet(meeting, _), Ok(Outcome::Done))
                if matches!(meeting.kind, MeetingKind::Split(_)) =>
            {
                Ok(())
            }
            (Step::Depart, Ok(outcome)) => self.oracle.met(drone, &outcome).map(|_| ()),
            (Step::Meet(meeting, purpose), result) => {
                self.after_meeting(drone, meeting, purpose, result)
            }
            (Step::Allocate { bytes, align }, Ok(Outcome::Allocated(block))) => {
                self.heap.outstanding -= 1;
                actor.threads[thread].allocated = Some(block);
                self.oracle.allocated(block, bytes, align)
            }
            (
                Step::Allocate { bytes, align },
                Err(Failure::Refused(Refusal::Insufficient { .. })),
            ) => {
                self.heap.outstanding -= 1;
                actor.threads[thread].allocated = None;
                if self.heap.alone {
                    self.oracle.refused_room(bytes, align)
                } else {
                    Ok(())
                }
            }
            (Step::Measure(address), Ok(Outcome::Allocated(block))) => {
                self.oracle.measured(address, block)
            }
            (Step::Free(_), Ok(Outcome::Done)) => {
                self.heap.outstanding -= 1;
                Ok(())
            }
            (Step::Refused(_, wanted), Err(Failure::Refused(got)))
                if alike(&wanted, &got, &actor.held) =>
            {
                Ok(())
            }
            (step, result) => {
                let what = format!("{drone}: {step:?} completed with {result:?}");
                Err(Finding::new("a call's outcome", what))
            }
        }
    }

    fn after_meeting(
        &mut self,
        drone: DroneId,
        meeting: Meeting,
        purpose: Purpose,
        result: Result<Outcome, Failure>,
    ) -> Verdict<()> {
        let outcome = match result {
            Err(Failure::Refused(refusal)) => {
                return self.after_refused(drone, meeting, purpose, &refusal);
            }
            Ok(outcome) if purpose != Purpose::Mismatch => outcome,
            other => {
                let what = format!("{drone}: {purpose:?} ended with {other:?}");
                return Err(Finding::new("a meeting's outcome", what));
            }
        };
        let together = self.oracle.met(drone, &outcome)?;
        if let MeetingKind::Free(address) = meeting.kind
            && together.first
        {
            self.oracle.frees(address);
        }
        let MeetingKind::Allocate { bytes, align } = meeting.kind else {
            if let Purpose::PhaseEnd(End::Free(block)) = purpose {
                self.actors[drone.0 as usize].blocks[block] = None;
            }
            return Ok(());
        };
        let Some(block) = together.allocated else {
            return Err(Finding::new(
                "a meeting's block",
                format!("{drone} got none from {meeting:?}"),
            ));
        };
        self.keep_block(drone, purpose, block, bytes);
        if together.first {
            self.oracle.allocated_together(block, bytes, align)
        } else {
            Ok(())
        }
    }

    fn keep_block(&mut self, drone: DroneId, purpose: Purpose, block: Block, bytes: u64) {
        let actor = &mut self.actors[drone.0 as usize];
        match purpose {
            Purpose::PhaseEnd(End::Allocate { block: number, .. }) => {
                actor.blocks[number] = Some((block.address.0, bytes));
            }
            _ => actor.base = block.address.0,
        }
    }

    fn after_refused(
        &mut self,
        drone: DroneId,
        meeting: Meeting,
        purpose: Purpose,
        refusal: &Refusal,
    ) -> Verdict<()> {
        match (meeting.kind, refusal) {
            _ if purpose == Purpose::Mismatch => self.oracle.mismatched(drone, refusal),
            (MeetingKind::Allocate { bytes, align }, Refusal::Insufficient { .. }) => {
                // What was refused orders nothing: the phase ends with a barrier instead.
                let kind = MeetingKind::Barrier(BarrierId(8));
                let barrier = Step::Meet(
                    Meeting {
                        kind,
                        payload: Vec::new(),
                    },
                    Purpose::Closing,
                );
                self.actors[drone.0 as usize].threads[MAIN]
                    .steps
                    .push_front(barrier);
                self.oracle.refused_room(bytes, align)
            }
            _ => {
                let what = format!("{drone}: {meeting:?} was refused: {refusal:?}");
                Err(Finding::new("a meeting refused", what))
            }
        }
    }
}

/// Whether a refusal says what it should; which of the held locks it names is its own choice.
fn alike(wanted: &Refusal, got: &Refusal, held: &[LockId]) -> bool {
    match (wanted, got) {
        (
            Refusal::HeldAtMeeting { meeting: one, .. },
            Refusal::HeldAtMeeting {
                lock,
                meeting: other,
            },
        ) => one == other && held.contains(lock),
        _ => wanted == got,
    }
}

fn command_of(step: &Step) -> Command {
    match step {
        Step::Acquire(lock) => Command::Acquire(*lock),
        Step::Try(lock, _) => Command::TryAcquire(*lock),
        Step::Release(lock) => Command::Release(*lock),
        Step::Wait(lock, condition) => Command::Wait {
            lock: *lock,
            condition: *condition,
        },
        Step::Signal(lock, condition, all) => Command::Signal {
            lock: *lock,
            condition: *condition,
            all: *all,
        },
        Step::Meet(meeting, _) => Command::Meet(meeting.clone()),
        Step::Depart => Command::Depart,
        Step::Allocate { bytes, align } => Command::Allocate {
            bytes: *bytes,
            align: *align,
        },
        Step::Measure(address) => Command::Measure(*address),
        Step::Free(address) => Command::Free(*address),
        Step::Prefetch(pages) => Command::Prefetch(*pages),
        Step::Refused(command, _) => command.clone(),
        other => unreachable!("{other:?} is no call"),
    }
}
