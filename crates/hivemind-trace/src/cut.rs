//! Windows: part of a trace that is a trace again.

use crate::{Entry, TraceClock};
use std::collections::BTreeMap;

/// Keeps the entries that `keep` says, in their order, and counts the clocks anew: each host's events from 1 on, and
/// of others as many as are kept of those that were known.
///
/// The entries of one host must come in the order in which they happened.
///
/// ```
/// use hivemind_trace::{Entry, cut};
/// let event = |own, text: &str| {
///     Entry { host: 0, clock: [(0, own)].into_iter().collect(), text: text.into() }
/// };
/// let window = cut(&[event(1, "starts"), event(2, "fills")], |entry| entry.text == "fills");
/// assert_eq!(window, [event(1, "fills")]);
/// ```
pub fn cut(entries: &[Entry], mut keep: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
    let mut kept_times: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    let kept: Vec<&Entry> = entries.iter().filter(|entry| keep(entry)).collect();
    for entry in &kept {
        let own = entry.clock.get(entry.host);
        kept_times.entry(entry.host).or_default().push(own);
    }
    let recount = |(host, time): (u32, u64)| {
        let times = kept_times.get(&host).map_or(&[][..], Vec::as_slice);
        (host, times.partition_point(|kept| *kept <= time) as u64)
    };
    let again = |entry: &&Entry| Entry {
        host: entry.host,
        clock: entry.clock.entries().map(recount).collect::<TraceClock>(),
        text: entry.text.clone(),
    };
    kept.iter().map(again).collect()
}
