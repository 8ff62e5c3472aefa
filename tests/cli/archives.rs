//! `lmtrain compress` and `decompress` with runs.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::Study;

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
    let length = |name: &str| std::fs::metadata(study.path(name)).expect("there").len();
    study.succeeds("compress noise -o noise.lmz --run tiny");
    study.succeeds("compress empty -o empty.lmz --run tiny");
    let blocks = 70_000_u64.div_ceil(512 * 64);
    assert_eq!(length("noise.lmz"), length("empty.lmz") + 70_000 + 9 * blocks);
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
fn a_damaged_copy_of_weights_is_replaced_and_named() {
    let study = Study::new();
    study.fit("--steps 5");
    std::fs::write(study.path("text"), "a text").expect("written");
    study.succeeds("compress text -o first.lmz --run tiny");
    let mut copies = std::fs::read_dir(study.path("runs/weights")).expect("kept weights");
    let copy = copies.next().expect("one").expect("an entry").path();
    let good = std::fs::read(&copy).expect("there");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    std::fs::write(&copy, &flipped).expect("written");
    // The run has the same weights.
    assert_eq!(study.succeeds("decompress first.lmz -o -"), "a text");
    study.succeeds("compress text -o second.lmz --run tiny");
    assert_eq!(std::fs::read(&copy).expect("there"), good);
    std::fs::write(&copy, &flipped).expect("written");
    std::fs::remove_dir_all(study.path("runs/work/tiny")).expect("removed");
    let error = study.fails("decompress first.lmz -o back", 1);
    let name = copy.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(error.contains(&name) && error.contains("is damaged"), "{error}");
}

#[test]
fn what_is_no_archive_is_named() {
    let study = Study::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    std::fs::write(study.path("pointer.lmz"), pointer).expect("written");
    let error = study.fails("decompress pointer.lmz -o x", 1);
    assert!(error.contains("pointer.lmz") && error.contains("git lfs pull"), "{error}");
}
