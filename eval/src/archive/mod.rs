//! The `.lmz` archive: a file compressed by a network. It is written and read as a stream, in bounded memory and
//! without seeking. It is built on [`block`](crate::block) and a [`Tokenizer`]; the commands `compress` and
//! `decompress` use it.
//!
//! All integers are little-endian. A *seal* is the CRC-32 of everything since the previous seal.
//!
//! ```text
//! magic      89 4C 4D 5A 0D 0A 1A 0A   as PNG's: shows what text modes and 7-bit links mangle
//! header     version u8 · flags u8 (1: model embedded, 2: exact predictor) · arithmetic u16
//!            chunk_tokens u32 · block_bytes u32 · stream_chunks u16 · group_chunks u16
//!            identity of the weights [32] · identity of the tokenizer [32]
//!            tokenization u8 + text · name of the model u8 + text
//!            if embedded: 0 u64 (once room for a plan), lengths of vocabulary u64, weights u64
//!            seal
//! model      if embedded: vocabulary · weights · seal
//! block…     1 u8 · raw length u32 · payload length u32 · tokens u32 unless they are the bytes
//!            CRC-32 of the raw bytes u32 · payload · seal
//! or         2 u8 · raw length u32 · raw bytes · seal: a block that coding would have made longer
//! trailer    0 u8 · raw length of all u64 · SHA-256 of all [32] · seal, and the file ends
//! ```
//!
//! A block is tokenized as a whole, and its tokens are cut into chunks of `chunk_tokens`, each predicted from an empty
//! context, in the streams and groups of [`block`](crate::block). So the lengths of chunks need not be stored, and
//! every chunk but the last is full. For bytes these are the chunks of the paper's protocol. A stored block costs 9
//! bytes, so a file grows by at most 9 bytes per block, plus the header and the trailer.
//!
//! Version 4 had no stored blocks and did not name its arithmetic, which was version 4. It can still be read.

mod header;
mod read;
mod source;
mod write;

use std::io;
use std::ops::ControlFlow;

use lmtrain_runs::{ARITHMETIC, Bits, Bytes, GIT_LFS_POINTER, Tokenization};
use lmtrain_tokenizers::{Tokenizer, TokenizerError};

use crate::block::{BlockError, Layout};
use crate::predictor::Predictor;

pub use header::Header;
pub use read::ArchiveReader;
pub use write::compress;

const MAGIC: [u8; 8] = *b"\x89LMZ\r\n\x1a\n";
const VERSION: u8 = 5;
/// The oldest version that is read, which has no number of its own for its arithmetic.
const OLDEST_VERSION: u8 = 4;
/// Tags before a coded block, a stored one, and the trailer.
const BLOCK: u8 = 1;
const STORED: u8 = 2;
const TRAILER: u8 = 0;

/// Raw bytes that a block may have.
pub const MAXIMUM_BLOCK_BYTES: u32 = 16 << 20;
/// Chunks that a block may have.
pub const MAXIMUM_CHUNKS: u32 = 4096;
/// Chunks that a group may have: a decoder keeps a context for each.
pub const MAXIMUM_GROUP: u16 = 64;
/// Tokens that a chunk may have.
pub const MAXIMUM_CHUNK_TOKENS: u32 = 1 << 20;

/// What can be chosen when compressing.
#[derive(Clone, Debug)]
pub struct ArchiveOptions {
    /// Name of the model, by which a decompressor may find it; at most 255 bytes.
    pub model: String,
    /// Tokens of a chunk.
    pub chunk_tokens: u32,
    /// Raw bytes of a block. Its streams are what the cores of a decoder share out.
    pub block_bytes: u32,
    /// How a block's chunks are coded.
    pub layout: Layout,
    /// The model itself, to travel in the archive.
    pub embedded: Option<Embedded>,
    /// Whether blocks that coding would make longer are stored as they are. This is turned off only to measure the
    /// coder's speed with untrained networks, which make every block longer.
    pub stores: bool,
}

impl ArchiveOptions {
    /// Chunks of 2048 tokens, or of the predictor's context if it is shorter, 512 to a block, in groups as
    /// the predictor likes them.
    #[must_use]
    pub fn new(model: impl Into<String>, predictor: &dyn Predictor) -> Self {
        let context = u32::try_from(predictor.context()).unwrap_or(u32::MAX);
        let chunk_tokens = context.clamp(1, 2048);
        Self {
            model: model.into(),
            chunk_tokens,
            block_bytes: MAXIMUM_BLOCK_BYTES.min(512 * chunk_tokens),
            layout: Layout {
                group_chunks: predictor.side_by_side().clamp(1, MAXIMUM_GROUP),
                ..Layout::of_chunks(chunk_tokens as usize)
            },
            embedded: None,
            stores: true,
        }
    }
}

/// A model within an archive, as bytes that this crate does not look into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Embedded {
    /// The tokenizer's vocabulary; empty for bytes.
    pub vocabulary: Vec<u8>,
    /// The weights.
    pub weights: Vec<u8>,
}

/// How far compressing or decompressing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveProgress {
    /// Bytes of the original that are done.
    pub raw_bytes: u64,
    /// Bytes of the archive written or read.
    pub archive_bytes: u64,
}

/// Called now and then; a break stops with [`ArchiveError::Stopped`].
pub type ProgressCallback<'a> = dyn FnMut(ArchiveProgress) -> ControlFlow<()> + 'a;

