//! The start of a simulated hive: drones knock at drone 0 in any order, some twice, some go away and come again, and
//! strangers knock too. The shipped membership decides; here is what must be true of its decisions.

use crate::finding::{Finding, Verdict};
use crate::prng::Prng;
use hivemind_protocol::{DroneId, Membership, Newcomer};

/// Knocks that were one too many: made twice, gone again, or a stranger's.
pub(crate) type Knocks = u64;

/// Lets the drones of a hive find together.
///
/// # Errors
/// Somebody was let in who must not be, or kept out who must be let in.
pub(crate) fn gather(seed: u64, drones: u32) -> Verdict<Knocks> {
    let prng = &mut Prng::of(seed, 99);
    let facts = [("protocol".to_owned(), "2".to_owned())];
    let mut members = Membership::new(drones, "simulated", &facts, 1);
    let mut here = vec![false; drones as usize];
    here[0] = true;
    let mut extra = 0;
    while here.iter().any(|here| !here) {
        if members.is_complete() {
            return wrong(format!("complete without all: {here:?}"));
        }
        let rank = prng.below(u64::from(drones)) as u32;
        let stranger = prng.chance(10);
        let newcomer = Newcomer {
            job: if stranger { "another" } else { "simulated" }.to_owned(),
            rank,
            size: drones,
            address: format!("drone-{rank}"),
            base_bitmap: 1,
            facts: facts.to_vec(),
        };
        let admitted = members.consider(&newcomer);
        let wanted = !stranger && !here[rank as usize];
        if admitted.is_ok() != wanted || admitted.as_ref().is_ok_and(|id| id.0 != rank) {
            let what = format!("drone {rank} (stranger: {stranger}) got {admitted:?}; {here:?}");
            return wrong(what);
        }
        extra += u64::from(!wanted);
        here[rank as usize] |= wanted;
        if wanted && !here.iter().all(|here| *here) && prng.chance(10) {
            // Its connection breaks before the hive runs.
            members.depart(DroneId(rank));
            here[rank as usize] = false;
            extra += 1;
        }
    }
    let named = |(rank, address): (usize, &String)| *address == format!("drone-{rank}");
    let all_named = members.addresses().iter().enumerate().skip(1).all(named);
    if members.is_complete() && all_named && members.base() == Ok(0) {
        Ok(extra)
    } else {
        wrong(format!("all are here, yet it knows {members:?}"))
    }
}

fn wrong<T>(what: String) -> Verdict<T> {
    Err(Finding::new("who is let in", what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_drone_is_let_in_once_however_often_it_knocks() {
        let knocks: Verdict<Vec<Knocks>> = (0..1000)
            .map(|seed| gather(seed, 1 + seed as u32 % 9))
            .collect();
        let knocks = knocks.expect("everybody is let in once");
        assert!(knocks.iter().sum::<u64>() > 1000);
    }
}
