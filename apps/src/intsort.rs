//! Sorting small integers by counting, in the manner of the kernel IS of the NAS Parallel Benchmarks (Bailey
//! et al., 1991): the keys are ranked several times over, two of them changed before each ranking, and then
//! put in order. Each drone counts its own keys into a row of its own, adds up the rows for its share of the
//! values, and writes that share of the ranks and of the sorted keys. All is in whole numbers, so the serial
//! and the shared version agree exactly.

use crate::program::{self, Comparison, Console, Failure, parse_count};
use crate::progress::Progress;
use clap::Parser;
use hivemind::{Hive, Shared};
use rayon::prelude::*;
use std::cell::Cell;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Sorting small integers by counting, on shared memory.
#[derive(Parser, Debug)]
#[command(name = "intsort", version)]
pub struct Arguments {
    /// How many keys to make and sort, like 8000000 or 8e6
    #[arg(long, default_value = "8388608", value_parser = parse_keys)]
    pub count: usize,
    /// The keys are smaller than this
    #[arg(long, default_value = "524288", value_parser = parse_values)]
    pub values: usize,
    /// How often the keys are ranked
    #[arg(long, default_value = "10", value_parser = parse_rounds)]
    pub rounds: u64,
    /// Also run the serial version and say whether the ranks and the sorted keys are equal
    #[arg(long)]
    pub check: bool,
}

/// What is to be sorted.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// How many keys there are; fewer than 2³².
    pub count: usize,
    /// The keys are smaller than this; at least 1.
    pub values: usize,
    /// How often the keys are ranked.
    pub rounds: u64,
}

/// The keys in order.
pub struct Sorted<K> {
    /// The keys, smallest first.
    pub keys: K,
    /// The sum over all rounds of the ranks of a few values: a wrong count in any round changes it.
    pub ranks: u64,
    /// How long ranking and sorting took, making the keys apart.
    pub time: Duration,
}

/// Does what the command line says; collective.
pub fn run(arguments: &Arguments, hive: &mut Hive, console: &Console) -> Result<(), Failure> {
    let task = Task {
        count: arguments.count,
        values: arguments.values,
        rounds: arguments.rounds,
    };
    let workers = program::workers(hive)?;
    let progress = console.progress("ranking", task.rounds);
    let sorted = shared(hive, task, &workers, &progress)?;
    drop(progress);
    let mine = hive.share_of(0..task.count);
    let part = checksum(mine.start, &sorted.keys.view(hive)[mine]);
    console.answer(format_args!(
        "{} keys below {}, ranked {} times: ranks {}, checksum {}",
        task.count,
        task.values,
        task.rounds,
        sorted.ranks,
        hive.sum(part)?
    ));
    program::conclude(hive, console, sorted.time, arguments.check, |hive| {
        let expected = serial(task);
        Comparison {
            serial: expected.time,
            difference: difference(sorted.keys.view(hive), sorted.ranks, &expected),
        }
    })
}

/// The keys in order, on one core of one machine.
pub fn serial(task: Task) -> Sorted<Vec<u32>> {
    let mut keys = vec![0; task.count];
    make_keys(task, 0, &mut keys);
    let mut ranks = vec![0; task.values];
    let mut seen = 0;
    let start = Instant::now();
    for round in 0..task.rounds {
        change_keys(task, round, 0, &mut keys);
        ranks.fill(0);
        count(&keys, &mut ranks);
        let mut before = 0;
        for rank in &mut ranks {
            before += std::mem::replace(rank, before);
        }
        seen += probes(task)
            .map(|value| u64::from(ranks[value]))
            .sum::<u64>();
    }
    let mut sorted = vec![0; task.count];
    if task.rounds > 0 {
        spell_out(task, &ranks, 0..task.values, 0, &mut sorted);
    }
    Sorted {
        keys: sorted,
        ranks: seen,
        time: start.elapsed(),
    }
}

