//! Reading an archive without trusting it: every byte is counted and included in the running seal, and no more memory
//! is allocated than bytes have really arrived.

use std::io::{self, BufReader, Read};

use super::ArchiveError;

pub(super) struct Source<R> {
    input: BufReader<R>,
    /// Bytes read so far.
    pub(super) position: u64,
    /// Of everything since the last seal.
    crc: crc32fast::Hasher,
}

impl<R: Read> Source<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input: BufReader::new(input), position: 0, crc: crc32fast::Hasher::new() }
    }

    pub(super) fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], ArchiveError> {
        let mut array = [0; LENGTH];
        self.input.read_exact(&mut array).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::Truncated { at: self.position },
            _ => ArchiveError::Read(error),
        })?;
        self.took(&array);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ArchiveError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, ArchiveError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ArchiveError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ArchiveError> {
        self.array().map(u64::from_le_bytes)
    }

    /// `count` bytes. The buffer grows as they arrive, whatever `count` claims.
    pub(super) fn bytes(&mut self, count: u64) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = Vec::new();
        let mut limited = self.input.by_ref().take(count);
        limited.read_to_end(&mut bytes).map_err(ArchiveError::Read)?;
        self.took(&bytes);
        if bytes.len() as u64 == count {
            Ok(bytes)
        } else {
            Err(ArchiveError::Truncated { at: self.position })
        }
    }

    /// A text of at most 255 bytes.
    pub(super) fn text(&mut self) -> Result<Vec<u8>, ArchiveError> {
        let length = self.u8()?;
        self.bytes(u64::from(length))
    }

    /// Reads a seal and compares it with the bytes since the previous one.
    pub(super) fn seal(&mut self, what: &str) -> Result<(), ArchiveError> {
        let computed = std::mem::take(&mut self.crc).finalize();
        let stored = self.u32()?;
        self.crc = crc32fast::Hasher::new();
        if stored == computed {
            return Ok(());
        }
        Err(self.damaged(format!("the checksum of {what} is {stored:08x}, not {computed:08x}")))
    }

    /// Checks that nothing follows.
    pub(super) fn end(mut self) -> Result<(), ArchiveError> {
        let at = self.position;
        match self.u8() {
            Err(ArchiveError::Truncated { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(ArchiveError::Surplus { at }),
        }
    }

    pub(super) fn damaged(&self, what: impl Into<String>) -> ArchiveError {
        ArchiveError::Damaged { what: what.into(), at: self.position }
    }

    fn took(&mut self, bytes: &[u8]) {
        self.position += bytes.len() as u64;
        self.crc.update(bytes);
    }
}
