//! Standard output and error that cannot be written: messages are dropped; results are an error, or on
//! a closed pipe a quiet end.

#![cfg(unix)]

use crate::Study;

const FIT: &str = "fit --size 50K --corpus markov:bytes=200K --context 64 --batch 2";

/// Commands that print messages and results, each after those before it.
const LINES: [&str; 12] = [
    "fit --size 50K --corpus markov:bytes=200K --context 64 --batch 2 --steps 3 --name tiny",
    "fit --size 50K --corpus markov:bytes=200K --context 64 --batch 2 --steps 3 --dry-run",
    "eval --run tiny --compressor gzip --corpus markov:bytes=9K --chunk 64",
    "sweep --size w16l1h1 --corpus markov:bytes=200K --tokens 3K --eval-corpus markov:bytes=9K",
    "sweep --size 50K --corpus markov:bytes=200K --tokens 3K --dry-run",
    "tokenizer --vocab 300 --corpus source",
    "compress text -o text.lmz --run tiny",
    "decompress text.lmz -o back",
    "bench --size 50K --context 64 --steps 1 --batch 1 --only score",
    "report",
    "data list",
    "completions bash",
];

fn study() -> Study {
    let study = Study::new();
    std::fs::write(study.path("text"), "a text").expect("written");
    study
}

/// Runs a script with `$line` as the program's arguments; gives the program's status, and whether it
/// panicked is known from what `error` holds.
fn status(study: &Study, line: &str, script: &str) -> String {
    let script = format!("line='{line}'; {script}");
    let status = study.shell(&script).trim().to_owned();
    let error = std::fs::read_to_string(study.path("error")).unwrap_or_default();
    assert!(!error.contains("panicked"), "{script}: {error}");
    status
}

#[test]
fn messages_that_cannot_be_written_are_dropped() {
    let study = study();
    for line in LINES {
        let ended = status(&study, line, "\"$LMTRAIN\" $line 2> /dev/full > out; echo $?");
        assert_eq!(ended, "0", "{line}");
    }
    // What failed is still known by the status, and usage errors by theirs.
    for (line, expected) in [("eval --run nowhere", "1"), ("fit --size 3", "2")] {
        let ended = status(&study, line, "\"$LMTRAIN\" $line 2> /dev/full; echo $?");
        assert_eq!(ended, expected, "{line}");
    }
    assert_eq!(std::fs::read(study.path("back")).expect("restored"), b"a text");
    assert!(study.path("runs/report/index.html").is_file());
}

#[test]
fn closed_streams_stop_nothing() {
    let study = study();
    for line in LINES {
        // Nobody reads any of it, from the first byte on.
        let script = "{ { \"$LMTRAIN\" $line; echo $? >&3; } 2>&1 | true; } 3>&1";
        assert_eq!(status(&study, line, script), "0", "{line}");
        let script = "\"$LMTRAIN\" $line >&- 2>&-; echo $?";
        let line = line.replace("--name tiny", "--name other");
        assert_eq!(status(&study, &line, script), "0", "{line}");
    }
    for run in ["tiny", "other"] {
        let steps = std::fs::read_to_string(study.path("runs/work").join(run).join("train.jsonl"));
        assert_eq!(steps.expect("trained").lines().count(), 3, "{run} made all its steps");
    }
    assert_eq!(std::fs::read(study.path("back")).expect("restored"), b"a text");
}

#[test]
fn results_that_cannot_be_written_are_errors() {
    let study = study();
    let script = "\"$LMTRAIN\" $line > /dev/full 2> error; echo $?";
    study.succeeds(LINES[0]);
    study.succeeds("compress text -o text.lmz --run tiny");
    for line in [
        &format!("{FIT} --steps 2 --name other --json"),
        &format!("{FIT} --steps 2 --dry-run"),
        &format!("{FIT} --steps 2 --dry-run --json"),
        "eval --run tiny --corpus markov:bytes=9K --chunk 64",
        "eval --run tiny --corpus markov:bytes=9K --chunk 64 --json",
        "sweep --size w16l1h1 --corpus markov:bytes=200K --tokens 3K",
        "sweep --size w16l1h1 --corpus markov:bytes=200K --tokens 3K --dry-run",
        "tokenizer --vocab 300 --corpus source",
        "compress text -o - --run tiny",
        "compress text -o text2.lmz --run tiny --json",
        "decompress text.lmz -o -",
        "bench --size 50K --context 64 --steps 1 --batch 1 --only score",
        "report",
        "report --json",
        "data list",
        "data list --json",
        "data verify source",
        "completions zsh",
        "--help",
        "fit --help",
        "--version",
    ] {
        assert_eq!(status(&study, line, script), "1", "{line}");
        let error = std::fs::read_to_string(study.path("error")).expect("written");
        assert!(error.contains("No space left"), "{line}: {error}");
    }
    let ended =
        status(&study, "compress text -o - --run tiny", "\"$LMTRAIN\" $line | true; echo $?");
    assert_eq!(ended, "0");
}
