//! The vocabulary's file: Hugging Face's `tokenizer.json`, as `tokenizers.Tokenizer.from_file` reads it in Python. The
//! text that it was trained on is in `model.trained_on`, which other programs ignore. A file is read only if everything
//! in it is as this program writes it, since otherwise its tokens could differ.

use std::collections::HashMap;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::alphabet::{BYTES, spell};
use super::training_text::TrainingText;
use super::vocabulary::Vocabulary;
use super::words::PATTERN;

/// Everything in the file but vocabulary, merges and training text.
fn frame() -> Value {
    let byte_level = |use_regex: bool| {
        json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
            "use_regex": use_regex,
        })
    };
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split", "pattern": { "Regex": PATTERN }, "behavior": "Isolated",
                    "invert": false,
                },
                byte_level(false),
            ],
        },
        "post_processor": null,
        "decoder": byte_level(false),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
        },
    })
}

/// The file's text.
pub(super) fn write(vocabulary: &Vocabulary, trained_on: Option<&TrainingText>) -> Vec<u8> {
    let spelt = |token| spell(vocabulary.token(token).unwrap_or_default());
    let merges: Vec<[String; 2]> =
        vocabulary.merges().iter().map(|merge| merge.map(spelt)).collect();
    let tokens = (0..vocabulary.count() as u32).map(spelt).collect();
    let mut frame = frame();
    let model = Model { frame: frame["model"].take(), trained_on, tokens: Tokens(tokens), merges };
    let file = File { frame, model };
    let mut text = serde_json::to_vec_pretty(&file).expect("maps with texts for keys");
    text.push(b'\n');
    text
}

/// The file, in its parts' usual order.
#[derive(Serialize)]
struct File<'a> {
    #[serde(flatten, serialize_with = "all_but_the_model")]
    frame: Value,
    model: Model<'a>,
}

#[derive(Serialize)]
struct Model<'a> {
    #[serde(flatten)]
    frame: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    trained_on: Option<&'a TrainingText>,
    #[serde(rename = "vocab")]
    tokens: Tokens,
    merges: Vec<[String; 2]>,
}

fn all_but_the_model<S: Serializer>(frame: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    let members = frame.as_object().into_iter().flatten().filter(|(key, _)| *key != "model");
    serializer.collect_map(members)
}

/// Tokens as a map to their numbers, in the order of these.
struct Tokens(Vec<String>);

impl Serialize for Tokens {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (number, token) in self.0.iter().enumerate() {
            map.serialize_entry(token, &number)?;
        }
        map.end()
    }
}

/// What [`write()`] wrote.
///
/// # Errors
/// A sentence on what is wrong.
pub(super) fn read(text: &[u8]) -> Result<(Vocabulary, Option<TrainingText>), String> {
    #[derive(Deserialize)]
    struct Parts {
        vocab: HashMap<String, u32>,
        merges: Vec<[String; 2]>,
        trained_on: Option<TrainingText>,
    }
    let mut file: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let model = file.get_mut("model").and_then(Value::as_object_mut).ok_or("it has no `model`")?;
    let mut parts = serde_json::Map::new();
    for name in ["vocab", "merges", "trained_on"] {
        parts.extend(model.remove(name).map(|part| (name.to_owned(), part)));
    }
    let other = frame();
    if let Some(key) = difference(&file, &other) {
        return Err(format!("its `{key}` is not what this program writes"));
    }
    let parts: Parts = serde_json::from_value(parts.into()).map_err(|error| error.to_string())?;
    let number = |token: &String| {
        parts.vocab.get(token).copied().ok_or_else(|| format!("token {token:?} is missing"))
    };
    let pair = |[left, right]: &[String; 2]| Ok([number(left)?, number(right)?]);
    let merges = parts.merges.iter().map(pair).collect::<Result<Vec<_>, String>>()?;
    let vocabulary = Vocabulary::from_merges(merges)?;
    if parts.vocab.len() != vocabulary.count() {
        let (count, merges) = (parts.vocab.len(), vocabulary.count() - BYTES);
        return Err(format!(
            "it has {count} tokens, which does not match 256 bytes and {merges} merges"
        ));
    }
    for (token, &number) in &parts.vocab {
        if vocabulary.token(number).is_none_or(|bytes| spell(bytes) != *token) {
            return Err(format!("token {number}, {token:?}, is not the result of its merge"));
        }
    }
    Ok((vocabulary, parts.trained_on))
}

/// The first member, by its path, in which two documents differ.
fn difference(left: &Value, right: &Value) -> Option<String> {
    let (Some(left), Some(right)) = (left.as_object(), right.as_object()) else {
        return (left != right).then(String::new);
    };
    left.keys().chain(right.keys()).find_map(|key| {
        let [left, right] = [left, right].map(|map| map.get(key).unwrap_or(&Value::Null));
        let inner = difference(left, right)?;
        Some(if inner.is_empty() { key.clone() } else { format!("{key}.{inner}") })
    })
}
