//! Images and sounds as corpora, mixtures, and the paper's masks.

use crate::Study;

/// A study with six pictures of four patches each, four sounds of four chunks each, and a text.
pub(crate) fn study() -> Study {
    let study = Study::new();
    for folder in ["data/images/pictures", "data/audio/speech/reader", "data/text"] {
        std::fs::create_dir_all(study.path(folder)).expect("made");
    }
    for index in 0..6_u32 {
        let pixel = |at: u32| (at % 128 / 2 + at / 128 + 20 * index) as u8;
        let pixels: Vec<u8> = (0..128 * 64).map(pixel).collect();
        let file = [&b"P5 128 64 255\n"[..], &pixels].concat();
        std::fs::write(study.path(&format!("data/images/pictures/{index}.pgm")), file)
            .expect("written");
    }
    for index in 0..4 {
        let sample = |at: i32| ((at * (index + 1) % 200 - 100) * 100) as i16;
        let data: Vec<u8> = (0..8500).flat_map(|at| sample(at).to_le_bytes()).collect();
        let file = study.path(&format!("data/audio/speech/reader/{index}.wav"));
        std::fs::write(file, wav(&data)).expect("written");
    }
    let text = "A quick brown fox and a lazy dog, caf\u{e9}.\n".repeat(2000);
    std::fs::write(study.path("data/text/notes.txt"), text).expect("written");
    study
}

/// A WAV file of 16-bit samples, one channel, 16 kHz.
fn wav(data: &[u8]) -> Vec<u8> {
    let number = |value: usize| (value as u32).to_le_bytes();
    let format = [1, 0, 1, 0, 0x80, 0x3e, 0, 0, 0, 0x7d, 0, 0, 2, 0, 16, 0];
    let head: [&[u8]; 6] =
        [b"RIFF", &number(36 + data.len()), b"WAVEfmt ", &number(16), &format, b"data"];
    [&head.concat()[..], &number(data.len()), data].concat()
}

fn number(record: &serde_json::Value, key: &str) -> f64 {
    record[key].as_f64().unwrap_or_else(|| panic!("{key} in {record}"))
}

#[test]
fn every_compressor_measures_every_medium() {
    let study = study();
    let all = &lmtrain_eval::compressors::COMPRESSORS;
    let names: Vec<_> = all.iter().map(|it| it.name).collect();
    let corpora = ["pictures", "speech:bits=16", "notes"];
    let line =
        format!("eval --json --compressor {} --corpus {}", names.join(","), corpora.join(","));
    let records = study.json(&line);
    let records = records.as_array().expect("records");
    let whole = all.iter().filter(|it| it.takes_wholes).count();
    assert!(0 < whole && whole < names.len());
    assert_eq!(records.len(), (names.len() + whole) * corpora.len(), "chunks, and whole");
    for record in records {
        let [coded, header, raw] =
            ["coded_bytes", "header_bytes", "raw_bytes"].map(|key| number(record, key));
        assert!(0.0 < header && header <= coded && coded < raw, "{record}");
        let library = record["library"].as_str().expect("named");
        assert!(library.contains(|it: char| it.is_ascii_digit()), "{library}");
    }
    let of = |name: &str, corpus: &str| {
        let is_it = |it: &&serde_json::Value| {
            it["name"] == name && it["corpus"] == corpus && it["chunking"] != "whole"
        };
        records.iter().find(is_it).expect("a record")
    };
    let rate = |name, corpus| number(of(name, corpus), "coded_bytes");
    assert_ne!(rate("png", "pictures"), rate("png-32x64", "pictures"), "rows are 64 wide");
    let preset = of("png-32x64", "notes")["preset"].as_str().expect("a preset");
    assert!(preset.contains("32 wide and 64 high"), "{preset}");
    assert_eq!(study.json(&line).as_array().expect("records"), records, "none is measured twice");
}

