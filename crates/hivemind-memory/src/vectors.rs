//! The rows of the core's table of [`Kernels`] for vector instructions, and which of them this processor has. Every row
//! does the same as the portable one, byte for byte; the tests hold them to it.
//!
//! Deliberately elsewhere: the portable row, and what a diff is (`hivemind-protocol`).

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::*;
use std::sync::OnceLock;

use hivemind_protocol::{ByteMask, Extent, Kernels, PAGE_SIZE, PageBytes};

/// The fastest kernels that this processor has. Asks it once.
///
/// ```
/// let kernels = hivemind_memory::kernels();
/// assert!((kernels.compare)(&[1; 4096], &[1; 4096]) == hivemind_protocol::ByteMask::NONE);
/// ```
pub fn kernels() -> &'static Kernels {
    static BEST: OnceLock<&'static Kernels> = OnceLock::new();
    BEST.get_or_init(|| all_kernels()[0])
}

/// All kernels that this processor has, the fastest first. The last is [`Kernels::PORTABLE`].
///
/// ```
/// use hivemind_protocol::Kernels;
/// let all = hivemind_memory::all_kernels();
/// assert_eq!(all.last().unwrap().name, Kernels::PORTABLE.name);
/// ```
pub fn all_kernels() -> Vec<&'static Kernels> {
    let narrow = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
    let wide = narrow
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi2");
    let rows = [(wide, &AVX512), (narrow, &AVX2), (true, &PORTABLE)];
    let here = rows.into_iter().filter(|(is_here, _)| *is_here);
    here.map(|(_, kernels)| kernels).collect()
}

static PORTABLE: Kernels = Kernels::PORTABLE;

/// Needs `avx512f`, `avx512bw`, `avx512vbmi2` and `popcnt`. Only `all_kernels` gives it away, where the processor has them.
static AVX512: Kernels = Kernels {
    name: "avx512",
    // SAFETY: whoever has this row got it from `all_kernels`, which asked the processor. So with the others below.
    compare: |old, new| unsafe { avx512::compare(old, new) },
    // SAFETY: as above.
    measure: |mask| unsafe { avx512::measure(mask) },
    // SAFETY: as above.
    gather: |mask, from, into| unsafe { avx512::gather(mask, from, into) },
    // SAFETY: as above.
    scatter: |mask, from, into| unsafe { avx512::scatter(mask, from, into) },
};

/// Needs `avx2` and `popcnt`. Only `all_kernels` gives it away, where the processor has it.
static AVX2: Kernels = Kernels {
    name: "avx2",
    // SAFETY: whoever has this row got it from `all_kernels`, which asked the processor. So with the others below.
    compare: |old, new| unsafe { avx2::compare(old, new) },
    // SAFETY: as above.
    measure: |mask| unsafe { avx2::measure(mask) },
    // SAFETY: as above.
    gather: |mask, from, into| unsafe { avx2::gather(mask, from, into) },
    // SAFETY: as above.
    scatter: |mask, from, into| unsafe { avx2::scatter(mask, from, into) },
};

/// Bytes that one number of a mask marks: those of an AVX-512 register.
const CHUNK: usize = 64;

