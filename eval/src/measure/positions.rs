//! Bits by position within the chunk. A token at position i was predicted from i tokens, so the
//! tokens before position 2^k cost what a chunk of 2^k tokens would: the rate against context
//! length, from one measurement.

use serde::{Deserialize, Serialize};

/// What the tokens at some positions cost, summed over chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PositionBits {
    /// One past the last position; a power of two.
    pub end: u64,
    /// Tokens there.
    pub tokens: u64,
    /// Raw bytes that they stand for.
    pub raw_bytes: u64,
    /// Their ideal bits.
    pub bits: f64,
}

/// The power of two that a position falls before: 1, 2, 4, 4, 8, 8, 8, 8 …
pub(super) fn end_of(position: usize) -> u64 {
    (position as u64 + 1).next_power_of_two()
}

/// Adds one sum to the row of its positions.
pub(super) fn add(rows: &mut Vec<PositionBits>, sum: PositionBits) {
    let row = sum.end.trailing_zeros() as usize;
    while rows.len() <= row {
        rows.push(PositionBits { end: 1 << rows.len(), ..Default::default() });
    }
    rows[row].tokens += sum.tokens;
    rows[row].raw_bytes += sum.raw_bytes;
    rows[row].bits += sum.bits;
}

/// For each power of two, what all tokens before that position cost: the first row is of the first
/// tokens alone, the last of all.
#[must_use]
pub fn by_context(positions: &[PositionBits]) -> Vec<PositionBits> {
    let sum = |sum: &mut PositionBits, row: &PositionBits| {
        sum.end = row.end;
        sum.tokens += row.tokens;
        sum.raw_bytes += row.raw_bytes;
        sum.bits += row.bits;
        Some(*sum)
    };
    positions.iter().scan(PositionBits::default(), sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_fall_into_powers_of_two() {
        let ends: Vec<u64> = (0..9).map(end_of).collect();
        assert_eq!(ends, [1, 2, 4, 4, 8, 8, 8, 8, 16]);
        let mut rows = Vec::new();
        for (position, bits) in [8.0, 6.0, 4.0, 4.0, 2.0].into_iter().enumerate() {
            add(&mut rows, PositionBits { end: end_of(position), tokens: 1, raw_bytes: 1, bits });
        }
        let sums: Vec<(u64, u64, f64)> =
            by_context(&rows).iter().map(|row| (row.end, row.tokens, row.bits)).collect();
        assert_eq!(sums, [(1, 1, 8.0), (2, 2, 14.0), (4, 4, 22.0), (8, 5, 24.0)]);
    }
}
