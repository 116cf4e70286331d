//! The logs of several hosts, in one order that keeps what happened before what.

use crate::Entry;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Puts the events of all hosts in one order: each after all that it knows, and where the clocks leave a choice the one
/// with the earlier `time` first. What a clock knows of a host beyond its last event (its log broke off) holds nobody up.
///
/// Each list has the events of hosts in their own order; no host is in two lists.
///
/// ```
/// use hivemind_trace::{Entry, merge};
/// let entry = |host, clock: &[(u32, u64)], text: &str| {
///     Entry { host, clock: clock.iter().copied().collect(), text: text.into() }
/// };
/// let sender = vec![entry(0, &[(0, 1)], "sends")];
/// let receiver = vec![entry(1, &[(0, 1), (1, 1)], "gets")];
/// let merged = merge([receiver, sender], |_| 0);
/// assert_eq!(merged.iter().map(|entry| &*entry.text).collect::<Vec<_>>(), ["sends", "gets"]);
/// ```
pub fn merge(
    logs: impl IntoIterator<Item = Vec<Entry>>,
    mut time: impl FnMut(&Entry) -> u64,
) -> Vec<Entry> {
    let mut hosts: BTreeMap<u32, Queue> = BTreeMap::new();
    for entry in logs.into_iter().flatten() {
        let time = time(&entry);
        hosts
            .entry(entry.host)
            .or_default()
            .entries
            .push((time, entry));
    }
    let mut merging = Merging {
        ready: BinaryHeap::new(),
        hosts,
    };
    let all: Vec<u32> = merging.hosts.keys().copied().collect();
    all.iter().for_each(|host| merging.place(*host));
    let mut merged = Vec::new();
    while let Some(host) = merging.next() {
        merged.push(merging.take(host));
    }
    merged
}

#[derive(Default)]
struct Queue {
    entries: Vec<(u64, Entry)>,
    taken: usize,
    /// Hosts whose next event waits for one of this host.
    waiting: Vec<u32>,
}

struct Merging {
    /// Hosts whose next event can be taken, by its time.
    ready: BinaryHeap<Reverse<(u64, u32)>>,
    hosts: BTreeMap<u32, Queue>,
}

impl Merging {
    /// Sorts a host in: ready, waiting for another, or done.
    fn place(&mut self, host: u32) {
        let queue = &self.hosts[&host];
        let Some((time, entry)) = queue.entries.get(queue.taken) else {
            return;
        };
        let lacks = |(other, known): (u32, u64)| {
            let queue = self.hosts.get(&other).filter(|_| other != host)?;
            let wanted = known.min(queue.entries.len() as u64);
            (wanted > queue.taken as u64).then_some(other)
        };
        let lacking = entry.clock.entries().find_map(lacks);
        match lacking {
            None => self.ready.push(Reverse((*time, host))),
            Some(other) => {
                let other = self.hosts.get_mut(&other).expect("it was found above");
                other.waiting.push(host);
            }
        }
    }

    /// Whose event is next. Where all wait for each other (the clocks are wrong) any that waits.
    fn next(&mut self) -> Option<u32> {
        if let Some(Reverse((_, host))) = self.ready.pop() {
            return Some(host);
        }
        let mut queues = self.hosts.values_mut();
        queues.find_map(|queue| queue.waiting.pop())
    }

    fn take(&mut self, host: u32) -> Entry {
        let queue = self.hosts.get_mut(&host).expect("only hosts are placed");
        let empty = Entry {
            host,
            clock: crate::TraceClock::new(),
            text: String::new(),
        };
        let entry = std::mem::replace(&mut queue.entries[queue.taken].1, empty);
        queue.taken += 1;
        let waiting = std::mem::take(&mut queue.waiting);
        self.place(host);
        waiting.into_iter().for_each(|waiter| self.place(waiter));
        entry
    }
}
