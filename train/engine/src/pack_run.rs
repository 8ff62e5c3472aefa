//! Runs of this project as networks of the engine: the network of `network.rs`, packed.

use half::f16;
use lmtrain_runs::Plan;
use lmtrain_runs::plan::CONVOLUTION_TAPS;
use lmtrain_runs::recipe::{Activation, Choices, Norm, ROPE_BASE};

use super::{
    Between, Engine, Entry, Layer, Order, Transformer, rotary_frequencies, source_dimension,
};
use crate::levels::Scaled;
use crate::packing::Matrix;
use crate::tensor_file::{FormatError, TensorFile};
use lmtrain_kernels::{
    AttentionHeads, Gate, HeadNorm, HeldAs, NormOf, PackedPrecision, PackedWeights, RotaryTable,
    RowNorm,
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
        let precision = if halves { PackedPrecision::Half } else { PackedPrecision::Single };
        let network = Run { plan, file, precision }.network()?;
        Self::new(network).map_err(FormatError)
    }
}

/// How runs hold keys and values: as bytes where keys are normed, which bounds them.
fn held_by_run(choices: &Choices, head_dimension: usize) -> HeldAs {
    if choices.qk_norm && head_dimension <= 256 { HeldAs::Bytes } else { HeldAs::Halves }
}

/// What a block's normed input is multiplied by, where the depth scales it; blocks count from 0.
#[must_use]
pub fn depth_scale(block: usize) -> f64 {
    1.0 / (block as f64 + 1.0).sqrt()
}

/// A run being packed.
struct Run<'a> {
    plan: &'a Plan,
    file: &'a mut TensorFile,
    precision: PackedPrecision,
}

