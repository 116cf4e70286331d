//! A world and its program, drawn from a seed: how many drones, pages and locks, which weather, which faults.
//! Nothing runs here.

use crate::hostile::Hostility;
use crate::layout::{Ingredients, Layout};
use crate::memory::Watch;
use crate::network::Weather;
use crate::prng::Prng;
use crate::program::{Amount, Program};
use crate::world::WorldPlan;
use hivemind_protocol::{DroneId, Economies, FAN_OUT};

/// All that a run depends on.
///
/// ```
/// use hivemind_sim::{Plan, check};
/// let mut plan = Plan::draw(7);
/// plan.stops.clear(); // parts can be changed before it runs
/// check(&plan)?;
/// # Ok::<(), Box<hivemind_sim::Failed>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed that it was drawn from.
    pub seed: u64,
    /// The drones and the network.
    pub world: WorldPlan,
    /// What the drones do.
    pub program: Program,
    /// The longest pause between two steps of a thread, in microseconds, for each drone.
    pub paces_us: Vec<u64>,
    /// When a drone stops, which, and for how long, in microseconds.
    pub stops: Vec<(u64, DroneId, u64)>,
    /// When a drone dies, which, and whether what it sent last dies with it.
    pub kill: Option<(u64, DroneId, bool)>,
    /// When a link breaks, between which two, and how many parcels each way still arrive.
    pub cut: Option<(u64, DroneId, DroneId, usize)>,
}

/// What a plan draws its parts from, so that one part can be drawn anew without the others.
mod purpose {
    pub(super) const SHAPE: u64 = 1;
    pub(super) const LAYOUT: u64 = 2;
    pub(super) const PROGRAM: u64 = 3;
    pub(super) const FAULTS: u64 = 4;
    pub(super) const NETWORK: u64 = 5;
    pub(super) const ECONOMIES: u64 = 6;
    pub(super) const HOSTILITY: u64 = 7;
    pub(super) const COPIES: u64 = 8;
    pub(super) const TREE: u64 = 9;
    pub(super) const SPLITS: u64 = 10;
}

/// A world in a hundred has an hour of computing in it.
const HOUR_US: u64 = 3_600_000_000;

impl Plan {
    /// Draws the plan of a seed.
    ///
    /// ```
    /// use hivemind_sim::Plan;
    /// let (one, same) = (Plan::draw(7), Plan::draw(7));
    /// assert_eq!(format!("{one:?}"), format!("{same:?}"));
    /// ```
    pub fn draw(seed: u64) -> Self {
        let prng = &mut Prng::of(seed, purpose::SHAPE);
        let drones = match prng.below(20) {
            0 => 1,
            1..=7 => 2,
            8..=14 => 3,
            15..=17 => prng.between(4, 6) as u32,
            _ => prng.between(7, 12) as u32,
        };
        let (ingredients, amount) = draw_shape(prng, drones);
        let heap_pages = if amount.heap { prng.between(1, 8) } else { 0 };
        let layout = Layout::draw(&mut Prng::of(seed, purpose::LAYOUT), ingredients);
        let mut program = Program::draw(&mut Prng::of(seed, purpose::PROGRAM), layout, amount);
        program.split(&mut Prng::of(seed, purpose::SPLITS), amount);
        let world = WorldPlan {
            watches: draw_watches(prng, &mut Prng::of(seed, purpose::COPIES), drones),
            pages: ingredients.pages + heap_pages,
            metadata_limit_bytes: *prng.pick(&[0, 1, 100, 500, 3_000, 20_000, u64::MAX]),
            fan_out: draw_fan_out(&mut Prng::of(seed, purpose::TREE)),
            economies: draw_economies(&mut Prng::of(seed, purpose::ECONOMIES)),
            weather: Weather::draw(prng, drones),
            seed: Prng::of(seed, purpose::NETWORK).word(),
            hostility: None,
        };
        let fastest_us = *prng.pick(&[1, 20, 200]);
        let paces = (0..drones).map(|_| fastest_us * if prng.chance(15) { 50 } else { 1 });
        let paces_us = paces.collect();
        let prng = &mut Prng::of(seed, purpose::FAULTS);
        let drone = |prng: &mut Prng| DroneId(prng.below(u64::from(drones)) as u32);
        let stops = (0..prng.skewed(5))
            .map(|_| (prng.skewed(1 << 17), drone(prng), prng.skewed(10_000_000)));
        let stops = stops.collect();
        let kill = (drones > 1 && prng.chance(10))
            .then(|| (prng.skewed(1 << 17), drone(prng), prng.chance(50)));
        let cut = (drones > 1 && prng.chance(5)).then(|| {
            let one = prng.below(u64::from(drones));
            let other = (one + prng.between(1, u64::from(drones) - 1)) % u64::from(drones);
            let arrive = prng.skewed(4) as usize;
            (
                prng.skewed(1 << 17),
                DroneId(one as u32),
                DroneId(other as u32),
                arrive,
            )
        });
        Self {
            seed,
            world,
            program,
            paces_us,
            stops,
            kill,
            cut,
        }
    }

