//! The travelling salesman by branch and bound. A queue of prefixes (the first cities of a tour) and the
//! best tour known so far are shared; each drone takes a prefix and searches all tours that begin with it,
//! leaving out what a lower bound shows to be no shorter than the best. Both lie on one board under one lock: who takes a
//! prefix has the news too, and brings its own. The search itself is in [`search`],
//! the same for the serial version; files are read in [`instance`].

mod bound;
mod first;
pub mod instance;
pub mod search;

use crate::program::{self, Comparison, Console, Failure, parse_count, timed};
use bytemuck::{Pod, Zeroable};
use clap::Parser;
use hivemind::{Hive, Mutex, Shared};
use instance::{Instance, MOST_CITIES};
use search::{Best, Distances, Prefix, Search};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The shortest round trip through all cities by branch and bound, on shared memory.
///
/// One drone searches on one core: start as many drones as there are cores.
#[derive(Parser, Debug)]
#[command(name = "tsp", version)]
pub struct Arguments {
    /// A TSPLIB file with EUC_2D or GEO coordinates; without it a meadow of 14 cities that ships with this program
    #[arg(conflicts_with = "random")]
    pub file: Option<PathBuf>,
    /// Make this many random cities on a square instead of reading a file
    #[arg(long, value_name = "CITIES", value_parser = parse_count)]
    pub random: Option<u64>,
    /// What the random cities are made from
    #[arg(long, default_value_t = 1, requires = "random")]
    pub seed: u64,
    /// Also run the serial version and say whether the tours are equally long
    #[arg(long)]
    pub check: bool,
}

/// Does what the command line says; collective.
pub fn run(arguments: &Arguments, hive: &mut Hive, console: &Console) -> Result<(), Failure> {
    let instance = program::first(hive, |_| load(arguments))?;
    let distances = share_distances(hive, instance.as_ref())?;
    hive.barrier()?;
    let start = Instant::now();
    let (best, searched) = shared(hive, &distances, console)?;
    let time = start.elapsed();
    if let Some(Instance { name, .. }) = &instance {
        console.answer(format_args!(
            "{name}: shortest tour of {} cities is {} long",
            distances.cities(),
            best.length
        ));
        console.answer(format_args!("tour: {}", best.in_words()));
        console.answer(format_args!(
            "{} prefixes, {} nodes searched",
            searched.prefixes, searched.nodes
        ));
    }
    program::conclude(hive, console, time, arguments.check, |_| {
        let (expected, serial) = timed(|| serial(&distances));
        Comparison {
            serial,
            difference: difference(&distances, &best, &expected),
        }
    })
}

/// The shortest tour, found on one core of one machine.
pub fn serial(distances: &Distances) -> Best {
    let mut search = Search::new(distances);
    for prefix in search.prefixes(PREFIXES) {
        match search.below(&prefix, |_| Ok::<(), std::convert::Infallible>(())) {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }
    search.best
}

/// What a search has done, on all drones together.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Searched {
    /// The prefixes that were in the queue.
    pub prefixes: u64,
    /// The nodes of the tree that were looked at.
    pub nodes: u64,
}

/// The shortest tour, found by all drones. Which of several shortest ones depends on who is faster; the
/// length doesn't. Collective.
pub fn shared(
    hive: &mut Hive,
    distances: &Distances,
    console: &Console,
) -> hivemind::Result<(Best, Searched)> {
    let mut search = Search::new(distances);
    let prefixes = share_prefixes(hive, &mut search)?;
    let count = prefixes.len() as u64;
    // The first ones need not be asked for.
    let mut taken = hive.me() as u64;
    let board = hive.mutex(Board {
        next: count.min(hive.drones() as u64),
        best: search.best,
    })?;
    let progress = console.progress("prefix", count);
    let mut news = News::of(&search.best);
    while let Some(prefix) = prefixes.view(hive).get(taken as usize).copied() {
        progress.at(taken);
        search.below(&prefix, |own| match news.are_due(own) {
            true => meet(hive, &board, own, &mut news, |_| ()),
            false => Ok(()),
        })?;
        taken = meet(hive, &board, &mut search.best, &mut news, |board| {
            let next = board.next;
            // Never past the end, so that the number stays small however often it is asked for.
            board.next = (next + 1).min(count);
            next
        })?;
    }
    // Each brought what it has found when it found the queue empty. Not all look under the lock, one after the other.
    hive.barrier()?;
    if hive.is_first() {
        meet(hive, &board, &mut search.best, &mut news, |_| ())?;
    }
    search.best = hive.broadcast(0, search.best)?;
    let nodes = hive.sum(search.nodes)?;
    Ok((
        search.best,
        Searched {
            prefixes: count,
            nodes,
        },
    ))
}