#[test]
fn compressors_measure_images_and_sounds() {
    let study = study();
    let records = study.json(
        "eval --json --compressor gzip --corpus pictures,speech:bits=16,images/pictures:chunks=5",
    );
    let records = records.as_array().expect("records");
    let facts: Vec<_> = records
        .iter()
        .map(|it| (it["corpus"].as_str().expect("a name"), number(it, "raw_bytes")))
        .collect();
    let [whole, part] = [6.0 * 4.0 * 2048.0, 5.0 * 2048.0];
    let sounds = 4.0 * 8.0 * 2048.0;
    assert_eq!(
        facts,
        [
            ("pictures", whole),
            ("pictures", whole),
            ("speech:bits=16", sounds),
            ("speech:bits=16", sounds),
            ("pictures:chunks=5", part),
            ("pictures:chunks=5", part),
        ]
    );
    assert_eq!(records[0]["medium"]["gray-images"]["width"], 64);
    assert_eq!(records[2]["medium"]["audio"]["bits"], 16);
    let test = study.json("eval --json --compressor gzip --corpus pictures --part test");
    let (start, end) = (&test[0]["span"]["start"], &test[0]["span"]["end"]);
    assert_eq!((start, end), (&(5 * 4 * 2048).into(), &(6 * 4 * 2048).into()), "the last file");
    let error = study.fails("eval --compressor gzip --corpus pictures --chunk 512", 1);
    assert!(error.contains("`pictures` (grey images, 64 × 32) is always 2048 bytes"), "{error}");
    assert!(error.contains("512 bytes") && error.contains("hint: leave it out"), "{error}");
    let list = study.succeeds("data list");
    assert!(list.contains("6 files, 24 chunks") && list.contains("4 files, not decoded"), "{list}");
    assert!(list.contains("grey images, 64 × 32"), "{list}");
    study.fails("eval --compressor gzip --corpus speech --chunk 2048tokens", 1);
    let listed = study.json("data list --json");
    let pictures = listed.as_array().expect("a list").iter().find(|it| it["name"] == "pictures");
    let pictures = pictures.expect("listed");
    assert_eq!((&pictures["files"], &pictures["holds"]), (&6.into(), &"images".into()));
}

