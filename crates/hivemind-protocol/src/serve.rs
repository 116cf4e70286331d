//! What peers ask of a page here: a copy of it, or this drone's diffs. Also the copies that go unasked (`push`) or with a
//! lock (`grant`).
//!
//! What is asked of peers, and how their answers go into a page, is in `fault`.

use crate::core::{Core, misbehaviour};
use crate::message::{PAGES_A_MESSAGE_MOST, PageCopy};
use crate::mutant::{Mutant, mutant};
use crate::page::{Readers, Twin};
use crate::{
    Access, Diff, DroneId, IntervalId, IntervalIndex, Memory, Message, Misbehaviour, PAGE_SIZE,
    PageId, PageRun,
};
use alloc::vec::Vec;

impl<M: Memory> Core<M> {
    /// A peer asks for whole pages: it gets at once what is whole, and later what is on its way home.
    pub(crate) fn page_request(
        &mut self,
        from: DroneId,
        runs: &[PageRun],
        again: bool,
    ) -> Result<(), Misbehaviour> {
        for run in runs {
            self.check_run(from, *run)?;
        }
        if !runs.is_sorted_by(|one, next| one.end() <= next.first) {
            return Err(misbehaviour(
                from,
                "it asks for pages that are not in order",
            ));
        }
        let count: u64 = runs.iter().map(|run| run.count).sum();
        if count > PAGES_A_MESSAGE_MOST {
            let what = alloc::format!("it asks for {count} pages at once");
            return Err(misbehaviour(from, &what));
        }
        if again {
            self.take_subscription(from, runs)?;
        }
        let mut whole = Vec::new();
        for page in runs.iter().flat_map(|run| run.pages()) {
            if self.epoch.awaits_flush(page) {
                self.epoch.wait_for_flush(page, from);
            } else if self.pages.get_mut(page).based {
                whole.push(page);
            } else {
                let epoch = self.epoch.id;
                self.send(from, Message::PageRefused { epoch, page });
            }
        }
        self.serve(from, &whole);
        Ok(())
    }

    /// Sends pages as they are here, with what they contain.
    pub(crate) fn serve(&mut self, to: DroneId, pages: &[PageId]) {
        for pages in pages.chunks(PAGES_A_MESSAGE_MOST as usize) {
            self.serve_some(to, pages);
        }
    }

    fn serve_some(&mut self, to: DroneId, pages: &[PageId]) {
        let copies = self.copies_for(to, pages);
        self.stats.pages_served += pages.len() as u64;
        let (epoch, known) = (self.epoch.id, self.log.known.clone());
        self.send(
            to,
            Message::PageReply {
                epoch,
                known,
                pages: copies,
            },
        );
    }

    /// Copies of pages for another drone; at their home their stores are noticed from now on.
    pub(crate) fn copies_for(&mut self, to: DroneId, pages: &[PageId]) -> Vec<PageCopy> {
        if pages.is_empty() {
            return Vec::new();
        }
        let mut noticed = Vec::new();
        for page in pages {
            // So that no later diff of this drone contains what these bytes contain already.
            if !mutant(Mutant::ServedWithoutCut) {
                self.cut(*page);
            }
            let me = self.me;
            let entry = self.pages.get_mut(*page);
            if entry.home == me {
                let alone = entry.copies.is_empty();
                entry.readers = Readers::SOME;
                if !mutant(Mutant::CopyNotNoted) {
                    entry.copies.insert(to);
                }
                if alone && entry.access == Access::ReadWrite && !entry.written {
                    // From now on stores concern somebody: notice the next one.
                    entry.access = Access::ReadOnly;
                    noticed.push(*page);
                }
            }
        }
        for run in PageRun::join(noticed) {
            self.memory.set_access(run, Access::ReadOnly);
        }
        pages.iter().map(|page| self.copy_of(*page)).collect()
    }

    /// The page as it is here. What the program has stored since it was cut stays out: a later diff tells of what differs from
    /// the twin, and would not take back what the twin does not have.
    fn copy_of(&mut self, page: PageId) -> PageCopy {
        let mut bytes = self.spare.take();
        match &self.pages.get_mut(page).twin {
            Some(Twin::Copy(twin)) if !mutant(Mutant::ServedAsRead) => **bytes = ***twin,
            _ => self.memory.read(page, &mut bytes),
        }
        if !mutant(Mutant::FiledDiffsNotSent) {
            let kernels = self.memory.kernels();
            self.epoch.overlay(kernels, page, &mut bytes);
        }
        let mut without: Vec<IntervalId> = self.pages.get_mut(page).lacking().collect();
        if mutant(Mutant::LabelClaimsAll) {
            without.clear();
        }
        without.sort_unstable();
        PageCopy {
            page,
            without,
            bytes,
        }
    }

    /// A peer asks for this drone's diffs of a page.
    pub(crate) fn diff_request(
        &mut self,
        from: DroneId,
        page: PageId,
        (after, upto): (IntervalIndex, IntervalIndex),
        or_page: bool,
    ) -> Result<(), Misbehaviour> {
        self.check_page(from, page)?;
        if upto > self.log.known.get(self.me) {
            return Err(misbehaviour(
                from,
                "it asks for diffs of an interval that has not been",
            ));
        }
        let entry = self.pages.get_mut(page);
        if entry.home == self.me {
            return self.page_request(from, &[PageRun::one(page)], false);
        }
        let hidden = entry.history.as_ref().and_then(|history| history.uncut);
        let hides = hidden.is_some_and(|first| first <= upto);
        if hides && !mutant(Mutant::HiddenDiffForgotten) {
            self.cut(page);
        }
        let entry = self.pages.get_mut(page);
        let own = entry.history.iter().flat_map(|history| &history.own);
        let asked = own.filter(|(index, _)| *index > after && *index <= upto);
        let diffs: Vec<(IntervalIndex, Diff)> = asked.cloned().collect();
        let bytes: usize = diffs.iter().map(|(_, diff)| diff.size()).sum();
        if or_page && bytes > PAGE_SIZE && entry.based {
            self.serve(from, &[page]);
        } else {
            self.send(
                from,
                Message::DiffReply {
                    epoch: self.epoch.id,
                    page,
                    upto,
                    diffs,
                },
            );
        }
        Ok(())
    }
}
