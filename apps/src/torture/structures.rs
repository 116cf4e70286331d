//! Torture with pointers: a list under one lock and a hash table under many, grown by all drones at once.

use super::Torture;
use crate::program::Failure;
use bytemuck::{Pod, Zeroable};
use hivemind::{Hive, Ptr};

/// A cell of a list in shared memory.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Cell {
    key: u64,
    next: Ptr<Cell>,
}

/// All drones put cells in front of one list; at the end every drone finds every cell once.
pub(super) fn list(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    let mut head = hive.alloc::<Ptr<Cell>>(1)?;
    for round in 0..torture.rounds {
        let key = key(hive.me(), round, torture.rounds);
        let mut held = hive.lock(40)?;
        let next = head.view(&held)[0];
        let cell = held.create(Cell { key, next })?;
        head.view_mut(&held)[0] = cell;
        held.release()?;
    }
    hive.barrier()?;
    let first = head.view(hive)[0];
    let mut seen = Seen::new(torture, hive);
    walk(hive, first, |cell| seen.add(cell))?;
    seen.check(torture, hive)?;
    hive.barrier()?;
    if hive.is_first() {
        destroy(hive, first)?;
    }
    hive.free(head)?;
    Ok(())
}

/// All drones put cells into a table: the bucket's lock guards its list, a lock guards several buckets, and
/// buckets of different locks lie side by side. Every other round looks for what was put in before.
pub(super) fn table(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    const BUCKETS: usize = 64;
    const LOCKS: usize = 16;
    let mut heads = hive.alloc::<Ptr<Cell>>(BUCKETS)?;
    let bucket_of = |key: u64| (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % BUCKETS;
    for round in 0..torture.rounds {
        let own = key(hive.me(), round, torture.rounds);
        put(hive, &mut heads, bucket_of(own), LOCKS, own)?;
        let earlier = key(hive.me(), round / 2, torture.rounds);
        let bucket = bucket_of(earlier);
        let mut held = hive.lock(50 + (bucket % LOCKS) as u32)?;
        let first = heads.view(&held)[bucket];
        let mut found = 0;
        walk(&mut held, first, |cell| {
            found += u64::from(cell.key == earlier)
        })?;
        torture.expect(
            &held,
            &format!("how often key {earlier} is in the table"),
            found,
            1,
        )?;
        held.release()?;
    }
    hive.barrier()?;
    let firsts = heads.view(hive).to_vec();
    let mut seen = Seen::new(torture, hive);
    for (bucket, &first) in firsts.iter().enumerate() {
        let mut strays = 0;
        walk(hive, first, |cell| {
            strays += u64::from(bucket_of(cell.key) != bucket);
            seen.add(cell);
        })?;
        torture.expect(
            hive,
            &format!("cells of other buckets in bucket {bucket}"),
            strays,
            0,
        )?;
    }
    seen.check(torture, hive)?;
    hive.barrier()?;
    // The buckets are emptied by all drones: each frees what others made.
    for bucket in hive.share_of(0..BUCKETS) {
        destroy(hive, firsts[bucket])?;
    }
    hive.free(heads)?;
    Ok(())
}

fn put(
    hive: &mut Hive,
    heads: &mut hivemind::Shared<Ptr<Cell>>,
    bucket: usize,
    locks: usize,
    key: u64,
) -> hivemind::Result<()> {
    let mut held = hive.lock(50 + (bucket % locks) as u32)?;
    let next = heads.view(&held)[bucket];
    let cell = held.create(Cell { key, next })?;
    heads.view_mut(&held)[bucket] = cell;
    held.release()
}

/// The key of a drone's round: all keys are different and fill 0..rounds × drones.
fn key(drone: usize, round: u64, rounds: u64) -> u64 {
    drone as u64 * rounds + round
}

fn walk(hive: &mut Hive, first: Ptr<Cell>, mut visit: impl FnMut(&Cell)) -> Result<(), Failure> {
    let mut at = first;
    while !at.is_null() {
        let cell = hive.get(at);
        visit(&cell);
        at = cell.next;
    }
    Ok(())
}

fn destroy(hive: &mut Hive, first: Ptr<Cell>) -> hivemind::Result<()> {
    let mut at = first;
    while !at.is_null() {
        let next = hive.get(at).next;
        hive.destroy(at)?;
        at = next;
    }
    Ok(())
}

/// How often each key was seen.
struct Seen {
    times: Vec<u32>,
    strangers: u64,
}

impl Seen {
    fn new(torture: &Torture, hive: &Hive) -> Seen {
        Seen {
            times: vec![0; torture.rounds as usize * hive.drones()],
            strangers: 0,
        }
    }

    fn add(&mut self, cell: &Cell) {
        match self.times.get_mut(cell.key as usize) {
            Some(times) => *times += 1,
            None => self.strangers += 1,
        }
    }

    fn check(&self, torture: &Torture, hive: &Hive) -> Result<(), Failure> {
        torture.expect(hive, "the keys that nobody put there", self.strangers, 0)?;
        let wrong = self.times.iter().position(|&times| times != 1);
        torture.expect(
            hive,
            "the first key that isn't there exactly once",
            wrong,
            None,
        )
    }
}
