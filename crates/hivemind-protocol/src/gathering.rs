//! The end of an epoch on its way through the `tree`: arrivals, which combine on their way up, and the departure, which
//! fans out on its way down.
//!
//! Whoever passes something on has checked it, or would be blamed for another's lie. What a drone does before it arrives,
//! and what a departure does to pages, lives in `epoch`; how a meeting goes in which all have arrived, in `meeting`.

use crate::core::{Core, misbehaviour};
use crate::message::{Arrival, Interval, Met};
use crate::mutant::{Mutant, mutant};
use crate::tree::Tree;
use crate::{DroneId, Memory, Message, Misbehaviour, PageRun, VectorTimestamp};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

/// Who has arrived here: this drone and those below it. Kept until the departure, which tells each of them of the
/// others.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Gathering {
    arrivals: BTreeMap<DroneId, Arrival>,
    /// How many are to come.
    branch: usize,
}

/// The end of an epoch, as this drone is to take it.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Departure {
    pub(crate) from: DroneId,
    /// All intervals of the epoch, or all but this drone's own.
    pub(crate) intervals: Vec<Interval>,
    pub(crate) met: Option<Met>,
    pub(crate) declined: Vec<(DroneId, Vec<PageRun>)>,
}

impl Gathering {
    pub(crate) fn new(tree: Tree, me: DroneId) -> Self {
        Self {
            arrivals: BTreeMap::new(),
            branch: tree.branch(me).count(),
        }
    }

    /// What each has brought, in the order of the drones.
    pub(crate) fn arrivals(&self) -> &BTreeMap<DroneId, Arrival> {
        &self.arrivals
    }

    fn is_complete(&self) -> bool {
        self.arrivals.len() == self.branch
    }
}

impl<M: Memory> Core<M> {
    /// This drone arrives: at itself, if others arrive here too.
    pub(crate) fn arrive(&mut self, arrival: Arrival) {
        let above = self.tree.above(self.me);
        let waits = !self.tree.is_leaf(self.me);
        let to = above.filter(|_| !waits).unwrap_or(self.me);
        let epoch = self.epoch.id;
        let Arrival {
            intervals,
            meeting,
            declined,
        } = arrival;
        self.send(
            to,
            Message::Arrive {
                epoch,
                intervals,
                meeting,
                declined,
            },
        );
    }

    /// This drone, or one right below it with all that are below that one, has reached the end of the epoch.
    pub(crate) fn arrival(
        &mut self,
        from: DroneId,
        arrivals: Vec<Arrival>,
    ) -> Result<(), Misbehaviour> {
        let drones = self.check_arrivals(from, &arrivals)?;
        let arrivals = drones.into_iter().zip(arrivals);
        self.gathering.arrivals.extend(arrivals);
        let twice = usize::from(mutant(Mutant::ArrivalCountedTwice));
        let early = mutant(Mutant::ArrivalPassedEarly) && self.me != DroneId::FIRST;
        if self.gathering.arrivals.len() + twice < self.gathering.branch && !early {
            return Ok(());
        }
        match self.tree.above(self.me) {
            Some(above) => {
                let epoch = self.epoch.id;
                let arrivals = self.gathering.arrivals.values().cloned().collect();
                self.send(above, Message::ArriveTogether { epoch, arrivals });
            }
            None => self.end_epoch(),
        }
        Ok(())
    }

    /// At the first drone: all have arrived.
    fn end_epoch(&mut self) {
        let met = self.conclude();
        let epoch = self.epoch.id;
        let declines = self.gathering.arrivals.iter();
        let declines = declines.map(|(drone, arrival)| (*drone, &arrival.declined));
        let declined = declines
            .filter(|(_, runs)| !runs.is_empty())
            .map(|(drone, runs)| (drone, runs.clone()));
        let declined = declined.collect();
        self.send(
            self.me,
            Message::Depart {
                epoch,
                intervals: Vec::new(),
                met,
                declined,
            },
        );
    }

    /// All drones have arrived: the epoch is over. First those below hear of it, as many wait for them in turn; what it
    /// means for this drone takes time, and waits until they have been told.
    pub(crate) fn depart(&mut self, mut departure: Departure) -> Result<(), Misbehaviour> {
        self.check_departure(&departure)?;
        if self.tree.is_leaf(self.me) && self.me != DroneId::FIRST {
            return self.take_departure(departure);
        }
        let gathered = core::mem::take(&mut self.gathering.arrivals).into_values();
        let gathered = gathered.flat_map(|arrival| arrival.intervals);
        if mutant(Mutant::DepartureOfOthersAlone) && self.me != DroneId::FIRST {
            self.tell_below(&departure);
            departure.intervals.extend(gathered);
        } else {
            departure.intervals.extend(gathered);
            self.tell_below(&departure);
        }
        self.departure = Some(departure);
        Ok(())
    }

