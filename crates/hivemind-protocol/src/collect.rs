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
        if self.me != DroneId::FIRST {
            return Err(misbehaviour(
                from,
                "it asks for a collection here, not at the first drone",
            ));
        }
        // An epoch that is over took the records along; one collection an epoch is enough.
        if epoch == self.epoch.id && !self.epoch.collecting {
            self.begin_collection();
        }
        Ok(())
    }

    /// The drone above calls a collection.
    pub(crate) fn collect(&mut self, from: DroneId) -> Result<(), Misbehaviour> {
        if self.tree.above(self.me) != Some(from) {
            return Err(misbehaviour(
                from,
                "it calls a collection, which only the drone above does",
            ));
        }
        self.begin_collection();
        Ok(())
    }

    /// The epoch is to end, here and at all below: each arrives as soon as may be, whatever its program does.
    fn begin_collection(&mut self) {
        let epoch = self.epoch.id;
        for below in self.tree.below(self.me) {
            if !mutant(Mutant::CallNotPassedOn) || self.me == DroneId::FIRST {
                self.send(below, Message::Collect { epoch });
            }
        }
        self.epoch.collecting = true;
        self.try_arrive();
    }
}
