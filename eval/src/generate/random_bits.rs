//! Random bits, and the range decoder reading them: a symbol of probability p is decoded with probability p.

use lmtrain_runs::random::SplitMix64;

use crate::coder::{CoderError, Decoder};
use crate::quantize::{Interval, QuantizeError, RowTable};

/// Bytes that a draw takes at most: a frequency is at least 1 of 2^31.
const BYTES_OF_A_DRAW: usize = 4;
/// Bytes that a decoder reads ahead.
const AHEAD: usize = 16;
/// Pages of random bits. A draw fails if the code is in the sliver at the end of the range that belongs to no
/// frequency, which is less than one in 2^25 of it; decoding then continues with the next page.
const PAGES: u64 = 4;

/// The random bits of one sample, enough for so many draws.
pub(super) fn pages(seed: u64, sample: u64, draws: usize) -> Vec<Vec<u8>> {
    let page = |page: u64| {
        let mut random = SplitMix64::stream(seed, sample * PAGES + page);
        let words = (BYTES_OF_A_DRAW * draws + AHEAD).div_ceil(8);
        (0..words).flat_map(|_| random.next_u64().to_be_bytes()).collect()
    };
    (0..PAGES).map(page).collect()
}

/// Why nothing was drawn.
#[derive(Debug)]
pub(super) enum DrawError {
    /// The row is no distribution.
    Row(QuantizeError),
    /// There are no more random bits.
    Bits(CoderError),
}

/// Decodes random bits.
pub(super) struct Draws<'a> {
    decoder: Decoder<'a>,
    rest: std::slice::Iter<'a, Vec<u8>>,
    table: RowTable,
}

impl<'a> Draws<'a> {
    pub(super) fn new(pages: &'a [Vec<u8>]) -> Self {
        let mut rest = pages.iter();
        let first = rest.next().map_or(&[][..], Vec::as_slice);
        Self { decoder: Decoder::new(first), rest, table: RowTable::default() }
    }

    /// Makes this row the one that is drawn from.
    pub(super) fn fill(&mut self, row: &[f32]) -> Result<(), DrawError> {
        self.table.fill(row).map_err(DrawError::Row)
    }

    /// The next symbol of the row.
    pub(super) fn draw(&mut self, row: &[f32]) -> Result<(u32, Interval), DrawError> {
        let total = self.table.total();
        let target = loop {
            match self.decoder.target(total) {
                Ok(target) => break target,
                Err(error) => match self.rest.next() {
                    Some(page) => self.decoder = Decoder::new(page),
                    None => return Err(DrawError::Bits(error)),
                },
            }
        };
        let (symbol, interval) = self.table.find(row, target).map_err(DrawError::Row)?;
        self.decoder.consume(interval);
        Ok((symbol, interval))
    }
}
