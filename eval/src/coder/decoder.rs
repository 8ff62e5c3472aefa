//! The decoding half of the range coder: bytes in, positions within cumulative frequencies out.

use super::{CoderError, settled_bytes};
use crate::quantize::Interval;

/// Turns bytes back into the intervals that they were made from. Any bytes may be given: they decode to some symbols,
/// or to an error.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    /// Bytes read, zeros past the end included.
    read: usize,
    /// The code minus the encoder's low: below `range` between symbols, if undamaged.
    code: u64,
    /// At least 2^56 between symbols.
    range: u64,
    /// The range's share of the total last asked for.
    unit: u64,
}

impl<'a> Decoder<'a> {
    /// Reads what an [`Encoder`](super::Encoder) wrote.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { bytes, read: 0, code: 0, range: u64::MAX, unit: 0 };
        decoder.code = decoder.next_bytes();
        decoder.read = 8;
        decoder
    }

    /// The position of the next symbol within the cumulative frequencies of a row with this total.
    ///
    /// # Errors
    /// [`CoderError::Damaged`] if it lies in none of them, [`CoderError::Truncated`] if the bytes
    /// ended before.
    pub fn target(&mut self, total: u32) -> Result<u32, CoderError> {
        if self.is_truncated() {
            return Err(self.truncated());
        }
        self.unit = self.range / u64::from(total.max(1));
        let target = u32::try_from(self.code / self.unit).ok().filter(|&target| target < total);
        target.ok_or(CoderError::Damaged { at: self.read })
    }

    /// Takes the symbol off: the interval that holds the target last given.
    pub fn consume(&mut self, interval: Interval) {
        self.code = self.code.wrapping_sub(self.unit * u64::from(interval.start));
        self.range = self.unit * u64::from(interval.size);
        let settled = settled_bytes(self.range);
        if settled > 0 {
            self.code = (self.code << (8 * settled)) | (self.next_bytes() >> (64 - 8 * settled));
            self.range <<= 8 * settled;
            self.read += settled;
        }
    }

    /// Whether more bytes were needed than are there.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        // The encoder settles a byte when the decoder reads the one eight further on.
        self.read > self.bytes.len() + 8
    }

    /// Checks, after the last symbol, that the bytes end where the encoder ended.
    ///
    /// # Errors
    /// [`CoderError::Truncated`] or [`CoderError::Surplus`] if not.
    pub fn finish(self) -> Result<(), CoderError> {
        let (needed, length) = (self.read - 8, self.bytes.len());
        match length {
            _ if self.is_truncated() => Err(self.truncated()),
            _ if length > needed + 1 => Err(CoderError::Surplus { needed, length }),
            _ => Ok(()),
        }
    }

    fn truncated(&self) -> CoderError {
        CoderError::Truncated { needed: self.read - 8, length: self.bytes.len() }
    }

    /// The eight bytes from `read` on, zeros past the end.
    fn next_bytes(&self) -> u64 {
        let rest = self.bytes.get(self.read..).unwrap_or_default();
        if let Some(next) = rest.first_chunk() {
            return u64::from_be_bytes(*next);
        }
        let mut next = [0; 8];
        next[..rest.len()].copy_from_slice(rest);
        u64::from_be_bytes(next)
    }
}
