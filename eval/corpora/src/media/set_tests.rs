//! Folders of images and sounds as corpora: order, copies, and what is left out.

use std::fs;
use std::ops::ControlFlow;

use lmtrain_runs::Medium;

use super::audio::tests::wav;
use crate::corpus::sha256_of;
use crate::directory::DataDirectory;
use crate::error::CorpusError;
use crate::progress::{CorpusProgress, silent};
use crate::test_folder::TestFolder;
use crate::{open, open_strictly, open_with};

/// A grey picture, `patches` wide and one high, all pixels of one value.
fn picture(patches: usize, value: u8) -> Vec<u8> {
    let head = format!("P5 {} 32 255\n", 64 * patches);
    [head.as_bytes(), &vec![value; 2048 * patches]].concat()
}

/// A sound of so many samples of silence.
fn sound(samples: usize, rate_hz: u32) -> Vec<u8> {
    wav(1, 16, 1, rate_hz, &vec![0; 2 * samples])
}

#[test]
fn files_follow_one_another_in_the_order_of_their_names() {
    let fixture = TestFolder::new();
    let names: Vec<String> = (0..60).map(|index| format!("images/set/{index:02}.pgm")).collect();
    for (index, name) in (0..).zip(&names) {
        fixture.put(name, &picture(1 + usize::from(index) % 3, index));
    }
    fixture.put("images/set/05a/deep.pgm", &picture(1, 200));
    let corpus = fixture.open("set");
    assert_eq!((corpus.name(), corpus.medium()), ("set", Medium::PATCHES));
    let mut values: Vec<u8> = corpus.chunks(2048).map(|chunk| chunk[0]).collect();
    assert!(corpus.chunks(2048).all(|chunk| chunk.iter().all(|byte| *byte == chunk[0])));
    values.dedup();
    let expected: Vec<u8> = (0..6).chain([200]).chain(6..60).collect();
    assert_eq!(values, expected);
    let files = corpus.files().expect("a set");
    assert_eq!((files.count(), files.chunks() * 2048), (61, corpus.length()));
    assert_eq!(files.ends().take(3).collect::<Vec<_>>(), [2048, 3 * 2048, 6 * 2048]);
    assert_eq!(corpus.sha256(), sha256_of(&corpus));
}

#[test]
fn a_set_is_decoded_once_for_each_state_of_its_folder() {
    let fixture = TestFolder::new();
    fixture.put("images/set/1.pgm", &picture(1, 1));
    fixture.put("images/set/2.pgm", &picture(1, 2));
    let decodings = || {
        let mut decodings = 0;
        let mut count = |progress| {
            if matches!(progress, CorpusProgress::Decoding { bytes: 1.., .. }) {
                decodings = 1;
            }
            ControlFlow::Continue(())
        };
        open_with("set", &fixture.data, &mut count).expect("opens");
        decodings
    };
    assert_eq!([decodings(), decodings()], [1, 0]);
    let first = fixture.open("set");
    fixture.put("images/set/notes.txt", b"of no matter");
    assert_eq!(decodings(), 0);
    fixture.put("images/set/3.pgm", &picture(1, 3));
    assert_eq!([decodings(), decodings()], [1, 0]);
    assert_eq!((first.length(), fixture.open("set").length()), (2 * 2048, 3 * 2048));
    fs::remove_file(fixture.path("images/set/1.pgm")).expect("removed");
    assert_eq!(decodings(), 1);
    assert_eq!(fixture.cached(".bytes").len(), 1, "a folder has one copy");
    fixture.open("set:grey=luma");
    assert_eq!(fixture.cached(".bytes").len(), 2, "for each way to decode it");
}

#[test]
fn damage_is_mended() {
    let fixture = TestFolder::new();
    fixture.put("images/set/1.pgm", &picture(2, 1));
    let good = fixture.open("set").sha256().to_owned();
    let [bytes, summary] = [".bytes", ".json"].map(|suffix| fixture.cached(suffix).remove(0));
    let whole = fs::read(&summary).expect("there");
    for damage in [
        &|| fs::write(&bytes, [2; 4096]).expect("written") as (),
        &|| fs::write(&bytes, [1; 2048]).expect("written"),
        &|| fs::remove_file(&bytes).expect("removed"),
        &|| fs::write(&summary, &whole[..100]).expect("written"),
        &|| fs::write(&summary, b"{}").expect("written"),
        &|| fs::remove_file(&summary).expect("removed"),
    ] as [&dyn Fn(); 6]
    {
        damage();
        assert_eq!(fixture.open("set").sha256(), good);
        assert_eq!(fs::read(&summary).expect("there"), whole);
    }
}

