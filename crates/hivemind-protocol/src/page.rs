//! The page table: what this drone knows of each page. It stores; the protocols (`fault`, `interval`,
//! `epoch`) decide.
//!
//! The table is made in chunks as pages are touched, so a region of terabytes costs nothing at the start.

use crate::rhythm::Rhythm;
use crate::{
    Access, Diff, DroneId, IntervalId, IntervalIndex, Kernels, PAGE_SIZE, PageBuffer, PageBytes,
    PageId, PageRun,
};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// What this drone knows of one page.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Page {
    /// What the program may do with it.
    pub(crate) access: Access,
    /// Whether the bytes here hold at least all that was written before this epoch. Always so at the home
    /// (INV-4).
    pub(crate) based: bool,
    /// Still valid for the program, but to be dropped at its next acquire: an epoch ended under it.
    pub(crate) stale: bool,
    /// Whether the page is on the list of pages written in the open interval.
    pub(crate) written: bool,
    /// Fetched ahead of the program, and not touched since.
    pub(crate) ahead: bool,
    /// Fetched ahead once and never touched: not to be fetched ahead again.
    pub(crate) unwanted: bool,
    /// How often the page may yet be opened with a neighbour: see [`Trust`].
    pub(crate) trust: Trust,
    /// Who has the whole page at the epoch's start.
    pub(crate) home: DroneId,
    /// At the home: who else may hold a copy that no write notice has invalidated.
    pub(crate) copies: CopySet,
    /// At the home: whether stores are worth noticing while nobody has a copy.
    pub(crate) readers: Readers,
    /// At the home: when this drone stored to it.
    pub(crate) rhythm: Rhythm,
    /// The page as it was before the program's latest, not yet diffed writes. Never on an invalid page
    /// (INV-3).
    pub(crate) twin: Option<Twin>,
    /// What was written to it in this epoch, if anything was.
    pub(crate) history: Option<Box<History>>,
}

/// What was written to a page in this epoch, as far as this drone knows.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub(crate) struct History {
    /// Others' write notices, in the order in which they came.
    pub(crate) notices: Vec<Notice>,
    /// This drone's own diffs, each with the first of its intervals that it stems from; ascending.
    pub(crate) own: Vec<(IntervalIndex, Diff)>,
    /// The first own interval whose writes still hide behind the twin.
    pub(crate) uncut: Option<IntervalIndex>,
}

/// Another drone's write notice for the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Notice {
    /// The interval that wrote.
    pub(crate) interval: IntervalId,
    /// Whether the bytes here contain it.
    pub(crate) applied: bool,
}

/// Whether a page that came unasked is touched when its neighbour is: how often it may yet be opened with one
/// without having been touched itself. What is opened for nothing is fetched, noticed and made void for
/// nothing, epoch after epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Trust(u8);

impl Trust {
    /// Once on credit.
    pub(crate) const AT_FIRST: Self = Self(1);
    /// After a touch; it has to be renewed some time, since programs change their ways.
    pub(crate) const TOUCHED: Self = Self(Self::ONCE | 16);
    /// After the program's word. Enough that the page is sent unasked and soon opened as it comes; then a touch must follow.
    const NAMED: Self = Self(Self::ONCE | 3);

    /// Beside the count: there was a touch once, or the word that there would be.
    const ONCE: u8 = 1 << 7;

    /// Whether the program has touched the page before, or said that it would, not long ago.
    pub(crate) fn has_been_touched(self) -> bool {
        self.left() > Self::AT_FIRST.0
    }

    /// Whether the program has touched the page before, or said that it would, however long ago.
    pub(crate) fn was_touched_once(self) -> bool {
        self.0 & Self::ONCE != 0
    }

    /// Takes one opening, if there is one left.
    pub(crate) fn take(&mut self) -> bool {
        let left = self.left() > 0;
        self.0 -= u8::from(left);
        left
    }

    /// The program says that it will touch the page, of which nothing is left to take on trust: its word is taken, for a while.
    pub(crate) fn hear_of_a_touch(&mut self) {
        if self.left() == 0 {
            *self = Self::NAMED;
        }
    }

    fn left(self) -> u8 {
        self.0 & !Self::ONCE
    }
}

