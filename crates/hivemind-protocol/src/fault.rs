//! One page fault: what is missing, who has it, and how it goes into the page.
//!
//! First what the program asked, then what peers answer. Which fetches are under way is kept in `fetch`. What peers ask here
//! is in `serve`. When a page becomes invalid is decided in `interval` and `epoch`; what is done for pages not yet touched, in `ahead`.

use crate::core::{Core, misbehaviour};
use crate::fetch::{Fetch, Wanted};
use crate::message::{Label, PAGES_A_MESSAGE_MOST, PageCopy};
use crate::mutant::{Mutant, mutant};
use crate::note::Note;
use crate::page::Trust;
use crate::{
    Access, AccessKind, Diff, DroneId, IntervalId, IntervalIndex, Memory, Message, Misbehaviour,
    Outcome, PageBuffer, PageId, PageRun, Ticket, VectorTimestamp, WriteDetection,
};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

impl<M: Memory> Core<M> {
    /// The program touched a page it may not.
    pub(crate) fn fault(&mut self, page: PageId, kind: AccessKind, ticket: Ticket) {
        if let Some(drone) = self.lost() {
            return self.complete(ticket, Err(crate::Failure::Lost(drone)));
        }
        let holds = self.epoch.holds_faults();
        if holds && !self.opens_without_asking(page) {
            let fault = crate::epoch::HeldFault { page, kind, ticket };
            return self.epoch.held_faults.push(fault);
        }
        match kind {
            AccessKind::Read => self.stats.read_faults += 1,
            AccessKind::Write => self.stats.write_faults += 1,
        }
        if self.pages.get_mut(page).access != Access::Invalid {
            self.open_page(page, kind);
            return self.complete(ticket, Ok(Outcome::Done));
        }
        self.locks.holding.note(page);
        let entry = self.pages.get_mut(page);
        let missed = !entry.based && !entry.ahead && !self.fetches.has(page);
        self.fetches
            .under_way
            .get_or_default(page)
            .waiting
            .push((ticket, kind));
        self.advance_fetch(page);
        // After the page itself: memory that is filled is made in the order in which it is filled. With that page this drone may have
        // arrived (a split barrier that outlived a collection), and asks for nothing more then.
        if !holds && (!self.epoch.holds_faults() || mutant(Mutant::WalksOnAfterArrival)) {
            self.open_ahead(page, kind);
            self.walk_on(page, missed);
        }
    }

    /// Whether a touch of the page concerns nobody else: then it need not wait for the next epoch, although this one ends. What
    /// the program stores there is the next one's, as where stores take no fault.
    fn opens_without_asking(&mut self, page: PageId) -> bool {
        let coming = self.fetches.has(page) || self.epoch.is_coming_home(page);
        let entry = self.pages.get_mut(page);
        let is_whole = entry.based && entry.lacking().next().is_none();
        self.epoch.has_arrived() && (entry.access != Access::Invalid || (is_whole && !coming))
    }

    /// Fetches a page for which no thread waits: what this drone wrote must rest on a complete copy.
    pub(crate) fn fetch_for_itself(&mut self, page: PageId) {
        self.fetches.under_way.get_or_default(page);
        self.advance_fetch(page);
    }

    /// Asks for what is still missing, or puts the page together when nothing is.
    pub(crate) fn advance_fetch(&mut self, page: PageId) {
        let Some(fetch) = self.fetches.under_way.get(page) else {
            return;
        };
        if fetch.page_from.is_some() || !fetch.diffs_from.is_empty() {
            return;
        }
        if self.epoch.awaits_flush(page) {
            return;
        }
        let entry = self.pages.get_mut(page);
        let (home, based) = (entry.home, entry.based || fetch.base.is_some());
        let missing = fetch.missing(entry);
        if missing.is_empty() && based {
            return match self.is_seen(page) {
                true => self.keep_landed(page),
                false => self.finish_fetch(page),
            };
        }
        let writers: BTreeSet<DroneId> = missing.iter().map(|interval| interval.creator).collect();
        let last = self.last_writer(&missing).filter(|_| !fetch.refused);
        // One page from whoever has seen all the others beats a diff from each; a home has no diffs. At the
        // home itself a page would overwrite what was written there without a twin. A page that came is
        // replaced at most once, by the home's: two drones that lack each other's writes could alternate
        // for ever.
        let first = fetch.base.is_none() || mutant(Mutant::FetchAlternates);
        let whole = match last {
            _ if home == self.me => None,
            Some(last) if first && (!based || writers.len() > 1) => Some(last),
            _ if !based || writers.contains(&home) => Some(home),
            _ => None,
        };
        let or_page = first && writers.len() == 1 && home != self.me;
        match whole {
            Some(from) => self.request_page(page, from),
            None => self.request_diffs(page, &missing, or_page),
        }
    }

