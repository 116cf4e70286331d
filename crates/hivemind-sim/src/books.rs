//! The books at the end of a run in which nobody was lost: nothing is kept any more, nothing grew over its limit, and
//! what was counted is what was sent. And while it runs: nothing is asked for that was collected.
//!
//! Epochs are counted here by the messages that end them, not by the cores.

use crate::finding::{Finding, Verdict};
use hivemind_protocol::{DroneId, EpochId, Message, Stats};
use std::collections::BTreeMap;

/// How far protocol memory may pass its limit while a collection is under way.
pub(crate) const SLACK_BYTES: u64 = 64 * 1024;

/// Closes the books over all drones. The limit is none where drones that stopped may have kept a collection waiting.
///
/// # Errors
/// What is not as it should be.
pub(crate) fn close(stats: &[Stats], messages: u64, limit_bytes: Option<u64>) -> Verdict<()> {
    for (drone, stats) in stats.iter().enumerate() {
        let Stats {
            metadata_bytes,
            metadata_peak_bytes,
            ..
        } = *stats;
        if metadata_bytes > 0 {
            let what = format!("drone {drone} keeps {metadata_bytes} bytes at the end");
            return Err(Finding::new("protocol memory that is never freed", what));
        }
        if let Some(limit_bytes) = limit_bytes
            && metadata_peak_bytes > limit_bytes.saturating_add(SLACK_BYTES)
        {
            let what = format!("drone {drone} kept {metadata_peak_bytes} bytes of {limit_bytes}");
            return Err(Finding::new("protocol memory over its limit", what));
        }
    }
    let sent: u64 = stats.iter().map(|stats| stats.messages_sent).sum();
    let received: u64 = stats.iter().map(|stats| stats.messages_received).sum();
    if (sent, received) != (messages, messages) {
        let what = format!("{messages} were sent; counted: {sent} sent, {received} received");
        return Err(Finding::new("a wrong count of messages", what));
    }
    Ok(())
}

/// Which epochs are over at which drone.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// The first epoch that is not over.
    begun: BTreeMap<DroneId, EpochId>,
}

impl Collected {
    /// A drone sends something: the first ends its own epoch with what it sends.
    pub(crate) fn sends(&mut self, from: DroneId, message: &Message) {
        if let Message::Depart { epoch, .. } = message {
            self.begun.insert(from, EpochId(epoch.0 + 1));
        }
    }

    /// A drone gets something.
    ///
    /// # Errors
    /// It is asked for what an epoch's end took along.
    pub(crate) fn gets(&mut self, to: DroneId, from: DroneId, message: &Message) -> Verdict<()> {
        match message {
            Message::Depart { epoch, .. } => {
                self.begun.insert(to, EpochId(epoch.0 + 1));
            }
            Message::DiffRequest { epoch, .. } | Message::PageRequest { epoch, .. } => {
                let begun = self.begun.get(&to).copied().unwrap_or_default();
                if *epoch < begun {
                    let what = format!("{from} asks {to}, which is in {begun}: {message:?}");
                    return Err(Finding::new("what is collected is asked for again", what));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hivemind_protocol::{IntervalIndex, PageId};

    fn rule(stats: Stats, messages: u64, limit_bytes: Option<u64>) -> &'static str {
        close(&[Stats::default(), stats], messages, limit_bytes)
            .expect_err("the books are wrong")
            .rule
    }

    #[test]
    fn memory_that_is_kept_at_the_end_is_found() {
        let stats = Stats {
            metadata_bytes: 1,
            ..Stats::default()
        };
        assert_eq!(rule(stats, 0, None), "protocol memory that is never freed");
    }

    #[test]
    fn memory_over_its_limit_is_found() {
        let mut stats = Stats {
            metadata_peak_bytes: 100 + SLACK_BYTES,
            ..Stats::default()
        };
        assert_eq!(close(&[stats], 0, Some(100)), Ok(()));
        stats.metadata_peak_bytes += 1;
        assert_eq!(rule(stats, 0, Some(100)), "protocol memory over its limit");
        assert_eq!(close(&[stats], 0, Some(u64::MAX)), Ok(()));
    }

    #[test]
    fn a_wrong_count_of_messages_is_found() {
        let stats = Stats {
            messages_sent: 3,
            messages_received: 3,
            ..Stats::default()
        };
        assert_eq!(close(&[stats], 3, None), Ok(()));
        assert_eq!(rule(stats, 2, None), "a wrong count of messages");
        let lost = Stats {
            messages_received: 2,
            ..stats
        };
        assert_eq!(rule(lost, 3, None), "a wrong count of messages");
    }

    #[test]
    fn a_question_for_what_was_collected_is_found() {
        let (one, two) = (DroneId(0), DroneId(1));
        let question = |epoch| Message::DiffRequest {
            epoch: EpochId(epoch),
            page: PageId(0),
            after: IntervalIndex(0),
            upto: IntervalIndex(1),
            or_page: false,
        };
        let end = Message::Depart {
            epoch: EpochId(4),
            intervals: Vec::new(),
            met: None,
            declined: Vec::new(),
        };
        let mut collected = Collected::default();
        collected.sends(one, &end);
        assert_eq!(collected.gets(two, one, &question(4)), Ok(()));
        assert_eq!(collected.gets(two, one, &end), Ok(()));
        for drone in [one, two] {
            assert_eq!(collected.gets(drone, two, &question(5)), Ok(()));
            let found = collected
                .gets(drone, two, &question(4))
                .expect_err("it is over");
            assert_eq!(found.rule, "what is collected is asked for again");
        }
    }
}
