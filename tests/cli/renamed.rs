//! A run is what its folder is called, whatever it was called before.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::Study;

const FIT: &str = "--size 50K --corpus markov:bytes=200K --context 64 --batch 2";

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("there") {
        let path = entry.expect("one").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}

fn names(records: &serde_json::Value) -> Vec<&str> {
    let records = records.as_array().expect("a list").iter();
    records.map(|record| record["name"].as_str().expect("a name")).collect()
}

#[test]
fn renamed_and_copied_runs_work_everywhere() {
    let study = Study::new();
    study.fit("--steps 20");
    let line = "eval --json --corpus markov:bytes=9K --chunk 64 --run";
    let first = study.json(&format!("{line} tiny"));
    std::fs::write(study.path("text"), "a text").expect("written");
    study.succeeds("compress text -o before.lmz --run tiny");
    let work = study.path("runs/work");
    std::fs::rename(work.join("tiny"), work.join("better")).expect("renamed");

    let again = study.json(&format!("{line} better"));
    assert_eq!(names(&again), ["better"]);
    assert_eq!(again[0]["ideal_bits"], first[0]["ideal_bits"]);
    assert_eq!(again[0]["command"], first[0]["command"], "recorded already, under the other name");
    let error = study.fails(&format!("{line} tiny"), 1);
    assert!(error.contains("`better`"), "{error}");
    assert_eq!(names(&study.json(&line.replace("--run", "--size 50K"))), ["better"]);

    copy(&work.join("better"), &work.join("copy"));
    let both = study.json(&format!("{line} better,copy"));
    assert_eq!(names(&both), ["better", "copy"]);
    study.succeeds("report -o out");
    let table = std::fs::read_to_string(study.path("out/tables/runs.csv")).expect("a table");
    let runs: Vec<&str> = table.lines().skip(1).filter_map(|row| row.split(',').next()).collect();
    assert_eq!(runs, ["better", "copy"], "{table}");
    let rates = std::fs::read_to_string(study.path("out/tables/measurements.csv"));
    let rates = rates.unwrap_or_default();
    assert!(!rates.contains("tiny,"), "{rates}");

    for run in ["better", "copy"] {
        study.succeeds(&format!("compress text -o {run}.lmz --run {run} --embed-model"));
        study.succeeds(&format!("compress text -o {run}.lmz --run {run}"));
        let archive = std::fs::read(study.path(&format!("{run}.lmz"))).expect("there");
        let has = |name: &str| archive.windows(name.len()).any(|it| it == name.as_bytes());
        assert!(has(run) && !has("tiny"), "the archive names {run}");
        study.succeeds(&format!("decompress {run}.lmz -o {run}.back"));
    }
    std::fs::remove_dir_all(study.path("runs/weights")).expect("kept weights");
    study.succeeds("decompress before.lmz -o back");
    assert_eq!(std::fs::read(study.path("back")).expect("there"), b"a text");
}

#[test]
fn renamed_and_copied_runs_go_on() {
    let study = Study::new();
    let work = study.path("runs/work");
    let fit = |name: &str| format!("fit --json {FIT} --steps 200 --name {name}");
    let whole = study.json(&fit("whole"));
    // One that was killed after its first checkpoint.
    let begun = fit("begun");
    let child = study.command(&begun).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("the program starts");
    while !work.join("begun/checkpoint/last.safetensors").exists() {
        assert!(child.try_wait().expect("known").is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("ended");
    copy(&work.join("begun"), &work.join("copy"));
    std::fs::rename(work.join("begun"), work.join("renamed")).expect("renamed");
    for name in ["renamed", "copy"] {
        let fitted = study.json(&format!("{} --resume", fit(name)));
        let [found, expected] = [&fitted, &whole].map(|runs| &runs[0]["validation_bits_per_byte"]);
        assert_eq!(found, expected, "{name}");
    }
    // One that is whole goes on, too, and has nothing to do.
    std::fs::rename(work.join("whole"), work.join("moved")).expect("renamed");
    let moved = study.json(&format!("{} --resume", fit("moved")));
    assert_eq!((&moved[0]["name"], &moved[0]["finished"]), (&"moved".into(), &true.into()));
    assert!(!work.join("whole").exists());
}
