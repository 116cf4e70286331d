//! What a drone's shared memory did, for C.

use crate::hive::here;
use crate::status::{Trouble, hive_status_t, status_of};
use hive_status_t::HIVE_BAD_ARGUMENT;

/// What this drone's shared memory has done since start-up. Counts are exact; times in µs.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct hive_stats_t {
    /// Time since start-up.
    pub elapsed_us: u64,
    /// Faults on reading.
    pub read_faults: u64,
    /// Faults on writing.
    pub write_faults: u64,
    /// Whole pages that came.
    pub pages_fetched: u64,
    /// Whole pages that were given.
    pub pages_served: u64,
    /// Pages that hive_prefetch began to fetch.
    pub pages_prefetched: u64,
    /// Copies made to find out later what was written.
    pub twins: u64,
    /// Differences found.
    pub diffs_made: u64,
    /// Differences put into pages.
    pub diffs_applied: u64,
    /// Locks taken.
    pub locks_acquired: u64,
    /// Of these, those that were here already.
    pub locks_cached: u64,
    /// Tries to take a lock.
    pub locks_tried: u64,
    /// Of these, those in vain.
    pub locks_tried_in_vain: u64,
    /// Waits until a condition was signalled.
    pub condition_waits: u64,
    /// Drones that this one woke from such waits.
    pub condition_wakes: u64,
    /// Barriers and other collective calls.
    pub meetings: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Waited for pages, summed over threads.
    pub fault_wait_us: u64,
    /// Waited for locks.
    pub lock_wait_us: u64,
    /// Waited in barriers and other collective calls.
    pub barrier_wait_us: u64,
}

/// Writes down what this drone's shared memory has done so far. Blocks nobody.
///
/// Gives HIVE_BAD_ARGUMENT for NULL.
///
/// # Safety
/// `stats` leads to a hive_stats_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_stats(stats: *mut hive_stats_t) -> hive_status_t {
    let run = || -> Result<(), Trouble> {
        let hive = here()?;
        if stats.is_null() {
            let text = "hive_stats needs a hive_stats_t to write into";
            return Err(Trouble::new(HIVE_BAD_ARGUMENT, text));
        }
        let report = hive.stats();
        let counts = report.counts;
        let found = hive_stats_t {
            elapsed_us: report.elapsed_us,
            read_faults: counts.read_faults,
            write_faults: counts.write_faults,
            pages_fetched: counts.pages_fetched,
            pages_served: counts.pages_served,
            pages_prefetched: counts.pages_prefetched,
            twins: counts.twins,
            diffs_made: counts.diffs_made,
            diffs_applied: counts.diffs_applied,
            locks_acquired: counts.locks_acquired,
            locks_cached: counts.locks_cached,
            locks_tried: counts.locks_tried,
            locks_tried_in_vain: counts.locks_tried_in_vain,
            condition_waits: counts.condition_waits,
            condition_wakes: counts.condition_wakes,
            meetings: counts.meetings,
            messages_sent: counts.messages_sent,
            messages_received: counts.messages_received,
            bytes_sent: report.bytes_sent,
            bytes_received: report.bytes_received,
            fault_wait_us: report.fault_wait_us,
            lock_wait_us: report.lock_wait_us,
            barrier_wait_us: report.barrier_wait_us,
        };
        // SAFETY: the caller vouches for it; it isn't null.
        unsafe { stats.write(found) }
        Ok(())
    };
    status_of(run())
}
