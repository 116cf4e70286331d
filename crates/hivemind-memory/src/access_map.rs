//! What the program may do with each page: a byte a page, in chunks that exist only where a page is valid. So a region
//! of terabytes costs nothing until it is used. Changing real pages is the engines' work.

use hivemind_protocol::{Access, PageId, PageRun};
use std::collections::{BTreeMap, BTreeSet};

/// Pages in a chunk: as many as one of the kernel's lowest page tables holds, which is how a scan walks.
const CHUNK_PAGES: u64 = 512;

/// The access of every page of a region. All start as `Invalid`.
#[derive(Default)]
pub(crate) struct AccessMap {
    chunks: BTreeMap<u64, Box<Chunk>>,
    /// The chunks that have `ReadOnly` pages: of all that a program uses they are few.
    watched: BTreeSet<u64>,
}

/// INV: `valid` counts the entries that aren't `Invalid`, `read_only` has a bit for each that is `ReadOnly`; a chunk without
/// a valid entry is removed. The bits lie in one line of the cache: whoever ends an interval comes from elsewhere.
struct Chunk {
    valid: u32,
    read_only: ReadOnly,
    access: [Access; CHUNK_PAGES as usize],
}

/// A bit a page of a chunk.
#[repr(align(64))]
struct ReadOnly([u64; CHUNK_PAGES as usize / 64]);

impl AccessMap {
    pub(crate) fn get(&self, page: PageId) -> Access {
        match self.chunks.get(&(page.0 / CHUNK_PAGES)) {
            Some(chunk) => chunk.access[(page.0 % CHUNK_PAGES) as usize],
            None => Access::Invalid,
        }
    }

    pub(crate) fn set(&mut self, pages: PageRun, access: Access) {
        let mut first = pages.first.0;
        while first < pages.end().0 {
            let number = first / CHUNK_PAGES;
            let end = pages.end().0.min((number + 1) * CHUNK_PAGES);
            let within = (first % CHUNK_PAGES) as usize..(end - number * CHUNK_PAGES) as usize;
            if access == Access::Invalid {
                let Some((&number, chunk)) = self.chunks.range_mut(number..).next() else {
                    return;
                };
                if number > first / CHUNK_PAGES {
                    first = number * CHUNK_PAGES;
                    continue;
                }
                let empty = chunk.fill(within, access) == 0;
                let watched = chunk.read_only.any();
                if empty {
                    self.chunks.remove(&number);
                }
                self.note_watched(number, watched);
            } else {
                let chunk = self.chunks.entry(number).or_insert_with(Chunk::new);
                chunk.fill(within, access);
                let watched = chunk.read_only.any();
                self.note_watched(number, watched);
            }
            first = end;
        }
    }

    fn note_watched(&mut self, chunk: u64, watched: bool) {
        if watched {
            self.watched.insert(chunk);
        } else {
            self.watched.remove(&chunk);
        }
    }

    /// Calls `visit` with the longest runs of those `pages` whose access is `wanted`, ascending. Costs what exists,
    /// not what the run spans.
    pub(crate) fn runs_where(
        &self,
        pages: PageRun,
        wanted: impl Fn(Access) -> bool,
        mut visit: impl FnMut(PageRun),
    ) {
        if pages.count == 1 {
            if wanted(self.get(pages.first)) {
                visit(pages);
            }
            return;
        }
        let mut joiner = Joiner {
            pending: None,
            visit: &mut visit,
        };
        let absent_wanted = wanted(Access::Invalid);
        let mut next = pages.first.0;
        let chunks = pages.first.0 / CHUNK_PAGES..=(pages.end().0 - 1) / CHUNK_PAGES;
        for (number, chunk) in self.chunks.range(chunks) {
            let start = number * CHUNK_PAGES;
            if absent_wanted && start > next {
                joiner.push(next, start - next);
            }
            next = next.max(start);
            let end = pages.end().0.min(start + CHUNK_PAGES);
            while next < end {
                if wanted(chunk.access[(next - start) as usize]) {
                    joiner.push(next, 1);
                }
                next += 1;
            }
        }
        if absent_wanted && next < pages.end().0 {
            joiner.push(next, pages.end().0 - next);
        }
        joiner.finish();
    }

    /// The longest runs of `ReadOnly` pages, ascending. Costs what chunks hold such pages.
    pub(crate) fn read_only_runs(&self) -> Vec<PageRun> {
        let mut runs = Vec::new();
        let mut joiner = Joiner {
            pending: None,
            visit: &mut |run| runs.push(run),
        };
        for number in &self.watched {
            let chunk = &self.chunks[number];
            for (word, first) in chunk
                .read_only
                .0
                .iter()
                .zip((number * CHUNK_PAGES..).step_by(64))
            {
                runs_of_bits(*word, |at, count| joiner.push(first + at, count));
            }
        }
        joiner.finish();
        runs
    }
}

impl Chunk {
    fn new() -> Box<Self> {
        Box::new(Self {
            valid: 0,
            read_only: ReadOnly([0; CHUNK_PAGES as usize / 64]),
            access: [Access::Invalid; CHUNK_PAGES as usize],
        })
    }

