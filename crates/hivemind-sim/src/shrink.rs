//! Makes a plan that finds something smaller while it still finds the same: fewer phases, items and accesses,
//! no faults that aren't needed. What is left is short enough to read.

use crate::check::{Failed, check};
use crate::plan::Plan;
use crate::program::{Deed, End, Item};

/// A smaller plan with the same finding.
///
/// ```
/// use hivemind_sim::{Deed, Item, Plan, Touch, check, shrink};
#[doc = racing!()]
/// let failed = check(&plan).expect_err("the program races");
/// let shrunk = shrink(&plan, failed, 50);
/// assert!(shrunk.runs > 0 && shrunk.plan.seed == plan.seed);
/// ```
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The plan.
    pub plan: Plan,
    /// What it finds.
    pub failed: Box<Failed>,
    /// How many runs it took.
    pub runs: u64,
}

/// How many network seeds are tried for each smaller plan: a program that does less meets its messages at
/// other times.
const WEATHERS: u64 = 3;

/// Shrinks a plan that found `failed`, with at most `most` runs.
///
/// ```
/// use hivemind_sim::{Deed, Item, Plan, Touch, check, shrink};
#[doc = racing!()]
/// let failed = check(&plan).expect_err("the program races");
/// let rule = failed.finding.rule;
/// let shrunk = shrink(&plan, failed, 50);
/// assert_eq!(shrunk.failed.finding.rule, rule);
/// ```
pub fn shrink(plan: &Plan, failed: Box<Failed>, most: u64) -> Shrunk {
    let mut shrinker = Shrinker {
        best: Shrunk {
            plan: plan.clone(),
            failed,
            runs: 0,
        },
        most,
    };
    loop {
        let before = size(&shrinker.best.plan);
        shrinker.drop_faults();
        shrinker.drop_phases();
        shrinker.drop_splits();
        shrinker.drop_items();
        shrinker.drop_deeds();
        if size(&shrinker.best.plan) == before || shrinker.best.runs >= most {
            return shrinker.best;
        }
    }
}

struct Shrinker {
    best: Shrunk,
    most: u64,
}

impl Shrinker {
    /// Takes the smaller plan if it finds the same.
    fn accepts(&mut self, mut smaller: Plan) -> bool {
        let seed = smaller.world.seed;
        for weather in 0..WEATHERS {
            if self.best.runs >= self.most {
                return false;
            }
            self.best.runs += 1;
            smaller.world.seed = seed ^ weather;
            if let Err(failed) = check(&smaller)
                && failed.finding.rule == self.best.failed.finding.rule
            {
                (self.best.plan, self.best.failed) = (smaller, failed);
                return true;
            }
        }
        false
    }

    fn drop_faults(&mut self) {
        let drops: [fn(&mut Plan); 4] = [
            |plan| (plan.kill, plan.cut) = (None, None),
            |plan| plan.cut = None,
            |plan| plan.kill = None,
            |plan| plan.stops.clear(),
        ];
        for drop in drops {
            let mut calm = self.best.plan.clone();
            drop(&mut calm);
            self.accepts(calm);
        }
    }

    fn drop_phases(&mut self) {
        let mut at = self.best.plan.program.phases.len();
        while at > 0 {
            at -= 1;
            let mut smaller = self.best.plan.clone();
            smaller.program.phases.remove(at);
            // What is done between the calls of a split barrier may race with another phase than the one that follows.
            if let Some(before) = at.checked_sub(1) {
                smaller.program.phases[before].between.clear();
            }
            self.accepts(smaller);
        }
    }

    /// Drops what is done between the two calls of split barriers, then the split.
    fn drop_splits(&mut self) {
        for at in 0..self.best.plan.program.phases.len() {
            for drone in 0..self.best.plan.program.phases[at].between.len() {
                let mut smaller = self.best.plan.clone();
                smaller.program.phases[at].between[drone].clear();
                self.accepts(smaller);
            }
            if let End::Split(barrier) = self.best.plan.program.phases[at].end {
                let mut smaller = self.best.plan.clone();
                let phase = &mut smaller.program.phases[at];
                phase.end = End::Barrier(barrier);
                phase.between.clear();
                self.accepts(smaller);
            }
        }
    }

    /// Drops what each thread does, in ever smaller pieces.
    fn drop_items(&mut self) {
        for place in places(&self.best.plan) {
            let mut piece = self.items(place).len();
            while piece > 0 {
                let mut at = 0;
                while at < self.items(place).len() {
                    let mut smaller = self.best.plan.clone();
                    let items = items_of(&mut smaller, place);
                    let end = (at + piece).min(items.len());
                    items.drain(at..end);
                    if !self.accepts(smaller) {
                        at += piece;
                    }
                }
                piece /= 2;
            }
        }
    }

    /// Drops accesses from sections, and locks with all that is done under them.
    fn drop_deeds(&mut self) {
        for place in places(&self.best.plan) {
            for item in 0..self.items(place).len() {
                let Item::Section(deeds) = &self.items(place)[item] else {
                    continue;
                };
                for at in (0..deeds.len()).rev() {
                    let mut smaller = self.best.plan.clone();
                    let Item::Section(deeds) = &mut items_of(&mut smaller, place)[item] else {
                        break;
                    };
                    if matches!(deeds[at], Deed::Lock(_) | Deed::Unlock(_)) {
                        continue;
                    }
                    deeds.remove(at);
                    self.accepts(smaller);
                }
            }
        }
    }

    fn items(&mut self, place: Place) -> &Vec<Item> {
        items_of(&mut self.best.plan, place)
    }
}

/// Phase, drone, and whether the helper.
type Place = (usize, usize, bool);

fn places(plan: &Plan) -> Vec<Place> {
    let phases = plan.program.phases.iter().enumerate();
    phases
        .flat_map(|(phase, found)| {
            (0..found.work.len())
                .flat_map(move |drone| [(phase, drone, false), (phase, drone, true)])
        })
        .collect()
}

fn items_of(plan: &mut Plan, (phase, drone, helper): Place) -> &mut Vec<Item> {
    let work = &mut plan.program.phases[phase].work[drone];
    if helper {
        &mut work.helper
    } else {
        &mut work.main
    }
}

fn size(plan: &Plan) -> usize {
    let phases = &plan.program.phases;
    let work = phases.iter().flat_map(|phase| &phase.work);
    let items = work.flat_map(|work| work.main.iter().chain(&work.helper));
    let items = items.map(|item| {
        if let Item::Section(deeds) = item {
            1 + deeds.len()
        } else {
            1
        }
    });
    phases.len() + plan.stops.len() + items.sum::<usize>()
}
