//! The command line, as types. Everything is resolved once, in `commands/`, into plans and
//! measurements; nothing further in reads arguments.

use std::path::PathBuf;

use crate::device::Device;
use clap::{Args, Parser, Subcommand, ValueEnum};
#[cfg(feature = "train")]
use lmtrain_runs::Setting;
#[cfg(feature = "train")]
use lmtrain_runs::plan::MOST_CONTEXT;
use lmtrain_runs::recipe::{self, Choice, Recipe};
use lmtrain_runs::record::{Chunking, WeightCode};
#[cfg(feature = "train")]
use lmtrain_runs::sweep::Shard;
use lmtrain_runs::units::parse_count;
use lmtrain_runs::{Precision, Size, Tokenization};

const EXAMPLES: &str = "\
Examples:
  lmtrain quickstart                                  everything once, in a few minutes
  lmtrain fit --size 200K --corpus enwik8 --minutes 10
  lmtrain eval --size 200K --corpus enwik8 --compressor gzip,lzma2
  lmtrain eval --model ./Llama-3.2-1B --corpus enwik8 --sample-chunks 500
  lmtrain compress book.txt -o book.lmz --run 200K-bytes-modern-s0
  lmtrain decompress book.lmz -o book.txt
  lmtrain generate --with 200K-bytes-modern-s0,gzip --corpus enwik8 --chunk 7
  lmtrain report --open";

/// Train small language models and use them as lossless compressors.
#[derive(Debug, Parser)]
#[command(name = "lmtrain", version = version(), after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Where runs are kept [default: ./runs]
    #[arg(long, global = true, value_name = "DIR", env = "LMTRAIN_RUNS", hide_env_values = true)]
    pub(crate) runs_dir: Option<PathBuf>,
    /// Where corpora are kept [default: the user's data directory]
    #[arg(long, global = true, value_name = "DIR", env = "LMTRAIN_DATA", hide_env_values = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where vocabularies are kept [default: ./tokenizers/vocab]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "LMTRAIN_TOKENIZERS",
        hide_env_values = true
    )]
    pub(crate) tokenizers_dir: Option<PathBuf>,
    /// Print results as one JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print results and errors only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything once, in a few minutes: fit, evaluate, round-trip a file, report
    #[cfg(feature = "train")]
    Quickstart(Quickstart),
    /// Corpora: where they are, downloads, checksums
    #[command(subcommand)]
    Data(Data),
    /// Train vocabularies for byte-pair encoding; `fit` trains those that are missing
    Tokenizer(Tokenizer),
    /// Train a network
    #[cfg(feature = "train")]
    Fit(Fit),
    /// Many runs and their measurements; skips what is done, resumes what was begun
    #[cfg(feature = "train")]
    Sweep(Sweep),
    /// Measure compression rates of runs, pretrained models and compressors on corpora
    Eval(Eval),
    /// Compress a file with a run or a pretrained model
    Compress(Compress),
    /// Restore a file that `compress` made
    Decompress(Decompress),
    /// Draw what a run, a pretrained model or a compressor takes to be likely after a context
    Generate(Generate),
    /// Figures, tables and one page of all that was measured
    Report(Report),
    /// Training, scoring and coding speed on this machine
    #[cfg(feature = "train")]
    Bench(Bench),
    /// The table of choices: what each recipe has, and what `fit --set` takes
    Recipes,
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[cfg(feature = "train")]
#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// Do not try to download enwik8
    #[arg(long)]
    pub(crate) offline: bool,
    /// Minutes of training
    #[arg(long, default_value_t = 2.0, value_parser = parse_minutes)]
    pub(crate) minutes: f64,
    /// Train on this corpus, by name or path [default: enwik8, or another text that is there]
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) corpus: Option<String>,
}

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