/// How an archive's bytes are divided; every byte belongs to exactly one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ArchiveSummary {
    /// Bytes of the original.
    pub raw_bytes: Bytes,
    /// Tokens coded; those of stored blocks are not.
    pub tokens: u64,
    /// Magic and header.
    pub header_bytes: Bytes,
    /// The embedded model.
    pub model_bytes: Bytes,
    /// What the coder emitted.
    pub payload_bytes: Bytes,
    /// Bytes of blocks that are stored as they are, since coding would have made them longer.
    pub stored_bytes: Bytes,
    /// The first byte that the tokenizer could not spell, whose block is stored therefore; absent
    /// when decompressing.
    pub unspelt: Option<u8>,
    /// Lengths and checksums around the payloads, and the trailer.
    pub framing_bytes: Bytes,
    /// The ideal cost of the coded blocks; absent when decompressing.
    pub ideal_bits: Option<Bits>,
}

impl ArchiveSummary {
    /// Length of the archive.
    #[must_use]
    pub fn archive_bytes(&self) -> Bytes {
        let coded = self.payload_bytes + self.stored_bytes;
        self.header_bytes + self.model_bytes + coded + self.framing_bytes
    }
}

/// What went wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Reading failed.
    #[error("reading failed: {0}")]
    Read(#[source] io::Error),
    /// Writing failed.
    #[error("writing failed: {0}")]
    Write(#[source] io::Error),
    /// The file does not begin as an archive does.
    #[error("it is not an .lmz archive")]
    Magic,
    /// The file is a Git LFS pointer and not the archive itself.
    #[error("{GIT_LFS_POINTER}")]
    Pointer,
    /// An archive of another version of the format.
    #[error(
        "the archive has format version {0}; this program reads versions {OLDEST_VERSION} to \
         {VERSION}"
    )]
    Version(u8),
    /// An archive of another arithmetic.
    #[error(
        "the archive was made with arithmetic version {archive}, but this program computes with \
         version {ARITHMETIC}\nhint: restore it with a release of lmtrain that computes with version {archive}"
    )]
    Arithmetic {
        /// The archive's.
        archive: u16,
    },
    /// The file ends too early.
    #[error("the archive is truncated: it ends after {at} bytes")]
    Truncated {
        /// Bytes that are there.
        at: u64,
    },
    /// A checksum or a field is wrong.
    #[error("the archive is damaged: {what} (before byte {at})")]
    Damaged {
        /// What is wrong.
        what: String,
        /// Bytes read so far.
        at: u64,
    },
    /// The file goes on.
    #[error("the archive ends at byte {at}, but the file continues")]
    Surplus {
        /// Length of the archive.
        at: u64,
    },
    /// Another model was given than the archive was made with.
    #[error(
        "the archive was made with model `{name}`, whose hash is {archive}; this model's is {given}"
    )]
    Model {
        /// Name of the archive's model.
        name: String,
        /// Its identity, the first bytes in hexadecimal.
        archive: String,
        /// Identity of the model given.
        given: String,
    },
    /// Another tokenizer was given than the archive was made with.
    #[error(
        "the archive was made with tokenizer `{name}`, whose hash is {archive}; this one is \
         `{given_name}`, whose hash is {given}"
    )]
    Tokenizer {
        /// The archive's tokenizer.
        name: Tokenization,
        /// Its identity, the first bytes in hexadecimal.
        archive: String,
        /// The tokenizer given.
        given_name: Tokenization,
        /// Its identity.
        given: String,
    },
    /// A choice that the format or the model does not allow.
    #[error("{what} must be from {least} to {most}, not {value}")]
    Limit {
        /// What was chosen.
        what: &'static str,
        /// The value.
        value: u64,
        /// The least allowed.
        least: u64,
        /// The most allowed.
        most: u64,
    },
    /// A sound block that this predictor does not restore.
    #[error(
        "block {block} decodes to something other than what was compressed, though the archive is undamaged{}",
        if *exact { "" } else { ": its predictor gives different probabilities on different machines" }
    )]
    Restored {
        /// Which block.
        block: u64,
        /// Whether the archive was made by an exact predictor.
        exact: bool,
    },
    /// A block cannot be coded.
    #[error("block {block}: {source}")]
    Block {
        /// Which block.
        block: u64,
        /// Why.
        source: BlockError,
    },
    /// The tokenizer failed.
    #[error("block {block}: {source}")]
    Tokens {
        /// Which block.
        block: u64,
        /// Why.
        source: TokenizerError,
    },
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
}

impl ArchiveError {
    /// Whether the caller's callback asked for it.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped | Self::Block { source: BlockError::Stopped, .. })
    }
}

/// Lengths of the chunks that a number of tokens is cut into.
fn chunk_lengths(tokens: usize, chunk_tokens: u32) -> Vec<usize> {
    let length = chunk_tokens as usize;
    (0..tokens.div_ceil(length)).map(|lane| length.min(tokens - lane * length)).collect()
}

/// Whether the tokens of a tokenizer are the bytes, so that their number need not be stored.
fn tokens_are_bytes(tokenizer: &dyn Tokenizer) -> bool {
    tokenizer.tokenization() == Tokenization::Bytes
}

/// `done` of `tokens`, as a share of `raw_bytes`.
fn share(done: u64, tokens: usize, raw_bytes: usize) -> u64 {
    let share = u128::from(done) * raw_bytes as u128 / (tokens as u128).max(1);
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
