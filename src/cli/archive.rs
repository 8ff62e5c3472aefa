//! `lmtrain compress` and `lmtrain decompress`.

use std::path::PathBuf;

use clap::Args;

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
    /// Put the run's weights into the archive, so that decompressing needs nothing else
    #[arg(long, conflicts_with = "model")]
    pub(crate) embed_model: bool,
}

/// What predicts.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CompressBy {
    /// Run whose network predicts the bytes; decompressing needs it too, unless --embed-model is given
    #[arg(long, value_name = "NAME")]
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
}
