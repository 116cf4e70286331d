//! Intervals: how this drone's own end, and how others' are taken in.
//! (Keleher, Cox, Zwaenepoel, ISCA 1992, section 3; Keleher et al., USENIX Winter 1994, section 2.)
//!
//! What is fetched because of a notice lives in `fault`; the end of all intervals in `epoch`.

use crate::core::{Core, misbehaviour};
use crate::message::Interval;
use crate::mutant::{Mutant, mutant};
use crate::note::Note;
use crate::page::{Notice, Twin};
use crate::{
    Access, DroneId, IntervalId, IntervalIndex, Memory, Misbehaviour, PageId, PageRun,
    VectorTimestamp, WriteDetection,
};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

/// Every interval of this epoch that this drone knows of, and what it wrote since its last.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct IntervalLog {
    /// What is known: for each creator its intervals 1 … n without a gap.
    pub(crate) known: VectorTimestamp,
    intervals: BTreeMap<IntervalId, Interval>,
    /// With trapped writes: the pages written in the open interval.
    dirty: BTreeSet<PageId>,
    /// Pages that this drone wrote in this epoch on a copy that is not based.
    pub(crate) blind: BTreeSet<PageId>,
    /// Bytes that this epoch's records and diffs take, nearly.
    pub(crate) bytes: u64,
    /// Whether this drone has asked for a collection in this epoch.
    pub(crate) asked: bool,
}

impl IntervalLog {
    pub(crate) fn new() -> Self {
        Self {
            known: VectorTimestamp::new(),
            intervals: BTreeMap::new(),
            dirty: BTreeSet::new(),
            blind: BTreeSet::new(),
            bytes: 0,
            asked: false,
        }
    }

    /// All intervals, ascending by creator and index.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Interval> {
        self.intervals.values()
    }

    /// The intervals of one drone, ascending.
    pub(crate) fn of(&self, creator: DroneId) -> impl Iterator<Item = &Interval> {
        let id = |index| IntervalId {
            creator,
            index: IntervalIndex(index),
        };
        self.intervals
            .range(id(0)..=id(u32::MAX))
            .map(|(_, interval)| interval)
    }

    /// The intervals that somebody who knows `known` lacks.
    pub(crate) fn beyond(&self, known: &VectorTimestamp) -> Vec<Interval> {
        let lacks = |&(creator, _): &(DroneId, IntervalIndex)| {
            let id = |index| IntervalId {
                creator,
                index: IntervalIndex(index),
            };
            let next = known.get(creator).0.saturating_add(1);
            let lacks = self.intervals.range(id(next)..=id(u32::MAX));
            lacks.map(|(_, interval)| interval.clone())
        };
        let mut beyond: Vec<Interval> = self.known.entries().iter().flat_map(lacks).collect();
        if mutant(Mutant::NewestFirst) {
            beyond.reverse();
        }
        beyond
    }

    pub(crate) fn get(&self, id: IntervalId) -> Option<&Interval> {
        self.intervals.get(&id)
    }

    /// The interval's place in a linear extension of happens-before: an interval's timestamp dominates
    /// that of each interval before it, so its weight is larger. One that is still open comes last.
    pub(crate) fn weight(&self, id: IntervalId) -> u64 {
        self.get(id)
            .map_or(u64::MAX, |interval| interval.known.weight())
    }

    /// The number of this drone's interval that is still open.
    pub(crate) fn open_index(&self, me: DroneId) -> IntervalIndex {
        let next = self.known.get(me).0 + 1;
        if mutant(Mutant::IntervalWraps) {
            return IntervalIndex(next % (1 << 8));
        }
        IntervalIndex(next)
    }

    pub(crate) fn insert(&mut self, interval: Interval) {
        if mutant(Mutant::ClockAssigned) {
            self.known = interval.known.clone();
        }
        self.known.raise(interval.id.creator, interval.id.index);
        self.bytes += record_bytes(&interval);
        self.intervals.insert(interval.id, interval);
    }

    /// Forgets the epoch. What is written in the open interval stays.
    pub(crate) fn clear(&mut self) {
        self.known = VectorTimestamp::new();
        if !mutant(Mutant::RecordsKept) {
            self.intervals.clear();
            self.bytes = 0;
        }
        self.blind.clear();
        self.asked = false;
    }
}

/// What a record takes in memory, nearly: itself, its timestamp, its runs, and a notice for each page.
fn record_bytes(interval: &Interval) -> u64 {
    let notices: u64 = interval.pages.iter().map(|run| run.count).sum();
    let fixed = size_of::<Interval>() + interval.known.entries().len() * 8;
    (fixed + interval.pages.len() * size_of::<PageRun>()) as u64
        + notices * size_of::<Notice>() as u64
}

/// What comes after an interval.
#[derive(Clone, Copy)]
enum Next {
    Interval,
    EpochsEnd,
}

impl<M: Memory> Core<M> {
    /// Puts a page on the list of the open interval. Only for pages whose writes others must hear of.
    pub(crate) fn mark_written(&mut self, page: PageId) {
        let entry = self.pages.get_mut(page);
        if !entry.written {
            entry.written = true;
            self.log.dirty.insert(page);
        }
    }

