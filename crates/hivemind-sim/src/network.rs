//! The simulated network: one FIFO link for each ordered pair of drones, nothing in order across links.
//! It says when a parcel arrives; delivering it is the world's affair.

use crate::hostile::Frame;
use crate::prng::Prng;
use hivemind_protocol::{DroneId, Message};
use hivemind_trace::TraceClock;
use std::collections::{BTreeMap, VecDeque};

/// What travels on a link.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    /// A message, with its sender's clock where the run is recorded.
    Message(Message, TraceClock),
    /// A message as the driver sends it: only in hostile worlds is it taken apart again.
    Frame(Frame, TraceClock),
    /// The end of the link: its sender is dead, or has given it up.
    Closed,
}

/// How long parcels travel, drawn once a world.
///
/// ```
/// use hivemind_sim::{Plan, Weather, check};
/// let mut plan = Plan::draw(1);
/// plan.world.weather = Weather::Bursty(50_000);
/// check(&plan)?;
/// # Ok::<(), Box<hivemind_sim::Failed>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Weather {
    /// Every parcel takes the same time, in microseconds.
    Even(u64),
    /// Up to this many microseconds, uniformly.
    Uniform(u64),
    /// Mostly quick, now and then this many microseconds.
    Bursty(u64),
    /// Links from and to one drone are so many times slower.
    SlowDrone(DroneId, u64),
    /// One link in one direction is so many times slower.
    SlowLink(DroneId, DroneId, u64),
    /// Each link has a pace of its own, up to so many microseconds, and keeps it for long.
    Uneven(u64),
}

/// All links of a world.
#[derive(Debug)]
pub(crate) struct Network {
    weather: Weather,
    links: BTreeMap<(DroneId, DroneId), Link>,
    seed: u64,
    delayed: u64,
}

#[derive(Debug)]
struct Link {
    prng: Prng,
    pace_us: u64,
    /// When the parcel that was sent last arrives: none overtakes it.
    last_us: u64,
    queue: VecDeque<Parcel>,
}

/// A parcel that travels longer than this counts as a delay that was injected.
const QUICK_US: u64 = 1_000;

impl Network {
    /// Links without a parcel.
    pub(crate) fn new(weather: Weather, seed: u64) -> Self {
        Self {
            weather,
            links: BTreeMap::new(),
            seed,
            delayed: 0,
        }
    }

    /// Puts a parcel on its way; gives the time at which it arrives.
    pub(crate) fn send(&mut self, from: DroneId, to: DroneId, parcel: Parcel, now_us: u64) -> u64 {
        let (seed, weather) = (self.seed, &self.weather);
        let link = self.links.entry((from, to)).or_insert_with(|| {
            let mut prng = Prng::of(seed, (u64::from(from.0) << 32) | u64::from(to.0));
            let pace_us = match weather {
                Weather::Uneven(most) => 1 + prng.skewed(*most),
                _ => 0,
            };
            Link {
                prng,
                pace_us,
                last_us: 0,
                queue: VecDeque::new(),
            }
        });
        let travels_us = weather.travel_us(from, to, link);
        if travels_us > QUICK_US {
            self.delayed += 1;
        }
        link.last_us = link.last_us.max(now_us + travels_us);
        link.queue.push_back(parcel);
        link.last_us
    }

    /// The next parcel of a link, if one is under way.
    pub(crate) fn take(&mut self, from: DroneId, to: DroneId) -> Option<Parcel> {
        self.links.get_mut(&(from, to))?.queue.pop_front()
    }

    /// Everything under way on a link is lost, as when it is reset.
    pub(crate) fn clear(&mut self, from: DroneId, to: DroneId) {
        self.keep(from, to, 0);
    }

    /// All but the first `count` parcels that are under way on a link are lost.
    pub(crate) fn keep(&mut self, from: DroneId, to: DroneId, count: usize) {
        if let Some(link) = self.links.get_mut(&(from, to)) {
            link.queue.truncate(count);
        }
    }

    /// The links that have parcels under way, with how many.
    pub(crate) fn busy_links(&self) -> impl Iterator<Item = (DroneId, DroneId, usize)> {
        let busy = self.links.iter().filter(|(_, link)| !link.queue.is_empty());
        busy.map(|((from, to), link)| (*from, *to, link.queue.len()))
    }

    /// How many parcels were delayed by more than a millisecond.
    pub(crate) fn delayed(&self) -> u64 {
        self.delayed
    }
}

impl Weather {
    /// Draws a weather for a world of `drones` drones.
    pub(crate) fn draw(prng: &mut Prng, drones: u32) -> Self {
        let drone = |prng: &mut Prng| DroneId(prng.below(u64::from(drones)) as u32);
        match prng.below(6) {
            0 => Self::Even(prng.between(1, 100)),
            1 => Self::Uniform(*prng.pick(&[5, 100, 5_000])),
            2 => Self::Bursty(*prng.pick(&[500, 20_000])),
            3 => Self::SlowDrone(drone(prng), *prng.pick(&[10, 1_000])),
            4 => Self::SlowLink(drone(prng), drone(prng), *prng.pick(&[10, 1_000])),
            _ => Self::Uneven(*prng.pick(&[100, 10_000])),
        }
    }

    fn travel_us(&self, from: DroneId, to: DroneId, link: &mut Link) -> u64 {
        let prng = &mut link.prng;
        match *self {
            Self::Even(us) => us,
            Self::Uniform(most) => prng.between(1, most),
            Self::Bursty(long) => {
                if prng.chance(10) {
                    prng.between(1, long)
                } else {
                    prng.between(1, 10)
                }
            }
            Self::SlowDrone(drone, factor) => {
                let slow = from == drone || to == drone;
                prng.between(1, 50) * if slow { factor } else { 1 }
            }
            Self::SlowLink(one, other, factor) => {
                let slow = (from, to) == (one, other);
                prng.between(1, 50) * if slow { factor } else { 1 }
            }
            Self::Uneven(most) => {
                if prng.chance(2) {
                    link.pace_us = 1 + prng.skewed(most);
                }
                link.pace_us + prng.below(5)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hivemind_protocol::{EpochId, PageId};

    #[test]
    fn a_link_keeps_its_order_in_every_weather() {
        for seed in 0..100 {
            let mut network = Network::new(Weather::draw(&mut Prng::new(seed), 2), seed);
            let (one, two) = (DroneId(0), DroneId(1));
            let mut last_us = 0;
            for page in 0..50 {
                let message = Message::PageRefused {
                    epoch: EpochId(0),
                    page: PageId(page),
                };
                let arrives_us =
                    network.send(one, two, Parcel::Message(message, TraceClock::new()), page);
                assert!(arrives_us >= last_us && arrives_us > page);
                last_us = arrives_us;
            }
            for wanted in 0..50 {
                let Some(Parcel::Message(Message::PageRefused { page, .. }, _)) =
                    network.take(one, two)
                else {
                    panic!("the link lost a parcel");
                };
                assert_eq!(page, PageId(wanted));
            }
        }
    }
}
