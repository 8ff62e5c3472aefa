//! Where weights go when they are packed. RoPE pairs dimensions i and i + 8 of each sixteen (`RotaryTable`), and heads
//! are padded to a multiple of sixteen; the weights of queries and keys are put in that order.

use lmtrain_kernels as kernels;

/// The dimension of a head, of `dimensions` of which the first `rotated` turn, that a place of the packed head holds;
/// nothing where the place is filled up. The network pairs dimensions i and i + rotated/2 (as GPT-NeoX and Llama do).
#[must_use]
pub fn source_dimension(place: usize, dimensions: usize, rotated: usize) -> Option<usize> {
    let (pair, second) = (place / 16 * 8 + place % 8, place % 16 >= 8);
    let turning = rotated / 2;
    if pair < turning {
        return Some(if second { pair + turning } else { pair });
    }
    // What does not turn has no partner: its order is free.
    let other = rotated + 2 * (pair - turning) + usize::from(second);
    (other < dimensions).then_some(other)
}

/// Radians a position of each pair of a packed head: `rotated` dimensions turn with this base, the rest stay.
#[must_use]
pub fn rotary_frequencies(base: f64, dimensions: usize, rotated: usize) -> Vec<f64> {
    let turning = rotated / 2;
    let frequency = |pair: usize| match pair < turning {
        true => kernels::rotary_frequency(base, pair as f64 / turning as f64),
        false => 0.0,
    };
    (0..dimensions.next_multiple_of(16) / 2).map(frequency).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dimension_has_one_place_and_pairs_meet() {
        for (dimensions, rotated) in [
            (8_usize, 8),
            (16, 16),
            (48, 48),
            (64, 16),
            (80, 20),
            (80, 32),
            (128, 128),
            (20, 10),
            (64, 0),
        ] {
            let padded = dimensions.next_multiple_of(16);
            let sources: Vec<Option<usize>> =
                (0..padded).map(|place| source_dimension(place, dimensions, rotated)).collect();
            let mut all: Vec<usize> = sources.iter().copied().flatten().collect();
            all.sort_unstable();
            assert_eq!(all, (0..dimensions).collect::<Vec<_>>(), "{dimensions} {rotated}");
            let frequencies = rotary_frequencies(10_000.0, dimensions, rotated);
            assert_eq!(frequencies.len(), padded / 2);
            for (pair, frequency) in frequencies.into_iter().enumerate() {
                let low = pair / 8 * 16 + pair % 8;
                if pair < rotated / 2 {
                    assert_eq!(sources[low], Some(pair));
                    assert_eq!(sources[low + 8], Some(pair + rotated / 2));
                    let exact = 10_000_f64.powf(-(pair as f64) / (rotated / 2) as f64);
                    assert!((frequency / exact - 1.0).abs() < 1e-12);
                } else {
                    assert_eq!(frequency, 0.0);
                }
            }
        }
    }
}
