//! The header of an archive: what made it, how it is cut, and the model if it is embedded.

use std::io::{Read, Write};

use lmtrain_runs::{ARITHMETIC, Bytes, Tokenization, is_git_lfs_pointer};
use lmtrain_tokenizers::Tokenizer;

use super::source::Source;
use super::{
    ArchiveError, ArchiveOptions, ArchiveSummary, Embedded, MAGIC, MAXIMUM_BLOCK_BYTES,
    MAXIMUM_CHUNK_TOKENS, MAXIMUM_CHUNKS, MAXIMUM_GROUP, OLDEST_VERSION, VERSION,
};
use crate::block::Layout;
use crate::predictor::Predictor;

const EMBEDDED: u8 = 1;
const EXACT: u8 = 2;

/// What an archive says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Name of the model that made it.
    pub model: String,
    /// Its tokenization.
    pub tokenization: Tokenization,
    /// Identity of its weights.
    pub predictor_identity: [u8; 32],
    /// Identity of its tokenizer.
    pub tokenizer_identity: [u8; 32],
    /// Tokens of a chunk.
    pub chunk_tokens: u32,
    /// Most raw bytes of a block.
    pub block_bytes: u32,
    /// How a block's chunks are coded.
    pub layout: Layout,
    /// Whether it can be decoded on every machine, not only on the one that made it.
    pub exact: bool,
}

impl Header {
    /// The header of an archive made with these, if the format allows it.
    pub(super) fn of(
        predictor: &dyn Predictor,
        tokenizer: &dyn Tokenizer,
        options: &ArchiveOptions,
    ) -> Result<Self, ArchiveError> {
        let context = predictor.context() as u64;
        within("the tokens of a chunk", u64::from(options.chunk_tokens), 1, context)?;
        within("the length of the model's name", options.model.len() as u64, 0, 255)?;
        let (needed, most) = (tokenizer.vocabulary() as u64, predictor.vocabulary() as u64);
        within("the tokenizer's vocabulary", needed, 1, most)?;
        let header = Self {
            model: options.model.clone(),
            tokenization: tokenizer.tokenization(),
            predictor_identity: predictor.identity(),
            tokenizer_identity: tokenizer.identity(),
            chunk_tokens: options.chunk_tokens,
            block_bytes: options.block_bytes,
            layout: options.layout,
            exact: predictor.is_exact(),
        };
        header.check_limits()?;
        Ok(header)
    }

    fn check_limits(&self) -> Result<(), ArchiveError> {
        let [chunk, block] = [self.chunk_tokens, self.block_bytes].map(u64::from);
        within("the tokens of a chunk", chunk, 1, u64::from(MAXIMUM_CHUNK_TOKENS))?;
        let Layout { stream_chunks, group_chunks } = self.layout;
        within("the chunks of a stream", stream_chunks.into(), 1, MAXIMUM_CHUNKS.into())?;
        within("the chunks of a group", group_chunks.into(), 1, MAXIMUM_GROUP.into())?;
        let most = u64::from(MAXIMUM_BLOCK_BYTES).min(chunk * u64::from(MAXIMUM_CHUNKS));
        within("the bytes of a block", block, 1, most)
    }

    /// Checks that these are the predictor and the tokenizer that made the archive.
    pub(super) fn check_made_by(
        &self,
        predictor: &dyn Predictor,
        tokenizer: &dyn Tokenizer,
    ) -> Result<(), ArchiveError> {
        if tokenizer.identity() != self.tokenizer_identity
            || tokenizer.tokenization() != self.tokenization
        {
            return Err(ArchiveError::Tokenizer {
                name: self.tokenization.clone(),
                archive: short_hex(&self.tokenizer_identity),
                given_name: tokenizer.tokenization(),
                given: short_hex(&tokenizer.identity()),
            });
        }
        if predictor.identity() != self.predictor_identity {
            return Err(ArchiveError::Model {
                name: self.model.clone(),
                archive: short_hex(&self.predictor_identity),
                given: short_hex(&predictor.identity()),
            });
        }
        let context = predictor.context() as u64;
        within("the tokens of a chunk", u64::from(self.chunk_tokens), 1, context)
    }

