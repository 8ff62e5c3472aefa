//! gzip, level 9: the program's deflate stream between the header and trailer of RFC 1952. The header has no file name
//! and no time.

use std::io::{self, Read, Write};

use rayon::prelude::*;

use super::deflate::{Begun, Matching, deflate};
use super::input::Input;

/// Magic, deflate, no flags, no time, slowest level, Unix.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];

/// A checksum and a length.
const TRAILER_BYTES: u64 = 8;

pub(super) fn compress(
    input: &mut dyn Read,
    output: &mut dyn Write,
    _about: Input,
) -> io::Result<()> {
    output.write_all(&HEADER)?;
    let mut summed = Summed { input, crc: crc32fast::Hasher::new(), length: 0 };
    deflate(&mut summed, output, Matching::Any)?;
    output.write_all(&summed.crc.finalize().to_le_bytes())?;
    output.write_all(&summed.length.to_le_bytes())
}

/// Bits of a stream of `beginning` and each of some ends, before the last byte of deflate's is filled up. Nearly all of
/// the work on the beginning is done once.
pub(super) fn bits_of_ends(beginning: &[u8], ends: &[&[u8]]) -> io::Result<Vec<u64>> {
    let begun = Begun::new(beginning)?;
    let around = 8 * (HEADER.len() as u64 + TRAILER_BYTES);
    ends.par_iter().map(|end| Ok(around + begun.bits_with(end)?)).collect()
}

/// Passes bytes on, summing them up.
struct Summed<'a> {
    input: &'a mut dyn Read,
    crc: crc32fast::Hasher,
    /// Modulo 2^32, as the trailer has it.
    length: u32,
}

impl Read for Summed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.crc.update(&buffer[..count]);
        #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32")]
        let low = count as u32;
        self.length = self.length.wrapping_add(low);
        Ok(count)
    }
}
