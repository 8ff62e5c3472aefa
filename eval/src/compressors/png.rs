//! PNG, grey with 8 bits a pixel, by the `png` crate. No image has no pixels: of no bytes nothing is made.

use std::io::{self, Read, Write};

use png::{BitDepth, ColorType, Compression, Encoder, Filter};

use super::input::Input;
use super::layout::Layout;

/// Bytes of a chunk of the file, so that few are needed.
const CHUNK_BYTES: usize = 1 << 20;

/// Patches as they are, and all else as an image that is no higher than wide.
pub(super) fn compress(
    input: &mut dyn Read,
    output: &mut dyn Write,
    about: Input,
) -> io::Result<()> {
    encode(input, output, Layout::of(about)?)
}

/// The paper's code gives the height for the width: the same bytes, row after row, in an image 32 wide and 64 high.
pub(super) fn compress_transposed(
    input: &mut dyn Read,
    output: &mut dyn Write,
    about: Input,
) -> io::Result<()> {
    encode(input, output, Layout::of(about)?.transposed())
}

fn encode(input: &mut dyn Read, output: &mut dyn Write, layout: Layout) -> io::Result<()> {
    if layout.pixels() == 0 {
        return Ok(());
    }
    let mut encoder = Encoder::new(output, layout.width, layout.height);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::High);
    encoder.set_filter(Filter::Adaptive);
    let mut writer = encoder.write_header()?;
    let mut pixels = writer.stream_writer_with_size(CHUNK_BYTES)?;
    io::copy(input, &mut pixels)?;
    pixels.finish()?;
    Ok(writer.finish()?)
}
