//! What bad input says.

use crate::{FIT, Study};

#[test]
fn errors_name_the_thing_and_the_next_command() {
    let study = Study::new();
    let cases: [(&str, i32, &[&str]); 14] = [
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
        (
            "fit --size 50K --corpus markov:bytes=200K --context 64 --name builtin-mine",
            1,
            &["`builtin-mine`", "built into the program", "hint: choose another with `--name`"],
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
