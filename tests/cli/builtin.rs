//! The networks that are built into the program: it compresses without a run, and nothing else is taken for them. None of
//! these tests trains, so a program without burn passes them too.

use std::path::Path;

use lmtrain_runs::builtin::{BUILTINS, default};

use crate::Study;

/// Text of the kind that the networks know.
const TEXT: &str = include_str!("../../docs/design.md");

/// A study with nothing but a text.
fn study() -> Study {
    let study = Study::new();
    std::fs::write(study.path("notes.txt"), TEXT).expect("written");
    study
}

fn read(study: &Study, name: &str) -> Vec<u8> {
    std::fs::read(study.path(name)).expect(name)
}

fn said(study: &Study, line: &str) -> String {
    let output = study.run(line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && output.stdout.is_empty(), "`lmtrain {line}`: {said}");
    said
}

#[test]
fn a_file_is_compressed_at_once_and_restored_by_any_program_that_has_the_network() {
    let study = study();
    let text = said(&study, "compress notes.txt");
    let first = text.lines().next().unwrap_or_default();
    for part in [default().name, default().trained_on, "KB", "--run", "--model"] {
        assert!(first.contains(part), "{part:?} is not in the first line of\n{text}");
    }
    assert!(text.lines().count() == 2 && text.contains("notes.txt.lmz: "), "{text}");
    let archive = read(&study, "notes.txt.lmz");
    let rate = archive.len() as f64 / TEXT.len() as f64;
    assert!(rate < 0.6, "{rate}: it knows English");
    assert!(!study.path("runs").exists(), "nothing but the archive is left behind");

    // Elsewhere, with the archive alone.
    let elsewhere = Study::new();
    std::fs::write(elsewhere.path("notes.txt.lmz"), archive).expect("written");
    let text = said(&elsewhere, "decompress notes.txt.lmz");
    assert!(text.contains("notes.txt: ") && text.contains(default().name), "{text}");
    assert_eq!(read(&elsewhere, "notes.txt"), TEXT.as_bytes());
    assert_eq!(said(&elsewhere, "compress notes.txt -o again.lmz -q"), "");
    assert_eq!(said(&elsewhere, "decompress again.lmz -o back -q"), "");
    assert_eq!(read(&elsewhere, "back"), TEXT.as_bytes());
}

#[test]
fn results_name_the_network() {
    let study = study();
    for line in [
        "compress --json notes.txt -o a.lmz",
        "decompress --json a.lmz -o back",
        "compress --json notes.txt -o a.lmz --embed-model",
        "decompress --json a.lmz -o back",
    ] {
        let summary = study.json(line);
        assert_eq!(summary["model"], default().name, "{line}");
        assert_eq!(summary["weights"], default().sha256, "{line}");
    }
    let packed = default().packed.len() as u64;
    assert!(study.path("a.lmz").metadata().expect("there").len() > packed, "it is embedded");
    assert_eq!(read(&study, "back"), TEXT.as_bytes());
}

#[test]
fn no_file_is_replaced_that_nobody_named() {
    let study = study();
    study.succeeds("compress notes.txt");
    let archive = read(&study, "notes.txt.lmz");
    std::fs::write(study.path("notes.txt"), "changed since").expect("written");
    for (line, there) in
        [("compress notes.txt", "notes.txt.lmz"), ("decompress notes.txt.lmz", "notes.txt")]
    {
        let error = study.fails(line, 1);
        assert!(error.contains(&format!("{there} exists already")), "{error}");
        assert!(error.contains(&format!("`-o {there}`")), "{error}");
    }
    assert_eq!(read(&study, "notes.txt"), b"changed since");
    assert_eq!(read(&study, "notes.txt.lmz"), archive);
    study.succeeds("decompress notes.txt.lmz -o notes.txt");
    assert_eq!(read(&study, "notes.txt"), TEXT.as_bytes());
    std::fs::rename(study.path("notes.txt.lmz"), study.path("archive")).expect("renamed");
    let error = study.fails("decompress archive", 1);
    assert!(error.contains("`.lmz`") && error.contains("`-o FILE`"), "{error}");
}

#[cfg(unix)]
#[test]
fn standard_input_goes_to_standard_output() {
    let study = study();
    study.shell("cat notes.txt | \"$LMTRAIN\" compress - -q | \"$LMTRAIN\" decompress - -q > back");
    assert_eq!(read(&study, "back"), TEXT.as_bytes());
}

