//! The rate of a classical compressor against the length of its input: the beginnings of chunks, each compressed
//! separately.

use std::io;
use std::ops::Range;

use lmtrain_runs::{Bytes, Medium};
use rayon::prelude::*;

use super::pieces::{Draw, Pieces, slice};
use super::positions::{Curve, positions};
use super::{MeasureError, MeasureProgress, ProgressCallback};
use crate::compressors::Compressor;

/// Chunks between two signs of progress.
const GROUP_CHUNKS: usize = 64;

/// What is to be measured, of which compressor, on what.
#[derive(Clone, Debug)]
pub struct PrefixMeasurement<'a> {
    /// The compressor.
    pub compressor: &'static Compressor,
    /// The whole corpus.
    pub corpus: &'a [u8],
    /// The bytes of it to measure, or to draw from.
    pub span: Range<u64>,
    /// What the bytes are.
    pub medium: Medium,
    /// Bytes of a chunk.
    pub chunk: u64,
    /// Some chunks, if not all.
    pub sample: Option<Draw>,
}

impl PrefixMeasurement<'_> {
    /// Lengths of the beginnings of every chunk, each less the header; and the header. Nothing if stopped.
    ///
    /// # Errors
    /// If the span is not within the corpus, or the compressor fails.
    pub fn run(
        &self,
        progress: &mut ProgressCallback,
    ) -> Result<Option<(Curve, Bytes)>, MeasureError> {
        let pieces = Pieces::cut(self.corpus, &self.span, self.chunk.max(1), self.sample)?;
        let failed = |source| MeasureError::Compressor { name: self.compressor.name, source };
        let header = self.compressor.header_bytes(self.medium).map_err(failed)?;
        // Half a sample is none, and would be taken for samples of 8 bits.
        let whole = |end: &u64| end.is_multiple_of(self.medium.bytes_of_a_sample());
        let ends = positions(self.chunk).into_iter().filter(whole).collect();
        let mut curve = Curve { ends, chunks: Vec::new() };
        let mut so_far = MeasureProgress { raw_bytes: pieces.raw_bytes(), ..Default::default() };
        for ranges in pieces.ranges.chunks(GROUP_CHUNKS) {
            if progress(so_far).is_break() {
                return Ok(None);
            }
            let of_chunk = |range| self.of_chunk(slice(self.corpus, range), &curve.ends, header);
            let lengths = ranges.par_iter().map(of_chunk).collect::<io::Result<Vec<_>>>();
            let lengths = lengths.map_err(failed)?;
            so_far.bits += lengths.iter().filter_map(|chunk| chunk.last()).sum::<f64>();
            so_far.raw_bytes_done +=
                ranges.iter().map(|range| range.end - range.start).sum::<u64>();
            so_far.position = ranges.last().map_or(so_far.position, |range| range.end);
            curve.chunks.extend(lengths);
        }
        Ok(Some((curve, Bytes(header))))
    }

    #[expect(clippy::cast_precision_loss, reason = "lengths of chunks")]
    fn of_chunk(&self, chunk: &[u8], ends: &[u64], header: u64) -> io::Result<Vec<f64>> {
        let ends = ends.iter().filter_map(|&end| chunk.get(..usize::try_from(end).ok()?));
        let bits = |beginning| {
            let length = self.compressor.compress_chunk(beginning, self.medium)?.len() as u64;
            Ok(8.0 * length.saturating_sub(header) as f64)
        };
        ends.map(bits).collect()
    }
}
