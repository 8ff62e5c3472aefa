//! Measuring how well something compresses a range of a corpus: counts for a record, bits of each chunk for an
//! interval, and bits by position for the rate against context. [`Measurement`] measures a network,
//! [`CompressorMeasurement`] a classical compressor. Both process the corpus in groups of chunks, append each finished
//! group to a journal, and skip groups that are already there.

mod compressor;
mod journal;
mod mask;
mod network;
mod pieces;
mod positions;
mod prefixes;
mod share;
mod strided;

use std::io;
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;

use lmtrain_runs::record::{Chunking, Counts, Sample};
use lmtrain_runs::sweep::Shard;
use lmtrain_runs::{Bits, Bytes, FileError};

use crate::block::BlockError;
use crate::interval::{self, ChunkBits};
use crate::predictor::PredictorError;

pub use compressor::CompressorMeasurement;
pub use journal::forget;
pub use network::Measurement;
pub use pieces::Draw;
pub use positions::{Curve, positions};
pub use prefixes::PrefixMeasurement;

/// How far a measurement is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MeasureProgress {
    /// Raw bytes measured, those of an earlier session included.
    pub raw_bytes_done: u64,
    /// Raw bytes there are to measure.
    pub raw_bytes: u64,
    /// Of `raw_bytes_done`, those that an earlier session had measured.
    pub raw_bytes_resumed: u64,
    /// Bits of what is measured: ideal ones for a network.
    pub bits: f64,
    /// One past the last byte of the corpus that was measured.
    pub position: u64,
}

/// Called after each group, and more often where that is possible. A break stops with what is
/// finished kept in the journal.
pub type ProgressCallback<'a> = dyn FnMut(MeasureProgress) -> ControlFlow<()> + 'a;

/// How a measurement ended.
#[derive(Clone, Debug, PartialEq)]
pub enum MeasureOutcome {
    /// All is measured.
    Finished(Measured),
    /// The callback asked to stop.
    Stopped,
    /// A share is measured, and groups of other shares are not yet.
    Partial {
        /// Groups that the journal lacks.
        missing: u64,
        /// All groups.
        of: u64,
        /// The shares that they are in.
        shares: Vec<Shard>,
    },
}

/// What was measured, as counts. What does not apply is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Bytes compressed.
    pub raw_bytes: Bytes,
    /// Tokens coded or scored.
    pub tokens: Option<u64>,
    /// Σ −log2 p of the distribution that the coder uses, its floor included.
    pub ideal_bits: Option<Bits>,
    /// Σ −log2 p under the network's own distribution; absent if the coder ran and a probability was 0 in f32.
    pub cross_entropy_bits: Option<Bits>,
    /// What the coder or compressor emitted. A chunked compressor's header counts once.
    pub coded_bytes: Option<Bytes>,
    /// The header within `coded_bytes`: what a compressor makes of one zero byte.
    pub header_bytes: Bytes,
    /// Each chunk: ideal bits of a network, else coded bits less the header. One for a whole.
    pub chunks: Vec<ChunkBits>,
    /// Which chunks, if not all.
    pub sample: Option<Sample>,
    /// Chunks that were longer than the network's context, and cut.
    pub cut_chunks: u64,
    /// Bits that a decoder lacks, if bytes are masked.
    pub lost_bits: Option<Bits>,
    /// Bits that the paper's code takes as missed, if bytes are masked.
    pub missed_bits: Option<Bits>,
    /// A network's bits up to some positions of each chunk, if they were asked for.
    pub curve: Option<Curve>,
    /// Seconds that it took, over all sessions.
    pub seconds: f64,
}

impl Measured {
    /// The bits of each chunk rounded up to whole bytes, and these summed.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "lengths of chunks"
    )]
    pub fn padded_bytes(&self) -> Bytes {
        self.chunks.iter().map(|chunk| Bytes((chunk.bits / 8.0).ceil() as u64)).sum()
    }

    /// What a record holds of it.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            raw_bytes: self.raw_bytes,
            chunks: self.chunks.len() as u64,
            tokens: self.tokens,
            ideal_bits: self.ideal_bits,
            cross_entropy_bits: self.cross_entropy_bits,
            bits_interval: self.bits_interval(0),
            coded_bytes: self.coded_bytes,
            header_bytes: self.header_bytes,
            cut_chunks: (self.cut_chunks > 0).then_some(self.cut_chunks),
            lost_bits: self.lost_bits,
            missed_bits: self.missed_bits,
            padded_bytes: self.lost_bits.map(|_| self.padded_bytes()),
            seconds: self.seconds,
        }
    }

    /// 95 % interval of the total bits over chunks, the header included; see [`interval`].
    #[must_use]
    pub fn bits_interval(&self, seed: u64) -> Option<[Bits; 2]> {
        let header = self.header_bytes.as_bits();
        interval::bootstrap(&self.chunks, seed).map(|interval| interval.map(|bits| bits + header))
    }
}

/// What went wrong with a measurement.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The network failed.
    #[error(transparent)]
    Predictor(#[from] PredictorError),
    /// Chunks could not be coded.
    #[error("cannot code the chunks from byte {at} on: {source}")]
    Block {
        /// First byte of the group of chunks.
        at: u64,
        /// Why.
        source: BlockError,
    },
    /// The network gave scores of another shape than asked for, or that are no bits.
    #[error("cannot score the chunks from byte {at} on: {what}")]
    Score {
        /// First byte of the group of chunks.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// The tokenizer's tokens are not those that it was given bytes for.
    #[error("the tokenizer failed on bytes {}..{}: {what}", span.start, span.end)]
    Tokens {
        /// The bytes.
        span: Range<u64>,
        /// What is wrong.
        what: String,
    },
    /// The compressor failed.
    #[error("{name} failed: {source}")]
    Compressor {
        /// Its name.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A span outside the corpus.
    #[error("bytes {}..{} are outside the corpus of {length} bytes", span.start, span.end)]
    Span {
        /// The span.
        span: Range<u64>,
        /// Length of the corpus.
        length: u64,
    },
    /// A chunking that cannot be measured this way.
    #[error("cannot measure chunks of {chunking}: {why}")]
    Chunking {
        /// The chunking.
        chunking: Chunking,
        /// Why not.
        why: &'static str,
    },
    /// The journal could not be read or written, or is damaged.
    #[error(transparent)]
    Journal(#[from] FileError),
    /// The journal is of another measurement.
    #[error("{} belongs to another measurement ({found}, not {expected})\nhint: remove it, and measure again", path.display())]
    Foreign {
        /// The journal.
        path: PathBuf,
        /// Fingerprint in it.
        found: String,
        /// Fingerprint of this measurement.
        expected: String,
    },
}

#[cfg(test)]
mod tests;