#[test]
fn each_is_used_wherever_a_run_is_named() {
    let study = study();
    for builtin in BUILTINS {
        let name = builtin.name;
        study.succeeds(&format!("compress notes.txt -o a.lmz --run {name}"));
        study.succeeds(&format!("decompress a.lmz -o back --run {name}"));
        assert_eq!(read(&study, "back"), TEXT.as_bytes(), "{name}");
        let drawn =
            study.run(&format!("generate --with {name} --prompt notes.txt --bytes 5 --samples 1"));
        assert!(drawn.status.success() && drawn.stdout.len() == 5, "{drawn:?}");
        let records =
            study.json(&format!("eval --json --run {name} --corpus ./notes.txt --sample-chunks 1"));
        assert_eq!(
            (&records[0]["name"], &records[0]["weights"]),
            (&name.into(), &builtin.sha256.into())
        );
        assert!(study.path("runs/packed").join(name).join("rates.jsonl").is_file());

        // As a file it is the same network: archives made with it are restored without it.
        study.succeeds(&format!("pack {name} -o net.lmw"));
        assert!(read(&study, "net.lmw") == builtin.packed, "{name} is packed to other bytes");
        assert!(study.run(&format!("pack {name} -o -")).stdout == builtin.packed);
        study.succeeds("compress notes.txt -o net.lmz --run net.lmw");
        assert!(!study.path("runs/weights").exists(), "no copy is kept of what is built in");
        std::fs::remove_file(study.path("net.lmw")).expect("removed");
        study.succeeds("decompress net.lmz -o back");
        assert_eq!(read(&study, "back"), TEXT.as_bytes(), "{name}");
    }
}

#[test]
fn names_that_nothing_has_are_errors() {
    let study = study();
    for line in [
        "compress notes.txt -o x --run builtin-9B",
        "decompress notes.txt -o x --run builtin-9B",
        "pack builtin-9B -o x",
        "eval --corpus ./notes.txt --run builtin-9B",
        "generate --prompt notes.txt --with builtin-9B",
        "compress notes.txt -o x --run none",
    ] {
        let error = study.fails(line, 1);
        let name = line.split(' ').find(|word| ["builtin-9B", "none"].contains(word));
        let name = name.expect("each names one");
        assert!(error.contains(name) && error.contains("hint: "), "`{line}`: {error}");
        assert!(error.contains(default().name), "`{line}` lists those there are: {error}");
        assert!(!study.path("x").exists());
    }
    let error = study.fails(&format!("compress notes.txt -o x --model {}", default().name), 1);
    assert!(error.contains(&format!("--run {}", default().name)), "{error}");
}

#[test]
fn a_run_of_such_a_name_is_not_taken_for_one_nor_hidden_by_it() {
    let study = study();
    for name in [default().name, "builtin-mine"] {
        let folder = study.path("runs/work").join(name);
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(folder.join("plan.toml"), "").expect("written");
        for line in [
            format!("compress notes.txt -o x --run {name}"),
            format!("generate --prompt notes.txt --with {name}"),
            format!("pack {name} -o x"),
        ] {
            let error = study.fails(&line, 1);
            let folder = Path::new("work").join(name);
            assert!(error.contains(&folder.display().to_string()), "`{line}`: {error}");
            assert!(error.contains("another name"), "`{line}`: {error}");
        }
    }
    study.succeeds("compress notes.txt -o notes.lmz");
}

#[test]
fn an_archive_of_another_releases_network_says_what_to_do() {
    let study = study();
    let name = "builtin-of-another-release";
    study.succeeds(&format!("pack {} -o {name}.lmw --weights f16", default().name));
    study.succeeds(&format!("compress notes.txt -o notes.lmz --run {name}.lmw"));
    std::fs::remove_dir_all(study.path("runs")).expect("kept weights");
    let error = study.fails("decompress notes.lmz -o x", 1);
    for part in [name, default().name, env!("CARGO_PKG_VERSION"), "newer release", "lmtrain pack"] {
        assert!(error.contains(part), "{part:?} is not in\n{error}");
    }
    study.succeeds(&format!("decompress notes.lmz -o back --run {name}.lmw"));
    assert_eq!(read(&study, "back"), TEXT.as_bytes());
}
