//! The only random number generator: SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators",
//! OOPSLA 2014). It uses only integers and exact floating-point operations, so that a seed gives the same weights,
//! batches and samples on every machine.

/// SplitMix64: a counter with an odd step, scrambled.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A sequence of its own for each of several purposes or steps under one seed.
    #[must_use]
    pub fn stream(seed: u64, stream: u64) -> Self {
        let mut generator = Self::new(seed);
        let start = generator.next_u64() ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self::new(Self::new(start).next_u64())
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, every one as likely (Lemire's multiplication, with rejection).
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a draw needs at least one outcome");
        let unfair = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            #[expect(clippy::cast_possible_truncation, reason = "the two halves of the product")]
            let (high, low) = ((product >> 64) as u64, product as u64);
            if low >= unfair {
                return high;
            }
        }
    }

    /// A number from a normal distribution of mean 0 and deviation 1, cut off at ±2: twelve
    /// uniform numbers summed, which needs no logarithm and so is the same everywhere.
    pub fn truncated_normal(&mut self) -> f32 {
        loop {
            // 48-bit integers: the sum is exact, and so is its half-way point.
            let sum: i64 = (0..12).map(|_| (self.next_u64() >> 16).cast_signed()).sum();
            #[expect(clippy::cast_precision_loss, reason = "rounded once, the same everywhere")]
            let value = (sum - 6 * (1 << 48)) as f64 / (1_u64 << 48) as f64;
            if value.abs() <= 2.0 {
                #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
                return value as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_generator() {
        // First outputs of the authors' reference (splitmix64.c by S. Vigna) for this seed.
        let mut generator = SplitMix64::new(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(expected, std::array::from_fn(|_| generator.next_u64()));
    }

    #[test]
    fn draws_are_fair_and_within_bounds() {
        let mut generator = SplitMix64::new(1);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[usize::try_from(generator.below(7)).expect("small")] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert_ne!(SplitMix64::stream(1, 0).next_u64(), SplitMix64::stream(1, 1).next_u64());
    }

    #[test]
    fn the_normal_has_its_moments() {
        let mut generator = SplitMix64::new(2);
        let draws: Vec<f64> =
            (0..100_000).map(|_| f64::from(generator.truncated_normal())).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|draw| draw * draw).sum::<f64>() / 1e5;
        // A normal cut at ±2 has variance 0.774.
        assert!(mean.abs() < 0.01 && (variance - 0.774).abs() < 0.015, "{mean} {variance}");
        assert!(draws.iter().all(|draw| draw.abs() <= 2.0));
    }
}
