//! Meetings: every collective call is a barrier that carries a small value from each drone to all. And the
//! calls to the heap, which the first drone keeps.
//!
//! First what the program asked, then the first drone's part, the steward's. What the end of a meeting
//! does to pages lives in `epoch`.

use crate::core::{Core, misbehaviour};
use crate::lock::refuse_meeting;
use crate::message::{Interval, Met};
use crate::{
    Block, DroneId, Failure, Heap, Meeting, MeetingKind, Memory, Message, Misbehaviour, Outcome,
    PAGE_SIZE, Refusal, Ticket,
};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The calls in which this drone's program waits, locks apart.
#[derive(Debug)]
pub(crate) struct Calls {
    meeting: Option<(Meeting, Ticket)>,
    heap: BTreeMap<u64, HeapCall>,
    next_request: u64,
}

/// A call to the heap that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct HeapCall {
    ticket: Ticket,
    frees: bool,
}

/// What the first drone keeps for all: who has arrived, and the heap.
#[derive(Debug)]
pub(crate) struct Steward {
    arrivals: BTreeMap<DroneId, Arrival>,
    drones: u32,
    heap: Heap,
    /// Whether a collection was called in this epoch.
    pub(crate) collecting: bool,
}

#[derive(Debug)]
struct Arrival {
    intervals: Vec<Interval>,
    meeting: Option<Meeting>,
}

impl Calls {
    pub(crate) fn new() -> Self {
        Self {
            meeting: None,
            heap: BTreeMap::new(),
            next_request: 0,
        }
    }

    /// Whether the program waits in a meeting.
    pub(crate) fn is_waiting(&self) -> bool {
        self.meeting.is_some()
    }

    pub(crate) fn meeting(&self) -> Option<&Meeting> {
        self.meeting.as_ref().map(|(meeting, _)| meeting)
    }

    /// Whether the meeting is the last.
    pub(crate) fn is_leaving(&self) -> bool {
        self.meeting()
            .is_some_and(|meeting| meeting.kind == MeetingKind::Leave)
    }

    /// Every ticket that waits.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = Ticket> {
        let meeting = self.meeting.iter().map(|(_, ticket)| *ticket);
        meeting.chain(self.heap.values().map(|call| call.ticket))
    }
}

impl Steward {
    pub(crate) fn new(drones: u32, pages: u64) -> Self {
        let heap = Heap::new(pages * PAGE_SIZE as u64);
        Self {
            arrivals: BTreeMap::new(),
            drones,
            heap,
            collecting: false,
        }
    }

    /// How the meeting of all arrivals goes; none if some arrived for a collection only.
    fn conclude(&mut self) -> Option<Met> {
        let meetings: Option<Vec<(DroneId, &Meeting)>> = self
            .arrivals
            .iter()
            .map(|(drone, arrival)| Some((*drone, arrival.meeting.as_ref()?)))
            .collect();
        let meetings = meetings?;
        let (one, first) = *meetings.first()?;
        if let Some((other, there)) = meetings
            .iter()
            .find(|(_, meeting)| meeting.kind != first.kind)
        {
            let (here, there, other) = (first.kind, there.kind, *other);
            return Some(Met::Refused(Refusal::Mismatch {
                one,
                here,
                other,
                there,
            }));
        }
        let kind = first.kind;
        let payloads = meetings
            .iter()
            .map(|(_, meeting)| meeting.payload.clone())
            .collect();
        let allocated = match kind {
            MeetingKind::Allocate { bytes, align } => self.heap.allocate(bytes, align).map(Some),
            MeetingKind::Free(address) => self.heap.free(address).map(|()| None),
            _ => Ok(None),
        };
        Some(match allocated {
            Ok(allocated) => Met::Together {
                payloads,
                allocated,
            },
            Err(refusal) => Met::Refused(refusal),
        })
    }
}

