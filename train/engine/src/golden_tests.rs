//! The exact bits, fixed by hashes of the integer frequencies that networks of each kind give. If a hash changes,
//! archives made before can no longer be restored, unless the old arithmetic is kept beside the new one and archives
//! name the one they need. So hashes here are only added, never edited.

use std::sync::Mutex;

use lmtrain_eval::quantize::interval;
use lmtrain_runs::Plan;
use lmtrain_runs::random::SplitMix64;
use lmtrain_runs::recipe::Recipe;
use lmtrain_runs::record::WeightCode;
use sha2::{Digest, Sha256};

use crate::tensor_file::{Numbers, TensorFile};
use crate::testing::{copy, plan};
use crate::weight_code::round;
use crate::{Engine, pretrained::PretrainedModel, shapes};

const RUNS: &[(&str, &str)] = &[
    ("modern w32l2h2", "847d0a9a7cf5768c"),
    ("modern w64l1h2", "313aee6f6f2ec252"),
    ("modern w128l1h2", "9f98e4ade60a325c"),
    ("modern w96l1h2", "95edf3e06ee5f4ef"),
    ("paper w32l2h2", "72d0325f9dc8ca82"),
    ("paper w64l1h2", "a8f9530a689d0c9b"),
    ("paper w128l1h2", "5ab6b655a22d85d4"),
    ("paper w96l1h2", "dd5f669d57f86753"),
];

const LEVELS: &[(&str, &str)] = &[
    ("modern w64l1h2 int8", "87ab0e94131ee306"),
    ("paper w96l1h2 int8", "e53f34471b99e105"),
    ("modern w64l1h2 int4", "48c832f74508c450"),
    ("paper w96l1h2 int4", "e123e2599cfa7f80"),
];

const PRETRAINED: &[(&str, &str)] = &[
    ("gpt2", "780bf015e92131d8"),
    ("neox", "830d4ac4f61f06a4"),
    ("llama3", "37ea6a9622a87284"),
    ("mistral", "b2fd39f916e63e1d"),
    ("qwen2", "e657371d31ff30cd"),
    ("qwen3", "3e449d277a889ba2"),
];

/// Weights of whole numbers, so that no library's sine has a part in them: halves, as runs are saved.
fn weights(plan: &Plan, seed: u64) -> TensorFile {
    let mut file = TensorFile::default();
    let mut draw = SplitMix64::new(seed);
    for (name, shape) in shapes(plan) {
        let columns = *shape.last().unwrap_or(&1) as f32;
        let spread = if shape.len() > 1 { 1.5 / columns.sqrt().round() } else { 0.25 };
        let centre = f32::from(u8::from(name.ends_with("gain") || name.ends_with("scale")));
        let number = |it: u64| centre + spread * (it as f32 / 512.0 - 1.0);
        let values = (0..shape.iter().product()).map(|_| number(draw.below(1025)));
        let values = values.map(|it| half::f16::from_f32(it).to_f32()).collect();
        file.tensors.insert(name, Numbers { shape, values });
    }
    file
}

/// The hash of the frequencies of every symbol at every place of some chunks.
fn hash(engine: &Engine, begin: u32) -> String {
    let known = engine.known_tokens().min(engine.vocabulary()) as u64;
    let mut draw = SplitMix64::new(9);
    let chunks: Vec<Vec<u32>> =
        [97, 33, 1].map(|length| (0..length).map(|_| draw.below(known) as u32).collect()).into();
    let chunks: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
    let rows = Mutex::new(vec![Vec::new(); chunks.len()]);
    engine.rows(begin, &chunks, &|chunk, _, part| {
        rows.lock().expect("no panic")[chunk].extend_from_slice(part);
        std::ops::ControlFlow::Continue(())
    });
    let mut hash = Sha256::new();
    for row in rows
        .into_inner()
        .expect("no panic")
        .iter()
        .flat_map(|rows| rows.chunks_exact(engine.vocabulary()))
    {
        for symbol in 0..row.len() as u32 {
            let interval = interval(row, symbol).expect("a distribution");
            hash.update(interval.size.to_le_bytes());
        }
    }
    lmtrain_runs::units::hex(&hash.finalize()[..8])
}

/// Asserts all at once, so that one run shows every hash.
fn assert_pinned(found: Vec<(String, String)>, pinned: &[(&str, &str)]) {
    let found: Vec<_> = found.iter().map(|(name, hash)| (name.as_str(), hash.as_str())).collect();
    assert_eq!(found, pinned);
}

#[test]
fn frequencies_of_runs_are_pinned() {
    let mut found = Vec::new();
    for recipe in Recipe::ALL {
        for size in ["w32l2h2", "w64l1h2", "w128l1h2", "w96l1h2"] {
            let mut plan = plan(recipe);
            (plan.size, plan.context) = (size.parse().expect("a shape"), 97);
            let mut file = weights(&plan, 3);
            let engine = Engine::of_run(&plan, &mut file).expect("complete");
            found.push((format!("{recipe} {size}"), hash(&engine, plan.begin_token())));
        }
    }
    assert_pinned(found, RUNS);
}

#[test]
fn frequencies_of_networks_of_whole_numbers_are_pinned() {
    let mut found = Vec::new();
    for code in [WeightCode::Int8, WeightCode::Int4] {
        for (recipe, size) in [(Recipe::Modern, "w64l1h2"), (Recipe::Paper, "w96l1h2")] {
            let mut plan = plan(recipe);
            (plan.size, plan.context) = (size.parse().expect("a shape"), 97);
            let mut file = round(&weights(&plan, 3), code).expect("finite");
            let engine = Engine::of_run(&plan, &mut file).expect("complete");
            found.push((format!("{recipe} {size} {code}"), hash(&engine, plan.begin_token())));
        }
    }
    assert_pinned(found, LEVELS);
}

#[test]
fn frequencies_of_pretrained_models_are_pinned() {
    let mut found = Vec::new();
    for name in ["gpt2", "neox", "llama3", "mistral", "qwen2", "qwen3"] {
        let model = PretrainedModel::open(copy(name).path()).expect(name);
        let predictor = model.predictor();
        found.push((name.to_owned(), hash(predictor.engine(), predictor.signature().begin_token)));
    }
    assert_pinned(found, PRETRAINED);
}
