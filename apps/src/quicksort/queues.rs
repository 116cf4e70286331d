//! Who sorts what: a queue of ranges for each drone, in shared memory, each under a lock of its own.
//!
//! A drone takes from the end of its queue, so what it has just put back is done next, in memory that it has. Who
//! finds its own empty takes from the front of another's. How many numbers are in their final place is kept under one more
//! lock, and told now and then only: while there is enough to do, drones don't hear of each other.

use super::SMALLEST_SPLIT;
use super::groups::Groups;
use hivemind::{Hive, Shared};
use std::ops::Range;

/// A range of the sorted array that is still to be sorted. Where `bucket` isn't `GATHERED`, its numbers
/// must first be gathered from all drones' groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) bucket: u64,
}

/// The numbers of the range are already in the sorted array.
pub(super) const GATHERED: u64 = u64::MAX;

impl Task {
    pub(super) fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// What a drone does next.
pub(super) enum Next {
    /// It sorts a range, and then most likely another one.
    Sort { task: Task, then: Option<Task> },
    /// Nobody has anything to give, but not all is sorted.
    Wait,
    /// All is sorted.
    End,
}

/// The queues of all drones.
pub(super) struct Queues {
    /// A row for each drone, each from a page's begin on; see [`Row`].
    rows: Shared<u64>,
    row_words: usize,
    /// How many numbers are in their final place.
    total: Shared<u64>,
    count: u64,
    /// Ranges longer than this are split.
    pub(super) longest: usize,
    /// The total when this drone last looked, and what it has sorted since.
    told: u64,
    untold: u64,
}

impl Queues {
    /// Makes the queues, with every bucket in that of the drone whose share of the sorted array it fills, nearly.
    /// Collective.
    pub(super) fn fill(hive: &mut Hive, groups: &Groups, count: usize) -> hivemind::Result<Self> {
        let drones = hive.drones();
        let longest = (count / (8 * drones)).max(SMALLEST_SPLIT);
        // A part is put back only when it is longer than a quarter of the longest range, and parts in the
        // queues don't overlap: that bounds how many there are at a time.
        let most = groups.buckets.div_ceil(drones) + 4 * count / longest + 1;
        let row_words = (Row::HEAD + most * Row::TASK).next_multiple_of(WORDS_A_PAGE);
        let mut queues = Queues {
            rows: hive.alloc(drones * row_words)?,
            row_words,
            total: hive.alloc(1)?,
            count: count as u64,
            longest,
            told: 0,
            untold: 0,
        };
        let mine = hive.share_of(0..groups.buckets);
        let mut start = (0..mine.start).map(|bucket| groups.size(bucket)).sum();
        let mut row = Row(queues.row_mut(hive, hive.me()));
        for bucket in mine {
            let end = start + groups.size(bucket);
            if end > start {
                row.put(Task {
                    start,
                    end,
                    bucket: bucket as u64,
                });
            }
            start = end;
        }
        hive.barrier()?;
        Ok(queues)
    }

    /// Takes the next task, after so many more numbers came to their final place.
    pub(super) fn next(&mut self, hive: &mut Hive, done: u64) -> hivemind::Result<Next> {
        self.untold += done;
        let (me, drones) = (hive.me(), hive.drones());
        let own = self.take(hive, me)?;
        let much = self.count / (TELLINGS_EACH * drones as u64);
        if own.is_none() || self.untold > much {
            self.tell(hive)?;
        }
        if let Some((task, then)) = own {
            return Ok(Next::Sort { task, then });
        }
        if self.told == self.count {
            return Ok(Next::End);
        }
        for other in (1..drones).map(|further| (me + further) % drones) {
            if let Some((task, _)) = self.take(hive, other)? {
                return Ok(Next::Sort { task, then: None });
            }
        }
        Ok(Next::Wait)
    }

    /// Puts a task back, for this drone or who is free before.
    pub(super) fn put(&mut self, hive: &mut Hive, task: Task) -> hivemind::Result<()> {
        let me = hive.me();
        let held = hive.lock(me as u32)?;
        Row(self.row_mut(&held, me)).put(task);
        held.release()
    }

