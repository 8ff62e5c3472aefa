//! The integers of quantized matrices as bytes: coded by our range coder with adaptive counts, separately for each kind
//! of matrix. The size of a quantized network is the size of this code. It exceeds the entropy of the integers' own
//! frequencies only by the cost of learning these.

use std::collections::BTreeMap;

use lmtrain_eval::coder::{Decoder, Encoder};
use lmtrain_eval::quantize::Interval;

use crate::levels::Bits;
use crate::tensor_file::FormatError;

/// What a level's count grows by when it is met.
const INCREMENT: u32 = 24;
/// Counts are halved when their sum reaches this.
const MOST: u32 = 1 << 16;

/// Frequencies of levels, as they were met so far.
#[derive(Clone)]
struct Counts {
    largest: i8,
    /// Of each level from −largest on; none is 0.
    counts: Vec<u32>,
    total: u32,
}

impl Counts {
    /// Before any level was met: small ones are likelier, as in a triangle.
    fn new(bits: Bits) -> Self {
        let largest = bits.largest();
        let far = |level: i8| u32::from(largest.unsigned_abs() - level.unsigned_abs());
        let counts: Vec<u32> = (-largest..=largest).map(|level| 1 + far(level) / 8).collect();
        Self { largest, total: counts.iter().sum(), counts }
    }

    fn interval(&self, level: i8) -> Interval {
        let index = self.index(level);
        let start = self.counts[..index].iter().sum();
        Interval { start, size: self.counts[index], total: self.total }
    }

    /// The level whose interval holds a target, which is below the total.
    fn level_at(&self, target: u32) -> i8 {
        let mut end = 0;
        let holds = |count: &u32| {
            end += count;
            target < end
        };
        let index = self.counts.iter().position(holds).unwrap_or(self.counts.len() - 1);
        // There are at most 255 levels.
        (-self.largest).wrapping_add_unsigned(u8::try_from(index).unwrap_or(u8::MAX))
    }

    fn index(&self, level: i8) -> usize {
        usize::from(level.wrapping_sub(-self.largest).cast_unsigned())
    }

    fn meet(&mut self, level: i8) {
        let index = self.index(level);
        self.counts[index] += INCREMENT;
        self.total += INCREMENT;
        if self.total >= MOST {
            self.counts.iter_mut().for_each(|count| *count = count.div_ceil(2));
            self.total = self.counts.iter().sum();
        }
    }
}

/// Counts by the kind of matrix, and their levels' number.
#[derive(Default)]
struct Kinds(BTreeMap<String, Counts>);

impl Kinds {
    fn of(&mut self, name: &str, bits: Bits) -> &mut Counts {
        let kind = name.rsplit('.').next().unwrap_or(name);
        self.0.entry(kind.to_owned()).or_insert_with(|| Counts::new(bits))
    }
}

/// Takes matrices by their names, one after another.
#[derive(Default)]
pub(crate) struct LevelEncoder {
    encoder: Encoder,
    kinds: Kinds,
}

impl LevelEncoder {
    /// Codes a matrix. Levels beyond the largest are not possible.
    pub(crate) fn add<'a>(
        &mut self,
        name: &str,
        bits: Bits,
        levels: impl IntoIterator<Item = &'a i8>,
    ) {
        let counts = self.kinds.of(name, bits);
        for level in levels {
            self.encoder.encode(counts.interval(*level));
            counts.meet(*level);
        }
    }

    /// The bytes of all.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.encoder.finish()
    }
}

/// Matrices by their names, one after another, as bytes.
pub(crate) fn encode<'a>(matrices: impl Iterator<Item = (&'a str, Bits, &'a [i8])>) -> Vec<u8> {
    let mut encoder = LevelEncoder::default();
    for (name, bits, levels) in matrices {
        encoder.add(name, bits, levels);
    }
    encoder.finish()
}

