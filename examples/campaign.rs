//! A campaign of damage: files that the program reads, changed at random, which must end as errors or as files that
//! work, and never in a panic.
//!
//! ```text
//! cargo run --example campaign -- [SECONDS [SEED]]
//! ```
//! It goes on for so many seconds (60) from so many cases on (0), and stops at the first panic: it says which case of
//! which kind that was, and leaves its bytes in the folder of temporary files. To add a kind, add a row to [`KINDS`].

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lmtrain_corpora::DataDirectory;
use lmtrain_engine::SavedWeights;
use lmtrain_engine::pretrained::PretrainedModel;
use lmtrain_engine::tensor_file::TensorFile;
use lmtrain_eval::archive::ArchiveReader;
use lmtrain_eval::compressors;
use lmtrain_runs::random::SplitMix64;
use lmtrain_runs::{CurveRecord, Medium, Plan, RateRecord, SampleRecord, StepRecord};
use lmtrain_tokenizers::{
    BpeTokenizer, ByteTokenizer, PretrainedTokenizer, Tokenizer, from_packed,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A kind of file: its name, good ones, and what reads one.
struct Kind {
    name: &'static str,
    seeds: fn() -> Outcome<Vec<Vec<u8>>>,
    read: fn(&[u8], &Path),
}

const KINDS: [Kind; 8] = [
    Kind { name: "archive", seeds: archives, read: restore },
    Kind { name: "weights", seeds: weights, read: load },
    Kind {
        name: "safetensors",
        seeds: || files("train/reference/pretrained", "safetensors"),
        read: model,
    },
    Kind {
        name: "config",
        seeds: || files("train/reference/pretrained", "config.json"),
        read: config,
    },
    Kind { name: "tokenizer", seeds: tokenizers, read: tokenize },
    Kind { name: "records", seeds: || files("runs/studies", "jsonl"), read: records },
    Kind { name: "plan", seeds: || files("runs/studies", "plan.toml"), read: plan },
    Kind { name: "compressed", seeds: compressed, read: unpack },
];

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse());
    let (seconds, first): (u64, u64) = (number(60)?, number(0)?);
    let folder = std::env::temp_dir().join(format!("lmtrain-campaign-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let seeds = KINDS.iter().map(|kind| (kind.seeds)()).collect::<Outcome<Vec<_>>>()?;
    for (kind, seeds) in KINDS.iter().zip(&seeds) {
        if seeds.is_empty() {
            return Err(format!("there is no {} to change", kind.name).into());
        }
    }
    let start = Instant::now();
    let mut case = first;
    while start.elapsed() < Duration::from_secs(seconds) {
        for (kind, seeds) in KINDS.iter().zip(&seeds) {
            let bytes = changed(seeds, &mut SplitMix64::stream(case, kind.name.len() as u64));
            let read = AssertUnwindSafe(|| (kind.read)(&bytes, &folder));
            if catch_unwind(read).is_err() {
                let path = folder.join(format!("panic-{}-{case}", kind.name));
                fs::write(&path, &bytes)?;
                let (name, path) = (kind.name, path.display());
                return Err(format!("case {case} of {name} panicked; it is in {path}").into());
            }
        }
        case += 1;
    }
    fs::remove_dir_all(&folder)?;
    writeln!(io::stdout(), "cases {first} to {case} of {} kinds: no panic", KINDS.len())?;
    Ok(())
}

/// One of the seeds with up to four changes.
fn changed(seeds: &[Vec<u8>], random: &mut SplitMix64) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len() as u64) as usize].clone();
    for _ in 0..=random.below(4) {
        let length = bytes.len() as u64;
        // Heads decide most, and are small: half of the changes are there.
        let within = if random.below(2) == 0 { length.min(2000) } else { length };
        let at = random.below(within.max(1)) as usize;
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next_u64() as u8,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.next_u64() as u8),
            4 => {
                let end = (at + random.below(40) as usize).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            // Numbers are where eight bytes of ones lie worst.
            _ => bytes.iter_mut().skip(at).take(8).for_each(|byte| *byte = 0xff),
        }
    }
    bytes
}

/// Files of the project below a folder, by the end of their names; of many, some.
fn files(folder: &str, end: &str) -> Outcome<Vec<Vec<u8>>> {
    fn walk(folder: &Path, end: &str, found: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                walk(&path, end, found)?;
            } else if path.to_string_lossy().ends_with(end) {
                found.push(path);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), end, &mut found)?;
    found.sort();
    found.iter().take(40).map(|path| Ok(fs::read(path)?)).collect()
}

fn archives() -> Outcome<Vec<Vec<u8>>> {
    files("tests/golden", "lmz")
}

/// Those within the archives.
fn weights() -> Outcome<Vec<Vec<u8>>> {
    let embedded = |archive: Vec<u8>| ArchiveReader::open(&archive[..]).ok()?.take_embedded();
    Ok(archives()?.into_iter().filter_map(embedded).map(|embedded| embedded.weights).collect())
}

