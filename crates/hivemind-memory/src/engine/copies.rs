//! Copies of pages, by which stores are found that nothing else tells of: a page that differs from its copy was stored
//! to. A store that changes no byte is not found, and need not be: others would get the same bytes. So is one that is
//! taken back, unless somebody has seen it.
//!
//! Deliberately elsewhere: where the pages are (the engine that compares).

use hivemind_protocol::{PageBuffer, PageBytes, PageId, PageRun};
use std::collections::BTreeMap;
use std::mem;

/// How many copies that nobody needs any more are kept for the next pages.
const SPARE: usize = 64;

pub(super) struct Copies {
    kept: BTreeMap<PageId, Kept>,
    spare: Vec<Box<PageBuffer>>,
    now: Box<PageBuffer>,
}

struct Kept {
    bytes: Box<PageBuffer>,
    /// How often in a row it was like its page.
    alike: u32,
}

impl Copies {
    pub(super) fn new() -> Self {
        Self {
            kept: BTreeMap::new(),
            spare: Vec::new(),
            now: Box::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Copies a page as it is now.
    pub(super) fn take(&mut self, page: PageId, read: impl Fn(PageId, &mut PageBytes)) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        read(page, &mut bytes);
        let before = self.kept.insert(page, Kept { bytes, alike: 0 });
        self.give_back(before);
    }

    /// Whether a page that was seen so is not like its copy.
    pub(super) fn differs(&self, page: PageId, seen: &PageBytes) -> bool {
        self.kept
            .get(&page)
            .is_some_and(|kept| **kept.bytes != *seen)
    }

    pub(super) fn forget(&mut self, page: PageId) {
        let gone = self.kept.remove(&page);
        self.give_back(gone);
    }

    pub(super) fn forget_all(&mut self, pages: PageRun) {
        let inside = self.kept.range(pages.first..pages.end());
        let gone: Vec<_> = inside.map(|(page, _)| *page).collect();
        gone.into_iter().for_each(|page| self.forget(page));
    }

    /// Compares all pages, and copies those that differ. Those are `changed`; `constant` are those that were like their
    /// copy so many times in a row now; both ascending. A page may be stored to meanwhile: what is not found now is found
    /// the next time.
    pub(super) fn compare(
        &mut self,
        constant_after: u32,
        read: impl Fn(PageId, &mut PageBytes),
    ) -> Compared {
        let mut compared = Compared::default();
        for (page, kept) in &mut self.kept {
            read(*page, &mut self.now);
            if self.now == kept.bytes {
                kept.alike += 1;
                if kept.alike >= constant_after {
                    compared.constant.push(*page);
                }
            } else {
                mem::swap(&mut self.now, &mut kept.bytes);
                kept.alike = 0;
                compared.changed.push(*page);
            }
        }
        compared
    }

    /// Whether a page differs from its copy, which is one of how it is now from here on.
    pub(super) fn renew(&mut self, page: PageId, read: impl Fn(PageId, &mut PageBytes)) -> bool {
        let Some(kept) = self.kept.get_mut(&page) else {
            return false;
        };
        kept.alike = 0;
        read(page, &mut self.now);
        let differs = self.now != kept.bytes;
        mem::swap(&mut self.now, &mut kept.bytes);
        differs
    }

    fn give_back(&mut self, kept: Option<Kept>) {
        if self.spare.len() < SPARE {
            self.spare.extend(kept.map(|kept| kept.bytes));
        }
    }
}

/// What a comparison of all pages found.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Compared {
    pub(super) changed: Vec<PageId>,
    pub(super) constant: Vec<PageId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use hivemind_protocol::PAGE_SIZE;
    use std::cell::RefCell;

    const PAGES: [PageId; 3] = [PageId(3), PageId(4), PageId(7)];

    #[test]
    fn what_changed_is_found_once_and_what_did_not_after_so_many_looks() {
        let memory = RefCell::new(vec![[0u8; PAGE_SIZE]; 8]);
        let read = |page: PageId, into: &mut PageBytes| *into = memory.borrow()[page.0 as usize];
        let mut copies = Copies::new();
        for page in PAGES {
            copies.take(page, read);
        }
        assert_eq!(copies.compare(2, read), Compared::default());
        memory.borrow_mut()[4][PAGE_SIZE - 1] = 1;
        let compared = copies.compare(2, read);
        assert_eq!(compared.changed, [PageId(4)]);
        assert_eq!(compared.constant, [PageId(3), PageId(7)]);
        let compared = copies.compare(2, read);
        assert_eq!(compared.changed, [], "it is found once");
        memory.borrow_mut()[7][0] = 9;
        assert!(copies.renew(PageId(7), read) && !copies.renew(PageId(7), read));
        assert!(!copies.renew(PageId(1), read), "it has no copy");
    }

    #[test]
    fn what_is_forgotten_is_not_looked_at() {
        let mut copies = Copies::new();
        for page in PAGES {
            copies.take(page, |_, into| into.fill(1));
        }
        copies.forget_all(PageRun {
            first: PageId(0),
            count: 5,
        });
        let compared = copies.compare(9, |_, into| into.fill(2));
        assert_eq!(compared.changed, [PageId(7)]);
    }
}
