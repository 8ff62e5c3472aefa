//! The only conversion from probabilities to integer frequencies. Encoder and decoder both use it, so the coder sees no
//! floating-point numbers. A symbol of probability p gets the frequency round(2^30 · p) + 1, and the row's total is the
//! sum of these, about 2^30 + vocabulary. The coder divides by each row's own total, so no correction is needed to make
//! a row add up.
//!
//! Cost: every frequency is at least 2^30 · p + 1/2, so no symbol of a row that sums to 1 costs more than log2(1 +
//! vocabulary / 2^30) bits above −log2 p: 3.5e-7 bits at 256 symbols, 3.5e-4 at 2^18. No symbol costs 31 bits or more,
//! however small its probability is: the rarest costs about 30. This floor limits the penalty of a network that is
//! confident and wrong. Costs are therefore always reported under this distribution: by [`Interval::bits`] where the
//! row is at hand, by [`bits_of`] where only the probability is.
//!
//! The result is the same on every machine: the only floating-point operation is an addition in f64, rounded to nearest
//! as IEEE 754 prescribes, and the sums are of integers, so their order does not matter.

mod table;

pub use table::RowTable;

/// Probability 1 is this power of two.
pub const SCALE_BITS: u32 = 30;

/// The largest vocabulary.
pub const MAXIMUM_VOCABULARY: usize = 1 << 18;

/// A row may sum to 1 ± this share: room for rounding, not for logits.
const TOLERANCE: f64 = 1.0 / 16.0;

/// An f64 from 2^22 to 2^23 counts steps of 2^-30: adding this rounds a probability to them.
const ROUNDER: f64 = (1_u64 << (52 - SCALE_BITS)) as f64;

/// Entries of 2 and above have so many steps, or more.
const TOO_MANY_STEPS: u64 = 2 << SCALE_BITS;

/// A symbol's place among the frequencies of its row: `size` of `total`, after `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Sum of the frequencies before it.
    pub start: u32,
    /// Its frequency, at least 1.
    pub size: u32,
    /// Sum of all frequencies of the row, less than 2^31.
    pub total: u32,
}

impl Interval {
    /// What coding the symbol costs, ideally: log2(total / size).
    #[must_use]
    pub fn bits(self) -> f64 {
        f64::from(self.total).log2() - f64::from(self.size).log2()
    }
}

/// The ideal cost of coding a symbol to which a network assigns this many bits, −log2 p, in a row with this many
/// symbols: [`Interval::bits`] without the row, whose sum is taken to be 1. The actual sum of a row differs from 1 by
/// a rounding of f32 and, for each symbol below 2^-31, by less than that.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "2^30 and a vocabulary are far below 2^53")]
pub fn bits_of(surprisal: f64, vocabulary: usize) -> f64 {
    let scale = (1_u64 << SCALE_BITS) as f64;
    let size = (scale * (-surprisal).exp2()).round_ties_even() + 1.0;
    (scale + vocabulary as f64).log2() - size.log2()
}

/// Why a row or a symbol of it cannot be coded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QuantizeError {
    /// Not a number, infinite, negative, or 2 and above.
    #[error("the probability of token {symbol} is {value}")]
    Probability {
        /// The first such symbol.
        symbol: usize,
        /// Its entry.
        value: f32,
    },
    /// The entries are no distribution.
    #[error("the probabilities of {vocabulary} tokens sum to {sum}, not to 1")]
    Sum {
        /// Entries of the row.
        vocabulary: usize,
        /// What they sum to.
        sum: f64,
    },
    /// More symbols than a row may have, or none.
    #[error("a vocabulary of {0} tokens cannot be coded; it must have 1 to {MAXIMUM_VOCABULARY}")]
    Vocabulary(usize),
    /// A symbol that the row does not have.
    #[error("token {symbol} is outside the vocabulary of {vocabulary}")]
    Symbol {
        /// The symbol.
        symbol: u32,
        /// Entries of the row.
        vocabulary: usize,
    },
    /// A target that no symbol's interval holds.
    #[error("{target} is not below the total of {total}")]
    Target {
        /// The target.
        target: u32,
        /// The row's total.
        total: u32,
    },
}

