//! Lossless WebP, by libwebp at its highest effort: grey pixels are stored as colours with equal components. An image
//! has at most 16,383 pixels on a side; longer input becomes several images, one after another, each of which gives its
//! own length.

use std::io::{self, Read, Write};

use webp::{Encoder, WebPConfig, WebPEncodingError};

use super::input::Input;
use super::layout::Layout;

const MOST_PIXELS_OF_A_SIDE: u32 = 16_383;

pub(super) fn compress(
    input: &mut dyn Read,
    output: &mut dyn Write,
    about: Input,
) -> io::Result<()> {
    if about.length == 0 {
        return Ok(());
    }
    let mut config =
        WebPConfig::new().map_err(|()| io::Error::other("libwebp has an incompatible version"))?;
    config.lossless = 1;
    config.method = 6;
    config.quality = 100.0;
    config.exact = 1;
    for layout in Layout::of(about)?.no_longer_than(MOST_PIXELS_OF_A_SIDE) {
        let mut pixels = Vec::new();
        input.take(layout.pixels()).read_to_end(&mut pixels)?;
        if pixels.len() as u64 != layout.pixels() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let colors: Vec<u8> = pixels.iter().flat_map(|&gray| [gray; 3]).collect();
        let encoder = Encoder::from_rgb(&colors, layout.width, layout.height);
        output.write_all(&encoder.encode_advanced(&config).map_err(failed)?)?;
    }
    Ok(())
}

fn failed(error: WebPEncodingError) -> io::Error {
    io::Error::other(format!("{error:?}"))
}
