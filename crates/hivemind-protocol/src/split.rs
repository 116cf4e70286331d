//! A barrier in two calls (Gupta, "The fuzzy barrier", ASPLOS 1989): a program arrives, goes on with what concerns nobody else,
//! and departs when all have arrived. Whoever is late holds nobody up who has something to do meanwhile.
//!
//! For a drone this is a collection that its program wished for: it arrives and departs under the running program, for
//! which nothing changes (INV-6). What is void then is dropped, and what was pushed meanwhile put in, when the program
//! comes to depart. What it writes in between counts for the next epoch. It takes no lock in between, so that nothing that it
//! writes there is owed to anybody, and tokens may go.
//!
//! How meetings are asked for and end lives in `meeting`, what their end does to pages in `epoch`, how a page that has come goes
//! into memory in `fault`.

use crate::core::Core;
use crate::meeting::Stage;
use crate::mutant::{Mutant, mutant};
use crate::{Access, Memory, Message, Outcome, PageId, Refusal, Ticket, WriteDetection};
use alloc::vec::Vec;

/// So many pages in a message may wait until somebody looks. Of more the receiver had better take in what it can while its program
/// computes, perhaps on another core; and links hold only so much.
const WAITING_PAGES_MOST: usize = 16;

impl<M: Memory> Core<M> {
    /// Whether this message, which the core has just sent, can wait at its receiver until somebody looks there, as long as nobody waits
    /// for what that drone does with it: what belongs to a barrier in two calls, at which programs compute that shall not be held
    /// up. Who then waits long enough for another drone makes all look. From the second such barrier on, when all have taken part in
    /// one: who waits knows that he has to.
    ///
    /// ```
    #[doc = alone!()]
    /// use hivemind_protocol::{BarrierId, Command, EpochId, Event, Meeting, MeetingKind, Message, Ticket};
    /// let mut core = Core::new(config, Zeros);
    /// let push = Message::PagePush { epoch: EpochId(0), pages: Vec::new() };
    /// let kind = MeetingKind::Split(BarrierId(0));
    /// let arrive = Command::Meet(Meeting { kind, payload: Vec::new() });
    /// let ticket = Ticket(0);
    /// for command in [arrive.clone(), Command::Depart] {
    ///     assert!(!core.can_wait(&push));
    ///     core.handle(Event::Command { command, ticket }, &mut Vec::new())?;
    /// }
    /// core.handle(Event::Command { command: arrive, ticket }, &mut Vec::new())?;
    /// assert!(core.can_wait(&push)); // its program has arrived once more
    /// # Ok::<(), hivemind_protocol::Misbehaviour>(())
    /// ```
    pub fn can_wait(&self, message: &Message) -> bool {
        let belongs = match message {
            Message::Arrive { .. } | Message::Depart { .. } => true,
            Message::PagePush { pages, .. } => pages.len() <= WAITING_PAGES_MOST,
            _ => false,
        };
        belongs && self.calls.is_split() && self.calls.have_split()
    }

    /// This drone has arrived: if its program only waited for that, it goes on.
    pub(crate) fn go_on_from_arrival(&mut self) {
        let stage = self.calls.attendance.as_mut().map(|part| &mut part.stage);
        if let Some(stage) = stage
            && let Stage::Arrives(ticket) = *stage
        {
            *stage = Stage::GoesOn;
            self.complete(ticket, Ok(Outcome::Done));
        }
    }

    /// The program has nothing left to do before it departs.
    pub(crate) fn come_to_depart(&mut self, ticket: Ticket) {
        let stage = self.calls.attendance.as_mut().map(|part| &mut part.stage);
        let refusal = match stage {
            Some(stage @ Stage::GoesOn) => {
                *stage = Stage::Departs(ticket);
                return self.come_out();
            }
            Some(_) => Refusal::Busy,
            None => Refusal::NotArrived,
        };
        self.complete(ticket, Err(refusal.into()));
    }

    /// The epoch ended under the program, which waits now and is to see what the others wrote before it ended.
    pub(crate) fn see_what_was_written(&mut self) {
        if self.wrote_what_goes() && !mutant(Mutant::DepartsUnclosed) {
            self.close_interval();
        }
        self.drop_stale();
        self.install_landed();
    }

    /// Whether the program may have stored to a page that goes, since it arrived. Mostly it has not, and then its interval need not
    /// end: to look for all stores takes longer than the rest of departing.
    fn wrote_what_goes(&mut self) -> bool {
        let traps = self.memory.write_detection() == WriteDetection::Traps;
        let mut now = self.spare.take();
        let mut stores = |page: &PageId| {
            let entry = self.pages.get_mut(*page);
            let history = entry.history.as_ref();
            let was_cut = history.is_some_and(|history| !history.own.is_empty());
            match &entry.twin {
                _ if traps => entry.written,
                // Cut since it arrived, for somebody who asked: the twin has it already.
                _ if was_cut && !mutant(Mutant::CutOverlooked) => true,
                Some(twin) => {
                    self.memory.read(*page, &mut now);
                    twin.diff(self.memory.kernels(), &now).is_some()
                }
                None => true,
            }
        };
        let stored = self.epoch.stale.iter().any(&mut stores);
        self.spare.give(now);
        stored
    }

    /// Whether the program sees the page as it was when it arrived at a split barrier.
    pub(crate) fn is_seen(&mut self, page: PageId) -> bool {
        self.pages.get_mut(page).access != Access::Invalid
    }

    /// The page has come whole, and goes in when the program departs.
    pub(crate) fn keep_landed(&mut self, page: PageId) {
        if let Some(fetch) = self.fetches.under_way.remove(page) {
            self.fetches.landed.insert(page, fetch);
        }
        self.try_arrive();
    }

    /// Puts in what landed under the running program.
    fn install_landed(&mut self) {
        let landed = self.fetches.landed.take();
        let pages: Vec<PageId> = landed.iter().map(|(page, _)| page).collect();
        for (page, fetch) in landed.into_pages() {
            self.fetches.under_way.insert(page, fetch);
            self.finish_fetch(page);
        }
        self.open_sure(pages);
    }

    /// An epoch ends before the program has departed from the one before: what landed is of no epoch any more.
    pub(crate) fn forget_landed(&mut self) {
        if mutant(Mutant::LandedOutlivesEpoch) {
            return;
        }
        let landed = self.fetches.landed.take();
        for (page, fetch) in landed.into_pages() {
            self.pages.get_mut(page).ahead = false;
            if let Some((_, bytes)) = fetch.base {
                self.spare.give(bytes);
            }
        }
    }
}
