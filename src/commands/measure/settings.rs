//! The settings of a measurement, resolved from the command line once.

use lmtrain_corpora::{Corpus, Part, Split};
use lmtrain_eval::measure::Draw;
use lmtrain_runs::plan::TrainOn;
use lmtrain_runs::record::{Chunking, Mask};
use lmtrain_runs::sweep::Shard;
use lmtrain_runs::{Precision, Span};

use crate::cli;
use crate::device::Device;

/// What is measured on each corpus.
#[derive(Clone, Copy)]
pub(in crate::commands) struct Settings {
    pub(in crate::commands) part: cli::CorpusPart,
    pub(in crate::commands) chunk: Chunking,
    pub(in crate::commands) sample: Option<Draw>,
    pub(in crate::commands) coding: bool,
    /// Whether bytes are masked as in the paper.
    pub(in crate::commands) masked: bool,
    pub(in crate::commands) again: bool,
    /// Which share of each network's groups of chunks, and of the compressors.
    pub(in crate::commands) share: Shard,
    /// Whether the rate against context is kept too.
    pub(in crate::commands) curve: bool,
    pub(in crate::commands) device: Device,
    pub(in crate::commands) precision: Precision,
}

impl Settings {
    /// The bytes of a corpus that are measured.
    pub(super) fn span_of(&self, corpus: &Corpus) -> Span {
        let split = Split::of_corpus(corpus, TrainOn::Split);
        match self.part {
            cli::CorpusPart::Whole => Span { start: 0, end: corpus.length() },
            cli::CorpusPart::Train => split.span(Part::Train),
            cli::CorpusPart::Validation => split.span(Part::Validation),
            cli::CorpusPart::Test => split.span(Part::Test),
        }
    }

    /// The mask on a corpus's bytes, if there is one.
    pub(super) fn mask(&self, corpus: &Corpus) -> Option<Mask> {
        self.masked.then(|| Mask::of(corpus.medium()))
    }

    /// How a corpus is cut for a network of this context.
    pub(super) fn chunking(&self, context: usize) -> Chunking {
        match self.chunk {
            Chunking::Strided { window: u64::MAX, stride } => {
                Chunking::Strided { window: context as u64, stride }
            }
            chunking => chunking,
        }
    }

    /// Bytes or tokens of a chunk or window, for a network of this context.
    pub(in crate::commands) fn length_in(&self, context: usize) -> u64 {
        length_of(self.chunking(context))
    }

    /// The device as records name it; f32 goes without saying.
    pub(super) fn computing_on(&self) -> String {
        match self.precision {
            Precision::F32 => self.device.to_string(),
            rounded => format!("{}, {rounded}", self.device),
        }
    }
}

/// Bytes or tokens of a chunk.
pub(in crate::commands) fn length_of(chunking: Chunking) -> u64 {
    match chunking {
        Chunking::Bytes(length) | Chunking::Tokens(length) => length,
        Chunking::Strided { window, .. } => window,
        Chunking::Whole => u64::MAX,
    }
}
