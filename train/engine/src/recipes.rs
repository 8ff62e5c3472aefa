//! Runs of this project as the engine sees them: the network of `network.rs`, packed.

use half::f16;
use lmtrain_runs::Plan;
use lmtrain_runs::recipe::{Activation, Choices, Norm, ROPE_BASE};

use super::{Engine, Layer, Order, Transformer, rotary_frequencies, source_dimension};
use crate::tensor_file::{FormatError, TensorFile};
use lmtrain_kernels::{
    AttentionHeads, Gate, HeldAs, PackedWeights, Precision, RotaryTable, RowNorm,
};

/// ε of norms without scale, of the stream and of queries and keys.
const RMS_EPSILON: f32 = 1e-6;
/// ε of layer norms.
const LAYER_EPSILON: f32 = 1e-5;

impl Engine {
    /// The network of a plan with the weights of a file, whose tensors are taken out.
    ///
    /// # Errors
    /// If one is missing or misshapen.
    pub fn of_run(plan: &Plan, file: &mut TensorFile) -> Result<Self, FormatError> {
        // Runs save halves, which pack as they are; other files keep every bit too.
        let mut numbers = file.tensors.values().flat_map(|tensor| &tensor.values);
        let halves = numbers.all(|number| f16::from_f32(*number).to_f32() == *number);
        let precision = if halves { Precision::Half } else { Precision::Single };
        let network = Run { plan, file, precision }.network()?;
        Self::new(network).map_err(FormatError)
    }
}

/// How runs hold keys and values: as bytes where keys are normed, which bounds them.
#[must_use]
pub fn held_by_run(choices: &Choices, head_dimension: usize) -> HeldAs {
    if choices.qk_norm && head_dimension <= 256 { HeldAs::Bytes } else { HeldAs::Halves }
}

/// A run being packed.
struct Run<'a> {
    plan: &'a Plan,
    file: &'a mut TensorFile,
    precision: Precision,
}