    /// Ends the open interval, if it wrote anything: from here on each store counts for the next.
    ///
    /// May happen at any time between a release and the moment when somebody is to hear of it; ending it
    /// later than at the release only tells more than is owed, and makes a cached lock free of charge.
    /// Does nothing where the program waits in a meeting: its last interval ended when it came there.
    pub(crate) fn close_interval(&mut self) {
        assert!(
            !self.epoch.has_arrived(),
            "INV-7: an interval would end between arrival and departure"
        );
        if !self.epoch.attends() {
            self.end_interval(Next::Interval);
        }
    }

    /// Ends it where the program comes to a meeting, which ends the epoch (see `left`).
    pub(crate) fn close_last_interval(&mut self) {
        self.end_interval(Next::EpochsEnd);
    }

    fn end_interval(&mut self, next: Next) {
        let pages = match self.memory.write_detection() {
            WriteDetection::Traps => self.close_trapped(),
            WriteDetection::Scans => self.close_scanned(next),
        };
        let pages = self.leave_out_unfilled(pages);
        if pages.is_empty() {
            return;
        }
        let index = self.log.open_index(self.me);
        for page in pages.iter().flat_map(|run| run.pages()) {
            let entry = self.pages.get_mut(page);
            if entry.twin.is_some() {
                entry.history_mut().uncut.get_or_insert(index);
            }
            if !entry.based {
                self.log.blind.insert(page);
            }
        }
        let mut known = self.log.known.clone();
        known.raise(self.me, index);
        self.stats.intervals += 1;
        self.stats.write_notices += pages.iter().map(|run| run.count).sum::<u64>();
        self.notes.add(|| Note::IntervalEnded {
            index,
            pages: pages.clone(),
        });
        self.log.insert(Interval {
            id: IntervalId {
                creator: self.me,
                index,
            },
            known,
            pages,
        });
    }

    fn close_trapped(&mut self) -> Vec<PageRun> {
        let dirty = core::mem::take(&mut self.log.dirty);
        let mut protect = Vec::new();
        for page in &dirty {
            let entry = self.pages.get_mut(*page);
            entry.written = false;
            if entry.access == Access::ReadWrite {
                entry.access = Access::ReadOnly;
                protect.push(*page);
            }
        }
        for run in PageRun::join(protect) {
            self.memory.set_access(run, Access::ReadOnly);
        }
        PageRun::join(dirty)
    }

    fn close_scanned(&mut self, next: Next) -> Vec<PageRun> {
        let mut written = Vec::new();
        match next {
            Next::Interval => self.memory.take_written(&mut written),
            Next::EpochsEnd => self.take_written_before_end(&mut written),
        }
        written
    }

    /// Takes others' intervals in (see `news`): their pages lack something here from now on, and become invalid.
    /// Only while the program waits in an acquire (INV-6), with the open interval closed.
    pub(crate) fn incorporate(&mut self, news: Vec<Interval>) {
        let mut invalid = BTreeSet::new();
        for interval in news {
            for page in interval.pages.iter().flat_map(|run| run.pages()) {
                self.cut(page);
                let me = self.me;
                let entry = self.pages.get_mut(page);
                if entry.home == me && !mutant(Mutant::WriterNotNoted) {
                    // Its writer has a copy, kept over an epoch's end perhaps: the home is not alone.
                    entry.copies.insert(interval.id.creator);
                }
                entry.history_mut().notices.push(Notice {
                    interval: interval.id,
                    applied: false,
                });
                if entry.access != Access::Invalid {
                    invalid.insert(page);
                }
            }
            self.log.insert(interval);
        }
        self.invalidate(invalid);
    }

    /// Those of a peer's intervals that are new here; an error where no correct drone could send one of them.
    /// Looks at all before any is taken in, so that a message is done as a whole or not at all.
    pub(crate) fn news(
        &self,
        from: DroneId,
        intervals: Vec<Interval>,
    ) -> Result<Vec<Interval>, Misbehaviour> {
        let mut known = self.log.known.clone();
        let mut news = Vec::new();
        for interval in intervals {
            if mutant(Mutant::ClockMergedInLoop) {
                let others = |entry: &&(DroneId, IntervalIndex)| entry.0 != interval.id.creator;
                for (drone, index) in interval.known.entries().iter().filter(others) {
                    known.raise(*drone, known.get(*drone).max(*index));
                }
            }
            if known.covers(interval.id) {
                continue;
            }
            if interval.id.creator == self.me {
                let what = format!(
                    "it tells of {}, which {} did not make",
                    interval.id.index, self.me
                );
                return Err(misbehaviour(from, &what));
            }
            self.check_interval(from, &known, &interval)?;
            known.raise(interval.id.creator, interval.id.index);
            news.push(interval);
        }
        Ok(news)
    }

