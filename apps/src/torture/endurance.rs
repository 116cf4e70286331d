//! Torture that lasts: a drone that says nothing for long, very many barriers, very many hand-overs of a
//! lock, very much memory. The last three watch this process's memory, print it, and fail where it grows.

use super::Torture;
use crate::program::Failure;
use hivemind::{Hive, Report};
use std::time::Instant;

/// The last drone sleeps while the others wait at a barrier and then want its lock; then all count.
pub(super) fn silence(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    let last = hive.drones() - 1;
    let mut counter = hive.alloc::<u64>(1)?;
    for round in 0..torture.rounds {
        if hive.me() == last {
            let held = hive.lock(60)?;
            std::thread::sleep(torture.silence / 2);
            counter.view_mut(&held)[0] += 1;
            held.release()?;
            std::thread::sleep(torture.silence / 2);
        } else {
            let held = hive.lock(60)?;
            counter.view_mut(&held)[0] += 1;
            held.release()?;
        }
        hive.barrier()?;
        let expected = (round + 1) * hive.drones() as u64;
        torture.expect(
            hive,
            &format!("the counter after silence {round}"),
            counter.view(hive)[0],
            expected,
        )?;
        hive.barrier()?;
    }
    hive.free(counter)?;
    Ok(())
}

/// Barriers with a little work between them: each drone writes one word of a page that all share, another
/// one each time, and reads its neighbour's.
pub(super) fn barriers(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    let (me, drones) = (hive.me(), hive.drones());
    let mut words = hive.alloc::<u64>(drones)?;
    let mut watch = Watch::new(torture, "barrier");
    for round in 0..torture.rounds {
        // Every eighth time only: a barrier without anything written is another way through the protocol.
        if round.is_multiple_of(8) {
            words.view_mut(hive)[me] = round + 1;
        }
        hive.barrier()?;
        if round.is_multiple_of(8) {
            let neighbour = (me + 1) % drones;
            let what = format!("the word of drone {neighbour} in round {round}");
            torture.expect(hive, &what, words.view(hive)[neighbour], round + 1)?;
        }
        watch.at(hive, round + 1);
    }
    watch.end(hive)?;
    hive.barrier()?;
    hive.free(words)?;
    Ok(())
}

/// One lock that goes from drone to drone: who gets it back from itself lets it go at once, so only true
/// hand-overs count. Alone, every acquire counts.
pub(super) fn handoffs(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    let me = hive.me() as u64;
    let alone = hive.drones() == 1;
    // Who had it last (counted from 1), how many hand-overs there were, and how often each drone got it.
    let mut state = hive.alloc::<u64>(OWN + hive.drones())?;
    let mut watch = Watch::new(torture, "hand-over");
    let mut own = 0;
    loop {
        let held = hive.lock(70)?;
        let words = state.view(&held);
        let (last, count) = (words[LAST], words[COUNT]);
        if count == torture.rounds {
            held.release()?;
            break;
        }
        if last == me + 1 && !alone {
            held.release()?;
            std::thread::yield_now();
            continue;
        }
        let words = state.view_mut(&held);
        words[LAST] = me + 1;
        words[COUNT] = count + 1;
        words[OWN + me as usize] += 1;
        held.release()?;
        own += 1;
        watch.at(hive, count + 1);
    }
    watch.end(hive)?;
    hive.barrier()?;
    let words = state.view(hive);
    torture.expect(hive, "its own hand-overs", words[OWN + me as usize], own)?;
    torture.expect(
        hive,
        "the sum of all drones' hand-overs",
        words[OWN..].iter().sum(),
        torture.rounds,
    )?;
    hive.barrier()?;
    hive.free(state)?;
    Ok(())
}