#[cfg(feature = "train")]
#[derive(Debug, Args)]
#[command(after_help = after_fit())]
pub(crate) struct Fit {
    /// Sizes: 50K, 200K, 800K, 1.6M, 3.2M, 6.4M, 12M, 19M, 38M, or a shape such as w160l4h5
    #[arg(long, value_delimiter = ',', required_unless_present_all = ["resume", "name"])]
    pub(crate) size: Vec<Size>,
    /// How bytes become tokens: bytes, bpe-5000 [default: bytes]
    #[arg(long, value_delimiter = ',', value_parser = parse_trained)]
    pub(crate) tokenizer: Vec<Tokenization>,
    /// Make the network so much narrower that it has no more parameters in all than with bytes
    #[arg(long)]
    pub(crate) equal_total: bool,
    /// Corpus to train on, by name or path: a text, or a folder of images or sounds. Several joined by `+` are mixed, in
    /// proportion to their lengths, or to weights as in `enwik8:8+kodak:1` [default: enwik8]
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) corpus: Option<String>,
    /// Row of choices: modern practice, or what the paper published [default: modern]
    #[arg(long)]
    pub(crate) recipe: Option<Recipe>,
    /// Choose otherwise than the recipe; the keys are below
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Setting>,
    #[command(flatten)]
    pub(crate) budget: BudgetArguments,
    /// Tokens of a sequence [default: 2048]
    #[arg(long, value_parser = parse_context)]
    pub(crate) context: Option<usize>,
    /// Sequences of one pass: `--set batch=N` [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = parse_batch)]
    pub(crate) batch: Option<Setting>,
    /// Passes whose gradients make one step; more, with a smaller batch, saves memory:
    /// `--set accumulation=N` [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = parse_accumulation)]
    pub(crate) accumulate: Option<Setting>,
    /// Which bytes train [default: split]
    #[arg(long, value_enum)]
    pub(crate) train_on: Option<TrainOn>,
    /// Seed of the weights and of the data's order [default: 0]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// An image or a sound that does not decode is an error, and not left out
    #[arg(long)]
    pub(crate) strict: bool,
    /// Where to compute: auto, cpu, cuda, cuda:1 or cuda:all
    #[arg(long, default_value = "auto")]
    pub(crate) device: Device,
    /// Numbers to multiply in, f32 or bf16 [default: bf16 on a GPU that knows it]
    #[arg(long, value_name = "f32|bf16")]
    pub(crate) precision: Option<Precision>,
    /// Name of the run [default: made of the choices]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Go on with a run that was stopped; what is left out is as the run was begun
    #[arg(long, conflicts_with = "overwrite")]
    pub(crate) resume: bool,
    /// Throw away the run of this name, its records included, and start anew
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Plain lines instead of the dashboard on a terminal
    #[arg(long)]
    pub(crate) plain: bool,
    /// Print the resolved plan, and train nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[cfg(feature = "train")]
/// How much training; 20 tokens per non-embedding parameter if nothing is said.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct BudgetArguments {
    /// Train on so many tokens, such as 100M [default: 20 tokens per non-embedding parameter]
    #[arg(long, value_parser = parse_count)]
    pub(crate) tokens: Option<u64>,
    /// Train for so many steps
    #[arg(long, value_parser = parse_count)]
    pub(crate) steps: Option<u64>,
    /// Train for about so many minutes; a few timed steps decide how many fit
    #[arg(long, value_parser = parse_minutes)]
    pub(crate) minutes: Option<f64>,
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