/// The keys in order, by all drones. Collective.
pub fn shared(
    hive: &mut Hive,
    task: Task,
    workers: &rayon::ThreadPool,
    progress: &Progress,
) -> hivemind::Result<Sorted<Shared<u32>>> {
    let mut keys = hive.alloc::<u32>(task.count)?;
    let mut sorted = hive.alloc::<u32>(task.count)?;
    let mut table = Table::new(hive, task)?;
    let mine = hive.share_of(0..task.count);
    make_keys(task, mine.start, &mut keys.view_mut(hive)[mine.clone()]);
    hive.barrier()?;
    let start = Instant::now();
    let mut seen = 0;
    for round in 0..task.rounds {
        let keys = &mut keys.view_mut(hive)[mine.clone()];
        change_keys(task, round, mine.start, keys);
        table.count(hive, keys, workers);
        hive.barrier()?;
        table.add_up(hive)?;
        seen += table.probed(hive, task);
        progress.at(round + 1);
    }
    if task.rounds > 0 {
        table.spell_out(hive, task, &mut sorted);
    }
    hive.barrier()?;
    let time = start.elapsed();
    let seen = hive.sum(seen)?;
    hive.free(keys)?;
    table.free(hive)?;
    Ok(Sorted {
        keys: sorted,
        ranks: seen,
        time,
    })
}

/// The counts of all drones, and the ranks made from them.
struct Table {
    /// A row for each drone: how many of its keys have each value. Rows begin at pages, so no two drones write the same one.
    counts: Shared<u32>,
    row: usize,
    /// For each value how many keys of this drone's share of the values are smaller.
    ranks: Shared<u32>,
    values: usize,
    /// How many keys have a value of this drone's share, and how many one of a share before it.
    total: u64,
    before: u64,
    /// What this drone's further threads counted.
    further: Vec<Vec<u32>>,
}

impl Table {
    fn new(hive: &mut Hive, task: Task) -> hivemind::Result<Table> {
        let row = task.values.next_multiple_of(VALUES_A_PAGE);
        Ok(Table {
            counts: hive.alloc(row * hive.drones())?,
            row,
            ranks: hive.alloc(task.values)?,
            values: task.values,
            total: 0,
            before: 0,
            further: Vec::new(),
        })
    }

    /// Counts this drone's keys into its row, where the others find them.
    fn count(&mut self, hive: &Hive, keys: &[u32], workers: &rayon::ThreadPool) {
        let threads = workers.current_num_threads();
        let (values, begin) = (self.values, hive.me() * self.row);
        let row = &mut self.counts.view_mut(hive)[begin..begin + values];
        let part = keys.len().div_ceil(threads).max(1);
        let (keys, further_keys) = keys.split_at(part.min(keys.len()));
        self.further.resize_with(threads - 1, || vec![0; values]);
        let further = &mut self.further[..further_keys.len().div_ceil(part)];
        if further.is_empty() {
            // Another thread would only have to be woken.
            return count_anew(keys, row);
        }
        workers.install(|| {
            let theirs = further.par_iter_mut().zip(further_keys.par_chunks(part));
            let count_theirs = || theirs.for_each(|(counts, keys)| count_anew(keys, counts));
            rayon::join(|| count_anew(keys, row), count_theirs)
        });
        for counts in further {
            add(counts, row);
        }
    }

    /// Makes the ranks of this drone's share of the values from all rows. All must have been counted; collective.
    fn add_up(&mut self, hive: &mut Hive) -> hivemind::Result<()> {
        let share = hive.share_of(0..self.values);
        let others = (0..hive.drones()).filter(|drone| *drone != hive.me());
        for begin in others.map(|drone| drone * self.row) {
            let part = begin + share.start..begin + share.end;
            self.counts.prefetch(hive, part)?;
        }
        let counts = self.counts.view(hive);
        let ranks = self.ranks.view_mut(hive);
        // A page's worth at a time, which stays in the processor's nearest cache.
        let (mut sums, mut total) = ([0; VALUES_A_PAGE], 0);
        for first in share.clone().step_by(VALUES_A_PAGE) {
            let values = first..share.end.min(first + VALUES_A_PAGE);
            let sums = &mut sums[..values.len()];
            sums.fill(0);
            for row in counts.chunks_exact(self.row) {
                add(&row[values.clone()], sums);
            }
            for (rank, sum) in ranks[values].iter_mut().zip(sums) {
                *rank = total;
                total += *sum;
            }
        }
        self.total = total.into();
        self.before = sum_of_those_before(hive, self.total)?;
        Ok(())
    }

    /// The sum of the ranks that are looked at, of this drone's share of the values. All must have been added up.
    fn probed(&self, hive: &Hive, task: Task) -> u64 {
        let ranks = self.ranks.view(hive);
        let share = hive.share_of(0..self.values);
        probes(task)
            .filter(|value| share.contains(value))
            .map(|value| self.before + u64::from(ranks[value]))
            .sum()
    }