impl Run<'_> {
    fn network(&mut self) -> Result<Transformer, FormatError> {
        let (plan, choices) = (self.plan, self.plan.choices);
        let (width, vocabulary) = (plan.size.width, plan.tokenization.vocabulary());
        let head_dimension = plan.head_dimension();
        let known = plan.embedding_rows();
        let table = self.file.take("embedding", &[known, width])?;
        let embedding = PackedWeights::pack(self.precision, [width, known], |token, column| {
            column.copy_from_slice(&table[token * width..][..width]);
        });
        let pre_norm = choices.norm == Norm::PreRms;
        let norm = pre_norm.then_some(RowNorm::Rms { scale: None, epsilon: RMS_EPSILON });
        let layers = (0..plan.size.layers).map(|index| self.layer(&format!("blocks.{index}")));
        let layers = layers.collect::<Result<_, _>>()?;
        let head = self.weights("head", [width, vocabulary])?;
        let frequencies = rotary_frequencies(ROPE_BASE, head_dimension, head_dimension);
        Ok(Transformer {
            width,
            context: plan.context,
            embedding: Some(embedding),
            embedding_scale: if choices.scale_embeddings { (width as f32).sqrt() } else { 1.0 },
            positions: None,
            embedding_norm: norm.clone(),
            rotary: Some(RotaryTable::new(&frequencies, plan.context)),
            order: if pre_norm { Order::PreNorm } else { Order::PostNorm },
            layers,
            final_norm: norm,
            head: self.biased(head, "head_bias")?,
            soft_cap: choices.soft_cap.map(|cap| cap as f32),
        })
    }

    fn layer(&mut self, name: &str) -> Result<Layer, FormatError> {
        let (width, heads) = (self.plan.size.width, self.plan.heads());
        let inner = 4 * width;
        let up = self.weights(&format!("{name}.up"), [width, inner])?;
        let down = self.weights(&format!("{name}.down"), [inner, width])?;
        Ok(Layer {
            attention_norm: self.norm(&format!("{name}.attention_norm"))?,
            heads: self.heads(&format!("{name}.gain"), heads)?,
            qkv: self.qkv(&format!("{name}.qkv"))?,
            mixing: self.mixing(&format!("{name}.proj"))?,
            mlp_norm: self.norm(&format!("{name}.mlp_norm"))?,
            gate: None,
            up: self.biased(up, &format!("{name}.up_bias"))?,
            activation: match self.plan.choices.activation {
                Activation::SquaredRelu => Gate::ReluSquared,
                Activation::Gelu => Gate::GeluTanh,
            },
            down: self.biased(down, &format!("{name}.down_bias"))?,
        })
    }

    fn weights(&mut self, name: &str, shape: [usize; 2]) -> Result<PackedWeights, FormatError> {
        let weights = self.file.take(name, &shape)?;
        Ok(PackedWeights::pack(self.precision, shape, |output, column| {
            let from = weights[output..].iter().step_by(shape[1]);
            column.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }))
    }

    fn biased(&mut self, weights: PackedWeights, name: &str) -> Result<PackedWeights, FormatError> {
        if !self.plan.choices.biases {
            return Ok(weights);
        }
        let bias = self.file.take(name, &[weights.outputs()])?;
        Ok(weights.with_bias(&bias))
    }

    fn norm(&mut self, name: &str) -> Result<Option<RowNorm>, FormatError> {
        let width = [self.plan.size.width];
        Ok(Some(match self.plan.choices.norm {
            Norm::PreRms => RowNorm::Rms { scale: None, epsilon: RMS_EPSILON },
            Norm::PostLayer => RowNorm::Layer {
                scale: self.file.take(&format!("{name}.scale"), &width)?,
                offset: self.file.take(&format!("{name}.offset"), &width)?,
                epsilon: LAYER_EPSILON,
            },
        }))
    }

    fn heads(&mut self, gain: &str, heads: usize) -> Result<AttentionHeads, FormatError> {
        let dimension = self.plan.head_dimension();
        let dims = dimension.next_multiple_of(16);
        let normed = self.plan.choices.qk_norm;
        let gains = if normed { self.file.take(gain, &[heads])? } else { vec![1.0; heads] };
        let scale = AttentionHeads::score_scale(dimension);
        let scales = gains.into_iter().flat_map(|gain| std::iter::repeat_n(gain * scale, dims));
        Ok(AttentionHeads {
            heads,
            key_heads: heads,
            dims,
            norm: normed.then_some((dimension, RMS_EPSILON)),
            query_scale: scales.collect(),
            key_scale: vec![1.0; heads * dims],
            window: None,
            held: held_by_run(&self.plan.choices, dimension),
        })
    }

    /// Queries, keys and values, each head filled up to whole sixteens, in the order that the rotation wants.
    fn qkv(&mut self, name: &str) -> Result<PackedWeights, FormatError> {
        let (width, dimension) = (self.plan.size.width, self.plan.head_dimension());
        let dims = dimension.next_multiple_of(16);
        let part = self.plan.heads() * dims;
        let weights = self.file.take(name, &[width, 3 * width])?;
        Ok(PackedWeights::pack(self.precision, [width, 3 * part], |output, column| {
            let (head, place) = (output % part / dims, output % dims);
            let values = output >= 2 * part;
            let source = source_dimension(place, dimension, if values { 0 } else { dimension });
            column.fill(0.0);
            if let Some(source) = source {
                let from = output / part * width + head * dimension + source;
                let from = weights[from..].iter().step_by(3 * width);
                column.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        }))
    }

    /// What the heads give back; a value's place is as in `qkv`.
    fn mixing(&mut self, name: &str) -> Result<PackedWeights, FormatError> {
        let (width, dimension) = (self.plan.size.width, self.plan.head_dimension());
        let dims = dimension.next_multiple_of(16);
        let weights = self.file.take(name, &[width, width])?;
        let inputs = self.plan.heads() * dims;
        Ok(PackedWeights::pack(self.precision, [inputs, width], |output, column| {
            for (input, to) in column.iter_mut().enumerate() {
                let source = source_dimension(input % dims, dimension, 0);
                let from = |source| weights[(input / dims * dimension + source) * width + output];
                *to = source.map_or(0.0, from);
            }
        }))
    }
}
