//! Twins are compared and diffs applied here: pure functions over bytes. When they are made and in which
//! order they apply is decided in `interval` and `fault`; how each byte is compared and moved, in `kernels`.
//!
//! Diffs are exact to the byte: two drones may write neighbouring bytes of one word.

use crate::kernels::Kernels;
use crate::mask::{ByteMask, Extent, MARKS, WORD};
use crate::mutant::{Mutant, mutant};
use crate::{Memory, PAGE_SIZE, PageBytes, PageId};
use alloc::vec::Vec;
use core::fmt;

/// Changed bytes that lie side by side.
///
/// ```
/// use hivemind_protocol::{Diff, Kernels, PAGE_SIZE, Run};
/// let (old, mut new) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
/// new[8..10].copy_from_slice(&[1, 2]);
/// let diff = Diff::between(&Kernels::PORTABLE, &old, &new).expect("they differ");
/// assert_eq!(diff.runs(), [Run { offset: 8, count: 2 }]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Run {
    /// Where in the page, in bytes.
    pub offset: u16,
    /// How many bytes; never 0.
    pub count: u16,
}

/// What changed in a page (Keleher et al., USENIX Winter 1994, section 2.3): at least one byte, and where it lies.
///
/// It is kept as it travels, in the smaller of two forms. Either way the new bytes follow, ascending:
///
/// - runs: a byte `1`, their number (`u16`), and each one's offset and count (`u16`);
/// - a mask: a byte `2`, a bit for each word of 8 bytes that changed (64 bytes), and for each of these words a byte
///   with a bit for each of its bytes.
///
/// ```
/// use hivemind_protocol::{Diff, Kernels, PAGE_SIZE};
///
/// let (portable, twin) = (&Kernels::PORTABLE, [0; PAGE_SIZE]);
/// let mut page = twin;
/// page[10..13].copy_from_slice(&[1, 2, 3]);
/// let diff = Diff::between(portable, &twin, &page).expect("something changed");
/// assert_eq!((diff.runs().len(), diff.bytes()), (1, &[1, 2, 3][..]));
///
/// let mut copy = twin; // at another drone
/// diff.apply(portable, &mut copy);
/// assert_eq!(copy, page);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Diff {
    encoded: Vec<u8>,
}

/// The form's tag, the number of runs.
const RUNS_HEAD: usize = 1 + size_of::<u16>();
const RUN: usize = 2 * size_of::<u16>();
/// The form's tag, the map of changed words.
const MASK_HEAD: usize = 1 + PAGE_SIZE / MARKS;
const RUNS: u8 = 1;
const MASK: u8 = 2;

impl Diff {
    /// The fewest bytes that a diff has: one run of one byte.
    pub(crate) const LEAST_BYTES: usize = RUNS_HEAD + RUN + 1;

    /// What turns `old` into `new`; nothing where they are the same.
    ///
    /// ```
    /// use hivemind_protocol::{Diff, Kernels, PAGE_SIZE};
    /// let (old, mut new) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
    /// new[8..10].copy_from_slice(&[1, 2]);
    /// let diff = Diff::between(&Kernels::PORTABLE, &old, &new).expect("they differ");
    /// assert_eq!(Diff::between(&Kernels::PORTABLE, &new, &new), None);
    /// ```
    pub fn between(kernels: &Kernels, old: &PageBytes, new: &PageBytes) -> Option<Self> {
        let mut changed = (kernels.compare)(old, new);
        if mutant(Mutant::WholeWords) {
            changed.widen();
        }
        Self::of(kernels, &changed, new)
    }

    /// The marked bytes of a page, in whichever form is smaller.
    fn of(kernels: &Kernels, changed: &ByteMask, page: &PageBytes) -> Option<Self> {
        if *changed == ByteMask::NONE {
            return None;
        }
        let Extent { bytes, runs, words } = (kernels.measure)(changed);
        let as_runs = RUNS_HEAD + runs * RUN;
        let as_mask = MASK_HEAD + count(&words);
        let mut encoded = Vec::with_capacity(as_runs.min(as_mask) + bytes);
        if as_runs <= as_mask {
            encoded.push(RUNS);
            // A page has at most 2048 runs, and a place in it fits into 16 bits.
            encoded.extend_from_slice(&(runs as u16).to_le_bytes());
            for (offset, count) in changed.runs() {
                encoded.extend_from_slice(&(offset as u16).to_le_bytes());
                encoded.extend_from_slice(&(count as u16).to_le_bytes());
            }
        } else {
            encoded.push(MASK);
            encoded.extend(words.iter().flat_map(|words| words.to_le_bytes()));
            (kernels.gather)(&words, &changed.to_bytes(), &mut encoded);
        }
        (kernels.gather)(&changed.0, page, &mut encoded);
        Some(Self { encoded })
    }