/// Restores an archive that has its model within.
fn restore(bytes: &[u8], _: &Path) {
    let Ok(mut reader) = ArchiveReader::open(bytes) else { return };
    let Some(embedded) = reader.take_embedded() else { return };
    let name = reader.header().tokenization.clone();
    let Ok(saved) = SavedWeights::from_bytes(embedded.weights, "a campaign") else { return };
    let Ok(predictor) = saved.predictor() else { return };
    let Ok(tokenizer) = from_packed(&name, &embedded.vocabulary, "a campaign") else { return };
    let mut go_on = |_| ControlFlow::Continue(());
    let _ = reader.decompress(predictor.as_ref(), tokenizer.as_ref(), &mut io::sink(), &mut go_on);
}

/// Loads weights, whose digest mostly stops them; and what is behind it.
fn load(bytes: &[u8], _: &Path) {
    if let Ok(saved) = SavedWeights::from_bytes(bytes.to_vec(), "a campaign")
        && let Ok(predictor) = saved.predictor()
    {
        let _ = predictor.score(&[&[1, 2, 3]]);
    }
    let _ = TensorFile::from_checked(bytes);
}

/// Opens a fixture with this file in the place of one of its own.
fn with_fixture(name: &str, file: &str, bytes: &[u8], folder: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("train/reference/pretrained");
    let own = |file: &str| from.join(name).join(file);
    for beside in ["config.json", "model.safetensors"] {
        let _ = fs::copy(own(beside), folder.join(beside));
    }
    let _ = fs::copy(from.join("tokenizer.json"), folder.join("tokenizer.json"));
    if fs::write(folder.join(file), bytes).is_err() {
        return;
    }
    if let Ok(model) = PretrainedModel::open(folder) {
        use lmtrain_eval::Predictor;
        let _ = model.predictor().score(&[&[1, 2, 3]]);
    }
}

fn model(bytes: &[u8], folder: &Path) {
    with_fixture("gpt2", "model.safetensors", bytes, folder);
}

fn config(bytes: &[u8], folder: &Path) {
    with_fixture("gemma3", "config.json", bytes, folder);
}

fn tokenizers() -> Outcome<Vec<Vec<u8>>> {
    let mut seeds = files("train/reference/pretrained", "tokenizer.json")?;
    let trained = BpeTokenizer::train(include_bytes!("campaign.rs"), 300)?;
    seeds.push(trained.to_json());
    seeds.push(trained.packed().to_vec());
    Ok(seeds)
}

fn tokenize(bytes: &[u8], _: &Path) {
    let read = [
        BpeTokenizer::from_json(bytes, "a campaign").ok().map(boxed),
        BpeTokenizer::from_packed(bytes, "a campaign").ok().map(boxed),
        PretrainedTokenizer::from_json(bytes, "a campaign").ok().map(boxed),
        Some(boxed(ByteTokenizer)),
    ];
    for tokenizer in read.into_iter().flatten() {
        let tokens = tokenizer.encode(b"the one that \xff\0 is");
        let _ = tokens.map(|tokens| tokenizer.decode(&tokens));
    }
}

fn boxed(tokenizer: impl Tokenizer + 'static) -> Box<dyn Tokenizer> {
    Box::new(tokenizer)
}

fn records(bytes: &[u8], _: &Path) {
    for line in String::from_utf8_lossy(bytes).lines().take(20) {
        if let Ok(rate) = serde_json::from_str::<RateRecord>(line) {
            let _ = (rate.raw_rate(), rate.identity(), rate.raw_rate_interval());
            let _ = (rate.adjusted_rate(), rate.token_perplexity(), CurveRecord::beside(&rate));
        }
        if let Ok(sample) = serde_json::from_str::<SampleRecord>(line) {
            let _ = sample.drawn();
        }
        let _ = serde_json::from_str::<CurveRecord>(line).map(|curve| curve.rates_between());
        let _ = serde_json::from_str::<StepRecord>(line);
    }
}

fn plan(bytes: &[u8], _: &Path) {
    let _ = toml::from_str::<Plan>(&String::from_utf8_lossy(bytes));
}

fn compressed() -> Outcome<Vec<Vec<u8>>> {
    let text = include_bytes!("campaign.rs");
    let packed = ["gzip", "lzma2", "zstd", "bzip2"].map(|name| -> Outcome<Vec<u8>> {
        Ok(compressors::by_name(name)?.compress_chunk(text, Medium::Text)?)
    });
    packed.into_iter().collect()
}

fn unpack(bytes: &[u8], folder: &Path) {
    let path = folder.join("packed");
    if fs::write(&path, bytes).is_ok() {
        let data = DataDirectory::at(folder).with_cache(folder.join("cache"));
        let _ = lmtrain_corpora::open(&path.to_string_lossy(), &data);
        let _ = data.list();
        let _ = fs::remove_dir_all(folder.join("cache"));
    }
}
