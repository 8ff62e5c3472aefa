//! Damage in what was written is noticed, bit by bit; what older versions wrote without a digest is read.

use std::path::Path;

use crate::{FIT, Study};

/// Copies a file with one bit of a byte flipped to where `to` is.
fn flip(good: &[u8], place: usize, to: &Path) {
    let mut bad = good.to_vec();
    bad[place] ^= 1;
    std::fs::write(to, bad).expect("written");
}

/// Places in a file: some of its head, and of every part of the rest.
fn places(length: usize) -> impl Iterator<Item = usize> {
    let rest = (1..=8).map(move |part| length * part / 8 - 1);
    [0, 8, 40, 90, 200, 900].into_iter().chain(rest)
}

/// A file of tensors as older versions wrote it.
fn without_digest(path: &Path) {
    let bytes = std::fs::read(path).expect("there");
    let (length, rest) = bytes.split_first_chunk().expect("a length");
    let (header, numbers) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut header: serde_json::Value = serde_json::from_slice(header).expect("a header");
    let metadata = header["__metadata__"]["lmtrain"].as_str().expect("a text");
    let begin = metadata.find("\"sha256\"").expect("a digest");
    let end = begin + metadata[begin..].find(',').expect("more behind it") + 1;
    let older = format!("{}{}", &metadata[..begin], &metadata[end..]);
    header["__metadata__"]["lmtrain"] = older.into();
    let mut text = header.to_string();
    text += &" ".repeat(text.len().next_multiple_of(8) - text.len());
    let length = (text.len() as u64).to_le_bytes();
    std::fs::write(path, [&length, text.as_bytes(), numbers].concat()).expect("written");
}

#[test]
fn a_flipped_bit_of_weights_or_checkpoint_is_an_error() {
    let study = Study::new();
    study.fit("--steps 4");
    let run = study.path("runs/work/tiny");
    let [weights, checkpoint] =
        ["weights.safetensors", "checkpoint/last.safetensors"].map(|file| run.join(file));
    let [good_weights, good_checkpoint] =
        [&weights, &checkpoint].map(|file| std::fs::read(file).expect("there"));
    std::fs::write(study.path("text"), "a text").expect("written");
    for place in places(good_weights.len()) {
        flip(&good_weights, place, &weights);
        for line in [
            "eval --run tiny --corpus markov:bytes=2K --chunk 64",
            "compress text -o text.lmz --run tiny",
        ] {
            let error = study.fails(line, 1);
            assert!(error.contains("weights.safetensors"), "byte {place}: {error}");
        }
    }
    std::fs::write(&weights, &good_weights).expect("written");
    for place in places(good_checkpoint.len()) {
        flip(&good_checkpoint, place, &checkpoint);
        let error = study.fails(&format!("fit {FIT} --steps 4 --resume"), 1);
        let says = error.contains("last.safetensors is damaged");
        assert!(says, "byte {place}: {error}");
    }
    std::fs::write(&checkpoint, &good_checkpoint).expect("written");
    study.succeeds(&format!("fit {FIT} --steps 4 --resume"));
}

#[test]
fn files_of_older_versions_are_read_with_a_line_that_says_so() {
    let study = Study::new();
    study.fit("--steps 4");
    let line = "eval --json --run tiny --corpus markov:bytes=9K --chunk 64";
    let resume = format!("fit {FIT} --steps 4 --resume");
    let note = |line: &str| {
        let output = study.run(line);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {error}");
        error.matches("without a digest").count()
    };
    assert_eq!([note(line), note(&resume)], [0, 0], "these have one");
    std::fs::write(study.path("text"), "a text").expect("written");
    let run = study.path("runs/work/tiny");
    // An archive of before, which stays readable whatever becomes of its weights.
    for file in ["weights.safetensors", "checkpoint/last.safetensors"] {
        without_digest(&run.join(file));
    }
    assert_eq!([note(line), note(&resume)], [1, 1]);
    assert_eq!(note(&format!("{line} -q")), 0, "quiet is quiet");
    assert_eq!(note("compress text -o text.lmz --run tiny"), 1);
    assert_eq!(note("decompress text.lmz -o back"), 0, "the archive vouches for its weights");
    assert_eq!(std::fs::read(study.path("back")).expect("there"), b"a text");
}

#[test]
fn a_flipped_bit_of_a_record_is_an_error() {
    let study = Study::new();
    study.fit("--steps 4");
    let line = "eval --json --run tiny --corpus markov:bytes=2K --chunk 64";
    let records = study.json(line);
    let run = study.path("runs/work/tiny");
    let journal = std::fs::read_dir(run.join("chunks")).expect("there").next().expect("one");
    let journal = journal.expect("one").path();
    for (file, line, forgotten) in [
        (run.join("rates.jsonl"), line, None),
        (run.join("train.jsonl"), "report -o out", None),
        // Without its record, a measurement is made again from the journal.
        (journal, line, Some(run.join("rates.jsonl"))),
    ] {
        let good = std::fs::read(&file).expect("there");
        if let Some(record) = forgotten {
            std::fs::remove_file(record).expect("removed");
        }
        // Each digit of a number is another digit after it: no parser would notice.
        let digits = (0..good.len()).filter(|&place| good[place].is_ascii_digit());
        let digits: Vec<usize> = digits.collect();
        assert!(digits.len() > 20, "{}", file.display());
        for &place in digits.iter().step_by(digits.len() / 10) {
            flip(&good, place, &file);
            let error = study.fails(line, 1);
            let name = file.file_name().expect("a name").to_string_lossy();
            assert!(error.contains(&*name) && error.contains("damaged"), "byte {place}: {error}");
        }
        std::fs::write(&file, good).expect("written");
    }
    let again = study.json(line);
    assert_eq!(again[0]["ideal_bits"], records[0]["ideal_bits"], "from the journal");
}

#[test]
fn lines_of_older_versions_are_read() {
    let study = Study::new();
    study.fit("--steps 4");
    let line = "eval --json --run tiny --corpus markov:bytes=2K --chunk 64";
    let records = study.json(line);
    let run = study.path("runs/work/tiny");
    let journal = std::fs::read_dir(run.join("chunks")).expect("there").next().expect("one");
    for file in ["rates.jsonl", "train.jsonl"]
        .map(|file| run.join(file))
        .into_iter()
        .chain([journal.expect("one").path()])
    {
        let text = std::fs::read_to_string(&file).expect("there");
        let older = text.lines().map(|line| {
            let (body, checksum) = line.rsplit_once(",\"crc32\":").expect("a checksum");
            assert_eq!(checksum.len(), 11, "{checksum}");
            format!("{body}}}\n")
        });
        std::fs::write(&file, older.collect::<String>()).expect("written");
    }
    assert_eq!(study.json(line), records);
    study.succeeds("report -o out");
    std::fs::remove_file(run.join("rates.jsonl")).expect("removed");
    let output = study.run(line);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.contains("without a digest"), "{error}");
}