/// The interval of `symbol` in a row of probabilities, which has an entry for each symbol of the vocabulary.
///
/// # Errors
/// If the row is no distribution or has no such symbol.
pub fn interval(row: &[f32], symbol: u32) -> Result<Interval, QuantizeError> {
    let vocabulary = row.len();
    let outside = QuantizeError::Symbol { symbol, vocabulary };
    let index = usize::try_from(symbol).ok().filter(|&index| index < vocabulary).ok_or(outside)?;
    let (before, rest) = (Tally::of(&row[..index]), Tally::of(&row[index..]));
    let total = before.and(rest).total(row)?;
    Ok(Interval { start: narrow(before.frequencies), size: narrow(steps(row[index]) + 1), total })
}

/// The symbol whose interval in a row of probabilities holds `target`, and that interval.
///
/// # Errors
/// If the row is no distribution, or `target` is not below its total.
pub fn find(row: &[f32], target: u32) -> Result<(u32, Interval), QuantizeError> {
    let mut table = RowTable::default();
    table.fill(row)?;
    table.find(row, target)
}

/// What some entries of a row come to.
#[derive(Clone, Copy, Default)]
struct Tally {
    /// Sum of the frequencies; of meaning only if no entry is bad.
    frequencies: u64,
    /// The steps of all entries, or'ed: below 2^31 if no entry is bad.
    any_steps: u64,
}

impl Tally {
    /// One loop without a branch, which compiles to vector instructions.
    fn of(entries: &[f32]) -> Self {
        let (mut sum, mut any_steps) = (0_u64, 0_u64);
        for &entry in entries {
            sum = sum.wrapping_add(steps(entry));
            any_steps |= steps(entry);
        }
        Self { frequencies: sum.wrapping_add(entries.len() as u64), any_steps }
    }

    fn and(self, other: Self) -> Self {
        Self {
            frequencies: self.frequencies.wrapping_add(other.frequencies),
            any_steps: self.any_steps | other.any_steps,
        }
    }

    /// The sum of the frequencies of `row`, which this is the tally of, if it is a distribution.
    fn total(self, row: &[f32]) -> Result<u32, QuantizeError> {
        let vocabulary = row.len();
        if vocabulary == 0 || vocabulary > MAXIMUM_VOCABULARY {
            return Err(QuantizeError::Vocabulary(vocabulary));
        }
        if self.any_steps >= TOO_MANY_STEPS {
            let bad = row.iter().position(|&entry| steps(entry) >= TOO_MANY_STEPS);
            let symbol = bad.unwrap_or_default();
            return Err(QuantizeError::Probability { symbol, value: row[symbol] });
        }
        #[expect(clippy::cast_precision_loss, reason = "2^18 entries below 2^31 are below 2^53")]
        let sum = (self.frequencies - vocabulary as u64) as f64 / (1_u64 << SCALE_BITS) as f64;
        if (sum - 1.0).abs() > TOLERANCE {
            return Err(QuantizeError::Sum { vocabulary, sum });
        }
        Ok(narrow(self.frequencies))
    }
}

/// A probability in steps of 2^-30, rounded; at least [`TOO_MANY_STEPS`] for whatever is not
/// finite, negative (by half a step or more) or 2 and above. `ROUNDER` is a power of two, so that
/// its mantissa is 0 and taking it off again is an exclusive or.
fn steps(probability: f32) -> u64 {
    (f64::from(probability) + ROUNDER).to_bits() ^ ROUNDER.to_bits()
}

