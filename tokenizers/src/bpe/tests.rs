//! The tokenizer as a whole, compared with the `tokenizers` crate: its encoding, its files, and that it is lossless.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::words::tests::any_bytes;
use super::*;

/// The project's own words: a text that is always there.
const TEXT: &str =
    concat!(include_str!("mod.rs"), include_str!("words.rs"), include_str!("file.rs"));

static TOKENIZER: LazyLock<BpeTokenizer> =
    LazyLock::new(|| BpeTokenizer::train(TEXT.as_bytes(), 700).expect("long enough"));

/// The same vocabulary in the hands of the crate.
static CRATES: LazyLock<tokenizers::Tokenizer> =
    LazyLock::new(|| tokenizers::Tokenizer::from_bytes(TOKENIZER.to_json()).expect("it reads"));

fn crates_tokens(text: &str) -> Vec<u32> {
    CRATES.encode_fast(text, false).expect("it encodes").get_ids().to_vec()
}

/// The head of enwik8, or nothing where there is no data and none is called for.
fn wikipedia() -> Option<Vec<u8>> {
    let root = lmtrain_runs::testing::data_directory()?;
    let path = root.join("text/enwik8-head-4154399");
    Some(std::fs::read(path).expect("the head of enwik8"))
}

#[test]
fn a_vocabulary_has_as_many_tokens_as_asked_for() {
    for count in [256, 257, 300, 1000] {
        let tokenizer = BpeTokenizer::train(TEXT.as_bytes(), count).expect("long enough");
        assert_eq!(tokenizer.tokenization(), Tokenization::Bpe(count));
        assert_eq!(
            tokenizer.decode(&tokenizer.encode(TEXT.as_bytes())).expect("its own"),
            TEXT.as_bytes()
        );
    }
    assert!(BpeTokenizer::train(TEXT.as_bytes(), 255).is_err());
    let short = BpeTokenizer::train(b"abab", 1000).map(|_| ()).expect_err("too short");
    assert!(matches!(short, TokenizerError::TooShort { bytes: 4, wanted: 1000, .. }), "{short}");
}

#[test]
fn training_is_the_same_for_any_number_of_threads() {
    let mut files = Vec::new();
    for threads in [1, 2, 5, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let trained = pool.install(|| BpeTokenizer::train(TEXT.as_bytes(), 1500));
        files.push(trained.expect("long enough").to_json());
    }
    assert!(files.iter().all(|file| *file == files[0]));
}

#[test]
fn any_bytes_can_be_trained_on() {
    let noise: Vec<u8> = (0..60_000_u64)
        .map(|index| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8 & 0x8f)
        .collect();
    let long = [&noise[..], &[0; 50_000], &[b'x'; 50_000], &[b' '; 50_000]].concat();
    let tokenizer = BpeTokenizer::train(&long, 400).expect("long enough");
    let tokens = tokenizer.encode(&long);
    assert_eq!(tokenizer.decode(&tokens).expect("its own"), long);
    assert!(tokens.len() < long.len() / 2, "{} tokens", tokens.len());
}

#[test]
fn a_file_comes_back_and_the_crate_reads_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("vocab/bpe-700.json");
    TOKENIZER.write(&path).expect("written");
    let back = BpeTokenizer::read(&path).expect("read");
    assert_eq!(back.to_json(), TOKENIZER.to_json());
    assert_eq!(back.identity(), TOKENIZER.identity());
    assert_eq!(back.trained_on(), Some(&TrainingText::of(TEXT.as_bytes())));
    assert_eq!(CRATES.get_vocab_size(true), 700);
    assert_eq!(crates_tokens(TEXT), TOKENIZER.encode(TEXT.as_bytes()));
    assert_eq!(CRATES.decode(&crates_tokens(TEXT), false).expect("decodes"), TEXT);
}

#[test]
fn the_bytes_that_count_are_enough() {
    let again = BpeTokenizer::from_packed(TOKENIZER.packed(), "a code").expect("unpacks");
    assert_eq!(again.identity(), TOKENIZER.identity());
    assert_eq!(again.encode(TEXT.as_bytes()), TOKENIZER.encode(TEXT.as_bytes()));
    assert_eq!(TOKENIZER.vocabulary_bytes(), Some(TOKENIZER.packed().len() as u64));
    let entropy_less = 2 * (700 - 256) * 10 / 8;
    assert!(TOKENIZER.packed().len() < entropy_less, "{}", TOKENIZER.packed().len());
}

#[test]
fn another_vocabulary_has_another_identity() {
    let other = BpeTokenizer::train(TEXT.as_bytes(), 699).expect("long enough");
    assert_ne!(other.identity(), TOKENIZER.identity());
    assert_eq!(other.vocabulary.merges(), &TOKENIZER.vocabulary.merges()[..699 - 256]);
}

