//! `lmtrain data` and `lmtrain tokenizer`: corpora, and vocabularies of them.

use clap::{Args, Subcommand, ValueEnum};
use lmtrain_runs::Tokenization;
use lmtrain_runs::units::parse_count;

#[derive(Debug, Subcommand)]
pub(crate) enum Data {
    /// What is where
    List,
    /// Download; goes on where it was interrupted
    Fetch {
        /// enwik7, enwik8 (36 MB, serves enwik7 too) or enwik9 (323 MB, serves all three); kodak (15 MB),
        /// librispeech-dev-clean (338 MB), librispeech-test-clean (347 MB)
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Compare checksums with the published ones
    Verify {
        /// Names or paths [default: every text that is there]
        names: Vec<String>,
        /// An image or a sound that does not decode is an error, and not left out
        #[arg(long)]
        strict: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Tokenizer {
    /// Tokens of the vocabularies, such as 1000,5000,20000; the 256 bytes are among them
    #[arg(long, required = true, value_delimiter = ',', value_name = "N", value_parser = parse_vocabulary)]
    pub(crate) vocab: Vec<Tokenization>,
    /// Corpus to train on, by name or path
    #[arg(long, value_name = "NAME|PATH", default_value = lmtrain_runs::plan::DEFAULT_CORPUS)]
    pub(crate) corpus: String,
    /// Which bytes train
    #[arg(long, value_enum, default_value_t = TrainOn::Split)]
    pub(crate) train_on: TrainOn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrainOn {
    /// The first 90 %; the next 5 % validate, the last 5 % test
    Split,
    /// Every byte, which is the paper's protocol
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
