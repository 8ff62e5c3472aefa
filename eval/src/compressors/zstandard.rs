//! Zstandard, level 22 with long-distance matching in a window as long as the input: what `zstd --ultra -22 --long=31`
//! writes.

use std::io::{self, Read, Write};

use zstd::stream::write::Encoder;

use super::input::Input;

const LEVEL: i32 = 22;
/// Bits of the longest window. Of an input known to be shorter, the library takes no more memory than that needs.
const WINDOW_LOG: u32 = 31;

pub(super) fn compress(
    input: &mut dyn Read,
    output: &mut dyn Write,
    about: Input,
) -> io::Result<()> {
    let mut encoder = Encoder::new(output, LEVEL)?;
    encoder.set_pledged_src_size(Some(about.length))?;
    encoder.include_contentsize(true)?;
    encoder.include_checksum(true)?;
    encoder.long_distance_matching(true)?;
    encoder.window_log(WINDOW_LOG)?;
    io::copy(input, &mut encoder)?;
    encoder.finish().map(|_| ())
}
