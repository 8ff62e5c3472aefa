//! From an image file to patches: grey, 64 wide and 32 high, one byte per pixel, row by row. Patches are taken row by
//! row from the top left; incomplete ones at the right and bottom edges are dropped. The paper's code makes its patches
//! of ImageNet in the same way.
//!
//! The grey value is computed from red, green and blue; transparency (alpha) and camera orientation (EXIF) are ignored.
//! Of 16-bit samples only the high byte is used, and grey samples are used as they are.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, ImageReader};
use lmtrain_runs::medium::{PATCH_HEIGHT, PATCH_WIDTH};

use super::decoded::{Decoded, MOST_IMAGE_BYTES};
use super::guard::guarded;
use super::{Grey, MediaKind, jpeg};

/// The patches of an image file's bytes.
pub(crate) fn patches(file: &[u8], grey: Grey) -> Decoded {
    let image = match decode(file) {
        Ok(image) => image,
        Err(reason) => return Decoded::Broken(reason),
    };
    let (width, height) = (image.width(), image.height());
    if width < PATCH_WIDTH || height < PATCH_HEIGHT {
        return Decoded::TooShort(format!("{width} × {height}"));
    }
    let pixels = grey_pixels(image, grey);
    Decoded::Chunks { bytes: cut(&pixels, width as usize, height as usize), rate_hz: None }
}

