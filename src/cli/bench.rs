//! `lmtrain bench`.

use clap::{Args, ValueEnum};
use lmtrain_runs::recipe::Recipe;
use lmtrain_runs::{Precision, Setting, Size, Tokenization};

use super::values::{parse_context, parse_positive, parse_trained};
use crate::device::Device;

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Sizes to measure
    #[arg(long, alias = "sizes", value_delimiter = ',', default_value = "200K,3.2M")]
    pub(crate) size: Vec<Size>,
    /// Tokenizer: bytes, or a BPE vocabulary such as bpe-5000
    #[arg(long, default_value = "bytes", value_parser = parse_trained)]
    pub(crate) tokenizer: Tokenization,
    /// Architecture and training settings: modern or paper
    #[arg(long, default_value = "modern")]
    pub(crate) recipe: Recipe,
    /// Override one of the recipe's choices, as with `fit`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Setting>,
    /// Sequences in a pass
    #[arg(long, default_value = "4", value_parser = parse_positive)]
    pub(crate) batch: usize,
    /// Length of a sequence, in tokens
    #[arg(long, default_value_t = lmtrain_runs::recipe::DEFAULT_CONTEXT, value_parser = parse_context)]
    pub(crate) context: usize,
    /// Number of timed steps, of which the median counts
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) steps: u64,
    /// What to measure [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Surface>,
    /// Device to compute on: auto, cpu, cuda, cuda:1, cuda:all or gpu (of any vendor)
    #[arg(long, default_value = "auto")]
    pub(crate) device: Device,
    /// Precision of matrix products in training, and in scoring on a GPU [default: bf16 on a GPU that supports it,
    /// otherwise f32; if the processor has bf16 instructions, training is measured in both]
    #[arg(long, value_name = "f32|bf16")]
    pub(crate) precision: Option<Precision>,
    /// Within a process of its own: the size to measure
    #[arg(long, hide = true, value_name = "SIZE")]
    pub(crate) within: Option<Size>,
}

/// What can be measured of a network's speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Surface {
    /// Training steps
    Train,
    /// Scoring: computing the ideal bits of whole chunks
    Score,
    /// Compressing and decompressing, and scoring too
    Code,
}
