//! Compressors restore their input, and give the same sizes as the programs that they stand for.

use std::io::Read;

use flac_codec::decode::FlacSampleReader;
use lmtrain_runs::random::SplitMix64;
use lmtrain_runs::units::hex;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

const SPEECH: Medium = Medium::Audio { bits: 16, rate_hz: 16_000 };
const SOUND: Medium = Medium::Audio { bits: 8, rate_hz: 8000 };
const MEDIA: [Medium; 5] = [Medium::Bytes, Medium::Text, Medium::PATCHES, SOUND, SPEECH];

/// Text-like bytes: words of a small vocabulary, rare ones seldom, now and then noise.
fn words(length: usize, seed: u64) -> Vec<u8> {
    let mut random = SplitMix64::new(seed);
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let rank = (1 << random.below(13)) + random.below(4096) % (1 << random.below(13));
        let mut word = SplitMix64::new(rank);
        bytes.extend((0..2 + word.below(7)).map(|_| b'a' + (word.below(26) as u8)));
        bytes.push(if random.below(50) == 0 { random.below(256) as u8 } else { b' ' });
    }
    bytes.truncate(length);
    bytes
}

/// Samples of 16 bits of a voice: a resonance that something kicks again and again.
fn voice(count: usize) -> Vec<u8> {
    let mut random = SplitMix64::new(9);
    let [mut last, mut before] = [0_i64; 2];
    let sample = |at: usize| {
        let kick = if at.is_multiple_of(90) { 6000 } else { random.below(200) as i64 - 100 };
        let next = (1900 * last - 980 * before) / 1024 + kick;
        (before, last) = (last, next.clamp(-30_000, 30_000));
        (last as i16).to_le_bytes()
    };
    (0..count).flat_map(sample).collect()
}

fn samples() -> Vec<Vec<u8>> {
    let noise = {
        let mut random = SplitMix64::new(1);
        (0..200_000).map(|_| random.below(256) as u8).collect()
    };
    vec![Vec::new(), vec![b'a'], vec![7; 300_000], words(400_000, 2), noise, words(2048, 3)]
}

fn compressed(name: &str, bytes: &[u8], medium: Medium) -> Vec<u8> {
    by_name(name).expect("there").compress_chunk(bytes, medium).expect("compresses")
}

/// What another program makes of what we made.
fn restored(name: &str, compressed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = |mut reader: Box<dyn Read + '_>, bytes: &mut Vec<u8>| {
        reader.read_to_end(bytes).expect("restores");
    };
    match name {
        "gzip" => read(Box::new(flate2::read::GzDecoder::new(compressed)), &mut bytes),
        "lzma2" => read(Box::new(xz2::read::XzDecoder::new(compressed)), &mut bytes),
        "bzip2" => read(Box::new(::bzip2::read::BzDecoder::new(compressed)), &mut bytes),
        "brotli" => read(Box::new(::brotli::Decompressor::new(compressed, 4096)), &mut bytes),
        "ppmd" => {
            let decoder = ppmd_rust::Ppmd7Decoder::new(compressed, 32, 192 << 20);
            read(Box::new(decoder.expect("a stream")), &mut bytes);
        }
        "zstd" => {
            let mut decoder = zstd::Decoder::new(compressed).expect("a stream");
            decoder.window_log_max(31).expect("a window");
            read(Box::new(decoder), &mut bytes);
        }
        "flac" => bytes = samples_of_flac(compressed),
        "webp" => bytes = pixels_of_webp(compressed),
        "png" | "png-32x64" | "oxipng" => bytes = pixels_of_png(compressed).2,
        name => panic!("nothing restores {name}"),
    }
    bytes
}

fn samples_of_flac(compressed: &[u8]) -> Vec<u8> {
    if compressed.is_empty() {
        return Vec::new();
    }
    let mut reader = FlacSampleReader::new(compressed).expect("a stream");
    let bits = flac_codec::metadata::Metadata::bits_per_sample(&reader);
    let mut samples = Vec::new();
    reader.read_to_end(&mut samples).expect("restores");
    match bits {
        8 => samples.iter().map(|&sample| (sample + 128) as u8).collect(),
        _ => samples.iter().flat_map(|&sample| (sample as i16).to_le_bytes()).collect(),
    }
}

fn pixels_of_webp(mut compressed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(length) = compressed.get(4..8) {
        let length = u32::from_le_bytes(length.try_into().expect("four")) as usize + 8;
        let image = ::webp::Decoder::new(&compressed[..length]).decode().expect("restores");
        bytes.extend(image.chunks(if image.is_alpha() { 4 } else { 3 }).map(|color| color[0]));
        compressed = &compressed[length..];
    }
    bytes
}