/// Reads [`encode`] back: as many levels of each matrix as are said.
///
/// # Errors
/// If the bytes are not what was written of such matrices.
pub(crate) fn decode<'a>(
    bytes: &[u8],
    matrices: impl Iterator<Item = (&'a str, Bits, usize)>,
) -> Result<Vec<Vec<i8>>, FormatError> {
    let refuse = |error: lmtrain_eval::coder::CoderError| FormatError(error.to_string());
    let (mut decoder, mut kinds) = (Decoder::new(bytes), Kinds::default());
    let mut all = Vec::new();
    for (name, bits, count) in matrices {
        let counts = kinds.of(name, bits);
        let mut levels = Vec::with_capacity(count.min(bytes.len().saturating_mul(64)));
        for _ in 0..count {
            let level = counts.level_at(decoder.target(counts.total).map_err(refuse)?);
            decoder.consume(counts.interval(level));
            counts.meet(level);
            levels.push(level);
        }
        all.push(levels);
    }
    decoder.finish().map_err(refuse)?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lmtrain_runs::random::SplitMix64;

    /// About Gaussian levels: sums of three uniform numbers.
    fn levels(numbers: &mut SplitMix64, count: usize, largest: u64) -> Vec<i8> {
        let one = |numbers: &mut SplitMix64| {
            let sum: u64 = (0..3).map(|_| numbers.below(2 * largest + 1)).sum();
            i8::try_from(sum as i64 / 3 - largest as i64).expect("within a byte")
        };
        (0..count).map(|_| one(numbers)).collect()
    }

    /// Bytes at the entropy of the levels' own frequencies.
    fn entropy(levels: &[i8]) -> f64 {
        let mut counts = BTreeMap::<i8, f64>::new();
        levels.iter().for_each(|level| *counts.entry(*level).or_default() += 1.0);
        let total = levels.len() as f64;
        counts.values().map(|count| -count * (count / total).log2()).sum::<f64>() / 8.0
    }

    #[test]
    fn levels_come_back_and_take_little_more_than_their_entropy() {
        let mut numbers = SplitMix64::new(5);
        for (bits, largest, more) in [(Bits::Eight, 127, 1.01), (Bits::Four, 7, 1.003)] {
            let [one, two] = [100_000, 30_000].map(|count| levels(&mut numbers, count, largest));
            let matrices = [("blocks.0.up", bits, &one[..]), ("head", bits, &two[..])];
            let bytes = encode(matrices.into_iter());
            let bound = entropy(&one) + entropy(&two);
            let taken = bytes.len() as f64;
            assert!(
                taken < more * bound + 100.0 && taken > bound,
                "{taken} bytes, entropy {bound}"
            );
            let counts = matrices.map(|(name, bits, levels)| (name, bits, levels.len()));
            assert_eq!(decode(&bytes, counts.into_iter()).expect("whole"), [one, two]);
        }
    }

    #[test]
    fn extremes_come_back_and_damage_is_an_error_or_levels() {
        let levels = [-127, 127, 0, 127, -127, 1];
        let matrices = || [("up", Bits::Eight, &levels[..]), ("down", Bits::Four, &[-7, 7, 0])];
        let bytes = encode(matrices().into_iter());
        let counts =
            || matrices().map(|(name, bits, levels)| (name, bits, levels.len())).into_iter();
        let back = decode(&bytes, counts()).expect("whole");
        assert_eq!(back, [levels.to_vec(), vec![-7, 7, 0]]);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            if let Ok(levels) = decode(&damaged, counts()) {
                assert!(levels[1].iter().all(|level| level.unsigned_abs() <= 7));
            }
            // What is cut off reads as zeros, which may be other levels.
            let cut = decode(&bytes[..at.saturating_sub(1)], counts());
            assert!(cut.is_err() || cut.is_ok_and(|levels| levels != back));
        }
        assert!(decode(&[&bytes[..], &[0, 0]].concat(), counts()).is_err());
    }
}
