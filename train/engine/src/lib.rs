//! The engine: decoder-only Transformers on the CPU, for scoring and coding, built directly on the kernels. It does not
//! use burn.
//!
//! A network is given by a plain description ([`Transformer`]), of a run ([`SavedWeights`]) or of a pretrained model
//! ([`pretrained`]). Weights are packed once, in the precision in which they are stored. Whole chunks and cached steps
//! share every row-wise operation and give the same bits, at every SIMD level and thread count (design, section 4). In
//! both, keys and values are rounded to the format of the KV cache, and queries to match it
//! ([`HeldAs`](lmtrain_kernels::HeldAs)). The engine implements the [`Predictor`](lmtrain_eval::Predictor) of
//! `lmtrain-eval`; `lmtrain-train` has a network of its own in burn.
//!
//! ```
//! use std::path::Path;
//!
//! use lmtrain_engine::SavedWeights;
//!
//! // A packed network of 200,000 parameters, trained on 30 million bytes of Wikipedia.
//! let weights = SavedWeights::read(Path::new("../../runs/models/200K-int8.lmw"))?;
//! let network = weights.predictor()?;
//!
//! // Its tokens are bytes. Scoring gives the bits that each costs, after those before it.
//! let bits_of = |text: &str| {
//!     let tokens: Vec<u32> = text.bytes().map(u32::from).collect();
//!     network.score(&[&tokens]).map(|bits| bits[0].iter().sum::<f32>())
//! };
//! let text = "The city is the capital of the United States.";
//! let backwards: String = text.chars().rev().collect();
//! assert!(bits_of(text)? < 3.0 * text.len() as f32);
//! assert!(bits_of(text)? < bits_of(&backwards)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// Shapes stand in brackets, `[batch, time]`, which rustdoc takes for links.
#![allow(rustdoc::broken_intra_doc_links)]

mod digest;
mod format_error;
#[cfg(test)]
mod golden_tests;
mod layout;
mod level_code;
pub mod levels;
mod origin;
mod pack_run;
mod packing;
mod predictor;
pub mod pretrained;
mod recoded;
mod rows;
mod saved;
mod session;
mod shapes;
mod shipped;
mod stream;
pub mod tensor_file;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod testing;
#[cfg(test)]
mod tests;
mod transformer;
pub mod weight_code;
mod whole;

pub use layout::{rotary_frequencies, source_dimension};
pub use origin::Origin;
pub use pack_run::depth_scale;
pub use predictor::{ExactPredictor, Signature};
pub use saved::{SavedWeights, WeightsError};
pub use session::EngineSession;
pub use shapes::shapes;
pub use transformer::{Between, Entry, Layer, Order, Transformer};
pub use whole::PartSink;

use lmtrain_kernels::{PackedHead, level};

/// A network ready to run. It is shared by threads and never changes.
pub struct Engine {
    network: Transformer,
    /// Rows that go through a layer's products together.
    tile: usize,
}

impl Engine {
    /// Checks a network's parts against each other.
    ///
    /// # Errors
    /// If they do not fit, naming the part.
    pub fn new(network: Transformer) -> Result<Self, String> {
        network.check()?;
        let inner = network.layers.iter().map(|layer| layer.up.stride()).max().unwrap_or(1);
        // Between the MLP's layers a tile takes 384 KiB, or 96 rows where those are wide.
        Ok(Self { tile: (98_304 / inner).clamp(96, 256), network })
    }

    /// Number of different tokens that it predicts.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.network.head.outputs()
    }

    /// Tokens that it can be fed: those with an embedding.
    #[must_use]
    pub fn known_tokens(&self) -> usize {
        self.network.embedding().outputs()
    }

    /// The most tokens that a sequence may have.
    #[must_use]
    pub fn context(&self) -> usize {
        self.network.context
    }

    /// The best number of sequences for a session: two, if their KV caches take at most 8 MiB, which then stay in a
    /// core's share of the CPU caches (measured at 200K and 3.2M parameters, where more sequences bring nothing); more
    /// if the weights do not fit into the caches, so that every step has to read them from memory (a rule of thumb).
    #[must_use]
    pub fn side_by_side(&self) -> u16 {
        let held =
            |layer: &Layer| 2 * layer.heads.key_heads * layer.heads.dims * layer.heads.held.bytes();
        let held: usize = self.network.layers.iter().map(held).sum();
        let fitting = (8 << 20) / (held * self.context().min(2048)).max(1);
        let outgrown = self.network.weight_bytes() / (16 << 20);
        u16::try_from(fitting.clamp(1, 2).max(outgrown.min(32))).unwrap_or(1)
    }

    /// Memory in bytes that a sequence of this many tokens takes while it is evaluated as a whole: the residual
    /// stream, and one layer's queries, keys, values and attention outputs.
    #[must_use]
    pub fn sequence_bytes(&self, tokens: usize) -> usize {
        let of_layer = |layer: &Layer| layer.heads.row() + layer.heads.width();
        let widest = self.network.layers.iter().map(of_layer).max().unwrap_or(0);
        tokens * (self.network.width + widest) * size_of::<f32>()
    }

    /// The network that it runs.
    #[must_use]
    pub fn network(&self) -> &Transformer {
        &self.network
    }

    fn head(&self) -> PackedHead<'_> {
        PackedHead { weights: &self.network.head, soft_cap: self.network.soft_cap }
    }
}

/// The SIMD level of the calling thread; the application reports a wrong `LMTRAIN_SIMD` before using the engine.
fn current_level() -> lmtrain_kernels::Level {
    level().unwrap_or_else(|error| panic!("{error}"))
}

/// The SIMD level that the processor's kernels run at, as a name.
///
/// # Errors
/// If `LMTRAIN_SIMD` asks for one that there is not, or that this machine does not have.
pub fn simd_level() -> Result<String, String> {
    level().map(|level| level.to_string())
}
