//! Collections: when intervals, notices and diffs near their limit, the epoch ends without a meeting.
//!
//! Programs that use locks alone would pile them up for ever. What the end of an epoch does lives in
//! `epoch`; here is only who asks for it, and the account of protocol memory.

use crate::core::{Core, misbehaviour};
use crate::mutant::{Mutant, mutant};
use crate::{DroneId, EpochId, Memory, Message, Misbehaviour};

impl<M: Memory> Core<M> {
    /// Asks for a collection once an epoch's records have grown beyond the limit. Not from within a meeting: its end is
    /// the epoch's end, and better, for homes move to their writers then. Until it comes nothing more is told to
    /// this drone, and whoever goes on meanwhile minds its own limit.
    pub(crate) fn mind_limit(&mut self) {
        if self.calls.meeting().is_some() {
            return;
        }
        let large = self.log.bytes > self.metadata_limit_bytes;
        let large = large && !mutant(Mutant::CollectionNeverAsked);
        if large && !self.epoch.collecting && !self.log.asked {
            self.log.asked = true;
            self.send(
                DroneId::FIRST,
                Message::CollectWanted {
                    epoch: self.epoch.id,
                },
            );
        }
    }

    /// Keeps the account of protocol memory.
    pub(crate) fn note_metadata(&mut self) {
        let bytes = self.log.bytes + self.epoch.filed_bytes();
        self.stats.metadata_bytes = bytes;
        self.stats.metadata_peak_bytes = self.stats.metadata_peak_bytes.max(bytes);
    }

    /// At the first drone: somebody's records have grown too large.
    pub(crate) fn collect_wanted(
        &mut self,
        from: DroneId,
        epoch: EpochId,
    ) -> Result<(), Misbehaviour> {
        let Some(steward) = &mut self.steward else {
            return Err(misbehaviour(
                from,
                "it asks for a collection here, not at the first drone",
            ));
        };
        // An epoch that is over took the records along; one collection an epoch is enough.
        if epoch != self.epoch.id || core::mem::replace(&mut steward.collecting, true) {
            return Ok(());
        }
        for drone in self.drones() {
            self.send(drone, Message::Collect { epoch });
        }
        Ok(())
    }

    /// The epoch is to end: arrive as soon as may be, whatever the program does.
    pub(crate) fn collect(&mut self, from: DroneId) -> Result<(), Misbehaviour> {
        if from != DroneId::FIRST {
            return Err(misbehaviour(
                from,
                "only the first drone calls a collection",
            ));
        }
        self.epoch.collecting = true;
        self.try_arrive();
        Ok(())
    }
}
