//! The simulator's own random source: xoshiro256** seeded by splitmix64 (Blackman, Vigna, 2018). Everything
//! that a world draws comes from here, so a seed is the whole world. What is drawn lives elsewhere.

/// A small, fast, reproducible random source.
#[derive(Clone, Debug)]
pub(crate) struct Prng {
    state: [u64; 4],
}

impl Prng {
    /// The source of `seed`; any seed is as good as any other.
    pub(crate) fn new(seed: u64) -> Self {
        let mut word = seed;
        Self {
            state: core::array::from_fn(|_| splitmix(&mut word)),
        }
    }

    /// A source of its own for one purpose, so that what is drawn there does not shift what is drawn here.
    pub(crate) fn of(seed: u64, purpose: u64) -> Self {
        let mut word = seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self::new(splitmix(&mut word))
    }

    /// The next 64 bits.
    pub(crate) fn word(&mut self) -> u64 {
        let result = self.state[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = self.state[1] << 17;
        self.state[2] ^= self.state[0];
        self.state[3] ^= self.state[1];
        self.state[1] ^= self.state[2];
        self.state[0] ^= self.state[3];
        self.state[2] ^= shifted;
        self.state[3] = self.state[3].rotate_left(45);
        result
    }

    /// A number in `0..bound`; `bound` is at least 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True `percent` times out of a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// An index below `length`, or none of an empty list.
    pub(crate) fn index(&mut self, length: usize) -> Option<usize> {
        (length > 0).then(|| self.below(length as u64) as usize)
    }

    /// One of a list that is not empty.
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len() as u64) as usize]
    }

    /// Small numbers often, large ones now and then: each power of two below `bound` is as likely as the next.
    pub(crate) fn skewed(&mut self, bound: u64) -> u64 {
        let bits = self.below(u64::from(64 - bound.leading_zeros()) + 1);
        let ceiling = (1_u64 << bits.min(63)).min(bound).max(1);
        self.below(ceiling)
    }
}

/// One step of splitmix64: turns any word into a well-mixed one and moves it on.
pub(crate) fn splitmix(word: &mut u64) -> u64 {
    *word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *word;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same() {
        let (mut one, mut two) = (Prng::new(7), Prng::new(7));
        assert!((0..1000).all(|_| one.word() == two.word()));
        assert_ne!(Prng::new(7).word(), Prng::new(8).word());
    }

    #[test]
    fn splitmix_agrees_with_its_published_first_value() {
        assert_eq!(splitmix(&mut 0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn draws_stay_in_their_bounds_and_reach_both_ends() {
        let mut prng = Prng::new(1);
        let drawn: Vec<u64> = (0..1000).map(|_| prng.between(3, 5)).collect();
        assert!((3..=5).all(|wanted| drawn.contains(&wanted)));
        assert!(drawn.iter().all(|number| (3..=5).contains(number)));
        assert!((0..1000).all(|_| prng.skewed(10) < 10));
    }
}
