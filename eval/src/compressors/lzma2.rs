//! LZMA2 in the .xz container, preset 9e, by liblzma: what the program `xz -9e` writes.

use std::io::{self, Read, Write};

use xz2::stream::{Check, Filters, LzmaOptions, PRESET_EXTREME, Stream};
use xz2::write::XzEncoder;

use super::input::Input;

const PRESET: u32 = 9 | PRESET_EXTREME;
const LEAST_DICTIONARY: u32 = 1 << 12;
/// Bytes of an input whose dictionary is as long as the input: shorter than the preset's.
const MOST_SHORT: u32 = (64 << 20) - 1;

/// The preset's dictionary is 64 MiB, for which the encoder prepares ten times as much memory. For short input, the
/// dictionary is only as long as the input, which changes no size (a test checks this) and makes chunks of 2 KiB some
/// hundred times as fast.
pub(super) fn compress(
    input: &mut dyn Read,
    output: &mut dyn Write,
    about: Input,
) -> io::Result<()> {
    let mut options = LzmaOptions::new_preset(PRESET)?;
    if let Ok(length @ ..=MOST_SHORT) = u32::try_from(about.length) {
        options.dict_size(length.max(LEAST_DICTIONARY));
    }
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let stream = Stream::new_stream_encoder(&filters, Check::Crc64)?;
    let mut encoder = XzEncoder::new_stream(output, stream);
    io::copy(input, &mut encoder)?;
    encoder.finish().map(|_| ())
}

/// The version of liblzma, as it tells it.
pub(super) fn library() -> String {
    #[expect(unsafe_code, reason = "it takes nothing and reads a constant; no library wraps it")]
    let version = unsafe { liblzma_sys::lzma_version_number() };
    // Major, minor and patch have three digits each; the last digit tells alpha and beta from stable.
    let [major, minor, patch] = [10_000_000, 10_000, 10].map(|unit| version / unit % 1000);
    format!("liblzma {major}.{minor}.{patch}")
}
