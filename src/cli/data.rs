//! `lmtrain data` and `lmtrain tokenizer`: corpora, and vocabularies of them.

use clap::{Args, Subcommand, ValueEnum};
use lmtrain_runs::Tokenization;
use lmtrain_runs::units::parse_count;

#[derive(Debug, Subcommand)]
pub(crate) enum Data {
    /// List corpora, where they are and how long they are
    List,
    /// Download corpora; an interrupted download continues where it stopped
    Fetch {
        /// enwik7, enwik8 (36 MB, serves enwik7 too) or enwik9 (323 MB, serves all three); kodak (15 MB),
        /// librispeech-dev-clean (338 MB), librispeech-test-clean (347 MB)
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Compare the corpora's checksums with the published ones
    Verify {
        /// Names or paths [default: every text in the data directory]
        names: Vec<String>,
        /// Fail if an image or a sound does not decode, instead of leaving it out
        #[arg(long)]
        strict: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Tokenizer {
    /// Vocabulary sizes, such as 1000,5000,20000; each includes the 256 single bytes
    #[arg(long, required = true, value_delimiter = ',', value_name = "N", value_parser = parse_vocabulary)]
    pub(crate) vocab: Vec<Tokenization>,
    /// Corpus to train on, by name or path
    #[arg(long, value_name = "NAME|PATH", default_value = lmtrain_runs::plan::DEFAULT_CORPUS)]
    pub(crate) corpus: String,
    /// Which bytes of the corpus to train on
    #[arg(long, value_enum, default_value_t = TrainOn::Split)]
    pub(crate) train_on: TrainOn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrainOn {
    /// The first 90 %; the next 5 % are for validation, the last 5 % for testing
    Split,
    /// Every byte, as in the paper
    All,
}

impl From<TrainOn> for lmtrain_runs::plan::TrainOn {
    fn from(train_on: TrainOn) -> Self {
        match train_on {
            TrainOn::Split => Self::Split,
            TrainOn::All => Self::All,
        }
    }
}

pub(super) fn parse_vocabulary(text: &str) -> Result<Tokenization, String> {
    format!("bpe-{}", parse_count(text)?).parse()
}
