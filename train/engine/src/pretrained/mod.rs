//! Pretrained language models in Hugging Face's layout: a folder with `config.json`, `model.safetensors` (or shards
//! with `model.safetensors.index.json`) and `tokenizer.json`.
//!
//! ```text
//! config.json ──► config ─┐
//!                         ├─ catalogue ─► gpt2 | neox | llama, gemma, phi, … ─► engine::Transformer
//! *.safetensors ► weights ┘                  (which key goes where, one file each, by shared parts)
//! ```
//!
//! Weights are packed directly from the memory-mapped files in the precision in which they are stored, and the files'
//! memory is released on the way. To add an architecture, add a file with its keys and a row in `catalogue.rs`.

mod catalogue;
mod choices;
mod config;
mod error;
mod gate;
mod gemma;
mod gpt2;
mod granite;
mod heads;
mod llama;
mod matrix;
mod mistral;
mod neox;
mod olmo;
mod parts;
mod phi;
mod qwen;
mod rope;
mod rounded;
mod safetensors;
mod smollm;
mod stablelm;
#[cfg(test)]
mod tests;
mod weights;
mod windows;

use std::path::Path;

use lmtrain_runs::Bytes;
use lmtrain_runs::record::WeightCode;
use lmtrain_tokenizers::PretrainedTokenizer;
use sha2::{Digest, Sha256};

use crate::{Engine, ExactPredictor, Layer, Signature};
use catalogue::Architecture;
use config::Config;
use rounded::Rounded;
use weights::Weights;

pub use catalogue::ARCHITECTURES;
pub use error::PretrainedError;

/// The file of a model's tokenizer.
const TOKENIZER: &str = "tokenizer.json";
/// The token that ends a text, and therefore also starts one, if the configuration names no token.
const END_OF_TEXT: &str = "<|endoftext|>";
/// Tokens of a chunk in archives.
const CODED_TOKENS: usize = 2048;
/// Keys and values that a core holds when it codes: more would take more memory than the weights.
const MOST_HELD: usize = 256 << 20;

/// A model ready to predict, on the processor; it measures on other devices too.
pub struct PretrainedModel {
    predictor: ExactPredictor,
    tokenizer: PretrainedTokenizer,
    architecture: &'static str,
    parameters: u64,
    stored: Bytes,
    rounded: Option<Bytes>,
}

impl std::fmt::Debug for PretrainedModel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PretrainedModel")
            .field("architecture", &self.architecture)
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

impl PretrainedModel {
    /// Opens the model of a folder, with its weights as they are stored.
    ///
    /// # Errors
    /// [`PretrainedError`] names the file, and the key or tensor, that is missing, damaged or of a kind that this
    /// program does not know; all of them, if there are several.
    pub fn open(folder: &Path) -> Result<Self, PretrainedError> {
        Self::open_coded(folder, WeightCode::F16)
    }

    /// The same with the weights in a code: `int8` and `int4` quantize the matrices, and the network then computes
    /// with integers; with other codes the weights stay as they are stored.
    ///
    /// # Errors
    /// As [`PretrainedModel::open`].
    pub fn open_coded(folder: &Path, code: WeightCode) -> Result<Self, PretrainedError> {
        if !folder.is_dir() {
            return Err(PretrainedError::NoFolder(folder.to_owned()));
        }
        let mut faults = Vec::new();
        let config = kept(Config::read(folder), &mut faults);
        let architecture = config.as_ref().map(catalogue::find);
        let architecture = architecture.and_then(|found| kept(found, &mut faults));
        let weights = kept(Weights::open(folder, Rounded::new(code)), &mut faults);
        let tokenizer = kept(tokenizer(folder), &mut faults);
        let mut model = None;
        if let (Some(config), Some(architecture), Some(weights)) = (&config, architecture, &weights)
        {
            let built = Self::build(architecture, config, weights, tokenizer);
            faults.extend(config.faults().into_iter().chain(weights.faults()));
            model = kept(built, &mut faults);
        }
        faults.extend(config.iter().flat_map(Config::faults));
        PretrainedError::of(folder, faults)?;
        model.ok_or(PretrainedError::GivenUp)
    }

