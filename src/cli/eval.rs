//! `lmtrain eval`.

use clap::{Args, ValueEnum};
use lmtrain_runs::recipe::Recipe;
use lmtrain_runs::record::{Chunking, WeightCode};
use lmtrain_runs::{Precision, Size, Tokenization};

use super::values::{MODEL, parse_positive};
use crate::device::Device;

#[derive(Clone, Debug, Args)]
pub(crate) struct Eval {
    /// Runs of these sizes
    #[arg(long, value_delimiter = ',')]
    pub(crate) size: Vec<Size>,
    /// Runs of these tokenizations
    #[arg(long, value_delimiter = ',')]
    pub(crate) tokenizer: Vec<Tokenization>,
    /// Runs of this recipe
    #[arg(long)]
    pub(crate) recipe: Option<Recipe>,
    /// Runs by name, and packed networks by file
    #[arg(long, value_delimiter = ',', value_name = "NAME|FILE.lmw")]
    pub(crate) run: Vec<String>,
    /// Pretrained models: folders with config.json, model.safetensors and tokenizer.json
    #[arg(long, value_delimiter = ',', value_name = MODEL)]
    pub(crate) model: Vec<String>,
    /// Classical compressors, chunked and whole: gzip, lzma2, png, png-32x64, oxipng, flac, zstd, brotli, bzip2, ppmd;
    /// and chunked alone: webp
    #[arg(long, value_delimiter = ',')]
    pub(crate) compressor: Vec<String>,
    /// Corpora by name or path [default: the test part of what each run was trained on]
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) corpus: Vec<String>,
    /// Which part of each corpus
    #[arg(long, value_enum, default_value_t = CorpusPart::Whole)]
    pub(crate) part: CorpusPart,
    /// Length of a chunk, each compressed from an empty context: bytes, or as 2048tokens [default: 2048]
    #[arg(long, value_name = "LENGTH", value_parser = parse_chunking)]
    pub(crate) chunk: Option<Chunking>,
    /// Let windows overlap: of each so many tokens are measured, after those before them. A window is as long as the
    /// network's context, or as --chunk says, in tokens; what overlaps is not coded
    #[arg(long, value_name = "TOKENS", value_parser = parse_positive)]
    pub(crate) stride: Option<usize>,
    /// Measure so many chunks, drawn at random, instead of all
    #[arg(long, value_name = "N", value_parser = parse_positive)]
    pub(crate) sample_chunks: Option<usize>,
    /// Seed of that draw
    #[arg(long, default_value_t = 0)]
    pub(crate) sample_seed: u64,
    /// What runs and pretrained models are given of each byte
    #[arg(long, value_enum, default_value_t = Protocol::Lossless)]
    pub(crate) protocol: Protocol,
    /// An image or a sound that does not decode is an error, and not left out
    #[arg(long)]
    pub(crate) strict: bool,
    /// Keep the rate against the length of what is compressed, too, for the report's figure
    #[arg(long)]
    pub(crate) curve: bool,
    /// Sum ideal bits only, and do not run the coder
    #[arg(long)]
    pub(crate) ideal: bool,
    /// Codes of the weights of runs and pretrained models: f32, f16, int8 and int4 (whole numbers, with which the
    /// network then computes); each is decoded and measured [default: the one that they are saved in]
    #[arg(long, value_delimiter = ',', value_name = "CODE")]
    pub(crate) weight_codes: Vec<WeightCode>,
    /// Measure again what is recorded already
    #[arg(long)]
    pub(crate) again: bool,
    /// Where to compute: auto, cpu, cuda, cuda:1 or cuda:all
    #[arg(long, default_value = "auto")]
    pub(crate) device: Device,
    /// Numbers that a GPU multiplies in; f32 measures what the processor would
    #[arg(long, value_name = "f32|bf16", default_value = "f32")]
    pub(crate) precision: Precision,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CorpusPart {
    /// All bytes
    Whole,
    /// The first 90 %; of images and sounds, of whole files
    Train,
    /// The next 5 %
    Validation,
    /// The last 5 %
    Test,
}

/// What a model is given of each byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// All of it; a byte that the vocabulary cannot spell is an error
    Lossless,
    /// As the paper's code: seven bits. A text's bytes that are no ASCII lose the highest one, all bytes of anything
    /// else the lowest; what is lost is counted
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
