//! Meetings: every collective call is a barrier that carries a small value from each drone to all. And the
//! calls to the heap, which the first drone keeps.
//!
//! First what the program asked, then the first drone's part, the steward's. How all come together lives in `gathering`;
//! what the end of a meeting does to pages, in `epoch`; a barrier in two calls, in `split`.

use crate::core::{Core, misbehaviour};
use crate::lock::refuse_meeting;
use crate::message::Met;
use crate::mutant::{Mutant, mutant};
use crate::{
    Address, Block, DroneId, Failure, Heap, Meeting, MeetingKind, Memory, Message, Misbehaviour,
    Outcome, PAGE_SIZE, Refusal, Ticket,
};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

/// The calls in which this drone's program waits, locks apart.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Calls {
    pub(crate) attendance: Option<Attendance>,
    /// Whether all drones have taken part in a barrier in two calls.
    have_split: bool,
    heap: BTreeMap<u64, HeapCall>,
    next_request: u64,
}

/// The program's part in a meeting.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Attendance {
    pub(crate) meeting: Meeting,
    pub(crate) stage: Stage,
    /// How it went, once this drone has departed. The program of a split barrier may not have yet.
    pub(crate) met: Option<Met>,
}

/// What the program does in a meeting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Stage {
    /// It waits until this drone has arrived at a split barrier.
    Arrives(Ticket),
    /// It has arrived there, and goes on.
    GoesOn,
    /// It waits until all have met.
    Departs(Ticket),
}

/// A call to the heap that waits for its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
struct HeapCall {
    ticket: Ticket,
    asked: Asked,
}

/// What somebody asked the heap for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Asked {
    Allocate { bytes: u64, align: u64 },
    Measure(Address),
    Free,
}

impl Calls {
    pub(crate) fn new() -> Self {
        Self {
            attendance: None,
            have_split: false,
            heap: BTreeMap::new(),
            next_request: 0,
        }
    }

    /// Whether the program takes part in a meeting and has not come out of it.
    pub(crate) fn attends(&self) -> bool {
        self.attendance.is_some()
    }

    /// The meeting for which this drone arrives.
    pub(crate) fn meeting(&self) -> Option<&Meeting> {
        let attendance = self.attendance.as_ref()?;
        let is_over = attendance.met.is_some();
        (!is_over).then_some(&attendance.meeting)
    }

    /// Whether the program takes part in a barrier in two calls.
    pub(crate) fn is_split(&self) -> bool {
        let kind = self.attendance.as_ref().map(|part| part.meeting.kind);
        matches!(kind, Some(MeetingKind::Split(_)))
    }

    /// Whether all drones have taken part in a barrier in two calls before.
    pub(crate) fn have_split(&self) -> bool {
        self.have_split
    }

    /// Whether the meeting is the last.
    pub(crate) fn is_leaving(&self) -> bool {
        self.meeting()
            .is_some_and(|meeting| meeting.kind == MeetingKind::Leave)
    }

    /// Every ticket that waits.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = Ticket> {
        let stage = self.attendance.iter().map(|attendance| attendance.stage);
        let waits = |stage| match stage {
            Stage::Arrives(ticket) | Stage::Departs(ticket) => Some(ticket),
            Stage::GoesOn => None,
        };
        stage
            .filter_map(waits)
            .chain(self.heap.values().map(|call| call.ticket))
    }
}

impl<M: Memory> Core<M> {
    /// The program takes part in a collective call.
    pub(crate) fn meet(&mut self, meeting: Meeting, ticket: Ticket) {
        let may = self.refuse_busy();
        if let Err(refusal) = may.and_then(|()| refuse_meeting(&self.locks, meeting.kind)) {
            return self.complete(ticket, Err(refusal.into()));
        }
        self.locks.gave = None;
        let stage = match meeting.kind {
            MeetingKind::Split(_) => Stage::Arrives(ticket),
            _ => Stage::Departs(ticket),
        };
        self.calls.attendance = Some(Attendance {
            meeting,
            stage,
            met: None,
        });
        self.try_arrive();
    }

