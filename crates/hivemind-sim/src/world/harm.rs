//! What happens to drones and links: a drone stops or dies, a link breaks or goes silent, and a peer hears of it. What a
//! network does to the frames that it carries is in `hostile`.

use super::{Completed, World};
use crate::finding::{Finding, Verdict};
use crate::network::Parcel;
use hivemind_protocol::{DroneId, Event};
use hivemind_trace::TraceClock;

impl World {
    /// Stops a drone for a time: what happens at it meanwhile happens afterwards, in the same order a link.
    pub(crate) fn stop(&mut self, drone: DroneId, for_us: u64) {
        let until_us = self.now_us + for_us;
        self.seat_mut(drone).stopped_until_us = until_us;
        self.say(drone, || format!("stops until {until_us} µs"));
    }

    /// A drone dies: all others learn it by their links' ends.
    pub(crate) fn kill(&mut self, drone: DroneId, reset: bool) {
        self.seat_mut(drone).dead = true;
        self.say(drone, || {
            format!(
                "dies{}",
                if reset {
                    ", and what it sent last with it"
                } else {
                    ""
                }
            )
        });
        for other in self.others(drone) {
            if reset {
                self.network.clear(drone, other);
            }
            self.post(drone, other, Parcel::Closed);
        }
    }

    /// The link between two drones breaks: `arrive` parcels each way still come, then each end hears of it.
    pub(crate) fn break_link(&mut self, one: DroneId, other: DroneId, arrive: usize) {
        self.say(one, || format!("and {other} lose their link"));
        for (from, to) in [(one, other), (other, one)] {
            if self.broken.insert((from, to)) {
                self.network.keep(from, to, arrive);
                self.post(from, to, Parcel::Closed);
            }
        }
    }

    /// A second passes in which nothing else happens: every drone gives a sign of life on each of its links. Only where
    /// frames are numbered does that tell anything.
    pub(crate) fn tick(&mut self) {
        self.now_us += 1_000_000;
        let Some(mut hostile) = self.hostile.take() else {
            return;
        };
        for from in (0..self.drones()).map(DroneId) {
            for to in self.others(from) {
                if !self.is_dead(from) && !self.is_dead(to) && !self.broken.contains(&(from, to)) {
                    let frame = hostile.heartbeat(from, to);
                    self.post(from, to, Parcel::Frame(frame, TraceClock::new()));
                }
            }
        }
        self.hostile = Some(hostile);
    }

    /// A drone finds a peer at fault by what came from it: it cuts it off.
    pub(super) fn give_up(&mut self, drone: DroneId, peer: DroneId) -> Verdict<Vec<Completed>> {
        self.reports += 1;
        self.broken.insert((peer, drone));
        if self.broken.insert((drone, peer)) {
            self.network.clear(drone, peer);
            self.post(drone, peer, Parcel::Closed);
        }
        self.lose(drone, peer)
    }

    /// A drone hears that a link has ended.
    pub(super) fn lose(&mut self, drone: DroneId, peer: DroneId) -> Verdict<Vec<Completed>> {
        self.deaf.insert((peer, drone));
        let completed = self.handle(drone, Event::Lost { drone: peer })?;
        self.seat_mut(drone).lost = true;
        if let Some((ticket, what)) = self.waiting(drone).next() {
            let what = format!("{drone} lost {peer}, yet {ticket} still waits for {what}");
            return Err(Finding::new("a wait without an end", what));
        }
        Ok(completed)
    }
}