/// So many prefixes are wanted, whatever the number of drones, so that all hives search the same tree: a few
/// for each of a hundred drones, and with few drones the last ones don't keep one busy while others idle.
const PREFIXES: usize = 256;
/// How old a drone's knowledge of the best tour may get at least and at most. A look takes the lock, and where many drones look they
/// stand in line for it: so who has looked in vain waits twice as long.
const REFRESH: Duration = Duration::from_millis(2);
const LONGEST_REFRESH: Duration = Duration::from_millis(64);
/// Random cities lie on a square with sides of this length.
const SQUARE: u64 = 10_000;

/// What all drones see and change, under one lock.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Board {
    /// The prefix that is taken next.
    next: u64,
    best: Best,
}

/// When a drone looks at the board for a better tour.
struct News {
    /// The length of the best tour when it looked last.
    known: u64,
    looked: Instant,
    refresh: Duration,
}

impl News {
    fn of(best: &Best) -> Self {
        Self {
            known: best.length,
            looked: Instant::now(),
            refresh: REFRESH,
        }
    }

    /// Whether this drone has something to tell, or has not looked for long.
    fn are_due(&self, own: &Best) -> bool {
        own.length < self.known || self.looked.elapsed() >= self.refresh
    }

    /// The board and this drone have this now.
    fn note(&mut self, best: &Best) {
        let in_vain = self.looked.elapsed() >= self.refresh;
        if best.length != self.known {
            self.refresh = REFRESH;
        } else if in_vain {
            self.refresh = (self.refresh * 2).min(LONGEST_REFRESH);
        }
        (self.known, self.looked) = (best.length, Instant::now());
    }
}

/// Brings the best tour on the board and this drone's together: both are the shorter one afterwards. `with` may change the rest of
/// the board.
fn meet<T>(
    hive: &mut Hive,
    board: &Mutex<Board>,
    own: &mut Best,
    news: &mut News,
    with: impl FnOnce(&mut Board) -> T,
) -> hivemind::Result<T> {
    let mut guard = board.lock(hive)?;
    if own.length < guard.best.length {
        guard.best = *own;
    } else if own.length > guard.best.length {
        *own = guard.best;
    }
    let given = with(&mut guard);
    guard.release()?;
    news.note(own);
    Ok(given)
}

/// Drone 0 makes the prefixes, most promising first; all drones see them. Collective.
fn share_prefixes(hive: &mut Hive, search: &mut Search) -> hivemind::Result<Shared<Prefix>> {
    let made = if hive.is_first() {
        search.prefixes(PREFIXES)
    } else {
        Vec::new()
    };
    let count = hive.broadcast(0, made.len() as u64)?;
    let mut prefixes = hive.alloc::<Prefix>(count as usize)?;
    if hive.is_first() {
        prefixes.view_mut(hive).copy_from_slice(&made);
    }
    hive.barrier()?;
    Ok(prefixes)
}

/// Gives every drone the distances that drone 0 knows. Collective.
fn share_distances(hive: &mut Hive, instance: Option<&Instance>) -> hivemind::Result<Distances> {
    let cities = hive.broadcast(
        0,
        instance.map_or(0, |instance| instance.distances.cities() as u64),
    )?;
    let cities = cities as usize;
    let mut shared = hive.alloc::<u32>(cities * cities)?;
    if let Some(instance) = instance {
        shared
            .view_mut(hive)
            .copy_from_slice(instance.distances.rows());
    }
    hive.barrier()?;
    let distances = Distances::new(cities, shared.view(hive).to_vec());
    hive.free(shared)?;
    Ok(distances)
}

fn load(arguments: &Arguments) -> Result<Instance, Failure> {
    match (&arguments.file, arguments.random) {
        (Some(path), _) => Instance::read(path).map_err(Failure::Refused),
        (None, Some(cities)) => match usize::try_from(cities) {
            Ok(cities @ 3..=MOST_CITIES) => Ok(Instance::random(cities, arguments.seed, SQUARE)),
            _ => Err(Failure::Refused(format!(
                "--random takes 3 to {MOST_CITIES} cities, not {cities}"
            ))),
        },
        (None, None) => Ok(Instance::meadow()),
    }
}

fn difference(distances: &Distances, best: &Best, expected: &Best) -> Option<String> {
    if best.length != expected.length {
        return Some(format!(
            "shared {}, serial {}",
            best.length, expected.length
        ));
    }
    let walked = distances.tour_length(best.tour());
    (walked != Some(best.length)).then(|| match walked {
        Some(walked) => format!("the tour is {walked} long and not {}", best.length),
        None => "the tour does not visit each city once".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tour_that_is_none_is_a_difference() {
        let distances = Instance::meadow().distances;
        let best = serial(&distances);
        assert_eq!(difference(&distances, &best, &best), None);
        let mut longer = best;
        longer.length += 1;
        assert!(
            difference(&distances, &longer, &best)
                .unwrap()
                .contains("serial")
        );
        assert!(
            difference(&distances, &longer, &longer)
                .unwrap()
                .contains("long and not")
        );
        let mut twice = best;
        twice.tour[3] = twice.tour[4];
        assert!(
            difference(&distances, &twice, &best)
                .unwrap()
                .contains("each city once")
        );
    }
}
