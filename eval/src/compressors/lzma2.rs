//! LZMA2 in the .xz container, preset 9e, by liblzma: what the program `xz -9e` writes.

use std::io::{self, Read, Write};

use xz2::stream::{Check, Filters, LzmaOptions, PRESET_EXTREME, Stream};
use xz2::write::XzEncoder;

const PRESET: u32 = 9 | PRESET_EXTREME;
const LEAST_DICTIONARY: u64 = 1 << 12;

/// The preset's dictionary is 64 MiB, for which the encoder prepares ten times as much memory: of
/// an input known to be shorter, it is no longer than that, which changes no size (a test holds it
/// to that) and makes chunks of 2 KiB some hundred times as fast.
pub(super) fn compress(
    input: &mut dyn Read,
    output: &mut dyn Write,
    length: Option<u64>,
) -> io::Result<()> {
    let mut options = LzmaOptions::new_preset(PRESET)?;
    if let Some(length) = length.and_then(|length| u32::try_from(length.max(LEAST_DICTIONARY)).ok())
        && length < 64 << 20
    {
        options.dict_size(length);
    }
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let stream = Stream::new_stream_encoder(&filters, Check::Crc64)?;
    let mut encoder = XzEncoder::new_stream(output, stream);
    io::copy(input, &mut encoder)?;
    encoder.finish().map(|_| ())
}
