//! Which protocol a command of the program, or a message of a peer, belongs to. What it does there lives in that protocol's
//! file; how it comes in, in `core`.

use crate::core::{Core, misbehaviour};
use crate::gathering::Departure;
use crate::message::Arrival;
use crate::mutant::{Mutant, mutant};
use crate::{Command, DroneId, Failure, Memory, Message, Misbehaviour, Outcome, Ticket};
use alloc::vec;

impl<M: Memory> Core<M> {
    /// What the program asks.
    pub(crate) fn command(&mut self, command: Command, ticket: Ticket) {
        if let Some(drone) = self.lost() {
            return self.complete(ticket, Err(Failure::Lost(drone)));
        }
        match command {
            Command::Acquire(lock) => self.acquire(lock, false, ticket),
            Command::TryAcquire(lock) => self.acquire(lock, true, ticket),
            Command::Release(lock) => self.release(lock, ticket),
            Command::Wait { lock, condition } => self.wait(lock, condition, ticket),
            Command::Signal {
                lock,
                condition,
                all,
            } => self.signal(lock, condition, all, ticket),
            Command::Meet(meeting) => self.meet(meeting, ticket),
            Command::Depart => self.come_to_depart(ticket),
            Command::Prefetch(pages) => {
                self.prefetch(pages);
                self.complete(ticket, Ok(Outcome::Done));
            }
            Command::Allocate { bytes, align } => {
                self.ask_heap(ticket, |request| Message::Allocate {
                    request,
                    bytes,
                    align,
                })
            }
            Command::Measure(address) => {
                self.ask_heap(ticket, |request| Message::Measure { request, address });
            }
            Command::Free(address) => {
                self.ask_heap(ticket, |request| Message::Free { request, address });
            }
        }
    }

    /// Sorts a message to its protocol, or keeps it until this drone has come to the message's epoch.
    pub(crate) fn message(&mut self, from: DroneId, message: Message) -> Result<(), Misbehaviour> {
        if from.0 >= self.drones {
            return Err(misbehaviour(from, "it is not a drone of this hive"));
        }
        if self.lost().is_some() && !mutant(Mutant::LostDroneHeard) {
            return Ok(());
        }
        let Some(message) = self.defer(from, message)? else {
            return Ok(());
        };
        match message {
            Message::PageRequest { pages, again, .. } => self.page_request(from, &pages, again),
            Message::PageReply { known, pages, .. } => self.page_reply(from, known, pages),
            Message::PagePush { epoch, pages } => self.page_push(from, epoch, pages),
            Message::PageRefused { page, .. } => self.page_refused(from, page),
            Message::DiffRequest {
                page,
                after,
                upto,
                or_page,
                ..
            } => self.diff_request(from, page, (after, upto), or_page),
            Message::DiffReply {
                page, upto, diffs, ..
            } => self.diff_reply(from, page, upto, diffs),
            Message::LockRequest {
                epoch,
                lock,
                requester,
                known,
                forwarded,
                wants,
                tries,
            } => {
                let wish = crate::lock::Wish {
                    requester,
                    epoch,
                    known,
                    wants,
                    tries,
                    ahead: false,
                };
                self.lock_request(from, lock, wish, forwarded)
            }
            Message::LockGrant {
                epoch,
                lock,
                intervals,
                sleepers,
                known,
                pages,
                again,
            } => {
                let grant = crate::lock::Grant {
                    epoch,
                    intervals,
                    sleepers,
                    known,
                    pages,
                    again,
                };
                self.lock_grant(from, lock, grant)
            }
            Message::LockTried {
                lock,
                requester,
                given,
            } => self.lock_tried(from, lock, requester, given),
            Message::LockSought {
                epoch,
                lock,
                requester,
            } => self.lock_sought(from, lock, (requester, epoch)),
            Message::LockTaken { lock, .. } => self.lock_taken(from, lock),
            Message::Wake { lock, condition } => self.wake(from, lock, condition),
            Message::Arrive {
                intervals,
                meeting,
                declined,
                ..
            } => {
                let arrival = Arrival {
                    intervals,
                    meeting,
                    declined,
                };
                self.arrival(from, vec![arrival])
            }
            Message::ArriveTogether { arrivals, .. } => self.arrival(from, arrivals),
            Message::Depart {
                intervals,
                met,
                declined,
                ..
            } => self.depart(Departure {
                from,
                intervals,
                met,
                declined,
            }),
            Message::CollectWanted { epoch } => self.collect_wanted(from, epoch),
            Message::Collect { .. } => self.collect(from),
            Message::Flush { epoch, pages, more } => self.flush(from, epoch, pages, more),
            Message::Allocate {
                request,
                bytes,
                align,
            } => self.heap_request(from, request, |heap| heap.allocate(bytes, align)),
            Message::Measure { request, address } => {
                self.heap_request(from, request, |heap| heap.measure(address))
            }
            Message::Free { request, address } => {
                self.heap_request(from, request, |heap| heap.free(address))
            }
            Message::HeapReply { request, result } => self.heap_reply(from, request, result),
        }
    }
}
