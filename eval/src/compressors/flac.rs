//! FLAC, one channel, by the `flac-codec` crate: samples of 16 bits as the corpus has them, and all other bytes as samples
//! of 8 bits around 128. What is no sound has 16,000 samples a second, as the paper has it.

use std::io::{self, Read, Seek, SeekFrom, Write};

use flac_codec::encode::{FlacSampleWriter, Options};
use lmtrain_runs::Medium;

use super::input::Input;

/// Samples a second of what is no sound.
const RATE_HZ: u32 = 16_000;
/// Bytes that are read at a time: a whole number of samples.
const READ_BYTES: usize = 1 << 16;

pub(super) fn compress(
    input: &mut dyn Read,
    output: &mut dyn Write,
    about: Input,
) -> io::Result<()> {
    // Of no samples the format has no count.
    if about.length == 0 {
        return Ok(());
    }
    let (bits, rate_hz) = match about.medium {
        // Half a sample is none: such bytes are samples each.
        Medium::Audio { bits: 16, rate_hz } if about.length.is_multiple_of(2) => (16, rate_hz),
        Medium::Audio { rate_hz, .. } => (8, rate_hz),
        _ => (8, RATE_HZ),
    };
    let samples = about.length * 8 / u64::from(bits);
    let options = Options::best().no_padding().no_seektable();
    let output = Forward { output, at: 0, written: 0 };
    let mut writer = FlacSampleWriter::new(output, options, rate_hz, bits, 1, Some(samples))
        .map_err(io::Error::other)?;
    loop {
        let mut bytes = Vec::new();
        input.take(READ_BYTES as u64).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            break;
        }
        writer.write(&samples_of(&bytes, bits)).map_err(io::Error::other)?;
    }
    writer.finalize().map_err(io::Error::other)
}

fn samples_of(bytes: &[u8], bits: u32) -> Vec<i32> {
    match bits {
        16 => bytes.as_chunks().0.iter().map(|&pair| i16::from_le_bytes(pair).into()).collect(),
        _ => bytes.iter().map(|&byte| i32::from(byte) - 128).collect(),
    }
}

/// An output that cannot go back: what is written over something earlier is left out. That is the header's hash of the
/// samples and the sizes of its frames, which may be zero, as the program `flac` leaves them in a stream too.
struct Forward<'a> {
    output: &'a mut dyn Write,
    at: u64,
    written: u64,
}

impl Write for Forward<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let over = (self.written - self.at).min(buffer.len() as u64);
        let count = match over {
            0 => self.output.write(buffer)? as u64,
            over => over,
        };
        self.at += count;
        self.written = self.written.max(self.at);
        usize::try_from(count).map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

impl Seek for Forward<'_> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let at = match position {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.written.checked_add_signed(by),
        };
        let at = at.filter(|&at| at <= self.written);
        self.at = at.ok_or_else(|| io::Error::other("sought outside of what is written"))?;
        Ok(self.at)
    }
}
