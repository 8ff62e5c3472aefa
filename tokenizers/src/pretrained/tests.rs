//! Tokenizers of every kind that models come with: lossless for any bytes, and with the crate's own tokens wherever
//! these give the text back. Hugging Face's Python package uses the same crate.

use std::sync::LazyLock;

use lmtrain_runs::testing::shared_model;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::BpeTokenizer;

/// The project's own words.
const TEXT: &str = concat!(include_str!("mod.rs"), include_str!("encode.rs"));
const HARD: [&str; 16] = [
    "",
    " ",
    "  two",
    "a<s>b</s>",
    "<|endoftext|>",
    "x <|endoftext|> <|end",
    "<0x41>",
    "▁▁ ▁a",
    "\n\n\t \r\n",
    "e\u{301}te\u{301} e\u{301}",
    "naïve Å \u{212b}",
    "日本語 🎉",
    "\0\0",
    "    deep    spaces",
    "<think>ab",
    "'s it's",
];

fn special(id: u32, content: &str, special: bool) -> Value {
    json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": !special, "special": special })
}

/// Byte-level: a vocabulary of ours, with what other models have besides.
fn byte_level(change: impl Fn(&mut Value)) -> Value {
    let trained = BpeTokenizer::train(TEXT.as_bytes(), 700).expect("long enough");
    let mut file: Value = serde_json::from_slice(&trained.to_json()).expect("JSON");
    file["added_tokens"] = json!([special(700, "<|endoftext|>", true)]);
    change(&mut file);
    file
}

/// Characters and `<0xNN>`, as Llama 2 has them.
fn characters(fallback: bool, change: impl Fn(&mut Value)) -> Value {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).into();
    tokens.extend((0..if fallback { 256 } else { 0 }).map(|byte| format!("<0x{byte:02X}>")));
    let merges = [
        ["▁", "t"],
        ["h", "e"],
        ["▁t", "he"],
        ["i", "n"],
        ["▁", "a"],
        ["▁", "▁"],
        ["o", "n"],
        ["s", ">"],
    ];
    let mut letters: Vec<char> =
        TEXT.chars().filter(|it| !it.is_whitespace()).chain(['▁']).collect();
    letters.sort_unstable();
    letters.dedup();
    tokens.extend(letters.iter().map(char::to_string));
    tokens.extend(merges.iter().map(|pair| pair.concat()));
    let vocabulary: serde_json::Map<String, Value> =
        tokens.into_iter().zip(0..).map(|(token, id)| (token, Value::from(id))).collect();
    let mut file = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0, "<unk>", true), special(1, "<s>", true), special(2, "</s>", true)],
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "▁" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "▁" } ] },
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": { "type": "BPE", "dropout": null, "unk_token": "<unk>", "fuse_unk": true,
                   "byte_fallback": fallback, "ignore_merges": false, "vocab": vocabulary, "merges": merges },
    });
    change(&mut file);
    file
}

fn metaspace(scheme: &str) -> Value {
    json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false })
}

/// Every kind, by name.
static KINDS: LazyLock<Vec<(&str, PretrainedTokenizer)>> = LazyLock::new(|| {
    let nfc = json!({ "type": "NFC" });
    let files = [
        ("byte level", byte_level(|_| {})),
        ("NFC", byte_level(|file| file["normalizer"] = nfc.clone())),
        (
            "prefix space",
            byte_level(|file| {
                file["pre_tokenizer"] = json!({ "type": "ByteLevel", "add_prefix_space": true,
 "trim_offsets": true, "use_regex": true });
            }),
        ),
        (
            "words kept whole",
            byte_level(|file| {
                file["model"]["ignore_merges"] = true.into();
                file["model"]["dropout"] = json!(0.5);
                file["truncation"] = json!({ "max_length": 3, "stride": 0, "strategy": "LongestFirst",
                                         "direction": "Right" });
            }),
        ),
        (
            "added words",
            byte_level(|file| {
                let added = [special(701, "    ", false), special(702, "<think>", false)];
                file["added_tokens"].as_array_mut().expect("a list").extend(added);
            }),
        ),
        ("lower case", byte_level(|file| file["normalizer"] = json!({ "type": "Lowercase" }))),
        ("characters", characters(true, |_| {})),
        (
            "characters, metaspace first",
            characters(true, |file| {
                file["normalizer"] = Value::Null;
                file["pre_tokenizer"] = metaspace("first");
            }),
        ),
        (
            "characters, metaspace never",
            characters(true, |file| {
                file["normalizer"] = Value::Null;
                file["pre_tokenizer"] = metaspace("never");
            }),
        ),
    ];
    let open = |(name, file): (&'static str, Value)| {
        let text = serde_json::to_vec(&file).expect("JSON");
        (name, PretrainedTokenizer::from_json(&text, name).expect("a tokenizer"))
    };
    files.into_iter().map(open).collect()
});

