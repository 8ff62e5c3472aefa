//! Bits up to certain positions of each chunk: the rate against the length of the compressed data (the paper's figure
//! 6). The positions are logarithmically spaced.

use lmtrain_runs::curve::CurvePoint;
use lmtrain_runs::{Bits, Bytes};

use crate::interval::{self, ChunkBits};

/// Positions up to the end of a chunk, before those that fall together are one: 40 of 2048 are left.
const POSITIONS: u32 = 48;

/// The positions of a chunk of so many bytes: 1, 2, 3 and so on, ever further apart, and the last its end.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "lengths of chunks"
)]
pub fn positions(length: u64) -> Vec<u64> {
    let at =
        |step: u32| (length as f64).powf(f64::from(step) / f64::from(POSITIONS)).round() as u64;
    let mut positions: Vec<u64> =
        (0..POSITIONS).map(at).chain([length]).filter(|&end| end <= length && end > 0).collect();
    positions.dedup();
    positions
}

/// Bits of each chunk up to each position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// The positions, in bytes.
    pub ends: Vec<u64>,
    /// Of each chunk, its bits up to each position that it reaches.
    pub chunks: Vec<Vec<f64>>,
}

impl Curve {
    /// Sums over chunks, each with the header once, and the 95 % interval over chunks.
    #[must_use]
    pub fn points(&self, header_bytes: Bytes, seed: u64) -> Vec<CurvePoint> {
        let header = header_bytes.as_bits();
        let point = |(index, &end): (usize, &u64)| {
            let bits = self.chunks.iter().filter_map(|chunk| chunk.get(index));
            let chunks: Vec<ChunkBits> =
                bits.map(|&bits| ChunkBits { bits, raw_bytes: end }).collect();
            let bits = Bits(chunks.iter().map(|chunk| chunk.bits).sum()) + header;
            let interval = interval::bootstrap(&chunks, seed);
            let bits_interval = interval.map(|ends| ends.map(|bits| bits + header));
            let raw_bytes = Bytes(end * chunks.len() as u64);
            CurvePoint { end, raw_bytes, bits, bits_interval }
        };
        let points = self.ends.iter().enumerate().map(point);
        points.filter(|point| point.raw_bytes > Bytes(0)).collect()
    }
}

/// Bits up to each position of a chunk, given the bytes and bits of each of its tokens: a token's bits are spread
/// evenly over its bytes.
pub(super) fn up_to(ends: &[u64], tokens: impl Iterator<Item = (u64, f64)>) -> Vec<f64> {
    let (mut bits, mut at, mut sums) = (0.0, 0, Vec::new());
    let mut rest = ends.iter().peekable();
    for (bytes, of_token) in tokens {
        while let Some(&&end) = rest.peek().filter(|&&&end| end <= at + bytes && bytes > 0) {
            #[expect(clippy::cast_precision_loss, reason = "lengths of tokens")]
            let share = (end - at) as f64 / bytes as f64;
            sums.push(bits + share * of_token);
            rest.next();
        }
        at += bytes;
        bits += of_token;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_about_forty_and_end_with_the_chunk() {
        let ends = positions(2048);
        assert!((36..=44).contains(&ends.len()), "{}", ends.len());
        assert!(ends.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!((ends[..4].to_vec(), ends.last()), (vec![1, 2, 3, 4], Some(&2048)));
        assert_eq!(positions(1), [1]);
        assert_eq!(positions(3), [1, 2, 3]);
        assert!(positions(0).is_empty());
    }

    #[test]
    fn a_tokens_bits_are_spread_over_its_bytes() {
        let tokens = [(1, 8.0), (4, 4.0), (0, 1.0), (2, 2.0)];
        assert_eq!(up_to(&[1, 2, 3, 5, 6, 9], tokens.into_iter()), [8.0, 9.0, 10.0, 12.0, 14.0]);
    }

    #[test]
    fn points_sum_over_the_chunks_that_reach_them() {
        let chunks = vec![vec![8.0, 12.0], vec![4.0, 6.0], vec![3.0]];
        let curve = Curve { ends: vec![1, 4], chunks };
        let points = curve.points(Bytes(2), 0);
        assert_eq!((points[0].bits, points[0].raw_bytes), (Bits(31.0), Bytes(3)));
        assert_eq!((points[1].bits, points[1].raw_bytes), (Bits(34.0), Bytes(8)));
        let [low, high] = points[1].bits_interval.expect("two chunks");
        assert!(low.0 >= 28.0 && high.0 <= 40.0 && low.0 < high.0);
    }
}