#[cfg(feature = "train")]
#[derive(Debug, Args)]
#[command(after_help = "\
A plan is a TOML file: every `[[fit]]` is a grid, whose keys are the flags of `lmtrain fit` and whose
lists are combined; every `[[eval]]` has the flags of `lmtrain eval` and measures each run. Some plans
come along, and `--list` names them; a file of the same name is meant by `./NAME`. With `--size`, the
flags below are one grid. With neither, the study `pocket` is made on enwik8, or on the largest text
that is in the data directory.")]
pub(crate) struct Sweep {
    /// A plan that comes along, or a file
    #[arg(value_name = "NAME|PLAN.toml", conflicts_with_all = [
        "size", "list", "tokenizer", "recipe", "set", "seed", "corpus", "tokens", "minutes",
        "eval_corpus", "sample_chunks", "compressor",
    ])]
    pub(crate) plan: Option<PathBuf>,
    /// Name the plans that come along, and about how long each trains on this machine
    #[arg(long, conflicts_with_all = ["size", "dry_run"])]
    pub(crate) list: bool,
    /// Sizes
    #[arg(long, alias = "sizes", value_delimiter = ',')]
    pub(crate) size: Vec<String>,
    /// Tokenizers
    #[arg(long, alias = "tokenizers", value_delimiter = ',', requires = "size")]
    pub(crate) tokenizer: Vec<String>,
    /// Recipes
    #[arg(long, alias = "recipes", value_delimiter = ',', requires = "size")]
    pub(crate) recipe: Vec<String>,
    /// Choices otherwise than the recipe's, such as matrix-learning-rate=0.01,0.02
    #[arg(long, value_name = "KEY=VALUE,…", requires = "size")]
    pub(crate) set: Vec<String>,
    /// Seeds
    #[arg(long, alias = "seeds", value_delimiter = ',', requires = "size")]
    pub(crate) seed: Vec<String>,
    /// Corpora to train on
    #[arg(long, value_delimiter = ',', value_name = "NAME|PATH", requires = "size")]
    pub(crate) corpus: Vec<String>,
    /// Tokens to train on
    #[arg(long, value_delimiter = ',', conflicts_with = "minutes", requires = "size")]
    pub(crate) tokens: Vec<String>,
    /// Minutes of training
    #[arg(long, value_delimiter = ',', requires = "size")]
    pub(crate) minutes: Vec<String>,
    /// Corpora to measure on [default: the test part of each run's own]
    #[arg(long, value_delimiter = ',', value_name = "NAME|PATH", requires = "size")]
    pub(crate) eval_corpus: Vec<String>,
    /// Measure so many chunks, drawn at random, instead of all
    #[arg(long, value_name = "N", requires = "size")]
    pub(crate) sample_chunks: Option<usize>,
    /// Classical compressors to measure beside
    #[arg(long, value_delimiter = ',', requires = "size")]
    pub(crate) compressor: Vec<String>,
    /// Do the i-th of n shares, such as 1/4: together they are the sweep, each run in one of them
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    pub(crate) shard: Shard,
    /// Where to compute: auto, cpu, cuda, cuda:1 or cuda:all
    #[arg(long, default_value = "auto")]
    pub(crate) device: Device,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

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
    /// Runs by name
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub(crate) run: Vec<String>,
    /// Pretrained models: folders with config.json, model.safetensors and tokenizer.json
    #[arg(long, value_delimiter = ',', value_name = MODEL)]
    pub(crate) model: Vec<String>,
    /// Classical compressors, chunked and whole: gzip, lzma2, png, png-32x64, oxipng, flac, zstd, brotli, bzip2, ppmd,
    /// webp
    #[arg(long, value_delimiter = ',')]
    pub(crate) compressor: Vec<String>,
    /// Corpora by name or path [default: the test part of what each run was trained on]
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) corpus: Vec<String>,
    /// Which part of each corpus
    #[arg(long, value_enum, default_value_t = Part::Whole)]
    pub(crate) part: Part,
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
    /// Codes of the weights: f16 as they are saved, f32, int8 with a scale a row, int8-xz; each is
    /// decoded and measured
    #[arg(long, value_delimiter = ',', value_name = "CODE", default_value = "f16")]
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

/// Bytes of a chunk where the command line does not say.
const CHUNK: u64 = 2048;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
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

/// What `--model` takes.
const MODEL: &str = if cfg!(feature = "hub") { "DIR|OWNER/NAME" } else { "DIR" };

