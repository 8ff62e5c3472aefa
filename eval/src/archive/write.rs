//! Compressing: raw bytes in, an archive out, a block at a time.

use std::io::{Read, Write};

use lmtrain_runs::{Bits, Bytes};
use lmtrain_tokenizers::{Tokenizer, TokenizerError};
use sha2::{Digest, Sha256};

use super::{
    ArchiveError, ArchiveOptions, ArchiveProgress, ArchiveSummary, BLOCK, Header, MAXIMUM_CHUNKS,
    ProgressCallback, STORED, TRAILER, share, tokens_are_bytes,
};
use crate::block::{BlockError, CodedBlock, encode_block};
use crate::predictor::Predictor;

/// Compresses all of `input`.
///
/// # Errors
/// As [`ArchiveError`] lists; what was written until then is no whole archive.
pub fn compress(
    input: &mut dyn Read,
    output: &mut dyn Write,
    predictor: &dyn Predictor,
    tokenizer: &dyn Tokenizer,
    options: &ArchiveOptions,
    progress: &mut ProgressCallback,
) -> Result<ArchiveSummary, ArchiveError> {
    let header = Header::of(predictor, tokenizer, options)?;
    let mut summary = ArchiveSummary { ideal_bits: Some(Bits(0.0)), ..Default::default() };
    header.write(options.embedded.as_ref(), output, &mut summary)?;
    let mut writer =
        Writer { predictor, tokenizer, header, summary, blocks: 0, stores: options.stores };
    let mut hash = Sha256::new();
    loop {
        let raw = read_block(input, writer.header.block_bytes)?;
        if raw.is_empty() {
            break;
        }
        hash.update(&raw);
        let frame = writer.block(&raw, progress)?;
        output.write_all(&frame).map_err(ArchiveError::Write)?;
    }
    let mut trailer = vec![TRAILER];
    trailer.extend(writer.summary.raw_bytes.0.to_le_bytes());
    trailer.extend(hash.finalize());
    trailer.extend(crc32fast::hash(&trailer).to_le_bytes());
    writer.summary.framing_bytes += Bytes(trailer.len() as u64);
    output.write_all(&trailer).and_then(|()| output.flush()).map_err(ArchiveError::Write)?;
    Ok(writer.summary)
}

struct Writer<'a> {
    predictor: &'a dyn Predictor,
    tokenizer: &'a dyn Tokenizer,
    header: Header,
    summary: ArchiveSummary,
    blocks: u64,
    /// See [`ArchiveOptions::stores`].
    stores: bool,
}

impl Writer<'_> {
    /// The frame of one block: coded, or stored as it is if that is shorter or a byte cannot be spelt.
    fn block(
        &mut self,
        raw: &[u8],
        progress: &mut ProgressCallback,
    ) -> Result<Vec<u8>, ArchiveError> {
        let coded = self.coded(raw, progress)?;
        self.blocks += 1;
        self.summary.raw_bytes += Bytes(raw.len() as u64);
        let stored = stored_frame(raw);
        let stores = self.stores;
        let is_short = |coded: &Coded| !stores || coded.frame.len() <= stored.len();
        let Some(coded) = coded.filter(is_short) else {
            self.summary.stored_bytes += Bytes(raw.len() as u64);
            self.summary.framing_bytes += Bytes((stored.len() - raw.len()) as u64);
            return Ok(stored);
        };
        self.summary.tokens += coded.tokens as u64;
        self.summary.payload_bytes += Bytes(coded.payload_bytes as u64);
        self.summary.framing_bytes += Bytes((coded.frame.len() - coded.payload_bytes) as u64);
        self.summary.ideal_bits = self.summary.ideal_bits.map(|sum| sum + coded.ideal_bits);
        Ok(coded.frame)
    }

    /// The block coded; nothing if the tokenizer cannot spell it.
    fn coded(
        &mut self,
        raw: &[u8],
        progress: &mut ProgressCallback,
    ) -> Result<Option<Coded>, ArchiveError> {
        let block = self.blocks;
        let tokens = match self.tokenizer.encode(raw) {
            Ok(tokens) => tokens,
            Err(TokenizerError::Unspellable { byte }) => {
                self.summary.unspelt.get_or_insert(byte);
                return Ok(None);
            }
            Err(source) => return Err(ArchiveError::Tokens { block, source }),
        };
        let most = u64::from(MAXIMUM_CHUNKS) * u64::from(self.header.chunk_tokens);
        if tokens.len() as u64 > most {
            let (what, value) = ("the tokens of a block", tokens.len() as u64);
            return Err(ArchiveError::Limit { what, value, least: 1, most });
        }
        let CodedBlock { payload, bits, .. } = self.code(raw, &tokens, progress)?;
        let mut frame = vec![BLOCK];
        frame.extend(length_bytes(raw.len()));
        frame.extend(length_bytes(payload.len()));
        if !tokens_are_bytes(self.tokenizer) {
            frame.extend(length_bytes(tokens.len()));
        }
        frame.extend(crc32fast::hash(raw).to_le_bytes());
        frame.extend(&payload);
        frame.extend(crc32fast::hash(&frame).to_le_bytes());
        let ideal_bits = Bits(bits.iter().flatten().map(|&bits| f64::from(bits)).sum());
        let (tokens, payload_bytes) = (tokens.len(), payload.len());
        Ok(Some(Coded { frame, tokens, payload_bytes, ideal_bits }))
    }

    fn code(
        &self,
        raw: &[u8],
        tokens: &[u32],
        progress: &mut ProgressCallback,
    ) -> Result<CodedBlock, ArchiveError> {
        let chunks: Vec<&[u32]> = tokens.chunks(self.header.chunk_tokens as usize).collect();
        let archive_bytes = self.summary.archive_bytes().0;
        let mut pulse = |done| {
            let raw_bytes = self.summary.raw_bytes.0 + share(done, tokens.len(), raw.len());
            progress(ArchiveProgress { raw_bytes, archive_bytes })
        };
        encode_block(self.predictor, self.header.layout, &chunks, &mut pulse).map_err(|source| {
            match source {
                BlockError::Stopped => ArchiveError::Stopped,
                source => ArchiveError::Block { block: self.blocks, source },
            }
        })
    }
}

/// A block as the coder makes it.
struct Coded {
    frame: Vec<u8>,
    tokens: usize,
    /// Of the frame, what the coder emitted.
    payload_bytes: usize,
    ideal_bits: Bits,
}

/// The frame of a block as it is.
fn stored_frame(raw: &[u8]) -> Vec<u8> {
    let mut frame = vec![STORED];
    frame.extend(length_bytes(raw.len()));
    frame.extend(raw);
    frame.extend(crc32fast::hash(&frame).to_le_bytes());
    frame
}

/// The next bytes of the input: a full block, or what is left.
fn read_block(input: &mut dyn Read, block_bytes: u32) -> Result<Vec<u8>, ArchiveError> {
    let mut raw = Vec::new();
    input.take(u64::from(block_bytes)).read_to_end(&mut raw).map_err(ArchiveError::Read)?;
    Ok(raw)
}

/// A length within a block, all of which are far below 2^32.
fn length_bytes(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}
