//! From a sound file to chunks: its samples at their own sample rate, with 8 or 16 bits each.
//!
//! A sample is computed in these steps:
//! 1. Of each channel, 16 bits. Whole numbers of more bits lose their low ones (an arithmetic shift to the right), those
//!    of fewer get zeros below; fractions (float WAV, MP3, Vorbis) are multiplied by 32,768, rounded to the nearest
//!    whole number, halves away from zero, and kept within the range.
//! 2. The mean of the channels, rounded down.
//! 3. With 16 bits, the low byte and the high byte. With 8, the high byte plus 128, modulo 256: of samples below zero it
//!    is that of two's complement, so that the whole is ⌊sample / 256⌋ + 128. This is what the paper's code does
//!    (`audioop.lin2lin` and `bias`).

use std::io::{Error as IoError, ErrorKind};

use lmtrain_runs::medium::MEDIA_CHUNK_BYTES;
use symphonia::core::audio::{Audio, AudioBuffer, GenericAudioBufferRef, sample::Sample};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;

use super::MediaKind;
use super::decoded::Decoded;
use super::guard::guarded;

/// The chunks of a sound file.
pub(crate) fn chunks(source: Box<dyn MediaSource>, sixteen_bits: bool) -> Decoded {
    let samples = match guarded(|| decode(source, sixteen_bits)) {
        Ok(samples) => samples,
        Err(reason) => return Decoded::Broken(reason),
    };
    let Samples { mut bytes, count, rate_hz, .. } = samples;
    let whole = bytes.len() as u64 / MEDIA_CHUNK_BYTES * MEDIA_CHUNK_BYTES;
    if whole == 0 {
        return Decoded::TooShort(format!("{count} samples"));
    }
    bytes.truncate(whole as usize);
    Decoded::Chunks { bytes, rate_hz: Some(rate_hz) }
}

/// What is decoded so far.
struct Samples {
    bytes: Vec<u8>,
    sixteen_bits: bool,
    count: u64,
    /// 0 before the first.
    rate_hz: u32,
}

/// All samples; or why there are none.
fn decode(source: Box<dyn MediaSource>, sixteen_bits: bool) -> Result<Samples, String> {
    let stream = MediaSourceStream::new(source, Default::default());
    let no_tags = (FormatOptions::default(), MetadataOptions::default());
    let probed = symphonia::default::get_probe().probe(&Hint::new(), stream, no_tags.0, no_tags.1);
    let mut format = probed.map_err(|error| match error {
        Error::DecodeError(_) => says(&error),
        _ => format!("it is not {}", MediaKind::Audio.formats()),
    })?;
    let track = format.default_track(TrackType::Audio).ok_or("it contains no sound")?;
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
    let parameters = parameters.ok_or("it does not say how its sound is encoded")?;
    // FLAC holds a hash of its samples.
    let options = AudioDecoderOptions::default().verify(true);
    let codecs = symphonia::default::get_codecs();
    let mut decoder = codecs.make_audio_decoder(parameters, &options).map_err(|it| says(&it))?;
    let (track_id, promised) = (track.id, track.num_frames);
    let mut samples = Samples { bytes: Vec::new(), sixteen_bits, count: 0, rate_hz: 0 };
    read_all(&mut *format, &mut *decoder, track_id, &mut samples)?;
    // Other formats tell their length only roughly.
    let promised = promised.filter(|_| ["flac", "wave"].contains(&format.format_info().short_name));
    if let Some(promised) = promised.filter(|promised| samples.count < *promised) {
        return Err(format!("it is truncated: it has {} of {promised} samples", samples.count));
    }
    match decoder.finalize().verify_ok {
        Some(false) => Err("its samples do not match its MD5".to_owned()),
        _ => Ok(samples),
    }
}

fn read_all(
    format: &mut dyn FormatReader,
    decoder: &mut dyn AudioDecoder,
    track: u32,
    samples: &mut Samples,
) -> Result<(), String> {
    while let Some(packet) = format.next_packet().map_err(|error| says(&error))? {
        if packet.track_id != track {
            continue;
        }
        let decoded = decoder.decode(&packet).map_err(|error| says(&error))?;
        let rate_hz = decoded.spec().rate();
        if samples.rate_hz != rate_hz && samples.count > 0 {
            return Err(format!(
                "its sample rate changes from {} to {rate_hz} Hz",
                samples.rate_hz
            ));
        }
        samples.rate_hz = rate_hz;
        samples.take(&decoded);
    }
    Ok(())
}

