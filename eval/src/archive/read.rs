//! Decompressing: an archive in, raw bytes out. A block is written only after its checksums were verified, and nothing
//! that the file claims is trusted before.

use std::io::{Read, Write};
use std::ops::ControlFlow;

use lmtrain_runs::Bytes;
use lmtrain_tokenizers::Tokenizer;
use sha2::{Digest, Sha256};

use super::source::Source;
use super::{
    ArchiveError, ArchiveProgress, ArchiveSummary, BLOCK, Embedded, Header, MAXIMUM_CHUNKS,
    ProgressCallback, STORED, TRAILER, chunk_lengths, share, tokens_are_bytes,
};
use crate::block::{BlockError, decode_block};
use crate::predictor::Predictor;

/// Bytes that the coder spends at most on a token, and at most on beginning and ending a stream.
const TOKEN_BYTES: u64 = 4;
const END_BYTES: u64 = 16;

/// An archive whose head has been read, so that the right model can be found for the rest.
pub struct ArchiveReader<R> {
    source: Source<R>,
    header: Header,
    embedded: Option<Embedded>,
    summary: ArchiveSummary,
    blocks: u64,
}

impl<R> std::fmt::Debug for ArchiveReader<R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ArchiveReader")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the header of an archive, and the model if it is embedded.
    ///
    /// # Errors
    /// If it is no archive, of another version, cut short or damaged.
    pub fn open(input: R) -> Result<Self, ArchiveError> {
        let (mut source, mut summary) = (Source::new(input), ArchiveSummary::default());
        let (header, embedded) = Header::read(&mut source, &mut summary)?;
        Ok(Self { source, header, embedded, summary, blocks: 0 })
    }

    /// What the archive says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The model that travels along, if one does.
    #[must_use]
    pub fn embedded(&self) -> Option<&Embedded> {
        self.embedded.as_ref()
    }

    /// The same, no longer kept here.
    pub fn take_embedded(&mut self) -> Option<Embedded> {
        self.embedded.take()
    }

    /// Restores the original with the model and the tokenizer that made the archive.
    ///
    /// # Errors
    /// As [`ArchiveError`] lists. The blocks written until then are right, but not all there is.
    pub fn decompress(
        mut self,
        predictor: &dyn Predictor,
        tokenizer: &dyn Tokenizer,
        output: &mut dyn Write,
        progress: &mut ProgressCallback,
    ) -> Result<ArchiveSummary, ArchiveError> {
        self.header.check_made_by(predictor, tokenizer)?;
        let mut hash = Sha256::new();
        loop {
            let raw = match self.source.u8()? {
                TRAILER => break,
                BLOCK => self.block(predictor, tokenizer, progress)?,
                STORED => self.stored(progress)?,
                tag => return Err(self.source.damaged(format!("no part has the tag {tag}"))),
            };
            hash.update(&raw);
            output.write_all(&raw).map_err(ArchiveError::Write)?;
        }
        let (length, digest): (u64, [u8; 32]) = (self.source.u64()?, self.source.array()?);
        self.source.seal("the trailer")?;
        let mut summary = self.summary;
        if length != summary.raw_bytes.0 || digest[..] != hash.finalize()[..] {
            let restored = summary.raw_bytes.0;
            let what = format!("it decodes to {restored} bytes, but {length} were compressed");
            return Err(self.source.damaged(what));
        }
        // What is no other part frames them.
        summary.framing_bytes = Bytes(self.source.position - summary.archive_bytes().0);
        self.source.end()?;
        output.flush().map_err(ArchiveError::Write)?;
        Ok(summary)
    }

    /// The raw bytes of the next block, whose tag has been read.
    fn block(
        &mut self,
        predictor: &dyn Predictor,
        tokenizer: &dyn Tokenizer,
        progress: &mut ProgressCallback,
    ) -> Result<Vec<u8>, ArchiveError> {
        let (raw_bytes, payload_bytes) = (self.source.u32()?, self.source.u32()?);
        let bytes = tokens_are_bytes(tokenizer);
        let tokens = if bytes { raw_bytes } else { self.source.u32()? };
        let most_tokens = u64::from(MAXIMUM_CHUNKS) * u64::from(self.header.chunk_tokens);
        let chunks = tokens.div_ceil(self.header.chunk_tokens) as usize;
        let streams = self.header.layout.stream_count(chunks) as u64;
        let most_payload = u64::from(tokens) * TOKEN_BYTES + streams * END_BYTES;
        if raw_bytes > self.header.block_bytes
            || u64::from(tokens) > most_tokens
            || u64::from(payload_bytes) > most_payload
        {
            let sizes = format!("{raw_bytes} bytes as {tokens} tokens in {payload_bytes} bytes");
            return Err(self.source.damaged(format!("block {} has {sizes}", self.blocks)));
        }
        let raw_crc = self.source.u32()?;
        let payload = self.source.bytes(u64::from(payload_bytes))?;
        self.source.seal(&format!("block {}", self.blocks))?;
        let (tokens, raw_bytes) = (tokens as usize, raw_bytes as usize);
        let raw = self.restore(predictor, tokenizer, tokens, raw_bytes, &payload, progress)?;
        if raw.len() != raw_bytes || crc32fast::hash(&raw) != raw_crc {
            return Err(self.not_restored());
        }
        self.blocks += 1;
        self.summary.raw_bytes += Bytes(raw.len() as u64);
        self.summary.tokens += tokens as u64;
        self.summary.payload_bytes += Bytes(payload.len() as u64);
        Ok(raw)
    }

    /// The bytes of the next block, which is stored as it is and whose tag has been read.
    fn stored(&mut self, progress: &mut ProgressCallback) -> Result<Vec<u8>, ArchiveError> {
        let raw_bytes = self.source.u32()?;
        let block = self.blocks;
        if raw_bytes > self.header.block_bytes {
            let size = format!("block {block} has {raw_bytes} bytes");
            return Err(self.source.damaged(size));
        }
        let raw = self.source.bytes(u64::from(raw_bytes))?;
        self.source.seal(&format!("block {block}"))?;
        self.blocks += 1;
        self.summary.raw_bytes += Bytes(raw.len() as u64);
        self.summary.stored_bytes += Bytes(raw.len() as u64);
        let (raw_bytes, archive_bytes) = (self.summary.raw_bytes.0, self.source.position);
        match progress(ArchiveProgress { raw_bytes, archive_bytes }) {
            ControlFlow::Break(()) => Err(ArchiveError::Stopped),
            ControlFlow::Continue(()) => Ok(raw),
        }
    }

    fn restore(
        &self,
        predictor: &dyn Predictor,
        tokenizer: &dyn Tokenizer,
        tokens: usize,
        raw_bytes: usize,
        payload: &[u8],
        progress: &mut ProgressCallback,
    ) -> Result<Vec<u8>, ArchiveError> {
        let block = self.blocks;
        let archive_bytes = self.source.position;
        let mut pulse = |done| {
            let raw_bytes = self.summary.raw_bytes.0 + share(done, tokens, raw_bytes);
            progress(ArchiveProgress { raw_bytes, archive_bytes })
        };
        let lengths = chunk_lengths(tokens, self.header.chunk_tokens);
        let chunks = decode_block(predictor, self.header.layout, &lengths, payload, &mut pulse);
        let chunks = chunks.map_err(|source| match source {
            BlockError::Stopped => ArchiveError::Stopped,
            BlockError::Coder(_) => self.not_restored(),
            source => ArchiveError::Block { block, source },
        })?;
        let raw = tokenizer.decode(&chunks.concat());
        raw.map_err(|source| ArchiveError::Tokens { block, source })
    }

    fn not_restored(&self) -> ArchiveError {
        ArchiveError::Restored { block: self.blocks, exact: self.header.exact }
    }
}
