//! What a drone's shared memory did, as numbers: counted by the core and the links, timed by the driver.

use crate::net::LinkStats;
use hivemind_protocol::{Command, DroneId, Stats};
use serde::Serialize;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Waiting times of one drone.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) faults: Sum,
    locks: Sum,
    meetings: Sum,
}

/// Sums of microseconds would lose the short waits: nanoseconds inside, microseconds in the report.
#[derive(Debug, Default)]
pub(crate) struct Sum(AtomicU64);

/// The statistics of one drone since it joined.
///
/// ```
/// # fn main() -> hivemind::Result<()> {
/// # let mut hive = hivemind::Hive::join()?;
/// let before = hive.stats();
/// hive.barrier()?;
/// let report = hive.stats();
/// assert_eq!(report.counts.meetings, before.counts.meetings + 1);
/// assert!(report.barrier_wait_us <= report.elapsed_us);
/// println!("{}: {} read faults", report.engine, report.counts.read_faults);
/// # hive.leave() }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Which drone.
    pub drone: u32,
    /// Its fault engine.
    pub engine: String,
    /// What the core counted.
    #[serde(flatten)]
    pub counts: Stats,
    /// Bytes sent, frames and heartbeats included.
    pub bytes_sent: u64,
    /// Bytes received, frames and heartbeats included.
    pub bytes_received: u64,
    /// To how many drones the link is memory that both share.
    pub shared_links: u64,
    /// Time that threads waited for faults in µs, summed over threads.
    pub fault_wait_us: u64,
    /// Time waited for locks in µs.
    pub lock_wait_us: u64,
    /// Time waited in barriers and other collective calls in µs.
    pub barrier_wait_us: u64,
    /// The process's resident memory now, in bytes, shared pages included.
    pub resident_bytes: u64,
    /// The most it ever was.
    pub resident_peak_bytes: u64,
    /// Time since this drone joined in µs.
    pub elapsed_us: u64,
}

impl Times {
    /// Where the time belongs that a command takes, if that is counted.
    pub(crate) fn of(&self, command: &Command) -> Option<&Sum> {
        match command {
            Command::Acquire(_) | Command::TryAcquire(_) | Command::Wait { .. } => {
                Some(&self.locks)
            }
            Command::Meet(_) | Command::Depart => Some(&self.meetings),
            Command::Release(_)
            | Command::Signal { .. }
            | Command::Prefetch(_)
            | Command::Allocate { .. }
            | Command::Measure(_)
            | Command::Free(_) => None,
        }
    }
}

impl Sum {
    pub(crate) fn add(&self, waited: Duration) {
        self.0
            .fetch_add(waited.as_nanos() as u64, Ordering::Relaxed);
    }

    fn us(&self) -> u64 {
        self.0.load(Ordering::Relaxed) / 1000
    }
}

impl Report {
    pub(crate) fn new(
        drone: DroneId,
        engine: &str,
        core: &Stats,
        links: &LinkStats,
        times: &Times,
        elapsed: Duration,
    ) -> Self {
        let (resident_bytes, resident_peak_bytes) = resident();
        Self {
            drone: drone.0,
            engine: engine.to_owned(),
            counts: *core,
            bytes_sent: links.bytes_sent,
            bytes_received: links.bytes_received,
            shared_links: links.shared_links,
            fault_wait_us: times.faults.us(),
            lock_wait_us: times.locks.us(),
            barrier_wait_us: times.meetings.us(),
            resident_bytes,
            resident_peak_bytes,
            elapsed_us: elapsed.as_micros() as u64,
        }
    }

    /// Writes the report as one JSON object.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        std::fs::write(path, text)
    }
}

/// Resident memory now and at its peak in bytes; 0 where the system doesn't tell.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':')
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    };
    (
        kib("VmRSS").unwrap_or(0) * 1024,
        kib("VmHWM").unwrap_or(0) * 1024,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use hivemind_protocol::{BarrierId, ConditionId, LockId, Meeting, MeetingKind};

    #[test]
    fn who_waits_for_a_lock_or_for_all_is_counted_there() {
        let times = Times::default();
        let (lock, condition) = (LockId(1), ConditionId(0));
        let meeting = Meeting {
            kind: MeetingKind::Barrier(BarrierId(0)),
            payload: Vec::new(),
        };
        let for_locks = [
            Command::Acquire(lock),
            Command::TryAcquire(lock),
            Command::Wait { lock, condition },
        ];
        for command in for_locks {
            assert!(std::ptr::eq(times.of(&command).unwrap(), &times.locks));
        }
        for command in [Command::Meet(meeting), Command::Depart] {
            assert!(std::ptr::eq(times.of(&command).unwrap(), &times.meetings));
        }
        assert!(times.of(&Command::Release(lock)).is_none());
        times.locks.add(Duration::from_nanos(600));
        times.locks.add(Duration::from_nanos(600));
        assert_eq!((times.locks.us(), times.meetings.us()), (1, 0));
    }
}