#[test]
fn what_does_not_decode_is_told_or_an_error() {
    let study = study();
    let folder = study.path("data/images/pictures");
    std::fs::write(folder.join("broken.png"), b"\x89PNG\r\n\x1a\ncut").expect("written");
    std::fs::write(folder.join("text.jpg"), b"once upon a time").expect("written");
    std::fs::write(folder.join("small.pgm"), b"P5 2 1 255\n\0\0").expect("written");
    let line = "eval --compressor gzip --corpus pictures";
    for _ in 0..2 {
        let output = study.run(line);
        assert!(output.status.success());
        let told = String::from_utf8_lossy(&output.stderr);
        for part in [
            "pictures: 2 images of 9 left out, not decodable: broken.png (",
            "text.jpg (",
            "pictures: 1 image left out, smaller than a patch of 64 × 32: small.pgm (2 × 1)",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
    let output = study.run("data verify pictures");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("pictures: 2 images of 9 left out"), "{told}");
    let error = study.fails(&format!("{line} --strict"), 1);
    assert!(error.contains("2 files of `pictures` do not decode: broken.png"), "{error}");
    assert!(error.contains("hint: leave out `--strict`"), "{error}");
    study.fails("data verify pictures --strict", 1);
    study.fails("fit --size 50K --corpus pictures --steps 1 --strict", 1);
    std::fs::create_dir_all(study.path("data/audio/none")).expect("made");
    std::fs::write(study.path("data/audio/none/a.txt"), b"").expect("written");
    let error = study.fails("eval --compressor gzip --corpus none", 1);
    assert!(error.contains("FLAC, WAV, MP3, Ogg Vorbis"), "{error}");
    let error = study.fails("eval --compressor gzip --corpus pictures:bits=16", 1);
    assert!(error.contains("it holds images, but the options are for sounds"), "{error}");
}

#[test]
fn mixtures_train_and_are_measured_part_by_part() {
    let study = study();
    let line =
        "fit --json --size 50K --batch 2 --steps 3 --corpus notes:2+images/pictures:1+speech:1";
    let fitted = study.json(line);
    let name = fitted[0]["name"].as_str().expect("a name").to_owned();
    assert_eq!(name, "50K-bytes-modern-mix-notes=2-pictures=1-speech=1-3steps-s0");
    let plan = std::fs::read_to_string(study.path(&format!("runs/work/{name}/plan.toml")));
    let plan: toml::Table = plan.expect("there").parse().expect("a plan");
    assert_eq!(plan["corpus"].as_str(), Some("notes:2+pictures:1+speech:1"));
    let parts = plan["parts"].as_array().expect("parts");
    let facts = |part: &toml::Value| {
        let train = &part["train"];
        (part["bytes"].as_integer(), train["end"].as_integer(), part["weight"].as_float())
    };
    // Four of six pictures, two of four sounds: one file at least is left for each other part.
    assert_eq!(facts(&parts[1]), (Some(24 * 2048), Some(16 * 2048), Some(1.0)));
    assert_eq!(facts(&parts[2]), (Some(16 * 2048), Some(8 * 2048), Some(1.0)));

    let records = study.json(&format!("eval --json --run {name}"));
    let records = records.as_array().expect("records");
    let corpora: Vec<_> = records.iter().map(|it| it["corpus"].as_str().expect("one")).collect();
    assert_eq!(corpora, ["notes", "pictures", "speech"]);
    assert!(records.iter().all(|it| number(it, "in_sample_bytes") == 0.0));
    let line = format!("eval --json --run {name} --corpus pictures,speech");
    for (record, share) in study.json(&line).as_array().expect("two").iter().zip([4.0 / 6.0, 0.5]) {
        let measured = number(record, "in_sample_bytes") / number(record, "raw_bytes");
        assert!((measured - share).abs() < 1e-6, "{measured}, {share}: {record}");
    }
    let again = "fit --json --size 50K --batch 2 --steps 3 --corpus notes:2+pictures:1+speech:1 --name again";
    // The same seed and steps see the same sequences, whatever the parts are called by.
    let loss = |name: &str| {
        let path = study.path(&format!("runs/work/{name}/train.jsonl"));
        let lines = std::fs::read_to_string(path).expect("there");
        let read = |line| serde_json::from_str::<serde_json::Value>(line).expect("a record");
        lines.lines().map(|line| read(line)["train_nats_per_token"].clone()).collect::<Vec<_>>()
    };
    study.json(again);
    assert_eq!(loss("again"), loss(&name));
    study.succeeds("fit --resume --name again");
    let error = study.fails("fit --resume --name again --corpus notes:2+pictures:2+speech:1", 1);
    let there = "corpus: `notes:2+pictures:1+speech:1` of";
    assert!(error.contains("started with another plan") && error.contains(there), "{error}");
    let other = study.json("fit --json --dry-run --size 50K --steps 3 --corpus notes+pictures");
    assert_eq!(other[0]["plan"]["parts"][0]["weight"], serde_json::Value::Null);
}

#[test]
fn what_cannot_be_mixed_says_why() {
    let study = study();
    for (line, parts) in [
        ("--corpus pictures --context 512", ["is one chunk of 2048 bytes", "hint: leave it out"]),
        ("--corpus pictures --tokenizer bpe-300", ["would straddle", "--tokenizer bytes"]),
        ("--corpus notes+source --tokenizer bpe-300", ["is a mixture", "--tokenizer bytes"]),
        ("--corpus notes+nowhere", ["`nowhere` was not found", "hint: "]),
        ("--corpus notes:1+source", ["some parts have a weight", "hint: "]),
        ("--corpus notes+random:bytes=100", ["`random:bytes=100` is too short", "hint: "]),
    ] {
        let error = study.fails(&format!("fit --size 50K --steps 1 {line}"), 1);
        for part in parts {
            assert!(error.contains(part), "{line}:\n{error}");
        }
    }
    let error = study.fails("eval --compressor gzip --corpus notes+source", 1);
    assert!(error.contains("only `lmtrain fit` takes a mixture"), "{error}");
}

#[test]
fn the_papers_masks_are_for_runs_too() {
    let study = study();
    study.succeeds("fit --size 50K --batch 2 --steps 3 --corpus notes --name run");
    let line = "eval --json --run run --corpus pictures,notes --sample-chunks 8 --ideal";
    let plain = study.json(line);
    let masked = study.json(&format!("{line} --protocol paper"));
    let [pictures, notes] = masked.as_array().expect("two").as_slice() else { panic!("two") };
    assert_eq!((&pictures["mask"], &notes["mask"]), (&"shifted".into(), &"cleared".into()));
    let raw = number(pictures, "raw_bytes");
    assert_eq!((number(pictures, "lost_bits"), number(pictures, "missed_bits")), (raw, raw));
    assert!(number(notes, "missed_bits") > 0.0);
    assert!(number(notes, "missed_bits") < number(notes, "lost_bits"), "a letter in 41 has marks");
    for record in [pictures, notes] {
        let [raw, ideal, lost, missed, padded] =
            ["raw_bytes", "ideal_bits", "lost_bits", "missed_bits", "padded_bytes"]
                .map(|key| number(record, key));
        let rate = (ideal + lost) / (8.0 * raw);
        assert!((number(record, "raw_rate") / rate - 1.0).abs() < 1e-9);
        let scaled = padded / raw * 8.0 * raw / (8.0 * raw - missed);
        assert!((number(record, "rate_as_in_the_paper") / scaled - 1.0).abs() < 1e-9);
        assert!((0.0..=8.0 * 8.0).contains(&(8.0 * padded - ideal)), "8 chunks, each rounded up");
    }
    assert!(plain[0].get("mask").is_none() && plain[0].get("rate_as_in_the_paper").is_none());
    assert_ne!(plain[0]["ideal_bits"], pictures["ideal_bits"]);
    assert_eq!(study.json(line), plain, "another measurement, which is kept as it was");
    let table = study.succeeds(&format!("{} --protocol paper", line.replace("--json ", "")));
    assert!(table.contains("scaled as in the paper") && table.contains("shifted"), "{table}");
    study.succeeds("report");
}
