//! Torture for what drones wait for: a bounded queue on two conditions, locks that are tried, words that are changed in
//! one step, permits and events, and what drone 0 has them do.

use super::Torture;
use crate::program::Failure;
use bytemuck::{Pod, Zeroable};
use hivemind::Hive;

/// So few places that the queue is full and empty all the time.
const PLACES: usize = 3;
const NOT_EMPTY: u32 = 0;
const NOT_FULL: u32 = 1;

/// A bounded queue of numbers.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Queue {
    items: [u64; PLACES],
    first: u64,
    count: u64,
}

impl Queue {
    fn put(&mut self, item: u64) {
        let at = (self.first + self.count) as usize % PLACES;
        self.items[at] = item;
        self.count += 1;
    }

    fn take(&mut self) -> u64 {
        let item = self.items[self.first as usize];
        self.first = (self.first + 1) % PLACES as u64;
        self.count -= 1;
        item
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn is_full(&self) -> bool {
        self.count == PLACES as u64
    }
}

/// Drone 0 puts numbers into a queue, the others take them out; each number comes out once. A 0 says that no more come.
pub(super) fn queue(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    let queue = hive.mutex(Queue::zeroed())?;
    let takers = hive.drones() as u64 - 1;
    let (mut count, mut sum) = (0_u64, 0_u64);
    if hive.is_first() && takers > 0 {
        for item in (1..=torture.rounds).chain((0..takers).map(|_| 0)) {
            let mut guard = queue.lock(hive)?;
            guard.wait_while(NOT_FULL, Queue::is_full)?;
            guard.put(item);
            guard.signal(NOT_EMPTY)?;
            guard.release()?;
        }
    } else {
        loop {
            let mut guard = queue.lock(hive)?;
            if takers == 0 {
                guard.put(if count < torture.rounds { count + 1 } else { 0 });
            }
            guard.wait_while(NOT_EMPTY, Queue::is_empty)?;
            let item = guard.take();
            guard.signal(NOT_FULL)?;
            guard.release()?;
            if item == 0 {
                break;
            }
            (count, sum) = (count + 1, sum + item);
        }
    }
    let rounds = torture.rounds;
    let (count, sum) = (hive.sum(count)?, hive.sum(sum)?);
    torture.expect(hive, "how many came out", count, rounds)?;
    torture.expect(hive, "their sum", sum, rounds * (rounds + 1) / 2)?;
    queue.free(hive)?;
    Ok(())
}

/// All drones count under a lock that they only ever try for.
pub(super) fn tries(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    let counter = hive.mutex(0_u64)?;
    let mut taken = 0;
    while taken < torture.rounds {
        match counter.try_lock(hive)? {
            Some(mut guard) => {
                *guard += 1;
                guard.release()?;
                taken += 1;
            }
            None => std::thread::yield_now(),
        }
    }
    hive.barrier()?;
    let expected = torture.rounds * hive.drones() as u64;
    let found = *counter.lock(hive)?;
    torture.expect(hive, "the counter", found, expected)?;
    counter.free(hive)?;
    Ok(())
}

/// All drones change words of two pages in single steps; every number that a step gives comes once.
pub(super) fn words(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    let tickets = hive.alloc::<u64>(1024)?;
    let deepest = hive.alloc::<i32>(1)?;
    let (last, drones) = (tickets.len() - 1, hive.drones() as u64);
    let mut sum = 0;
    for _ in 0..torture.rounds {
        sum += tickets.fetch_add(hive, 0, 1)?;
        sum += tickets.fetch_add(hive, last, 1)?;
        let mut depth = 0;
        while let Err(other) = deepest.compare_exchange(hive, 0, depth, depth - 1)? {
            depth = other;
        }
    }
    let sum = hive.sum(sum)?;
    let all = torture.rounds * drones;
    torture.expect(hive, "the sum of all tickets", sum, all * (all - 1))?;
    let depth = deepest.view(hive)[0];
    torture.expect(hive, "the depth", depth, -(all as i32))?;
    hive.free(tickets)?;
    hive.free(deepest)?;
    Ok(())
}

/// No more drones than permits are in a section at once; it begins for all when drone 0 says so.
pub(super) fn permits(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    const PERMITS: u64 = 2;
    let (permits, begun) = (hive.semaphore(PERMITS)?, hive.event()?);
    let inside = hive.alloc::<u64>(1)?;
    if hive.is_first() {
        begun.set(hive)?;
    }
    begun.wait(hive)?;
    let mut most = 0;
    for _ in 0..torture.rounds {
        permits.acquire(hive)?;
        most = most.max(inside.fetch_add(hive, 0, 1)? + 1);
        inside.fetch_add(hive, 0, u64::MAX)?;
        permits.release(hive)?;
    }
    let most = hive.reduce(most, u64::max)?;
    torture.expect(hive, "whether too many were inside", most > PERMITS, false)?;
    for _ in 0..PERMITS {
        let left = !hive.is_first() || permits.try_acquire(hive)?;
        torture.expect(hive, "whether a permit is left", left, true)?;
    }
    hive.free(inside)?;
    begun.free(hive)?;
    permits.free(hive)?;
    Ok(())
}

/// Drone 0 writes a number, all add it to their parts of an array, drone 0 looks at all of them; no drone does a round that it
/// wasn't given.
pub(super) fn forks(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    const PARTS: usize = 1000;
    let mut number = hive.alloc::<u64>(1)?;
    let mut parts = hive.alloc::<u64>(PARTS)?;
    let (number_cell, parts_cell) = (
        std::cell::RefCell::new(&mut number),
        std::cell::RefCell::new(&mut parts),
    );
    let mut done = 0;
    let wrong = hive.fork_join(
        |hive, times: u64| {
            done += 1;
            let plus = number_cell.borrow().view(hive)[0] * times;
            let mine = hive.share_of(0..PARTS);
            for part in &mut parts_cell.borrow_mut().view_mut(hive)[mine] {
                *part += plus;
            }
            Ok(())
        },
        |all| {
            let (mut expected, mut wrong) = (0, 0);
            for round in 1..=torture.rounds {
                number_cell.borrow_mut().view_mut(all)[0] = round;
                all.run(round % 5)?;
                expected += round * (round % 5);
                let parts = parts_cell.borrow();
                wrong += parts
                    .view(all)
                    .iter()
                    .filter(|part| **part != expected)
                    .count();
            }
            Ok(wrong)
        },
    )?;
    torture.expect(hive, "parts that are wrong", wrong.unwrap_or(0), 0)?;
    torture.expect(hive, "rounds done", done, torture.rounds)?;
    hive.free(parts)?;
    hive.free(number)?;
    Ok(())
}
