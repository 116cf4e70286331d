//! Pages' worth of memory that are not in use: what a twin or a copy leaves behind is where the next one is written.
//!
//! A drone that reads much makes and drops twins by the thousand, epoch after epoch. Through an allocator each would
//! be cleared, and mostly be new memory from the kernel: together more than copying the page takes.

use crate::page::Twin;
use crate::{Message, PageBuffer};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

/// The last that was given is the first that is taken: it is likely to be in the processor's cache still.
#[derive(Default)]
pub(crate) struct SparePages {
    pages: Vec<Box<PageBuffer>>,
    /// How many lay idle all the time since the epoch began.
    idle: usize,
    /// So many are kept though they lie idle.
    reserved: usize,
}

/// The most that are kept: 64 MiB.
const SPARE_PAGES_MOST: usize = 16 << 10;

/// An epoch in which they were not needed lets this part of the idle ones go: a program that reads much in every
/// other epoch keeps most, and one that never does so again has none before long.
const PART_RELEASED: usize = 8;

impl SparePages {
    /// Makes as many as are not here, and keeps so many from now on.
    pub(crate) fn reserve(&mut self, count: usize) {
        let pages = self.pages.len()..count;
        self.pages.extend(pages.map(|_| Box::default()));
        self.reserved = count;
    }

    /// A page's worth of memory; what is in it means nothing.
    pub(crate) fn take(&mut self) -> Box<PageBuffer> {
        let page = self.pages.pop();
        self.idle = self.idle.min(self.pages.len());
        page.unwrap_or_default()
    }

    /// Nobody needs this any more.
    pub(crate) fn give(&mut self, page: Box<PageBuffer>) {
        if self.pages.len() < SPARE_PAGES_MOST {
            self.pages.push(page);
        }
    }

    /// Nobody needs this twin any more, if it is one.
    pub(crate) fn give_twin(&mut self, twin: Option<Twin>) {
        if let Some(Twin::Copy(page)) = twin {
            self.give(page);
        }
    }

    /// Nobody needs this message any more.
    pub(crate) fn give_message(&mut self, message: Message) {
        match message {
            Message::PageReply { pages, .. } | Message::LockGrant { pages, .. } => {
                pages.into_iter().for_each(|copy| self.give(copy.bytes));
            }
            Message::PagePush { pages, .. } => {
                pages.into_iter().for_each(|(_, bytes)| self.give(bytes));
            }
            _ => {}
        }
    }

    /// An epoch is over.
    pub(crate) fn end_epoch(&mut self) {
        let unreserved = self.pages.len().saturating_sub(self.reserved);
        let released = self.idle.min(unreserved).div_ceil(PART_RELEASED);
        self.pages.drain(..released);
        self.idle = self.pages.len();
    }
}

impl fmt::Debug for SparePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SparePages({})", self.pages.len())
    }
}

impl Clone for SparePages {
    /// Nothing in it means anything.
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PAGE_SIZE;

    #[test]
    fn what_is_used_in_every_other_epoch_mostly_stays_and_what_is_not_goes() {
        let mut spare = SparePages::default();
        let mut most = 0;
        for _ in 0..10 {
            let taken: Vec<_> = (0..800).map(|_| spare.take()).collect();
            spare.end_epoch();
            taken.into_iter().for_each(|page| spare.give(page));
            spare.end_epoch();
            spare.end_epoch();
            most = spare.pages.len();
        }
        assert!((700..800).contains(&most), "{most} are kept");
        let epochs = (0..).take_while(|_| {
            spare.end_epoch();
            !spare.pages.is_empty()
        });
        assert!(epochs.count() < 60);
    }

    #[test]
    fn what_is_reserved_stays_though_it_lies_idle() {
        let mut spare = SparePages::default();
        spare.reserve(100);
        let taken: Vec<_> = (0..150).map(|_| spare.take()).collect();
        taken.into_iter().for_each(|page| spare.give(page));
        (0..60).for_each(|_| spare.end_epoch());
        assert_eq!(spare.pages.len(), 100);
    }

    #[test]
    fn the_same_memory_comes_again() {
        let mut spare = SparePages::default();
        let mut page = spare.take();
        assert!(**page == [0; PAGE_SIZE]);
        page[7] = 9;
        spare.give(page);
        assert_eq!(spare.take()[7], 9);
    }
}
