//! What the core counts. Times are the driver's; only exact counts live here.

use serde::Serialize;

/// Counts since the start of one drone. All are sums; bytes are those of payloads, not of frames.
///
/// ```
/// use hivemind_protocol::Stats;
/// let stats = Stats::default();
/// assert_eq!(stats.read_faults + stats.write_faults, 0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Stats {
    /// Read faults that the program took.
    pub read_faults: u64,
    /// Write faults that the program took.
    pub write_faults: u64,
    /// Whole pages fetched from a peer.
    pub pages_fetched: u64,
    /// Whole pages given to a peer.
    pub pages_served: u64,
    /// Of these, those that were sent without being asked for.
    pub pages_pushed: u64,
    /// Whole pages that went to a peer with a lock.
    pub pages_granted: u64,
    /// Pages that a prefetch of the program began to fetch.
    pub pages_prefetched: u64,
    /// Twins made.
    pub twins: u64,
    /// Diffs made from twins.
    pub diffs_made: u64,
    /// Diffs applied.
    pub diffs_applied: u64,
    /// Bytes of the diffs made: those that changed.
    pub diff_bytes: u64,
    /// Intervals closed.
    pub intervals: u64,
    /// Write notices sent out with them.
    pub write_notices: u64,
    /// Pages made invalid by notices of others.
    pub invalidations: u64,
    /// Locks acquired.
    pub locks_acquired: u64,
    /// Of these, those whose token had stayed here, without a message.
    pub locks_cached: u64,
    /// Tries to take a lock, in vain or not.
    pub locks_tried: u64,
    /// Of these, those in vain: the lock was another's.
    pub locks_tried_in_vain: u64,
    /// How often the program slept until a condition was signalled.
    pub condition_waits: u64,
    /// How many sleeping drones the program woke.
    pub condition_wakes: u64,
    /// Tokens that came because a wish went with them and went on before the program asked for them.
    pub locks_unopened: u64,
    /// Meetings that ended well: barriers and other collective calls.
    pub meetings: u64,
    /// Collections of intervals, notices, twins and diffs outside meetings.
    pub collections: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Bytes of protocol memory in use now: intervals, notices, diffs; twins apart.
    pub metadata_bytes: u64,
    /// The most it ever was.
    pub metadata_peak_bytes: u64,
}
