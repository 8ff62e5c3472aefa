//! The corpus `random`: uniform bytes that cannot be predicted.

use lmtrain_runs::random::SplitMix64;

/// Uniform bytes: the generator's numbers in little-endian order. A shorter run of them is a
/// prefix of a longer one.
pub(super) fn uniform_bytes(seed: u64, bytes: usize) -> Vec<u8> {
    let mut generator = SplitMix64::new(seed);
    let mut output = Vec::with_capacity(bytes);
    while output.len() < bytes {
        let word = generator.next_u64().to_le_bytes();
        let wanted = word.len().min(bytes - output.len());
        output.extend_from_slice(&word[..wanted]);
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_uniform_and_prefixes_agree() {
        let bytes = uniform_bytes(3, 1_000_001);
        assert_eq!(uniform_bytes(3, 1001), bytes[..1001]);
        assert!(uniform_bytes(3, 0).is_empty());
        let mut counts = [0f64; 256];
        for &byte in &bytes {
            counts[usize::from(byte)] += 1.0;
        }
        let expected = bytes.len() as f64 / 256.0;
        let chi_squared: f64 = counts.iter().map(|count| (count - expected).powi(2)).sum();
        // 255 degrees of freedom: mean 255, deviation 22.6; five deviations either way.
        assert!((142.0..368.0).contains(&(chi_squared / expected)), "{}", chi_squared / expected);
    }
}