    /// Reads the diff that `bytes` begin with; gives what follows it, too. Nothing where no diff stands there: one
    /// that is cut short, that holds no byte, or whose runs are empty, touch, are out of order or leave the page.
    ///
    /// Allocates no more than the diff takes of `bytes`.
    ///
    /// ```
    /// use hivemind_protocol::{Diff, Kernels, PAGE_SIZE};
    /// let (old, mut new) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
    /// new[8..10].copy_from_slice(&[1, 2]);
    /// let diff = Diff::between(&Kernels::PORTABLE, &old, &new).expect("they differ");
    /// let mut bytes = diff.encoded().to_vec();
    /// bytes.push(9);
    /// assert_eq!(Diff::decode(&bytes), Some((diff, &[9][..])));
    /// ```
    pub fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let head = match *bytes.first()? {
            RUNS => runs_head(bytes)?,
            MASK => mask_head(bytes)?,
            _ => return None,
        };
        let (encoded, rest) = bytes.split_at_checked(head.bytes + head.changed)?;
        let encoded = encoded.to_vec();
        (head.changed > 0).then_some((Self { encoded }, rest))
    }

    /// Its wire form, which [`decode`](Self::decode) reads.
    ///
    /// ```
    /// use hivemind_protocol::{Diff, Kernels, PAGE_SIZE};
    /// let (old, mut new) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
    /// new[8..10].copy_from_slice(&[1, 2]);
    /// let diff = Diff::between(&Kernels::PORTABLE, &old, &new).expect("they differ");
    /// assert_eq!(diff.encoded().len(), diff.size());
    /// ```
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Writes the changed bytes into a copy of the page.
    ///
    /// ```
    /// use hivemind_protocol::{Diff, Kernels, PAGE_SIZE};
    /// let (old, mut new) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
    /// new[8..10].copy_from_slice(&[1, 2]);
    /// let diff = Diff::between(&Kernels::PORTABLE, &old, &new).expect("they differ");
    /// let mut copy = old;
    /// diff.apply(&Kernels::PORTABLE, &mut copy);
    /// assert_eq!(copy, new);
    /// ```
    pub fn apply(&self, kernels: &Kernels, page: &mut PageBytes) {
        match self.encoded[0] {
            MASK => (kernels.scatter)(&self.mask(kernels).0, self.bytes(), page),
            _ => self.each_run(|offset, bytes| {
                page[offset..offset + bytes.len()].copy_from_slice(bytes);
            }),
        }
    }

    /// Writes the changed bytes into a page that the program cannot see.
    pub(crate) fn lay<M: Memory>(&self, memory: &mut M, page: PageId) {
        match self.encoded[0] {
            // Many places: one copy out and in, and nobody stores to the page meanwhile (INV-1).
            MASK => {
                let mut bytes = [0; PAGE_SIZE];
                memory.read(page, &mut bytes);
                self.apply(memory.kernels(), &mut bytes);
                memory.write(page, 0, &bytes);
            }
            _ => self.each_run(|offset, bytes| memory.write(page, offset, bytes)),
        }
    }

    /// One diff that does what `self` and then `later` do.
    ///
    /// ```
    /// use hivemind_protocol::{Diff, Kernels, PAGE_SIZE};
    /// let (old, mut new) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
    /// new[8..10].copy_from_slice(&[1, 2]);
    /// let diff = Diff::between(&Kernels::PORTABLE, &old, &new).expect("they differ");
    /// let mut newest = new;
    /// newest[9] = 3;
    /// let later = Diff::between(&Kernels::PORTABLE, &new, &newest).expect("they differ");
    /// assert_eq!(diff.then(&Kernels::PORTABLE, &later).bytes(), [1, 3]);
    /// ```
    pub fn then(&self, kernels: &Kernels, later: &Self) -> Self {
        let mut page = [0; PAGE_SIZE];
        let mut changed = self.mask(kernels);
        changed.include(&later.mask(kernels));
        self.apply(kernels, &mut page);
        later.apply(kernels, &mut page);
        Self::of(kernels, &changed, &page).expect("a diff holds at least one byte")
    }

    /// The runs of changed bytes, ascending, not touching.
    ///
    /// ```
    /// use hivemind_protocol::{Diff, Kernels, PAGE_SIZE};
    /// let (old, mut new) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
    /// new[8..10].copy_from_slice(&[1, 2]);
    /// let diff = Diff::between(&Kernels::PORTABLE, &old, &new).expect("they differ");
    /// assert_eq!((diff.runs()[0].offset, diff.runs()[0].count), (8, 2));
    /// ```
    pub fn runs(&self) -> Vec<Run> {
        let mask = self.mask(&Kernels::PORTABLE);
        let runs = mask.runs().map(|(offset, count)| Run {
            offset: offset as u16,
            count: count as u16,
        });
        runs.collect()
    }

    /// The new bytes of all runs, one after the other.
    ///
    /// ```
    /// use hivemind_protocol::{Diff, Kernels, PAGE_SIZE};
    /// let (old, mut new) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
    /// new[8..10].copy_from_slice(&[1, 2]);
    /// let diff = Diff::between(&Kernels::PORTABLE, &old, &new).expect("they differ");
    /// assert_eq!(diff.bytes(), [1, 2]);
    /// ```
    pub fn bytes(&self) -> &[u8] {
        let head = match self.encoded[0] {
            MASK => MASK_HEAD + count(&words(&self.encoded)),
            _ => RUNS_HEAD + self.run_entries().len() * RUN,
        };
        &self.encoded[head..]
    }

    /// Its size on the wire and, nearly, in memory, in bytes.
    ///
    /// ```
    /// use hivemind_protocol::{Diff, Kernels, PAGE_SIZE};
    /// let (old, mut new) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
    /// new[8..10].copy_from_slice(&[1, 2]);
    /// let diff = Diff::between(&Kernels::PORTABLE, &old, &new).expect("they differ");
    /// assert!(diff.size() < PAGE_SIZE / 100);
    /// ```
    pub fn size(&self) -> usize {
        self.encoded.len()
    }

    /// Which bytes changed.
    fn mask(&self, kernels: &Kernels) -> ByteMask {
        match self.encoded[0] {
            MASK => {
                let (words, mut marks) = (words(&self.encoded), [0; PAGE_SIZE / WORD]);
                let given = &self.encoded[MASK_HEAD..MASK_HEAD + count(&words)];
                (kernels.scatter)(&words, given, &mut marks);
                ByteMask::of_bytes(&marks)
            }
            _ => {
                let mut mask = ByteMask::NONE;
                for run in self.run_entries() {
                    mask.mark(run.offset.into(), run.count.into());
                }
                mask
            }
        }
    }

    /// Of runs: each of them.
    fn run_entries(&self) -> impl ExactSizeIterator<Item = Run> {
        let count = usize::from(number(&self.encoded[1..]));
        let entries = &self.encoded[RUNS_HEAD..RUNS_HEAD + count * RUN];
        entries.chunks_exact(RUN).map(run)
    }

    /// Of runs: each one's place and bytes.
    fn each_run(&self, mut put: impl FnMut(usize, &[u8])) {
        let mut rest = self.bytes();
        for run in self.run_entries() {
            let (bytes, after) = rest.split_at(run.count.into());
            rest = after;
            put(run.offset.into(), bytes);
        }
    }
}

