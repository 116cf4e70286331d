//! A mark for each byte of a page: which of them a diff holds. Pure; where marks come from is in `kernels`, how
//! they travel in `diff`.

use crate::PAGE_SIZE;

/// How many bytes of a page one number of the mask marks.
pub(crate) const MARKS: usize = 64;

/// How many bytes a word has: what a diff's short form of a mask counts in.
pub(crate) const WORD: usize = 8;

/// Which bytes of a page are marked: bit `b` of number `n` stands for byte `64 n + b`.
///
/// ```
/// use hivemind_protocol::ByteMask;
/// let mut mask = ByteMask::NONE;
/// mask.mark(65, 2);
/// assert_eq!(mask.0[1], 0b110);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(align(64))]
pub struct ByteMask(pub [u64; PAGE_SIZE / MARKS]);

/// How much a mask marks.
///
/// ```
/// use hivemind_protocol::ByteMask;
/// let mut mask = ByteMask::NONE;
/// mask.mark(8, 2);
/// let extent = mask.extent();
/// assert_eq!((extent.bytes, extent.runs, extent.words[0]), (2, 1, 0b10));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// How many bytes.
    pub bytes: usize,
    /// In how many runs they lie.
    pub runs: usize,
    /// In which words of 8 bytes: bit `b` of number `n` stands for word `64 n + b`.
    pub words: [u64; PAGE_SIZE / WORD / MARKS],
}

impl ByteMask {
    /// No byte is marked.
    ///
    /// ```
    /// use hivemind_protocol::ByteMask;
    /// assert_eq!(ByteMask::NONE.extent().bytes, 0);
    /// ```
    pub const NONE: Self = Self([0; PAGE_SIZE / MARKS]);

    /// Marks `count` bytes from `offset` on.
    ///
    /// ```
    /// use hivemind_protocol::ByteMask;
    ///
    /// let mut mask = ByteMask::NONE;
    /// mask.mark(10, 3);
    /// mask.mark(4095, 1);
    /// assert_eq!((mask.extent().bytes, mask.extent().runs), (4, 2));
    /// ```
    ///
    /// # Panics
    /// When they reach beyond the page.
    pub fn mark(&mut self, offset: usize, count: usize) {
        let (mut at, end) = (offset, offset + count);
        assert!(end <= PAGE_SIZE, "bytes {at} to {end} of a page are marked");
        while at < end {
            let bit = at % MARKS;
            let here = (MARKS - bit).min(end - at);
            self.0[at / MARKS] |= (u64::MAX >> (MARKS - here)) << bit;
            at += here;
        }
    }

    /// Marks what `other` marks, too.
    pub(crate) fn include(&mut self, other: &Self) {
        for (marks, others) in self.0.iter_mut().zip(&other.0) {
            *marks |= others;
        }
    }

    /// Marks all bytes of every word that has a mark.
    pub(crate) fn widen(&mut self) {
        for marks in &mut self.0 {
            let words = marked_bytes(*marks);
            *marks = u64::from_le_bytes(core::array::from_fn(|word| 0xff * (words >> word & 1)));
        }
    }

    /// Counts what the sizes of a diff's forms depend on. One code for every row of kernels: each compiles it in for
    /// the instructions that it may use.
    ///
    /// ```
    /// use hivemind_protocol::ByteMask;
    /// let mut mask = ByteMask::NONE;
    /// mask.mark(0, 3);
    /// mask.mark(100, 1);
    /// assert_eq!((mask.extent().bytes, mask.extent().runs), (4, 2));
    /// ```
    #[inline(always)]
    pub fn extent(&self) -> Extent {
        let marks = &self.0;
        let ones = |number: u64| u64::from(number.count_ones());
        // Each loop by itself and without a branch, so that the compiler finds instructions for several numbers.
        let bytes: u64 = marks.iter().map(|marks| ones(*marks)).sum();
        let starts =
            |(marks, before): (&u64, &u64)| ones(marks & !(marks << 1 | before >> (MARKS - 1)));
        let runs: u64 =
            starts((&marks[0], &0)) + marks[1..].iter().zip(marks).map(starts).sum::<u64>();
        let words = marks.map(marked_bytes);
        let number = |at: usize| core::array::from_fn(|byte| words[at * WORD + byte]);
        Extent {
            bytes: bytes as usize,
            runs: runs as usize,
            words: core::array::from_fn(|at| u64::from_le_bytes(number(at))),
        }
    }