#[test]
fn a_bound_stops_decoding() {
    let fixture = TestFolder::new();
    for index in 0..50 {
        fixture.put(&format!("images/set/{index:02}.pgm"), &picture(3, index));
    }
    fixture.put("images/set/99.pgm", b"no image");
    let corpus = fixture.open("set:chunks=4");
    assert_eq!((corpus.name(), corpus.length()), ("set:chunks=4", 4 * 2048));
    let files = corpus.files().expect("a set");
    assert_eq!((files.count(), files.broken.count), (2, 0));
    assert_eq!(fixture.open("set:chunks=6").length(), 6 * 2048);
    // What comes after does not matter; what comes before does.
    fixture.put("images/set/49.pgm", &picture(1, 0));
    let stop = &mut |progress| match progress {
        CorpusProgress::Decoding { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    open_with("set:chunks=4", &fixture.data, stop).expect("kept");
    fixture.put("images/set/00.pgm", &picture(1, 9));
    let error = open_with("set:chunks=4", &fixture.data, stop).expect_err("to be decoded");
    assert!(error.is_interrupted());
    assert_eq!(fixture.open("set:chunks=4")[0], 9);
    assert_eq!(fixture.open("set:chunks=1M").length(), 2048 + 48 * 3 * 2048 + 2048);
}

#[test]
fn what_gives_nothing_is_named() {
    let fixture = TestFolder::new();
    fixture.put("images/set/a.png", b"\x89PNG\r\n\x1a\ncut");
    fixture.put("images/set/b.jpg", b"once upon a time");
    fixture.put("images/set/c.pgm", &picture(1, 7));
    fixture.put("images/set/d.pgm", b"P5 10 10 255\n");
    fixture.put("images/set/e.pgm", &[&b"P5 10 10 255\n"[..], &[0; 100]].concat());
    fixture.put("images/set/f.txt", b"");
    let corpus = fixture.open("set");
    let files = corpus.files().expect("a set");
    assert_eq!((files.count(), files.broken.count, files.too_short.count), (1, 3, 1));
    assert_eq!((files.others, &*files.too_short.first[0].1), (1, "10 × 10"));
    let notes = files.notes(corpus.medium()).join("\n");
    for part in ["3 images of 5 left out", "a.png (", "b.jpg (its first bytes are not those of PNG"]
    {
        assert!(notes.contains(part), "{notes}");
    }
    let error = open_strictly("set", &fixture.data, &mut silent).expect_err("strict");
    assert!(matches!(error, CorpusError::Undecodable { count: 3, .. }), "{error}");
    assert!(error.to_string().contains("b.jpg") && error.to_string().contains("--strict"));
    assert!(open_strictly("source", &fixture.data, &mut silent).is_ok());
}

#[test]
fn sounds_have_one_rate() {
    let fixture = TestFolder::new();
    fixture.put("audio/set/a.wav", &sound(5000, 16_000));
    fixture.put("audio/set/b.wav", &sound(3000, 8000));
    fixture.put("audio/set/c.wav", &sound(100, 44_100));
    let message = fixture.refuses("set");
    for part in ["a.wav has 16000 Hz", "b.wav has 8000", "`rate=16000`"] {
        assert!(message.contains(part), "{message}");
    }
    let corpus = fixture.open("set:rate=8000,bits=16");
    assert_eq!(corpus.medium(), Medium::Audio { bits: 16, rate_hz: 8000 });
    assert_eq!((corpus.name(), corpus.length()), ("set:bits=16,rate=8000", 2 * 2048));
    let files = corpus.files().expect("a set");
    assert_eq!((files.other_rate.count, files.too_short.count), (1, 1));
    let notes = files.notes(corpus.medium()).join("\n");
    assert!(
        notes.contains("1 sound left out, of another sample rate: a.wav (16000 Hz)"),
        "{notes}"
    );
    let message = fixture.refuses("set:rate=11K");
    assert!(message.contains("of another sample rate, a.wav (16000 Hz)"), "{message}");
}

#[test]
fn empty_and_mixed_folders_are_errors() {
    let fixture = TestFolder::new();
    fixture.put("images/none/a.txt", b"");
    fixture.put("audio/broken/a.flac", b"no sound");
    fixture.put("mixed/a.pgm", &picture(1, 1));
    fixture.put("mixed/b/c.wav", &sound(5000, 16_000));
    let message = fixture.refuses("none");
    assert!(message.contains("PNG, JPEG, WebP") && message.contains("1 other files"), "{message}");
    let message = fixture.refuses("broken");
    assert!(
        message.contains("FLAC, WAV") && message.contains("a.flac (it is not FLAC"),
        "{message}"
    );
    let mixed = fixture.path("mixed").display().to_string();
    let message = fixture.refuses(&mixed);
    assert!(message.contains("holds images, but also b/c.wav"), "{message}");
    assert!(message.contains(&format!("`{mixed}:medium=audio`")), "{message}");
    assert_eq!(fixture.open(&format!("{mixed}:medium=audio")).length(), 2 * 2048);
    assert_eq!(fixture.open(&format!("{mixed}:medium=images")).length(), 2048);
    assert_eq!(fixture.open(&format!("{mixed}:bits=16")).length(), 4 * 2048);
    // Where the place says what it is, a picture among sounds is no matter.
    fixture.put("audio/album/cover.pgm", &picture(1, 1));
    fixture.put("audio/album/song.wav", &sound(2048, 44_100));
    assert_eq!(fixture.open("album").files().expect("a set").others, 1);
}

#[test]
fn decoding_stops_when_told_and_leaves_nothing() {
    let fixture = TestFolder::new();
    for index in 0..50 {
        fixture.put(&format!("images/set/{index:02}.pgm"), &picture(1, index));
    }
    let mut stop = |progress| match progress {
        CorpusProgress::Decoding { files: 10.., .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let error = open_with("set", &fixture.data, &mut stop).expect_err("stopped");
    assert!(error.is_interrupted());
    let left = [".bytes", ".json", ".tmp"].map(|suffix| fixture.cached(suffix).len());
    assert_eq!(left, [0, 0, 0]);
}

#[test]
fn many_at_once_get_the_same_copy() {
    let fixture = TestFolder::new();
    for index in 0..20 {
        fixture.put(&format!("images/set/{index:02}.pgm"), &picture(2, index));
    }
    std::thread::scope(|scope| {
        let open = || fixture.open("set").sha256().to_owned();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        let hashes: Vec<_> =
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        assert!(hashes.iter().all(|hash| *hash == hashes[0]));
    });
    assert_eq!(fixture.cached(".bytes").len(), 1);
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_and_links_are_followed() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    let fixture = TestFolder::new();
    fixture.put("images/set/a.pgm", &picture(1, 1));
    let set = fixture.path("images/set");
    fs::write(set.join(OsStr::from_bytes(b"\xff.pgm")), picture(1, 2)).expect("written");
    symlink("..", set.join("up")).expect("linked");
    symlink("nowhere.png", set.join("b.png")).expect("linked");
    let corpus = fixture.open("set");
    assert_eq!(corpus.length(), 2 * 2048);
    let files = corpus.files().expect("a set");
    assert_eq!(files.not_followed.count, 2);
    let notes = files.notes(corpus.medium()).join("\n");
    assert!(notes.contains("2 links not followed: b.png ("), "{notes}");
}

#[test]
fn real_photographs_and_speech_are_what_others_make_of_them() {
    let Some(root) = lmtrain_runs::testing::data_directory() else { return };
    let cache = tempfile::tempdir().expect("a folder");
    let data = DataDirectory::at(root).with_cache(cache.path());
    // By `reference/make.py FOLDER`, that is by Pillow and libsndfile.
    for (name, chunks, sha256) in [
        ("kodak", 4608, "563106dbed0e00e5827fb1aeb8e4dbc5bfb22f6caa79d43735b750f23f118b0e"),
        ("librispeech", 4587, "9facdf219fb44c35c6543f66c2c97434e61139ae160ce91e8ae1bfff37b89353"),
        (
            "librispeech:bits=16",
            9196,
            "8f0a8b4390fc37f7531014a9e903ccf24a82c5cc65599476b3048f7cfdd8e6b6",
        ),
    ] {
        let corpus = open(name, &data).expect(name);
        assert_eq!((corpus.length() / 2048, corpus.sha256()), (chunks, sha256), "{name}");
    }
}
