//! Measuring a classical compressor: on a whole corpus, or on chunks that are compressed separately. A chunked
//! compressor's header counts once, as in the paper: header + Σ (length − header), where the header is the compressed
//! size of one zero byte.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use lmtrain_runs::record::Chunking;
use lmtrain_runs::sweep::Shard;
use lmtrain_runs::{Bytes, Medium};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::journal::{Journal, fingerprint};
use super::pieces::{Draw, Pieces, slice};
use super::{MeasureError, MeasureOutcome, MeasureProgress, Measured, ProgressCallback};
use crate::compressors::{Compressor, Input};
use crate::interval::ChunkBits;

/// Chunks between two lines of the journal.
const GROUP_CHUNKS: usize = 512;
/// Bytes that a compressor is given at a time, and after which progress is told.
const READ_BYTES: usize = 1 << 18;

/// What is to be measured, of which compressor, on what.
#[derive(Clone, Debug)]
pub struct CompressorMeasurement<'a> {
    /// The compressor.
    pub compressor: &'static Compressor,
    /// The whole corpus.
    pub corpus: &'a [u8],
    /// Its identity, in hexadecimal.
    pub corpus_sha256: &'a str,
    /// What it is of.
    pub medium: Medium,
    /// The bytes of it to measure, or to draw from.
    pub span: Range<u64>,
    /// Chunks of bytes, or the whole span as one.
    pub chunking: Chunking,
    /// Some chunks, if not all.
    pub sample: Option<Draw>,
}

/// A finished group, a line of the journal.
#[derive(Serialize, Deserialize)]
struct Group {
    /// Compressed length of each chunk, header included.
    lengths: Vec<u64>,
    seconds: f64,
}

impl CompressorMeasurement<'_> {
    /// A name for this measurement: the same only if everything that decides the result is.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&[
            "compressor 1".to_owned(),
            format!("{:?}", self.compressor),
            format!("{} {:?} {:?}", self.corpus_sha256, self.span, self.medium),
            format!("{:?} {:?}", self.chunking, self.sample),
        ])
    }

    /// Measures what the journal does not already hold. A whole is one piece: it starts anew.
    ///
    /// # Errors
    /// As [`MeasureError`] lists.
    pub fn run(
        &self,
        journal: Option<&Path>,
        progress: &mut ProgressCallback,
    ) -> Result<MeasureOutcome, MeasureError> {
        let pieces = self.pieces()?;
        let header = self.compressor.header_bytes(self.medium);
        let header_bytes = Bytes(header.map_err(|error| self.failed(error))?);
        let mut journal: Journal<Group> = Journal::open(journal, Shard::WHOLE, self.fingerprint())?;
        let mut measured = Measured { sample: pieces.sample, header_bytes, ..Default::default() };
        measured.coded_bytes = Some(header_bytes);
        let mut so_far = MeasureProgress { raw_bytes: pieces.raw_bytes(), ..Default::default() };
        for (index, ranges) in (0..).zip(pieces.ranges.chunks(GROUP_CHUNKS)) {
            let resumed = journal.take(index).filter(|group| group.lengths.len() == ranges.len());
            let is_resumed = resumed.is_some();
            let group = match resumed {
                Some(group) => group,
                None => match self.group(ranges, so_far, progress)? {
                    Some(group) => {
                        journal.append(index, &group)?;
                        group
                    }
                    None => return Ok(MeasureOutcome::Stopped),
                },
            };
            let before = measured.raw_bytes.0;
            add(group, ranges, &mut measured);
            so_far.raw_bytes_done = measured.raw_bytes.0;
            so_far.raw_bytes_resumed += if is_resumed { measured.raw_bytes.0 - before } else { 0 };
            so_far.bits = measured.coded_bytes.unwrap_or_default().as_bits().0;
            so_far.position = ranges.last().map_or(so_far.position, |range| range.end);
            if progress(so_far).is_break() {
                return Ok(MeasureOutcome::Stopped);
            }
        }
        Ok(MeasureOutcome::Finished(measured))
    }

    /// The ranges to compress each by itself.
    fn pieces(&self) -> Result<Pieces, MeasureError> {
        let length = match self.chunking {
            Chunking::Bytes(length @ 1..) => length,
            Chunking::Whole if self.sample.is_none() => u64::MAX,
            chunking => {
                let why = "a compressor is measured on chunks of bytes, or on the whole corpus";
                return Err(MeasureError::Chunking { chunking, why });
            }
        };
        Pieces::cut(self.corpus, &self.span, length, self.sample)
    }

    /// Compresses some ranges; nothing if stopped.
    fn group(
        &self,
        ranges: &[Range<u64>],
        so_far: MeasureProgress,
        progress: &mut ProgressCallback,
    ) -> Result<Option<Group>, MeasureError> {
        let started = Instant::now();
        let lengths = if self.chunking == Chunking::Whole {
            let Some(length) = self.whole(so_far, progress)? else { return Ok(None) };
            vec![length]
        } else {
            let length = |range| {
                let chunk = self.compressor.compress_chunk(slice(self.corpus, range), self.medium);
                chunk.map(|bytes| bytes.len() as u64)
            };
            let lengths = ranges.par_iter().map(length).collect::<io::Result<_>>();
            lengths.map_err(|error| self.failed(error))?
        };
        Ok(Some(Group { lengths, seconds: started.elapsed().as_secs_f64() }))
    }

    /// Compressed length of the whole span; nothing if stopped.
    fn whole(
        &self,
        so_far: MeasureProgress,
        progress: &mut ProgressCallback,
    ) -> Result<Option<u64>, MeasureError> {
        let rest = slice(self.corpus, &self.span);
        let about = Input { medium: self.medium, length: rest.len() as u64 };
        let so_far = MeasureProgress { position: self.span.start, ..so_far };
        let mut input = Watched { rest, so_far, progress, stopped: false };
        let mut output = Counted(0);
        let result = self.compressor.compress(&mut input, &mut output, about);
        if input.stopped {
            return Ok(None);
        }
        result.map_err(|error| self.failed(error))?;
        Ok(Some(output.0))
    }

    fn failed(&self, source: io::Error) -> MeasureError {
        MeasureError::Compressor { name: self.compressor.name, source }
    }
}

/// Adds the lengths of some ranges, less the header that is already counted.
fn add(group: Group, ranges: &[Range<u64>], measured: &mut Measured) {
    for (range, length) in ranges.iter().zip(group.lengths) {
        let payload = Bytes(length.saturating_sub(measured.header_bytes.0));
        let raw_bytes = range.end - range.start;
        measured.raw_bytes += Bytes(raw_bytes);
        *measured.coded_bytes.get_or_insert_default() += payload;
        measured.chunks.push(ChunkBits { bits: payload.as_bits().0, raw_bytes });
    }
    measured.seconds += group.seconds;
}

/// Bytes being read, with progress told of them.
struct Watched<'a, 'b> {
    rest: &'a [u8],
    so_far: MeasureProgress,
    progress: &'a mut ProgressCallback<'b>,
    stopped: bool,
}

impl Read for Watched<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.progress)(self.so_far).is_break() {
            self.stopped = true;
            return Err(io::Error::other("stopped"));
        }
        let most = buffer.len().min(READ_BYTES);
        let count = self.rest.read(&mut buffer[..most])?;
        self.so_far.raw_bytes_done += count as u64;
        self.so_far.position += count as u64;
        Ok(count)
    }
}

/// Counts bytes, and forgets them.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0 += buffer.len() as u64;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