/// Whether a page is likely to be fetched soon: for how many epochs' ends it may yet stay watched though nobody has a copy.
/// Not to watch saves a fault inside the kernel a store. But to watch again when somebody fetches it takes a call while
/// he waits, and not to watch took another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Readers(u8);

impl Readers {
    /// Nobody has fetched it, or not for long.
    pub(crate) const NONE: Self = Self(0);
    /// Somebody fetches it. Twice on credit, since programs that change between two arrays read each every other time.
    pub(crate) const SOME: Self = Self(2);

    /// Whether somebody may come.
    pub(crate) fn may_come(self) -> bool {
        self.0 > 0
    }

    /// Another epoch ends in which the page was written, and nobody has a copy.
    pub(crate) fn end_epoch(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }
}

/// The drones besides the home that may hold a copy of a page. Most pages have no copy or one, which takes no memory
/// beside the page's entry.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
#[expect(
    clippy::box_collection,
    reason = "a vector beside the tag would make the entries of all pages larger"
)]
pub(crate) enum CopySet {
    /// All: nobody has written the page yet, and all see zeros.
    Everyone,
    /// Nobody.
    Nobody,
    /// This one.
    One(DroneId),
    /// These, ascending, two at least.
    Several(Box<Vec<DroneId>>),
}

/// A page as it was.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Twin {
    /// All zeros: a page that nobody wrote before needs no copy.
    Zero,
    /// A copy.
    Copy(Box<PageBuffer>),
}

/// All pages.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) struct PageTable {
    drones: u32,
    pages: u64,
    chunks: Vec<Option<Box<[Page]>>>,
}

/// How many pages a chunk of the table has: 2 MiB of region.
const CHUNK_PAGES: u64 = 512;

/// How many neighbouring pages have the same home at first, before use has taught better.
const FIRST_HOME_PAGES: u64 = 16;

impl PageTable {
    pub(crate) fn new(drones: u32, pages: u64) -> Self {
        let chunks =
            usize::try_from(pages.div_ceil(CHUNK_PAGES)).expect("a page table fits in memory");
        Self {
            drones,
            pages,
            chunks: (0..chunks).map(|_| None).collect(),
        }
    }

    /// Whether the region has this page.
    pub(crate) fn has(&self, page: PageId) -> bool {
        page.0 < self.pages
    }

    /// How many pages the region has.
    pub(crate) fn count(&self) -> u64 {
        self.pages
    }

    /// Every page of the chunks that were made, within the region.
    pub(crate) fn touched(&self) -> impl Iterator<Item = (PageId, &Page)> {
        let chunks = (0..).step_by(CHUNK_PAGES as usize).zip(&self.chunks);
        let pages = chunks.flat_map(|(first, chunk)| {
            let pages = chunk.iter().flat_map(|chunk| chunk.iter());
            (first..).map(PageId).zip(pages)
        });
        pages.filter(|(page, _)| self.has(*page))
    }

    /// The pages of a run whose chunks were made.
    pub(crate) fn touched_in(&self, run: PageRun) -> Vec<PageId> {
        let (first, end) = (run.first.0, run.end().0.min(self.pages));
        let made = |chunk: &u64| self.chunks[*chunk as usize].is_some();
        let chunks = (first / CHUNK_PAGES..end.div_ceil(CHUNK_PAGES)).filter(made);
        let pages = chunks.flat_map(|chunk| {
            let begin = chunk * CHUNK_PAGES;
            begin.max(first)..(begin + CHUNK_PAGES).min(end)
        });
        pages.map(PageId).collect()
    }

    /// What is known of a page, if anything is of its chunk.
    pub(crate) fn get(&self, page: PageId) -> Option<&Page> {
        let chunk = self.chunks[(page.0 / CHUNK_PAGES) as usize].as_ref()?;
        Some(&chunk[(page.0 % CHUNK_PAGES) as usize])
    }

    /// What is known of a page. Asked for some times a page in everything that the core does, so it is to be a few instructions.
    #[inline]
    pub(crate) fn get_mut(&mut self, page: PageId) -> &mut Page {
        let number = page.0 / CHUNK_PAGES;
        let (drones, pages) = (self.drones, self.pages);
        let chunk = self.chunks[number as usize]
            .get_or_insert_with(|| untouched_chunk(number, pages, drones));
        &mut chunk[(page.0 % CHUNK_PAGES) as usize]
    }
}