    /// The writer of the one missing interval that comes after all others that are missing.
    fn last_writer(&self, missing: &[IntervalId]) -> Option<DroneId> {
        let last = missing
            .iter()
            .max_by_key(|interval| self.log.weight(**interval))?;
        let known = &self.log.get(*last)?.known;
        missing
            .iter()
            .all(|interval| known.covers(*interval))
            .then_some(last.creator)
    }

    fn request_page(&mut self, page: PageId, from: DroneId) {
        assert_ne!(from, self.me, "INV-4: a home would ask itself for its page");
        if let Some(fetch) = self.fetches.under_way.get_mut(page) {
            fetch.page_from = Some(from);
            fetch.page_upto = self.log.known.get(from);
        }
        let entry = self.pages.get_mut(page);
        let at_home = entry.home == from;
        let again = at_home
            && entry.trust.has_been_touched()
            && self.economies.push
            && self.pushes.subscribe(page);
        self.fetches.wanted.push((from, again, page));
    }

    /// Sends the requests for whole pages that this event brought about: those that come from the same drone go into one
    /// message, as far as they fit. Nothing of what an event changes can void them: an epoch
    /// does not end while a fetch is outstanding.
    pub(crate) fn ask_for_pages(&mut self) {
        if self.fetches.wanted.is_empty() {
            return;
        }
        let mut wanted: Vec<Wanted> = core::mem::take(&mut self.fetches.wanted);
        wanted.sort_unstable();
        let epoch = self.epoch.id;
        for asked in wanted.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)) {
            let (from, again, _) = asked[0];
            for pages in asked.chunks(PAGES_A_MESSAGE_MOST as usize) {
                let pages = PageRun::join(pages.iter().map(|(_, _, page)| *page));
                self.send(
                    from,
                    Message::PageRequest {
                        epoch,
                        pages,
                        again,
                    },
                );
            }
        }
    }

    fn request_diffs(&mut self, page: PageId, missing: &[IntervalId], or_page: bool) {
        let mut spans: BTreeMap<DroneId, (IntervalIndex, IntervalIndex)> = BTreeMap::new();
        for interval in missing {
            let before = IntervalIndex(interval.index.0 - 1);
            let span = spans
                .entry(interval.creator)
                .or_insert((before, interval.index));
            *span = (span.0.min(before), span.1.max(interval.index));
        }
        if let Some(fetch) = self.fetches.under_way.get_mut(page) {
            fetch.diffs_from = spans.clone();
        }
        let epoch = self.epoch.id;
        for (writer, (after, upto)) in spans {
            self.send(
                writer,
                Message::DiffRequest {
                    epoch,
                    page,
                    after,
                    upto,
                    or_page,
                },
            );
        }
    }

    /// Everything is here: the page is put together and the program goes on.
    pub(crate) fn finish_fetch(&mut self, page: PageId) {
        let Some(fetch) = self.fetches.under_way.remove(page) else {
            return;
        };
        let mut fetch = *fetch;
        let waiting = core::mem::take(&mut fetch.waiting);
        self.install(page, fetch);
        let writes = waiting.iter().any(|(_, kind)| *kind == AccessKind::Write);
        if !waiting.is_empty() {
            let kind = if writes {
                AccessKind::Write
            } else {
                AccessKind::Read
            };
            let entry = self.pages.get_mut(page);
            entry.trust = Trust::TOUCHED;
            let came = entry.ahead || self.is_opened_at_home(page);
            self.open_page(page, kind);
            if came {
                self.open_arrived(page);
            }
        }
        for (ticket, _) in waiting {
            self.complete(ticket, Ok(Outcome::Done));
        }
        self.try_arrive();
    }

    /// Puts in a whole page that came without being asked for, unless something is missing in it still.
    pub(crate) fn install_whole(&mut self, page: PageId, copy: (Label, Box<PageBuffer>)) {
        let fetch = Fetch {
            base: Some(copy),
            ..Fetch::default()
        };
        let whole = fetch.missing(self.pages.get_mut(page)).is_empty();
        if whole || mutant(Mutant::LackingPageGranted) {
            self.pages.get_mut(page).ahead = true;
            self.install(page, fetch);
        }
    }

    /// Writes base and diffs into the page, in a linear extension of happens-before (INV-5).
    fn install(&mut self, page: PageId, fetch: Fetch) {
        let (me, open) = (self.me, self.log.open_index(self.me));
        let entry = self.pages.get_mut(page);
        assert!(
            entry.access == Access::Invalid,
            "INV-1: a page would change under the program"
        );
        assert!(entry.twin.is_none(), "INV-3: an invalid page has a twin");
        let mut order: Vec<(u64, IntervalId, &Diff)> = Vec::new();
        let covered = |id: IntervalId| {
            fetch
                .base
                .as_ref()
                .is_some_and(|(label, _)| label.covers(id))
        };
        let applies = |id: IntervalId| !covered(id) || mutant(Mutant::CoveredDiffsAgain);
        for (id, diff) in fetch.diffs.iter().filter(|(id, _)| applies(*id)) {
            order.push((self.log.weight(*id), *id, diff));
        }
        if let Some((_, bytes)) = &fetch.base {
            self.memory.write(page, 0, &bytes[..]);
            self.stats.pages_fetched += 1;
            for (index, diff) in entry.history.iter().flat_map(|history| &history.own) {
                let id = IntervalId {
                    creator: me,
                    index: *index,
                };
                debug_assert!(*index <= open);
                if !covered(id) {
                    order.push((self.log.weight(id), id, diff));
                }
            }
        }
        if !mutant(Mutant::DiffsUnordered) {
            order.sort_by_key(|(weight, id, _)| (*weight, *id));
        }
        let as_it_came = order.is_empty();
        for (_, id, diff) in order {
            diff.lay(&mut self.memory, page);
            self.stats.diffs_applied += 1;
            self.notes.add(|| Note::DiffApplied {
                page,
                interval: Some(id),
                bytes: diff.bytes().len(),
            });
        }
        match fetch.base {
            Some((_, bytes)) if as_it_came => {
                self.fetches.keep_arrived(page, bytes, &mut self.spare)
            }
            None if as_it_came => {}
            base => {
                self.fetches.forget_arrived(page, &mut self.spare);
                base.into_iter()
                    .for_each(|(_, bytes)| self.spare.give(bytes));
            }
        }
        entry.based = true;
        for notice in entry
            .history
            .iter_mut()
            .flat_map(|history| &mut history.notices)
        {
            notice.applied = true;
        }
        self.log.blind.remove(&page);
    }

    /// Lets the program at a page whose bytes are complete, or were when its epoch began.
    fn open_page(&mut self, page: PageId, kind: AccessKind) {
        let traps = self.memory.write_detection() == WriteDetection::Traps;
        let me = self.me;
        let entry = self.pages.get_mut(page);
        let at_home = entry.home == me;
        // Stores here concern nobody, until somebody asks for the page.
        let alone = at_home && entry.is_alone();
        let trapped = traps && kind == AccessKind::Write && !alone;
        if trapped {
            self.mark_written(page);
        }
        // Where stores are found afterwards, every page that may be stored to needs its twin before.
        if !at_home && (trapped || !traps) {
            self.make_twin(page);
        }
        let access = if alone || trapped {
            Access::ReadWrite
        } else {
            Access::ReadOnly
        };
        // Nobody needs it as a twin now.
        self.fetches.forget_arrived(page, &mut self.spare);
        let entry = self.pages.get_mut(page);
        entry.ahead = false;
        let opens = entry.access == Access::Invalid;
        entry.access = entry.access.max(access);
        match entry.access {
            Access::ReadOnly if opens && kind == AccessKind::Write => {
                self.memory.set_stored(PageRun::one(page));
            }
            access => self.memory.set_access(PageRun::one(page), access),
        }
    }

    /// Whole pages come.
    pub(crate) fn page_reply(
        &mut self,
        from: DroneId,
        known: VectorTimestamp,
        copies: Vec<PageCopy>,
    ) -> Result<(), Misbehaviour> {
        let last = known.entries().last();
        let strange = last.is_some_and(|(drone, _)| drone.0 >= self.drones);
        let impossible = strange || known.get(self.me) > self.log.known.get(self.me);
        if !copies.is_sorted_by(|one, next| one.page < next.page) {
            return Err(misbehaviour(from, "it sends pages that are not in order"));
        }
        for copy in &copies {
            if self.pages_home(from, copy.page)? == self.me {
                return Err(misbehaviour(
                    from,
                    "it sends a whole page to the page's home",
                ));
            }
            let upto = self.expected_fetch(from, copy.page)?.upto(from);
            let lacks_own = copy.without.iter().any(|id| id.creator == from);
            if impossible || known.get(from) < upto || lacks_own || !copy.without.is_sorted() {
                return Err(misbehaviour(
                    from,
                    "it labels a page with what cannot be in it, or without its own writes",
                ));
            }
        }
        let pages = copies.iter().map(|copy| copy.page).collect();
        for PageCopy {
            page,
            without,
            bytes,
        } in copies
        {
            let known = known.clone();
            let fetch = self.expected_fetch(from, page)?;
            fetch.page_from = None;
            fetch.early_will_do = false;
            fetch.diffs_from.remove(&from);
            fetch.base = Some((Label { known, without }, bytes));
        }
        self.put_together(pages);
        Ok(())
    }

    /// Whole pages have come. Those that a thread waits for go last: the others are opened with them.
    pub(crate) fn put_together(&mut self, mut pages: Vec<PageId>) {
        pages.sort_by_cached_key(|page| self.fetches.has_waiters(*page));
        for page in &pages {
            self.advance_fetch(*page);
        }
        self.open_sure(pages);
    }

    /// A last writer has no whole page.
    pub(crate) fn page_refused(&mut self, from: DroneId, page: PageId) -> Result<(), Misbehaviour> {
        let home = self.pages_home(from, page)?;
        let fetch = self.expected_fetch(from, page)?;
        if home == from || fetch.page_from != Some(from) {
            return Err(misbehaviour(
                from,
                "it refuses a page whose home it is, or for which it was not asked",
            ));
        }
        fetch.page_from = None;
        fetch.refused = true;
        self.advance_fetch(page);
        Ok(())
    }

    /// A writer's diffs come.
    pub(crate) fn diff_reply(
        &mut self,
        from: DroneId,
        page: PageId,
        upto: IntervalIndex,
        diffs: Vec<(IntervalIndex, Diff)>,
    ) -> Result<(), Misbehaviour> {
        let me = self.me;
        let fetch = self.expected_fetch(from, page)?;
        let asked = fetch.diffs_from.get(&from).copied();
        let answers = |(after, last): (IntervalIndex, IntervalIndex)| {
            let within = |(index, _): &(IntervalIndex, Diff)| *index > after && *index <= last;
            upto == last && diffs.iter().all(within)
        };
        if !asked.is_some_and(answers) {
            let what = alloc::format!("it sends diffs of {page} for which nobody asked it");
            return Err(misbehaviour(from, &what));
        }
        fetch.diffs_from.remove(&from);
        fetch.complete.insert(from, upto);
        let creator = if mutant(Mutant::DiffFiledAsOwn) {
            me
        } else {
            from
        };
        let named = diffs
            .into_iter()
            .map(|(index, diff)| (IntervalId { creator, index }, diff));
        fetch.diffs.extend(named);
        self.advance_fetch(page);
        Ok(())
    }

    /// The fetch that waits for this peer's answer.
    fn expected_fetch(&mut self, from: DroneId, page: PageId) -> Result<&mut Fetch, Misbehaviour> {
        let asked = |fetch: &&mut Box<Fetch>| {
            fetch.page_from == Some(from) || fetch.diffs_from.contains_key(&from)
        };
        let fetch = match mutant(Mutant::ReplyToAnotherFetch) {
            true => self.fetches.under_way.values_mut().find(asked),
            false => self.fetches.under_way.get_mut(page),
        };
        let fetch = fetch.filter(asked).ok_or_else(|| {
            misbehaviour(
                from,
                &alloc::format!("it answers for {page}, for which nobody asked it"),
            )
        })?;
        Ok(fetch)
    }

    pub(crate) fn pages_home(
        &mut self,
        from: DroneId,
        page: PageId,
    ) -> Result<DroneId, Misbehaviour> {
        self.check_page(from, page)?;
        Ok(self.pages.get_mut(page).home)
    }
}