/// Whole registers of 64 bytes: compress and expand do what a diff needs.
mod avx512 {
    use super::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
    pub(super) fn compare(old: &PageBytes, new: &PageBytes) -> ByteMask {
        let mut mask = ByteMask::NONE;
        for (at, marks) in mask.0.iter_mut().enumerate() {
            // SAFETY: chunk `at` of a mask lies in the page, and loads may be unaligned.
            let (old, new) = unsafe {
                (
                    _mm512_loadu_si512(old.as_ptr().add(at * CHUNK).cast()),
                    _mm512_loadu_si512(new.as_ptr().add(at * CHUNK).cast()),
                )
            };
            *marks = _mm512_cmpneq_epi8_mask(old, new);
        }
        mask
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
    pub(super) fn measure(mask: &ByteMask) -> Extent {
        mask.extent()
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
    pub(super) fn gather(mask: &[u64], from: &[u8], into: &mut Vec<u8>) {
        assert_eq!(mask.len() * CHUNK, from.len(), "a mark for each byte");
        let count: usize = mask.iter().map(|marks| marks.count_ones() as usize).sum();
        into.reserve(count);
        let mut next = into.spare_capacity_mut().as_mut_ptr().cast::<i8>();
        for (at, marks) in mask.iter().enumerate() {
            if *marks == 0 {
                continue;
            }
            // SAFETY: by the assertion chunk `at` lies in `from`; loads may be unaligned.
            let chunk = unsafe { _mm512_loadu_si512(from.as_ptr().add(at * CHUNK).cast()) };
            let packed = _mm512_maskz_compress_epi8(*marks, chunk);
            let here = marks.count_ones();
            // SAFETY: the marks of all chunks are `count`, for which there is room; no byte beyond these is stored.
            unsafe {
                _mm512_mask_storeu_epi8(next, first(here), packed);
                next = next.add(here as usize);
            }
        }
        // SAFETY: the loop stored `count` bytes behind what was there.
        unsafe { into.set_len(into.len() + count) };
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
    pub(super) fn scatter(mask: &[u64], from: &[u8], into: &mut [u8]) {
        assert_eq!(mask.len() * CHUNK, into.len(), "a mark for each place");
        let count: usize = mask.iter().map(|marks| marks.count_ones() as usize).sum();
        assert_eq!(count, from.len(), "a byte for each mark");
        let mut next = from.as_ptr().cast::<i8>();
        for (at, marks) in mask.iter().enumerate() {
            if *marks == 0 {
                continue;
            }
            let here = marks.count_ones();
            // SAFETY: the marks of all chunks are as many as there are bytes in `from`, and no byte beyond these is
            // loaded. By the first assertion chunk `at` lies in `into`, and only its marked bytes are stored.
            unsafe {
                let packed = _mm512_maskz_loadu_epi8(first(here), next);
                next = next.add(here as usize);
                let spread = _mm512_maskz_expand_epi8(*marks, packed);
                _mm512_mask_storeu_epi8(into.as_mut_ptr().add(at * CHUNK).cast(), *marks, spread);
            }
        }
    }

    /// Marks the first bytes of a register; at least one.
    fn first(count: u32) -> u64 {
        u64::MAX >> (u64::BITS - count)
    }
}

/// Comparison by 32 bytes; gathering and scattering by words of 8, shuffled as tables say.
mod avx2 {
    use super::*;

    const WORD: usize = 8;
    /// What a shuffle makes 0.
    const NOTHING: u8 = 0x80;

    /// For each marks of a word, which byte of it comes first, second, …
    static PACK: [[u8; WORD]; 256] = tables().0;
    /// For each marks of a word, which of the packed bytes each of its bytes is; `NOTHING` for those without a mark.
    static SPREAD: [[u8; WORD]; 256] = tables().1;

    const fn tables() -> ([[u8; WORD]; 256], [[u8; WORD]; 256]) {
        let mut tables = ([[NOTHING; WORD]; 256], [[NOTHING; WORD]; 256]);
        let mut marks = 0;
        while marks < 256 {
            let (mut at, mut count) = (0, 0);
            while at < WORD {
                if marks >> at & 1 == 1 {
                    tables.0[marks][count] = at as u8;
                    tables.1[marks][at] = count as u8;
                    count += 1;
                }
                at += 1;
            }
            marks += 1;
        }
        tables
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn compare(old: &PageBytes, new: &PageBytes) -> ByteMask {
        let mut mask = ByteMask::NONE;
        for (at, marks) in mask.0.iter_mut().enumerate() {
            let half = |at: usize| {
                // SAFETY: both halves of chunk `at / CHUNK` of a mask lie in the page, and loads may be unaligned.
                let (old, new) = unsafe {
                    (
                        _mm256_loadu_si256(old.as_ptr().add(at).cast()),
                        _mm256_loadu_si256(new.as_ptr().add(at).cast()),
                    )
                };
                !_mm256_movemask_epi8(_mm256_cmpeq_epi8(old, new)) as u32
            };
            let (low, high) = (half(at * CHUNK), half(at * CHUNK + CHUNK / 2));
            *marks = u64::from(high) << 32 | u64::from(low);
        }
        mask
    }

    #[target_feature(enable = "avx2,popcnt")]
    pub(super) fn measure(mask: &ByteMask) -> Extent {
        mask.extent()
    }

    #[target_feature(enable = "avx2,popcnt")]
    pub(super) fn gather(mask: &[u64], from: &[u8], into: &mut Vec<u8>) {
        assert_eq!(mask.len() * CHUNK, from.len(), "a mark for each byte");
        for (marks, chunk) in mask.iter().zip(from.chunks_exact(CHUNK)) {
            match *marks {
                0 => {}
                u64::MAX => into.extend_from_slice(chunk),
                marks => {
                    let (mut packed, mut count) = ([0; CHUNK], 0);
                    for (word, marks) in chunk.chunks_exact(WORD).zip(marks.to_le_bytes()) {
                        let bytes = shuffle(load(word), &PACK[usize::from(marks)]);
                        // What stands behind the packed bytes is overwritten by the next word's. Seven words before
                        // gave at most 56, so there is room for eight more.
                        packed[count..count + WORD].copy_from_slice(&bytes.to_le_bytes());
                        count += marks.count_ones() as usize;
                    }
                    into.extend_from_slice(&packed[..count]);
                }
            }
        }
    }

    #[target_feature(enable = "avx2,popcnt")]
    pub(super) fn scatter(mask: &[u64], from: &[u8], into: &mut [u8]) {
        assert_eq!(mask.len() * CHUNK, into.len(), "a mark for each place");
        let mut rest = from;
        for (marks, chunk) in mask.iter().zip(into.chunks_exact_mut(CHUNK)) {
            let (here, after) = rest.split_at(marks.count_ones() as usize);
            rest = after;
            match *marks {
                0 => {}
                u64::MAX => chunk.copy_from_slice(here),
                marks => {
                    let mut packed = [0; CHUNK + WORD];
                    packed[..here.len()].copy_from_slice(here);
                    let mut next = 0;
                    for (place, marks) in chunk.chunks_exact_mut(WORD).zip(marks.to_le_bytes()) {
                        let new = shuffle(load(&packed[next..]), &SPREAD[usize::from(marks)]);
                        let stays = load(place) & !bytes_of(marks);
                        place.copy_from_slice(&(stays | new).to_le_bytes());
                        next += marks.count_ones() as usize;
                    }
                }
            }
        }
        assert!(rest.is_empty(), "a byte for each mark");
    }

    /// Brings the bytes of a word into the order that a table's row says.
    #[target_feature(enable = "avx2")]
    fn shuffle(word: u64, order: &[u8; WORD]) -> u64 {
        let order = _mm_cvtsi64_si128(i64::from_le_bytes(*order));
        _mm_cvtsi128_si64(_mm_shuffle_epi8(_mm_cvtsi64_si128(word as i64), order)) as u64
    }

    /// Eight bits as eight bytes.
    fn bytes_of(marks: u8) -> u64 {
        let spread = u64::from(marks).wrapping_mul(0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
        // Every byte that kept its bit becomes 0xff: adding 0x7f carries into its high bit, unless that is it.
        let high = (((spread & 0x7f7f_7f7f_7f7f_7f7f) + 0x7f7f_7f7f_7f7f_7f7f) | spread)
            & 0x8080_8080_8080_8080;
        (high >> 7).wrapping_mul(0xff)
    }

    fn load(bytes: &[u8]) -> u64 {
        u64::from_le_bytes(*bytes.first_chunk().expect("a word is left"))
    }
}

const _: () = assert!(
    size_of::<ByteMask>() * 8 == PAGE_SIZE,
    "a chunk for each number"
);

#[cfg(test)]
mod tests {
    use super::*;
    use hivemind_protocol::Diff;
    use proptest::prelude::*;

    /// Masks of every density, in runs of every length at every place.
    fn masks() -> impl Strategy<Value = ByteMask> {
        let density = proptest::collection::vec(any::<[u64; 3]>(), 64).prop_flat_map(|drawn| {
            (0..7u8, Just(drawn)).prop_map(|(density, drawn)| {
                let marks = |[a, b, c]: [u64; 3]| match density {
                    0 => a & b & c,
                    1 => a & b,
                    2 => a,
                    3 => a | b,
                    4 => a | b | c,
                    5 => [0, u64::MAX, a][b as usize % 3],
                    _ => a & 0x0100_0000_0080_0001,
                };
                ByteMask(std::array::from_fn(|at| marks(drawn[at])))
            })
        });
        let run = (0..PAGE_SIZE, 1..PAGE_SIZE);
        let runs = proptest::collection::vec(run, 0..9).prop_map(|runs| {
            let mut mask = ByteMask::NONE;
            for (start, count) in runs {
                mask.mark(start, (count % 300 + 1).min(PAGE_SIZE - start));
            }
            mask
        });
        let all =
            [0, 1, 1 << 63, u64::MAX, 0x5555_5555_5555_5555].map(|marks| ByteMask([marks; 64]));
        prop_oneof![density, runs, proptest::sample::select(all.to_vec())]
    }

    fn is_marked(mask: &ByteMask, at: usize) -> bool {
        mask.0[at / 64] >> (at % 64) & 1 == 1
    }

    /// A page from a number, with its neighbours' bytes all different.
    fn page(seed: u64) -> PageBytes {
        let mut state = seed | 1;
        std::array::from_fn(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
    }

    /// At every alignment: a page is an array of bytes and lies anywhere.
    struct Askew([u8; PAGE_SIZE + 64]);

    impl Askew {
        fn new(page: &PageBytes, by: usize) -> Self {
            let mut askew = Self([0xee; PAGE_SIZE + 64]);
            askew.0[by..by + PAGE_SIZE].copy_from_slice(page);
            askew
        }

        fn page(&mut self, by: usize) -> &mut PageBytes {
            self.0[by..].first_chunk_mut().expect("it was put there")
        }
    }

    proptest! {
        #[test]
        fn every_row_does_what_the_portable_and_a_plain_one_do(
            mask in masks(), seed: u64, by in 0usize..64, before in 0usize..70
        ) {
            let old = page(seed);
            let changed = |at| if is_marked(&mask, at) { !old[at] } else { old[at] };
            let new: PageBytes = std::array::from_fn(changed);
            let gathered: Vec<u8> =
                (0..PAGE_SIZE).filter(|&at| is_marked(&mask, at)).map(|at| new[at]).collect();
            for kernels in all_kernels() {
                let (mut one, mut two) = (Askew::new(&old, by), Askew::new(&new, 63 - by));
                let found = (kernels.compare)(one.page(by), two.page(63 - by));
                prop_assert!(found == mask, "{} finds {:?}", kernels.name, found);
                prop_assert_eq!((kernels.measure)(&mask), mask.extent());
                let mut bytes = vec![7; before];
                (kernels.gather)(&mask.0, two.page(63 - by), &mut bytes);
                prop_assert!(bytes[..before].iter().all(|byte| *byte == 7));
                prop_assert!(bytes[before..] == gathered, "{} gathers otherwise", kernels.name);
                (kernels.scatter)(&mask.0, &bytes[before..], one.page(by));
                prop_assert!(*one.page(by) == new, "{} scatters otherwise", kernels.name);
                prop_assert!(one.0[..by].iter().chain(&one.0[by + PAGE_SIZE..]).all(|byte| *byte == 0xee));
                let diffs = [kernels, &PORTABLE].map(|kernels| Diff::between(kernels, &old, &new));
                prop_assert!(diffs[0] == diffs[1], "{} makes another diff", kernels.name);
            }
        }
    }

    #[test]
    fn the_best_kernels_come_first_and_the_portable_last() {
        let all = all_kernels();
        assert_eq!(kernels().name, all[0].name);
        assert_eq!(all[all.len() - 1].name, Kernels::PORTABLE.name);
    }

    #[test]
    fn bytes_that_are_not_one_for_each_mark_are_refused() {
        for kernels in all_kernels() {
            for count in [9, 11] {
                let mut mask = ByteMask::NONE;
                mask.mark(4000, 10);
                let scatter = || (kernels.scatter)(&mask.0, &vec![1; count], &mut [0; PAGE_SIZE]);
                assert!(
                    std::panic::catch_unwind(scatter).is_err(),
                    "{}",
                    kernels.name
                );
            }
        }
    }
}
