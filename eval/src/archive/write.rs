//! Compressing: raw bytes in, an archive out, a block at a time.

use std::io::{Read, Write};

use lmtrain_runs::{Bits, Bytes};
use lmtrain_tokenizers::Tokenizer;
use sha2::{Digest, Sha256};

use super::{
    ArchiveError, ArchiveOptions, ArchiveSummary, BLOCK, Header, MAXIMUM_CHUNKS, Progress,
    ProgressCallback, TRAILER, share, tokens_are_bytes,
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
    let mut writer = Writer { predictor, tokenizer, header, summary, blocks: 0 };
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
}

impl Writer<'_> {
    /// The frame of one block.
    fn block(
        &mut self,
        raw: &[u8],
        progress: &mut ProgressCallback,
    ) -> Result<Vec<u8>, ArchiveError> {
        let block = self.blocks;
        let tokens = self.tokenizer.encode(raw);
        let tokens = tokens.map_err(|source| ArchiveError::Tokens { block, source })?;
        let most = u64::from(MAXIMUM_CHUNKS) * u64::from(self.header.chunk_tokens);
        if tokens.len() as u64 > most {
            let (what, value) = ("the tokens of a block", tokens.len() as u64);
            return Err(ArchiveError::Limit { what, value, least: 1, most });
        }
        let coded = self.code(raw, &tokens, progress)?;
        let mut frame = vec![BLOCK];
        frame.extend(length_bytes(raw.len()));
        frame.extend(length_bytes(coded.payload.len()));
        if !tokens_are_bytes(self.tokenizer) {
            frame.extend(length_bytes(tokens.len()));
        }
        frame.extend(crc32fast::hash(raw).to_le_bytes());
        frame.extend(&coded.payload);
        frame.extend(crc32fast::hash(&frame).to_le_bytes());
        let bits: f64 = coded.bits.iter().flatten().map(|&bits| f64::from(bits)).sum();
        self.blocks += 1;
        self.summary.raw_bytes += Bytes(raw.len() as u64);
        self.summary.tokens += tokens.len() as u64;
        self.summary.payload_bytes += Bytes(coded.payload.len() as u64);
        self.summary.framing_bytes += Bytes((frame.len() - coded.payload.len()) as u64);
        self.summary.ideal_bits = self.summary.ideal_bits.map(|sum| sum + Bits(bits));
        Ok(frame)
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
            progress(Progress { raw_bytes, archive_bytes })
        };
        encode_block(self.predictor, self.header.layout, &chunks, &mut pulse).map_err(|source| {
            match source {
                BlockError::Stopped => ArchiveError::Stopped,
                source => ArchiveError::Block { block: self.blocks, source },
            }
        })
    }
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
