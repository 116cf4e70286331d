//! The first page of a tutorial: everything that a hive offers, once. Read [`shared`] from top to bottom;
//! [`serial`] computes the same on no hive at all. Joining and leaving, `Hive::join()` and `hive.leave()`,
//! are in [`crate::program::start`], as for every program here.

use crate::program::{self, Comparison, Console, Failure, timed};
use bytemuck::{Pod, Zeroable};
use clap::Parser;
use hivemind::{Address, Hive, Ptr};
use std::time::Instant;

/// A tour of everything that shared memory offers, on any number of drones.
#[derive(Parser, Debug)]
#[command(name = "tour", version)]
pub struct Arguments {
    /// Also run the serial version and say whether the answers are equal
    #[arg(long)]
    pub check: bool,
}

/// What the tour comes home with.
#[derive(Clone, PartialEq, Debug)]
pub struct Harvest {
    /// The sum of the first thousand squares.
    pub squares: u64,
    /// How many visits all drones paid to one flower.
    pub visits: u64,
    /// Nectar from all drones, added in their order.
    pub nectar: f64,
    /// The longest way that a drone flew.
    pub longest_way: u64,
    /// The drones on the list that all made together, ascending.
    pub list: Vec<u64>,
    /// What the first drone left at an address, and the last one found there.
    pub note: String,
}

/// A cell of a list in shared memory: any type made of plain numbers can be there.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Bee {
    drone: u64,
    next: Ptr<Bee>,
}

/// The tour, by all drones together; collective.
pub fn shared(hive: &mut Hive) -> hivemind::Result<Harvest> {
    // 1. An array that all drones see. Every drone writes its own part, with plain Rust on a plain slice.
    let mut squares = hive.alloc::<u64>(1000)?;
    for i in hive.share_of(0..1000) {
        squares.view_mut(hive)[i] = (i * i) as u64;
    }
    hive.barrier()?; // After a barrier all see everything that was written before it.
    let sum = squares.view(hive).iter().sum();

    // 2. A lock: what was written under it is seen by who takes it next.
    let mut flower = hive.alloc::<u64>(1)?;
    for _ in 0..10 {
        let held = hive.lock(7)?;
        flower.view_mut(&held)[0] += 1;
        held.release()?;
    }
    hive.barrier()?;
    let visits = flower.view(hive)[0];

    // 3. A mutex: a lock that owns its data. Here the head of a list, and every drone puts a cell in front.
    let head = hive.mutex(Ptr::<Bee>::null())?;
    let drone = hive.me() as u64;
    let next = Ptr::null();
    let bee = hive.create(Bee { drone, next })?; // Any drone, any time, alone.
    let mut guard = head.lock(hive)?;
    let next = std::mem::replace(&mut *guard, bee);
    guard.release()?;
    hive.set(bee, Bee { drone, next }); // Nobody walks the list before all are in it, so this needs no lock.

    // 4. Waiting for what others do: the last drone to count itself, in one step, opens the way for all.
    let (counted, all_counted) = (hive.alloc::<u64>(1)?, hive.event()?);
    if counted.fetch_add(hive, 0, 1)? + 1 == hive.drones() as u64 {
        all_counted.set(hive)?;
    }
    all_counted.wait(hive)?;
    let (mut list, mut at) = (Vec::new(), *head.lock(hive)?);
    while !at.is_null() {
        let Bee { drone, next } = hive.get(at);
        list.push(drone);
        at = next;
    }
    list.sort_unstable(); // Who came when is chance; that all came is not.

    // 5. Small values without any array: from one to all, and from all to one value for all.
    let drop = hive.broadcast(0, 0.1)?;
    let nectar = hive.sum(drop * (drone + 1) as f64)?; // In the order of the drones: the same bits each time.
    let longest_way = hive.reduce(way(drone), u64::max)?;

    // 6. Bytes at an address, for those who want to lay things out themselves.
    let mut address = 0;
    if hive.is_first() {
        address = hive.malloc(NOTE.len())?.0;
        hive.write_n(Address(address), NOTE.as_bytes())?;
    }
    let address = Address(hive.broadcast(0, address)?); // What was written before it is seen after it.
    let note = String::from_utf8_lossy(&hive.read_n(address, NOTE.len())?).into_owned();
    hive.barrier()?; // All have read: now it can go.
    if hive.is_first() {
        hive.free_at(address)?;
    }
    hive.destroy(bee)?;
    hive.free(squares)?;
    Ok(Harvest {
        squares: sum,
        visits,
        nectar,
        longest_way,
        list,
        note,
    })
}

/// The same harvest, as one computes it without any hive.
pub fn serial(drones: usize) -> Harvest {
    let list: Vec<u64> = (0..drones as u64).collect();
    Harvest {
        squares: (0..1000).map(|i| i * i).sum(),
        visits: 10 * drones as u64,
        nectar: list
            .iter()
            .map(|drone| 0.1 * (drone + 1) as f64)
            .reduce(|sum, part| sum + part)
            .unwrap_or(0.0),
        longest_way: list.iter().map(|&drone| way(drone)).max().unwrap_or(0),
        list,
        note: NOTE.to_owned(),
    }
}

/// Does what the command line says; collective.
pub fn run(arguments: &Arguments, hive: &mut Hive, console: &Console) -> Result<(), Failure> {
    let start = Instant::now();
    let harvest = shared(hive)?;
    let time = start.elapsed();
    console.answer(format_args!(
        "squares {}, visits {}",
        harvest.squares, harvest.visits
    ));
    console.answer(format_args!(
        "nectar {}, longest way {}",
        harvest.nectar, harvest.longest_way
    ));
    console.answer(format_args!(
        "{} bees on the list; note: {}",
        harvest.list.len(),
        harvest.note
    ));
    program::conclude(hive, console, time, arguments.check, |hive| {
        let (expected, serial) = timed(|| serial(hive.drones()));
        let difference =
            (harvest != expected).then(|| format!("shared {harvest:?}, serial {expected:?}"));
        Comparison { serial, difference }
    })
}

const NOTE: &str = "the clover by the brook";

/// How far a drone flies: some number that isn't the same for all.
fn way(drone: u64) -> u64 {
    (drone * 37 + 11) % 101
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serial_tour_counts_every_drone() {
        let harvest = serial(3);
        assert_eq!(harvest.squares, 332_833_500);
        assert_eq!((harvest.visits, harvest.longest_way), (30, 85));
        assert_eq!(harvest.list, [0, 1, 2]);
        assert_eq!(harvest.nectar, 0.1 + 0.2 + 0.1 * 3.0);
    }

    #[test]
    fn the_shared_tour_has_under_sixty_lines_of_code() {
        let source = include_str!("tour.rs");
        let body = source
            .split("pub fn shared")
            .nth(1)
            .and_then(|rest| rest.split("\n}").next());
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
        let lines = body
            .expect("the tour has a shared version")
            .lines()
            .filter(is_code)
            .count();
        assert!((20..60).contains(&lines), "{lines} lines");
    }
}
