//! The file `tokenizer.json` as a JSON document: its checks, the parts that are removed, the variant for encoding in
//! the middle of a text, its identity and its compressed form.

use std::io::{Read, Write};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use xz2::read::XzDecoder;
use xz2::write::XzEncoder;

/// LZMA2 preset of the code; the higher ones gain little here and take several times as long.
const PRESET: u32 = 6;
/// Most bytes of a file: the largest known have some 35 MB.
const MOST_BYTES: u64 = 256 << 20;
/// Members that do not decide the tokens of bytes: special tokens around a text, and lengths.
const BESIDE: [&str; 3] = ["post_processor", "truncation", "padding"];

/// A file of byte-pair encoding.
#[derive(Clone)]
pub(super) struct Document(Value);

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// A sentence on what is wrong.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let mut value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let file = value.as_object_mut().ok_or("it is not a JSON object")?;
        BESIDE.iter().for_each(|member| drop(file.insert((*member).to_owned(), Value::Null)));
        let model = file.get_mut("model").and_then(Value::as_object_mut);
        let model = model.ok_or("it has no `model`")?;
        match model.get("type").and_then(Value::as_str) {
            // Old files name no type.
            Some("BPE") | None => {}
            Some(other) => return Err(format!("`model.type` is {other}; only BPE is supported")),
        }
        for affix in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if model.get(affix).and_then(Value::as_str).is_some_and(|affix| !affix.is_empty()) {
                return Err(format!("it has a `model.{affix}`, which is not supported"));
            }
        }
        // The same text always has the same tokens.
        model.insert("dropout".to_owned(), Value::Null);
        Ok(Self(value))
    }

    /// Whether characters stand for bytes (GPT-2's alphabet), and not for themselves.
    pub(super) fn is_byte_level(&self) -> bool {
        ["decoder", "pre_tokenizer"].iter().any(|part| names(&self.0[part], "ByteLevel"))
    }

    /// Whether tokens `<0xNN>` stand for bytes.
    pub(super) fn has_byte_fallback(&self) -> bool {
        self.0["model"]["byte_fallback"] == Value::Bool(true)
    }

    /// The same without what puts a space before a text.
    pub(super) fn continuing(&self) -> Self {
        let mut document = self.clone();
        without_prepending(&mut document.0["normalizer"]);
        without_prepending(&mut document.0["pre_tokenizer"]);
        document
    }

    /// The crate's tokenizer of it, which takes special tokens in a text for text.
    ///
    /// # Errors
    /// A sentence on what is wrong.
    pub(super) fn tokenizer(&self) -> Result<tokenizers::Tokenizer, String> {
        let text = serde_json::to_vec(&self.0).map_err(|error| error.to_string())?;
        let tokenizer = tokenizers::Tokenizer::from_bytes(text);
        let mut tokenizer = tokenizer.map_err(|error| error.to_string())?;
        tokenizer.set_encode_special_tokens(true);
        Ok(tokenizer)
    }

    /// SHA-256 of what decides the tokens of any bytes, however the file is laid out.
    pub(super) fn identity(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"lmtrain pretrained tokenizer 1\n");
        hash.update(self.canonical());
        hash.finalize().into()
    }

    /// The document in few bytes: .xz of its canonical text.
    pub(super) fn pack(&self) -> Vec<u8> {
        let mut encoder = XzEncoder::new(Vec::new(), PRESET);
        let packed = encoder.write_all(&self.canonical()).and_then(|()| encoder.finish());
        packed.expect("compressing into memory does not fail")
    }

    /// Its JSON without spaces, members by name.
    fn canonical(&self) -> Vec<u8> {
        let mut text = Vec::new();
        canonical(&self.0, &mut text);
        text
    }
}

/// The text of a [`Document::pack`].
///
/// # Errors
/// A sentence on what is wrong.
pub(super) fn unpack(packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let mut decoder = XzDecoder::new(packed).take(MOST_BYTES + 1);
    decoder.read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MOST_BYTES {
        return Err(format!("it has more than {MOST_BYTES} bytes"));
    }
    Ok(text)
}

fn canonical(value: &Value, text: &mut Vec<u8>) {
    let list = |text: &mut Vec<u8>, index: usize| {
        if index > 0 {
            text.push(b',');
        }
    };
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push(b'{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                list(text, index);
                text.extend(Value::from(name.as_str()).to_string().bytes());
                text.push(b':');
                canonical(member, text);
            }
            text.push(b'}');
        }
        Value::Array(items) => {
            text.push(b'[');
            for (index, item) in items.iter().enumerate() {
                list(text, index);
                canonical(item, text);
            }
            text.push(b']');
        }
        plain => text.extend(plain.to_string().bytes()),
    }
}

/// Whether a part, or a part of it, is of this type.
fn names(part: &Value, kind: &str) -> bool {
    match part {
        Value::Object(members) => {
            part["type"] == kind || members.values().any(|part| names(part, kind))
        }
        Value::Array(parts) => parts.iter().any(|part| names(part, kind)),
        _ => false,
    }
}

/// Takes out of a normaliser or pre-tokenizer what puts a space before a text.
fn without_prepending(part: &mut Value) {
    match part {
        Value::Object(members) => match members.get("type").and_then(Value::as_str) {
            Some("Prepend") => {
                // What does nothing: a replacement of nothing by itself is none, an empty sequence is.
                let mut nothing = Map::new();
                nothing.insert("type".to_owned(), "Sequence".into());
                nothing.insert("normalizers".to_owned(), Value::Array(Vec::new()));
                *part = Value::Object(nothing);
            }
            Some("Metaspace") => {
                members.insert("prepend_scheme".to_owned(), "never".into());
                members.insert("add_prefix_space".to_owned(), Value::Bool(false));
            }
            Some("ByteLevel") => {
                members.insert("add_prefix_space".to_owned(), Value::Bool(false));
            }
            _ => members.values_mut().for_each(without_prepending),
        },
        Value::Array(parts) => parts.iter_mut().for_each(without_prepending),
        _ => {}
    }
}
