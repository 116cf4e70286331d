//! What the core tells of itself to whoever looks on: steps that are neither events nor effects. Nothing is ever
//! decided by a note, and where nobody looks on none is made. What is done with them is a driver's affair.

use crate::{EpochId, IntervalId, IntervalIndex, PageId, PageRun};
use alloc::vec::Vec;

/// A step inside the core, in the order in which they happened within an event.
///
/// ```
/// use hivemind_protocol::{Note, PageId};
/// println!("{:?}", Note::TwinMade { page: PageId(3) });
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// The page's bytes were kept, to find later what the program writes.
    TwinMade {
        /// Which page.
        page: PageId,
    },
    /// A twin was compared with its page, and they differed.
    DiffMade {
        /// Which page.
        page: PageId,
        /// The first own interval that the diff stems from.
        interval: IntervalIndex,
        /// How many bytes differed.
        bytes: usize,
    },
    /// A diff went into the page here.
    DiffApplied {
        /// Which page.
        page: PageId,
        /// Whose it was; none at a home, where diffs of several may have been joined.
        interval: Option<IntervalId>,
        /// How many bytes it changed.
        bytes: usize,
    },
    /// Pages were taken away from the program.
    Invalidated(PageRun),
    /// The open interval ended.
    IntervalEnded {
        /// Which it was.
        index: IntervalIndex,
        /// What was written in it.
        pages: Vec<PageRun>,
    },
    /// An epoch ended: its intervals, write notices, twins and diffs are forgotten.
    EpochEnded {
        /// Which.
        epoch: EpochId,
        /// Whether by a collection, outside of a meeting.
        collection: bool,
    },
}

impl Note {
    /// Whether it is about this page.
    ///
    /// ```
    /// use hivemind_protocol::{Note, PageId};
    /// let note = Note::TwinMade { page: PageId(3) };
    /// assert!(note.is_about(PageId(3)) && !note.is_about(PageId(4)));
    /// ```
    pub fn is_about(&self, wanted: PageId) -> bool {
        let within = |run: &PageRun| (run.first..run.end()).contains(&wanted);
        match self {
            Self::TwinMade { page }
            | Self::DiffMade { page, .. }
            | Self::DiffApplied { page, .. } => *page == wanted,
            Self::Invalidated(run) => within(run),
            Self::IntervalEnded { pages, .. } => pages.iter().any(within),
            Self::EpochEnded { .. } => false,
        }
    }
}

/// Where notes are kept until somebody takes them; nowhere, where nobody looks on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    kept: Option<Vec<Note>>,
}

impl Notes {
    pub(crate) fn begin(&mut self) {
        self.kept.get_or_insert_default();
    }

    pub(crate) fn add(&mut self, note: impl FnOnce() -> Note) {
        if let Some(kept) = &mut self.kept {
            kept.push(note());
        }
    }

    pub(crate) fn take(&mut self, into: &mut Vec<Note>) {
        if let Some(kept) = &mut self.kept {
            into.append(kept);
        }
    }
}
