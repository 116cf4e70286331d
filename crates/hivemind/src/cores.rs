//! How many cores a drone may count on, beside the other drones of its host.
//!
//! A starter may have bound each drone to cores of its own, or all to all. Ours says how many they are together. Else who did the binding
//! is bound less: the parent process has all cores of the job on this host, as far as anybody can tell.

use rustix::process::{Pid, getppid};
use rustix::thread::{CpuSet, sched_getaffinity};
use std::thread::available_parallelism;

/// The cores that this process sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    /// On which this process may run, and for how much of the time.
    own: usize,
    /// Those of the job on this host.
    all: usize,
}

impl Cores {
    /// Those of this process. The launcher counts those of the job on this host; another starter may know of a bound.
    pub(crate) fn here(counted: Option<u32>, told: Option<u32>) -> Self {
        let own = available_parallelism().map_or(1, usize::from);
        if let Some(counted) = counted {
            let all = own.max(counted as usize);
            return Self { own, all };
        }
        let count = |set: CpuSet| set.count() as usize;
        let bound = sched_getaffinity(None).map_or(own, count);
        let parent = parents_cores().map_or(bound, count);
        // Less than it is bound to: a control group gives all drones together so much time.
        let is_rationed = own < bound;
        let all = if is_rationed { own } else { parent };
        Self {
            own,
            all: told.map_or(all, |told| all.min(told as usize)).max(own),
        }
    }

    /// The part of each of this many drones: at least one.
    pub(crate) fn share(self, drones: usize) -> usize {
        self.own.min((self.all / drones.max(1)).max(1))
    }

    /// Whether each of this many drones has a core.
    pub(crate) fn suffice_for(self, drones: usize) -> bool {
        drones <= self.all
    }
}

fn parents_cores() -> Option<CpuSet> {
    let parent: Pid = getppid()?;
    sched_getaffinity(Some(parent)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unbound_drones_share_and_bound_ones_have_their_own() {
        let unbound = Cores { own: 64, all: 64 };
        assert_eq!(unbound.share(4), 16);
        let bound = Cores { own: 16, all: 64 };
        assert_eq!(bound.share(4), 16);
        let two_to_a_socket = Cores { own: 32, all: 64 };
        assert_eq!(two_to_a_socket.share(4), 16);
        assert_eq!(two_to_a_socket.share(1), 32);
    }

    #[test]
    fn a_drone_has_a_core_at_least() {
        let few = Cores { own: 2, all: 2 };
        assert_eq!(few.share(8), 1);
        assert!(!few.suffice_for(8));
        assert!(few.suffice_for(2));
        assert_eq!(few.share(0), 2);
    }

    #[test]
    fn a_starter_may_know_of_fewer_cores_but_not_below_our_own() {
        let here = Cores::here(None, None);
        assert!(here.own >= 1 && here.all >= here.own);
        assert_eq!(Cores::here(None, Some(1)).all, here.own);
        assert_eq!(Cores::here(None, Some(u32::MAX)).all, here.all);
    }

    #[test]
    fn the_launcher_knows_whatever_the_parent_is_bound_to() {
        let own = Cores::here(None, None).own;
        assert_eq!(Cores::here(Some(1 << 20), None).all, 1 << 20);
        assert_eq!(Cores::here(Some(1 << 20), Some(1)).all, 1 << 20);
        assert_eq!(Cores::here(Some(1), None).all, own);
    }
}
