//! Which ranges of the corpus are measured.

use std::ops::Range;

use lmtrain_runs::record::{Sample, Span};

use super::MeasureError;
use crate::chunks::{self, Chunks};

/// Chunks drawn at random instead of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// How many.
    pub chunks: u64,
    /// Seed of the draw.
    pub seed: u64,
}

impl Draw {
    /// What sample of `span`, in chunks of `length` bytes, it is; none if it takes all of them.
    #[must_use]
    pub fn of(self, span: Span, length: u64) -> Option<Sample> {
        let of = Chunks::new(span.start..span.end, length).count();
        (self.chunks < of).then_some(Sample { chunks: self.chunks, of, seed: self.seed })
    }
}

/// Ranges to measure, ascending, and which sample of all they are, if they are one.
pub(super) struct Pieces {
    pub(super) ranges: Vec<Range<u64>>,
    pub(super) sample: Option<Sample>,
}

impl Pieces {
    /// `span` cut into pieces of `length` bytes, all or some. As many as there are, or more, is all.
    pub(super) fn cut(
        corpus: &[u8],
        span: &Range<u64>,
        length: u64,
        draw: Option<Draw>,
    ) -> Result<Self, MeasureError> {
        let corpus_length = corpus.len() as u64;
        if span.start > span.end || span.end > corpus_length {
            return Err(MeasureError::Span { span: span.clone(), length: corpus_length });
        }
        let chunks = Chunks::new(span.clone(), length);
        let of = chunks.count();
        let span = Span { start: span.start, end: span.end };
        let sample = draw.and_then(|draw| draw.of(span, length));
        let ranges = match sample {
            Some(Sample { chunks: count, seed, .. }) => {
                chunks::sample(of, count, seed).into_iter().map(|i| chunks.range(i)).collect()
            }
            None => (0..of).map(|index| chunks.range(index)).collect(),
        };
        Ok(Self { ranges, sample })
    }

    pub(super) fn raw_bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }
}

/// The bytes of a range that lies within the corpus.
pub(super) fn slice<'a>(corpus: &'a [u8], range: &Range<u64>) -> &'a [u8] {
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    corpus.get(index(range.start)..index(range.end)).unwrap_or_default()
}
