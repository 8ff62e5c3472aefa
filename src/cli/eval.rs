//! `lmtrain eval`.

use clap::{Args, ValueEnum};
use lmtrain_runs::recipe::Recipe;
use lmtrain_runs::record::{Chunking, WeightCode};
use lmtrain_runs::sweep::Shard;
use lmtrain_runs::{Precision, Size, Tokenization};

use super::values::{MODEL, parse_positive};
use crate::device::Device;

#[derive(Clone, Debug, Args)]
pub(crate) struct Eval {
    /// Measure runs of these sizes
    #[arg(long, value_delimiter = ',')]
    pub(crate) size: Vec<Size>,
    /// Measure runs with these tokenizers
    #[arg(long, value_delimiter = ',')]
    pub(crate) tokenizer: Vec<Tokenization>,
    /// Measure runs of this recipe
    #[arg(long)]
    pub(crate) recipe: Option<Recipe>,
    /// Measure these runs, packed networks (.lmw) or networks that are built in (listed by `lmtrain help compress`)
    #[arg(long, value_delimiter = ',', value_name = "NAME|FILE.lmw")]
    pub(crate) run: Vec<String>,
    /// Measure pretrained models: folders with config.json, model.safetensors and tokenizer.json
    #[arg(long, value_delimiter = ',', value_name = MODEL)]
    pub(crate) model: Vec<String>,
    /// Measure classical compressors, on chunks and on whole corpora: gzip, lzma2, png, png-32x64, oxipng, flac, zstd,
    /// brotli, bzip2, ppmd; on chunks only: webp
    #[arg(long, value_delimiter = ',')]
    pub(crate) compressor: Vec<String>,
    /// Corpora to measure on, by name or path [default: the test part of each run's training corpus]
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) corpus: Vec<String>,
    /// Which part of each corpus to measure
    #[arg(long, value_enum, default_value_t = CorpusPart::Whole)]
    pub(crate) part: CorpusPart,
    /// Length of a chunk in bytes, or in tokens as in 2048tokens; each starts from an empty context [default: 2048]
    #[arg(long, value_name = "LENGTH", value_parser = parse_chunking)]
    pub(crate) chunk: Option<Chunking>,
    /// Measure in overlapping windows that advance by this many tokens; in each window only the new tokens count. A
    /// window is as long as the network's context or, if given, --chunk, in tokens. Gives ideal bits only, since the
    /// coder does not run
    #[arg(long, value_name = "TOKENS", value_parser = parse_positive)]
    pub(crate) stride: Option<usize>,
    /// Measure this many chunks, drawn at random, instead of all
    #[arg(long, value_name = "N", value_parser = parse_positive)]
    pub(crate) sample_chunks: Option<usize>,
    /// Seed for drawing those chunks
    #[arg(long, default_value_t = 0)]
    pub(crate) sample_seed: u64,
    /// What runs and pretrained models see of each byte
    #[arg(long, value_enum, default_value_t = Protocol::Lossless)]
    pub(crate) protocol: Protocol,
    /// Fail if an image or a sound does not decode, instead of leaving it out
    #[arg(long)]
    pub(crate) strict: bool,
    /// Also record how the rate changes along a chunk, for the report's figure "Rate against context"
    #[arg(long)]
    pub(crate) curve: bool,
    /// Compute only ideal bits, without running the coder
    #[arg(long)]
    pub(crate) ideal: bool,
    /// Encode the weights as f32 (runs only), f16, int8 or int4, and measure the decoded network, which for int8 and
    /// int4 computes with these integers [default: the weights as they are saved]
    #[arg(long, value_delimiter = ',', value_name = "CODE")]
    pub(crate) weight_codes: Vec<WeightCode>,
    /// Measure only the I-th of N shares of each network's chunks, such as 1/4. Several jobs with the same folder of
    /// runs can measure one share each; the last one to finish records the rate. The same command continues a share that
    /// was cut off. Each compressor is measured whole, by one of the shares
    #[arg(long, value_name = "I/N", default_value = "1/1", conflicts_with = "again")]
    pub(crate) shard: Shard,
    /// Measure again even if a rate is recorded already
    #[arg(long)]
    pub(crate) again: bool,
    /// Device to compute on: auto, cpu, cuda, cuda:1, cuda:all or gpu (of any vendor)
    #[arg(long, default_value = "auto")]
    pub(crate) device: Device,
    /// Precision of matrix products on a GPU; f32 agrees with the processor
    #[arg(long, value_name = "f32|bf16", default_value = "f32")]
    pub(crate) precision: Precision,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CorpusPart {
    /// Every byte
    Whole,
    /// The first 90 %; images and sounds are divided between files
    Train,
    /// The next 5 %
    Validation,
    /// The last 5 %
    Test,
}

/// What a model is given of each byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// All eight bits; a byte that the vocabulary cannot represent is an error
    Lossless,
    /// Seven bits, as in the paper's code: in text, non-ASCII bytes lose their highest bit; in other media, every byte
    /// loses its lowest. Lost bits are counted
    Paper,
}

/// Bytes of a chunk where the command line does not say.
const CHUNK: u64 = 2048;

impl Eval {
    /// How corpora are cut; a window of `u64::MAX` tokens is as long as the network's context.
    pub(crate) fn chunking(&self) -> Chunking {
        match (self.chunk, self.stride) {
            (None, None) => Chunking::Bytes(CHUNK),
            (Some(chunk), None) => chunk,
            (chunk, Some(stride)) => {
                let window = match chunk {
                    Some(Chunking::Bytes(length) | Chunking::Tokens(length)) => length,
                    _ => u64::MAX,
                };
                Chunking::Strided { window, stride: stride as u64 }
            }
        }
    }
}

impl Eval {
    /// The corpora asked for: lists are split at commas, except at those within a name, as in
    /// `markov:order=1,seed=2`.
    pub(crate) fn corpora(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for list in &self.corpus {
            for (index, piece) in list.split(',').enumerate() {
                let option = index > 0 && piece.contains('=') && !piece.contains(':');
                match names.last_mut().filter(|name| option && name.contains(':')) {
                    Some(name) => *name += &format!(",{piece}"),
                    None => names.push(piece.to_owned()),
                }
            }
        }
        names
    }
}

/// `2048` bytes, or `2048tokens`.
pub(super) fn parse_chunking(text: &str) -> Result<Chunking, String> {
    match text.strip_suffix("tokens") {
        Some(tokens) => parse_positive(tokens.trim_end()).map(|it| Chunking::Tokens(it as u64)),
        None => parse_positive(text).map(|bytes| Chunking::Bytes(bytes as u64)),
    }
}
