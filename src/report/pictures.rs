//! Samples of images and sounds as pictures: sheets of patches, waveforms, sound files. Both `lmtrain generate` and the
//! page's galleries use them. Given parts are grey or dark; sampled parts have a colour or a frame.

use anyhow::{Context as _, Result};
use lmtrain_runs::SampleRecord;

use super::draw::render;
use super::draw::scene::{Scene, Stroke, Text};
use super::draw::text::Weight;
use super::draw::theme::{CATEGORIES, Color, GRID, INK, MUTED};

/// Pixels of a sheet to a pixel of a patch, along each side.
const SCALE: usize = 4;
/// Pixels between patches.
const GAP: usize = 8;
const WHITE: u8 = 255;
/// What was not drawn, in a patch of the given half alone.
const BLANK: u8 = 224;
/// Columns and height of a waveform.
const WAVE_WIDTH: f64 = 760.0;
const WAVE_HEIGHT: f64 = 84.0;

/// A patch of the given half alone, with a plain ground where the rest belongs.
fn given_alone(record: &SampleRecord) -> Vec<u8> {
    let mut bytes = record.bytes.0.clone();
    for (range, _) in record.ranges().into_iter().filter(|(_, drawn)| *drawn) {
        bytes[range].fill(BLANK);
    }
    bytes
}

/// The chunk as it really is, if that is known.
pub(crate) fn with_truth(record: &SampleRecord) -> Option<Vec<u8>> {
    let mut truth = record.truth.as_ref()?.0.iter();
    let mut bytes = record.bytes.0.clone();
    for (range, _) in record.ranges().into_iter().filter(|(_, drawn)| *drawn) {
        for byte in &mut bytes[range] {
            *byte = *truth.next()?;
        }
    }
    Some(bytes)
}

/// A PNG of patches side by side: the truth, the given half alone, and each sample.
///
/// # Errors
/// If it cannot be encoded.
pub(crate) fn sheet(records: &[&SampleRecord], width: usize) -> Result<Vec<u8>> {
    let first = records.first().context("a sheet has samples")?;
    let mut patches: Vec<Vec<u8>> = with_truth(first).into_iter().collect();
    patches.push(given_alone(first));
    patches.extend(records.iter().map(|record| record.bytes.0.clone()));
    row_of_patches(&patches, width)
}

/// A PNG of one patch of the truth; and of the given half alone.
pub(crate) fn patch_png(bytes: &[u8], width: usize) -> Result<Vec<u8>> {
    row_of_patches(&[bytes.to_vec()], width)
}

/// A PNG of the given half alone.
pub(crate) fn given_png(record: &SampleRecord, width: usize) -> Result<Vec<u8>> {
    patch_png(&given_alone(record), width)
}

fn row_of_patches(patches: &[Vec<u8>], width: usize) -> Result<Vec<u8>> {
    let width = width.max(1);
    let rows = patches.iter().map(|patch| patch.len() / width).max().unwrap_or(0);
    let step = width * SCALE + GAP;
    let (columns, lines) =
        ((step * patches.len()).saturating_sub(GAP).max(1), (rows * SCALE).max(1));
    let mut pixels = vec![WHITE; columns * lines];
    for (place, patch) in patches.iter().enumerate() {
        for (line, row) in pixels.chunks_exact_mut(columns).enumerate() {
            let from = line / SCALE * width;
            let Some(source) = patch.get(from..from + width) else { continue };
            let target = &mut row[place * step..][..width * SCALE];
            for (pixel, target) in target.iter_mut().enumerate() {
                *target = source[pixel / SCALE];
            }
        }
    }
    gray_png(&pixels, columns, lines)
}

fn gray_png(pixels: &[u8], width: usize, height: usize) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, u32::try_from(width)?, u32::try_from(height)?);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(file)
}

/// A WAV file of samples of 8 or 16 bits, one channel: the bytes are what such a file holds.
pub(crate) fn wav(bytes: &[u8], bits: u32, rate_hz: u32) -> Vec<u8> {
    #[expect(clippy::cast_possible_truncation, reason = "a chunk has 2048 bytes")]
    let length = bytes.len() as u32;
    let bytes_a_sample = bits.div_ceil(8);
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + length + length % 2).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(rate_hz.to_le_bytes());
    file.extend((rate_hz * bytes_a_sample).to_le_bytes());
    file.extend(&bytes_a_sample.to_le_bytes()[..2]);
    file.extend(&bits.to_le_bytes()[..2]);
    file.extend(b"data");
    file.extend(length.to_le_bytes());
    file.extend(bytes);
    file.extend(std::iter::repeat_n(0, bytes.len() % 2));
    file
}