/// A decoder's error in a line.
fn says(error: &Error) -> String {
    match error {
        Error::IoError(error) if is_end(error) => "it is truncated".to_owned(),
        Error::ResetRequired => "it holds several recordings".to_owned(),
        error => error.to_string(),
    }
}

fn is_end(error: &IoError) -> bool {
    error.kind() == ErrorKind::UnexpectedEof
}

impl Samples {
    fn take(&mut self, decoded: &GenericAudioBufferRef<'_>) {
        use GenericAudioBufferRef as Of;
        let whole = |sample: f64| (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16;
        match decoded {
            Of::U8(buffer) => self.mix(buffer, |sample| (i16::from(sample) - 128) << 8),
            Of::U16(buffer) => self.mix(buffer, |sample| (sample ^ 0x8000) as i16),
            Of::U24(buffer) => {
                self.mix(buffer, |sample| ((sample.inner() >> 8) as u16 ^ 0x8000) as i16);
            }
            Of::U32(buffer) => self.mix(buffer, |sample| ((sample >> 16) as u16 ^ 0x8000) as i16),
            Of::S8(buffer) => self.mix(buffer, |sample| i16::from(sample) << 8),
            Of::S16(buffer) => self.mix(buffer, |sample| sample),
            Of::S24(buffer) => self.mix(buffer, |sample| (sample.inner() >> 8) as i16),
            Of::S32(buffer) => self.mix(buffer, |sample| (sample >> 16) as i16),
            Of::F32(buffer) => self.mix(buffer, |sample| whole(f64::from(sample))),
            Of::F64(buffer) => self.mix(buffer, whole),
        }
    }

    /// Adds the mean of the channels.
    fn mix<S: Sample>(&mut self, buffer: &AudioBuffer<S>, sixteen: impl Fn(S) -> i16) {
        let channels: Vec<&[S]> = buffer.iter_planes().collect();
        match channels[..] {
            [] => {}
            [only] => only.iter().for_each(|&sample| self.push(sixteen(sample))),
            _ => {
                let count = channels.len() as i32;
                for frame in 0..buffer.frames() {
                    let each = channels.iter().map(|channel| i32::from(sixteen(channel[frame])));
                    self.push(each.sum::<i32>().div_euclid(count) as i16);
                }
            }
        }
    }

    fn push(&mut self, sample: i16) {
        let [low, high] = sample.to_le_bytes();
        if self.sixteen_bits {
            self.bytes.extend([low, high]);
        } else {
            self.bytes.push(high.wrapping_add(128));
        }
        self.count += 1;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Cursor;

    use super::*;

    /// A WAV file of these bytes of samples: `tag` is 1 for whole numbers, 3 for fractions.
    pub(crate) fn wav(tag: u16, bits: u16, channels: u16, rate_hz: u32, data: &[u8]) -> Vec<u8> {
        let align = channels * bits.div_ceil(8);
        let mut file = Vec::new();
        file.extend(b"RIFF");
        file.extend((36 + data.len() as u32).to_le_bytes());
        file.extend(b"WAVEfmt ");
        file.extend(16_u32.to_le_bytes());
        file.extend(tag.to_le_bytes());
        file.extend(channels.to_le_bytes());
        file.extend(rate_hz.to_le_bytes());
        file.extend((rate_hz * u32::from(align)).to_le_bytes());
        file.extend(align.to_le_bytes());
        file.extend(bits.to_le_bytes());
        file.extend(b"data");
        file.extend((data.len() as u32).to_le_bytes());
        file.extend(data);
        file
    }

    fn decoded(file: Vec<u8>, sixteen_bits: bool) -> Decoded {
        chunks(Box::new(Cursor::new(file)), sixteen_bits)
    }

    fn bytes_of(file: Vec<u8>, sixteen_bits: bool) -> Vec<u8> {
        match decoded(file, sixteen_bits) {
            Decoded::Chunks { bytes, rate_hz: Some(16_000) } => bytes,
            other => panic!("{other:?}"),
        }
    }

    /// One chunk of 8 bits: `samples` again and again.
    fn repeated<const N: usize>(sample: impl Fn(i32) -> [u8; N], samples: &[i32]) -> Vec<u8> {
        samples.iter().cycle().take(2048).flat_map(|&it| sample(it)).collect()
    }

    #[test]
    fn eight_bits_are_the_high_byte_plus_128() {
        let samples = [0, 1, 255, 256, -1, -256, -257, 32_767, -32_768];
        let expected = [128, 128, 128, 129, 127, 127, 126, 255, 0];
        let file = wav(1, 16, 1, 16_000, &repeated(|it| (it as i16).to_le_bytes(), &samples));
        let bytes = bytes_of(file.clone(), false);
        assert_eq!((&bytes[..9], bytes.len()), (&expected[..], 2048));
        let sixteen = bytes_of(file, true);
        assert_eq!(sixteen.len(), 4096);
        assert_eq!(sixteen[..4], [0, 0, 1, 0]);
        assert_eq!(sixteen[16..18], [0, 0x80]);
    }

    #[test]
    fn samples_of_any_width_become_sixteen_bits() {
        let samples = [0, 1, -1, 1000, -1000, 32_767, -32_768];
        let expected: Vec<u8> = samples.iter().flat_map(|&it| (it as i16).to_le_bytes()).collect();
        let low = |it: i32, shift: u32| (it << shift) | ((1 << shift) - 1);
        let three = |it| <[u8; 3]>::try_from(&low(it, 8).to_le_bytes()[..3]).expect("three");
        for (tag, bits, data) in [
            (1, 16, repeated(|it| (it as i16).to_le_bytes(), &samples)),
            (1, 24, repeated(three, &samples)),
            (1, 32, repeated(|it| low(it, 16).to_le_bytes(), &samples)),
            (3, 32, repeated(|it| (it as f32 / 32_768.0).to_le_bytes(), &samples)),
            (3, 64, repeated(|it| (f64::from(it) / 32_768.0 + 1e-6).to_le_bytes(), &samples)),
        ] {
            let bytes = bytes_of(wav(tag, bits, 1, 16_000, &data), true);
            assert_eq!(bytes[..14], expected, "{bits} bits");
        }
        let loud = wav(3, 32, 1, 16_000, &repeated(|it| (it as f32).to_le_bytes(), &[7, -7]));
        assert_eq!(bytes_of(loud, true)[..4], [0xff, 0x7f, 0, 0x80]);
        let eight = wav(1, 8, 1, 16_000, &[0, 127, 128, 255].repeat(512));
        assert_eq!(bytes_of(eight, false)[..4], [0, 127, 128, 255]);
    }

    #[test]
    fn channels_are_averaged_and_rounded_down() {
        let pairs = [(100_i16, 200_i16), (3, 4), (-3, -4), (32_767, 32_767), (-32_768, -32_768)];
        let expected = [150_i16, 3, -4, 32_767, -32_768];
        let frames = pairs.iter().cycle().take(2048);
        let data: Vec<u8> = frames
            .flat_map(|(left, right)| [left.to_le_bytes(), right.to_le_bytes()])
            .flatten()
            .collect();
        let bytes = bytes_of(wav(1, 16, 2, 16_000, &data), true);
        let samples: Vec<i16> =
            bytes.chunks_exact(2).map(|it| i16::from_le_bytes([it[0], it[1]])).collect();
        assert_eq!((&samples[..5], samples.len()), (&expected[..], 2048));
    }

    #[test]
    fn what_does_not_fill_a_chunk_or_does_not_decode_says_so() {
        let empty = decoded(wav(1, 16, 1, 16_000, &[]), false);
        assert!(matches!(&empty, Decoded::TooShort(what) if what == "0 samples"), "{empty:?}");
        let short = decoded(wav(1, 16, 1, 16_000, &[0; 2 * 2047]), false);
        assert!(matches!(&short, Decoded::TooShort(what) if what == "2047 samples"), "{short:?}");
        let whole = wav(1, 16, 1, 16_000, &[7; 40_000]);
        let reason = |file: &[u8]| match decoded(file.to_vec(), false) {
            Decoded::Broken(reason) => reason,
            other => panic!("{other:?}"),
        };
        for length in [10, 30, 44, 20_000, whole.len() - 2] {
            let reason = reason(&whole[..length]);
            assert!(reason.contains("truncated") || reason.contains("not FLAC"), "{reason}");
        }
        for file in [&b""[..], b"once upon a time", b"RIFF....WEBPVP8 "] {
            assert!(reason(file).contains("not FLAC, WAV"), "{}", reason(file));
        }
    }
}
