//! `lmtrain generate`.

use std::path::PathBuf;

use clap::Args;
use lmtrain_runs::units::parse_count;

use super::values::parse_positive;

#[derive(Debug, Args)]
#[command(after_help = "\
A text's context is the last bytes of a prompt, or the first ones of a chunk. Of an image, the left half of every row \
is given and the right half drawn; of a sound, the first half of the chunk is given. One sample of a text is printed as \
it is; several have headings, and bytes that are no text are shown as \\xNN. Images become PNGs, sounds WAVs with a \
figure. Samples are recorded, and `lmtrain report` shows them.")]
pub(crate) struct Generate {
    /// What draws: runs by name, packed networks (.lmw), compressors such as gzip, folders of pretrained models
    #[arg(long, required = true, value_delimiter = ',', value_name = "NAME|FILE|DIR")]
    pub(crate) with: Vec<String>,
    #[command(flatten)]
    pub(crate) from: GenerateFrom,
    /// Which chunk of 2048 bytes of the corpus, from 0
    #[arg(long, value_name = "K", default_value_t = 0, requires = "corpus")]
    pub(crate) chunk: u64,
    /// Bytes of a text's context [default: 1948]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) context_bytes: Option<u64>,
    /// Bytes of a text to draw [default: 100]
    #[arg(long, value_name = "N", value_parser = parse_positive)]
    pub(crate) bytes: Option<usize>,
    /// Samples to draw
    #[arg(long, value_name = "N", default_value = "3", value_parser = parse_positive)]
    pub(crate) samples: usize,
    /// Below 1 the likely becomes likelier, above 1 less so; at 1 what is drawn is what the coder believes
    #[arg(long, default_value_t = 1.0, value_parser = parse_temperature)]
    pub(crate) temperature: f64,
    /// Bytes that a compressor looks ahead, by a beam; 1 is the next byte alone
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=16))]
    pub(crate) look_ahead: u64,
    /// Seed of the random bits
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder for PNGs and WAVs [default: generated, in the runs' folder]
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

/// What comes before.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct GenerateFrom {
    /// A corpus by name or path, of which a chunk begins the samples
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) corpus: Option<String>,
    /// A file whose end is the context; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) prompt: Option<PathBuf>,
}

fn parse_temperature(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(temperature) if (0.01..=100.0).contains(&temperature) => Ok(temperature),
        _ => Err("it is a number from 0.01 to 100".to_owned()),
    }
}
