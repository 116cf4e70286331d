//! Pages that are pushed with an arrival, not after the departure. What only its home writes in an epoch is whole as soon as that
//! home has arrived: it may go at once, and lies at its readers when the next epoch begins there. A hop less, and
//! whoever waits for others sends meanwhile.
//!
//! That nobody else wrote the page is a guess, which the departure confirms or not, at both ends alike. If another did,
//! what went is void, and the page is pushed after the departure, whole. So a reader that expects a page takes
//! whichever comes: what its home pushed early, if only the home wrote it, or what it pushes in the new epoch.
//!
//! Who is sent which pages, and those that go after the departure, is in `push`; how pages go into memory, in `fault`.

use crate::core::{Core, misbehaviour};
use crate::mutant::{Mutant, mutant};
use crate::page_map::PageMap;
use crate::push::{PushList, in_messages};
use crate::{DroneId, EpochId, Memory, Message, Misbehaviour, PageBuffer, PageId};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;

/// What goes and comes with arrivals.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Early {
    /// What is yet to go with this drone's arrival, message by message.
    going: VecDeque<(DroneId, Vec<PageId>)>,
    /// What went in this epoch, ascending.
    went: Vec<(DroneId, PageId)>,
    /// What came for the next epoch.
    came: PageMap<Box<PageBuffer>>,
}

impl Early {
    pub(crate) fn new() -> Self {
        Self {
            going: VecDeque::new(),
            went: Vec::new(),
            came: PageMap::new(),
        }
    }

    /// Whether pages are yet to go with an arrival.
    pub(crate) fn is_going(&self) -> bool {
        !self.going.is_empty()
    }

    /// Whether the drone was sent the page with this drone's arrival at the end of this epoch.
    pub(crate) fn went_to(&self, to: DroneId, page: PageId) -> bool {
        self.went.binary_search(&(to, page)).is_ok()
    }

    /// The epoch is over: what has not gone yet goes after the departure.
    pub(crate) fn end_epoch(&mut self) {
        self.going.clear();
        self.went.clear();
    }
}

impl<M: Memory> Core<M> {
    /// This drone has arrived, and its arrival goes first: then the pages that others want and that, as far as is known here, only
    /// this drone wrote, now and when they were last written.
    pub(crate) fn plan_early(&mut self) {
        if !self.economies.early {
            return;
        }
        let mut list = PushList::new();
        let own = self.log.of(self.me).flat_map(|interval| &interval.pages);
        for (page, readers) in own.flat_map(|run| self.pushes.wanted_of_one(*run)) {
            let history = self.pages.get_mut(page).history.as_ref();
            if history.is_none_or(|history| history.notices.is_empty()) {
                for to in readers {
                    list.entry(*to).or_default().push(page);
                }
            }
        }
        for pages in list.values_mut() {
            // Several intervals may have written it.
            pages.sort_unstable();
            pages.dedup();
        }
        self.early.going = in_messages(list);
    }

    /// The next message of pages that go with the arrival.
    pub(crate) fn go_on_arriving(&mut self) {
        let Some((to, pages)) = self.early.going.pop_front() else {
            return;
        };
        self.stats.pages_pushed += pages.len() as u64;
        self.stats.pages_served += pages.len() as u64;
        let copies = self.copies_for(to, &pages).into_iter();
        let copies = copies.map(|copy| (copy.page, copy.bytes)).collect();
        self.early
            .went
            .extend(pages.into_iter().map(|page| (to, page)));
        let epoch = self.epoch.id;
        let pages = copies;
        self.send(to, Message::PagePush { epoch, pages });
    }

    /// A home has arrived at the end of this epoch, or of an earlier one, and has sent what is wanted of it in the next.
    pub(crate) fn page_push(
        &mut self,
        from: DroneId,
        epoch: EpochId,
        pages: Vec<(PageId, Box<PageBuffer>)>,
    ) -> Result<(), Misbehaviour> {
        // Nobody arrives while a page is expected; so one of an older epoch was void.
        if epoch.0 + 1 < self.epoch.id.0 && !mutant(Mutant::LatePushJudged) {
            pages
                .into_iter()
                .for_each(|(_, bytes)| self.spare.give(bytes));
            return Ok(());
        }
        if !pages.is_sorted_by(|one, next| one.0 < next.0) {
            return Err(misbehaviour(from, "it pushes pages that are not in order"));
        }
        let is_next = epoch == self.epoch.id;
        for (page, _) in &pages {
            let home = self.pages_home(from, *page)?;
            let unwanted = !self.pushes.is_sent_here(*page) || self.early.came.contains(*page);
            if home != from || (is_next && unwanted) {
                let what = format!("it pushes {page}, which nobody wants of it");
                return Err(misbehaviour(from, &what));
            }
        }
        if is_next {
            self.early.came.extend(pages);
        } else {
            self.take_pushed(pages);
        }
        Ok(())
    }

    /// The epoch begins for which these came.
    pub(crate) fn take_early(&mut self) {
        let came = self.early.came.take();
        self.take_pushed(came.into_pages());
    }

    /// Of these pages, which went before the epoch began, takes those that nobody else wrote and that this drone still wants.
    fn take_pushed(&mut self, came: impl IntoIterator<Item = (PageId, Box<PageBuffer>)>) {
        let mut taken = Vec::new();
        for (page, bytes) in came {
            match self.fetches.fulfil(page, bytes) {
                Ok(()) => taken.push(page),
                Err(void) => self.spare.give(void),
            }
        }
        self.put_together(taken);
    }
}