    /// The marks as bytes: one for each word.
    pub(crate) fn to_bytes(self) -> [u8; PAGE_SIZE / WORD] {
        core::array::from_fn(|at| (self.0[at / WORD] >> (at % WORD * WORD)) as u8)
    }

    /// What [`to_bytes`](Self::to_bytes) gave.
    pub(crate) fn of_bytes(bytes: &[u8; PAGE_SIZE / WORD]) -> Self {
        let marks = |at: usize| core::array::from_fn(|byte| bytes[at * WORD + byte]);
        Self(core::array::from_fn(|at| u64::from_le_bytes(marks(at))))
    }

    /// The runs of marked bytes, ascending: where each begins and how many bytes it has.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (usize, usize)> {
        let mut next = 0;
        core::iter::from_fn(move || {
            let start = self.next(next, 0)?;
            next = self.next(start, u64::MAX).unwrap_or(PAGE_SIZE);
            Some((start, next - start))
        })
    }

    /// The first byte from `from` on whose mark differs from those of `all`.
    fn next(&self, from: usize, all: u64) -> Option<usize> {
        let mut at = from / MARKS;
        let mut differs = (self.0.get(at)? ^ all) & (u64::MAX << (from % MARKS));
        while differs == 0 {
            at += 1;
            differs = self.0.get(at)? ^ all;
        }
        Some(at * MARKS + differs.trailing_zeros() as usize)
    }
}

/// Which of a number's eight bytes are not 0: a bit for each.
#[inline(always)]
pub(crate) fn marked_bytes(number: u64) -> u8 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    // The high bit of each byte says whether the byte has any; then the eight bits are brought together.
    let high = (((number & LOW) + LOW) | number) & !LOW;
    ((high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_mask_is_what_its_marks_are(runs in proptest::collection::vec((0..PAGE_SIZE, 1usize..200), 0..60)) {
            let (mut mask, mut marked) = (ByteMask::NONE, [false; PAGE_SIZE]);
            for (offset, count) in runs {
                let count = count.min(PAGE_SIZE - offset);
                mask.mark(offset, count);
                marked[offset..offset + count].fill(true);
            }
            let extent = mask.extent();
            prop_assert_eq!(extent.bytes, marked.iter().filter(|marked| **marked).count());
            let mut found = [false; PAGE_SIZE];
            let listed: Vec<(usize, usize)> = mask.runs().collect();
            for &(start, count) in &listed {
                prop_assert!(count > 0 && (start == 0 || !marked[start - 1]), "runs touch");
                found[start..start + count].fill(true);
            }
            prop_assert!(found == marked);
            prop_assert_eq!(listed.len(), extent.runs);
            prop_assert!(ByteMask::of_bytes(&mask.to_bytes()) == mask);
            for (at, word) in marked.chunks(WORD).enumerate() {
                prop_assert_eq!(extent.words[at / 64] >> (at % 64) & 1 == 1, word.contains(&true));
            }
            mask.widen();
            for (at, marked) in marked.chunks(WORD).enumerate().flat_map(|(word, marks)| {
                let any = marks.contains(&true);
                (word * WORD..word * WORD + WORD).map(move |at| (at, any))
            }) {
                prop_assert_eq!(mask.0[at / MARKS] >> (at % MARKS) & 1 == 1, marked);
            }
        }

        #[test]
        fn bytes_of_a_number_are_told_apart(bytes in any::<[u8; 8]>(), zeros in any::<u8>()) {
            let bytes: [u8; 8] = core::array::from_fn(|at| bytes[at] * (zeros >> at & 1));
            for (at, byte) in bytes.iter().enumerate() {
                prop_assert_eq!(marked_bytes(u64::from_le_bytes(bytes)) >> at & 1 == 1, *byte != 0);
            }
        }
    }
}
