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