    /// Tells each below of the intervals of all that are not in its branch, which it knows.
    fn tell_below(&mut self, departure: &Departure) {
        let (epoch, tree) = (self.epoch.id, self.tree);
        for below in tree.below(self.me) {
            let brought = |interval: &&Interval| tree.is_in_branch(interval.id.creator, below);
            let told = departure.intervals.iter();
            let told = told.filter(|interval| !brought(interval)).cloned();
            let departure = Message::Depart {
                epoch,
                intervals: told.collect(),
                met: departure.met.clone(),
                declined: departure.declined.clone(),
            };
            self.send(below, departure);
        }
    }

    /// Whether these may arrive here now, and could bring this; gives who they are.
    fn check_arrivals(
        &self,
        from: DroneId,
        arrivals: &[Arrival],
    ) -> Result<Vec<DroneId>, Misbehaviour> {
        let own = from == self.me;
        if !own && self.tree.above(from) != Some(self.me) {
            return Err(misbehaviour(
                from,
                "it arrives here, where nobody waits for it",
            ));
        }
        let most = if own { 1 } else { usize::MAX };
        let drones: Vec<DroneId> = self.tree.branch(from).take(most).collect();
        if drones.len() != arrivals.len() {
            let (came, count) = (arrivals.len(), drones.len());
            let what =
                format!("it arrives for {came} drones; those below it and itself are {count}");
            return Err(misbehaviour(from, &what));
        }
        if self.gathering.arrivals.contains_key(&from) {
            return Err(misbehaviour(from, "it arrives twice in one epoch"));
        }
        for (drone, arrival) in drones.iter().zip(arrivals) {
            self.check_arrival(from, *drone, arrival)?;
        }
        Ok(drones)
    }

    /// Whether a drone could bring this. `from` is who says that it does.
    fn check_arrival(
        &self,
        from: DroneId,
        drone: DroneId,
        arrival: &Arrival,
    ) -> Result<(), Misbehaviour> {
        let others = |interval: &Interval| interval.id.creator != drone;
        if arrival.intervals.iter().any(others) {
            return Err(misbehaviour(from, "it arrives with another's intervals"));
        }
        self.check_whole(from, &arrival.intervals)?;
        match &arrival.meeting {
            Some(meeting) => crate::meeting::check_payload(from, drone, meeting),
            // A call goes down the same tree: who arrives for it has heard of it from here.
            None if !self.epoch.collecting => Err(misbehaviour(
                from,
                "it arrives for a collection that nobody called",
            )),
            None => Ok(()),
        }
    }

    /// Whether the epoch can be over like this, for this drone and all below it.
    fn check_departure(&self, departure: &Departure) -> Result<(), Misbehaviour> {
        let Departure {
            from,
            intervals: others,
            met,
            ..
        } = departure;
        let (from, met) = (*from, met.as_ref());
        // A meeting ends only for those who arrived in it: homes move then, and pages go at once.
        let may = from == self.tree.above(self.me).unwrap_or(self.me);
        let may = may && (met.is_none() || self.epoch.attends());
        if !may || (met.is_none() && !self.epoch.collecting) {
            return Err(misbehaviour(from, "it ends an epoch that it may not end"));
        }
        if let Some(met) = met {
            self.check_met(from, met)?;
        }
        if self.tree.is_leaf(self.me) || mutant(Mutant::DepartureUnchecked) {
            return Ok(());
        }
        if !self.gathering.is_complete() {
            return Err(misbehaviour(from, "it ends an epoch before all are here"));
        }
        let together = matches!(met, Some(Met::Together { .. }));
        let mine = self.calls.meeting().map(|meeting| meeting.kind);
        let meets = |arrival: &Arrival| match &arrival.meeting {
            Some(meeting) => !together || Some(meeting.kind) == mine,
            None => false,
        };
        if met.is_some() && !self.gathering.arrivals.values().all(meets) {
            let what = "it ends a meeting in which not all are that arrived here";
            return Err(misbehaviour(from, what));
        }
        let brought = |interval: &&Interval| self.tree.is_in_branch(interval.id.creator, self.me);
        if let Some(Interval { id, .. }) = others.iter().find(brought) {
            let what = format!(
                "it tells of {} of {}, which arrived here",
                id.index, id.creator
            );
            return Err(misbehaviour(from, &what));
        }
        self.check_whole(from, others)
    }

    /// Whether these could be all intervals that their creators made in this epoch, whatever is known here of them.
    fn check_whole(&self, from: DroneId, intervals: &[Interval]) -> Result<(), Misbehaviour> {
        let mut known = VectorTimestamp::new();
        for interval in intervals {
            self.check_interval(from, &known, interval)?;
            known.raise(interval.id.creator, interval.id.index);
        }
        Ok(())
    }
}