#[derive(Debug, Args)]
pub(crate) struct Compress {
    /// File to compress; `-` is standard input
    pub(crate) file: PathBuf,
    /// Archive to write; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) by: CompressBy,
    /// Put the run's weights into the archive, so that it decodes by itself
    #[arg(long, conflicts_with = "model")]
    pub(crate) embed_model: bool,
}

/// What predicts.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CompressBy {
    /// Run that predicts
    #[arg(long, value_name = "NAME")]
    pub(crate) run: Option<String>,
    /// Pretrained model that predicts; decompressing needs it too
    #[arg(long, value_name = MODEL)]
    pub(crate) model: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Decompress {
    /// Archive; `-` is standard input
    pub(crate) file: PathBuf,
    /// File to write; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Pretrained model that the archive was made with, if it was
    #[arg(long, value_name = MODEL)]
    pub(crate) model: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A text's context is the last bytes of a prompt, or the first ones of a chunk. Of an image, the left half of every row
is given and the right half drawn; of a sound, the first half of the chunk is given. One sample of a text is printed as
it is; several have headings, and bytes that are no text are shown as \\xNN. Images become PNGs, sounds WAVs with a
figure. Samples are recorded, and `lmtrain report` shows them.")]
pub(crate) struct Generate {
    /// What draws: runs by name, compressors such as gzip, folders of pretrained models
    #[arg(long, required = true, value_delimiter = ',', value_name = "NAME|DIR")]
    pub(crate) with: Vec<String>,
    #[command(flatten)]
    pub(crate) from: GenerateFrom,
    /// Which chunk of 2048 bytes of the corpus, from 0
    #[arg(long, value_name = "K", default_value_t = 0, requires = "corpus")]
    pub(crate) chunk: u64,
    /// Bytes of the context [default: 1948]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) context_bytes: Option<u64>,
    /// Bytes to draw [default: 100]
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

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Folder to write [default: report, in the runs' folder]
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Draw the rate against these choices too, such as matrix-learning-rate: a line a size
    #[arg(long, value_name = "KEY", value_delimiter = ',', value_parser = parse_axis)]
    pub(crate) by: Vec<&'static Choice>,
    /// Open the page in a browser
    #[arg(long)]
    pub(crate) open: bool,
}

#[cfg(feature = "train")]
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Sizes to measure
    #[arg(long, alias = "sizes", value_delimiter = ',', default_value = "200K,3.2M")]
    pub(crate) size: Vec<Size>,
    /// How bytes become tokens
    #[arg(long, default_value = "bytes", value_parser = parse_trained)]
    pub(crate) tokenizer: Tokenization,
    /// Row of choices
    #[arg(long, default_value = "modern")]
    pub(crate) recipe: Recipe,
    /// Choose otherwise than the recipe, as with `fit`
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Setting>,
    /// Sequences of one pass
    #[arg(long, default_value = "4", value_parser = parse_positive)]
    pub(crate) batch: usize,
    /// Tokens of a sequence
    #[arg(long, default_value_t = lmtrain_runs::plan::DEFAULT_CONTEXT, value_parser = parse_context)]
    pub(crate) context: usize,
    /// Timed steps, of which the median is taken
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) steps: u64,
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Surface>,
    /// Where to compute: auto, cpu, cuda, cuda:1 or cuda:all
    #[arg(long, default_value = "auto")]
    pub(crate) device: Device,
    /// Numbers to multiply in, f32 or bf16 [default: bf16 on a GPU that knows it]
    #[arg(long, value_name = "f32|bf16")]
    pub(crate) precision: Option<Precision>,
    /// Within a process of its own: the size to measure
    #[arg(long, hide = true, value_name = "SIZE")]
    pub(crate) within: Option<Size>,
}

