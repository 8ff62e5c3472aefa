//! Arguments and folders whose names are no UTF-8.

#![cfg(unix)]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::Study;

/// A folder of the study by a name that is no text.
fn strange(study: &Study, name: &[u8]) -> OsString {
    let name = OsString::from_vec([name, b"\xff"].concat());
    std::fs::create_dir(study.folder.path().join(&name)).expect("made");
    name
}

/// Runs a line with more arguments, each of which is no text; gives status, output and error.
fn run(study: &Study, line: &str, more: &[&OsString]) -> (Option<i32>, String, String) {
    let output = study.command(line).args(more).output().expect("the program starts");
    let [out, error] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(!error.contains("panicked"), "{line}: {error}");
    (output.status.code(), out, error)
}

#[test]
fn folders_may_be_called_anything() {
    let study = Study::new();
    let (runs, data) = (strange(&study, b"runs"), strange(&study, b"data"));
    let text = study.folder.path().join(&data).join("text");
    std::fs::create_dir(&text).expect("made");
    std::fs::write(text.join("own"), "a text of its own\n".repeat(800)).expect("written");
    let fit = "--size 50K --corpus own --context 64 --batch 2 --steps 2";
    let folders = [&"--runs-dir".into(), &runs, &"--data-dir".into(), &data];
    for line in [
        &format!("fit --json {fit} --name tiny"),
        "eval --json --run tiny --corpus own --chunk 64 --compressor gzip",
        "report --json",
        "bench --json --size 50K --context 64 --steps 1 --batch 1 --only score",
        "sweep --json --size 50K --corpus own --tokens 1K --dry-run",
        "sweep --json --size w16l1h1 --corpus own --tokens 3K --seed 1",
        "data list --json",
        "data verify own --json",
    ] {
        let (status, out, error) = run(&study, line, &folders);
        assert_eq!(status, Some(0), "{line}: {error}");
        serde_json::from_str::<serde_json::Value>(&out).expect("one document");
    }
    // What cannot be written as text is recorded as something that shows it.
    let rates =
        std::fs::read_to_string(study.folder.path().join(&runs).join("work/tiny/rates.jsonl"));
    assert!(rates.expect("recorded").contains("runs\u{fffd}"));
    let (_, listed, _) = run(&study, "data list --json", &folders);
    assert!(listed.contains("data\u{fffd}/text/own"), "{listed}");
    let tokenizers = strange(&study, b"vocabularies");
    let line = "tokenizer --json --vocab 260 --corpus own";
    let folders = [folders[2], folders[3], &"--tokenizers-dir".into(), &tokenizers];
    let (status, out, error) = run(&study, line, &folders);
    assert!(status == Some(0) && out.contains("vocabularies\u{fffd}"), "{error}");
}

#[test]
fn files_may_be_called_anything() {
    let study = Study::new();
    study.fit("--steps 2");
    let [text, archive, back] = [&b"text"[..], b"archive", b"back"]
        .map(|name| OsString::from_vec([name, b"\xfe\xff"].concat()));
    std::fs::write(study.folder.path().join(&text), "a text").expect("written");
    let output = "-o".into();
    let (status, _, error) = run(&study, "compress --run tiny", &[&text, &output, &archive]);
    assert_eq!(status, Some(0), "{error}");
    let (status, _, error) = run(&study, "decompress", &[&archive, &output, &back]);
    assert_eq!(status, Some(0), "{error}");
    assert_eq!(std::fs::read(study.folder.path().join(&back)).expect("there"), b"a text");
}

#[test]
fn corpora_whose_names_are_no_text_are_listed_with_the_reason() {
    let study = Study::new();
    for kind in ["data/text", "data/images", "data/audio"] {
        std::fs::create_dir_all(study.path(kind)).expect("made");
    }
    let name = OsString::from_vec(b"one\xff".to_vec());
    std::fs::write(study.path("data/text").join(&name), "a text").expect("written");
    std::fs::create_dir(study.path("data/images").join(&name)).expect("made");
    let listings = study.json("data list --json");
    let is_it = |listing: &&serde_json::Value| listing["name"] == "one\u{fffd}";
    let found: Vec<_> = listings.as_array().expect("a list").iter().filter(is_it).collect();
    let held: Vec<_> = found.iter().map(|listing| listing["holds"].to_string()).collect();
    assert_eq!(held, ["\"text\"", "\"images\""]);
    for listing in found {
        assert!(listing["obstacle"].to_string().contains("not valid UTF-8"), "{listing}");
    }
    let table = study.succeeds("data list");
    assert_eq!(table.matches("its name is not valid UTF-8").count(), 2, "{table}");
}

#[test]
fn names_that_must_be_text_are_named() {
    let study = Study::new();
    let name = strange(&study, b"one");
    for line in [
        "eval --compressor gzip --corpus",
        "eval --corpus source --model",
        "eval --corpus source --run",
        "fit --size 50K --corpus",
        "fit --size 50K --name",
        "compress a -o b --model",
        "compress a -o b --run",
        "decompress a -o b --model",
        "sweep --size 50K --corpus",
        "data verify",
        "data fetch",
        "tokenizer --vocab 300 --corpus",
        "quickstart --corpus",
    ] {
        let (status, _, error) = run(&study, line, &[&name]);
        assert_eq!(status, Some(2), "{line}: {error}");
        assert!(error.contains("one\u{fffd}") && error.contains("hint: "), "{line}: {error}");
    }
}
