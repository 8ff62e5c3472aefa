//! `lmtrain sweep`: plans, shares, what was stopped.

use std::process::Stdio;
use std::time::Duration;

use crate::Study;

const SWEEP: &str = r#"
[[fit]]
size = ["50K", "w16l1h1"]
seed = [0, 1]
corpus = "markov:bytes=200K"
context = 64
batch = 2
steps = 12

[[fit]]                      # a sequence is longer than what this corpus has to train on
size = "50K"
corpus = "markov:bytes=1K"
steps = 12

[[eval]]
corpus = ["source"]
sample-chunks = 3
chunk = 64
compressor = "gzip"
"#;

/// The names of the runs that have weights.
fn trained(study: &Study) -> Vec<String> {
    let Ok(runs) = std::fs::read_dir(study.path("runs/work")) else { return Vec::new() };
    let mut names: Vec<String> = runs
        .map(|run| run.expect("an entry").path())
        .filter(|run| run.join("weights.safetensors").is_file())
        .map(|run| run.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn shares_of_a_sweep_are_the_sweep_and_nothing_is_done_twice() {
    let study = Study::new();
    std::fs::write(study.path("sweep.toml"), SWEEP).expect("written");
    let planned = study.json("sweep sweep.toml --dry-run --json");
    let planned = planned.as_array().expect("a list");
    assert_eq!(planned.len(), 5);
    assert!(trained(&study).is_empty(), "a dry run trains nothing");

    let mut shares = Vec::new();
    for share in ["1/2", "2/2"] {
        let line = format!("sweep sweep.toml --shard {share}");
        let shown = study.json(&format!("{line} --dry-run --json"));
        let names = shown.as_array().expect("a list").iter().map(|job| job["name"].to_string());
        let names: Vec<String> = names.collect();
        let failing = names.iter().any(|name| name.contains("bytes=1000-"));
        if failing {
            let error = study.fails(&line, 1);
            assert!(
                error.contains("too short") && error.contains("1 of the runs failed"),
                "{error}"
            );
        } else {
            study.succeeds(&line);
        }
        shares.extend(names);
    }
    shares.sort();
    shares.dedup();
    assert_eq!(shares.len(), 5, "every run is in one share: {shares:?}");
    assert_eq!(trained(&study).len(), 4, "all but the one that failed");

    let weights = study.path("runs/work").join(&trained(&study)[0]).join("weights.safetensors");
    let written = std::fs::metadata(&weights).and_then(|file| file.modified()).expect("a time");
    let rates = || {
        let lines = std::fs::read_to_string(weights.with_file_name("rates.jsonl"));
        lines.expect("rates").lines().count()
    };
    assert_eq!(rates(), 1);
    let error = study.fails("sweep sweep.toml", 1);
    assert!(error.contains("bytes=1000-"), "{error}");
    assert_eq!(
        std::fs::metadata(&weights).and_then(|file| file.modified()).expect("a time"),
        written
    );
    assert_eq!(rates(), 1, "what is recorded is not measured again");
}

#[test]
fn a_killed_sweep_goes_on_where_it_was() {
    let study = Study::new();
    let flags = "sweep --size 50K --seed 0,1 --corpus markov:bytes=200K --tokens 160K";
    let mut sweep = study.command(flags).stderr(Stdio::null()).spawn().expect("it starts");
    let first = study.path("runs/work/50K-bytes-modern-markov-bytes=200000-160Ktok-s0/checkpoint");
    let start = std::time::Instant::now();
    while !first.exists() && start.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(20));
    }
    sweep.kill().expect("killed");
    sweep.wait().expect("ended");
    assert!(trained(&study).len() < 2, "it was killed on its way");
    let jobs = study.json(&format!("{flags} --dry-run --json"));
    let states: Vec<_> = jobs.as_array().expect("a list").iter().map(|it| &it["state"]).collect();
    assert!(states.iter().any(|state| **state != "new"), "{states:?}");
    study.succeeds(flags);
    assert_eq!(trained(&study).len(), 2);
    let jobs = study.json(&format!("{flags} --dry-run --json"));
    assert!(jobs.as_array().expect("a list").iter().all(|job| job["state"] == "trained"));
}