    /// Sets a part and returns how many pages are valid then.
    fn fill(&mut self, within: std::ops::Range<usize>, access: Access) -> u32 {
        self.read_only
            .set(within.clone(), access == Access::ReadOnly);
        let part = &mut self.access[within];
        let valid = part.iter().filter(|old| **old != Access::Invalid).count() as u32;
        let all = part.len() as u32;
        self.valid = self.valid - valid + if access == Access::Invalid { 0 } else { all };
        part.fill(access);
        self.valid
    }
}

impl ReadOnly {
    fn any(&self) -> bool {
        self.0.iter().any(|word| *word != 0)
    }

    fn set(&mut self, within: std::ops::Range<usize>, to: bool) {
        let mut at = within.start;
        while at < within.end {
            let (word, bit) = (at / 64, at % 64);
            let count = (within.end - at).min(64 - bit);
            let bits = (u64::MAX >> (64 - count)) << bit;
            if to {
                self.0[word] |= bits;
            } else {
                self.0[word] &= !bits;
            }
            at += count;
        }
    }
}

/// Calls `visit` with the place and the length of each run of ones.
fn runs_of_bits(mut word: u64, mut visit: impl FnMut(u64, u64)) {
    let mut at = 0;
    while word != 0 {
        let zeros = word.trailing_zeros();
        word >>= zeros;
        let ones = word.trailing_ones();
        visit(u64::from(at + zeros), ones.into());
        word = word.checked_shr(ones).unwrap_or(0);
        at += zeros + ones;
    }
}

/// Joins ascending runs and hands on the joined ones.
struct Joiner<'a, F: FnMut(PageRun)> {
    pending: Option<PageRun>,
    visit: &'a mut F,
}

impl<F: FnMut(PageRun)> Joiner<'_, F> {
    fn push(&mut self, first: u64, count: u64) {
        match &mut self.pending {
            Some(run) if run.end().0 == first => run.count += count,
            pending => {
                if let Some(done) = pending.replace(PageRun {
                    first: PageId(first),
                    count,
                }) {
                    (self.visit)(done);
                }
            }
        }
    }

    fn finish(self) {
        if let Some(done) = self.pending {
            (self.visit)(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, count: u64) -> PageRun {
        PageRun {
            first: PageId(first),
            count,
        }
    }

    fn where_is(map: &AccessMap, pages: PageRun, access: Access) -> Vec<PageRun> {
        let mut found = Vec::new();
        map.runs_where(pages, |state| state == access, |run| found.push(run));
        found
    }

    #[test]
    fn a_map_equals_a_plain_list_after_random_changes() {
        const PAGES: u64 = 5 * CHUNK_PAGES + 100;
        let mut map = AccessMap::default();
        let mut list = vec![Access::Invalid; PAGES as usize];
        let mut random = 1u64;
        let mut draw = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for _ in 0..2_000 {
            let first = draw(PAGES);
            let longest = if draw(3) == 0 { PAGES } else { 7 };
            let count = 1 + draw(longest.min(PAGES - first));
            let access = [Access::Invalid, Access::ReadOnly, Access::ReadWrite][draw(3) as usize];
            map.set(run(first, count), access);
            list[first as usize..(first + count) as usize].fill(access);

            let from = draw(PAGES);
            let asked = run(from, 1 + draw(PAGES - from));
            for state in [Access::Invalid, Access::ReadOnly, Access::ReadWrite] {
                let expected =
                    PageRun::join(asked.pages().filter(|page| list[page.0 as usize] == state));
                assert_eq!(where_is(&map, asked, state), expected);
            }
            assert_eq!(map.get(PageId(first)), access);
            let watched = (0..PAGES).filter(|page| list[*page as usize] == Access::ReadOnly);
            assert_eq!(map.read_only_runs(), PageRun::join(watched.map(PageId)));
        }
        map.set(run(0, PAGES), Access::Invalid);
        assert!(
            map.chunks.is_empty() && map.watched.is_empty(),
            "chunks without a valid page are removed"
        );
    }

    #[test]
    fn forgetting_a_terabyte_visits_only_what_exists() {
        let mut map = AccessMap::default();
        map.set(run(1 << 27, 1), Access::ReadOnly);
        let all = run(0, 1 << 28);
        assert_eq!(where_is(&map, all, Access::ReadOnly), [run(1 << 27, 1)]);
        map.set(all, Access::Invalid);
        assert!(map.chunks.is_empty());
    }

    #[test]
    fn read_only_runs_are_all_read_only_pages_joined_across_chunks() {
        let mut map = AccessMap::default();
        map.set(run(CHUNK_PAGES - 2, 5), Access::ReadOnly);
        map.set(run(CHUNK_PAGES * 2, 9), Access::ReadWrite);
        map.set(run(CHUNK_PAGES * 2 + 4, 1), Access::ReadOnly);
        let expected = [run(CHUNK_PAGES - 2, 5), run(CHUNK_PAGES * 2 + 4, 1)];
        assert_eq!(map.read_only_runs(), expected);
        map.set(run(0, CHUNK_PAGES * 3), Access::ReadWrite);
        assert_eq!(map.read_only_runs(), []);
    }
}