    /// Writes magic, header and model, and accounts for them.
    pub(super) fn write(
        &self,
        embedded: Option<&Embedded>,
        output: &mut dyn Write,
        summary: &mut ArchiveSummary,
    ) -> Result<(), ArchiveError> {
        let mut head = MAGIC.to_vec();
        let exact = if self.exact { EXACT } else { 0 };
        head.extend([VERSION, exact | if embedded.is_some() { EMBEDDED } else { 0 }]);
        head.extend(ARITHMETIC.to_le_bytes());
        head.extend(self.chunk_tokens.to_le_bytes());
        head.extend(self.block_bytes.to_le_bytes());
        head.extend(self.layout.stream_chunks.to_le_bytes());
        head.extend(self.layout.group_chunks.to_le_bytes());
        head.extend(self.predictor_identity);
        head.extend(self.tokenizer_identity);
        for text in [self.tokenization.to_string().as_str(), &self.model] {
            head.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            head.extend(text.as_bytes());
        }
        let parts = embedded.map(|model| [&[], &model.vocabulary[..], &model.weights[..]]);
        for part in parts.iter().flatten() {
            head.extend((part.len() as u64).to_le_bytes());
        }
        head.extend(crc32fast::hash(&head).to_le_bytes());
        output.write_all(&head).map_err(ArchiveError::Write)?;
        summary.header_bytes = Bytes(head.len() as u64);
        let Some(parts) = parts else { return Ok(()) };
        let mut crc = crc32fast::Hasher::new();
        for part in parts {
            crc.update(part);
            output.write_all(part).map_err(ArchiveError::Write)?;
            summary.model_bytes += Bytes(part.len() as u64);
        }
        output.write_all(&crc.finalize().to_le_bytes()).map_err(ArchiveError::Write)?;
        summary.model_bytes += Bytes(4);
        Ok(())
    }

    /// Reads what [`Self::write`] wrote.
    pub(super) fn read<R: Read>(
        source: &mut Source<R>,
        summary: &mut ArchiveSummary,
    ) -> Result<(Self, Option<Embedded>), ArchiveError> {
        let magic = source.array().map_err(no_magic)?;
        if magic != MAGIC {
            let rest: [u8; 32] = source.array().map_err(no_magic)?;
            let pointer = is_git_lfs_pointer(&[&magic[..], &rest].concat());
            return Err(if pointer { ArchiveError::Pointer } else { ArchiveError::Magic });
        }
        let [version, flags] = source.array()?;
        let arithmetic = match version {
            OLDEST_VERSION => u16::from(version),
            VERSION => source.u16()?,
            other => return Err(ArchiveError::Version(other)),
        };
        let (chunk_tokens, block_bytes) = (source.u32()?, source.u32()?);
        let layout = Layout { stream_chunks: source.u16()?, group_chunks: source.u16()? };
        let (predictor_identity, tokenizer_identity) = (source.array()?, source.array()?);
        let (tokenization, model) = (source.text()?, source.text()?);
        let mut lengths = [0; 3];
        if flags & EMBEDDED != 0 {
            lengths = [source.u64()?, source.u64()?, source.u64()?];
        }
        source.seal("the header")?;
        if arithmetic != ARITHMETIC {
            return Err(ArchiveError::Arithmetic { archive: arithmetic });
        }
        summary.header_bytes = Bytes(source.position);
        let text = |bytes| String::from_utf8(bytes).map_err(|error| error.to_string());
        let name = text(tokenization).and_then(|name| name.parse());
        let header = Self {
            model: text(model).map_err(|error| source.damaged(error))?,
            tokenization: name.map_err(|error| source.damaged(error))?,
            predictor_identity,
            tokenizer_identity,
            chunk_tokens,
            block_bytes,
            layout,
            exact: flags & EXACT != 0,
        };
        header.check_limits()?;
        if flags & !(EMBEDDED | EXACT) != 0 {
            return Err(source.damaged(format!("the flags are {flags:#04x}")));
        }
        let embedded =
            if flags & EMBEDDED == 0 { None } else { Some(read_model(source, lengths)?) };
        summary.model_bytes = Bytes(source.position - summary.header_bytes.0);
        Ok((header, embedded))
    }
}

fn read_model<R: Read>(
    source: &mut Source<R>,
    [unused, vocabulary, weights]: [u64; 3],
) -> Result<Embedded, ArchiveError> {
    // Nobody ever wrote anything here; the weights have their plan within.
    source.bytes(unused)?;
    let model = Embedded { vocabulary: source.bytes(vocabulary)?, weights: source.bytes(weights)? };
    source.seal("the model")?;
    Ok(model)
}

/// A file shorter than the magic is no archive; a failed read stays one.
fn no_magic(error: ArchiveError) -> ArchiveError {
    if matches!(error, ArchiveError::Truncated { .. }) { ArchiveError::Magic } else { error }
}

fn within(what: &'static str, value: u64, least: u64, most: u64) -> Result<(), ArchiveError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ArchiveError::Limit { what, value, least, most })
}

/// The first bytes of an identity, in hexadecimal.
fn short_hex(identity: &[u8; 32]) -> String {
    lmtrain_runs::units::hex(&identity[..6])
}
