//! Training by the `tokenizers` crate. The words are counted here, in place, so that a memory-mapped text is never
//! copied; the crate's trainer gets the counts.

use ahash::AHashMap;
use compact_str::CompactString;
use rayon::prelude::*;
use tokenizers::Model;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};

use super::alphabet::{BYTES, character_of, spell};
use super::vocabulary::Vocabulary;
use super::words::{Words, pieces};
use crate::TokenizerError;

/// Most bytes that are looked at: the crate counts pairs in 31 bits.
pub(super) const MOST_TRAINING_BYTES: usize = i32::MAX as usize;

/// The vocabulary of `tokens` tokens that byte-pair encoding makes of a text.
pub(super) fn train(text: &[u8], tokens: usize) -> Result<Vocabulary, TokenizerError> {
    let fail = |reason: String| TokenizerError::Training { reason };
    let mut model = BPE::default();
    let trainer = BpeTrainerBuilder::new()
        .vocab_size(tokens)
        .initial_alphabet((0..=255).map(character_of).collect())
        .show_progress(false)
        .build();
    trainer.do_train(&counts(text), &mut model).map_err(|error| fail(error.to_string()))?;
    let found = model.get_vocab_size();
    if found < tokens {
        return Err(TokenizerError::TooShort { bytes: text.len() as u64, found, wanted: tokens });
    }
    Vocabulary::from_merges(merges_of(&model).map_err(fail)?).map_err(fail)
}

/// How often each word comes, in the crate's alphabet.
fn counts(text: &[u8]) -> AHashMap<CompactString, u64> {
    let length = text.len().div_ceil(rayon::current_num_threads()).max(1);
    let pieces: Vec<AHashMap<&[u8], u64>> = pieces(text, length)
        .into_par_iter()
        .map(|piece| {
            let mut counts = AHashMap::new();
            Words::new(&text[piece]).for_each(|word| *counts.entry(word).or_default() += 1);
            counts
        })
        .collect();
    let mut all: AHashMap<&[u8], u64> = AHashMap::new();
    for (word, count) in pieces.into_iter().flatten() {
        *all.entry(word).or_default() += count;
    }
    all.into_iter().map(|(word, count)| (CompactString::from(spell(word)), count)).collect()
}

/// The merge that made each token. The crate may also find another pair that gives an existing token; the original
/// pair is kept, so that the merges determine the vocabulary.
fn merges_of(model: &BPE) -> Result<Vec<[u32; 2]>, String> {
    let model = serde_json::to_value(model).map_err(|error| error.to_string())?;
    let vocabulary = &model["vocab"];
    let number = |token: &str| vocabulary[token].as_u64().map(|number| number as u32);
    let mut made: Vec<Option<[u32; 2]>> = Vec::new();
    for merge in model["merges"].as_array().into_iter().flatten() {
        let [Some(left), Some(right)] = [&merge[0], &merge[1]].map(serde_json::Value::as_str)
        else {
            return Err("a merge is not a pair".to_owned());
        };
        let token = number(&(left.to_owned() + right));
        let (Some(left), Some(right), Some(token)) = (number(left), number(right), token) else {
            return Err("a merge is of tokens that do not exist".to_owned());
        };
        let index = (token as usize).checked_sub(BYTES).ok_or("a merge makes a byte")?;
        made.resize(made.len().max(index + 1), None);
        if left < token && right < token {
            made[index].get_or_insert([left, right]);
        }
    }
    let made: Option<Vec<_>> = made.into_iter().collect();
    made.ok_or_else(|| "a token has no merge".to_owned())
}