impl Run<'_> {
    fn network(&mut self) -> Result<Transformer, FormatError> {
        let (plan, choices) = (self.plan, self.plan.choices);
        let (width, vocabulary) = (plan.size.width, plan.tokenization.vocabulary());
        let head_dimension = plan.head_dimension();
        let known = plan.embedding_rows();
        let table = self.matrix("embedding", [known, width], Scaled::Rows)?;
        let embedding = table.pack([width, known], |token, input| Some(token * width + input));
        let pre_norm = choices.norm == Norm::PreRms;
        let norm = pre_norm.then_some(RowNorm::Rms { scale: None, epsilon: RMS_EPSILON });
        let layers = (0..plan.size.layers).map(|index| self.layer(index));
        let layers = layers.collect::<Result<_, _>>()?;
        let head = self.weights("head", [width, vocabulary])?;
        let rotated = choices.rotary_dimensions.unwrap_or(head_dimension);
        let frequencies = rotary_frequencies(ROPE_BASE, head_dimension, rotated);
        let taps = choices.embedding_convolution;
        let taps =
            taps.then(|| self.file.take("embedding_convolution", &[CONVOLUTION_TAPS * width]));
        Ok(Transformer {
            width,
            context: plan.context,
            embedding: Some(embedding),
            embedding_scale: if choices.scale_embeddings { (width as f32).sqrt() } else { 1.0 },
            positions: None,
            embedding_norm: norm.clone(),
            embedding_convolution: taps.transpose()?,
            rotary: vec![RotaryTable::new(&frequencies, plan.context)],
            residual_scale: 1.0,
            order: if pre_norm { Order::PreNorm } else { Order::PostNorm },
            layers,
            final_norm: norm,
            head: self.biased(head, "head_bias")?,
            soft_cap: choices.soft_cap.map(|cap| cap as f32),
        })
    }

    fn layer(&mut self, index: usize) -> Result<Layer, FormatError> {
        let name = &format!("blocks.{index}");
        let (width, heads) = (self.plan.size.width, self.plan.heads());
        let inner = 4 * width;
        let up = self.weights(&format!("{name}.up"), [width, inner])?;
        let down = self.weights(&format!("{name}.down"), [inner, width])?;
        Ok(Layer {
            entry: self.entry(index)?,
            between: self.between(index)?,
            attention_norm: self.norm(&format!("{name}.attention_norm"), index)?,
            attention_after: None,
            heads: self.heads(&format!("{name}.gain"), heads)?,
            rotary: Some(0),
            qkv: self.qkv(&format!("{name}.qkv"))?,
            mixing: self.mixing(&format!("{name}.proj"))?,
            mlp_norm: self.norm(&format!("{name}.mlp_norm"), index)?,
            mlp_after: None,
            gate: None,
            up: self.biased(up, &format!("{name}.up_bias"))?,
            activation: match self.plan.choices.activation {
                Activation::SquaredRelu => Gate::ReluSquared,
                Activation::LeakySquaredRelu => Gate::LeakyReluSquared,
                Activation::Gelu => Gate::GeluTanh,
            },
            down: self.biased(down, &format!("{name}.down_bias"))?,
        })
    }

    fn matrix(
        &mut self,
        name: &str,
        shape: [usize; 2],
        scaled: Scaled,
    ) -> Result<Matrix, FormatError> {
        Matrix::take(self.file, name, shape, scaled, self.precision)
    }

    fn weights(&mut self, name: &str, shape: [usize; 2]) -> Result<PackedWeights, FormatError> {
        let matrix = self.matrix(name, shape, Scaled::Columns)?;
        Ok(matrix.pack(shape, |output, input| Some(input * shape[1] + output)))
    }

    fn biased(&mut self, weights: PackedWeights, name: &str) -> Result<PackedWeights, FormatError> {
        if !self.plan.choices.biases {
            return Ok(weights);
        }
        let bias = self.file.take(name, &[weights.outputs()])?;
        Ok(weights.with_bias(&bias))
    }

    fn norm(&mut self, name: &str, index: usize) -> Result<Option<RowNorm>, FormatError> {
        let width = [self.plan.size.width];
        let scaled = self.plan.choices.depth_scale;
        Ok(Some(match self.plan.choices.norm {
            Norm::PreRms => RowNorm::Rms {
                scale: scaled.then(|| vec![depth_scale(index) as f32; width[0]]),
                epsilon: RMS_EPSILON,
            },
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
            norm: normed.then_some(HeadNorm {
                of: NormOf::Head,
                dimensions: dimension,
                epsilon: RMS_EPSILON,
            }),
            query_scale: scales.collect(),
            key_scale: vec![1.0; heads * dims],
            window: None,
            soft_cap: None,
            held: held_by_run(&self.plan.choices, dimension),
        })
    }

    /// What happens to the stream before a layer.
    fn entry(&mut self, index: usize) -> Result<Entry, FormatError> {
        let Plan { choices, size, .. } = self.plan;
        let name = |part: &str| format!("blocks.{index}.{part}");
        let mut mix = |part: &str| {
            let weights = self.file.take(&name(part), &[2])?;
            Ok::<_, FormatError>([weights[0], weights[1]])
        };
        let residual = choices.residual_scalars.then(|| mix("residual")).transpose()?;
        let skip = choices.skip_from(index, size.layers);
        let skip = skip.map(|from| Ok((from, mix("skip")?))).transpose()?;
        let taps = [CONVOLUTION_TAPS * size.width];
        let convolution = choices.block_convolution;
        let convolution = convolution.then(|| self.file.take(&name("convolution"), &taps));
        Ok(Entry { residual, skip, convolution: convolution.transpose()? })
    }

    /// What happens to a layer's queries, keys and values.
    fn between(&mut self, index: usize) -> Result<Between, FormatError> {
        let Plan { choices, size, .. } = self.plan;
        let (width, known) = (size.width, self.plan.embedding_rows());
        let outputs = 3 * self.part();
        let mut between = Between::default();
        if choices.qkv_convolution {
            let name = format!("blocks.{index}.qkv_convolution");
            let taps = self.file.take(&name, &[CONVOLUTION_TAPS * 3 * width])?;
            let tap = |tap: &[f32]| -> Vec<f32> {
                let of = |output| self.qkv_source(output).map_or(0.0, |source| tap[source]);
                (0..outputs).map(of).collect()
            };
            between.convolution = Some(taps.chunks_exact(3 * width).flat_map(tap).collect());
        }
        if choices.has_values(index, size.layers) {
            let name = format!("blocks.{index}.values");
            let table = self.matrix(&name, [known, width], Scaled::Rows)?;
            let part = self.part();
            let place = |token: usize, output: usize| {
                let source = self.qkv_source(2 * part + output)?;
                Some(token * width + source - 2 * width)
            };
            between.values = Some(table.pack([part, known], place));
        }
        Ok(between)
    }

    /// Numbers of a token's queries: each head filled up to whole sixteens.
    fn part(&self) -> usize {
        self.plan.heads() * self.plan.head_dimension().next_multiple_of(16)
    }

    /// Which of a token's queries, keys and values stands at a place of the packed ones: each head filled up to whole
    /// sixteens, in the order that the rotation wants.
    fn qkv_source(&self, output: usize) -> Option<usize> {
        let (width, dimension) = (self.plan.size.width, self.plan.head_dimension());
        let (part, dims) = (self.part(), dimension.next_multiple_of(16));
        let (head, place) = (output % part / dims, output % dims);
        let turned = if output < 2 * part { dimension } else { 0 };
        let source = source_dimension(place, dimension, turned)?;
        Some(output / part * width + head * dimension + source)
    }

    /// The weights of queries, keys and values.
    fn qkv(&mut self, name: &str) -> Result<PackedWeights, FormatError> {
        let (width, outputs) = (self.plan.size.width, 3 * self.part());
        let weights = self.matrix(name, [width, 3 * width], Scaled::Columns)?;
        Ok(weights.pack([width, outputs], |output, input| {
            Some(input * 3 * width + self.qkv_source(output)?)
        }))
    }

    /// What the heads give back; a value's place is as in `qkv`.
    fn mixing(&mut self, name: &str) -> Result<PackedWeights, FormatError> {
        let (width, dimension) = (self.plan.size.width, self.plan.head_dimension());
        let dims = dimension.next_multiple_of(16);
        let weights = self.matrix(name, [width, width], Scaled::Columns)?;
        let inputs = self.plan.heads() * dims;
        Ok(weights.pack([inputs, width], |output, input| {
            let source = source_dimension(input % dims, dimension, 0)?;
            Some((input / dims * dimension + source) * width + output)
        }))
    }
}