impl fmt::Debug for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.runs().into_iter();
        let runs: Vec<(u16, u16)> = runs.map(|run| (run.offset, run.count)).collect();
        f.debug_struct("Diff")
            .field("runs", &runs)
            .field("bytes", &self.bytes())
            .finish()
    }
}

/// What a diff's head says: how long it is, and how many bytes follow it.
struct Head {
    bytes: usize,
    changed: usize,
}

/// Checks the head of the form [`RUNS`]: ascending, not touching, inside the page.
fn runs_head(bytes: &[u8]) -> Option<Head> {
    let count = usize::from(number(bytes.get(1..RUNS_HEAD)?));
    let head = RUNS_HEAD + count * RUN;
    // The first may begin with the page; every other leaves a gap of at least one byte.
    let (mut least, mut changed) = (0, 0);
    for run in bytes.get(RUNS_HEAD..head)?.chunks_exact(RUN).map(run) {
        let (offset, count) = (usize::from(run.offset), usize::from(run.count));
        if count == 0 || offset < least || offset + count > PAGE_SIZE {
            return None;
        }
        least = offset + count + 1;
        changed += count;
    }
    Some(Head {
        bytes: head,
        changed,
    })
}

/// Checks the head of the form [`MASK`]: each word that it names has a changed byte.
fn mask_head(bytes: &[u8]) -> Option<Head> {
    let words = count(&words(bytes.get(..MASK_HEAD)?));
    let marks = bytes.get(MASK_HEAD..MASK_HEAD + words)?;
    let changed = marks.iter().map(|marks| marks.count_ones() as usize).sum();
    (!marks.contains(&0)).then_some(Head {
        bytes: MASK_HEAD + words,
        changed,
    })
}