fn assert_lossless(name: &str, tokenizer: &PretrainedTokenizer, bytes: &[u8]) {
    let tokens = tokenizer.encode(bytes).expect("every byte is spelt");
    assert!(tokens.iter().all(|&token| tokenizer.spelling.of_text(token).is_some()), "{name}");
    assert_eq!(tokenizer.decode(&tokens).expect("its own"), bytes, "{name}");
    for cut in [tokens.len() / 3, tokens.len() / 2] {
        let parts = [tokenizer.decode(&tokens[..cut]), tokenizer.decode_rest(&tokens[cut..])];
        let parts = parts.map(|part| part.expect("its own"));
        assert!(cut == 0 || parts.concat() == bytes, "{name}: cut at token {cut}");
    }
}

#[test]
fn hard_texts_come_back_from_every_kind() {
    for (name, tokenizer) in &*KINDS {
        for text in HARD {
            assert_lossless(name, tokenizer, text.as_bytes());
        }
        assert_lossless(name, tokenizer, &TEXT.as_bytes().repeat(3));
        let every: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        assert_lossless(name, tokenizer, &every);
        assert_lossless(name, tokenizer, &[0x80; 5000]);
    }
}

#[test]
fn ordinary_text_has_the_crates_own_tokens() {
    for (name, tokenizer) in KINDS.iter().filter(|(name, _)| *name != "lower case") {
        let own = tokenizer.whole.encode_fast(TEXT, false).expect("it encodes");
        let tokens = tokenizer.encode(TEXT.as_bytes()).expect("spelt");
        assert!(tokens == own.get_ids(), "{name}: {} and {}", tokens.len(), own.len());
    }
    let prefixes = KINDS.iter().map(|(_, tokenizer)| &tokenizer.prefix[..]);
    let none = b"".as_slice();
    let expected = [none, none, b" ", none, none, none, b" ", b" ", none];
    assert_eq!(prefixes.collect::<Vec<_>>(), expected);
}

#[test]
fn what_a_normaliser_changes_costs_tokens_there_only() {
    let (_, tokenizer) = KINDS.iter().find(|(name, _)| *name == "NFC").expect("there");
    let (before, after) = (&TEXT[..2000], &TEXT[2000..4000]);
    let text = format!("{before} e\u{301} {after}");
    let plain = tokenizer.encode(format!("{before} e {after}").as_bytes()).expect("spelt");
    let tokens = tokenizer.encode(text.as_bytes()).expect("spelt");
    assert!(tokens.len() <= plain.len() + 3, "{} {}", tokens.len(), plain.len());
}

#[test]
fn a_byte_that_nothing_spells_is_named() {
    let text = serde_json::to_vec(&characters(false, |_| {})).expect("JSON");
    let tokenizer = PretrainedTokenizer::from_json(&text, "a test").expect("a tokenizer");
    assert_lossless("no fallback", &tokenizer, b"the end");
    for (bytes, byte) in [(&b"the \xff"[..], 0xff), ("the 日".as_bytes(), 0xe6), (b"a\0b", 0)] {
        let error = tokenizer.encode(bytes).expect_err("no token");
        assert!(matches!(error, TokenizerError::Unspellable { byte: it } if it == byte), "{error}");
        assert!(!tokenizer.can_spell(byte) && tokenizer.can_spell(b'e'));
    }
}

#[test]
fn files_of_other_kinds_are_refused() {
    let refuse = |change: &dyn Fn(&mut Value), why: &str| {
        let mut file = characters(true, |_| {});
        change(&mut file);
        let text = serde_json::to_vec(&file).expect("JSON");
        let error = PretrainedTokenizer::from_json(&text, "x.json").expect_err(why).to_string();
        assert!(error.contains(why) && error.contains("x.json"), "{error}");
    };
    refuse(&|file| file["model"]["type"] = "WordPiece".into(), "WordPiece");
    refuse(&|file| file["model"]["end_of_word_suffix"] = "</w>".into(), "end_of_word_suffix");
    refuse(&|file| file["model"] = Value::Null, "no `model`");
    refuse(&|file| file["model"]["merges"] = json!([["no", "pair"]]), "x.json");
    refuse(&|file| file["model"]["vocab"]["far"] = 4_000_000.into(), "4000001");
    refuse(&|file| *file = json!([]), "not a JSON object");
    assert!(PretrainedTokenizer::from_json(b"{", "x.json").is_err());
}