    /// How many numbers are in their final place, as far as this drone knows.
    pub(super) fn sorted(&self) -> u64 {
        self.told + self.untold
    }

    /// Gives the queues' memory back. Collective.
    pub(super) fn free(self, hive: &mut Hive) -> hivemind::Result<()> {
        hive.free(self.rows)?;
        hive.free(self.total)
    }

    /// Takes from a drone's queue, which is guarded by the lock of its number: that drone manages it. Gives also what its
    /// owner would take after it.
    fn take(
        &mut self,
        hive: &mut Hive,
        from: usize,
    ) -> hivemind::Result<Option<(Task, Option<Task>)>> {
        let owns = from == hive.me();
        let held = hive.lock(from as u32)?;
        let mut row = Row(self.row_mut(&held, from));
        let task = if owns { row.last() } else { row.first() };
        if task.is_some() {
            row.shorten(owns);
        }
        let taken = task.map(|task| (task, row.last()));
        held.release()?;
        Ok(taken)
    }

    /// Adds what this drone has sorted to the total, and learns it.
    fn tell(&mut self, hive: &mut Hive) -> hivemind::Result<()> {
        let held = hive.lock(hive.drones() as u32)?;
        let total = &mut self.total.view_mut(&held)[0];
        *total += std::mem::take(&mut self.untold);
        self.told = *total;
        held.release()
    }

    fn row_mut<'a>(&'a mut self, hive: &'a Hive, drone: usize) -> &'a mut [u64] {
        &mut self.rows.view_mut(hive)[drone * self.row_words..][..self.row_words]
    }
}

const WORDS_A_PAGE: usize = 512;

/// How often a drone that always finds something to do tells how far it is.
const TELLINGS_EACH: u64 = 8;

/// A queue's memory: where its first task is, how many there are, and a ring of tasks.
struct Row<'a>(&'a mut [u64]);

impl Row<'_> {
    const HEAD: usize = 2;
    const TASK: usize = 3;

    fn put(&mut self, task: Task) {
        let at = self.place(self.0[1]);
        self.0[at..at + Self::TASK].copy_from_slice(&[task.start, task.end, task.bucket]);
        self.0[1] += 1;
    }

    fn first(&self) -> Option<Task> {
        (self.0[1] > 0).then(|| self.task(0))
    }

    fn last(&self) -> Option<Task> {
        self.0[1].checked_sub(1).map(|last| self.task(last))
    }

    /// Drops its last task, or else its first.
    fn shorten(&mut self, last: bool) {
        self.0[1] -= 1;
        if !last {
            self.0[0] = (self.0[0] + 1) % self.slots();
        }
    }

    fn task(&self, nth: u64) -> Task {
        let at = self.place(nth);
        let [start, end, bucket] = [self.0[at], self.0[at + 1], self.0[at + 2]];
        Task { start, end, bucket }
    }

    fn place(&self, nth: u64) -> usize {
        let slot = (self.0[0] + nth) % self.slots();
        Self::HEAD + slot as usize * Self::TASK
    }

    fn slots(&self) -> u64 {
        ((self.0.len() - Self::HEAD) / Self::TASK) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_gives_its_newest_to_its_owner_and_its_oldest_to_others() {
        let mut words = vec![0; Row::HEAD + 3 * Row::TASK];
        let mut row = Row(&mut words);
        let task = |start| Task {
            start,
            end: start + 10,
            bucket: GATHERED,
        };
        assert_eq!((row.first(), row.last()), (None, None));
        // Often enough that the ring goes round.
        for start in 0..10 {
            row.put(task(3 * start));
            row.put(task(3 * start + 1));
            row.put(task(3 * start + 2));
            assert_eq!(row.last(), Some(task(3 * start + 2)));
            row.shorten(true);
            assert_eq!(row.first(), Some(task(3 * start)));
            row.shorten(false);
            assert_eq!(row.first(), row.last());
            row.shorten(false);
            assert_eq!((row.first(), row.last()), (None, None));
        }
    }
}
