//! `lmtrain compress`, `lmtrain decompress` and `lmtrain pack`.

use std::path::PathBuf;

use clap::Args;
use lmtrain_runs::record::WeightCode;

use super::values::{MODEL, built_in};

#[derive(Debug, Args)]
#[command(after_help = format!(
    "Without --run and --model, {} predicts the bytes.\n\n{}",
    lmtrain_runs::builtin::default().name,
    built_in()
))]
pub(crate) struct Compress {
    /// File to compress; `-` is standard input
    pub(crate) file: PathBuf,
    /// Archive to write; `-` is standard output [default: the file's name followed by .lmz, if there is no such file yet]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) by: CompressBy,
    /// Put the network's weights and vocabulary into the archive, so that decompressing needs nothing else
    #[arg(long, conflicts_with = "model")]
    pub(crate) embed_model: bool,
}

/// What predicts, if not the network that is built in.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct CompressBy {
    /// Network that predicts the bytes: the name of a run or of a network that is built in, or a packed network (.lmw).
    /// Decompressing needs it too, unless it is built in or --embed-model is given
    #[arg(long, value_name = "NAME|FILE.lmw")]
    pub(crate) run: Option<String>,
    /// Pretrained model that predicts the bytes; decompressing needs it too
    #[arg(long, value_name = MODEL)]
    pub(crate) model: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Decompress {
    /// Archive to restore; `-` is standard input
    pub(crate) file: PathBuf,
    /// File to write; `-` is standard output [default: the archive's name without .lmz, if there is no such file yet]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Pretrained model that the archive was made with, if it was made with one
    #[arg(long, value_name = MODEL)]
    pub(crate) model: Option<String>,
    /// Network that the archive was made with [default: looked for by the hash in the archive: in the archive itself,
    /// among the networks that are built in, and among the runs]
    #[arg(long, value_name = "NAME|FILE.lmw", conflicts_with = "model")]
    pub(crate) run: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = built_in())]
pub(crate) struct Pack {
    /// Name of the run to pack, or a packed network (.lmw, or one that is built in) to convert to another code
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// File to write, such as net.lmw; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Code in which the weights are stored [default: the one that the run was trained for]
    #[arg(long, value_name = "f32|f16|int8|int4")]
    pub(crate) weights: Option<WeightCode>,
}