#[test]
fn the_code_and_the_layout_keep_the_identity() {
    let (_, tokenizer) = &KINDS[6];
    let again = PretrainedTokenizer::from_packed(tokenizer.packed(), "a code").expect("its own");
    assert_eq!(again.identity(), tokenizer.identity());
    let file = characters(true, |file| {
        file["post_processor"] = json!({ "type": "ByteLevel",
        "add_prefix_space": true, "trim_offsets": true, "use_regex": true })
    });
    let pretty = serde_json::to_vec_pretty(&file).expect("JSON");
    let pretty = PretrainedTokenizer::from_json(&pretty, "pretty").expect("a tokenizer");
    assert_eq!(pretty.identity(), tokenizer.identity());
    assert_ne!(KINDS[7].1.identity(), tokenizer.identity());
    assert!(PretrainedTokenizer::from_packed(b"nothing", "a code").is_err());
}

#[test]
fn the_shared_models_have_their_own_tokens() {
    for model in ["stories260K", "tiny-random-gpt2"] {
        let Some(folder) = shared_model(model) else { return };
        let tokenizer = PretrainedTokenizer::read(&folder.join("tokenizer.json")).expect(model);
        let text = std::fs::read(folder.join("reference.json")).expect("the reference");
        let reference: Value = serde_json::from_slice(&text).expect("JSON");
        for case in reference["cases"].as_array().expect("cases") {
            let text = case["text"].as_str().expect("a text");
            let tokens = match tokenizer.encode(text.as_bytes()) {
                // The crate drops this character without a word.
                Err(TokenizerError::Unspellable { byte: b'{' }) if text.contains('{') => continue,
                tokens => tokens.expect("spelt"),
            };
            assert_eq!(json!(tokens), case["ids"], "{model}: {text}");
            assert_lossless(model, &tokenizer, text.as_bytes());
        }
    }
}

#[test]
fn two_tokens_of_one_number_are_refused() {
    let mut file = characters(true, |_| {});
    let vocabulary = file["model"]["vocab"].as_object_mut().expect("a vocabulary");
    let mut tokens = vocabulary.iter().filter(|(text, _)| text.chars().count() == 2);
    let (first, number) = tokens.next().map(|(a, b)| (a.clone(), b.clone())).expect("a pair");
    let second = tokens.next().expect("another").0.clone();
    vocabulary[&second] = number.clone();
    let text = serde_json::to_vec(&file).expect("JSON");
    let read = PretrainedTokenizer::from_json(&text, "two").map(|_| ());
    let error = read.expect_err("refused").to_string();
    let said = [&first, &second, &number.to_string()].iter().all(|it| error.contains(it.as_str()));
    assert!(said, "{error}");
}

/// Bytes with text, special tokens, accents and noise in them.
fn mixed() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(HARD.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
        "\\PC{0,12}".prop_map(String::into_bytes),
        (0..TEXT.len()).prop_map(|at| TEXT.as_bytes()[at..TEXT.len().min(at + 40)].to_vec()),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_come_back_from_every_kind(bytes in mixed()) {
        for (name, tokenizer) in &*KINDS {
            assert_lossless(name, tokenizer, &bytes);
        }
    }

    #[test]
    fn any_tokens_decode_or_are_refused(tokens in prop::collection::vec(0_u32..1000, 0..30)) {
        for (_, tokenizer) in &*KINDS {
            let _ = (tokenizer.decode(&tokens), tokenizer.decode_rest(&tokens));
        }
    }

    #[test]
    fn damaged_files_are_errors_or_lossless(at in 0_usize..20_000, byte: u8) {
        let mut text = serde_json::to_vec(&characters(true, |_| {})).expect("JSON");
        let at = at % text.len();
        text[at] = byte;
        if let Ok(tokenizer) = PretrainedTokenizer::from_json(&text, "damaged")
            && let Ok(tokens) = tokenizer.encode(b"the end \xff")
        {
            prop_assert_eq!(tokenizer.decode(&tokens).expect("its own"), b"the end \xff");
        }
    }
}
