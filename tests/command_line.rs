//! The program as a user meets it: the README's commands that need neither network nor minutes, a
//! whole study at a tiny size, and errors.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

struct Study {
    folder: tempfile::TempDir,
}

impl Study {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lmtrain"));
        command
            .args(line.split_whitespace())
            .env_remove("LMTRAIN_SIMD")
            .env_remove("LMTRAIN_TOKENIZERS")
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("LMTRAIN_RUNS", self.path("runs"))
            .env("LMTRAIN_DATA", self.path("data"))
            .env("RUST_BACKTRACE", "1")
            .current_dir(self.folder.path());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("the program starts")
    }

    /// Runs what must succeed; gives its standard output.
    fn succeeds(&self, line: &str) -> String {
        let output = self.run(line);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`lmtrain {line}` failed:\n{error}");
        String::from_utf8(output.stdout).expect("results are text")
    }

    /// Runs what must fail with this status; gives its standard error, which holds no panic.
    fn fails(&self, line: &str, status: i32) -> String {
        let output = self.run(line);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "`lmtrain {line}`:\n{error}");
        assert!(!error.contains("panicked"), "`lmtrain {line}`:\n{error}");
        error
    }

    fn json(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.succeeds(line)).expect("one JSON document")
    }

    /// Trains the smallest run there is; further arguments follow.
    fn fit(&self, more: &str) -> serde_json::Value {
        self.json(&format!("fit --json {FIT} {more}"))
    }
}

const FIT: &str = "--size 50K --corpus markov:bytes=200K --context 64 --batch 2 --name tiny";

/// Every command in the README's fenced blocks that is marked as quick.
#[test]
fn the_readmes_quick_commands_work() {
    let study = Study::new();
    study.fit("--steps 20");
    std::fs::write(study.path("notes.txt"), "Notes to compress, and to restore.\n".repeat(50))
        .expect("written");
    let readme = include_str!("../README.md");
    let quick = readme.split("```console\n").skip(1).map(|rest| rest.split("```").next());
    let lines: Vec<&str> = quick
        .flatten()
        .flat_map(str::lines)
        .filter_map(|line| line.strip_prefix("$ lmtrain "))
        .collect();
    assert!(lines.len() >= 8, "the README shows its quick commands: {lines:?}");
    for line in lines {
        study.succeeds(line.split(" #").next().unwrap_or(line).trim());
    }
    assert_eq!(
        std::fs::read(study.path("notes.txt")).expect("there"),
        std::fs::read(study.path("restored.txt")).expect("restored by the README's commands"),
    );
}

