//! Pushes: a page that a drone fetches from its home after each of its epochs is sent to it at the epoch's end
//! without being asked. The push is the reply to a request that both sides know would be made.
//!
//! Both sides decide by what both know: a request says that its sender wants the page from now on
//! ([`Message::PageRequest`]), who arrives says what it wants no more ([`Message::Arrive`]), and at a departure
//! everybody knows which pages were written. So no push is unexpected, and none that is expected fails to
//! come. How pages are fetched lives in `fault`, where they go at an epoch's end in `epoch`; those that need not wait for the
//! departure are in `early`.

use crate::core::{Core, misbehaviour};
use crate::message::PAGES_A_MESSAGE_MOST;
use crate::mutant::{Mutant, mutant};
use crate::page::Trust;
use crate::page_map::PageMap;
use crate::{DroneId, Memory, Misbehaviour, PageId, PageRun};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

/// How many pages a drone may have sent to it unasked in an epoch: 1 MiB, and a few of what programs keep beside an array of
/// that size. One that reads more in each epoch walks through it, and fetching ahead serves it as well.
///
/// ```
/// use hivemind_protocol::{PAGE_SIZE, PAGES_PUSHED_MOST};
/// assert!(PAGES_PUSHED_MOST * PAGE_SIZE > 1 << 20);
/// ```
pub const PAGES_PUSHED_MOST: usize = 320;

/// After so many epochs in which a pushed page was not touched, it is not wanted any more. Two, since
/// programs that change between two arrays read each every other time.
const UNTOUCHED_MOST: u8 = 2;

/// A page that was touched after so many pushes in a row is opened when it comes, before it is touched again.
const TOUCHED_BEFORE: u8 = 2;

/// Of so many pushes in a row one is not opened, to see whether it is touched.
const TOUCHED_A_PROOF: u8 = 16;

/// Who is sent which pages.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Pushes {
    /// Pages that live here, and who is sent them.
    subscribers: PageMap<Readership>,
    /// Pages that are sent here.
    subscriptions: PageMap<Subscription>,
    /// Those of them that this drone wants no more; its arrival has said so.
    declined: Vec<PageId>,
}

/// Who is sent a page that lives here.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
struct Readership {
    drones: BTreeSet<DroneId>,
    /// Whether only its home wrote it when it was written last.
    of_one: bool,
}

/// What is known of a page that is sent here.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
struct Subscription {
    /// In how many epochs in a row the program has not touched it.
    untouched: u8,
    /// After how many pushes in a row it has.
    touched: u8,
    /// Whether it was sent in this epoch.
    came: bool,
}

impl Subscription {
    /// An epoch is over, in which the page was touched or not; gives whether it is wanted no more. Of a page that was to be opened
    /// as it came that is not known, nor whether there was time to open it: it counts as touched.
    fn note(&mut self, untouched: bool) -> bool {
        let came = core::mem::take(&mut self.came);
        if untouched && !(came && self.is_sure()) {
            (self.untouched, self.touched) = (self.untouched + 1, 0);
        } else {
            self.untouched = 0;
            if came {
                self.touched = self.touched % TOUCHED_A_PROOF + 1;
            }
        }
        self.untouched >= UNTOUCHED_MOST
    }

    fn is_sure(&self) -> bool {
        self.touched >= TOUCHED_BEFORE && self.touched != TOUCHED_A_PROOF
    }
}

/// What an epoch's end sends, and to whom.
pub(crate) type PushList = BTreeMap<DroneId, Vec<PageId>>;

/// What is to be sent, cut into messages.
pub(crate) fn in_messages(list: PushList) -> VecDeque<(DroneId, Vec<PageId>)> {
    let cut = |(to, pages): (DroneId, Vec<PageId>)| {
        let messages = pages.chunks(PAGES_A_MESSAGE_MOST as usize);
        messages
            .map(|pages| (to, pages.to_vec()))
            .collect::<Vec<_>>()
    };
    list.into_iter().flat_map(cut).collect()
}

impl Pushes {
    pub(crate) fn new() -> Self {
        Self {
            subscribers: PageMap::new(),
            subscriptions: PageMap::new(),
            declined: Vec::new(),
        }
    }

    /// Whether this drone should ask to be sent the page from now on, of which it knows that it fetches it
    /// again; remembers that it does.
    pub(crate) fn subscribe(&mut self, page: PageId) -> bool {
        if self.subscriptions.len() >= PAGES_PUSHED_MOST || self.subscriptions.contains(page) {
            return false;
        }
        self.subscriptions.insert(page, Subscription::default());
        true
    }

    /// Whether the page's home sends it here.
    pub(crate) fn is_sent_here(&self, page: PageId) -> bool {
        self.subscriptions.contains(page)
    }

