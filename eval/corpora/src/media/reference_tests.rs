//! The chunks of small images and sounds, compared with those that Pillow and libsndfile give (`reference/make.py`).

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use super::decoded::Decoded;
use super::{MediaKind, Options, audio, images};
use crate::corpus::sha256_of;

fn reference(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("reference").join(file)
}

fn chunks(file: &str, option: &str) -> Vec<u8> {
    let (path, options) = (reference(file), Options::parse(file, option).expect("an option"));
    let decoded = match MediaKind::of(&path).expect("image or sound") {
        MediaKind::Images => images::patches(&std::fs::read(&path).expect("there"), options.grey),
        MediaKind::Audio => {
            audio::chunks(Box::new(File::open(&path).expect("there")), options.sixteen_bits)
        }
    };
    match decoded {
        Decoded::Chunks { bytes, .. } => bytes,
        other => panic!("{file}: {other:?}"),
    }
}

#[test]
fn chunks_are_byte_for_byte_those_of_others() {
    let text = std::fs::read_to_string(reference("chunks.json")).expect("there");
    let expected: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_str(&text).expect("file, option, hash");
    assert!(expected.len() >= 20, "{} files", expected.len());
    for (file, by_option) in &expected {
        for (option, sha256) in by_option {
            assert_eq!(sha256_of(&chunks(file, option)), *sha256, "{file}, {option}");
        }
    }
}

/// MP3 and Vorbis are not exact to the bit; what is heard is the same.
#[test]
fn lossy_sounds_are_near_what_was_recorded() {
    let samples = |file| -> Vec<f64> {
        let chunks = chunks(file, "bits=16");
        let pairs = chunks.chunks_exact(2);
        pairs.map(|it| f64::from(i16::from_le_bytes([it[0], it[1]]))).collect()
    };
    let recorded = samples("voice.flac");
    for (file, least) in [("voice.ogg", 0.99), ("voice.mp3", 0.98)] {
        let lossy = samples(file);
        assert!(lossy.len() >= 4096, "{file} has {} samples", lossy.len());
        let product = |one: &[f64], other: &[f64]| -> f64 {
            one.iter().zip(other).map(|(one, other)| one * other).sum()
        };
        let norms = product(&recorded, &recorded) * product(&lossy, &lossy);
        let alike = product(&recorded, &lossy) / norms.sqrt();
        assert!(alike > least, "{file}: {alike}");
    }
}

/// Files cut, changed and joined at random: each decodes or says in a line why not.
#[test]
fn damaged_files_never_panic() {
    use lmtrain_runs::random::SplitMix64;
    let mut random = SplitMix64::new(3);
    let mut broken = 0;
    let names = std::fs::read_dir(reference("")).expect("there");
    let mut paths: Vec<_> = names.map(|entry| entry.expect("one").path()).collect();
    paths.sort();
    for path in paths {
        let Some(kind) = MediaKind::of(&path) else { continue };
        let whole = std::fs::read(&path).expect("there");
        for round in 0..30 {
            let mut file = whole.clone();
            let mut place = |length: usize| random.below(length as u64) as usize;
            match round % 3 {
                0 => file.truncate(place(whole.len())),
                1 => (0..8).for_each(|_| file[place(whole.len())] ^= 1 << place(8)),
                _ => (0..4).for_each(|_| file[place(whole.len().min(90))] = place(256) as u8),
            }
            let decoded = match kind {
                MediaKind::Images => images::patches(&file, super::Grey::Mean),
                MediaKind::Audio => audio::chunks(Box::new(std::io::Cursor::new(file)), false),
            };
            if let Decoded::Broken(reason) = decoded {
                assert!(!reason.contains('\n'), "{}: {reason}", path.display());
                broken += 1;
            }
        }
    }
    assert!(broken > 300, "{broken} files of about 700 are broken");
}