/// Width, height and grey pixels, of however many bits they were made.
fn pixels_of_png(compressed: &[u8]) -> (u32, u32, Vec<u8>) {
    if compressed.is_empty() {
        return (0, 0, Vec::new());
    }
    let mut decoder = ::png::Decoder::new(std::io::Cursor::new(compressed));
    decoder.set_transformations(::png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().expect("an image");
    let mut pixels = vec![0; reader.output_buffer_size().expect("fits")];
    let frame = reader.next_frame(&mut pixels).expect("restores");
    pixels.truncate(frame.buffer_size());
    let gray = pixels.chunks(frame.color_type.samples()).map(|color| color[0]).collect();
    (frame.width, frame.height, gray)
}

#[test]
fn everything_comes_back() {
    let long: Vec<_> = samples().into_iter().map(|sample| (sample, Medium::Bytes)).collect();
    let short = [0, 1, 2, 15, 17, 1021, 2048, 9001];
    let short = short.iter().flat_map(|&length| MEDIA.map(|medium| (words(length, 6), medium)));
    let voiced = [(voice(30_000), SPEECH), (voice(30_000), SOUND), (voice(1024), SPEECH)];
    for (sample, medium) in long.into_iter().chain(short).chain(voiced) {
        for compressor in &COMPRESSORS {
            let packed = compressed(compressor.name, &sample, medium);
            let same = restored(compressor.name, &packed) == sample;
            assert!(same, "{} of {} bytes, {medium}", compressor.name, sample.len());
        }
    }
}

#[test]
fn what_is_too_long_for_one_image_comes_back() {
    // A prime number: one row, which is longer than the sides of a WebP can be.
    let sample = words(65_537, 5);
    for name in ["png", "png-32x64", "oxipng", "webp"] {
        assert!(restored(name, &compressed(name, &sample, Medium::Text)) == sample, "{name}");
    }
}

#[test]
fn images_have_the_layout_that_their_name_says() {
    for medium in MEDIA {
        let size = |name| {
            let (width, height, _) = pixels_of_png(&compressed(name, &words(2048, 1), medium));
            (width, height)
        };
        assert_eq!((size("png"), size("png-32x64")), ((64, 32), (32, 64)));
        assert_eq!(size("oxipng"), (64, 32));
    }
}

#[test]
fn sounds_have_the_bits_and_the_rate_of_their_corpus() {
    let told = |medium, length| {
        let packed = compressed("flac", &voice(length)[..length], medium);
        let reader = FlacSampleReader::new(&packed[..]).expect("a stream");
        use flac_codec::metadata::Metadata;
        (reader.bits_per_sample(), reader.sample_rate(), reader.total_samples())
    };
    assert_eq!(told(SPEECH, 2048), (16, 16_000, Some(1024)));
    assert_eq!(told(SOUND, 2048), (8, 8000, Some(2048)));
    assert_eq!(told(Medium::Text, 100), (8, 16_000, Some(100)));
    assert_eq!(told(Medium::PATCHES, 2048), (8, 16_000, Some(2048)));
    let odd = Medium::Audio { bits: 8, rate_hz: 655_351 };
    assert_eq!(told(odd, 100), (8, 16_000, Some(100)), "frames have no room for the rate");
    // Half a sample is left over.
    assert_eq!(told(SPEECH, 2047), (8, 16_000, Some(2047)));
    let (deep, flat) = (compressed("flac", &voice(20_000), SPEECH), voice(20_000));
    assert!(
        deep.len() < compressed("flac", &flat, SOUND).len(),
        "bytes of a sample belong together"
    );
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// What programs make of each of [`samples`]: GNU gzip 1.12 with `-9 -n` and bzip2 1.0.8 with `-9`, by the beginnings of
/// their output's hashes, and the sizes that `xz -9e` (5.4.1) and `zstd --ultra -22 --long=31` (1.5.4) give.
const OF_PROGRAMS: [(&str, &str, usize, usize); 6] = [
    ("f61f27bd17de5462", "d3dda84eb03b9738", 32, 13),
    ("394e0a2720b246cf", "282ea473f04d7bcf", 60, 14),
    ("8bdfb919827bef87", "1f835e24e85f5d02", 176, 33),
    ("50422c45457ff89a", "b398930482ef7207", 134_500, 134_653),
    ("fb9d46f3de50d929", "e327415f617446ea", 200_072, 200_019),
    ("8a33c39b79852ce1", "921673443129601e", 1180, 1055),
];

#[test]
fn programs_write_the_same() {
    for (sample, (gzip, bzip2, lzma2, zstd)) in samples().iter().zip(OF_PROGRAMS) {
        let packed = |name| compressed(name, sample, Medium::Bytes);
        assert_eq!(sha256(&packed("gzip"))[..16], *gzip, "{} bytes", sample.len());
        assert_eq!(sha256(&packed("bzip2"))[..16], *bzip2, "{} bytes", sample.len());
        assert_eq!(packed("lzma2").len(), lzma2, "{} bytes", sample.len());
        assert_eq!(packed("zstd").len(), zstd, "{} bytes", sample.len());
    }
}

/// Sizes of `flac -8 --no-padding --no-seektable` (1.4.2), less the 44 bytes of its name and version.
#[test]
fn flac_is_within_a_hundredth_of_the_program() {
    let (voice, samples) = (voice(60_000), samples());
    let high: Vec<u8> =
        voice.as_chunks().0.iter().map(|&[_, high]| high.wrapping_add(128)).collect();
    for (sample, medium, program) in [
        (&voice, SPEECH, 70_412),
        (&high, SOUND, 22_001),
        (&samples[3], Medium::Text, 345_700),
        (&samples[4], Medium::Bytes, 200_529),
    ] {
        let length = compressed("flac", sample, medium).len() as f64;
        let program = f64::from(program - 44);
        assert!(length <= 1.01 * program, "{length} beside {program}, {medium}");
    }
}

/// Bytes like pixels of a photograph: what is near changes slowly, with noise on it.
fn picture(seed: u64) -> Vec<u8> {
    let mut random = SplitMix64::new(seed);
    let [a, b, c] = [3 + random.below(9), 5 + random.below(20), random.below(30)];
    let mut pixel = |at: u64| {
        let (x, y) = (at % 64, at / 64);
        let edge = if x * a > y * b + 40 { 60 } else { 0 };
        (50 + x * a / 4 + y * c / 16 + edge + random.below(6)) as u8
    };
    (0..2048).map(&mut pixel).collect()
}

/// Sizes of Pillow 13.0 with `optimize=True`, which is what the paper's code asks for.
#[test]
fn png_has_the_sizes_of_pillow() {
    let patches = [picture(1), picture(2), picture(3), words(2048, 3), voice(1024)];
    let sizes = patches.map(|patch| compressed("png", &patch, Medium::PATCHES).len());
    assert_eq!(sizes, [1000, 1027, 979, 1838, 2119]);
}

#[test]
fn a_known_length_changes_no_size() {
    for length in [0, 1, 2048, 5000, 100_000] {
        let sample = words(length, 4);
        let mut encoder = xz2::write::XzEncoder::new(Vec::new(), 9 | 1 << 31);
        io::copy(&mut &sample[..], &mut encoder).expect("compresses");
        let expected = encoder.finish().expect("compresses").len();
        assert_eq!(compressed("lzma2", &sample, Medium::Text).len(), expected, "{length}");
    }
}

#[test]
fn the_header_is_what_one_zero_byte_becomes() {
    for (name, expected) in [("gzip", 21), ("bzip2", 37)] {
        let header = by_name(name).expect("there").header_bytes(Medium::Text).expect("compresses");
        assert_eq!(header, expected, "{name}");
    }
}

#[test]
fn names_are_found_and_others_refused() {
    assert_eq!(by_name("gzip").expect("there").preset, "level 9");
    let message = by_name("zip").expect_err("not there").to_string();
    assert!(message.contains("`zip`") && message.contains("`gzip`, `lzma2`, `png`"), "{message}");
}

#[test]
fn libraries_are_named_with_their_versions() {
    for compressor in &COMPRESSORS {
        let library = compressor.library();
        let versions = library.split(", ").next().expect("one").split(' ').nth(1);
        let parts: Vec<_> = versions.expect("a version").split('.').collect();
        assert!(parts.len() == 3 && parts.iter().all(|it| it.parse::<u32>().is_ok()), "{library}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn gzip_restores_anything(seed: u64, length in 0_usize..150_000, letters in 1_u64..=256) {
        let mut random = SplitMix64::new(seed);
        let mut sample = words(length, seed);
        for byte in &mut sample {
            if random.below(300) < letters {
                *byte = random.below(letters) as u8;
            }
        }
        prop_assert!(restored("gzip", &compressed("gzip", &sample, Medium::Text)) == sample);
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]
    #[test]
    fn every_compressor_restores_anything(
        seed: u64,
        length in 0_usize..3000,
        letters in 1_u64..=256,
        medium in 0..MEDIA.len(),
    ) {
        let mut random = SplitMix64::new(seed);
        let sample: Vec<u8> = (0..length).map(|_| random.below(letters) as u8).collect();
        for compressor in &COMPRESSORS {
            let packed = compressed(compressor.name, &sample, MEDIA[medium]);
            prop_assert!(restored(compressor.name, &packed) == sample, "{}", compressor.name);
        }
    }
}
