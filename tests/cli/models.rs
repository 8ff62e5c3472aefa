//! Pretrained models: measured, in archives, broken, from the hub.

use std::path::{Path, PathBuf};

use crate::Study;

/// A pretrained model of random weights: the fixture that the loader is tested with.
pub(crate) fn model(study: &Study, name: &str) -> PathBuf {
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
    let bits = number(gpt2, "cross_entropy_bits") / number(gpt2, "tokens");
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
fn pretrained_models_are_measured_with_fewer_bits() {
    let study = Study::new();
    model(&study, "qwen3");
    let line = "eval --json --model qwen3 --corpus markov:bytes=3K --chunk 100 --weight-codes";
    let records = study.json(&format!("{line} f16,int8,int4"));
    let [f16, int8, int4] = records.as_array().expect("records").as_slice() else {
        panic!("three")
    };
    let number = |record: &serde_json::Value, key: &str| record[key].as_f64().expect("a number");
    assert!(f16["weight_code"].is_null() && f16["adjusted_rate_as_stored"].is_number());
    for (record, code) in [(int8, "int8"), (int4, "int4")] {
        assert_eq!(record["weight_code"], code);
        assert!(record["adjusted_rate_as_stored"].is_null(), "it has other weights");
        let model = number(record, "weight_bytes") + number(record, "tokenizer_bytes");
        let adjusted = number(record, "raw_rate") + model / number(record, "raw_bytes");
        assert!((number(record, "adjusted_rate") / adjusted - 1.0).abs() < 1e-12);
        assert!(number(record, "coded_bytes") > 0.0, "it codes");
    }
    assert!(number(int4, "weight_bytes") < number(int8, "weight_bytes"));
    let again = study.json(&format!("{line} int8,int4"));
    assert_eq!((&again[0], &again[1]), (int8, int4), "recorded already");
    let table = study.succeeds(&line.replace("--json ", "").replace("codes", "codes int8"));
    assert!(table.contains("qwen3 (int8)"), "{table}");
    let error = study.fails(&format!("{line} f32"), 1);
    assert!(error.contains("f32") && error.contains("hint:"), "{error}");
    study.succeeds("report");
}

#[test]
fn windows_that_overlap_are_measured() {
    let study = Study::new();
    model(&study, "gemma2");
    let rate = |line: &str| {
        let records =
            study.json(&format!("eval --json --model gemma2 --corpus markov:bytes=900 {line}"));
        let record = records[0].clone();
        assert_eq!((&record["raw_bytes"], &record["tokens"]), (&900.into(), &900.into()), "{line}");
        record
    };
    let strided = rate("--stride 40");
    // The model's context is 128 tokens: one window, and 20 more strides.
    assert_eq!(strided["chunking"], serde_json::json!({"strided": {"window": 128, "stride": 40}}));
    assert_eq!(
        (&strided["chunks"], &strided["coded_bytes"]),
        (&21.into(), &serde_json::Value::Null)
    );
    // Windows that do not overlap are chunks of tokens.
    let [apart, chunks] = ["--chunk 60 --stride 60", "--chunk 60tokens --ideal"].map(rate);
    assert_eq!(apart["cross_entropy_bits"], chunks["cross_entropy_bits"]);
    assert_eq!(rate("--stride 40"), strided, "recorded already");
    for (line, why) in [
        ("--stride 129", "the stride must be from 1 to the window's length"),
        ("--chunk 129 --stride 4", "longer than the network's context"),
        ("--stride 4 --sample-chunks 3", "leave out `--stride` or `--sample-chunks`"),
    ] {
        let line = format!("eval --model gemma2 --corpus markov:bytes=900 {line}");
        let error = study.fails(&line, 1);
        assert!(error.contains(why), "{line}: {error}");
    }
    assert!(study.run("report").status.success());
}

#[test]
fn all_that_is_wrong_with_a_model_is_named_at_once() {
    let study = Study::new();
    let folder = model(&study, "olmo2");
    std::fs::remove_file(folder.join("tokenizer.json")).expect("there");
    std::fs::rename(folder.join("model.safetensors"), folder.join("pytorch_model.bin"))
        .expect("renamed");
    let error = study.fails("eval --model olmo2 --corpus markov:bytes=900", 1);
    for part in ["2 things are wrong", "pytorch_model.bin", "save_pretrained", "tokenizer.json"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let file = study.path("small.gguf");
    std::fs::write(&file, "GGUF").expect("written");
    let error = study.fails("eval --model small.gguf --corpus markov:bytes=900", 1);
    assert!(error.contains("GGUF files are not supported"), "{error}");
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
    assert!(error.contains("model.safetensors") && error.contains("not a complete"), "{error}");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    for file in ["model.safetensors", "tokenizer.json", "config.json"] {
        std::fs::write(folder.join(file), pointer).expect("written");
        let error = study.fails(&format!("{eval} gpt2"), 1);
        assert!(error.contains(file) && error.contains("`git lfs pull`"), "{error}");
    }
    let folder = model(&study, "qwen3");
    let config = std::fs::read_to_string(folder.join("config.json")).expect("there");
    for other in ["\"vocab_size\": 250", "\"vocab_size\": 300"] {
        let changed = config.replace("\"vocab_size\": 260", other);
        std::fs::write(folder.join("config.json"), changed).expect("written");
        let error = study.fails(&format!("{eval} qwen3"), 1);
        assert!(error.contains(&other[14..]) && error.contains("260"), "{error}");
    }
    let error = study.fails("fit --size 50K --tokenizer pretrained-500", 2);
    assert!(error.contains("bpe-5000"), "{error}");
}

/// A hub of one model, as files: answers ranges, as the hub does.
#[cfg(feature = "hub")]
mod hub {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
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
