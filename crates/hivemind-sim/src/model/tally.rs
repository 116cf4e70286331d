//! What is counted while a modelled hive runs.

use hivemind_protocol::{Command, DroneId};
use std::collections::BTreeMap;

/// Exact counts of messages, and modelled times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Of each kind of message how many there were, and their bytes.
    pub(crate) kinds: BTreeMap<String, (u64, u64)>,
    /// What drone 0 sent and received.
    pub(crate) first_messages: u64,
    pub(crate) first_bytes: u64,
    /// How long drone 0's protocol was busy.
    pub(crate) first_busy_ns: u64,
    /// The longest message.
    pub(crate) longest_bytes: u64,
}

/// How long a program waited, by what for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waits {
    pub(crate) fault_ns: u64,
    pub(crate) lock_ns: u64,
    pub(crate) meeting_ns: u64,
}

impl Tally {
    pub(crate) fn sent(&mut self, from: DroneId, kind: &str, bytes: usize) {
        let bytes = bytes as u64;
        self.messages += 1;
        self.bytes += bytes;
        self.longest_bytes = self.longest_bytes.max(bytes);
        let (count, sum) = self.kinds.entry(kind.to_owned()).or_default();
        *count += 1;
        *sum += bytes;
        self.at_first(from, bytes);
    }

    pub(crate) fn received(&mut self, to: DroneId, bytes: usize) {
        self.at_first(to, bytes as u64);
    }

    pub(crate) fn worked(&mut self, drone: DroneId, ns: u64) {
        if drone == DroneId::FIRST {
            self.first_busy_ns += ns;
        }
    }

    fn at_first(&mut self, drone: DroneId, bytes: u64) {
        if drone == DroneId::FIRST {
            self.first_messages += 1;
            self.first_bytes += bytes;
        }
    }
}

impl Waits {
    /// Adds a wait for a call, or for a fault if there was none. To begin to fetch pages saves a fault its wait.
    pub(crate) fn add(&mut self, call: Option<&Command>, ns: u64) {
        match call {
            None | Some(Command::Prefetch(_)) => self.fault_ns += ns,
            Some(Command::Meet(_) | Command::Depart) => self.meeting_ns += ns,
            Some(_) => self.lock_ns += ns,
        }
    }
}
