//! The fetches that are under way: what was asked for each page, of whom, what has come, and who waits.
//!
//! What is asked of whom, and how what came goes into the page, is in `fault`; what came and waits until the program
//! departs, in `split`.

use crate::message::Label;
use crate::mutant::{Mutant, mutant};
use crate::page::Page;
use crate::page_map::PageMap;
use crate::spare::SparePages;
use crate::{AccessKind, Diff, DroneId, IntervalId, IntervalIndex, PageBuffer, PageId, Ticket};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// One fetch a page, however many threads wait for it.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Fetches {
    /// Boxed, so that the map has little to move when pages come and go by the window.
    pub(crate) under_way: PageMap<Box<Fetch>>,
    /// Whole pages to ask for when this event is over, so that neighbours go into one request.
    pub(crate) wanted: Vec<Wanted>,
    /// Pages that are here and not open, as they came: each is the page's twin when it is opened.
    arrived: PageMap<Box<PageBuffer>>,
    /// Pages that were pushed while the program still sees what they were before: they wait until it departs.
    pub(crate) landed: PageMap<Box<Fetch>>,
}

/// A whole page to ask for: whom, whether for ever, and which.
pub(crate) type Wanted = (DroneId, bool, PageId);

/// What was asked for a page and what has come.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub(crate) struct Fetch {
    pub(crate) waiting: Vec<(Ticket, AccessKind)>,
    /// Who has yet to answer with a whole page.
    pub(crate) page_from: Option<DroneId>,
    /// The last of its own intervals that must be in that page: it was known of when the page was asked for.
    pub(crate) page_upto: IntervalIndex,
    /// The page as it was when the epoch began will do: it comes from its home, who alone wrote it before.
    pub(crate) early_will_do: bool,
    /// Who has yet to answer with diffs, and for which intervals (after, upto].
    pub(crate) diffs_from: BTreeMap<DroneId, (IntervalIndex, IntervalIndex)>,
    /// A whole page that came.
    pub(crate) base: Option<(Label, Box<PageBuffer>)>,
    /// Diffs that came, and up to which interval of each writer they are complete.
    pub(crate) diffs: Vec<(IntervalId, Diff)>,
    pub(crate) complete: BTreeMap<DroneId, IntervalIndex>,
    /// A last writer had no whole page: ask the home instead.
    pub(crate) refused: bool,
}

impl Fetch {
    /// The last interval of `from` that must be in a page from it: it was known of when it was asked.
    pub(crate) fn upto(&self, from: DroneId) -> IntervalIndex {
        match self.diffs_from.get(&from) {
            Some((_, upto)) => *upto,
            None => self.page_upto,
        }
    }

    /// Others' intervals that wrote the page and are neither in its bytes nor among what has come.
    pub(crate) fn missing(&self, page: &Page) -> Vec<IntervalId> {
        let come = |id: &IntervalId| {
            let complete = self.complete.get(&id.creator);
            complete.is_some_and(|upto| id.index <= *upto)
        };
        let notices = page.history.iter().flat_map(|history| &history.notices);
        let lacks = notices.filter(|notice| match &self.base {
            Some((label, _)) => !label.covers(notice.interval),
            None => !notice.applied,
        });
        lacks
            .map(|notice| notice.interval)
            .filter(|id| !come(id))
            .collect()
    }
}

impl Fetches {
    pub(crate) fn new() -> Self {
        Self {
            under_way: PageMap::new(),
            wanted: Vec::new(),
            arrived: PageMap::new(),
            landed: PageMap::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether this page is being fetched.
    pub(crate) fn has(&self, page: PageId) -> bool {
        self.under_way.contains(page)
    }

    /// The page comes from its home without being asked for; only the home wrote it, or others too.
    pub(crate) fn expect(&mut self, page: PageId, home: DroneId, of_one: bool) {
        let fetch = self.under_way.get_or_default(page);
        fetch.page_from = Some(home);
        fetch.early_will_do = of_one || mutant(Mutant::VoidPushTaken);
    }

    /// The page as its home pushed it before the epoch began; given back if it was not expected.
    pub(crate) fn fulfil(
        &mut self,
        page: PageId,
        bytes: Box<PageBuffer>,
    ) -> Result<(), Box<PageBuffer>> {
        let expects = |fetch: &&mut Box<Fetch>| fetch.page_from.is_some() && fetch.early_will_do;
        let Some(fetch) = self.under_way.get_mut(page).filter(expects) else {
            return Err(bytes);
        };
        fetch.page_from = None;
        fetch.base = Some((Label::default(), bytes));
        Ok(())
    }

    /// Whether a thread waits for this page.
    pub(crate) fn has_waiters(&self, page: PageId) -> bool {
        self.under_way
            .get(page)
            .is_some_and(|fetch| !fetch.waiting.is_empty())
    }

    /// The page as it came, if it came whole and nothing was done to it since.
    pub(crate) fn take_arrived(&mut self, page: PageId) -> Option<Box<PageBuffer>> {
        self.arrived.remove(page)
    }

    /// The page came whole, as this.
    pub(crate) fn keep_arrived(
        &mut self,
        page: PageId,
        bytes: Box<PageBuffer>,
        spare: &mut SparePages,
    ) {
        if let Some(older) = self.arrived.insert(page, bytes) {
            spare.give(older);
        }
    }

    /// The page is not any more as it came.
    pub(crate) fn forget_arrived(&mut self, page: PageId, spare: &mut SparePages) {
        if let Some(bytes) = self.arrived.remove(page) {
            spare.give(bytes);
        }
    }

    /// Who has yet to answer for a page.
    pub(crate) fn asked(&self, page: PageId) -> Vec<DroneId> {
        let fetch = self.under_way.get(page);
        let asked = fetch.map(|fetch| fetch.page_from.iter().chain(fetch.diffs_from.keys()));
        asked.into_iter().flatten().copied().collect()
    }

    /// Every ticket that waits.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = Ticket> {
        self.under_way
            .values()
            .flat_map(|fetch| &fetch.waiting)
            .map(|(ticket, _)| *ticket)
    }
}