#[cfg(feature = "train")]
/// What can be measured of a network's speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Surface {
    /// Training steps
    Train,
    /// Ideal bits of whole chunks
    Score,
    /// Compressing and decompressing, and scoring
    Code,
}

impl Arguments {
    /// Whether nothing is to be said of a signal: another process, which is told of it too, watches this.
    pub(crate) fn is_quiet_on_signals(&self) -> bool {
        #[cfg(feature = "train")]
        if let Command::Bench(bench) = &self.command
            && bench.within.is_some()
        {
            return true;
        }
        self.common.quiet
    }
}

#[cfg(feature = "train")]
impl Fit {
    /// The tokenizations asked for.
    pub(crate) fn tokenizers(&self) -> Vec<Tokenization> {
        match &self.tokenizer[..] {
            [] => vec![Tokenization::Bytes],
            tokenizers => tokenizers.to_vec(),
        }
    }

    /// The choices made beside the recipe's.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        self.batch.iter().chain(&self.accumulate).chain(&self.set).cloned().collect()
    }

    /// Which bytes are to train.
    pub(crate) fn trains_on(&self) -> lmtrain_runs::plan::TrainOn {
        self.train_on.map(Into::into).unwrap_or_default()
    }

    /// The corpus asked for.
    pub(crate) fn corpus(&self) -> &str {
        self.corpus.as_deref().unwrap_or(lmtrain_runs::plan::DEFAULT_CORPUS)
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

/// Version and, if known, commit.
fn version() -> &'static str {
    match option_env!("LMTRAIN_COMMIT") {
        Some(commit) => {
            Box::leak(format!("{} ({commit})", env!("CARGO_PKG_VERSION")).into_boxed_str())
        }
        None => env!("CARGO_PKG_VERSION"),
    }
}

fn parse_positive(text: &str) -> Result<usize, String> {
    match parse_count(text)? {
        0 => Err("it must be at least 1".to_owned()),
        count => usize::try_from(count).map_err(|_| "it is too large".to_owned()),
    }
}

fn parse_temperature(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(temperature) if (0.01..=100.0).contains(&temperature) => Ok(temperature),
        _ => Err("it is a number from 0.01 to 100".to_owned()),
    }
}

#[cfg(feature = "train")]
/// `4` as `--set batch=4`.
fn parse_batch(text: &str) -> Result<Setting, String> {
    format!("batch={}", parse_count(text)?).parse()
}

#[cfg(feature = "train")]
/// `4` as `--set accumulation=4`.
fn parse_accumulation(text: &str) -> Result<Setting, String> {
    format!("accumulation={}", parse_count(text)?).parse()
}

/// A choice that rates can be drawn against.
fn parse_axis(text: &str) -> Result<&'static Choice, String> {
    let choice = recipe::choice(text)?;
    let numeric = choice.is_numeric().then_some(choice);
    numeric.ok_or_else(|| format!("`{text}` is {}: no number to draw against", choice.range()))
}

#[cfg(feature = "train")]
/// The table of choices, as `fit --help` ends with it.
fn after_fit() -> String {
    let mut text = "Choices that `--set` takes (`lmtrain recipes` has each recipe's):\n".to_owned();
    for choice in recipe::CHOICES {
        text += &format!("  {:<24} {} ({})\n", choice.key, choice.about, choice.range());
    }
    text
}

/// `2048` bytes, or `2048tokens`.
fn parse_chunking(text: &str) -> Result<Chunking, String> {
    match text.strip_suffix("tokens") {
        Some(tokens) => parse_positive(tokens.trim_end()).map(|it| Chunking::Tokens(it as u64)),
        None => parse_positive(text).map(|bytes| Chunking::Bytes(bytes as u64)),
    }
}

fn parse_vocabulary(text: &str) -> Result<Tokenization, String> {
    format!("bpe-{}", parse_count(text)?).parse()
}