#[test]
fn a_killed_run_resumes_to_the_same_weights() {
    let study = Study::new();
    let folder = |name: &str| study.path("runs/work").join(name);
    // The numbers alone: the header before them holds the run's name.
    let numbers = |name: &str| {
        let bytes = std::fs::read(folder(name).join("weights.safetensors")).expect("weights");
        let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        bytes[8 + usize::try_from(header).expect("small")..].to_vec()
    };
    let fit =
        "--size 50K --corpus markov:bytes=200K --context 64 --batch 2 --accumulate 2 --steps 400";
    study.succeeds(&format!("fit {fit} --name whole"));
    let whole = numbers("whole");
    // Killed before the first checkpoint, and at two moments between checkpoints.
    for (killed, records) in [("early", 0), ("between", 1), ("late", 120)] {
        let line = format!("fit {fit} --name {killed}");
        let mut child =
            study.command(&line).stderr(Stdio::null()).spawn().expect("the program starts");
        let recorded = || {
            let log = std::fs::read_to_string(folder(killed).join("train.jsonl"));
            log.unwrap_or_default().lines().count()
        };
        while recorded() < records || !folder(killed).join("plan.toml").exists() {
            assert!(child.try_wait().expect("known").is_none(), "{killed}: it ended by itself");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("ended");
        assert!(recorded() < 200, "{killed}: killed before its end");
        study.succeeds(&format!("fit {fit} --name {killed} --resume"));
        assert!(numbers(killed) == whole, "killed {killed}, the weights differ");
    }
}

#[test]
fn archives_restore_every_file() {
    let study = Study::new();
    study.fit("--steps 5");
    let noise: Vec<u8> = (0..70_000_u64)
        .map(|index| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    let files: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("one", b"x"),
        ("text", b"hello hello\n"),
        ("zeros", &[0; 999]),
        ("noise", &noise),
    ];
    for (name, content) in files {
        std::fs::write(study.path(name), content).expect("written");
        for embed in ["", "--embed-model"] {
            study.succeeds(&format!("compress {name} -o {name}.lmz --run tiny {embed}"));
            study.succeeds(&format!("decompress {name}.lmz -o {name}.back"));
            assert_eq!(std::fs::read(study.path(&format!("{name}.back"))).expect("there"), content);
        }
    }
    decodes_by_itself(&study, &study.path("text.lmz"));
    refuses_damage(&study, &study.path("noise.lmz"));
}

/// An archive with its model needs no run.
fn decodes_by_itself(study: &Study, archive: &Path) {
    let elsewhere = study.path("elsewhere");
    let line = format!("decompress {} -o - --runs-dir {}", archive.display(), elsewhere.display());
    assert_eq!(study.succeeds(&line), "hello hello\n");
}

fn refuses_damage(study: &Study, archive: &Path) {
    let good = std::fs::read(archive).expect("there");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (name, bytes) in [("flipped", &flipped[..]), ("cut", &good[..good.len() - 7])] {
        std::fs::write(study.path(name), bytes).expect("written");
        study.fails(&format!("decompress {name} -o {name}.back"), 1);
        assert!(!study.path(&format!("{name}.back")).exists(), "nothing wrong is left behind");
    }
}

const PAIRS: &str = "--size 50K --corpus source --context 64 --batch 2 --tokenizer bpe-700";

#[test]
fn byte_pairs_go_from_text_to_archive_and_back() {
    let study = Study::new();
    let made = study.json("tokenizer --vocab 700,500 --corpus source --json");
    let vocabulary = &made[0];
    assert_eq!(
        (&vocabulary["tokenizer"], &made[1]["tokenizer"]),
        (&"bpe-700".into(), &"bpe-500".into())
    );
    assert!(vocabulary["bytes_per_token"].as_f64().is_some_and(|it| (1.5..6.0).contains(&it)));
    assert!(vocabulary["train_seconds"].is_number());
    let again = study.json("tokenizer --vocab 700 --corpus source --json");
    assert!(again[0]["train_seconds"].is_null(), "it is there already");
    assert_eq!(again[0]["identity"], vocabulary["identity"]);
    study.json(&format!("fit --json {PAIRS} --steps 30 --name pairs"));
    let eval = "eval --json --run pairs --corpus source --part test --tokenizer bpe-700";
    let rates = |chunk: &str| study.json(&format!("{eval} --chunk {chunk}"))[0].clone();
    let (bytes, tokens) = (rates("64"), rates("64tokens"));
    for record in [&bytes, &tokens] {
        assert_eq!(record["tokenizer_bytes"], vocabulary["tokenizer_bytes"]);
        assert_eq!(record["raw_bytes"], bytes["raw_bytes"]);
        let number = |key: &str| record[key].as_f64().expect(key);
        assert!(number("coding_overhead").abs() < 1e-3, "{record}");
        let model = 2.0 * number("parameters") + number("tokenizer_bytes");
        let added = number("adjusted_rate") - number("raw_rate");
        assert!((added * number("raw_bytes") / model - 1.0).abs() < 1e-9, "{record}");
    }
    assert_eq!(
        (&bytes["chunking"]["bytes"], &tokens["chunking"]["tokens"]),
        (&64.into(), &64.into())
    );
    assert!(tokens["chunks"].as_u64() < bytes["chunks"].as_u64(), "64 tokens are more bytes");
    pair_archives_restore(&study);
}

/// With and without the model inside, and whatever became of run and vocabularies.
fn pair_archives_restore(study: &Study) {
    let text =
        [include_str!("command_line.rs").as_bytes(), &[0, 255, 0xe2, 0x82], &[7; 3000]].concat();
    std::fs::write(study.path("text"), &text).expect("written");
    for (archive, embed) in [("outside", ""), ("inside", "--embed-model")] {
        study.succeeds(&format!("compress text -o {archive}.lmz --run pairs {embed}"));
    }
    std::fs::remove_dir_all(study.path("tokenizers")).expect("removed");
    std::fs::remove_dir_all(study.path("runs/work")).expect("removed");
    study.succeeds("decompress outside.lmz -o outside.back");
    study.succeeds("decompress inside.lmz -o inside.back --runs-dir elsewhere");
    for archive in ["outside", "inside"] {
        let back = std::fs::read(study.path(&format!("{archive}.back"))).expect("restored");
        assert!(back == text, "{archive}");
    }
}

#[test]
fn a_run_keeps_to_its_vocabulary() {
    let study = Study::new();
    let fit = format!("fit {PAIRS} --steps 10 --name pairs");
    study.succeeds(&fit);
    let file = study.path("runs/work/pairs/tokenizer.json");
    let trained = study.path("tokenizers/vocab/bpe-700.json");
    assert_eq!(std::fs::read(&file).expect("with the run"), std::fs::read(&trained).expect("kept"));
    // Another text's vocabulary of the same size is another file, and no reason to mix them up.
    study.succeeds("tokenizer --vocab 700 --corpus markov:bytes=200K");
    let count = std::fs::read_dir(study.path("tokenizers/vocab")).expect("there").count();
    assert_eq!(count, 2);
    std::fs::remove_file(&trained).expect("removed");
    study.succeeds(&format!("{fit} --resume"));
    assert!(trained.is_file(), "it is made again, the same");
    let good = std::fs::read_to_string(&file).expect("text");
    std::fs::write(&file, &good[..good.len() / 2]).expect("written");
    let error = study.fails(&format!("{fit} --resume"), 1);
    assert!(error.contains("tokenizer.json") && error.contains("damaged"), "{error}");
    study.succeeds("eval --run pairs --corpus source --sample-chunks 1 --chunk 64");
    std::fs::remove_dir_all(study.path("tokenizers")).expect("removed");
    let error = study.fails("eval --run pairs --corpus source --sample-chunks 2 --chunk 64", 1);
    assert!(error.contains("bpe-700") && error.contains("--tokenizers-dir"), "{error}");
}

#[test]
fn standard_input_and_output_are_files_too() {
    let study = Study::new();
    study.fit("--steps 5");
    let pipe = |line: &str, input: &[u8]| {
        let mut child = study
            .command(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        child.stdin.take().expect("piped").write_all(input).expect("written");
        let output = child.wait_with_output().expect("ended");
        assert!(output.status.success(), "`lmtrain {line}`");
        output.stdout
    };
    let archive = pipe("compress - -o - --run tiny", b"through two pipes");
    assert_eq!(pipe("decompress - -o -", &archive), b"through two pipes");
}

#[test]
fn evaluation_is_recorded_once_and_agrees_with_itself() {
    let study = Study::new();
    study.fit("--steps 60");
    let line = "eval --json --run tiny --compressor gzip,lzma2 --corpus markov:bytes=200K \
                --part test --chunk 64";
    let first = study.json(line);
    let records = first.as_array().expect("a list of records");
    assert_eq!(records.len(), 5, "two compressors in two ways, and the run");
    assert_eq!(study.json(line), first, "the second time it is read, not measured");
    let run = records.last().expect("the run");
    let number = |key: &str| run[key].as_f64().unwrap_or_else(|| panic!("{key} in {run}"));
    assert!(number("coding_overhead").abs() < 1e-3);
    assert_eq!(number("in_sample_bytes"), 0.0);
    assert_eq!(number("raw_bytes"), 10_000.0);
    assert!(number("adjusted_rate") > number("raw_rate"));
    let ideal = study.json(&line.replace("--json", "--json --ideal --again"));
    let ideal = ideal.as_array().expect("a list").last().expect("the run")["ideal_bits"].clone();
    let difference = ideal.as_f64().expect("a number") / number("ideal_bits") - 1.0;
    assert!(difference.abs() < 1e-6, "scoring and coding disagree by {difference}");
}

#[test]
fn codes_of_the_weights_are_measured() {
    let study = Study::new();
    study.fit("--steps 60");
    let line = "eval --json --run tiny --corpus markov:bytes=200K --part test --chunk 64";
    let coded = study.json(&format!("{line} --weight-codes f32,f16,int8,int8-xz"));
    let saved = study.json(line);
    let number = |index: usize, key: &str| coded[index][key].as_f64().expect("a number");
    assert_eq!(coded[1], saved[0], "f16 is what was saved, and is not measured again");
    let parameters = number(1, "parameters");
    for (index, bytes) in [(0, 4.0), (1, 2.0)] {
        assert_eq!(number(index, "weight_bytes"), bytes * parameters);
        assert_eq!(number(index, "ideal_bits"), number(1, "ideal_bits"), "the same numbers");
    }
    let loss = number(2, "ideal_bits") / number(1, "ideal_bits") - 1.0;
    assert!(loss != 0.0 && loss.abs() < 0.01, "int8 costs {loss}");
    assert_eq!(number(3, "ideal_bits"), number(2, "ideal_bits"), "the same integers");
    assert!((1.0..1.2).contains(&(number(2, "weight_bytes") / parameters)));
    assert!(number(3, "weight_bytes") < number(2, "weight_bytes") + 100.0);
    assert!(number(2, "adjusted_rate") < number(1, "adjusted_rate"), "on 10,000 bytes");
    study.succeeds("report -o out");
    assert!(study.path("out/figures/weight-codes.svg").is_file());
}

/// On a source whose entropy is known exactly, no honest rate lies below it, and training comes
/// close to it from above.
#[test]
fn the_entropy_of_markov_is_approached_from_above() {
    let study = Study::new();
    let corpus = "markov:order=1,alphabet=8,bytes=1M";
    study.succeeds(&format!(
        "fit --size 50K --corpus {corpus} --context 128 --batch 16 --steps 300 --name entropy"
    ));
    let records =
        study.json(&format!("eval --json --run entropy --corpus {corpus} --part test --chunk 128"));
    let measured = records[0]["bits_per_byte"].as_f64().expect("measured");
    let interval = &records[0]["raw_rate_interval"];
    let data = lmtrain_eval::corpora::DataDirectory::at(study.path("data"));
    let entropy = lmtrain_eval::corpora::open(corpus, &data)
        .expect("always there")
        .entropy_rate()
        .expect("known exactly");
    // A sample of 50,000 bytes may lie below its mean; its 95 % interval tells by how much.
    let half_width =
        4.0 * (interval[1].as_f64().expect("high") - interval[0].as_f64().expect("low"));
    assert!(measured > entropy - half_width, "{measured} bits/byte, entropy {entropy}");
    let high = 8.0 * interval[1].as_f64().expect("an interval");
    assert!(high > entropy, "{high} bits/byte are below the entropy {entropy}");
    // The first symbol of each chunk of 128 costs up to log2(8) − entropy more than the others.
    assert!(measured < 1.05 * entropy + 3.0 / 128.0, "{measured} bits/byte, entropy {entropy}");
}

#[test]
fn errors_name_the_thing_and_the_next_command() {
    let study = Study::new();
    let cases: [(&str, i32, &[&str]); 13] = [
        ("fit --size 3.3M", 2, &["3.3M", "3.2M"]),
        ("fit --size 50K --corpus nowhere", 1, &["nowhere", "hint: "]),
        ("fit --size 50K --corpus enwik8", 1, &["enwik8", "lmtrain data fetch enwik8"]),
        ("fit --size 50K --corpus random:bytes=10", 1, &["2048", "too short", "--context"]),
        ("eval --size 3.2M --corpus source", 1, &["--size 3.2M", "hint: `lmtrain fit --size 3.2M"]),
        ("eval --compressor zip --corpus source", 1, &["zip", "gzip"]),
        ("compress Cargo.toml -o x --run none", 1, &["none", "hint: "]),
        ("decompress nothing.lmz -o x", 1, &["nothing.lmz"]),
        ("report", 1, &["hint: ", "lmtrain"]),
        ("fit --size 50K --device tpu", 2, &["tpu", "cuda"]),
        ("fit --size 50K --tokenizer bpe-9", 2, &["bpe-9", "257"]),
        (
            "fit --size 50K --tokenizer bpe-90000 --corpus markov:bytes=2K --context 8",
            1,
            &["gives a vocabulary of", "hint: `--tokenizer bpe-"],
        ),
        ("eval --compressor gzip --sample-chunks 5 --chunk 64tokens", 1, &["hint: `--chunk 64`"]),
    ];
    for (line, status, parts) in cases {
        let error = study.fails(line, status);
        for part in parts {
            assert!(error.contains(part), "`lmtrain {line}` does not say {part:?}:\n{error}");
        }
    }
    study.fit("--steps 2");
    let again = study.fails(&format!("fit {FIT} --steps 2"), 1);
    assert!(again.contains("--resume") && again.contains("--overwrite"), "{again}");
    let other = study.fails(&format!("fit {FIT} --steps 3 --seed 5 --resume"), 1);
    assert!(other.contains("another plan"), "{other}");
}

#[test]
fn damaged_runs_are_errors() {
    let study = Study::new();
    study.fit("--steps 4");
    let run = study.path("runs/work/tiny");
    let weights = std::fs::read(run.join("weights.safetensors")).expect("there");
    std::fs::write(run.join("weights.safetensors"), &weights[..weights.len() / 2])
        .expect("written");
    let error = study.fails("eval --run tiny --corpus source --sample-chunks 1 --chunk 64", 1);
    assert!(error.contains("weights.safetensors"), "{error}");
    std::fs::write(run.join("plan.toml"), "size = 3").expect("written");
    let error = study.fails("eval --run tiny --corpus source", 1);
    assert!(error.contains("plan.toml") && error.contains("damaged"), "{error}");
}

#[test]
fn an_unknown_simd_level_is_an_error() {
    let study = Study::new();
    let mut command = study.command(&format!("fit {FIT} --steps 2"));
    let output = command.env("LMTRAIN_SIMD", "mmx").output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("LMTRAIN_SIMD"));
}

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
                error.contains("too short") && error.contains("1 of the jobs failed"),
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
    let flags = "sweep --size 50K --seed 0,1 --corpus markov:bytes=200K --tokens 400K";
    let mut sweep = study.command(flags).stderr(Stdio::null()).spawn().expect("it starts");
    let first = study.path("runs/work/50K-bytes-modern-markov-bytes=200000-400Ktok-s0/checkpoint");
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
fn wrong_sweeps_are_errors() {
    let study = Study::new();
    let error = study.fails("sweep", 2);
    assert!(error.contains("PLAN.toml"), "{error}");
    let error = study.fails("sweep nowhere.toml", 1);
    assert!(error.contains("nowhere.toml"), "{error}");
    for (text, expected) in [
        ("[[fit]]\nsize = \"201K\"", "201K"),
        ("[[fit]]\nsize = \"200K\"\nbatches = 3", "--batches"),
        ("[[fits]]\nsize = \"200K\"", "fits"),
        ("[[fit]]\nsize = []", "size"),
        ("", "neither"),
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
    let plans = concat!(env!("CARGO_MANIFEST_DIR"), "/runs/plans");
    for name in ["table1", "figure2", "table2", "speedrun", "pocket"] {
        let text = std::fs::read_to_string(format!("{plans}/{name}.toml")).expect("a plan");
        // Their corpora need not be here.
        let text = text.replace("wiki15-8", "source").replace("\"enwik8\"", "\"source\"");
        std::fs::write(study.path("plan.toml"), text).expect("written");
        let jobs = study.json("sweep plan.toml --dry-run --json");
        assert!(jobs.as_array().expect("a list").len() > 2, "{name}");
    }
}

#[test]
fn speed_is_measured() {
    let study = Study::new();
    let speed = study.json("bench --json --size 50K --context 64 --batch 2 --steps 2");
    assert!(speed["gemm_flops_per_s"].as_f64().expect("a number") > 1e6);
    let size = &speed["sizes"][0];
    for key in
        ["train_tokens_per_s", "score_tokens_per_s", "encode_bytes_per_s", "decode_bytes_per_s"]
    {
        assert!(size[key].as_f64().expect(key) > 0.0, "{key}");
    }
    let only = study.json("bench --json --size 50K --context 64 --steps 1 --only score");
    assert!(only["sizes"][0]["train_tokens_per_s"].is_null());
}

/// A pretrained model of random weights: the fixture that the loader is tested with.
fn model(study: &Study, name: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("train/reference/pretrained");
    let to = study.path(name);
    std::fs::create_dir(&to).expect("a folder");
    let files = std::fs::read_dir(from.join(name)).expect("the fixture");
    for path in files.map(|entry| entry.expect("a file").path()) {
        std::fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
    }
    std::fs::copy(from.join("tokenizer.json"), to.join("tokenizer.json")).expect("copied");
    to
}

#[test]
fn pretrained_models_are_measured() {
    let study = Study::new();
    for name in ["qwen3", "gpt2"] {
        model(&study, name);
    }
    let line = "eval --json --model qwen3,./gpt2 --corpus markov:bytes=9K --chunk 300";
    let records = study.json(line);
    let [qwen3, gpt2] = records.as_array().expect("records").as_slice() else { panic!("two") };
    assert_eq!((&qwen3["kind"], &qwen3["name"]), (&"pretrained".into(), &"qwen3".into()));
    assert_eq!((&qwen3["architecture"], &gpt2["architecture"]), (&"Qwen3".into(), &"GPT-2".into()));
    assert_eq!((&gpt2["raw_bytes"], &gpt2["cut_chunks"]), (&9000.into(), &30.into()));
    assert_eq!(gpt2["tokenization"], "pretrained-256");
    let number = |record: &serde_json::Value, key: &str| record[key].as_f64().expect("a number");
    let bits = number(gpt2, "ideal_bits") / number(gpt2, "tokens");
    assert!((number(gpt2, "token_perplexity") / bits.exp2() - 1.0).abs() < 1e-9);
    assert!((number(gpt2, "bits_per_byte") / bits - 1.0).abs() < 0.01, "a token is a byte here");
    assert_eq!(number(gpt2, "bytes_per_parameter"), 2.0);
    assert_eq!(number(gpt2, "stored_bytes"), 2.0 * number(gpt2, "parameters"));
    assert!(number(gpt2, "coded_bytes") > 0.0 && number(gpt2, "tokens_per_s") > 0.0);
    assert_eq!(study.json(line), records, "recorded already");
    let table = study.succeeds(&line.replace("--json ", ""));
    for words in ["perplexity/token", "tokens/s", "Qwen3", "as stored", "bits/byte"] {
        assert!(table.contains(words), "{words}:\n{table}");
    }
    let masked = study
        .json("eval --json --model gpt2 --corpus random:bytes=2K --chunk 100 --protocol paper");
    assert_eq!(masked[0]["lost_bits"], 2000.0, "a bit a byte");
    let report = study.run("report");
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
}

#[test]
fn archives_of_pretrained_models_restore_every_file() {
    let study = Study::new();
    for name in ["qwen3", "gpt2"] {
        model(&study, name);
    }
    let noise: Vec<u8> =
        (0..3000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (name, bytes) in
        [("empty", &b""[..]), ("text", b"<|endoftext|> caf\xc3\xa9 \xff\0"), ("noise", &noise)]
    {
        std::fs::write(study.path(name), bytes).expect("written");
        let threads = |count: &str, line: &str| {
            let output = study.command(line).env("RAYON_NUM_THREADS", count).output();
            let output = output.expect("the program starts");
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        };
        threads("3", &format!("compress {name} -o {name}.lmz --model qwen3"));
        threads("1", &format!("decompress {name}.lmz -o {name}.out --model qwen3/"));
        assert_eq!(std::fs::read(study.path(&format!("{name}.out"))).expect("restored"), bytes);
    }
    let error = study.fails("decompress text.lmz -o x", 1);
    assert!(error.contains("pretrained model `qwen3`") && error.contains("--model"), "{error}");
    let error = study.fails("decompress text.lmz -o x --model gpt2", 1);
    assert!(error.contains("was made with model `qwen3`"), "{error}");
    assert!(!study.path("x").exists());
}

#[test]
fn broken_models_are_errors_with_hints() {
    let study = Study::new();
    let folder = model(&study, "gpt2");
    let eval = "eval --corpus markov:bytes=1K --chunk 100 --model";
    let error = study.fails(&format!("{eval} nowhere"), 1);
    assert!(error.contains("nowhere") && error.contains("hint: "), "{error}");
    let error = study.fails(&format!("{eval} gpt2/config.json"), 1);
    assert!(error.contains("hint: `--model gpt2`"), "{error}");
    std::fs::rename(folder.join("tokenizer.json"), folder.join("other.json")).expect("renamed");
    let error = study.fails(&format!("{eval} gpt2"), 1);
    assert!(error.contains("no tokenizer.json") && error.contains("hint: "), "{error}");
    std::fs::rename(folder.join("other.json"), folder.join("tokenizer.json")).expect("renamed");
    let weights = std::fs::read(folder.join("model.safetensors")).expect("there");
    std::fs::write(folder.join("model.safetensors"), &weights[..5000]).expect("written");
    let error = study.fails(&format!("{eval} gpt2"), 1);
    assert!(error.contains("model.safetensors") && error.contains("no whole"), "{error}");
    let error = study.fails("fit --size 50K --tokenizer pretrained-500", 2);
    assert!(error.contains("bpe-5000"), "{error}");
}

/// A hub of one model, as files: answers ranges, as the hub does.
#[cfg(feature = "hub")]
mod hub {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    /// What is served, what was asked for, and how many bytes of a body to send before breaking off.
    struct Hub {
        folder: PathBuf,
        asked: Mutex<Vec<String>>,
        most: AtomicUsize,
    }

    fn serve(folder: PathBuf) -> (String, Arc<Hub>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (asked, most) = (Mutex::default(), AtomicUsize::new(usize::MAX));
        let hub = Arc::new(Hub { folder, asked, most });
        let shared = Arc::clone(&hub);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.answer(&stream);
            }
        });
        (url, hub)
    }

    impl Hub {
        fn answer(&self, mut stream: &TcpStream) {
            let lines = BufReader::new(stream).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let path = head[0].split(' ').nth(1).unwrap_or_default().to_owned();
            let range = head.iter().find_map(|line| {
                let line = line.to_ascii_lowercase();
                let (start, end) = line.strip_prefix("range: bytes=")?.split_once('-')?;
                Some((start.parse::<usize>().ok()?, end.parse::<usize>().ok()))
            });
            self.asked.lock().expect("no panic").push(format!("{path} {range:?}"));
            let file = path.strip_prefix("/OWNER/tiny/resolve/main/").unwrap_or("nothing");
            let Ok(body) = std::fs::read(self.folder.join(file)) else {
                let _ = stream.write_all(
                    b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                );
                return;
            };
            let (start, end) = range.unwrap_or((0, None));
            let end = end.map_or(body.len(), |end| (end + 1).min(body.len())).max(start);
            let part = &body[start.min(body.len())..end];
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\netag: \"{file}-1\"\r\nx-repo-commit: c0ffee\r\n\
                 content-range: bytes {start}-{}/{}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                end.saturating_sub(1),
                body.len(),
                part.len()
            );
            let sent = &part[..part.len().min(self.most.load(Ordering::Relaxed))];
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent));
        }
    }

    #[test]
    fn models_are_fetched_once_resumed_and_used_offline() {
        for name in ["gpt2", "qwen3"] {
            let study = Study::new();
            let (url, hub) = serve(model(&study, name));
            let line = "eval --json --model OWNER/tiny --corpus markov:bytes=1K --chunk 100";
            let run = |offline: bool| {
                let mut command = study.command(line);
                command.env("HF_HUB_CACHE", study.path("hub")).env("HF_ENDPOINT", &url);
                command.env("HF_HUB_OFFLINE", if offline { "1" } else { "0" });
                command.output().expect("the program starts")
            };
            let error = String::from_utf8_lossy(&run(true).stderr).into_owned();
            assert!(error.contains("not in the cache") && error.contains("hint: "), "{error}");
            assert!(hub.asked.lock().expect("no panic").is_empty(), "offline asks nobody");
            // The connection breaks now and then: retries go on from where it broke.
            hub.most.store(20_000, Ordering::Relaxed);
            let output = run(false);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{error}");
            let records: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
            assert_eq!(records[0]["name"], "OWNER/tiny");
            let asked = std::mem::take(&mut *hub.asked.lock().expect("no panic"));
            assert!(
                name != "gpt2" || asked.iter().any(|it| it.ends_with("Some((20000, None))")),
                "{asked:?}"
            );
            let again = run(true);
            assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
            assert!(
                hub.asked.lock().expect("no panic").is_empty(),
                "what is there is not asked for"
            );
            let cached = study.path("hub/models--OWNER--tiny/snapshots/c0ffee/config.json");
            assert!(cached.exists(), "the layout of Python's cache");
        }
    }
}
