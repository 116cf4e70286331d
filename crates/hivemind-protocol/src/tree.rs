//! The tree along which drones arrive at an epoch's end and depart from it: each waits for those right below it, so that
//! arrivals combine on their way up and departures fan out on their way down (Yew, Tzeng, Lawrie, IEEE Transactions on
//! Computers 36(4), 1987: combining trees).
//!
//! Here is only who stands where. What goes along it lives in `gathering`, calls for a collection in `collect`; data,
//! locks and the heap know no tree.

use crate::DroneId;
use core::iter::successors;
use core::ops::Range;

/// For how many others a drone waits, where nobody says otherwise. A hive that is no larger than that and one has no
/// drone between the first and any other.
///
/// ```
/// use hivemind_protocol::FAN_OUT;
/// let (two, three) = (FAN_OUT + 1, 1 + FAN_OUT + FAN_OUT * FAN_OUT);
/// println!("up to {two} drones: two levels; up to {three}: three");
/// ```
pub const FAN_OUT: u32 = 16;

/// Drone d waits for drones k·d + 1 … k·d + k, as far as there are so many. The first is above all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Tree {
    drones: u32,
    fan_out: u32,
}

impl Tree {
    pub(crate) fn new(drones: u32, fan_out: u32) -> Self {
        assert!(fan_out > 0, "a drone waits for one other at least");
        Self { drones, fan_out }
    }

    /// Who waits for this drone; nobody for the first.
    pub(crate) fn above(self, drone: DroneId) -> Option<DroneId> {
        let before = drone.0.checked_sub(1)?;
        Some(DroneId(before / self.fan_out))
    }

    /// For whom this drone waits, ascending.
    pub(crate) fn below(self, drone: DroneId) -> impl Iterator<Item = DroneId> {
        self.below_all(&(drone.0..drone.0 + 1)).map(DroneId)
    }

    /// Whether this drone waits for nobody.
    pub(crate) fn is_leaf(self, drone: DroneId) -> bool {
        self.below(drone).next().is_none()
    }

    /// This drone and all below it, however far, ascending.
    pub(crate) fn branch(self, drone: DroneId) -> impl Iterator<Item = DroneId> {
        let levels = successors(Some(drone.0..drone.0 + 1), move |level| {
            Some(self.below_all(level)).filter(|next| !next.is_empty())
        });
        levels.flatten().map(DroneId)
    }

    /// Whether a drone is `top` or below it.
    pub(crate) fn is_in_branch(self, drone: DroneId, top: DroneId) -> bool {
        let way_up = successors(Some(drone), |drone| self.above(*drone));
        way_up
            .take_while(|drone| *drone >= top)
            .any(|drone| drone == top)
    }

    /// All that neighbours of one level wait for: neighbours of the next.
    fn below_all(self, level: &Range<u32>) -> Range<u32> {
        let first_below = |drone: u32| {
            let first = u64::from(self.fan_out) * u64::from(drone) + 1;
            first.min(u64::from(self.drones)) as u32
        };
        first_below(level.start)..first_below(level.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn seventeen_drones_have_nobody_between_the_first_and_the_others() {
        let tree = Tree::new(17, FAN_OUT);
        assert_eq!(tree.below(DroneId(0)).count(), 16);
        assert!((1..17).all(|drone| tree.is_leaf(DroneId(drone))));
        assert!(!Tree::new(18, FAN_OUT).is_leaf(DroneId(1)));
    }

    #[test]
    fn a_thousand_drones_have_three_levels_below_the_first() {
        let tree = Tree::new(1024, FAN_OUT);
        let depth = |drone| successors(Some(drone), |drone| tree.above(*drone)).count() - 1;
        assert_eq!((0..1024).map(|drone| depth(DroneId(drone))).max(), Some(3));
    }

    #[test]
    fn each_is_below_whom_it_is_above_and_in_the_branches_of_all_on_its_way_up() {
        for (drones, fan_out) in [(1, 1), (5, 1), (9, 2), (40, 3), (300, 16), (7, u32::MAX)] {
            let tree = Tree::new(drones, fan_out);
            for top in (0..drones).map(DroneId) {
                let branch: Vec<DroneId> = tree.branch(top).collect();
                let within = |drone: &DroneId| tree.is_in_branch(*drone, top);
                let all: Vec<DroneId> = (0..drones).map(DroneId).filter(within).collect();
                assert_eq!(branch, all);
                assert!(tree.below(top).all(|below| tree.above(below) == Some(top)));
                assert_eq!(tree.is_leaf(top), branch.len() == 1);
            }
            assert_eq!(tree.branch(DroneId::FIRST).count(), drones as usize);
        }
    }
}
