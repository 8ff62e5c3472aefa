//! Cutting a range of a corpus into chunks, and drawing a sample of them.

use std::ops::Range;

use lmtrain_runs::random::SplitMix64;

/// Bytes of a chunk in the paper's protocol.
pub const CHUNK_BYTES: u64 = 2048;

/// A range of bytes cut into chunks of one length; the last may be shorter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    span: Range<u64>,
    length: u64,
}

impl Chunks {
    /// Cuts `span` into chunks of `length` bytes; a length of 0 counts as 1.
    #[must_use]
    pub fn new(span: Range<u64>, length: u64) -> Self {
        Self { span, length: length.max(1) }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.span.end.saturating_sub(self.span.start).div_ceil(self.length)
    }

    /// The bytes of one of them; empty past the last.
    #[must_use]
    pub fn range(&self, index: u64) -> Range<u64> {
        let after = |chunks: u64| {
            let end = self.length.saturating_mul(chunks).saturating_add(self.span.start);
            end.min(self.span.end)
        };
        after(index)..after(index.saturating_add(1))
    }
}

/// Draws `count` of the numbers below `of` without replacement, in ascending order; all of them if there are no more.
/// All sets are equally likely: the numbers are visited in order, and each is taken with probability (still to take) /
/// (still to come) (C. T. Fan, M. E. Muller and I. Rezucha 1962; Algorithm S of Knuth, The Art of Computer
/// Programming, section 3.4.2), using SplitMix64.
#[must_use]
pub fn sample(of: u64, count: u64, seed: u64) -> Vec<u64> {
    let mut random = SplitMix64::new(seed);
    let mut wanted = count.min(of);
    let mut taken = Vec::new();
    for number in 0..of {
        if wanted == 0 {
            break;
        }
        if random.below(of - number) < wanted {
            taken.push(number);
            wanted -= 1;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn chunks_tile_their_span() {
        let chunks = Chunks::new(10..5010, 2048);
        assert_eq!(chunks.count(), 3);
        assert_eq!(
            [0, 1, 2, 3].map(|index| chunks.range(index)),
            [10..2058, 2058..4106, 4106..5010, 5010..5010]
        );
        assert_eq!(Chunks::new(7..7, 2048).count(), 0);
        assert_eq!(Chunks::new(0..1_000_000_000, 2048).count(), 488_282);
    }

    #[test]
    fn every_chunk_is_as_likely() {
        let mut counts = [0_u32; 20];
        for seed in 0..20_000 {
            for index in sample(20, 5, seed) {
                counts[usize::try_from(index).expect("small")] += 1;
            }
        }
        // 5,000 expected each, deviation 61.
        assert!(counts.iter().all(|count| (4_690..5_310).contains(count)), "{counts:?}");
    }

    proptest! {
        #[test]
        fn samples_ascend_without_repeats(of in 0_u64..3000, count in 0_u64..4000, seed: u64) {
            let taken = sample(of, count, seed);
            prop_assert_eq!(taken.len() as u64, count.min(of));
            prop_assert!(taken.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(taken.iter().all(|&index| index < of));
            prop_assert_eq!(taken, sample(of, count, seed));
        }
    }
}