    /// Writes the keys of this drone's share of the values to where they belong.
    fn spell_out(&self, hive: &Hive, task: Task, sorted: &mut Shared<u32>) {
        let begin = self.before as usize;
        let share = hive.share_of(0..self.values);
        let out = &mut sorted.view_mut(hive)[begin..begin + self.total as usize];
        spell_out(
            task,
            &self.ranks.view(hive)[share.clone()],
            share,
            begin,
            out,
        );
    }

    fn free(self, hive: &mut Hive) -> hivemind::Result<()> {
        hive.free(self.counts)?;
        hive.free(self.ranks)
    }
}

/// The sum of the values of all drones before this one. Collective.
fn sum_of_those_before(hive: &mut Hive, value: u64) -> hivemind::Result<u64> {
    let (me, before) = (hive.me(), Cell::new(0));
    let folded = Cell::new(0);
    // Values are folded in the order of the drones.
    hive.reduce(value, |sum, next| {
        folded.set(folded.get() + 1);
        if folded.get() == me {
            before.set(sum);
        }
        sum + next
    })?;
    Ok(before.get())
}

/// So many counts fill a page.
const VALUES_A_PAGE: usize = 1024;
/// So many ranks are looked at after each round.
const PROBES: usize = 5;
/// Ranks have 32 bits.
const MOST_KEYS: u64 = u32::MAX as u64;
/// The sum of all ranks that are looked at has 64 bits.
const MOST_ROUNDS: u64 = 1 << 28;