    /// Whether the page is sent here and left closed this time, to see whether it is touched.
    pub(crate) fn is_left_closed(&self, page: PageId) -> bool {
        let subscription = self.subscriptions.get(page);
        subscription.is_some_and(|subscription| subscription.touched == TOUCHED_A_PROOF)
    }

    /// Who is sent a page that lives here.
    pub(crate) fn subscribers(&self, page: PageId) -> impl Iterator<Item = DroneId> {
        let readership = self.subscribers.get(page).into_iter();
        readership.flat_map(|readership| readership.drones.iter().copied())
    }

    /// An epoch is over in which this page was written: by its home, which this drone is, alone or not.
    pub(crate) fn note_writers(&mut self, page: PageId, of_one: bool) {
        if let Some(readership) = self.subscribers.get_mut(page) {
            readership.of_one = of_one;
        }
    }

    /// Of these pages those that only their home, which this drone is, wrote when they were written last; and who is sent them.
    pub(crate) fn wanted_of_one(
        &self,
        run: PageRun,
    ) -> impl Iterator<Item = (PageId, &BTreeSet<DroneId>)> {
        let pages = self.subscribers.range(run);
        let of_one = pages.filter(|(_, readership)| readership.of_one);
        of_one.map(|(page, readership)| (page, &readership.drones))
    }

    /// Nobody wants these pages any more, as all drones know.
    pub(crate) fn forget_all(&mut self, pages: PageRun) {
        self.subscribers.remove_run(pages);
        self.subscriptions.remove_run(pages);
    }

    /// The page has another home: what was agreed with the old one is over.
    pub(crate) fn forget(&mut self, page: PageId) {
        self.subscribers.remove(page);
        self.subscriptions.remove(page);
    }
}

impl<M: Memory> Core<M> {
    /// A peer wants these pages, whose home this is, after each epoch that writes them.
    pub(crate) fn take_subscription(
        &mut self,
        from: DroneId,
        runs: &[PageRun],
    ) -> Result<(), Misbehaviour> {
        let mut pages = runs.iter().flat_map(|run| run.pages());
        if let Some(page) = pages.find(|page| self.pages.get_mut(*page).home != self.me) {
            let what = alloc::format!("it subscribes to {page}, which lives elsewhere");
            return Err(misbehaviour(from, &what));
        }
        for page in runs.iter().flat_map(|run| run.pages()) {
            self.pushes
                .subscribers
                .get_or_default(page)
                .drones
                .insert(from);
        }
        Ok(())
    }

    /// What this drone, in a meeting, wants no more: pages that were pushed and that its program has not
    /// touched for a while.
    pub(crate) fn decline_untouched(&mut self) -> Vec<PageRun> {
        let mut declined = Vec::new();
        for (page, subscription) in self.pushes.subscriptions.iter_mut() {
            if subscription.note(self.pages.get_mut(page).ahead) {
                declined.push(page);
            }
        }
        self.pushes.declined = declined;
        PageRun::join(self.pushes.declined.iter().copied())
    }

    /// At a departure: what drones want no more is over at both ends.
    pub(crate) fn drop_declined(&mut self, declined: &[(DroneId, Vec<PageRun>)]) {
        let heard = !mutant(Mutant::DeclinedStillPushed);
        for (drone, runs) in declined.iter().filter(|_| heard) {
            for run in runs {
                for (_, readership) in self.pushes.subscribers.range_mut(*run) {
                    readership.drones.remove(drone);
                }
            }
        }
        for page in core::mem::take(&mut self.pushes.declined) {
            self.pushes.subscriptions.remove(page);
            self.pages.get_mut(page).trust = Trust::AT_FIRST;
        }
    }

    /// In the new epoch: sends pages that are pushed.
    pub(crate) fn push_pages(&mut self, to: DroneId, pages: &[PageId]) {
        self.stats.pages_pushed += pages.len() as u64;
        self.serve(to, pages);
    }

    /// In the new epoch: these pages come without being asked for, or have come; and whether only their homes wrote them.
    pub(crate) fn expect_pushes(&mut self, pages: Vec<(PageId, bool)>) {
        for (page, of_one) in pages {
            let home = self.pages.get_mut(page).home;
            self.pages.get_mut(page).ahead = true;
            self.fetches.expect(page, home, of_one);
            if let Some(subscription) = self.pushes.subscriptions.get_mut(page) {
                subscription.came = true;
            }
        }
    }

    /// Of these pages, which have come, opens those that the program is sure to touch.
    pub(crate) fn open_sure(&mut self, came: impl IntoIterator<Item = PageId>) {
        let sure = came.into_iter().filter(|page| {
            let subscription = self.pushes.subscriptions.get(*page);
            let sure = subscription.is_some_and(Subscription::is_sure);
            sure && self.came_ahead(*page)
        });
        for run in PageRun::join(sure.collect::<Vec<_>>()) {
            self.open_for_loads(run);
        }
    }
}
