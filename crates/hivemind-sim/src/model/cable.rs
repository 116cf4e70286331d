//! The network of a model: a switch that never is the bottleneck, and for each drone an adapter that sends at one rate
//! and receives at it.

use hivemind_protocol::{DroneId, Envelope};

/// All adapters.
#[derive(Clone, Debug)]
pub(crate) struct Cable {
    ns_a_byte: f64,
    latency_ns: u64,
    /// Until when each adapter sends, and receives.
    sends_until: Vec<u64>,
    receives_until: Vec<u64>,
}

/// What goes over the wire with a message: the frame's length, kind and envelope.
const FRAME_BYTES: usize = 5 + Envelope::BYTES;
/// What TCP puts into a packet at the most.
const SEGMENT_BYTES: usize = 1448;
/// What a packet has besides: preamble, Ethernet, IP, TCP with its time stamps, checksum, gap.
const PACKET_BYTES: usize = 90;

impl Cable {
    /// Adapters that are idle.
    pub(crate) fn new(drones: u32, gigabits: f64, latency_ns: u64) -> Self {
        Self {
            ns_a_byte: 8.0 / gigabits,
            latency_ns,
            sends_until: vec![0; drones as usize],
            receives_until: vec![0; drones as usize],
        }
    }

    /// A sender hands a message to its adapter; gives when the first bit reaches the other one.
    pub(crate) fn give(&mut self, from: DroneId, bytes: usize, now: u64) -> u64 {
        let lasts = self.lasts(bytes);
        let until = &mut self.sends_until[from.0 as usize];
        let begins = now.max(*until);
        *until = begins + lasts;
        begins + self.latency_ns
    }

    /// A message's first bit reaches an adapter; gives when the last one has come.
    pub(crate) fn take(&mut self, to: DroneId, bytes: usize, now: u64) -> u64 {
        let lasts = self.lasts(bytes);
        let until = &mut self.receives_until[to.0 as usize];
        *until = now.max(*until) + lasts;
        *until
    }

    fn lasts(&self, bytes: usize) -> u64 {
        let framed = bytes + FRAME_BYTES;
        let packets = framed.div_ceil(SEGMENT_BYTES);
        ((framed + packets * PACKET_BYTES) as f64 * self.ns_a_byte) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_sends_and_receives_one_message_after_the_other() {
        let mut cable = Cable::new(2, 8.0, 1000);
        let (one, other) = (DroneId(0), DroneId(1));
        let lasts = (1000 + FRAME_BYTES + PACKET_BYTES) as u64;
        assert_eq!(cable.give(one, 1000, 50), 1050);
        assert_eq!(cable.give(one, 1000, 50), 1050 + lasts);
        assert_eq!(cable.take(other, 1000, 1050), 1050 + lasts);
        assert_eq!(cable.take(other, 1000, 1050), 1050 + 2 * lasts);
        assert_eq!(cable.give(other, 0, 5), 1005);
    }
}
