//! Shared by the tests: a plan with weights made by a formula, and the pretrained fixtures as folders.

use std::fs;
use std::path::{Path, PathBuf};

use lmtrain_runs::plan::{CONVOLUTION_TAPS, TrainOn};
use lmtrain_runs::recipe::{Choices, Recipe};
use lmtrain_runs::{Budget, Bytes, Plan, Precision, Setting, Tokenization};

use crate::shapes;
use crate::tensor_file::{Numbers, TensorFile};

/// Tokens of a sequence of [`plan`].
const TIME: usize = 16;
/// Its steps.
const STEPS: u64 = 20;

/// The plan of `train/reference/make.py`.
#[must_use]
pub fn plan(recipe: Recipe) -> Plan {
    Plan {
        name: "reference".into(),
        size: "50K".parse().expect("in the ladder"),
        tokenization: Tokenization::Bytes,
        recipe,
        corpus: "none".into(),
        corpus_bytes: Bytes(0),
        corpus_sha256: String::new(),
        train_on: TrainOn::All,
        train_span: None,
        parts: Vec::new(),
        budget: Budget::Steps(STEPS),
        steps: STEPS,
        context: TIME,
        batch: 2,
        accumulation: 1,
        seed: 0,
        validate_every: STEPS,
        validation_sequences: 1,
        choices: plain(recipe),
        precision: Precision::F32,
    }
}

/// What `make.py` computes: the recipes, but of `modern` its first row, to which the variants add choices.
fn plain(recipe: Recipe) -> Choices {
    let choices = recipe.row().choices;
    match recipe {
        Recipe::Paper => choices,
        Recipe::Modern => Choices {
            head_size: None,
            block_convolution: false,
            head_learning_rate: 0.005,
            scalar_learning_rate: 0.005,
            ..choices
        },
    }
}

/// The recipes' plans, and `modern` with what else may be chosen of its network: each by a name.
#[must_use]
pub fn variants() -> Vec<(String, Plan)> {
    let recipes = Recipe::ALL.map(|recipe| (recipe.to_string(), plan(recipe)));
    let chosen = [
        "block-convolution=true head-size=32",
        "residual-scalars=true skips=true",
        "embedding-convolution=true block-convolution=true",
        "qkv-convolution=true",
        "value-embeddings=alternate depth-scale=true",
        "activation=leaky-squared-relu rotary-dimensions=8",
        "activation=gelu head-size=32 qk-norm=false soft-cap=off",
        EVERYTHING,
    ];
    let with = chosen.map(|settings| (settings.to_owned(), with(settings)));
    recipes.into_iter().chain(with).collect()
}

/// Every choice of a network beside each other.
pub const EVERYTHING: &str = "residual-scalars=true skips=true embedding-convolution=true \
    block-convolution=true qkv-convolution=true value-embeddings=all depth-scale=true \
    activation=leaky-squared-relu rotary-dimensions=8";

/// The plan of `modern` with these settings.
///
/// # Panics
/// If they are wrong.
#[must_use]
pub fn with(settings: &str) -> Plan {
    let settings: Vec<Setting> =
        settings.split_whitespace().map(|it| it.parse().expect("a setting")).collect();
    let plan = plan(Recipe::Modern);
    let choices = plan.row().with(&settings).expect("they go together").choices;
    Plan { choices, ..plan }
}

/// Centre and deviation of a parameter's weights, as in `make.py`.
fn spread(path: &str) -> (f64, f64) {
    match path.rsplit_once('.').map_or(path, |(_, name)| name) {
        "embedding" => (0.0, 0.5),
        "qkv" => (0.0, 0.25),
        "head" | "proj" | "up" => (0.0, 0.2),
        "gain" => (1.5, 0.2),
        "scale" => (1.0, 0.1),
        "residual" | "skip" => (0.6, 0.4),
        "convolution" | "qkv_convolution" | "embedding_convolution" => (0.1, 0.15),
        _ => (0.0, 0.1),
    }
}

/// Weights that leave nothing at zero, by the formula of `make.py`.
#[must_use]
pub fn weights(plan: &Plan) -> TensorFile {
    let mut file = TensorFile::default();
    for (index, (path, shape)) in shapes(plan).into_iter().enumerate() {
        let (centre, deviation) = spread(&path);
        let count = shape.iter().product();
        // What a convolution takes of the token itself comes first. It has to be the most of it: a mean of
        // many tokens is nearly nothing, and what a norm makes of that anything.
        let own = |i: usize| path.ends_with("convolution") && i < count / CONVOLUTION_TAPS;
        let value = |i: usize| {
            let centre = centre + if own(i) { 0.9 } else { 0.0 };
            centre + deviation * (1.3 * i as f64 + 0.7 * index as f64).sin()
        };
        let values = (0..count).map(|i| value(i) as f32).collect();
        file.tensors.insert(path, Numbers { shape, values });
    }
    file
}

/// The pretrained networks of random weights, in `train/reference/pretrained`.
pub const FIXTURES: [&str; 19] = [
    "gpt2",
    "gpt2-relu",
    "neox",
    "neox-serial",
    "llama3",
    "llama-linear",
    "llama-yarn",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3",
    "phi3",
    "olmo2",
    "smollm3",
    "granite",
    "stablelm",
    "stablelm-parallel",
];

/// Where they are: in the folder that `LMTRAIN_FIXTURES` names, where tests run without their sources,
/// else beside these.
#[must_use]
pub fn fixtures() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reference/pretrained");
    std::env::var_os("LMTRAIN_FIXTURES").map_or(here, PathBuf::from)
}

/// A copy of a fixture as a model's folder, which may be spoilt.
#[must_use]
pub fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let files = fs::read_dir(fixtures().join(name)).expect("the fixture");
    for path in files.map(|entry| entry.expect("a file").path()) {
        fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    let tokenizer = "tokenizer.json";
    fs::copy(fixtures().join(tokenizer), folder.path().join(tokenizer)).expect("copied");
    folder
}
