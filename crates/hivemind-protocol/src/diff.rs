//! Twins are compared and diffs applied here: pure functions over bytes. When they are made and in which
//! order they apply is decided in `interval` and `fault`.
//!
//! Diffs are exact to the byte: two drones may write neighbouring bytes of one word.

use crate::mutant::{Mutant, mutant};
use crate::{PAGE_SIZE, PageBytes};
use alloc::vec::Vec;

/// Changed bytes that lie side by side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Run {
    /// Where in the page, in bytes.
    pub offset: u16,
    /// How many bytes; never 0.
    pub count: u16,
}

/// What changed in a page: runs of bytes (Keleher et al., USENIX Winter 1994, section 2.3).
///
/// ```
/// use hivemind_protocol::{Diff, PAGE_SIZE};
///
/// let twin = [0; PAGE_SIZE];
/// let mut page = twin;
/// page[10..13].copy_from_slice(&[1, 2, 3]);
/// let diff = Diff::between(&twin, &page);
/// assert_eq!((diff.runs().len(), diff.bytes()), (1, &[1, 2, 3][..]));
///
/// let mut copy = twin; // at another drone
/// diff.apply_to(&mut copy);
/// assert_eq!(copy, page);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct Diff {
    /// Ascending, not touching.
    runs: Vec<Run>,
    /// The new bytes of all runs, one after the other.
    bytes: Vec<u8>,
}

/// How many bytes are compared at once.
const WORD: usize = 8;

impl Diff {
    /// What turns `old` into `new`.
    pub fn between(old: &PageBytes, new: &PageBytes) -> Self {
        let mut diff = Self::default();
        let mut at = 0;
        while at < PAGE_SIZE {
            if same_word(old, new, at) {
                at += WORD;
                continue;
            }
            at = diff.take_word(old, new, at);
        }
        diff
    }

    /// Checks runs and bytes that came over the wire: ascending, not overlapping, inside the page.
    pub fn from_parts(runs: Vec<Run>, bytes: Vec<u8>) -> Option<Self> {
        let mut end = 0;
        let mut total = 0;
        for run in &runs {
            if run.count == 0 || usize::from(run.offset) < end {
                return None;
            }
            end = usize::from(run.offset) + usize::from(run.count);
            total += usize::from(run.count);
        }
        (end <= PAGE_SIZE && total == bytes.len()).then_some(Self { runs, bytes })
    }

    /// Writes the changed bytes through `put(offset, bytes)`.
    pub fn apply(&self, mut put: impl FnMut(usize, &[u8])) {
        let mut at = 0;
        for run in &self.runs {
            let count = usize::from(run.count);
            put(usize::from(run.offset), &self.bytes[at..at + count]);
            at += count;
        }
    }

    /// Writes the changed bytes into a copy of the page.
    pub fn apply_to(&self, page: &mut PageBytes) {
        self.apply(|offset, bytes| page[offset..offset + bytes.len()].copy_from_slice(bytes));
    }

    /// One diff that does what `self` and then `later` do.
    pub fn then(&self, later: &Self) -> Self {
        let mut page = [0; PAGE_SIZE];
        let mut touched = [0; PAGE_SIZE];
        for diff in [self, later] {
            diff.apply(|offset, bytes| {
                page[offset..offset + bytes.len()].copy_from_slice(bytes);
                touched[offset..offset + bytes.len()].fill(1);
            });
        }
        let mut merged = Self::default();
        for at in 0..PAGE_SIZE {
            if touched[at] == 1 {
                merged.push(at, page[at]);
            }
        }
        merged
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The runs, ascending.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The new bytes of all runs, one after the other.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its size in memory and, nearly, on the wire, in bytes.
    pub fn size(&self) -> usize {
        self.runs.len() * size_of::<Run>() + self.bytes.len()
    }

    /// Takes the changed bytes of the word at `at`; gives where to go on.
    fn take_word(&mut self, old: &PageBytes, new: &PageBytes, at: usize) -> usize {
        for place in at..at + WORD {
            if old[place] != new[place] || mutant(Mutant::WholeWords) {
                self.push(place, new[place]);
            }
        }
        at + WORD
    }

    fn push(&mut self, at: usize, byte: u8) {
        match self.runs.last_mut() {
            Some(last) if usize::from(last.offset) + usize::from(last.count) == at => {
                last.count += 1;
            }
            // A place in a page fits into 16 bits: PAGE_SIZE is 4096.
            _ => self.runs.push(Run {
                offset: at as u16,
                count: 1,
            }),
        }
        self.bytes.push(byte);
    }
}

fn same_word(old: &PageBytes, new: &PageBytes, at: usize) -> bool {
    old[at..at + WORD] == new[at..at + WORD]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(writes: &[(usize, u8)]) -> PageBytes {
        let mut page = [0; PAGE_SIZE];
        for (at, byte) in writes {
            page[*at] = *byte;
        }
        page
    }

    fn writes() -> impl Strategy<Value = Vec<(usize, u8)>> {
        proptest::collection::vec((0..PAGE_SIZE, any::<u8>()), 0..200)
    }

    proptest! {
        #[test]
        fn a_diff_turns_the_twin_into_the_page(old in writes(), new in writes()) {
            let (old, new) = (page(&old), page(&new));
            let mut copy = old;
            Diff::between(&old, &new).apply_to(&mut copy);
            prop_assert!(copy == new);
        }

        #[test]
        fn a_diff_touches_no_byte_that_did_not_change(old in writes(), new in writes()) {
            let (old, new) = (page(&old), page(&new));
            Diff::between(&old, &new).apply(|offset, bytes| {
                for (place, byte) in bytes.iter().enumerate() {
                    assert_ne!(old[offset + place], *byte);
                }
            });
        }

        #[test]
        fn merged_diffs_do_what_both_do(a in writes(), b in writes(), base in writes()) {
            let zero = page(&[]);
            let (a, b) = (Diff::between(&zero, &page(&a)), Diff::between(&zero, &page(&b)));
            let (mut one, mut two) = (page(&base), page(&base));
            a.apply_to(&mut one);
            b.apply_to(&mut one);
            a.then(&b).apply_to(&mut two);
            prop_assert!(one == two);
        }
    }

    #[test]
    fn parts_that_overlap_or_leave_the_page_are_refused() {
        let run = |offset, count| Run { offset, count };
        assert!(Diff::from_parts(alloc::vec![run(4090, 7)], alloc::vec![0; 7]).is_none());
        assert!(Diff::from_parts(alloc::vec![run(8, 4), run(10, 4)], alloc::vec![0; 8]).is_none());
        assert!(Diff::from_parts(alloc::vec![run(8, 0)], alloc::vec![]).is_none());
        assert!(Diff::from_parts(alloc::vec![run(8, 2)], alloc::vec![0; 3]).is_none());
        assert!(Diff::from_parts(alloc::vec![run(4090, 6)], alloc::vec![0; 6]).is_some());
    }
}
