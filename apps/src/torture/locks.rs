//! Torture that lives on locks: one counter, four locks on one page, a lock passed round a ring. Long rows
//! of hand-overs are in [`super::endurance`].

use super::Torture;
use crate::program::Failure;
use hivemind::Hive;
use std::time::Duration;

/// All drones count in one place under one lock; no count may be lost.
pub(super) fn counter(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    let mut counter = hive.alloc::<u64>(1)?;
    for _ in 0..torture.rounds {
        let held = hive.lock(11)?;
        counter.view_mut(&held)[0] += 1;
        held.release()?;
    }
    hive.barrier()?;
    let expected = torture.rounds * hive.drones() as u64;
    torture.expect(hive, "the counter", counter.view(hive)[0], expected)?;
    hive.barrier()?;
    hive.free(counter)?;
    Ok(())
}

/// Four locks guard the slots of one page, slot by slot in turn: writers under different locks meet on the
/// page and even in a word of it, and none may take another's slots along.
pub(super) fn slots(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    const SLOTS: usize = 64;
    const LOCKS: usize = 4;
    let mut slots = hive.alloc::<u16>(SLOTS)?;
    let me = hive.me();
    for round in 0..torture.rounds as usize {
        let lock = (round + me) % LOCKS;
        let held = hive.lock(20 + lock as u32)?;
        for slot in slots.view_mut(&held).iter_mut().skip(lock).step_by(LOCKS) {
            *slot = slot.wrapping_add(1);
        }
        held.release()?;
    }
    hive.barrier()?;
    for slot in 0..SLOTS {
        let visits = |drone: usize| {
            (0..torture.rounds as usize)
                .filter(|round| (round + drone) % LOCKS == slot % LOCKS)
                .count()
        };
        let expected = (0..hive.drones()).map(visits).sum::<usize>() as u16;
        torture.expect(
            hive,
            &format!("slot {slot}"),
            slots.view(hive)[slot],
            expected,
        )?;
    }
    hive.barrier()?;
    hive.free(slots)?;
    Ok(())
}

/// The drones take turns, in order: whoever's turn it is checks what the one before wrote, and writes the
/// next. What travels with the lock is one word and, for each drone, a page of its own.
pub(super) fn ring(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    const WORDS: usize = 512;
    let drones = hive.drones();
    let mut turn = hive.alloc::<u64>(1)?;
    let mut pages = hive.alloc::<u64>(WORDS * drones)?;
    let turns = torture.rounds * drones as u64;
    let before = (hive.me() + drones - 1) % drones;
    let own = WORDS * hive.me();
    let mut pause = SHORTEST_PAUSE;
    loop {
        let held = hive.lock(30)?;
        let now = turn.view(&held)[0];
        if now == turns {
            held.release()?;
            break;
        }
        if now as usize % drones != held.me() {
            held.release()?;
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            continue;
        }
        pause = SHORTEST_PAUSE;
        let written = pages.view(&held)[WORDS * before + now as usize % WORDS];
        // In the first round on a ring nobody has written yet.
        let expected = if now == 0 { 0 } else { now };
        torture.expect(
            &held,
            &format!("the page of drone {before} at turn {now}"),
            written,
            expected,
        )?;
        pages.view_mut(&held)[own + (now + 1) as usize % WORDS] = now + 1;
        turn.view_mut(&held)[0] = now + 1;
        held.release()?;
    }
    hive.barrier()?;
    torture.expect(hive, "the last turn", turn.view(hive)[0], turns)?;
    hive.barrier()?;
    hive.free(turn)?;
    hive.free(pages)?;
    Ok(())
}

/// Who finds that it isn't its turn waits this long at first, twice as long each time, up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_micros(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(1);