    /// Whether the program may make a call in which it waits.
    pub(crate) fn refuse_busy(&self) -> Result<(), Refusal> {
        let stage = self.calls.attendance.as_ref().map(|part| part.stage);
        match stage {
            Some(Stage::GoesOn) => Err(Refusal::NotDeparted),
            Some(_) => Err(Refusal::Busy),
            None if self.locks.is_waiting() => Err(Refusal::Busy),
            None => Ok(()),
        }
    }

    /// At the first drone: how the meeting of all that have arrived goes; none if some arrived for a collection only.
    pub(crate) fn conclude(&mut self) -> Option<Met> {
        let arrivals = self.gathering.arrivals().iter();
        let meetings: Option<Vec<(DroneId, &Meeting)>> = arrivals
            .map(|(drone, arrival)| Some((*drone, arrival.meeting.as_ref()?)))
            .collect();
        let meetings = meetings?;
        let (one, first) = *meetings.first()?;
        if let Some((other, there)) = meetings
            .iter()
            .find(|(_, meeting)| meeting.kind != first.kind)
            && !mutant(Mutant::MeetingKindIgnored)
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
        let heap = self.heap.as_mut().expect("the first drone keeps the heap");
        let block = match kind {
            MeetingKind::Allocate { bytes, align } => heap.allocate(bytes, align).map(Some),
            MeetingKind::Free(address) => heap.free(address).map(Some),
            _ => Ok(None),
        };
        Some(match block {
            Ok(block) => Met::Together { payloads, block },
            Err(refusal) => Met::Refused(refusal),
        })
    }

    /// All drones have met.
    pub(crate) fn end_meeting(&mut self, met: Met) {
        if let Some(attendance) = &mut self.calls.attendance {
            attendance.met = Some(met);
        }
        self.come_out();
    }

    /// The program comes out of the meeting that is over, if it waits for that.
    pub(crate) fn come_out(&mut self) {
        let may = !self.epoch.has_arrived();
        let is_over = |part: &mut Attendance| {
            may && part.met.is_some() && matches!(part.stage, Stage::Departs(_))
        };
        let Some(Attendance {
            meeting,
            stage: Stage::Departs(ticket),
            met: Some(met),
        }) = self.calls.attendance.take_if(is_over)
        else {
            return;
        };
        if matches!(meeting.kind, MeetingKind::Split(_)) {
            self.calls.have_split |= matches!(met, Met::Together { .. });
            self.see_what_was_written();
        }
        let allocates = matches!(meeting.kind, MeetingKind::Allocate { .. });
        let result = match met {
            Met::Together { payloads, block } => {
                self.stats.meetings += 1;
                let allocated = block.filter(|_| allocates);
                Ok(Outcome::Met {
                    payloads,
                    allocated,
                })
            }
            Met::Refused(refusal) => Err(Failure::Refused(refusal)),
        };
        self.complete(ticket, result);
    }

    /// The program allocates, measures or frees: the first drone decides.
    pub(crate) fn ask_heap(&mut self, ticket: Ticket, message: impl FnOnce(u64) -> Message) {
        let request = self.calls.next_request;
        self.calls.next_request += 1;
        let message = message(request);
        let asked = match message {
            Message::Allocate { bytes, align, .. } => Asked::Allocate { bytes, align },
            Message::Measure { address, .. } => Asked::Measure(address),
            _ => Asked::Free,
        };
        self.calls.heap.insert(request, HeapCall { ticket, asked });
        self.send(DroneId::FIRST, message);
    }

    /// The first drone has decided.
    pub(crate) fn heap_reply(
        &mut self,
        from: DroneId,
        request: u64,
        result: Result<Block, Refusal>,
    ) -> Result<(), Misbehaviour> {
        let call = self.calls.heap.get(&request).copied();
        let Some(HeapCall { ticket, asked }) = call.filter(|_| from == DroneId::FIRST) else {
            return Err(misbehaviour(
                from,
                "it answers a heap request that nobody made",
            ));
        };
        match (asked, &result) {
            (Asked::Allocate { bytes, align }, Ok(block)) => {
                self.check_block(from, *block, (bytes, align))?;
            }
            (Asked::Measure(address), Ok(block)) => {
                if block.address != address {
                    let what = format!("it measures {} for {address}", block.address);
                    return Err(misbehaviour(from, &what));
                }
                self.check_block(from, *block, (0, 1))?;
            }
            _ => {}
        }
        self.calls.heap.remove(&request);
        let outcome = |block| match asked {
            Asked::Free => Outcome::Done,
            Asked::Allocate { .. } | Asked::Measure(_) => Outcome::Allocated(block),
        };
        self.complete(ticket, result.map(outcome).map_err(Failure::Refused));
        Ok(())
    }