#[test]
fn what_was_trained_on_a_file_is_measured_on_that_file() {
    let study = Study::new();
    std::fs::create_dir(study.path("a folder")).expect("made");
    std::fs::write(study.path("a folder/c.txt"), "some words of a text\n".repeat(5000))
        .expect("written");
    std::fs::write(study.path("c.txt"), "some other words of a text\n".repeat(4000))
        .expect("written");
    let flags = "sweep --size w16l1h1 --corpus ./c.txt --tokens 4096 --sample-chunks 3";
    let records = study.json(&format!("{flags} --json"));
    let records = records.as_array().expect("a list");
    assert!(!records.is_empty() && records.iter().all(|it| it["corpus"] == "c"), "{records:?}");
    // Alone, the run cannot tell where its file is.
    let run = trained(&study).remove(0);
    let error = study.fails(&format!("eval --run {run}"), 1);
    assert!(error.contains("`c`") && error.contains("--corpus PATH --part test"), "{error}");
    // What is said to be next can be typed.
    let said = study.shell(
        "$LMTRAIN fit --size 50K --corpus 'a folder/c.txt' --context 64 --batch 2 --steps 2 --name x 2>&1",
    );
    let next = said.lines().find_map(|line| line.strip_prefix("next: `lmtrain "));
    let next = next.expect("a next command").trim_end_matches('`');
    study.shell(&format!("$LMTRAIN {next} --sample-chunks 2"));
}

#[test]
fn runs_of_which_only_records_are_here_are_left_as_they_are() {
    let study = Study::new();
    let flags = "sweep --size w16l1h1 --corpus markov:bytes=200K --tokens 20K --sample-chunks 3";
    let measured = study.json(&format!("{flags} --json"));
    let run = study.path("runs/work").join(trained(&study).remove(0));
    std::fs::remove_file(run.join("weights.safetensors")).expect("removed");
    std::fs::remove_dir_all(run.join("checkpoint")).expect("removed");
    let jobs = study.json(&format!("{flags} --dry-run --json"));
    assert_eq!((&jobs[0]["state"], &jobs[0]["seconds"]), (&"recorded".into(), &0.0.into()));
    assert_eq!(study.json(&format!("{flags} --json")), measured);
    assert!(trained(&study).is_empty());
}

#[test]
fn a_run_that_only_shares_the_name_is_not_taken_for_the_sweeps() {
    let study = Study::new();
    std::fs::write(study.path("c.txt"), "some words of a text\n".repeat(5000)).expect("written");
    let flags = "--size w16l1h1 --corpus ./c.txt --context 64 --steps 3";
    let plan = |choices: &str| {
        let text = format!(
            "[[fit]]\nsize = \"w16l1h1\"\ncorpus = \"./c.txt\"\ncontext = 64\nsteps = 3\nname = \"one\"\n{choices}"
        );
        std::fs::write(study.path("plan.toml"), text).expect("written");
    };
    study.succeeds(&format!("fit {flags} --name one --batch 3 --set head-learning-rate=0.001"));
    // With the recipe's choices of today.
    plan("");
    let jobs = study.json("sweep plan.toml --dry-run --json");
    assert_eq!(jobs[0]["state"], "other");
    let told = String::from_utf8_lossy(&study.run("sweep plan.toml --dry-run").stderr).into_owned();
    let error = study.fails("sweep plan.toml", 1);
    for text in [&told, &error] {
        assert!(text.contains("head-learning-rate: 0.001 in the plan"), "{text}");
        assert!(text.contains("batch: 3 in the plan") && text.contains("--runs-dir"), "{text}");
    }
    // With its own, whether said by the sweep or not.
    plan("batch = 3\nset.head-learning-rate = 0.001\n");
    assert_eq!(study.json("sweep plan.toml --dry-run --json")[0]["state"], "trained");
    // On another text of the same name.
    std::fs::write(study.path("c.txt"), "other words of a text\n".repeat(5000)).expect("written");
    assert_eq!(study.json("sweep plan.toml --dry-run --json")[0]["state"], "other");
    let error = study.fails("sweep plan.toml", 1);
    assert!(error.contains("corpus: `c` of 105000 bytes"), "{error}");
}