    /// Whether a correct drone could send this interval to one that knows `known`.
    pub(crate) fn check_interval(
        &self,
        from: DroneId,
        known: &VectorTimestamp,
        interval: &Interval,
    ) -> Result<(), Misbehaviour> {
        let id = interval.id;
        let next = u64::from(known.get(id.creator).0) + 1;
        if id.creator.0 >= self.drones || u64::from(id.index.0) != next {
            let what = format!(
                "it tells of {} of {}, where {next} comes next",
                id.index, id.creator
            );
            return Err(misbehaviour(from, &what));
        }
        if interval.known.get(id.creator) != id.index {
            let what = format!(
                "its timestamp of {} of {} is another's",
                id.index, id.creator
            );
            return Err(misbehaviour(from, &what));
        }
        // In order and without overlap: else a short list could name the region over and over again.
        let mut end = 0;
        for run in &interval.pages {
            if run.count == 0 || run.first.0 < end {
                return Err(misbehaviour(from, "its write notices are not in order"));
            }
            end = run.first.0.saturating_add(run.count);
            self.check_page(from, PageId(end - 1))?;
        }
        Ok(())
    }

    /// Takes pages away from the program. Each was cut before, so nothing of its writes is lost.
    pub(crate) fn invalidate(&mut self, pages: impl IntoIterator<Item = PageId>) {
        let mut gone = Vec::new();
        for page in pages {
            let entry = self.pages.get_mut(page);
            entry.access = Access::Invalid;
            entry.stale = false;
            self.spare.give_twin(entry.twin.take());
            gone.push(page);
        }
        self.stats.invalidations += gone.len() as u64;
        for run in PageRun::join(gone) {
            self.memory.set_access(run, Access::Invalid);
            self.notes.add(|| Note::Invalidated(run));
        }
    }

    /// Makes the diff of what hides behind the page's twin.
    ///
    /// One twin may hide several own intervals. Its diff counts as the first of them: whoever wrote the
    /// same byte after any of them also wrote it after the first, and nobody's notice for the page came in
    /// between, or the twin would have been cut then. So the diff applies at the first one's place.
    pub(crate) fn cut(&mut self, page: PageId) {
        let open = self.log.open_index(self.me);
        let entry = self.pages.get_mut(page);
        let Some(twin) = &entry.twin else { return };
        let traps = self.memory.write_detection() == WriteDetection::Traps;
        let freezes = traps && entry.access == Access::ReadWrite;
        if freezes && !mutant(Mutant::FrozenAfterReading) {
            // Freeze first: a store after the comparison would be lost with the twin.
            entry.access = Access::ReadOnly;
            self.memory.set_access(PageRun::one(page), Access::ReadOnly);
        }
        let mut now = self.spare.take();
        self.memory.read(page, &mut now);
        let diff = twin.diff(self.memory.kernels(), &now);
        if freezes && mutant(Mutant::FrozenAfterReading) {
            entry.access = Access::ReadOnly;
            self.memory.set_access(PageRun::one(page), Access::ReadOnly);
        }
        if !traps && mutant(Mutant::TwinReadAgain) {
            self.memory.read(page, &mut now);
        }
        let first = entry
            .history
            .as_mut()
            .and_then(|history| history.uncut.take())
            .map(|first| match mutant(Mutant::DiffOfTheLast) {
                true => IntervalIndex(open.0 - 1),
                false => first,
            })
            .unwrap_or(open);
        if let Some(diff) = diff {
            self.stats.diffs_made += 1;
            self.stats.diff_bytes += diff.bytes().len() as u64;
            self.notes.add(|| Note::DiffMade {
                page,
                interval: first,
                bytes: diff.bytes().len(),
            });
            self.log.bytes += diff.size() as u64;
            entry.history_mut().own.push((first, diff));
        }
        // Where stores are found by scanning, the page stays writable and needs a twin all the time.
        let now = Some(Twin::Copy(now));
        let (twin, unneeded) = if traps { (None, now) } else { (now, None) };
        self.spare.give_twin(unneeded);
        self.spare
            .give_twin(core::mem::replace(&mut entry.twin, twin));
    }

    /// Keeps the page as it is now, to find later what the program wrote.
    pub(crate) fn make_twin(&mut self, page: PageId) {
        let entry = self.pages.get_mut(page);
        if entry.twin.is_some() {
            return;
        }
        let (memory, spare) = (&self.memory, &mut self.spare);
        let arrived = self.fetches.take_arrived(page);
        entry.twin = Some(entry.twin_of(|| {
            if let Some(bytes) = arrived {
                return bytes;
            }
            let mut bytes = spare.take();
            memory.read(page, &mut bytes);
            bytes
        }));
        self.stats.twins += 1;
        self.notes.add(|| Note::TwinMade { page });
    }

    /// Drops the pages over whose heads an epoch ended. Like `incorporate`: in an acquire, closed before.
    pub(crate) fn drop_stale(&mut self) {
        if mutant(Mutant::StalePagesKept) {
            return;
        }
        let stale = core::mem::take(&mut self.epoch.stale);
        for page in &stale {
            self.cut(*page);
        }
        let valid = |page: &PageId| self.pages.get_mut(*page).access != Access::Invalid;
        let valid: Vec<PageId> = stale.iter().copied().filter(valid).collect();
        self.invalidate(valid);
        for page in stale {
            self.apply_arrived(page);
        }
    }
}