#[test]
fn damaged_files_are_refused() {
    let good = String::from_utf8(TOKENIZER.to_json()).expect("text");
    let changes = [
        ("\"version\": \"1.0\"", "\"version\": \"2.0\"", "`version`"),
        ("\"invert\": false", "\"invert\": true", "`pre_tokenizer"),
        ("\"dropout\": null", "\"dropout\": 0.5", "`model.dropout`"),
        ("\"vocab\"", "\"vocal\"", "`model.vocal`"),
        ("\"!\": 0", "\"!\": 1", "token"),
        ("\"!\": 0", "\"no byte\": 0", "token"),
        ("\"!\": 0", "\"!\": -1", "-1"),
        ("{", "", "line"),
    ];
    for (from, to, why) in changes {
        assert!(good.contains(from), "{from}");
        let bad = good.replacen(from, to, 1);
        let error = BpeTokenizer::from_json(bad.as_bytes(), "x.json").map(|_| ()).expect_err(why);
        let message = error.to_string();
        assert!(message.starts_with("x.json") && message.contains(why), "{message}");
    }
    let missing = BpeTokenizer::read(std::path::Path::new("not/there.json")).map(|_| ());
    assert!(missing.expect_err("absent").to_string().contains("not/there.json"));
}

#[test]
fn long_texts_are_encoded_in_parallel_to_the_same_tokens() {
    let text = TEXT.repeat(1 + 2_000_000 / TEXT.len());
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    let four = rayon::ThreadPoolBuilder::new().num_threads(4).build().expect("a pool");
    let tokens = one.install(|| TOKENIZER.encode(text.as_bytes()));
    assert!(four.install(|| TOKENIZER.encode(text.as_bytes())) == tokens, "threads change tokens");
    let mut parts = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let end = TOKENIZER.boundary(text.as_bytes(), start + 100_000);
        parts.extend(TOKENIZER.encode(&text.as_bytes()[start..end]));
        start = end;
    }
    assert!(parts == tokens, "cut at boundaries, the tokens differ");
}

#[test]
fn wikipedia_is_lossless_and_as_the_crate_encodes_it() {
    let Some(text) = wikipedia() else { return };
    let tokenizer = BpeTokenizer::train(&text[..1_000_000], 1000).expect("long enough");
    let theirs = tokenizers::Tokenizer::from_bytes(tokenizer.to_json()).expect("it reads");
    let tokens = tokenizer.encode(&text);
    assert_eq!(tokenizer.decode(&tokens).expect("its own"), text);
    let whole = String::from_utf8_lossy(&text);
    let [ours, theirs] = [
        tokenizer.encode(whole.as_bytes()),
        theirs.encode_fast(&*whole, false).expect("it encodes").get_ids().to_vec(),
    ];
    assert!(ours == theirs, "ours are {}, the crate's {}", ours.len(), theirs.len());
    for chunk in text.chunks(2048) {
        let tokens = tokenizer.encode(chunk);
        assert_eq!(tokenizer.decode(&tokens).expect("its own"), chunk);
        assert!(tokens.len() < chunk.len());
    }
}

proptest! {
    #[test]
    fn every_byte_string_comes_back(bytes in any_bytes()) {
        let tokens = TOKENIZER.encode(&bytes);
        prop_assert!(tokens.len() <= bytes.len());
        prop_assert_eq!(TOKENIZER.decode(&tokens).expect("its own"), bytes);
    }

    #[test]
    fn text_is_encoded_as_the_crate_does(bytes in any_bytes()) {
        let text = String::from_utf8_lossy(&bytes);
        prop_assert_eq!(TOKENIZER.encode(text.as_bytes()), crates_tokens(&text));
    }

    #[test]
    fn cutting_at_a_boundary_changes_no_token(bytes in any_bytes(), at in 0_usize..200) {
        let cut = TOKENIZER.boundary(&bytes, at);
        prop_assert!(cut >= at.min(bytes.len()) && cut <= bytes.len());
        let parts = [TOKENIZER.encode(&bytes[..cut]), TOKENIZER.encode(&bytes[cut..])];
        prop_assert_eq!(parts.concat(), TOKENIZER.encode(&bytes));
    }

    #[test]
    fn damaged_json_never_panics(at in any::<prop::sample::Index>(), byte: u8) {
        let mut text = TOKENIZER.to_json();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(tokenizer) = BpeTokenizer::from_json(&text, "x") {
            prop_assert_eq!(tokenizer.decode(&tokenizer.encode(TEXT.as_bytes())).expect("its own"), TEXT.as_bytes());
        }
    }
}
