//! The counts of a measurement: everything that is a sum.

use serde::{Deserialize, Serialize};

use crate::units::{Bits, Bytes};

/// The counts of a measurement. What was not measured is absent, never 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Bytes that were compressed.
    pub raw_bytes: Bytes,
    /// Pieces that they were cut into.
    pub chunks: u64,
    /// Tokens that were coded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Σ −log2 p, summed in f64, under the distribution that the coder uses, including its floor, however it was
    /// measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ideal_bits: Option<Bits>,
    /// The same under the network's own distribution, which has no floor: the usual cross-entropy. Absent if the coder
    /// ran and a token's probability was 0 in f32. In records without `arithmetic`, `ideal_bits` is this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_entropy_bits: Option<Bits>,
    /// 95 % bootstrap interval of `ideal_bits` (else of 8 · `coded_bytes`) over chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_interval: Option<[Bits; 2]>,
    /// The bytes that the coder emitted; for a chunked classical compressor the header counts once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coded_bytes: Option<Bytes>,
    /// Header bytes within `coded_bytes`.
    pub header_bytes: Bytes,
    /// Chunks that were longer than the model's context, and cut into pieces that each start from an empty one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_chunks: Option<u64>,
    /// Bits that a decoder lacks for what the mask took, not within `coded_bytes`: one for each byte of a chunk that
    /// was not what it is without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_bits: Option<Bits>,
    /// Bits that the paper's code takes as missed: one for each byte that it changed or might have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_bits: Option<Bits>,
    /// Ideal bits of each chunk rounded up to whole bytes, and these summed: what the paper's code counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padded_bytes: Option<Bytes>,
    /// Seconds that the measurement took.
    pub seconds: f64,
}
