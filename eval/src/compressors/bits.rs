//! Compressed lengths in bits, for many inputs with the same beginning, as needed for sampling from a compressor. Only
//! compressors that pad their last byte with unused bits can give the number of bits. To add one, add a row in
//! [`IN_BITS`].

use std::io;

use lmtrain_runs::Medium;
use rayon::prelude::*;

use super::{Compressor, gzip};

/// Bits of the beginning followed by each of the ends.
type BitsOfEnds = fn(&[u8], &[&[u8]]) -> io::Result<Vec<u64>>;

/// The compressors that know their bits, by name. All others are counted in whole bytes.
const IN_BITS: &[(&str, BitsOfEnds)] = &[("gzip", gzip::bits_of_ends)];

impl Compressor {
    /// Whether its lengths are known in bits.
    #[must_use]
    pub fn knows_bits(&self) -> bool {
        self.in_bits().is_some()
    }

    /// The compressed length, in bits, of `beginning` followed by each of `ends`: eight times the number of bytes,
    /// unless the compressor [knows its bits](Self::knows_bits). Computed in parallel.
    ///
    /// # Errors
    /// If the compressor fails, for want of memory for instance.
    pub fn bits_of_ends(
        &self,
        beginning: &[u8],
        ends: &[&[u8]],
        medium: Medium,
    ) -> io::Result<Vec<u64>> {
        if let Some(in_bits) = self.in_bits() {
            return in_bits(beginning, ends);
        }
        let bits = |end: &&[u8]| {
            let whole = [beginning, end].concat();
            self.compress_chunk(&whole, medium).map(|bytes| 8 * bytes.len() as u64)
        };
        ends.par_iter().map(bits).collect()
    }

    fn in_bits(&self) -> Option<BitsOfEnds> {
        IN_BITS.iter().find(|(name, _)| *name == self.name).map(|(_, in_bits)| *in_bits)
    }
}

#[cfg(test)]
mod tests {
    use lmtrain_runs::Medium;
    use lmtrain_runs::random::SplitMix64;

    use super::super::COMPRESSORS;

    /// Repetitions among noise: matches that reach over the cut.
    fn sample(length: usize, seed: u64) -> Vec<u8> {
        let mut random = SplitMix64::new(seed);
        let mut bytes: Vec<u8> = Vec::new();
        while bytes.len() < length {
            let count = random.below(300) as usize;
            match bytes.len().checked_sub(1 + count + random.below(5000) as usize) {
                Some(start) => bytes.extend_from_within(start..start + count),
                None => bytes.extend((0..count).map(|_| random.below(60) as u8)),
            }
        }
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn lengths_are_those_of_the_whole_stream_wherever_it_is_cut() {
        for (length, seed) in [(0, 0), (1, 1), (260, 2), (2048, 3), (9000, 4), (150_000, 5)] {
            let bytes = sample(length, seed);
            for cut in [0, 1, 261, 262, 263, 500, length / 2, 65_274, 65_536, 65_537, length] {
                let (beginning, end) = bytes.split_at(cut.min(length));
                let ends = [end, b"", b"a quick brown fox"];
                for compressor in COMPRESSORS
                    .iter()
                    .filter(|it| it.knows_bits() || (cut == 1 && it.name == "lzma2"))
                {
                    let bits =
                        compressor.bits_of_ends(beginning, &ends, Medium::Bytes).expect("lengths");
                    for (bits, end) in bits.into_iter().zip(ends) {
                        let whole = [beginning, end].concat();
                        let expected =
                            compressor.compress_chunk(&whole, Medium::Bytes).expect("compresses");
                        let expected = expected.len() as u64;
                        assert_eq!(bits.div_ceil(8), expected, "{compressor:?} {length} {cut}");
                    }
                }
            }
        }
    }

    #[test]
    fn bits_are_finer_than_bytes() {
        let gzip = COMPRESSORS.iter().find(|it| it.knows_bits()).expect("gzip");
        let ends: Vec<[u8; 1]> = (0..=255).map(|byte| [byte]).collect();
        let ends: Vec<&[u8]> = ends.iter().map(<[u8; 1]>::as_slice).collect();
        let bits = gzip.bits_of_ends(&sample(2000, 7), &ends, Medium::Bytes).expect("lengths");
        assert!(bits.iter().any(|bits| bits % 8 != 0), "{bits:?}");
    }
}