    /// Draws the plan of a seed in a hostile world: nobody dies and no link breaks but by what is found out.
    ///
    /// ```
    /// use hivemind_sim::{Plan, check};
    /// let plan = Plan::draw_hostile(1);
    /// assert!(plan.world.hostility.is_some() || plan.drones() == 1);
    /// check(&plan)?;
    /// # Ok::<(), Box<hivemind_sim::Failed>>(())
    /// ```
    pub fn draw_hostile(seed: u64) -> Self {
        let mut plan = Self::draw(seed);
        (plan.kill, plan.cut) = (None, None);
        let prng = &mut Prng::of(seed, purpose::HOSTILITY);
        let drones = plan.drones();
        plan.world.hostility = (drones > 1).then(|| Hostility::draw(prng, drones));
        plan
    }

    /// How many drones there are.
    ///
    /// ```
    /// use hivemind_sim::Plan;
    /// let plan = Plan::draw(1);
    /// assert_eq!(plan.drones() as usize, plan.world.watches.len());
    /// ```
    pub fn drones(&self) -> u32 {
        self.program.layout.drones
    }
}

fn draw_shape(prng: &mut Prng, drones: u32) -> (Ingredients, Amount) {
    let locks_alone = prng.chance(25);
    let used = if prng.chance(15) {
        prng.between(9, 40)
    } else {
        1 + prng.skewed(8)
    };
    // Homes are given out in rows of pages: a wide region has pages at home at every drone.
    let pages = if prng.chance(40) {
        17 * u64::from(drones).min(6)
    } else {
        used
    };
    let heap = prng.chance(35);
    let ingredients = Ingredients {
        drones,
        pages,
        used: used.min(pages),
        barriers: !locks_alone,
        heap,
    };
    let amount = Amount {
        phases: if locks_alone { 1 } else { prng.between(1, 12) },
        items: if locks_alone {
            *prng.pick(&[10, 60, 250])
        } else {
            *prng.pick(&[2, 6, 20])
        },
        helpers: *prng.pick(&[0, 0, 50, 100]),
        heap,
        longest_us: if prng.chance(1) {
            HOUR_US
        } else {
            *prng.pick(&[100, 10_000, 300_000])
        },
    };
    (ingredients, amount)
}

/// Mostly deep trees: a line, or two and three below each. Sometimes the one that hives have, which is flat here.
fn draw_fan_out(prng: &mut Prng) -> u32 {
    *prng.pick(&[1, 2, 2, 3, FAN_OUT])
}

/// Mostly all, sometimes each by chance; rhythms are always followed.
fn draw_economies(prng: &mut Prng) -> Economies {
    let some = prng.chance(25);
    let mut on = || !some || prng.chance(50);
    let mut economies = Economies {
        fetch_ahead: on(),
        push: on(),
        pages_on_grants: on(),
        again: None,
        early: true,
        rhythm: true,
    };
    if on() {
        economies.again = Some(*prng.pick(&[0, 0, 1, 3]));
    }
    economies.early = !some || prng.chance(50);
    economies.rhythm = !some || prng.chance(50);
    economies
}

/// All trap, none does, or each as it comes. Those that don't mark pages or compare them: all, none, or as it comes.
fn draw_watches(traps: &mut Prng, copies: &mut Prng, drones: u32) -> Vec<Watch> {
    let (traps_style, copies_style) = (traps.below(3), copies.below(3));
    let draw = |prng: &mut Prng, style| match style {
        0 => true,
        1 => false,
        _ => *prng.pick(&[true, false]),
    };
    let watch = |_| match draw(traps, traps_style) {
        true => Watch::Traps,
        false if draw(copies, copies_style) => Watch::Copies,
        false => Watch::Marks,
    };
    (0..drones).map(watch).collect()
}
