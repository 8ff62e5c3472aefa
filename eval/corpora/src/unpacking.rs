//! A file that is being unpacked: its bytes are counted and checked on the way.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;

use super::container::{HEAD_BYTES, check_unpacked};
use super::error::CorpusError;
use super::format::Format;
use super::progress::{CorpusProgress, ProgressCallback};

pub(super) const BUFFER_BYTES: usize = 1 << 18;

/// A file being unpacked.
pub(super) struct Unpacking<'a> {
    pub(super) path: &'a Path,
    pub(super) format: Format,
    output: &'a mut dyn Write,
    progress: &'a mut ProgressCallback<'a>,
    /// Bytes that there will be, if that is known.
    of: Option<u64>,
    /// Bytes so far.
    bytes: u64,
    /// The first of them.
    head: Vec<u8>,
}

impl<'a> Unpacking<'a> {
    /// Of a file, with nothing unpacked yet.
    pub(super) fn new(
        path: &'a Path,
        format: Format,
        output: &'a mut dyn Write,
        progress: &'a mut ProgressCallback<'a>,
        of: Option<u64>,
    ) -> Self {
        let head = Vec::with_capacity(HEAD_BYTES);
        Self { path, format, output, progress, of, bytes: 0, head }
    }

    /// Takes what a decoder gives.
    pub(super) fn take(&mut self, input: &mut dyn Read) -> Result<(), CorpusError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = match input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.damaged(&error)),
            };
            self.look_at(&buffer[..count])?;
            self.output
                .write_all(&buffer[..count])
                .map_err(CorpusError::file("write what is unpacked from", self.path))?;
            self.bytes += count as u64;
            let told = CorpusProgress::Unpacking { bytes: self.bytes, of: self.of };
            if (self.progress)(told) == ControlFlow::Break(()) {
                return Err(CorpusError::Interrupted);
            }
        }
    }

    /// Looks at the first bytes, before many more are unpacked for nothing.
    fn look_at(&mut self, bytes: &[u8]) -> Result<(), CorpusError> {
        let room = HEAD_BYTES - self.head.len();
        if room == 0 {
            return Ok(());
        }
        self.head.extend_from_slice(&bytes[..room.min(bytes.len())]);
        if self.head.len() < HEAD_BYTES { Ok(()) } else { self.check_head() }
    }

    fn check_head(&self) -> Result<(), CorpusError> {
        check_unpacked(&self.head, self.path, self.format)
    }

    /// The received bytes, if their number is as promised.
    pub(super) fn finish(self) -> Result<u64, CorpusError> {
        self.check_head()?;
        match self.of {
            Some(of) if of != self.bytes => {
                let has = self.bytes;
                Err(self.refuse(format!("it should hold {of} bytes but holds {has}")))
            }
            _ => Ok(self.bytes),
        }
    }

    /// The error of a decoder.
    pub(super) fn damaged(&self, error: &io::Error) -> CorpusError {
        self.refuse(match error.kind() {
            io::ErrorKind::UnexpectedEof => "it is truncated".to_owned(),
            _ => format!("it is damaged ({error})"),
        })
    }

    pub(super) fn refuse(&self, reason: String) -> CorpusError {
        refused(self.path, reason)
    }
}

/// Why a file is not unpacked.
pub(super) fn refused(path: &Path, reason: String) -> CorpusError {
    CorpusError::Archive { path: path.to_owned(), reason }
}
