//! What is done with every byte of a page: comparing, gathering and scattering. Here are the table of these
//! functions and its portable row.
//!
//! Deliberately elsewhere: the rows for vector instructions, which need `unsafe` (`hivemind-memory`), and what
//! the bytes mean (`diff`).

use crate::mask::{ByteMask, Extent, MARKS, WORD, marked_bytes};
use crate::{PAGE_SIZE, PageBytes};
use alloc::vec::Vec;

/// The functions that touch every byte of a page. Every row of this table does the same, byte for byte; which one a
/// core takes is its memory's business ([`Memory::kernels`](crate::Memory::kernels)) and changes nothing but its speed.
///
/// ```
/// use hivemind_protocol::{Kernels, PAGE_SIZE};
/// let (old, mut new) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
/// new[5] = 1;
/// let mask = (Kernels::PORTABLE.compare)(&old, &new);
/// assert_eq!((Kernels::PORTABLE.measure)(&mask).bytes, 1);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// What the row is called, for people.
    pub name: &'static str,
    /// Which bytes of two pages differ.
    pub compare: fn(&PageBytes, &PageBytes) -> ByteMask,
    /// How much a mask marks: [`ByteMask::extent`].
    pub measure: fn(&ByteMask) -> Extent,
    /// Appends the marked ones of some bytes, ascending. Bit `b` of number `n` marks byte `64 n + b`; panics unless
    /// there are 64 bytes for each number.
    pub gather: fn(&[u64], &[u8], &mut Vec<u8>),
    /// Writes bytes, one for each mark, to the marked places of others and leaves the rest as it is. Panics when there
    /// are not as many bytes as marks, or not 64 places for each number.
    pub scatter: fn(&[u64], &[u8], &mut [u8]),
}

impl Kernels {
    /// The row that needs nothing of the processor.
    ///
    /// ```
    /// use hivemind_protocol::{Kernels, PAGE_SIZE};
    ///
    /// let Kernels { compare, gather, scatter, .. } = Kernels::PORTABLE;
    /// let (old, mut new, mut bytes) = ([0; PAGE_SIZE], [0; PAGE_SIZE], Vec::new());
    /// (new[7], new[9]) = (1, 2);
    /// let mask = compare(&old, &new);
    /// gather(&mask.0, &new, &mut bytes);
    /// assert_eq!(bytes, [1, 2]);
    /// let mut copy = old;
    /// scatter(&mask.0, &bytes, &mut copy);
    /// assert_eq!(copy, new);
    /// ```
    pub const PORTABLE: Self = Self {
        name: "portable",
        compare,
        measure: ByteMask::extent,
        gather,
        scatter,
    };
}

fn compare(old: &PageBytes, new: &PageBytes) -> ByteMask {
    let mut mask = ByteMask::NONE;
    let chunks = old.chunks_exact(MARKS).zip(new.chunks_exact(MARKS));
    for (marks, (old, new)) in mask.0.iter_mut().zip(chunks) {
        if old == new {
            continue;
        }
        let words = old.chunks_exact(WORD).zip(new.chunks_exact(WORD));
        for (at, (old, new)) in words.enumerate() {
            *marks |= u64::from(marked_bytes(word(old) ^ word(new))) << (at * WORD);
        }
    }
    mask
}

fn gather(mask: &[u64], from: &[u8], into: &mut Vec<u8>) {
    assert_eq!(mask.len() * MARKS, from.len(), "a mark for each byte");
    for (marks, chunk) in mask.iter().zip(from.chunks_exact(MARKS)) {
        match *marks {
            0 => {}
            u64::MAX => into.extend_from_slice(chunk),
            marks => {
                let words = marks
                    .to_le_bytes()
                    .into_iter()
                    .zip(chunk.chunks_exact(WORD));
                for (marks, word) in words.filter(|(marks, _)| *marks != 0) {
                    let (bytes, count) = pack(marks, word);
                    into.extend_from_slice(&bytes[..count]);
                }
            }
        }
    }
}

/// The marked bytes of a word, and how many they are.
fn pack(marks: u8, word: &[u8]) -> ([u8; WORD], usize) {
    let (mut bytes, mut count) = ([0; WORD], 0);
    // Without a branch: the next byte takes the place of one that is not marked.
    for (at, byte) in word.iter().enumerate() {
        bytes[count % WORD] = *byte;
        count += usize::from(marks >> at & 1);
    }
    (bytes, count)
}

fn scatter(mask: &[u64], from: &[u8], into: &mut [u8]) {
    assert_eq!(mask.len() * MARKS, into.len(), "a mark for each place");
    let mut rest = from;
    for (marks, chunk) in mask.iter().zip(into.chunks_exact_mut(MARKS)) {
        let (here, after) = rest.split_at(marks.count_ones() as usize);
        rest = after;
        if here.len() == MARKS {
            chunk.copy_from_slice(here);
            continue;
        }
        let mut marks = *marks;
        for byte in here {
            chunk[marks.trailing_zeros() as usize] = *byte;
            marks &= marks - 1;
        }
    }
    assert!(rest.is_empty(), "a byte for each mark");
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(core::array::from_fn(|at| bytes[at]))
}

const _: () = assert!(PAGE_SIZE.is_multiple_of(MARKS), "a mask has whole numbers");
