//! `lmtrain generate`.

use std::path::PathBuf;

use clap::Args;
use lmtrain_runs::units::parse_count;

use super::values::parse_positive;

#[derive(Debug, Args)]
#[command(after_help = "\
In text, the context is the end of the prompt or the beginning of the chunk. In an image, it is the left half \
of every row, and the right half is sampled; in sound, it is the first half of the chunk. A single text sample \
is printed as it is; several get headings, and bytes that are not valid text are shown as \\xNN. Images are \
written as PNG files, sounds as WAV files with a figure. Samples are recorded for `lmtrain report`.")]
pub(crate) struct Generate {
    /// What to sample from: runs by name, packed networks (.lmw), networks that are built in (listed by `lmtrain help
    /// compress`), compressors such as gzip, folders of pretrained models
    #[arg(long, required = true, value_delimiter = ',', value_name = "NAME|FILE|DIR")]
    pub(crate) with: Vec<String>,
    #[command(flatten)]
    pub(crate) from: GenerateFrom,
    /// Which 2048-byte chunk of the corpus, counted from 0
    #[arg(long, value_name = "K", default_value_t = 0, requires = "corpus")]
    pub(crate) chunk: u64,
    /// Length of a text's context, in bytes [default: 1948]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) context_bytes: Option<u64>,
    /// Bytes of text to sample [default: 100]
    #[arg(long, value_name = "N", value_parser = parse_positive)]
    pub(crate) bytes: Option<usize>,
    /// Number of samples from each
    #[arg(long, value_name = "N", default_value = "3", value_parser = parse_positive)]
    pub(crate) samples: usize,
    /// Temperature: below 1 favours likely bytes, above 1 unlikely ones; 1 samples the coder's own distribution
    #[arg(long, default_value_t = 1.0, value_parser = parse_temperature)]
    pub(crate) temperature: f64,
    /// How many bytes ahead a compressor searches, with a beam; 1 weighs the next byte alone
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=16))]
    pub(crate) look_ahead: u64,
    /// Seed for the random bits
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder for PNG and WAV files [default: `generated` in the folder of the runs]
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

/// What comes before.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct GenerateFrom {
    /// Take the context from a chunk of this corpus, by name or path
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) corpus: Option<String>,
    /// Take the context from the end of this file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) prompt: Option<PathBuf>,
}

fn parse_temperature(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(temperature) if (0.01..=100.0).contains(&temperature) => Ok(temperature),
        _ => Err("it must be a number from 0.01 to 100".to_owned()),
    }
}
