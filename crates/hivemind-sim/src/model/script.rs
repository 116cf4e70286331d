//! What a modelled program does, step by step: it computes for a time, touches bytes, and calls. Its steps are made a
//! phase at a time, when all before are done in the hive's own time: so a program can decide by what others did before
//! under the same lock.
//!
//! The programs are in `programs`; who carries the steps out is `hive`.

use hivemind_protocol::{
    AccessKind, Address, BarrierId, Command, LockId, Meeting, MeetingKind, PAGE_SIZE, PageId,
    PageRun,
};
use std::collections::VecDeque;
use std::ops::Range;

/// A program of one drone.
pub(crate) trait Script {
    /// Appends the steps of its next phase; says whether there was one.
    fn next_phase(&mut self, seat: Place<'_>, steps: &mut Steps) -> bool;
}

/// Where a program runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Which drone.
    pub(crate) me: u64,
    /// Of how many.
    pub(crate) drones: u64,
    /// The blocks that were allocated by all together, in that order.
    pub(crate) blocks: &'a [Address],
}

impl Place<'_> {
    /// This drone's part of `all`, as the library cuts it.
    pub(crate) fn share_of(&self, all: Range<u64>) -> Range<u64> {
        share(all, self.me, self.drones)
    }

    pub(crate) fn is_first(&self) -> bool {
        self.me == 0
    }
}

/// The part of `all` that a drone has, as the library cuts it.
pub(crate) fn share(all: Range<u64>, drone: u64, drones: u64) -> Range<u64> {
    let length = u128::from(all.end - all.start);
    let cut = |at: u64| all.start + (length * u128::from(at) / u128::from(drones)) as u64;
    cut(drone)..cut(drone + 1)
}

/// One thing that a program does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// It works for so many nanoseconds without touching anything new.
    Compute(u64),
    /// It touches bytes, upwards.
    Touch {
        at: Address,
        bytes: u64,
        kind: AccessKind,
    },
    /// It calls and waits.
    Call(Command),
    /// Its own clock starts, or stops.
    Clock(bool),
}

/// Steps that are still to be done.
#[derive(Debug, Default)]
pub(crate) struct Steps(pub(crate) VecDeque<Step>);

impl Steps {
    /// Works for a time; what is less than a nanosecond is lost, so ask for much at once.
    pub(crate) fn compute(&mut self, ns: f64) {
        if ns >= 1.0 {
            self.0.push_back(Step::Compute(ns as u64));
        }
    }

    pub(crate) fn read(&mut self, at: Address, bytes: u64) {
        self.touch(at, bytes, AccessKind::Read);
    }

    pub(crate) fn write(&mut self, at: Address, bytes: u64) {
        self.touch(at, bytes, AccessKind::Write);
    }

    pub(crate) fn touch(&mut self, at: Address, bytes: u64, kind: AccessKind) {
        if bytes > 0 {
            self.0.push_back(Step::Touch { at, bytes, kind });
        }
    }

    /// Walks through several arrays at the same pace, so many nanoseconds a byte: a page is touched when the walk comes
    /// to it, of those at the same place the first in the list first.
    pub(crate) fn walk(&mut self, arrays: &[(Address, AccessKind)], bytes: u64, ns_a_byte: f64) {
        let page = PAGE_SIZE as u64;
        let mut touches: Vec<(u64, usize, u64)> = Vec::new();
        for (nth, (at, _)) in arrays.iter().enumerate() {
            let mut begin = 0;
            while begin < bytes {
                let end = bytes.min(begin + page - (at.0 + begin) % page);
                touches.push((begin, nth, end - begin));
                begin = end;
            }
        }
        touches.sort_unstable();
        let mut done = 0;
        for (begin, nth, count) in touches {
            self.compute((begin - done) as f64 * ns_a_byte);
            done = begin;
            let (at, kind) = arrays[nth];
            self.touch(Address(at.0 + begin), count, kind);
        }
        self.compute((bytes - done) as f64 * ns_a_byte);
    }

    pub(crate) fn acquire(&mut self, lock: LockId) {
        self.0.push_back(Step::Call(Command::Acquire(lock)));
    }

    pub(crate) fn release(&mut self, lock: LockId) {
        self.0.push_back(Step::Call(Command::Release(lock)));
    }

    /// Says that these bytes will be touched soon.
    pub(crate) fn prefetch(&mut self, at: Address, bytes: u64) {
        if bytes > 0 {
            let first = PageId::of(at);
            let count = PageId::of(Address(at.0 + bytes - 1)).0 - first.0 + 1;
            let pages = PageRun { first, count };
            self.0.push_back(Step::Call(Command::Prefetch(pages)));
        }
    }

    pub(crate) fn barrier(&mut self) {
        self.meet(MeetingKind::Barrier(BarrierId(0)), 0);
    }

    /// The first half of a barrier.
    pub(crate) fn arrive(&mut self) {
        self.meet(MeetingKind::Split(BarrierId(0)), 0);
    }

    /// The second half.
    pub(crate) fn depart(&mut self) {
        self.0.push_back(Step::Call(Command::Depart));
    }

    /// An allocation by all together, as the library makes it for values of so many bytes each.
    pub(crate) fn allocate(&mut self, count: u64, value_bytes: u64) {
        let bytes = count * value_bytes;
        let align = if bytes >= PAGE_SIZE as u64 {
            PAGE_SIZE as u64
        } else {
            value_bytes.min(16)
        };
        self.meet(MeetingKind::Allocate { bytes, align }, 0);
    }

    pub(crate) fn free(&mut self, block: Address) {
        self.meet(MeetingKind::Free(block), 0);
    }

    /// A sum of a number of 64 bits of each drone.
    pub(crate) fn sum(&mut self) {
        self.meet(MeetingKind::Reduce { bytes: 8 }, 8);
    }

    pub(crate) fn leave(&mut self) {
        self.meet(MeetingKind::Leave, 0);
    }

    pub(crate) fn meet(&mut self, kind: MeetingKind, payload_bytes: usize) {
        let payload = vec![0; payload_bytes];
        let command = Command::Meet(Meeting { kind, payload });
        self.0.push_back(Step::Call(command));
    }

    pub(crate) fn start_clock(&mut self) {
        self.0.push_back(Step::Clock(true));
    }

    pub(crate) fn stop_clock(&mut self) {
        self.0.push_back(Step::Clock(false));
    }
}

/// So many bytes behind an address.
pub(crate) fn behind(at: Address, bytes: u64) -> Address {
    Address(at.0 + bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_touches_each_page_when_it_comes_to_it() {
        let mut steps = Steps::default();
        let (reads, writes) = (
            (Address(4096 - 8), AccessKind::Read),
            (Address(8192), AccessKind::Write),
        );
        steps.walk(&[reads, writes], 16, 1.0);
        let touch = |(at, kind): (Address, AccessKind), bytes| Step::Touch { at, bytes, kind };
        let expected = [
            touch(reads, 8),
            touch(writes, 16),
            Step::Compute(8),
            touch((Address(4096), AccessKind::Read), 8),
            Step::Compute(8),
        ];
        assert_eq!(steps.0, expected);
    }

    #[test]
    fn shares_cover_all_and_touch() {
        for drones in [1, 3, 8, 1024] {
            let shares: Vec<_> = (0..drones)
                .map(|drone| share(5..1000, drone, drones))
                .collect();
            assert_eq!(
                (shares[0].start, shares[drones as usize - 1].end),
                (5, 1000)
            );
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
    }
}