/// Of a mask: its map of changed words.
fn words(encoded: &[u8]) -> [u64; PAGE_SIZE / WORD / MARKS] {
    let byte = |at: usize| encoded[1 + at];
    core::array::from_fn(|at| u64::from_le_bytes(core::array::from_fn(|b| byte(at * WORD + b))))
}

fn count(words: &[u64]) -> usize {
    words.iter().map(|words| words.count_ones() as usize).sum()
}

fn run(entry: &[u8]) -> Run {
    Run {
        offset: number(entry),
        count: number(&entry[2..]),
    }
}

fn number(bytes: &[u8]) -> u16 {
    u16::from_le_bytes([bytes[0], bytes[1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    const PORTABLE: &Kernels = &Kernels::PORTABLE;

    /// Changes of a page from one byte to all, in runs of every length at every place.
    fn changes() -> impl Strategy<Value = Vec<(usize, u8)>> {
        let bytes = proptest::collection::vec((0..PAGE_SIZE, any::<u8>()), 0..200);
        let run = (0..PAGE_SIZE, 1..PAGE_SIZE, 1usize..9, any::<u8>());
        let runs = proptest::collection::vec(run, 0..4).prop_map(|runs| {
            let run = |(start, count, step, byte): (usize, usize, usize, u8)| {
                let end = (start + count).min(PAGE_SIZE);
                (start..end).step_by(step).map(move |at| (at, byte))
            };
            runs.into_iter().flat_map(run).collect()
        });
        prop_oneof![bytes, runs]
    }

    fn changed(page: &PageBytes, changes: &[(usize, u8)]) -> PageBytes {
        let mut page = *page;
        for (at, byte) in changes {
            page[*at] = *byte;
        }
        page
    }

    /// The runs of bytes that differ, found byte by byte.
    fn plain_runs(old: &PageBytes, new: &PageBytes) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for at in (0..PAGE_SIZE).filter(|&at| old[at] != new[at]) {
            match runs.last_mut() {
                Some(last) if usize::from(last.offset + last.count) == at => last.count += 1,
                _ => runs.push(Run {
                    offset: at as u16,
                    count: 1,
                }),
            }
        }
        runs
    }

    /// The sizes of both forms, counted byte by byte.
    fn plain_sizes(old: &PageBytes, new: &PageBytes) -> (usize, usize) {
        let bytes = (0..PAGE_SIZE).filter(|&at| old[at] != new[at]).count();
        let words = old.chunks(8).zip(new.chunks(8));
        let words = words.filter(|(old, new)| old != new).count();
        let runs = plain_runs(old, new).len();
        (3 + 4 * runs + bytes, 65 + words + bytes)
    }

    fn check(old: &PageBytes, new: &PageBytes) {
        let Some(diff) = Diff::between(PORTABLE, old, new) else {
            assert!(old == new, "a change was not found");
            return;
        };
        assert_eq!(diff.runs(), plain_runs(old, new), "not what changed");
        let expected: Vec<u8> = (0..PAGE_SIZE)
            .filter(|&at| old[at] != new[at])
            .map(|at| new[at])
            .collect();
        assert_eq!(diff.bytes(), expected);
        let (as_runs, as_mask) = plain_sizes(old, new);
        assert_eq!(diff.size(), as_runs.min(as_mask), "not the smaller form");
        // What did not change in `old` is another drone's here, and stays.
        let mut copy = old.map(|byte| !byte);
        diff.apply(PORTABLE, &mut copy);
        for at in 0..PAGE_SIZE {
            let expected = if old[at] != new[at] {
                new[at]
            } else {
                !old[at]
            };
            assert_eq!(copy[at], expected, "byte {at}");
        }
        let mut sent = diff.encoded().to_vec();
        sent.extend_from_slice(b"next");
        assert_eq!(Diff::decode(&sent), Some((diff, &b"next"[..])));
    }

    proptest! {
        #[test]
        fn a_diff_holds_what_changed_and_nothing_else(base in changes(), changes in changes()) {
            let old = changed(&[0; PAGE_SIZE], &base);
            check(&old, &changed(&old, &changes));
        }

        #[test]
        fn merged_diffs_do_what_both_do(a in changes(), b in changes(), base in changes()) {
            let zero = [0; PAGE_SIZE];
            let between = |changes: &[(usize, u8)]| {
                Diff::between(PORTABLE, &zero, &changed(&zero, changes))
            };
            if let (Some(a), Some(b)) = (between(&a), between(&b)) {
                let mut one = changed(&zero, &base);
                let mut two = one;
                a.apply(PORTABLE, &mut one);
                b.apply(PORTABLE, &mut one);
                a.then(PORTABLE, &b).apply(PORTABLE, &mut two);
                prop_assert!(one == two);
            }
        }

        #[test]
        fn what_is_read_is_what_is_there(bytes in proptest::collection::vec(any::<u8>(), 0..300), tag in 0u8..4) {
            let bytes: Vec<u8> = core::iter::once(tag).chain(bytes).collect();
            if let Some((diff, rest)) = Diff::decode(&bytes) {
                prop_assert_eq!([diff.encoded(), rest].concat(), bytes);
                let bytes: usize = diff.runs().iter().map(|run| usize::from(run.count)).sum();
                prop_assert_eq!(bytes, diff.bytes().len());
            }
        }
    }

    #[test]
    fn few_bytes_and_all_bytes_travel_as_runs_and_scattered_ones_as_a_mask() {
        let size = |every: usize| {
            let new = core::array::from_fn(|at| (at % every == 0).into());
            check(&[0; PAGE_SIZE], &new);
            Diff::between(PORTABLE, &[0; PAGE_SIZE], &new).map(|diff| diff.size())
        };
        assert_eq!(size(PAGE_SIZE), Some(3 + 4 + 1));
        assert_eq!(size(1), Some(3 + 4 + PAGE_SIZE), "one run, no more");
        assert_eq!(size(2), Some(65 + 512 + PAGE_SIZE / 2));
        assert_eq!(size(64), Some(65 + 64 + 64));
    }

    fn of_runs(runs: &[(u16, u16)], bytes: usize) -> Vec<u8> {
        let mut encoded = vec![RUNS];
        encoded.extend_from_slice(&(runs.len() as u16).to_le_bytes());
        for number in runs.iter().flat_map(|(offset, count)| [offset, count]) {
            encoded.extend_from_slice(&number.to_le_bytes());
        }
        encoded.resize(encoded.len() + bytes, 0);
        encoded
    }

    fn is_taken(bytes: &[u8]) -> bool {
        Diff::decode(bytes).is_some()
    }

    #[test]
    fn runs_that_touch_overlap_or_leave_the_page_are_refused() {
        assert!(is_taken(&of_runs(&[(4090, 6)], 6)));
        assert!(!is_taken(&of_runs(&[(4090, 7)], 7)));
        assert!(!is_taken(&of_runs(&[(65535, 65535)], 65535)));
        assert!(is_taken(&of_runs(&[(8, 2), (11, 4)], 6)));
        assert!(!is_taken(&of_runs(&[(8, 2), (10, 4)], 6)), "one run in two");
        assert!(!is_taken(&of_runs(&[(8, 4), (10, 4)], 8)));
        assert!(!is_taken(&of_runs(&[(8, 1), (4, 1)], 2)));
        assert!(!is_taken(&of_runs(&[(8, 0)], 0)));
        assert!(!is_taken(&of_runs(&[(8, 3)], 2)), "cut short");
        assert!(!is_taken(&of_runs(&[], 0)), "nothing changed");
    }

    #[test]
    fn masks_that_are_cut_short_or_name_words_for_nothing_are_refused() {
        let of_mask = |words: &[u8], marks: &[u8], bytes: usize| {
            let mut encoded = vec![MASK];
            encoded.extend_from_slice(words);
            encoded.resize(MASK_HEAD, 0);
            encoded.extend_from_slice(marks);
            encoded.resize(encoded.len() + bytes, 0);
            encoded
        };
        assert!(is_taken(&of_mask(&[5], &[1, 0x81], 3)));
        assert!(!is_taken(&of_mask(&[5], &[1, 0x81], 2)), "a byte lacks");
        assert!(!is_taken(&of_mask(&[5], &[1], 0)), "a word's marks lack");
        assert!(
            !is_taken(&of_mask(&[5], &[1, 0], 1)),
            "a word without a change"
        );
        assert!(!is_taken(&of_mask(&[], &[], 0)), "nothing changed");
        assert!(!is_taken(&of_mask(&[255; 64], &[255; 512], 4095)));
        assert!(is_taken(&of_mask(&[255; 64], &[255; 512], 4096)));
        assert!(!is_taken(&[MASK, 1]));
        assert!(!is_taken(&[0]) && !is_taken(&[3, 0, 0]) && !is_taken(&[]));
    }
}
