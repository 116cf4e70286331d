//! Who sorts what: a queue of ranges for each drone, in shared memory, each under a lock of its own.
//!
//! A drone takes from the end of its queue, so what it has just put back is done next, in memory that it has. Who
//! finds its own empty takes from the front of another's. There is no lock that all need, and nothing that all count: who comes
//! to such a lock hears of all that was sorted before, one drone after the other. In the barrier at the end all hear it at once.

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

    fn is_longer_than(&self, longest: usize) -> bool {
        self.range().len() > longest
    }
}

/// What a drone does next.
pub(super) enum Next {
    /// It sorts a range, and then most likely another one.
    Sort { task: Task, then: Option<Task> },
    /// Nobody has anything to give, but somebody may put something back.
    Wait,
    /// Nobody will have anything to give any more.
    End,
}

/// The queues of all drones.
pub(super) struct Queues {
    /// A row for each drone, each from a page's begin on; see [`Row`].
    rows: Shared<u64>,
    row_words: usize,
    /// Ranges longer than this are split.
    pub(super) longest: usize,
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
            longest,
        };
        let mine = hive.share_of(0..groups.buckets);
        let mut end = (0..mine.end).map(|bucket| groups.size(bucket)).sum();
        let mut row = Row(queues.row_mut(hive, hive.me()));
        // The last is the owner's first: so it fills its share of the sorted array upwards, and memory that is filled so costs least.
        for bucket in mine.rev() {
            let start = end - groups.size(bucket);
            if end > start {
                row.put(Task {
                    start,
                    end,
                    bucket: bucket as u64,
                });
            }
            end = start;
        }
        hive.barrier()?;
        Ok(queues)
    }

    /// Takes the next task.
    pub(super) fn next(&mut self, hive: &mut Hive) -> hivemind::Result<Next> {
        let (me, drones) = (hive.me(), hive.drones());
        let mut somebody_splits = false;
        for from in (0..drones).map(|further| (me + further) % drones) {
            let Taken { task, then, splits } = self.take(hive, from)?;
            if let Some(task) = task {
                if from != me && task.is_longer_than(self.longest) {
                    let held = hive.lock(me as u32)?;
                    Row(self.row_mut(&held, me)).set_splits(true);
                    held.release()?;
                }
                return Ok(Next::Sort { task, then });
            }
            somebody_splits |= splits;
        }
        Ok(if somebody_splits {
            Next::Wait
        } else {
            Next::End
        })
    }

    /// Puts a task back, for this drone or who is free before.
    pub(super) fn put(&mut self, hive: &mut Hive, task: Task) -> hivemind::Result<()> {
        let me = hive.me();
        let held = hive.lock(me as u32)?;
        Row(self.row_mut(&held, me)).put(task);
        held.release()
    }

    /// Gives the queues' memory back. Collective.
    pub(super) fn free(self, hive: &mut Hive) -> hivemind::Result<()> {
        hive.free(self.rows)
    }

    /// Takes from a drone's queue, which is guarded by the lock of its number: that drone manages it.
    fn take(&mut self, hive: &mut Hive, from: usize) -> hivemind::Result<Taken> {
        let (owns, longest) = (from == hive.me(), self.longest);
        let held = hive.lock(from as u32)?;
        let mut row = Row(self.row_mut(&held, from));
        let task = if owns { row.last() } else { row.first() };
        if task.is_some() {
            row.shorten(owns);
        }
        if owns {
            row.set_splits(task.is_some_and(|task| task.is_longer_than(longest)));
        }
        let taken = Taken {
            task,
            then: row.last().filter(|_| owns),
            splits: row.splits(),
        };
        held.release()?;
        Ok(taken)
    }

    fn row_mut<'a>(&'a mut self, hive: &'a Hive, drone: usize) -> &'a mut [u64] {
        &mut self.rows.view_mut(hive)[drone * self.row_words..][..self.row_words]
    }
}

/// What was found in a queue.
struct Taken {
    task: Option<Task>,
    /// What its owner would take next.
    then: Option<Task>,
    /// Whether its owner is at a range that it will split.
    splits: bool,
}

const WORDS_A_PAGE: usize = 512;

/// A queue's memory: where its first task is, how many there are, whether its owner splits one, and a ring of tasks.
struct Row<'a>(&'a mut [u64]);

impl Row<'_> {
    const HEAD: usize = 3;
    const TASK: usize = 3;

    fn splits(&self) -> bool {
        self.0[2] != 0
    }

    /// Stores only what is new, so that a queue that nobody used is told to nobody.
    fn set_splits(&mut self, splits: bool) {
        if self.splits() != splits {
            self.0[2] = splits.into();
        }
    }

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
