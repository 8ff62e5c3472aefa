//! The decoding side of the quantizer: from a position within a row's cumulative frequencies to the symbol there.

use super::{Interval, QuantizeError, Tally, narrow, steps};

/// Symbols that one prefix sum of a [`RowTable`] stands for.
const STRIDE: usize = 64;

/// Prefix sums of one row's frequencies, one for every few symbols: what a decoder can prepare
/// before it knows the target.
#[derive(Clone, Debug, Default)]
pub struct RowTable {
    /// Sum of the frequencies before symbol `STRIDE` · index; ascends strictly.
    starts: Vec<u32>,
    total: u32,
}

impl RowTable {
    /// Makes this the table of `row`.
    ///
    /// # Errors
    /// If the row is no distribution; the table is then of no row.
    pub fn fill(&mut self, row: &[f32]) -> Result<(), QuantizeError> {
        self.starts.clear();
        self.total = 0;
        let mut tally = Tally::default();
        for symbols in row.chunks(STRIDE) {
            self.starts.push(narrow(tally.frequencies));
            tally = tally.and(Tally::of(symbols));
        }
        self.total = tally.total(row)?;
        Ok(())
    }

    /// Sum of the row's frequencies.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.total
    }

    /// The symbol of `row` whose interval holds `target`, and that interval. `row` is the one that
    /// the table was filled from.
    ///
    /// # Errors
    /// If `target` is not below the total.
    pub fn find(&self, row: &[f32], target: u32) -> Result<(u32, Interval), QuantizeError> {
        let total = self.total;
        let outside = QuantizeError::Target { target, total };
        if target >= total {
            return Err(outside);
        }
        let stride = self.starts.partition_point(|&start| start <= target) - 1;
        let mut start = self.starts[stride];
        for (symbol, &probability) in row.iter().enumerate().skip(stride * STRIDE) {
            let size = narrow(steps(probability) + 1);
            if target - start < size {
                return Ok((narrow(symbol as u64), Interval { start, size, total }));
            }
            start += size;
        }
        Err(outside)
    }
}
