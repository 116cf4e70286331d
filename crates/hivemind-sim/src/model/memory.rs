//! The memory of one modelled drone: what its program may do with each page, which pages it wrote, and of their bytes
//! no more than is needed to make the right diffs. A page whose bytes are all alike takes no room for them, so a
//! thousand drones fit into one machine.
//!
//! It trusts the core; the memory that doubts every call is [`SimMemory`](crate::SimMemory).

use hivemind_protocol::{
    Access, AccessKind, Address, Memory, PAGE_SIZE, PageBytes, PageId, PageRun, WriteDetection,
};
use std::collections::BTreeSet;

/// Pages that are mostly alike throughout.
#[derive(Debug)]
pub(crate) struct PlainMemory {
    detection: WriteDetection,
    /// In chunks, made as they are touched.
    chunks: Vec<Option<Box<[Page]>>>,
    /// Those found by the next [`Memory::take_written`].
    written: BTreeSet<PageId>,
}

#[derive(Clone, Debug)]
struct Page {
    access: Access,
    fill: Fill,
}

/// The bytes of a page.
#[derive(Clone, Debug)]
enum Fill {
    /// All the same.
    Alike(u8),
    /// Each for itself.
    Mixed(Box<PageBytes>),
}

const CHUNK_PAGES: u64 = 64;

impl PlainMemory {
    /// Pages that are all invalid and zero.
    pub(crate) fn new(pages: u64, detection: WriteDetection) -> Self {
        let chunks = usize::try_from(pages.div_ceil(CHUNK_PAGES)).expect("a region fits in memory");
        Self {
            detection,
            chunks: vec![None; chunks],
            written: BTreeSet::new(),
        }
    }

    /// Whether the program may do this to a page without a fault.
    pub(crate) fn allows(&self, page: PageId, kind: AccessKind) -> bool {
        match (self.access(page), kind) {
            (Access::Invalid, _) => false,
            (Access::ReadWrite, _) | (Access::ReadOnly, AccessKind::Read) => true,
            (Access::ReadOnly, AccessKind::Write) => self.detection == WriteDetection::Scans,
        }
    }

    /// Stores to bytes of one page that the program may write: each of them changes.
    pub(crate) fn store(&mut self, at: Address, count: usize) {
        let page = PageId::of(at);
        let begin = (at.0 % PAGE_SIZE as u64) as usize;
        if self.detection == WriteDetection::Scans && self.access(page) == Access::ReadOnly {
            self.written.insert(page);
        }
        self.page_mut(page).fill.change(begin, count);
    }

    fn access(&self, page: PageId) -> Access {
        let chunk = &self.chunks[(page.0 / CHUNK_PAGES) as usize];
        chunk.as_ref().map_or(Access::Invalid, |chunk| {
            chunk[(page.0 % CHUNK_PAGES) as usize].access
        })
    }

    fn page_mut(&mut self, page: PageId) -> &mut Page {
        let blank = Page {
            access: Access::Invalid,
            fill: Fill::Alike(0),
        };
        let chunk = self.chunks[(page.0 / CHUNK_PAGES) as usize]
            .get_or_insert_with(|| vec![blank; CHUNK_PAGES as usize].into());
        &mut chunk[(page.0 % CHUNK_PAGES) as usize]
    }
}

impl Memory for PlainMemory {
    fn write_detection(&self) -> WriteDetection {
        self.detection
    }

    fn set_access(&mut self, pages: PageRun, access: Access) {
        for page in pages.pages() {
            if self.access(page) != access {
                self.page_mut(page).access = access;
                self.written.remove(&page);
            }
        }
    }

    fn set_stored(&mut self, pages: PageRun) {
        self.set_access(pages, Access::ReadOnly);
        self.written.extend(pages.pages());
    }

    fn read(&self, page: PageId, into: &mut PageBytes) {
        let chunk = self.chunks[(page.0 / CHUNK_PAGES) as usize].as_ref();
        match chunk.map(|chunk| &chunk[(page.0 % CHUNK_PAGES) as usize].fill) {
            None => into.fill(0),
            Some(Fill::Alike(byte)) => into.fill(*byte),
            Some(Fill::Mixed(bytes)) => into.copy_from_slice(&bytes[..]),
        }
    }

    fn write(&mut self, page: PageId, offset: usize, bytes: &[u8]) {
        self.page_mut(page).fill.put(offset, bytes);
    }

