//! What corpora are: by their first bytes, by their own names, and as they are if it is insisted on.

use lmtrain_eval::compressors;
use lmtrain_runs::Medium;

use crate::Study;

fn packed(name: &str, content: &[u8]) -> Vec<u8> {
    compressors::by_name(name)
        .expect("known")
        .compress_chunk(content, Medium::Bytes)
        .expect("packs")
}

#[test]
fn compressed_files_are_known_by_their_first_bytes() {
    let study = Study::new();
    let text = "Measured is what is in a file. ".repeat(300).into_bytes();
    let (gzip, xz) = (packed("gzip", &text), packed("lzma2", &text));
    let padded = [&gzip[..], &[0; 512]].concat();
    for (file, content, name) in [
        ("UP.GZ", &gzip, "UP"),
        ("without-suffix", &gzip, "without-suffix"),
        ("misnamed.gz", &xz, "misnamed"),
        ("padded.gz", &padded, "padded"),
    ] {
        std::fs::write(study.path(file), content).expect("written");
        let records = study.json(&format!("eval --json --compressor gzip --corpus ./{file}"));
        assert_eq!(records[0]["raw_bytes"], text.len(), "{file}");
        assert_eq!(records[0]["corpus"], name);
        let raw = study.json(&format!("eval --json --compressor gzip --corpus raw:./{file}"));
        assert_eq!(raw[0]["raw_bytes"], content.len(), "{file}, as it is");
        assert_eq!(raw[0]["corpus"], format!("raw:{file}"));
    }
    std::fs::write(study.path("signed.gz"), [&gzip[..], b"signature"].concat()).expect("written");
    let error = study.fails("eval --compressor gzip --corpus ./signed.gz", 1);
    assert!(error.contains("9 bytes of something else: 73 69 67"), "{error}");
}

#[test]
fn other_containers_are_refused_by_every_command_and_taken_as_they_are() {
    let study = Study::new();
    let archive = [&b"7z\xbc\xaf\x27\x1c\0\x04"[..], &[7; 4000]].concat();
    std::fs::write(study.path("a.bin"), archive).expect("written");
    for command in [
        "fit --size 50K --context 64 --batch 2 --steps 2 --name seven --corpus",
        "eval --compressor gzip --corpus",
        "tokenizer --vocab 300 --corpus",
        "sweep --size 50K --tokens 1K --corpus",
        "data verify",
    ] {
        let error = study.fails(&format!("{command} ./a.bin"), 1);
        assert!(error.contains("a 7z archive") && error.contains("raw:./a.bin"), "{error}");
    }
    study.fit("--steps 2");
    study.succeeds(
        "fit --size 50K --context 64 --batch 2 --steps 2 --name seven --corpus raw:./a.bin",
    );
    let records = study.json("eval --json --run tiny --corpus raw:./a.bin,raw:a.bin --chunk 64");
    assert_eq!(records.as_array().map(Vec::len), Some(2));
    assert_eq!(records[1]["raw_bytes"], 4008);
    study.succeeds("data verify raw:./a.bin");
}

#[test]
fn texts_of_one_content_keep_their_names() {
    let study = Study::new();
    study.fit("--steps 2");
    for name in ["one.txt", "two.txt"] {
        std::fs::write(study.path(name), "the same ".repeat(200)).expect("written");
    }
    let line = "eval --json --run tiny --compressor gzip --chunk 64 --corpus ./one.txt,./two.txt";
    for _ in 0..2 {
        let records = study.json(line);
        let names: Vec<_> =
            records.as_array().expect("records").iter().map(|it| &it["corpus"]).collect();
        assert_eq!(names, ["one", "one", "one", "two", "two", "two"], "measured and read again");
    }
    let recorded = std::fs::read_to_string(study.path("runs/work/tiny/rates.jsonl"));
    assert_eq!(recorded.expect("records").lines().count(), 2, "each is recorded once");
}

#[test]
fn pointers_of_git_lfs_are_named_wherever_a_file_should_be() {
    let study = Study::new();
    study.fit("--steps 2");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    let eval = "eval --run tiny --corpus markov:bytes=1K --chunk 64";
    for file in ["rates.jsonl", "weights.safetensors", "plan.toml"] {
        std::fs::write(study.path("runs/work/tiny").join(file), pointer).expect("written");
        let error = study.fails(eval, 1);
        assert!(error.contains(file) && error.contains("`git lfs pull`"), "{error}");
    }
    std::fs::write(study.path("corpus.txt"), pointer).expect("written");
    let error = study.fails("eval --compressor gzip --corpus ./corpus.txt", 1);
    assert!(error.contains("corpus.txt") && error.contains("`git lfs pull`"), "{error}");
}