#[cfg(feature = "train")]
/// A tokenization that a run may have.
fn parse_trained(text: &str) -> Result<Tokenization, String> {
    match text.parse()? {
        Tokenization::Pretrained(_) => {
            Err("a run has `bytes`, or a vocabulary such as `bpe-5000`".to_owned())
        }
        tokenization => Ok(tokenization),
    }
}

#[cfg(feature = "train")]
fn parse_context(text: &str) -> Result<usize, String> {
    match parse_positive(text)? {
        tokens if tokens <= MOST_CONTEXT => Ok(tokens),
        _ => Err(format!("it may be at most {MOST_CONTEXT}")),
    }
}

#[cfg(feature = "train")]
fn parse_minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if minutes > 0.0 && minutes < 1e6 => Ok(minutes),
        _ => Err("minutes are a number above 0, such as 10 or 0.5".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn lists_of_corpora_keep_their_options() {
        let line = "lmtrain eval --corpus enwik8,markov:order=1,seed=2,a=b.txt --corpus x,y";
        let Ok(Arguments { command: Command::Eval(eval), .. }) =
            Arguments::try_parse_from(line.split(' '))
        else {
            panic!("an eval")
        };
        assert_eq!(eval.corpora(), ["enwik8", "markov:order=1,seed=2,a=b.txt", "x", "y"]);
    }

    #[test]
    fn chunks_are_of_bytes_or_tokens() {
        assert_eq!(parse_chunking("2K"), Ok(Chunking::Bytes(2000)));
        assert_eq!(parse_chunking("2048tokens"), Ok(Chunking::Tokens(2048)));
        assert_eq!(parse_chunking("512 tokens"), Ok(Chunking::Tokens(512)));
        for text in ["0", "0tokens", "tokens", "2048bytes", "-1tokens"] {
            assert!(parse_chunking(text).is_err(), "{text}");
        }
        assert_eq!(parse_vocabulary("20K"), Ok(Tokenization::Bpe(20_000)));
        assert!(parse_vocabulary("256").is_err());
    }

    #[cfg(feature = "train")]
    #[test]
    fn runs_have_tokens_of_their_own() {
        assert_eq!(parse_trained("bpe-500"), Ok(Tokenization::Bpe(500)));
        assert!(parse_trained("pretrained-500").is_err());
    }

    #[test]
    fn a_run_or_a_model_compresses() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        assert!(parse("lmtrain compress a -o b --model c").is_ok());
        assert!(parse("lmtrain compress a -o b --run c --embed-model").is_ok());
        for line in ["", " --run c --model d", " --model c --embed-model"] {
            assert!(parse(&format!("lmtrain compress a -o b{line}")).is_err(), "{line}");
        }
    }

    #[cfg(feature = "train")]
    #[test]
    fn budgets_exclude_each_other() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        assert!(parse("lmtrain fit --size 200K,3.2M --tokens 1.5M").is_ok());
        assert!(parse("lmtrain fit --size 200K --tokens 1M --steps 5").is_err());
        assert!(parse("lmtrain fit --size 201K").is_err());
        assert!(parse("lmtrain fit --size 200K --minutes 0").is_err());
        assert!(parse("lmtrain fit --size 200K --batch 0").is_err());
    }

    #[cfg(feature = "train")]
    #[test]
    fn a_size_is_left_out_where_a_plan_has_it() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        assert!(parse("lmtrain fit --resume --name x").is_ok());
        assert!(parse("lmtrain fit --name x").is_err());
        assert!(parse("lmtrain fit --resume").is_err());
        for line in ["", " table2 --shard 1/2", " --list", " --dry-run", " --size 50K --seed 0,1"] {
            assert!(parse(&format!("lmtrain sweep{line}")).is_ok(), "{line}");
        }
        for line in [" --seed 0,1", " table2 --size 50K", " table2 --tokens 1M", " --list table2"] {
            assert!(parse(&format!("lmtrain sweep{line}")).is_err(), "{line}");
        }
    }
}