/// The keys from number `first` on: each depends on its number alone, and is the mean of four numbers that look
/// like chance, so that middle values are common and extreme ones rare.
pub fn make_keys(task: Task, first: usize, keys: &mut [u32]) {
    for (key, at) in keys.iter_mut().zip(first as u64..) {
        let mixed = (at ^ (at >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = mixed ^ (mixed >> 32);
        let quarters =
            (mixed & 0xFFFF) + ((mixed >> 16) & 0xFFFF) + ((mixed >> 32) & 0xFFFF) + (mixed >> 48);
        *key = ((quarters * task.values as u64) >> 18) as u32;
    }
}

/// Changes two keys before a round, where they are among `keys`, which begin with number `first`. So each round
/// has ranks of its own.
pub fn change_keys(task: Task, round: u64, first: usize, keys: &mut [u32]) {
    let small = (round % task.values as u64) as u32;
    let large = task.values as u32 - 1 - small;
    let changes = [(round, small), (round + task.rounds, large)];
    for (at, key) in changes {
        let place = (at % task.count.max(1) as u64) as usize;
        if let Some(old) = place
            .checked_sub(first)
            .and_then(|place| keys.get_mut(place))
        {
            *old = key;
        }
    }
}

/// Adds to `counts` how many keys have each value.
pub fn count(keys: &[u32], counts: &mut [u32]) {
    for &key in keys {
        counts[key as usize] += 1;
    }
}

/// As [`count`], from nothing.
fn count_anew(keys: &[u32], counts: &mut [u32]) {
    counts.fill(0);
    count(keys, counts);
}

fn add(counts: &[u32], sums: &mut [u32]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}

/// The values whose ranks are looked at.
pub fn probes(task: Task) -> impl Iterator<Item = usize> {
    (0..PROBES).map(move |probe| (2 * probe + 1) * task.values / (2 * PROBES))
}

/// Writes each value of `share` as often as it occurs; `ranks` has what comes before each, counted from the
/// share's first key, and `out` is to hold all keys of the share, which begin with number `begin` of all.
fn spell_out(task: Task, ranks: &[u32], share: Range<usize>, begin: usize, out: &mut [u32]) {
    debug_assert!(begin + out.len() <= task.count && share.len() == ranks.len());
    let ends = ranks
        .iter()
        .skip(1)
        .map(|&rank| rank as usize)
        .chain([out.len()]);
    for ((value, &start), end) in share.zip(ranks).zip(ends) {
        out[start as usize..end].fill(value as u32);
    }
}

/// A sum in which keys that change places are seen; `keys` begin with number `first`.
pub fn checksum(first: usize, keys: &[u32]) -> u64 {
    let weighed = keys.iter().zip(first as u64..);
    weighed
        .map(|(&key, at)| u64::from(key) * (at % 1021 + 1))
        .sum()
}

fn difference(keys: &[u32], ranks: u64, expected: &Sorted<Vec<u32>>) -> Option<String> {
    if ranks != expected.ranks {
        return Some(format!("ranks: shared {ranks}, serial {}", expected.ranks));
    }
    let mut pairs = keys.iter().zip(&expected.keys);
    let at = pairs.position(|(shared, serial)| shared != serial)?;
    Some(format!(
        "key {at} of {}: shared {}, serial {}",
        keys.len(),
        keys[at],
        expected.keys[at]
    ))
}

fn parse_keys(text: &str) -> Result<usize, String> {
    match parse_count(text)? {
        count if count > MOST_KEYS => Err(format!("at most {MOST_KEYS} keys")),
        count => usize::try_from(count).map_err(|error| error.to_string()),
    }
}

fn parse_values(text: &str) -> Result<usize, String> {
    match parse_count(text)? {
        0 => Err("at least 1 value is needed".to_owned()),
        values if values > MOST_KEYS => Err(format!("at most {MOST_KEYS} values")),
        values => usize::try_from(values).map_err(|error| error.to_string()),
    }
}

fn parse_rounds(text: &str) -> Result<u64, String> {
    match parse_count(text)? {
        0 => Err("at least 1 round is needed".to_owned()),
        rounds if rounds > MOST_ROUNDS => Err(format!("at most {MOST_ROUNDS} rounds")),
        rounds => Ok(rounds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(count: usize, values: usize, rounds: u64) -> Task {
        Task {
            count,
            values,
            rounds,
        }
    }

    /// The keys after all rounds' changes.
    fn changed(task: Task) -> Vec<u32> {
        let mut keys = vec![0; task.count];
        make_keys(task, 0, &mut keys);
        for round in 0..task.rounds {
            change_keys(task, round, 0, &mut keys);
        }
        keys
    }

    #[test]
    fn the_keys_come_out_in_order() {
        for task in [
            task(0, 1, 1),
            task(1, 1, 3),
            task(1000, 7, 2),
            task(777, 5000, 10),
        ] {
            let mut expected = changed(task);
            expected.sort_unstable();
            assert_eq!(serial(task).keys, expected, "{task:?}");
        }
    }

    #[test]
    fn the_ranks_of_a_round_are_how_many_keys_are_smaller() {
        let task = task(5000, 100, 1);
        let keys = changed(task);
        let smaller = |value: usize| keys.iter().filter(|&&key| (key as usize) < value).count();
        let expected: usize = probes(task).map(smaller).sum();
        assert_eq!(serial(task).ranks, expected as u64);
    }

    #[test]
    fn a_round_left_out_is_seen_in_the_ranks_and_changed_places_in_the_checksum() {
        let ranks = |rounds| serial(task(5000, 100, rounds)).ranks;
        assert!(ranks(9) < ranks(10));
        assert_ne!(checksum(0, &[1, 2]), checksum(0, &[2, 1]));
        let keys = [3, 1, 4, 1, 5];
        assert_eq!(
            checksum(0, &keys),
            checksum(0, &keys[..2]) + checksum(2, &keys[2..])
        );
    }

    #[test]
    fn keys_are_below_the_bound_and_middle_ones_are_common() {
        let task = task(100_000, 64, 1);
        let mut counts = [0_u32; 64];
        let mut keys = vec![0; task.count];
        make_keys(task, 0, &mut keys);
        count(&keys, &mut counts);
        assert_eq!(counts.iter().sum::<u32>(), 100_000);
        assert!(counts[32] > 20 * counts[4].max(1), "{counts:?}");
        let mut part = vec![0; 100];
        make_keys(task, 500, &mut part);
        assert_eq!(part, keys[500..600]);
    }

    #[test]
    fn a_difference_names_the_first_key() {
        let right = serial(task(100, 10, 2));
        assert_eq!(difference(&right.keys, right.ranks, &right), None);
        let mut wrong = right.keys.clone();
        wrong[50] += 1;
        assert!(
            difference(&wrong, right.ranks, &right)
                .unwrap()
                .starts_with("key 50 of 100")
        );
        assert!(
            difference(&right.keys, 1, &right)
                .unwrap()
                .starts_with("ranks")
        );
    }
}
