//! Byte-pair encoding, from the vocabulary to the archive.

use crate::Study;

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
        [include_str!("tokenizer.rs").as_bytes(), &[0, 255, 0xe2, 0x82], &[7; 3000]].concat();
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
