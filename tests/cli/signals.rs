//! Signals: every long command ends on the first, and what was ignored stays ignored.

use std::path::Path;

use crate::started::{Started, children, is_there};
use crate::{FIT, Study};

/// A step of this takes seconds, and nothing interrupts it.
const LONG_STEPS: &str = "--size 19M --corpus source --batch 2 --train-on all --name large";

/// Files below a folder that are being written.
fn unfinished(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(unfinished(&entry.path()));
        } else if name.ends_with(".part") || name.ends_with(".tmp") || name.contains(".tmp") {
            found.push(name);
        }
    }
    found
}

/// Starts a command that takes minutes, and tells it to stop once it works.
fn ends_soon(study: &Study, line: &str) {
    for (signal, status) in [(libc::SIGTERM, 143), (libc::SIGINT, 130)] {
        let mut started = Started::new(study, line);
        started.works();
        started.tell(signal);
        started.output(status);
        assert_eq!(unfinished(study.folder.path()), [""; 0], "`{line}`");
    }
}

#[test]
fn measuring_and_vocabularies_end_on_a_signal() {
    let study = Study::new();
    study.fit("--steps 2");
    std::fs::create_dir_all(study.path("data/text")).expect("a folder");
    let file = std::fs::File::create(study.path("data/text/zeros")).expect("a file");
    file.set_len(1 << 32).expect("a long file, of nothing");
    for line in [
        "eval --compressor lzma2 --corpus random:bytes=100M --chunk 4096",
        "eval --compressor gzip --corpus markov:bytes=200M",
        "eval --run tiny --corpus random:bytes=100M --chunk 64",
        "tokenizer --vocab 60000 --corpus markov:bytes=40M,alphabet=200,order=1 --train-on all",
        "data verify zeros",
    ] {
        ends_soon(&study, line);
    }
    assert!(!study.path("tokenizers/vocab").exists(), "no vocabulary is half made");
    std::fs::remove_file(study.path("data/text/zeros")).expect("removed");
}

#[test]
fn archives_end_on_a_signal_and_leave_nothing() {
    let study = Study::new();
    study.fit("--steps 60");
    // What it was trained on, so that no block is stored as it is.
    let data = lmtrain_corpora::DataDirectory::at(study.path("data"));
    let corpus = lmtrain_corpora::open("markov:bytes=60M", &data).expect("always there");
    std::fs::write(study.path("long"), corpus.bytes()).expect("written");
    std::fs::write(study.path("short"), &corpus.bytes()[..3_000_000]).expect("written");
    ends_soon(&study, "compress long -o long.lmz --run tiny");
    assert!(!study.path("long.lmz").exists());
    study.succeeds("compress short -o short.lmz --run tiny");
    ends_soon(&study, "decompress short.lmz -o back");
    assert!(!study.path("back").exists());
}

#[test]
fn training_ends_within_a_step_and_its_lock_is_free() {
    let study = Study::new();
    // In trial steps, before there is a run; and in a step.
    ends_soon(&study, &format!("fit {LONG_STEPS} --minutes 600"));
    assert!(!study.path("runs/work/large/plan.toml").exists());
    for (signal, status) in [(libc::SIGTERM, 143), (libc::SIGINT, 130)] {
        let line = format!("fit {LONG_STEPS} --steps 1000 --overwrite");
        let mut started = Started::new(&study, &line);
        started.until("its plan", || study.path("runs/work/large/plan.toml").exists());
        started.works();
        started.tell(signal);
        started.output(status);
        let lock = std::fs::File::open(study.path("runs/work/large/lock")).expect("there");
        lock.try_lock().expect("free");
        assert_eq!(unfinished(study.folder.path()), [""; 0]);
    }
}

#[test]
fn what_a_stopped_training_did_is_kept() {
    let study = Study::new();
    let line = "--corpus source --size 50K --context 64 --batch 2 --tokens 100M --json";
    let steps = || {
        let log = std::fs::read_to_string(study.path("runs/work/long/train.jsonl"));
        log.unwrap_or_default().lines().count()
    };
    let mut last = 0;
    for (round, signal, status) in [(0, libc::SIGTERM, 143), (1, libc::SIGINT, 130), (2, 1, 129)] {
        let more = if round == 0 { line } else { "--json --resume" };
        let before = steps();
        let mut started = Started::new(&study, &format!("fit --name long {more}"));
        started.until("a record", || steps() > before);
        started.tell(signal);
        let output = started.output(status);
        let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let step = outcome[0]["step"].as_u64().expect("a step");
        assert!(step > last, "{step} after {last}");
        assert_eq!(outcome[0]["finished"], false);
        last = step;
    }
}

#[test]
fn sweeps_and_the_quickstart_end_with_what_is_done_kept() {
    let study = Study::new();
    for (line, run) in [
        (
            "sweep --size 50K --seed 0,1 --corpus source --tokens 900M",
            "50K-bytes-modern-source-900Mtok-s0",
        ),
        ("quickstart --offline --minutes 300", "quickstart-200K-source"),
    ] {
        let folder = study.path("runs/work").join(run);
        let mut started = Started::new(&study, line);
        let log = folder.join("train.jsonl");
        started
            .until("its first record", || std::fs::metadata(&log).is_ok_and(|log| log.len() > 0));
        started.tell(libc::SIGTERM);
        started.output(143);
        assert!(folder.join("checkpoint/last.safetensors").exists(), "`{line}`");
        assert_eq!(unfinished(study.folder.path()), [""; 0]);
    }
}

#[test]
fn a_bench_ends_with_the_process_that_measures() {
    let study = Study::new();
    for (signal, status) in [(libc::SIGTERM, Some(143)), (libc::SIGINT, Some(130)), (9, None)] {
        let mut started = Started::new(&study, "bench --size 38M --steps 1000 --only train");
        let id = started.id();
        started.until("a process for its size", || !children(id).is_empty());
        let measuring = children(id);
        started.tell(signal);
        assert_eq!(started.ends().code(), status);
        let start = std::time::Instant::now();
        while measuring.iter().any(|id| is_there(*id)) {
            assert!(start.elapsed().as_secs() < 300, "it measures for nobody");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

#[test]
fn what_was_ignored_stays_ignored() {
    let study = Study::new();
    let steps = || {
        let log = std::fs::read_to_string(study.path("runs/work/tiny/train.jsonl"));
        log.unwrap_or_default().lines().count()
    };
    let line = format!("fit {FIT} --tokens 900M");
    for (name, ignored, heard, status) in
        [("HUP", libc::SIGHUP, libc::SIGINT, 130), ("INT", libc::SIGINT, libc::SIGHUP, 129)]
    {
        let program = study.command(&format!("{line} --overwrite"));
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("trap '' {name}; exec \"$0\" \"$@\"")]);
        shell.arg(program.get_program()).args(program.get_args());
        shell.current_dir(study.folder.path());
        for (key, value) in program.get_envs() {
            match value {
                Some(value) => shell.env(key, value),
                None => shell.env_remove(key),
            };
        }
        let _ = std::fs::remove_file(study.path("runs/work/tiny/train.jsonl"));
        let mut started = Started::of(&mut shell, &line);
        started.until("a record", || steps() > 0);
        started.tell(ignored);
        let before = steps();
        started.until("going on as if nothing had been", || steps() > before + 5);
        started.tell(heard);
        started.output(status);
    }
}