impl<M: Memory> Core<M> {
    /// The program takes part in a collective call.
    pub(crate) fn meet(&mut self, meeting: Meeting, ticket: Ticket) {
        if self.calls.is_waiting() || self.locks.is_waiting() {
            return self.complete(ticket, Err(Refusal::Busy.into()));
        }
        if let Err(refusal) = refuse_meeting(&self.locks, meeting.kind) {
            return self.complete(ticket, Err(refusal.into()));
        }
        self.calls.meeting = Some((meeting, ticket));
        self.try_arrive();
    }

    /// All drones have met.
    pub(crate) fn end_meeting(&mut self, met: Met) {
        let Some((_, ticket)) = self.calls.meeting.take() else {
            return;
        };
        let result = match met {
            Met::Together {
                payloads,
                allocated,
            } => {
                self.stats.meetings += 1;
                Ok(Outcome::Met {
                    payloads,
                    allocated,
                })
            }
            Met::Refused(refusal) => Err(Failure::Refused(refusal)),
        };
        self.complete(ticket, result);
    }

    /// The program allocates or frees: the first drone decides.
    pub(crate) fn ask_heap(&mut self, ticket: Ticket, message: impl FnOnce(u64) -> Message) {
        let request = self.calls.next_request;
        self.calls.next_request += 1;
        let message = message(request);
        let frees = matches!(message, Message::Free { .. });
        self.calls.heap.insert(request, HeapCall { ticket, frees });
        self.send(DroneId::FIRST, message);
    }

    /// The first drone has decided.
    pub(crate) fn heap_reply(
        &mut self,
        from: DroneId,
        request: u64,
        result: Result<Block, Refusal>,
    ) -> Result<(), Misbehaviour> {
        let call = self
            .calls
            .heap
            .remove(&request)
            .filter(|_| from == DroneId::FIRST);
        let Some(HeapCall { ticket, frees }) = call else {
            return Err(misbehaviour(
                from,
                "it answers a heap request that nobody made",
            ));
        };
        let outcome = |block| match frees {
            true => Outcome::Done,
            false => Outcome::Allocated(block),
        };
        self.complete(ticket, result.map(outcome).map_err(Failure::Refused));
        Ok(())
    }

    /// At the first drone: somebody allocates or frees.
    pub(crate) fn heap_request(
        &mut self,
        from: DroneId,
        request: u64,
        decide: impl FnOnce(&mut Heap) -> Result<Block, Refusal>,
    ) -> Result<(), Misbehaviour> {
        let Some(steward) = &mut self.steward else {
            return Err(misbehaviour(
                from,
                "it asks for memory here, not at the first drone",
            ));
        };
        let result = decide(&mut steward.heap);
        self.send(from, Message::HeapReply { request, result });
        Ok(())
    }

    /// At the first drone: somebody has reached the end of the epoch.
    pub(crate) fn arrival(
        &mut self,
        from: DroneId,
        intervals: Vec<Interval>,
        meeting: Option<Meeting>,
    ) -> Result<(), Misbehaviour> {
        let Some(steward) = &mut self.steward else {
            return Err(misbehaviour(
                from,
                "it arrives here, not at the first drone",
            ));
        };
        if intervals.iter().any(|interval| interval.id.creator != from) {
            return Err(misbehaviour(from, "it arrives with another's intervals"));
        }
        if steward
            .arrivals
            .insert(from, Arrival { intervals, meeting })
            .is_some()
        {
            return Err(misbehaviour(from, "it arrives twice in one epoch"));
        }
        if steward.arrivals.len() < steward.drones as usize {
            return Ok(());
        }
        let met = steward.conclude();
        steward.collecting = false;
        let arrivals = core::mem::take(&mut steward.arrivals);
        let epoch = self.epoch.id;
        for drone in self.drones() {
            let others = arrivals.iter().filter(|(creator, _)| **creator != drone);
            let intervals = others
                .flat_map(|(_, arrival)| arrival.intervals.iter().cloned())
                .collect();
            self.send(
                drone,
                Message::Depart {
                    epoch,
                    intervals,
                    met: met.clone(),
                },
            );
        }
        Ok(())
    }
}
