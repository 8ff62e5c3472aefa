//! How fast images and sounds become chunks, beside what the decoder crates take for the same files by themselves, on
//! as many threads: `cargo bench -p lmtrain-corpora`. Both in turn, in one run, over the sets that are named.
//!
//! ```text
//! cargo bench -p lmtrain-corpora -- images/kodak audio/librispeech [ROUNDS]
//! ```

#![allow(clippy::print_stdout, reason = "a benchmark run by hand")]

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use lmtrain_corpora::{DataDirectory, open};
use rayon::prelude::*;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::formats::TrackType;
use symphonia::core::formats::probe::Hint;
use symphonia::core::io::MediaSourceStream;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    // Cargo says `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let (rounds, sets): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| word.parse::<usize>().is_ok());
    let rounds = rounds.first().and_then(|word| word.parse().ok()).unwrap_or(5);
    let data = DataDirectory::resolve(None)?;
    let usual = ["images/kodak", "audio/librispeech"].map(String::from);
    for set in if sets.is_empty() { usual.iter().collect() } else { sets } {
        let files = files_of(&data.root.join(set))?;
        let stored: u64 = files.iter().map(|path| path.metadata().map_or(0, |it| it.len())).sum();
        let mut ratios = Vec::new();
        for _ in 0..rounds {
            let (alone, (read, bytes)) = (decoders_alone(&files)?, as_corpus(set, &data)?);
            println!(
                "{set}: {} files of {stored} bytes; decoders alone {alone:.3} s, as a corpus of {bytes} bytes {read:.3} s",
                files.len()
            );
            ratios.push(alone / read);
        }
        ratios.sort_by(f64::total_cmp);
        let [least, median, most] = [0, rounds / 2, rounds - 1].map(|place| ratios[place]);
        println!(
            "{set}: {median:.2} times as fast as the decoders alone ({least:.2} to {most:.2})"
        );
    }
    Ok(())
}

/// Suffixes of sounds.
const SOUNDS: [&str; 4] = ["flac", "wav", "mp3", "ogg"];

fn is_sound(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| SOUNDS.iter().any(|sound| suffix == *sound))
}

/// The images and sounds of a folder that is one level deep, in order.
fn files_of(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| is_sound(path) || image::ImageFormat::from_path(path).is_ok());
    files.sort();
    Ok(files)
}

/// Seconds that the decoders take for all files, on all cores; what they give is dropped.
fn decoders_alone(files: &[PathBuf]) -> Outcome<f64> {
    let started = Instant::now();
    files.par_iter().try_for_each(|path| match is_sound(path) {
        false => {
            std::hint::black_box(image::open(path)?);
            Ok(())
        }
        true => decode_sound(path),
    })?;
    Ok(started.elapsed().as_secs_f64())
}

fn decode_sound(path: &Path) -> Outcome<()> {
    let stream = MediaSourceStream::new(Box::new(File::open(path)?), Default::default());
    let probe = symphonia::default::get_probe();
    let mut format = probe.probe(&Hint::new(), stream, Default::default(), Default::default())?;
    let track = format.default_track(TrackType::Audio).ok_or("no sound")?;
    let parameters = track.codec_params.as_ref().and_then(|it| it.audio()).ok_or("no codec")?;
    // As the program asks: the hash that a FLAC holds is checked.
    let options = AudioDecoderOptions::default().verify(true);
    let mut decoder = symphonia::default::get_codecs().make_audio_decoder(parameters, &options)?;
    while let Some(packet) = format.next_packet()? {
        std::hint::black_box(decoder.decode(&packet)?);
    }
    Ok(())
}

/// Seconds until a set is a corpus whose copy is not there yet, and its bytes.
fn as_corpus(set: &str, data: &DataDirectory) -> Outcome<(f64, usize)> {
    let cache = tempfile::tempdir()?;
    let data = data.clone().with_cache(cache.path());
    let started = Instant::now();
    let corpus = open(set, &data)?;
    Ok((started.elapsed().as_secs_f64(), corpus.bytes().len()))
}
