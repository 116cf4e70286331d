//! The clock of a trace: for each host, how many of its events happened before (Fidge 1988, Mattern 1989).

use std::collections::BTreeMap;

/// A vector clock. Hosts of which nothing was heard have no entry.
///
/// ```
/// use hivemind_trace::TraceClock;
/// let (mut one, mut two) = (TraceClock::new(), TraceClock::new());
/// one.tick(1);                       // host 1 sends, with its clock …
/// two.merge(&one);                   // … host 2 receives
/// two.tick(2);
/// assert_eq!((two.get(1), two.get(2)), (1, 1));
/// assert!(one.is_before(&two));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct TraceClock {
    /// No entry is 0.
    times: BTreeMap<u32, u64>,
}

impl TraceClock {
    /// The clock before any event.
    pub fn new() -> Self {
        Self::default()
    }

    /// The time of a host: how many of its events are known.
    pub fn get(&self, host: u32) -> u64 {
        self.times.get(&host).copied().unwrap_or(0)
    }

    /// An event of `host` itself.
    pub fn tick(&mut self, host: u32) {
        *self.times.entry(host).or_default() += 1;
    }

    /// Takes in what another clock knows: before the event that receives a message.
    pub fn merge(&mut self, other: &Self) {
        for (host, time) in &other.times {
            let mine = self.times.entry(*host).or_default();
            *mine = (*mine).max(*time);
        }
    }

    /// The entries that are not 0, ascending by host.
    pub fn entries(&self) -> impl Iterator<Item = (u32, u64)> {
        self.times.iter().map(|(host, time)| (*host, *time))
    }

    /// Whether everything known here is known there, and more.
    pub fn is_before(&self, other: &Self) -> bool {
        self != other && self.entries().all(|(host, time)| time <= other.get(host))
    }
}

impl FromIterator<(u32, u64)> for TraceClock {
    fn from_iter<T: IntoIterator<Item = (u32, u64)>>(entries: T) -> Self {
        let times = entries.into_iter().filter(|(_, time)| *time > 0);
        Self {
            times: times.collect(),
        }
    }
}