/// A chunk of pages that nobody has written, of a region of so many.
#[cold]
fn untouched_chunk(number: u64, pages: u64, drones: u32) -> Box<[Page]> {
    let end = pages.min((number + 1) * CHUNK_PAGES);
    (number * CHUNK_PAGES..end)
        .map(|page| Page::untouched(first_home(PageId(page), drones)))
        .collect()
}

/// The home of a page that nobody has written: neighbours together, all drones in turn.
fn first_home(page: PageId, drones: u32) -> DroneId {
    DroneId((page.0 / FIRST_HOME_PAGES % u64::from(drones)) as u32)
}

impl Page {
    pub(crate) fn untouched(home: DroneId) -> Self {
        Self {
            access: Access::Invalid,
            based: true,
            stale: false,
            written: false,
            ahead: false,
            unwanted: false,
            trust: Trust::AT_FIRST,
            home,
            copies: CopySet::Everyone,
            readers: Readers::NONE,
            rhythm: Rhythm::default(),
            twin: None,
            history: None,
        }
    }

    /// At the home: whether stores to it concern nobody, and are not noticed.
    pub(crate) fn is_alone(&self) -> bool {
        self.copies.is_empty() && !self.readers.may_come()
    }

    /// This epoch's history, made if there is none.
    pub(crate) fn history_mut(&mut self) -> &mut History {
        self.history.get_or_insert_default()
    }

    /// Others' intervals of this epoch that the bytes here lack, in the order in which they were heard of.
    pub(crate) fn lacking(&self) -> impl Iterator<Item = IntervalId> {
        let notices = self.history.iter().flat_map(|history| &history.notices);
        notices
            .filter(|notice| !notice.applied)
            .map(|notice| notice.interval)
    }

    /// A twin of the page, whose bytes are `bytes()` unless nobody ever wrote it.
    pub(crate) fn twin_of(&self, bytes: impl FnOnce() -> Box<PageBuffer>) -> Twin {
        match (&self.copies, &self.history) {
            (CopySet::Everyone, None) => Twin::Zero,
            _ => Twin::Copy(bytes()),
        }
    }
}

impl CopySet {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::Nobody
    }

    /// Those that were named; none where it is everyone.
    pub(crate) fn named(&self) -> Option<&[DroneId]> {
        match self {
            Self::Everyone => None,
            Self::Nobody => Some(&[]),
            Self::One(drone) => Some(core::slice::from_ref(drone)),
            Self::Several(drones) => Some(drones),
        }
    }

    pub(crate) fn insert(&mut self, drone: DroneId) {
        match self {
            Self::Everyone => {}
            Self::Nobody => *self = Self::One(drone),
            Self::One(other) if *other == drone => {}
            Self::One(other) => {
                let both = [drone.min(*other), drone.max(*other)];
                *self = Self::Several(Box::new(both.to_vec()));
            }
            Self::Several(drones) => {
                if let Err(at) = drones.binary_search(&drone) {
                    drones.insert(at, drone);
                }
            }
        }
    }
}

impl Twin {
    /// The diff from this twin to the page as it is, if they differ.
    pub(crate) fn diff(&self, kernels: &Kernels, now: &PageBytes) -> Option<Diff> {
        match self {
            Self::Zero => Diff::between(kernels, &[0; PAGE_SIZE], now),
            Self::Copy(old) => Diff::between(kernels, old, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_set_names_each_drone_once_ascending() {
        let mut copies = CopySet::Nobody;
        assert!(copies.is_empty());
        for drone in [7, 7, 3, 9, 3, 7] {
            copies.insert(DroneId(drone));
        }
        let named = [3, 7, 9].map(DroneId);
        assert_eq!(copies.named(), Some(&named[..]));
        copies = CopySet::Everyone;
        copies.insert(DroneId(1));
        assert_eq!(copies, CopySet::Everyone);
    }

    /// What is known of a page that is merely valid stays under 2 % of its bytes: this entry, and a byte in the memory
    /// room. A page with one copy elsewhere takes no more.
    #[test]
    fn an_entry_takes_less_than_two_hundredths_of_its_page() {
        assert!(size_of::<Page>() <= 56, "{} bytes", size_of::<Page>());
        assert!((size_of::<Page>() + 1) * 50 < PAGE_SIZE);
    }
}
