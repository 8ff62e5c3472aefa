//! Records written by earlier versions can be read, and keep every key and value when they are written again. Tested on
//! one line of each kind, and on all records of the kept studies.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::record::{Kind, RateRecord, StepRecord};
use crate::{CurveRecord, SampleRecord};

const PROVENANCE: &str =
    r#""machine":"a machine, 2 cores, linux","device":"cpu","command":"lmtrain eval""#;
const EXCERPT: &str =
    r#""corpus":"notes","corpus_sha256":"21d7","medium":"text","span":{"start":0,"end":20000}"#;

/// A line read and written again, key by key; the checksum at its end belongs to the line, and not to the record.
fn again<T: DeserializeOwned + Serialize>(line: &str) -> T {
    let record: T = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let mut before = serde_json::from_str::<Value>(line).expect("JSON");
    if let Value::Object(keys) = &mut before {
        keys.remove("crc32");
    }
    assert_eq!(serde_json::to_value(&record).expect("serialises"), before);
    record
}

#[test]
fn rates_of_every_kind_keep_every_key() {
    let run = format!(
        r#"{{"name":"r","kind":"run",{EXCERPT},"chunking":{{"bytes":2048}},"sample":{{"chunks":5,"of":9,"seed":0}},
        "raw_bytes":10240,"chunks":5,"tokens":4155,"ideal_bits":23324.25,"cross_entropy_bits":23324.125,
        "bits_interval":[23137.5,23518.25],"coded_bytes":2915,"header_bytes":0,"cut_chunks":1,"mask":"shifted",
        "lost_bits":3.0,"missed_bits":2.0,"padded_bytes":2916,"in_sample_bytes":7,"size":"w96l4h3","recipe":"modern",
        "choices":{{"batch":4}},"tokenization":"bpe-1000","parameters":634476,"bytes_per_parameter":2.0,
        "weight_code":"int8-xz","weight_bytes":1268952,"tokenizer_bytes":1657,"trained_on":"wiki","tokens_trained":
        2301952,"seed":3,"weights":"2641","arithmetic":1,"seconds":4.209637337,"commit":"3f170bdb21a6",{PROVENANCE}}}"#
    );
    let run: RateRecord = again(&run);
    assert_eq!((run.kind(), run.parameters(), run.counts.chunks), (Kind::Run, Some(634_476), 5));
    assert_eq!(run.facts.run().and_then(|facts| facts.seed), Some(3));
    let compressor = format!(
        r#"{{"name":"gzip","kind":"compressor","corpus":"notes","corpus_sha256":"21d7","span":{{"start":0,"end":9}},
        "chunking":"whole","raw_bytes":9,"chunks":1,"coded_bytes":7,"header_bytes":20,"in_sample_bytes":0,"preset":
        "level 9","library":"lmtrain 0.1.0, as GNU gzip 1.12","seconds":1.5,{PROVENANCE}}}"#
    );
    let compressor: RateRecord = again(&compressor);
    assert_eq!((compressor.kind(), compressor.preset()), (Kind::Compressor, Some("level 9")));
    let model = format!(
        r#"{{"name":"M","kind":"pretrained",{EXCERPT},"chunking":{{"strided":{{"window":1024,"stride":512}}}},
        "raw_bytes":9,"chunks":1,"tokens":4,"ideal_bits":7.5,"header_bytes":0,"in_sample_bytes":0,"architecture":"Llama",
        "tokenization":"pretrained-32000","parameters":7,"bytes_per_parameter":2.0,"stored_bytes":14,"tokenizer_bytes":
        500,"weights":"feed","arithmetic":1,"seconds":0.5,{PROVENANCE}}}"#
    );
    let model: RateRecord = again(&model);
    assert_eq!((model.kind(), model.weights()), (Kind::Pretrained, Some("feed")));
    assert!(model.adjusted_rate_as_stored().is_some());
}

#[test]
fn curves_and_samples_of_every_kind_keep_every_key() {
    for by in [
        r#""kind":"run","weights":"2641""#,
        r#""kind":"pretrained","weights":"2641""#,
        r#""kind":"compressor","preset":"level 9","library":"as GNU gzip 1.12""#,
    ] {
        let kind = |kind: Kind| by.contains(&serde_json::to_string(&kind).expect("a word"));
        let curve: CurveRecord = again(&format!(
            r#"{{"name":"n",{by},{EXCERPT},"chunk_bytes":2048,"sample":{{"chunks":5,"of":9,"seed":0}},"header_bytes":2,
            "points":[{{"end":1,"raw_bytes":5,"bits":40.5,"bits_interval":[39.5,41.0]}},{{"end":2,"raw_bytes":10,
            "bits":41.0}}],"provenance":{{"commit":"3f17",{PROVENANCE}}}}}"#
        ));
        assert!(kind(curve.kind()));
        let sample: SampleRecord = again(&format!(
            r#"{{"name":"n",{by},"look_ahead":2,"corpus":"notes","chunk":7,"medium":{{"audio":{{"bits":16,"rate_hz":16000}}}},
            "stretches":[2,1],"bytes":"00ff10","truth":"aa","temperature":1.5,"seed":3,"index":1,"bits":8.25,
            "provenance":{{{PROVENANCE}}}}}"#
        ));
        assert!(kind(sample.kind()));
    }
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn the_kept_studies_are_read_whole() {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("studies"), &mut found);
    let mut lines = 0;
    for path in found {
        let is = |name: &str| path.file_name().is_some_and(|it| it == name);
        for line in fs::read_to_string(&path).unwrap_or_default().lines() {
            match () {
                () if is("rates.jsonl") => drop(again::<RateRecord>(line)),
                () if is("curves.jsonl") => drop(again::<CurveRecord>(line)),
                () if is("samples.jsonl") => drop(again::<SampleRecord>(line)),
                () if is("train.jsonl") => drop(again::<StepRecord>(line)),
                () => continue,
            }
            lines += 1;
        }
    }
    assert!(lines > 1000, "{lines} lines of records");
}

proptest! {
    /// A damaged line is an error, or a record whose rates can be asked for.
    #[test]
    fn no_damaged_line_panics(kind in 0_usize..3, at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let by = [
            r#""kind":"run","size":"200K","parameters":7,"weights":"a","tokenization":"bytes""#,
            r#""kind":"compressor","preset":"level 9","library":"a""#,
            r#""kind":"pretrained","stored_bytes":14,"tokenizer_bytes":5,"bytes_per_parameter":2.0"#,
        ][kind];
        let line = format!(
            r#"{{"name":"n",{by},{EXCERPT},"chunking":{{"bytes":2048}},"raw_bytes":9,"chunks":1,"tokens":4,
            "ideal_bits":7.5,"header_bytes":0,"lost_bits":3.0,"missed_bits":2.0,"padded_bytes":3,"in_sample_bytes":0,
            "seconds":0.5,{PROVENANCE}}}"#
        );
        prop_assert!(serde_json::from_str::<RateRecord>(&line).is_ok(), "whole, it is read");
        let mut bytes = line.into_bytes();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        // Half of the time whole.
        let length = cut.index(2 * bytes.len()).min(bytes.len());
        if let Ok(record) = serde_json::from_slice::<RateRecord>(&bytes[..length]) {
            let _ = (record.raw_rate(), record.identity(), record.rate_as_in_the_paper());
            let _ = (record.adjusted_rate(), record.adjusted_rate_as_stored(), record.method());
            let _ = CurveRecord::beside(&record);
        }
    }
}