    /// The model; no model where there is no tokenizer, but whatever else is wrong is found.
    fn build(
        architecture: &'static Architecture,
        config: &Config,
        weights: &Weights,
        tokenizer: Option<PretrainedTokenizer>,
    ) -> Result<Self, PretrainedError> {
        let transformer = (architecture.read)(config, weights)?;
        weights.check_all_used(architecture.class, architecture.beside);
        let engine = Engine::new(transformer).map_err(|reason| config.refuse(reason))?;
        let known = engine.known_tokens();
        config.check_vocabulary(known)?;
        let tokenizer = tokenizer.ok_or(PretrainedError::GivenUp)?;
        let begin = begin_token(config, architecture, &tokenizer)?;
        if begin as usize >= known {
            return Err(config.refuse(format!(
                "the begin token {begin} is outside the embedding table, which has \
                    {known} tokens"
            )));
        }
        let identity = identity(architecture, config, weights, begin);
        let (signature, side_by_side) =
            (Signature::of(&engine, begin, identity), side_by_side(&engine));
        Ok(Self {
            predictor: ExactPredictor::new(engine, signature, side_by_side),
            tokenizer,
            architecture: architecture.name,
            parameters: weights.parameters(),
            stored: Bytes(weights.stored_bytes()),
            rounded: weights.rounded_bytes().map(Bytes),
        })
    }

    /// The name of its architecture.
    #[must_use]
    pub fn architecture(&self) -> &'static str {
        self.architecture
    }

    /// Its tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &PretrainedTokenizer {
        &self.tokenizer
    }

    /// What predicts.
    #[must_use]
    pub fn predictor(&self) -> &ExactPredictor {
        &self.predictor
    }

    /// All its weights, those that are used twice counted once.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// What they take in the model's own files.
    #[must_use]
    pub fn stored_bytes(&self) -> Bytes {
        self.stored
    }

    /// Their size when quantized, if they were: the integers as coded by the range coder, the scales in bf16, and all
    /// other tensors as they are stored.
    #[must_use]
    pub fn rounded_bytes(&self) -> Option<Bytes> {
        self.rounded
    }
}

/// The best number of sequences for a session: as for any engine, but limited so that a core's KV caches take no more
/// memory than the weights.
fn side_by_side(engine: &Engine) -> u16 {
    let held = |layer: &Layer| 2 * layer.heads.key_heads * layer.heads.dims * size_of::<f32>();
    let layers = &engine.network().layers;
    let sequence = layers.iter().map(held).sum::<usize>() * engine.context().min(CODED_TOKENS);
    let fitting = u16::try_from(MOST_HELD / sequence.max(1)).unwrap_or(u16::MAX);
    engine.side_by_side().min(fitting.max(1))
}

/// What was read, or nothing, its error among the faults.
fn kept<T>(read: Result<T, PretrainedError>, faults: &mut Vec<PretrainedError>) -> Option<T> {
    read.map_err(|error| faults.push(error)).ok()
}

/// The tokenizer of a model's folder.
fn tokenizer(folder: &Path) -> Result<PretrainedTokenizer, PretrainedError> {
    let path = folder.join(TOKENIZER);
    match path.is_file() {
        true => Ok(PretrainedTokenizer::read(&path)?),
        false => Err(PretrainedError::missing(folder, TOKENIZER, error::TOKENIZER_HINT)),
    }
}

/// The begin token that is fed before a text: the configuration's `bos_token_id`, otherwise its `eos_token_id` (the
/// first, if there are several), otherwise `<|endoftext|>`. GPT-2 and Qwen have no begin token; in their training the
/// end token separates texts, so it can start one.
fn begin_token(
    config: &Config,
    architecture: &Architecture,
    tokenizer: &PretrainedTokenizer,
) -> Result<u32, PretrainedError> {
    let [bos, eos] = architecture.ends;
    let named = match config.token("bos_token_id", bos)? {
        Some(token) => Some(token),
        None => config.token("eos_token_id", eos)?,
    };
    named.or_else(|| tokenizer.token(END_OF_TEXT)).ok_or_else(|| {
        config.refuse(format!(
            "it has neither a `bos_token_id` nor an `eos_token_id`, and the tokenizer has no {END_OF_TEXT}: \
             there is no begin token to feed before a text"
        ))
    })
}

/// SHA-256 of everything that determines the probabilities: the configuration as it was used, the tensors, the begin
/// token.
fn identity(
    architecture: &Architecture,
    config: &Config,
    weights: &Weights,
    begin: u32,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(format!("lmtrain pretrained 1\n{}\nbegin {begin}\n", architecture.model_type));
    hash.update(config.used());
    hash.update(weights.digests());
    // Rounded weights are others.
    hash.update(weights.code().map_or("", WeightCode::name));
    hash.finalize().into()
}
