//! Compressors restore what they were given, and give the sizes of the programs they stand for.

use std::io::Read;
use std::process::{Command, Stdio};

use lmtrain_runs::random::SplitMix64;
use proptest::prelude::*;

use super::*;

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

fn samples() -> Vec<Vec<u8>> {
    let noise = {
        let mut random = SplitMix64::new(1);
        (0..200_000).map(|_| random.below(256) as u8).collect()
    };
    vec![Vec::new(), vec![b'a'], vec![7; 300_000], words(400_000, 2), noise, words(2048, 3)]
}

fn whole(compressor: &Compressor, bytes: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    compressor.compress(&mut &bytes[..], &mut output).expect("compresses");
    output
}

fn restored(name: &str, compressed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match name {
        "gzip" => flate2::read::GzDecoder::new(compressed).read_to_end(&mut bytes),
        _ => xz2::read::XzDecoder::new(compressed).read_to_end(&mut bytes),
    }
    .expect("restores");
    bytes
}

/// What a program of the system makes of some bytes, if there is one and it is of this version.
fn program(name: &str, options: &[&str], version: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let found = Command::new(name).arg("--version").output().ok()?.stdout;
    if !String::from_utf8_lossy(&found).contains(version) {
        return None;
    }
    let folder = tempfile::tempdir().ok()?;
    let path = folder.path().join("sample");
    std::fs::write(&path, bytes).ok()?;
    let input = std::fs::File::open(path).ok()?;
    let command = Command::new(name).args(options).stdin(input).stderr(Stdio::null()).output();
    Some(command.ok().filter(|output| output.status.success())?.stdout)
}

#[test]
fn everything_comes_back() {
    for compressor in &COMPRESSORS {
        for sample in samples() {
            let compressed = whole(compressor, &sample);
            assert!(restored(compressor.name, &compressed) == sample, "{compressor:?}");
        }
    }
}

#[test]
fn gzip_writes_what_the_program_writes() {
    for sample in samples() {
        if let Some(expected) = program("gzip", &["-9", "-n", "-c"], "gzip 1.", &sample) {
            assert!(whole(&COMPRESSORS[0], &sample) == expected, "{} bytes", sample.len());
        }
    }
}

#[test]
fn lzma2_has_the_size_of_what_the_program_writes() {
    for sample in samples() {
        let options = ["-9e", "-T1", "-c"];
        if let Some(expected) = program("xz", &options, "XZ Utils", &sample) {
            assert_eq!(whole(&COMPRESSORS[1], &sample).len(), expected.len());
        }
    }
}

#[test]
fn a_known_length_changes_no_size() {
    for length in [0, 1, 2048, 5000, 100_000] {
        for compressor in &COMPRESSORS {
            let sample = words(length, 4);
            let chunk = compressor.compress_chunk(&sample).expect("compresses");
            assert_eq!(chunk.len(), whole(compressor, &sample).len(), "{compressor:?} {length}");
        }
    }
}

#[test]
fn names_are_found_and_others_refused() {
    assert_eq!(by_name("gzip").expect("there").preset, "level 9");
    let message = by_name("zip").expect_err("not there").to_string();
    assert!(message.contains("`zip`") && message.contains("`gzip`, `lzma2`"), "{message}");
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
        prop_assert!(restored("gzip", &whole(&COMPRESSORS[0], &sample)) == sample);
    }
}
