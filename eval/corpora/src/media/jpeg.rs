//! JPEG by libjpeg's own code (as maintained in mozjpeg), since the pixels of a JPEG depend on conventions: how the
//! transform rounds, and how colours are interpolated between samples. Pillow, OpenCV and TensorFlow all follow
//! libjpeg. The decoder of `image` does not: 0.5 to 16 % of the grey bytes of photographs differed by one or more. The
//! library is built without processor-specific code, so that every machine computes the same pixels.

use std::io;

use image::{DynamicImage, GrayImage, RgbImage};
use mozjpeg::Decompress;
use mozjpeg::decompress::{DecompressStarted, Format};

use super::decoded::MOST_IMAGE_BYTES;

/// The pixels of a JPEG. libjpeg reports failures by unwinding, which the caller must catch.
///
/// # Errors
/// Why it does not decode.
pub(crate) fn decode(file: &[u8]) -> Result<DynamicImage, String> {
    // libjpeg makes up what is missing.
    if !is_whole(file) {
        return Err("it is truncated".to_owned());
    }
    read(file)?.ok_or_else(|| "it has fewer pixels than its header says".to_owned())
}

fn read(file: &[u8]) -> Result<Option<DynamicImage>, String> {
    let says = |error: io::Error| error.to_string();
    let header = Decompress::new_mem(file).map_err(says)?;
    let (width, height) = (header.width(), header.height());
    if (width * height) as u64 > MOST_IMAGE_BYTES / 4 {
        return Err(format!("its {width} × {height} pixels are more than the decoder accepts"));
    }
    let pixels = |mut started: DecompressStarted<_>| started.read_scanlines::<u8>().map_err(says);
    let (width, height) = (width as u32, height as u32);
    Ok(match header.image().map_err(says)? {
        Format::Gray(started) => {
            GrayImage::from_raw(width, height, pixels(started)?).map(DynamicImage::from)
        }
        Format::RGB(started) => {
            RgbImage::from_raw(width, height, pixels(started)?).map(DynamicImage::from)
        }
        Format::CMYK(started) => {
            let inks = pixels(started)?;
            let colours = inks.chunks_exact(4).flat_map(|it| of_inks([it[0], it[1], it[2], it[3]]));
            RgbImage::from_raw(width, height, colours.collect()).map(DynamicImage::from)
        }
    })
}

/// Red, green and blue of cyan, magenta, yellow and black as Adobe writes them, 255 for none: light · light of black,
/// as Pillow has it.
fn of_inks([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let light = |ink: u8| {
        let shade = u32::from(255 - ink) * u32::from(black) + 128;
        black.saturating_sub((((shade >> 8) + shade) >> 8) as u8)
    };
    [cyan, magenta, yellow].map(light)
}

/// Whether a JPEG has its end mark, the only sign that nothing is missing.
fn is_whole(file: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // Up to the next mark: fill bytes, stuffed zeros and restarts within a scan, and what is too much.
        let Some(mark) = file.get(at..).and_then(|rest| {
            let is_mark =
                |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff | 0xd0..=0xd7);
            rest.windows(2).position(is_mark)
        }) else {
            return false;
        };
        at += mark + 2;
        match file[at - 1] {
            0xd9 => return true,
            // Marks without a length.
            0x01 | 0xd8 => {}
            _ => match file.get(at..at + 2) {
                Some(length) => at += usize::from(length[0]) << 8 | usize::from(length[1]),
                None => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_found_wherever_it_is() {
        let file = include_bytes!("../../reference/progressive.jpg");
        assert!(is_whole(file) && decode(file).is_ok());
        for length in 0..file.len() {
            assert!(!is_whole(&file[..length]), "{length} bytes");
        }
        let thumbnail = [&file[..2], b"\xff\xe1\x00\x06\xff\xd9", &file[2..]].concat();
        assert!(is_whole(&thumbnail));
        let more = [&file[..], b"more"].concat();
        assert!(is_whole(&more) && decode(&more).is_ok());
    }

    #[test]
    fn inks_are_mixed_as_pillow_does() {
        // Image.frombytes("CMYK", (1, 1), bytes(255 - v for v in inks)).convert("RGB"), by Pillow 13.
        for (inks, colours) in [
            ([255, 255, 255, 255], [255, 255, 255]),
            ([0, 255, 128, 255], [0, 255, 128]),
            ([200, 100, 50, 180], [141, 71, 35]),
            ([1, 2, 3, 0], [0, 0, 0]),
        ] {
            assert_eq!(of_inks(inks), colours);
        }
    }
}
