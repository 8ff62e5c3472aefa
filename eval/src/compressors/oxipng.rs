//! PNG by oxipng, which tries many filters and keeps the smallest result. It holds the whole image in memory.

use std::io::{self, Read, Write};

use oxipng::{BitDepth, ColorType, Options, RawImage};

use super::input::Input;
use super::layout::Layout;

pub(super) fn compress(
    input: &mut dyn Read,
    output: &mut dyn Write,
    about: Input,
) -> io::Result<()> {
    let Layout { width, height } = Layout::of(about)?;
    let mut pixels = Vec::new();
    input.read_to_end(&mut pixels)?;
    if pixels.is_empty() {
        return Ok(());
    }
    let gray = ColorType::Grayscale { transparent_shade: None };
    let image = RawImage::new(width, height, gray, BitDepth::Eight, pixels);
    let image = image.map_err(io::Error::other)?;
    let packed = image.create_optimized_png(&Options::max_compression());
    output.write_all(&packed.map_err(io::Error::other)?)
}