#[test]
fn wrong_sweeps_are_errors() {
    let study = Study::new();
    let error = study.fails("sweep", 1);
    assert!(error.contains("`pocket`") && error.contains("data fetch enwik8"), "{error}");
    let error = study.fails("sweep nowhere.toml", 1);
    assert!(error.contains("nowhere.toml") && error.contains("`table2`"), "{error}");
    study.fails("sweep --seed 0,1", 2);
    for (text, expected) in [
        ("[[fit]]\nsize = \"201K\"", "201K"),
        ("[[fit]]\nsize = \"200K\"\nbatches = 3", "--batches"),
        ("[[fits]]\nsize = \"200K\"", "fits"),
        ("[[fit]]\nsize = []", "size"),
        ("", "neither"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n", "git lfs pull"),
        ("[[fit]]\nsize = \"50K\"\ncorpus = \"source\"\n[[eval]]\nchunk = \"x\"", "chunk"),
    ] {
        std::fs::write(study.path("wrong.toml"), text).expect("written");
        let error = study.fails("sweep wrong.toml", 1);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn the_plans_that_come_along_are_sweeps() {
    let study = Study::new();
    let plans = study.json("sweep --list --json");
    let plans = plans.as_array().expect("a list");
    for name in ["table1", "figure2", "table2", "speedrun", "pocket", "study", "media", "context"] {
        let listed = plans.iter().find(|plan| plan["name"] == name).expect("listed");
        assert!(listed["training_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
        let file = format!("{}/runs/plans/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(file).expect("a plan");
        // Their corpora need not be here.
        let always_there = [
            ("\"enwik8\"", "\"source\""),
            ("wiki15-8", "source"),
            ("kodak", "markov"),
            ("librispeech:bits=16", "random"),
            ("librispeech", "random:seed=1"),
        ];
        let text = always_there.iter().fold(text, |text, (name, there)| text.replace(name, there));
        std::fs::write(study.path("plan.toml"), text).expect("written");
        let jobs = study.json("sweep plan.toml --dry-run --json");
        let jobs = jobs.as_array().expect("a list");
        assert!(!jobs.is_empty(), "{name}");
        assert_eq!(listed["runs"], jobs.len(), "{name}");
    }
    let table = study.succeeds("sweep --list");
    assert!(table.contains("table2") && table.contains("Table 2"), "{table}");
    // By name, from anywhere, and before a file of that name.
    std::fs::write(study.path("table2"), "not a valid plan").expect("written");
    let error = study.fails("sweep table2 --dry-run", 1);
    assert!(error.contains("enwik8") && !error.contains("not a valid plan"), "{error}");
    let error = study.fails("sweep ./table2 --dry-run", 1);
    assert!(error.contains("it is not a valid plan"), "{error}");
}

#[test]
fn a_bare_sweep_is_the_default_study_on_the_largest_text() {
    let study = Study::new();
    let text = study.path("data/text");
    std::fs::create_dir_all(&text).expect("a folder");
    std::fs::write(text.join("short"), "words ".repeat(200_000)).expect("written");
    std::fs::write(text.join("tiny"), "words ").expect("written");
    std::fs::write(text.join("long.txt"), "other words ".repeat(200_000)).expect("written");
    let jobs = study.json("sweep --dry-run --json");
    let jobs = jobs.as_array().expect("a list");
    assert_eq!(jobs.len(), 11);
    for job in jobs {
        assert!(job["command"].as_str().expect("text").contains("--corpus long"), "{job}");
    }
    let output = study.run("sweep --dry-run");
    let said = String::from_utf8_lossy(&output.stderr);
    for part in ["`pocket`", "`long`", "Rate against size", "11 runs, about "] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
}