/// Waveforms one above another: the truth, and each sample; what was drawn has a colour.
///
/// # Errors
/// If they cannot be rendered.
pub(crate) fn waveforms_png(records: &[&SampleRecord]) -> Result<Vec<u8>> {
    render::png(&waveforms(records))
}

/// The same as a scene; names go above each.
pub(crate) fn waveforms(records: &[&SampleRecord]) -> Scene {
    let truth = records.first().and_then(|first| Some((*first, with_truth(first)?)));
    let mut rows: Vec<(String, &SampleRecord, Vec<u8>)> = Vec::new();
    rows.extend(truth.map(|(first, bytes)| ("as it is".to_owned(), first, bytes)));
    for record in records {
        let name = format!("{}, sample {}", record.name, record.index + 1);
        rows.push((name, record, record.bytes.0.clone()));
    }
    let mut scene = Scene::new(WAVE_WIDTH + 16.0, (WAVE_HEIGHT + 22.0) * rows.len() as f64 + 8.0);
    for (index, (name, record, bytes)) in rows.iter().enumerate() {
        let top = (WAVE_HEIGHT + 22.0) * index as f64 + 8.0;
        let is_truth = index == 0 && rows.len() > records.len();
        let drawn = if is_truth { MUTED } else { CATEGORIES[1] };
        let heading = Text::new((8.0, top + 10.0), 13.0, name.clone());
        scene.text(Text {
            weight: Weight::Bold,
            color: if is_truth { INK } else { drawn },
            ..heading
        });
        waveform(&mut scene, top + 16.0, (record, bytes), drawn);
    }
    scene
}

/// One waveform: the least and greatest sample of each column, joined.
fn waveform(scene: &mut Scene, top: f64, (record, bytes): (&SampleRecord, &[u8]), drawn: Color) {
    let middle = top + WAVE_HEIGHT / 2.0;
    scene.line(&[(8.0, middle), (8.0 + WAVE_WIDTH, middle)], Stroke::solid(GRID, 1.0));
    let width = usize::try_from(record.medium.bytes_of_a_sample()).unwrap_or(1);
    let all = bytes.len().max(1) as f64;
    for (range, is_drawn) in record.ranges() {
        // A line ends where the next one begins.
        let end = (range.end + width).min(bytes.len());
        let samples = bytes[range.start..end].chunks_exact(width).enumerate();
        let point = |(index, sample): (usize, &[u8])| {
            let at = (range.start + index * width) as f64 / all;
            (8.0 + WAVE_WIDTH * at, middle - WAVE_HEIGHT / 2.0 * amplitude(sample))
        };
        let points: Vec<_> = samples.map(point).collect();
        scene.line(&points, Stroke::solid(if is_drawn { drawn } else { INK }, 1.0));
    }
}

/// A sample's height, from −1 to 1.
fn amplitude(sample: &[u8]) -> f64 {
    match sample {
        [byte] => (f64::from(*byte) - 128.0) / 128.0,
        [low, high, ..] => f64::from(i16::from_le_bytes([*low, *high])) / 32768.0,
        [] => 0.0,
    }
}

/// Bytes as text that a terminal and a page can show: what is none is written as `\xNN`.
pub(crate) fn as_text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\n' | '\t' => text.push(letter),
                _ if letter.is_control() => text.extend(letter.escape_default()),
                _ => text.push(letter),
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_spelt() {
        assert_eq!(as_text("a\tb\n\u{e9}".as_bytes()), "a\tb\n\u{e9}");
        assert_eq!(as_text(b"a\x1b[31m\xff\0"), "a\\u{1b}[31m\\xff\\u{0}");
    }

    #[test]
    fn a_wav_file_says_what_it_holds() {
        let file = wav(&[128; 10], 8, 16_000);
        assert_eq!((file.len(), &file[..4], &file[8..16]), (54, &b"RIFF"[..], &b"WAVEfmt "[..]));
        assert_eq!(file[4..8], 46_u32.to_le_bytes());
        let file = wav(&[0; 8], 16, 8_000);
        assert_eq!(
            (&file[28..32], &file[32..36]),
            (&16_000_u32.to_le_bytes()[..], &[2, 0, 16, 0][..])
        );
    }

    #[test]
    fn patches_lie_side_by_side() {
        let sheet = row_of_patches(&[vec![0; 8], vec![9; 8]], 4).expect("encoded");
        let decoder = png::Decoder::new(std::io::Cursor::new(sheet));
        let reader = decoder.read_info().expect("a PNG");
        assert_eq!((reader.info().width, reader.info().height), (2 * 16 + 8, 8));
    }
}
