//! The accesses of a program to memory: its loads and stores with their faults, and stores that land in the middle of what
//! the core does. The order of steps is in the parent.

use super::Run;
use crate::finding::{Finding, Verdict};
use crate::memory::{Blocked, RacingStore};
use crate::step::Step;
use crate::thread::{HELPER, State};
use crate::trace::About;
use hivemind_protocol::{Address, DroneId, PAGE_SIZE, PageId};

/// More faults than an access needs, however often collections protect its page again before it is made.
const TRIES_MOST: u64 = 2_000;

impl Run {
    pub(super) fn load(
        &mut self,
        drone: DroneId,
        thread: usize,
        at: Address,
        bytes: u64,
        begun: bool,
    ) -> Verdict<()> {
        let count = chunk(at, bytes as usize);
        let mut loaded = vec![0; count];
        let result = if count == 0 {
            Ok(())
        } else {
            self.world.memory(drone).load(at, &mut loaded)
        };
        let found = &mut self.actors[drone.0 as usize].threads[thread];
        if let Err(blocked) = result {
            found.steps.push_front(Step::Load { at, bytes, begun });
            return self.fault(drone, thread, blocked);
        }
        found.tries = 0;
        if !begun {
            found.loaded.clear();
        }
        found.loaded.extend_from_slice(&loaded);
        let rest = bytes - count as u64;
        if rest > 0 {
            let at = Address(at.0 + count as u64);
            found.steps.push_front(Step::Load {
                at,
                bytes: rest,
                begun: true,
            });
        }
        let page = PageId::of(at);
        self.world.says(drone, About::Page(page), || {
            format!("loads {count} bytes at {}", describe(at))
        });
        self.schedule(drone, thread, 0);
        self.oracle.loaded(drone, at, &loaded)
    }

    pub(super) fn store(
        &mut self,
        drone: DroneId,
        thread: usize,
        at: Address,
        mut content: Vec<u8>,
    ) -> Verdict<()> {
        let count = chunk(at, content.len());
        let head = &content[..count];
        let result = if count == 0 {
            Ok(())
        } else {
            self.world.memory_mut(drone).store(at, head)
        };
        let found = &mut self.actors[drone.0 as usize].threads[thread];
        if let Err(blocked) = result {
            found.steps.push_front(Step::Store { at, content });
            return self.fault(drone, thread, blocked);
        }
        found.tries = 0;
        let rest = content.split_off(count);
        if !rest.is_empty() {
            found.steps.push_front(Step::Store {
                at: Address(at.0 + count as u64),
                content: rest,
            });
        }
        let page = PageId::of(at);
        self.world.says(drone, About::Page(page), || {
            format!("stores {content:?} at {}", describe(at))
        });
        self.schedule(drone, thread, 0);
        self.oracle.stored(drone, at, &content)
    }

    fn fault(&mut self, drone: DroneId, thread: usize, blocked: Blocked) -> Verdict<()> {
        let found = &mut self.actors[drone.0 as usize].threads[thread];
        found.tries += 1;
        if found.tries > TRIES_MOST {
            let what = format!("{drone} faulted on {blocked:?} {TRIES_MOST} times in a row");
            return Err(Finding::new("an access that never succeeds", what));
        }
        let armed = self.arm(drone, Some(thread));
        let started = self.world.fault(drone, blocked)?;
        self.settle_race(drone, armed)?;
        self.await_ticket(drone, thread, started, None)
    }

    /// Perhaps lets the next store of a computing thread land in the middle of what the core does now.
    pub(super) fn arm(
        &mut self,
        drone: DroneId,
        except: Option<usize>,
    ) -> Option<(usize, RacingStore)> {
        let actor = &mut self.actors[drone.0 as usize];
        if actor.in_call || !actor.prng.chance(40) {
            return None;
        }
        let thread = actor.prng.below(2) as usize;
        let ready = actor.threads[thread].state == State::Ready && except != Some(thread);
        if !ready || (thread == HELPER && actor.wants_call) {
            return None;
        }
        let Some(Step::Store { at, content }) = actor.threads[thread].steps.front() else {
            return None;
        };
        let bytes = content[..chunk(*at, content.len())].to_vec();
        if bytes.is_empty() {
            return None;
        }
        let store = RacingStore {
            address: *at,
            bytes,
            after_calls: actor.prng.below(5),
        };
        self.world.memory_mut(drone).arm(store.clone());
        Some((thread, store))
    }

    /// Tells the oracle if the armed store landed.
    pub(super) fn settle_race(
        &mut self,
        drone: DroneId,
        armed: Option<(usize, RacingStore)>,
    ) -> Verdict<()> {
        let Some((thread, store)) = armed else {
            return Ok(());
        };
        if self.world.memory_mut(drone).disarm().is_some() {
            return Ok(());
        }
        self.faults.races += 1;
        let page = PageId::of(store.address);
        self.world.says(drone, About::Page(page), || {
            format!("stores meanwhile {store:?}")
        });
        self.oracle.stored(drone, store.address, &store.bytes)?;
        let thread = &mut self.actors[drone.0 as usize].threads[thread];
        let Some(Step::Store { at, content }) = thread.steps.pop_front() else {
            unreachable!("the armed store is the thread's next step")
        };
        thread.tries = 0;
        let rest = content[store.bytes.len()..].to_vec();
        if !rest.is_empty() {
            let at = Address(at.0 + store.bytes.len() as u64);
            thread.steps.push_front(Step::Store { at, content: rest });
        }
        Ok(())
    }
}

/// How many bytes of an access lie within its first page.
fn chunk(at: Address, bytes: usize) -> usize {
    bytes.min(PAGE_SIZE - (at.0 % PAGE_SIZE as u64) as usize)
}

fn describe(at: Address) -> String {
    format!(
        "page {} + {}",
        at.0 / PAGE_SIZE as u64,
        at.0 % PAGE_SIZE as u64
    )
}