    fn take_written(&mut self, into: &mut Vec<PageRun>) {
        into.extend(PageRun::join(std::mem::take(&mut self.written)));
    }

    fn take_written_leaving(&mut self, into: &mut Vec<PageRun>, leaves: &dyn Fn(PageId) -> bool) {
        into.extend(PageRun::join(self.written.iter().copied()));
        self.written.retain(|page| leaves(*page));
    }
}

impl Fill {
    /// Every byte of a range becomes another: the next but one is as good as any, so long as it is never zero again.
    fn change(&mut self, begin: usize, count: usize) {
        let next = |byte: u8| byte % u8::MAX + 1;
        match self {
            Self::Alike(byte) if count == PAGE_SIZE => *byte = next(*byte),
            _ => {
                for byte in &mut self.mixed()[begin..begin + count] {
                    *byte = next(*byte);
                }
                self.settle();
            }
        }
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.len() == PAGE_SIZE && is_alike(bytes) {
            *self = Self::Alike(bytes[0]);
        } else {
            self.mixed()[offset..offset + bytes.len()].copy_from_slice(bytes);
            self.settle();
        }
    }

    fn mixed(&mut self) -> &mut PageBytes {
        if let Self::Alike(byte) = self {
            *self = Self::Mixed(Box::new([*byte; PAGE_SIZE]));
        }
        match self {
            Self::Mixed(bytes) => bytes,
            Self::Alike(_) => unreachable!("it has just been mixed"),
        }
    }

    fn settle(&mut self) {
        if let Self::Mixed(bytes) = self
            && is_alike(&bytes[..])
        {
            *self = Self::Alike(bytes[0]);
        }
    }
}

fn is_alike(bytes: &[u8]) -> bool {
    bytes[0] == bytes[bytes.len() - 1] && bytes[..bytes.len() - 1] == bytes[1..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(memory: &PlainMemory, page: u64) -> PageBytes {
        let mut bytes = [9; PAGE_SIZE];
        memory.read(PageId(page), &mut bytes);
        bytes
    }

    #[test]
    fn a_store_changes_every_byte_that_it_covers_and_no_other() {
        let mut memory = PlainMemory::new(100, WriteDetection::Traps);
        for _ in 0..600 {
            let before = bytes(&memory, 99);
            memory.store(Address(99 * 4096 + 8), 16);
            let after = bytes(&memory, 99);
            let changed: Vec<usize> = (0..PAGE_SIZE)
                .filter(|at| before[*at] != after[*at])
                .collect();
            assert_eq!(changed, (8..24).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_page_whose_bytes_are_alike_takes_no_room_for_them() {
        let mut memory = PlainMemory::new(1, WriteDetection::Traps);
        memory.store(Address(0), PAGE_SIZE / 2);
        assert!(matches!(memory.page_mut(PageId(0)).fill, Fill::Mixed(_)));
        memory.store(Address(2048), PAGE_SIZE / 2);
        assert!(matches!(memory.page_mut(PageId(0)).fill, Fill::Alike(1)));
        memory.write(PageId(0), 0, &[7; PAGE_SIZE]);
        assert!(matches!(memory.page_mut(PageId(0)).fill, Fill::Alike(7)));
    }

    #[test]
    fn stores_to_pages_without_protection_are_not_found() {
        let mut memory = PlainMemory::new(3, WriteDetection::Scans);
        memory.set_access(PageRun::one(PageId(0)), Access::ReadOnly);
        memory.set_access(PageRun::one(PageId(1)), Access::ReadWrite);
        for page in [0, 1] {
            assert!(memory.allows(PageId(page), AccessKind::Write));
            memory.store(PageId(page).start(), 8);
        }
        let mut found = Vec::new();
        memory.take_written(&mut found);
        assert_eq!(found, [PageRun::one(PageId(0))]);
    }

    #[test]
    fn a_page_that_is_left_is_found_once_more() {
        let mut memory = PlainMemory::new(2, WriteDetection::Scans);
        memory.set_stored(PageRun {
            first: PageId(0),
            count: 2,
        });
        for left in [2, 1, 0] {
            let mut found = Vec::new();
            memory.take_written_leaving(&mut found, &|page| page.0 + 1 < left);
            assert_eq!(found.iter().map(|run| run.count).sum::<u64>(), left);
        }
    }
}