/// Memory in pieces; each drone writes a word of each page of its share of every piece, and of a few pages what its
/// neighbour wrote. In the end all is as it was written, and what the protocol keeps about it is little.
pub(super) fn large(torture: &Torture, hive: &mut Hive) -> Result<(), Failure> {
    let (me, drones) = (hive.me(), hive.drones());
    let before = private_bytes();
    let mut pieces = Vec::new();
    let progress = torture.console.progress("piece of 64 MiB", torture.rounds);
    for round in 0..torture.rounds {
        let mut piece = hive.alloc::<u64>(PIECE_PAGES * PAGE_WORDS)?;
        let own = hive.share_of(0..PIECE_PAGES);
        let words = piece.view_mut(hive);
        for page in own {
            words[page * PAGE_WORDS] = mark(round, page, me);
        }
        hive.barrier()?;
        let neighbour = (me + 1) % drones;
        let theirs = hive.share_of_drone(0..PIECE_PAGES, neighbour);
        let words = piece.view(hive);
        for page in theirs.step_by(PIECE_PAGES / 16) {
            let what = format!("page {page} of piece {round}, which drone {neighbour} wrote,");
            let expected = mark(round, page, neighbour);
            torture.expect(hive, &what, words[page * PAGE_WORDS], expected)?;
        }
        hive.barrier()?;
        pieces.push(piece);
        progress.at(round + 1);
    }
    let kept = private_bytes().saturating_sub(before);
    let own = hive.share_of(0..PIECE_PAGES);
    for (round, piece) in (0..).zip(&pieces) {
        let words = piece.view(hive);
        for page in own.clone() {
            let what = format!("its own page {page} of piece {round}");
            torture.expect(hive, &what, words[page * PAGE_WORDS], mark(round, page, me))?;
        }
    }
    // Each drone knows of every page that any of them has touched.
    let touched = torture.rounds * (PIECE_PAGES * PAGE_WORDS * 8) as u64;
    torture.console.answer(format_args!(
        "large: {} touched by all drones, {} of this one's own memory for them ({:.2} %)",
        mib(touched),
        mib(kept),
        100.0 * kept as f64 / touched as f64
    ));
    hive.barrier()?;
    for piece in pieces {
        hive.free(piece)?;
    }
    // What a hive needs whatever its size shows where little is touched.
    if kept > touched / 50 + SLACK_BYTES {
        return Err(Failure::WrongHere(format!(
            "large: drone {me} keeps {} about {} of pages, which is more than 2 %",
            mib(kept),
            mib(touched)
        )));
    }
    Ok(())
}

const PIECE_PAGES: usize = (64 << 20) / 4096;
const PAGE_WORDS: usize = 4096 / 8;

/// A word that no other page has.
fn mark(round: u64, page: usize, drone: usize) -> u64 {
    (round << 40) | (page as u64) << 16 | (drone as u64 + 1)
}

/// Memory of this process that is not the region's; 0 where the system doesn't tell.
fn private_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

const LAST: usize = 0;
const COUNT: usize = 1;
const OWN: usize = 2;

/// Watches this process's memory while rounds go by.
struct Watch<'a> {
    torture: &'a Torture<'a>,
    unit: &'static str,
    start: Instant,
    /// The round in which the memory was looked at last.
    looked: u64,
    /// The most memory seen in the first half of the rounds, and in the second.
    peaks_bytes: [u64; 2],
    progress: crate::progress::Progress,
}

/// So many looks at the memory are taken over all rounds; a line is printed for every tenth part of them.
const LOOKS: u64 = 200;
const LINES: u64 = 10;
/// What the second half may have above the first: the allocator's slack. A million rounds that kept one word
/// each would have as much again, and more.
const SLACK_BYTES: u64 = 3 << 20;
/// Short runs are over before caches have filled, and show nothing.
const SHORTEST_WATCHED: u64 = 20_000;

impl<'a> Watch<'a> {
    fn new(torture: &'a Torture<'a>, unit: &'static str) -> Watch<'a> {
        let progress = torture.console.progress(unit, torture.rounds);
        Watch {
            torture,
            unit,
            start: Instant::now(),
            looked: 0,
            peaks_bytes: [0; 2],
            progress,
        }
    }

    fn at(&mut self, hive: &Hive, round: u64) {
        let rounds = self.torture.rounds;
        let before = std::mem::replace(&mut self.looked, round);
        if before > 0 && round - before < (rounds / LOOKS).max(1) {
            self.looked = before;
            return;
        }
        let report = hive.stats();
        let half = usize::from(round > rounds / 2);
        self.peaks_bytes[half] = self.peaks_bytes[half].max(report.resident_bytes);
        self.progress.at(round);
        let part = |round: u64| u128::from(round) * u128::from(LINES) / u128::from(rounds);
        if rounds >= SHORTEST_WATCHED && part(round) > part(before) {
            self.print(round, &report);
        }
    }

    fn print(&self, round: u64, report: &Report) {
        let per_round = self.start.elapsed() / u32::try_from(round.max(1)).unwrap_or(u32::MAX);
        self.torture.console.answer(format_args!(
            "{} {round} of {}: {} resident, {} of protocol, {per_round:.1?} each",
            self.unit,
            self.torture.rounds,
            mib(report.resident_bytes),
            mib(report.counts.metadata_bytes),
        ));
    }

    /// Fails where the second half of the rounds needed more memory than the first.
    fn end(&self, hive: &Hive) -> Result<(), Failure> {
        let [first, second] = self.peaks_bytes;
        // A drone that lost the last race has not looked in the second half.
        if self.torture.rounds < SHORTEST_WATCHED || second <= first + SLACK_BYTES {
            return Ok(());
        }
        Err(Failure::WrongHere(format!(
            "{}: the memory of drone {} grows: at most {} in the first half of the rounds, {} in the second; \
             where the protocol's part of it does, tidy up earlier with `hivemind run --metadata-limit 256K`",
            self.torture.label(),
            hive.me(),
            mib(first),
            mib(second)
        )))
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}