/// Decodes by what the file begins with, whatever it is called.
fn decode(file: &[u8]) -> Result<DynamicImage, String> {
    let format = image::guess_format(file).ok();
    let is_known = |it: &ImageFormat| *it == ImageFormat::Jpeg || it.reading_enabled();
    let Some(format) = format.filter(is_known) else {
        return Err(format!("its first bytes are not those of {}", MediaKind::Images.formats()));
    };
    guarded(|| match format {
        ImageFormat::Jpeg => jpeg::decode(file),
        _ => {
            let mut reader = ImageReader::with_format(Cursor::new(file), format);
            let mut limits = image::Limits::default();
            limits.max_alloc = Some(MOST_IMAGE_BYTES);
            reader.limits(limits);
            reader.decode().map_err(|error| one_line(&error.to_string()))
        }
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A byte a pixel, row by row.
fn grey_pixels(image: DynamicImage, grey: Grey) -> Vec<u8> {
    let mix = match grey {
        Grey::Mean => mean,
        Grey::Luma => luma,
    };
    let high = |sample: u16| (sample >> 8) as u8;
    let mixed = |samples: &[u8], channels: usize| -> Vec<u8> {
        samples.chunks_exact(channels).map(|pixel| mix([pixel[0], pixel[1], pixel[2]])).collect()
    };
    let mixed_wide = |samples: &[u16], channels: usize| -> Vec<u8> {
        let pixels = samples.chunks_exact(channels);
        pixels.map(|pixel| mix([high(pixel[0]), high(pixel[1]), high(pixel[2])])).collect()
    };
    match image {
        DynamicImage::ImageLuma8(image) => image.into_raw(),
        DynamicImage::ImageLumaA8(image) => image.into_raw().into_iter().step_by(2).collect(),
        DynamicImage::ImageLuma16(image) => image.into_raw().into_iter().map(high).collect(),
        DynamicImage::ImageLumaA16(image) => {
            image.into_raw().into_iter().step_by(2).map(high).collect()
        }
        DynamicImage::ImageRgb8(image) => mixed(image.as_raw(), 3),
        DynamicImage::ImageRgba8(image) => mixed(image.as_raw(), 4),
        DynamicImage::ImageRgb16(image) => mixed_wide(image.as_raw(), 3),
        DynamicImage::ImageRgba16(image) => mixed_wide(image.as_raw(), 4),
        // Samples that are floats, between 0 and 1.
        other => mixed(other.to_rgb8().as_raw(), 3),
    }
}

fn mean([red, green, blue]: [u8; 3]) -> u8 {
    ((u32::from(red) + u32::from(green) + u32::from(blue)) / 3) as u8
}

fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let weighted = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue);
    ((weighted + 32_768) >> 16) as u8
}

/// The patches of `pixels` [height, width].
fn cut(pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    let (across, rows) = (PATCH_WIDTH as usize, PATCH_HEIGHT as usize);
    let mut patches = Vec::with_capacity(width / across * across * (height / rows * rows));
    for band in pixels.chunks_exact(width * rows) {
        for left in (0..width / across).map(|patch| patch * across) {
            for row in band.chunks_exact(width) {
                patches.extend_from_slice(&row[left..left + across]);
            }
        }
    }
    patches
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, ImageBuffer, RgbImage, RgbaImage};
    use lmtrain_runs::medium::MEDIA_CHUNK_BYTES;

    use super::*;

    /// A file of this image.
    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, format).expect("encodes");
        file.into_inner()
    }

    fn bytes_of(file: &[u8], grey: Grey) -> Vec<u8> {
        match patches(file, grey) {
            Decoded::Chunks { bytes, rate_hz: None } => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn patches_are_cut_row_by_row_and_the_rest_is_dropped() {
        // Two patches across with 3 pixels over, two down with 5 rows over; a pixel tells where it is.
        let image = GrayImage::from_fn(131, 69, |x, y| image::Luma([(x * 3 + y * 7) as u8]));
        let bytes = bytes_of(&encoded(&image.clone().into(), ImageFormat::Png), Grey::Mean);
        assert_eq!(bytes.len() as u64, 4 * MEDIA_CHUNK_BYTES);
        for (index, byte) in bytes.iter().enumerate() {
            let (patch, within) = (index / 2048, index % 2048);
            let x = patch % 2 * 64 + within % 64;
            let y = patch / 2 * 32 + within / 64;
            assert_eq!(*byte, image.get_pixel(x as u32, y as u32).0[0], "{x}, {y}");
        }
    }

    #[test]
    fn colours_become_grey_by_their_mean_or_luma() {
        for (pixel, by_mean, by_luma) in [
            ([255, 255, 255], 255, 255),
            ([1, 1, 0], 0, 1),
            ([255, 0, 0], 85, 76),
            ([0, 255, 0], 85, 150),
            ([0, 0, 255], 85, 29),
            ([10, 20, 31], 20, 18),
        ] {
            let image = RgbImage::from_pixel(64, 32, image::Rgb(pixel));
            for format in [ImageFormat::Png, ImageFormat::Pnm, ImageFormat::Bmp, ImageFormat::Tiff]
            {
                let file = encoded(&image.clone().into(), format);
                assert_eq!(bytes_of(&file, Grey::Mean), [by_mean; 2048], "{pixel:?} {format:?}");
                assert_eq!(bytes_of(&file, Grey::Luma), [by_luma; 2048], "{pixel:?} {format:?}");
            }
        }
    }

    #[test]
    fn every_kind_of_pixel_is_understood() {
        let wide = |value: u16| (value << 8) | 0xff;
        let rgba = RgbaImage::from_pixel(64, 32, image::Rgba([9, 9, 12, 0]));
        let rgb16 = ImageBuffer::from_pixel(64, 32, image::Rgb([wide(9), wide(9), wide(12)]));
        let rgba16 = ImageBuffer::from_pixel(64, 32, image::Rgba([wide(9), wide(9), wide(12), 7]));
        let grey16 = ImageBuffer::from_pixel(64, 32, image::Luma([wide(10)]));
        let grey_alpha = ImageBuffer::from_pixel(64, 32, image::LumaA([10_u8, 3]));
        let grey_alpha16 = ImageBuffer::from_pixel(64, 32, image::LumaA([wide(10), 3]));
        for image in [
            DynamicImage::ImageRgba8(rgba),
            DynamicImage::ImageRgb16(rgb16),
            DynamicImage::ImageRgba16(rgba16),
            DynamicImage::ImageLuma16(grey16),
            DynamicImage::ImageLumaA8(grey_alpha),
            DynamicImage::ImageLumaA16(grey_alpha16),
        ] {
            let colour = image.color();
            let file = encoded(&image, ImageFormat::Png);
            assert_eq!(bytes_of(&file, Grey::Mean), [10; 2048], "{colour:?}");
        }
    }

    #[test]
    fn what_is_no_whole_image_says_so() {
        let image = RgbImage::from_fn(640, 480, |x, y| image::Rgb([x as u8, y as u8, 7]));
        let whole = encoded(&image.into(), ImageFormat::Png);
        let reason = |file: &[u8]| match patches(file, Grey::Mean) {
            Decoded::Broken(reason) => reason,
            other => panic!("{other:?}"),
        };
        for length in [9, 40, whole.len() / 2] {
            assert!(!reason(&whole[..length]).contains('\n'));
        }
        assert!(reason(b"once upon a time").contains("not those of PNG, JPEG"));
        assert!(reason(b"").contains("not those of PNG, JPEG"));
        assert!(reason(b"GIF89a").contains("not those of PNG, JPEG"));
        let small = encoded(&GrayImage::new(63, 400).into(), ImageFormat::Png);
        assert!(
            matches!(patches(&small, Grey::Mean), Decoded::TooShort(size) if size == "63 × 400")
        );
    }
}
