//! `lmtrain compress`, `lmtrain decompress` and `lmtrain pack`.

use std::path::PathBuf;

use clap::Args;
use lmtrain_runs::record::WeightCode;

use super::values::MODEL;

#[derive(Debug, Args)]
pub(crate) struct Compress {
    /// File to compress; `-` is standard input
    pub(crate) file: PathBuf,
    /// Archive to write; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) by: CompressBy,
    /// Put the run's weights and vocabulary into the archive, so that decompressing needs nothing else
    #[arg(long, conflicts_with = "model")]
    pub(crate) embed_model: bool,
}

/// What predicts.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CompressBy {
    /// Run whose network predicts the bytes: its name, or a packed network (.lmw). Decompressing needs it too, unless
    /// --embed-model is given
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
    /// File to write; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Pretrained model that the archive was made with, if it was made with one
    #[arg(long, value_name = MODEL)]
    pub(crate) model: Option<String>,
    /// Run that the archive was made with [default: the run that the archive names]
    #[arg(long, value_name = "NAME|FILE.lmw", conflicts_with = "model")]
    pub(crate) run: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// Name of the run to pack, or a packed network (.lmw) to convert to another code
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// File to write, such as net.lmw; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Code in which the weights are stored [default: the one that the run was trained for]
    #[arg(long, value_name = "f32|f16|int8|int4")]
    pub(crate) weights: Option<WeightCode>,
}
