//! A model's matrices quantized as they are packed, in the same way as `weight_code` quantizes those of runs: with a
//! scale for each output, and for each token of an embedding table; with `int4`, embedding and head have 8 bits. The
//! size of the integers is counted at the same time, by the code that is used for runs.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use lmtrain_runs::record::WeightCode;

use crate::level_code::LevelEncoder;
use crate::levels::{Bits, Levels, Scaled};

/// Bytes of a scale, a bf16.
const SCALE_BYTES: u64 = 2;

/// How matrices are rounded, and what they came to so far.
pub(super) struct Rounded {
    code: WeightCode,
    coded: Mutex<Coded>,
}

#[derive(Default)]
struct Coded {
    levels: LevelEncoder,
    scales: u64,
    /// Names of the tensors that were rounded.
    tensors: BTreeSet<String>,
}

/// An output of a rounded matrix: its levels, for the matrix's own inputs, and its scale.
pub(super) type Output = (Vec<i8>, f32);

impl Rounded {
    /// With a code of whole numbers; none of others.
    pub(super) fn new(code: WeightCode) -> Option<Self> {
        let whole = matches!(code, WeightCode::Int8 | WeightCode::Int4);
        whole.then(|| Self { code, coded: Mutex::default() })
    }

    pub(super) fn code(&self) -> WeightCode {
        self.code
    }

    /// How many levels a matrix has; those of tokens have more.
    pub(super) fn bits(&self, of_tokens: bool) -> Bits {
        if self.code == WeightCode::Int4 && !of_tokens { Bits::Four } else { Bits::Eight }
    }

    /// Rounds the weights of an output.
    pub(super) fn output(weights: &[f32], bits: Bits) -> Output {
        let Levels { levels, scales, .. } =
            Levels::round(weights, [1, weights.len()], Scaled::Rows, bits);
        (levels, scales.first().copied().unwrap_or(0.0))
    }

    /// Counts the outputs of a matrix that was made of tensors of these names.
    pub(super) fn count(&self, tensors: &[&str], bits: Bits, outputs: &[Option<Output>]) {
        let mut coded = self.coded.lock().unwrap_or_else(PoisonError::into_inner);
        let name = tensors.first().map_or("", |name| kind(name));
        for (levels, _) in outputs.iter().flatten() {
            coded.levels.add(name, bits, levels);
            coded.scales += 1;
        }
        coded.tensors.extend(tensors.iter().map(ToString::to_string));
    }

    /// The bytes of all levels and scales, and the tensors that these are.
    pub(super) fn finish(&self) -> (u64, BTreeSet<String>) {
        let mut coded = self.coded.lock().unwrap_or_else(PoisonError::into_inner);
        let Coded { levels, scales, tensors } = std::mem::take(&mut *coded);
        (levels.finish().len() as u64 + SCALE_BYTES * scales, tensors)
    }
}

/// What a matrix is, whatever its layer: `q_proj` of `model.layers.3.self_attn.q_proj.weight`.
fn kind(name: &str) -> &str {
    let name = name.strip_suffix(".weight").unwrap_or(name);
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_of_all_layers() {
        assert_eq!(kind("model.layers.3.self_attn.q_proj.weight"), "q_proj");
        assert_eq!(kind("wte.weight"), "wte");
        assert_eq!(kind("table"), "table");
    }

    #[test]
    fn tokens_have_eight_bits_and_floats_are_not_rounded() {
        let [int8, int4] = [WeightCode::Int8, WeightCode::Int4].map(Rounded::new);
        let bits = |it: &Option<Rounded>| [false, true].map(|of| it.as_ref().map(|it| it.bits(of)));
        assert_eq!(bits(&int8), [Some(Bits::Eight); 2]);
        assert_eq!(bits(&int4), [Some(Bits::Four), Some(Bits::Eight)]);
        assert!(Rounded::new(WeightCode::F16).is_none());
    }
}