/// The low 32 bits: all of them, once [`Tally::total`] has accepted the row.
#[expect(clippy::cast_possible_truncation, reason = "a total is below 2^31")]
fn narrow(value: u64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normalised(weights: &[f32]) -> Vec<f32> {
        let sum: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        weights.iter().map(|&weight| (f64::from(weight) / sum) as f32).collect()
    }

    fn check_row(row: &[f32]) {
        let (mut start, mut table) = (0, RowTable::default());
        table.fill(row).expect("a distribution");
        let limit = (1.0 + (row.len() as f64 + 1e-4 * 2e9) / f64::from(1 << SCALE_BITS)).log2();
        for (symbol, &probability) in (0..).zip(row) {
            let found = interval(row, symbol).expect("a distribution");
            assert_eq!((found.start, found.total), (start, table.total()));
            assert!(found.size >= 1);
            for target in [start, start + found.size / 2, start + found.size - 1] {
                assert_eq!(find(row, target), Ok((symbol, found)));
                assert_eq!(table.find(row, target), Ok((symbol, found)));
            }
            start += found.size;
            let surprisal = -f64::from(probability).log2();
            assert!(found.bits() <= surprisal + limit, "{} for {probability}", found.bits());
            // A half step may be rounded either way.
            let (alone, step) = (bits_of(surprisal, row.len()), 1.0 / f64::from(found.size));
            assert!((found.bits() - alone).abs() < 2e-5 + 1.5 * step, "{} {alone}", found.bits());
        }
        assert_eq!(start, table.total());
        assert!(table.find(row, start).is_err() && find(row, u32::MAX).is_err());
    }

    #[test]
    fn intervals_tile_the_total_whatever_the_row() {
        for vocabulary in [1, 2, 31, 32, 33, 256, 5000] {
            check_row(&normalised(&vec![1.0; vocabulary]));
            let mut one_hot = vec![0.0; vocabulary];
            one_hot[vocabulary / 2] = 1.0;
            check_row(&one_hot);
            check_row(&normalised(&{
                let mut tails = vec![1e-30; vocabulary];
                tails[0] = 1.0;
                tails
            }));
        }
    }

    #[test]
    fn the_largest_vocabulary_costs_what_is_stated() {
        let mut row = vec![0.0; MAXIMUM_VOCABULARY];
        row[7] = 1.0;
        let found = interval(&row, 7).expect("a distribution");
        assert!(found.bits() < 3.6e-4, "{}", found.bits());
        assert!((found.bits() - bits_of(0.0, MAXIMUM_VOCABULARY)).abs() < 1e-12);
        assert_eq!(find(&row, found.total - 1).expect("there").0, (1 << 18) - 1);
        row.push(0.0);
        assert_eq!(interval(&row, 7), Err(QuantizeError::Vocabulary(MAXIMUM_VOCABULARY + 1)));
    }

    #[test]
    fn the_floor_is_the_same_with_the_row_and_without() {
        for (surprisal, steps) in [(0.0, 1 << 30), (29.9, 1), (31.1, 0), (150.0, 0)] {
            let expected = ((1 << 30) as f64 + 256.0).log2() - (steps as f64 + 1.0).log2();
            assert!((bits_of(surprisal, 256) - expected).abs() < 1e-12, "{surprisal}");
        }
        assert_eq!(bits_of(f64::INFINITY, 256), bits_of(99.0, 256));
        let mut row = vec![0.0; 256];
        row[0] = 1.0;
        let found = interval(&row, 7).expect("a distribution");
        assert!((found.bits() - bits_of(f64::INFINITY, 256)).abs() < 1e-12);
    }

    #[test]
    fn frequencies_are_these_integers_on_every_machine() {
        let row = [0.5, 0.25, 0.125, 0.1, 0.024_999_999, 1e-9, 1e-10, 0.0];
        let sizes: Vec<u32> =
            (0..8).map(|symbol| interval(&row, symbol).expect("a distribution").size).collect();
        assert_eq!(
            sizes,
            [536_870_913, 268_435_457, 134_217_729, 107_374_185, 26_843_545, 2, 1, 1]
        );
    }

    #[test]
    fn what_is_no_distribution_is_an_error() {
        let large = -(1 << 21) as f32;
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.1, 2.0, f32::MAX, large] {
            let row = [0.5, bad, 0.5];
            let error = interval(&row, 0).expect_err("no distribution").to_string();
            assert!(error.contains("token 1"), "{error}");
            assert!(find(&row, 0).is_err());
        }
        assert!(matches!(interval(&[0.0; 256], 0), Err(QuantizeError::Sum { .. })));
        assert!(matches!(find(&[1.0; 256], 0), Err(QuantizeError::Sum { .. })));
        assert!(matches!(interval(&[1.0], 1), Err(QuantizeError::Symbol { .. })));
        assert!(find(&[], 0).is_err());
        assert!(interval(&[-0.0, 1.0], 0).is_ok(), "a zero of either sign is a zero");
    }

    proptest! {
        #[test]
        fn random_rows_agree_both_ways(weights in prop::collection::vec(1e-30_f32..1.0, 1..300)) {
            check_row(&normalised(&weights));
        }

        #[test]
        fn any_floats_at_all_never_panic(
            row in prop::collection::vec(any::<f32>(), 0..40), symbol in 0_u32..40, target: u32,
        ) {
            let _ = (interval(&row, symbol), find(&row, target));
        }
    }
}