    /// At the first drone: somebody allocates, measures or frees.
    pub(crate) fn heap_request(
        &mut self,
        from: DroneId,
        request: u64,
        decide: impl FnOnce(&mut Heap) -> Result<Block, Refusal>,
    ) -> Result<(), Misbehaviour> {
        let Some(heap) = &mut self.heap else {
            return Err(misbehaviour(
                from,
                "it asks for memory here, not at the first drone",
            ));
        };
        let result = decide(heap);
        self.send(from, Message::HeapReply { request, result });
        Ok(())
    }

    /// Whether a meeting could end like this for this drone's program, which waits in it.
    pub(crate) fn check_met(&self, from: DroneId, met: &Met) -> Result<(), Misbehaviour> {
        let Some(kind) = self.calls.meeting().map(|meeting| meeting.kind) else {
            return Err(misbehaviour(
                from,
                "it ends a meeting in which nobody is here",
            ));
        };
        let Met::Together { payloads, block } = met else {
            return Ok(());
        };
        if payloads.len() != self.drones as usize {
            let what = format!("it brings the values of {} drones", payloads.len());
            return Err(misbehaviour(from, &what));
        }
        for (drone, payload) in self.drones().zip(payloads) {
            check_bytes(from, drone, kind, payload.len())?;
        }
        match (kind, *block) {
            (MeetingKind::Allocate { bytes, align }, Some(block)) => {
                self.check_block(from, block, (bytes, align))
            }
            (MeetingKind::Allocate { .. }, None) => Err(misbehaviour(
                from,
                "it grants an allocation without a block",
            )),
            (MeetingKind::Free(address), Some(block)) if block.address == address => {
                self.check_block(from, block, (0, 1))
            }
            (MeetingKind::Free(_), _) => Err(misbehaviour(
                from,
                "it frees another block than the one asked for",
            )),
            (_, Some(_)) => Err(misbehaviour(from, "it allocates where nobody asked for it")),
            (_, None) => Ok(()),
        }
    }

    /// Whether a block could be what was asked for.
    fn check_block(
        &self,
        from: DroneId,
        block: Block,
        (bytes, align): (u64, u64),
    ) -> Result<(), Misbehaviour> {
        let (start, region_bytes) = (block.address.0, self.pages.count() * PAGE_SIZE as u64);
        let fits = start
            .checked_add(block.bytes)
            .is_some_and(|end| end <= region_bytes && block.bytes >= bytes);
        if start > 0 && fits && start.is_multiple_of(align.max(1)) {
            return Ok(());
        }
        let what = format!(
            "it gives {} with {} bytes for {bytes} bytes aligned to {align}",
            block.address, block.bytes
        );
        Err(misbehaviour(from, &what))
    }
}

/// Whether a drone could bring this value to such a meeting. `from` is who says that it does.
pub(crate) fn check_payload(
    from: DroneId,
    drone: DroneId,
    meeting: &Meeting,
) -> Result<(), Misbehaviour> {
    check_bytes(from, drone, meeting.kind, meeting.payload.len())
}

fn check_bytes(
    from: DroneId,
    drone: DroneId,
    kind: MeetingKind,
    bytes: usize,
) -> Result<(), Misbehaviour> {
    let expected = match kind {
        MeetingKind::Reduce { bytes } => bytes,
        MeetingKind::Broadcast { root, bytes } if root == drone => bytes,
        MeetingKind::Broadcast { .. } => 0,
        _ => return Ok(()),
    };
    if bytes as u64 == expected {
        return Ok(());
    }
    let what = format!("it brings {bytes} bytes of {drone} to {kind}");
    Err(misbehaviour(from, &what))
}
