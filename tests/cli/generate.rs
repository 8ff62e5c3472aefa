//! `lmtrain generate`: what is drawn, where it goes, and what is said where it cannot be.

use crate::{Study, media};

/// A text of which chunk 1 begins with "bb".
fn text_study() -> Study {
    let study = Study::new();
    let text = "abcabcabd abcabcabd. ".repeat(300);
    std::fs::write(study.path("text.txt"), text).expect("written");
    study
}

#[test]
fn one_sample_is_printed_as_it_is_and_several_under_headings() {
    let study = text_study();
    let line = "generate --with gzip --corpus text.txt --chunk 1 --context-bytes 300 --bytes 40";
    let one = study.run(&format!("{line} --samples 1"));
    assert!(one.status.success() && one.stdout.len() == 40, "{one:?}");
    let text = study.succeeds(&format!("{line} --samples 2"));
    assert!(text.contains("== gzip, sample 1, ") && text.contains("== gzip, sample 2, "), "{text}");
    assert!(text.contains(" bits/byte"), "{text}");
    let again = study.run(&format!("{line} --samples 1"));
    assert_eq!(again.stdout, one.stdout, "a seed draws the same again");
    let other = study.run(&format!("{line} --samples 1 --seed 1"));
    assert_ne!(other.stdout, one.stdout);
    // Cold, gzip copies what repeats.
    let cold = study.run(
        "generate --with gzip --corpus text.txt --chunk 1 --context-bytes 299 --bytes 21 --samples 1 \
         --temperature 0.01",
    );
    let expected = b"abcabcabd abcabcabd. ";
    let repeats = cold.stdout.iter().filter(|byte| expected.contains(byte)).count();
    assert!(repeats == 21, "{:?}", String::from_utf8_lossy(&cold.stdout));
}

#[test]
fn records_hold_the_bytes_and_are_kept_once() {
    let study = text_study();
    let line = "generate --json --with gzip,lzma2 --corpus text.txt --context-bytes 100 --bytes 6 --samples 2";
    let samples = study.json(line);
    let samples = samples.as_array().expect("samples");
    let facts: Vec<_> =
        samples.iter().map(|it| (it["name"].as_str(), it["index"].as_u64())).collect();
    let [gzip, lzma2] = [Some("gzip"), Some("lzma2")];
    assert_eq!(facts, [(gzip, Some(0)), (gzip, Some(1)), (lzma2, Some(0)), (lzma2, Some(1))]);
    for sample in samples {
        assert_eq!(sample["stretches"], serde_json::json!([100, 6]));
        assert_eq!(sample["bytes"].as_str().map(str::len), Some(2 * 106));
        assert_eq!(sample["truth"].as_str().map(str::len), Some(2 * 6));
        let probabilities = sample["first_byte_probabilities"].as_array().expect("256 of them");
        let sum: f64 = probabilities.iter().map(|it| it.as_f64().expect("a number")).sum();
        assert!(probabilities.len() == 256 && (sum - 1.0).abs() < 1e-9);
        assert!(sample["bits"].as_f64() > Some(0.0) && sample["text"].is_string());
    }
    let kept = || {
        let path = study.path("runs/work/compressors/samples.jsonl");
        std::fs::read_to_string(path).expect("recorded").lines().count()
    };
    assert_eq!(kept(), 4);
    study.json(line);
    assert_eq!(kept(), 4, "the same draw is kept once");
    study.json(&line.replace("--samples 2", "--samples 1 --look-ahead 2"));
    assert_eq!(kept(), 6);
}

#[test]
fn a_run_generates_what_it_believes_and_within_its_context() {
    let study = Study::new();
    study.fit("--steps 60");
    let prompt = b"\x00\x01\x02\x01".repeat(40);
    std::fs::write(study.path("prompt"), &prompt).expect("written");
    let line = "generate --json --with tiny --prompt prompt --bytes 20 --samples 2";
    let samples = study.json(line);
    assert_eq!(samples[0]["stretches"], serde_json::json!([44, 20]), "64 tokens at a time");
    assert_eq!(samples[0]["kind"], "run");
    assert!(samples[0]["weights"].is_string() && samples[0]["truth"].is_null());
    assert_ne!(samples[0]["bytes"], samples[1]["bytes"]);
    // The corpus has 26 letters of some alphabet, which 60 steps learn to prefer: below 8 bits a byte.
    assert!(samples[0]["bits_per_byte"].as_f64() < Some(8.0), "{samples}");
    let told = study.run(&line.replace("--json ", ""));
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("is given only the last 44 bytes"), "{told}");
    let error = study.fails("generate --with tiny --prompt prompt --bytes 64", 1);
    assert!(
        error.contains("a context of 64 tokens") && error.contains("hint: `--bytes 32`"),
        "{error}"
    );
}

#[test]
fn images_and_sounds_become_files_beside_the_truth() {
    let study = media::study();
    let line = "generate --json --with gzip --samples 1 --look-ahead 1 --output out";
    let picture = study.json(&format!("{line} --corpus pictures --chunk 2"));
    let picture = &picture[0];
    assert_eq!(picture["stretches"], serde_json::json!(vec![32; 64]));
    let [all, truth] = ["bytes", "truth"].map(|key| picture[key].as_str().expect("hexadecimal"));
    assert_eq!((all.len(), truth.len()), (2 * 2048, 2 * 1024));
    let sheet = std::fs::read(study.path("out/pictures-2-gzip-s0.png")).expect("a sheet");
    let (width, height) = ((3 * 64 * 4 + 2 * 8) as u32, 32 * 4_u32);
    assert_eq!(
        sheet[16..24],
        [width.to_be_bytes(), height.to_be_bytes()].concat(),
        "true, given, drawn"
    );

    let sound = study.json(&format!("{line} --corpus speech:bits=16 --chunk 1"));
    assert_eq!(sound[0]["stretches"], serde_json::json!([1024, 1024]));
    for name in ["speech-bits-16-1.wav", "speech-bits-16-1-gzip-s0-1.wav"] {
        let wav = std::fs::read(study.path(&format!("out/{name}"))).expect("a sound");
        assert_eq!((wav.len(), &wav[..4]), (44 + 2048, &b"RIFF"[..]));
    }
    assert!(study.path("out/speech-bits-16-1-gzip-s0.png").is_file());
    let report = study.succeeds("report");
    let page = std::fs::read_to_string(report.trim()).expect("a page");
    for part in
        ["Samples: grey images, 64 × 32", "Samples: sound, 16 bits, 16000 Hz", "data:image/png"]
    {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn what_cannot_be_generated_says_why() {
    let study = media::study();
    for (line, parts) in [
        ("--with nothing --corpus notes", ["`nothing` is neither", "`gzip`"]),
        ("--with gzip --corpus notes --chunk 9999", ["there is no chunk 9999", "hint: "]),
        ("--with gzip --corpus notes --context-bytes 1M", ["a context of 1000000 bytes", "hint: "]),
        ("--with gzip --corpus pictures --bytes 5", ["half of a chunk is given", "hint: "]),
        ("--with gzip --prompt missing", ["missing", "cannot open"]),
    ] {
        let error = study.fails(&format!("generate {line}"), 1);
        for part in parts {
            assert!(error.contains(part), "{line}:\n{error}");
        }
    }
    study.fails("generate --with gzip", 2);
    study.fails("generate --with gzip --prompt a --corpus b", 2);
    study.fails("generate --with gzip --prompt a --temperature 0", 2);
}
