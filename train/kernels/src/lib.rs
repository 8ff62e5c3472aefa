//! CPU kernels of the network: forward, backward, the cached step and the optimizer.
//!
//! The contract (design, section 4): a result has the same bits at every SIMD level, thread count and batch size, and
//! whether a chunk is evaluated whole or token by token. These rules ensure it:
//! - each output element is one chain of fused multiply-adds in index order (`f32::mul_add` is the reference), of
//!   bfloat16 in the order of `lanes::bfloat`, or exact, as whole numbers are, in any order;
//! - a sum over a row uses 16 fixed lanes and one fixed tree (`Lanes::sum`);
//! - exp, log and tanh are polynomials of our own (`math`);
//! - threads split outputs, never a sum.
//!
//! Every kernel is written once over 16 lanes (`lanes::Lanes`) and compiled once per level (`lanes::dispatch`).
//!
//! ```
//! use lmtrain_kernels::{Factors, Level, LinearShape, linear, with_level};
//!
//! // y [2, 3] = x [2, 4] · w [4, 3]
//! let shape = LinearShape { rows: 2, inputs: 4, outputs: 3, factors: Factors::Single };
//! let x: Vec<f32> = (0..8).map(|i| 1.0 / (1.0 + i as f32)).collect();
//! let w: Vec<f32> = (0..12).map(|i| (i as f32).sqrt()).collect();
//! let at = |level| {
//!     let mut y = [0.0; 6];
//!     with_level(level, || linear(shape, &x, &w, None, &mut y));
//!     y.map(f32::to_bits)
//! };
//! for level in Level::all_available() {
//!     assert_eq!(at(level), at(Level::SCALAR), "{level}");
//! }
//! ```

// The only part of the project with `unsafe`: intrinsics and the pointers of the inner loops.
#![allow(unsafe_code)]
// Register tiles are arrays of vectors that several loops index in step.
#![allow(clippy::needless_range_loop)]

mod activation;
mod aligned;
mod attention;
mod embedding;
mod factors;
mod gate;
mod head;
mod lanes;
mod level;
mod linear;
mod math;
mod memory;
mod norm;
mod optimizer;
mod parallel;
mod peak;
mod stream;

#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod testing;

pub use activation::{Activation, Kept, activate, activate_backward, add};
pub use attention::{
    AttentionHeads, AttentionShape, HeadNorm, HeldAs, KeyValueCache, NormOf, RotaryTable,
    attention, attention_backward, attention_cached, attention_whole, natural_logarithm,
    prepare_rows, rotary_frequency,
};
pub use embedding::{embedding, embedding_backward};
pub use factors::Factors;
pub use gate::Gate;
pub use head::{Head, head_loss, head_loss_gradients};
pub use head::{PackedHead, head_nats, head_probabilities};
pub use level::{Level, level, multiplies_pairs, with_level};
pub use linear::{
    After, LinearShape, PackedPrecision, PackedWeights, linear, linear_activate, linear_add,
    linear_grad_bias, linear_grad_input, linear_grad_input_activate, linear_grad_weight, product,
};
pub use memory::keep_freed_memory;
pub use norm::{RowNorm, layer_norm, layer_norm_backward, norm_rows, rms_norm, rms_norm_backward};
pub use optimizer::{AdamW, Muon, adamw_step, global_norm, muon_step, orthogonalize, scale};
pub use parallel::on_this_thread;
pub use peak::multiply_adds;
pub use stream::{
    TAPS, convolution, convolution_backward, convolve_rows, mix, mix_backward, mix_rows,
};
