//! The network: one definition of the decoder-only Transformer for every recipe, size and device, written in the
//! operations of [`Ops`]. Its choices come from the plan; it is trained by `learner`, saved by `weights.rs`, and
//! computed for coding by the engine.

use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module, ModuleMapper, Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use lmtrain_engine::depth_scale;
use lmtrain_engine::weight_code::rounding;
use lmtrain_runs::plan::CONVOLUTION_TAPS;
use lmtrain_runs::random::SplitMix64;
use lmtrain_runs::recipe::{Norm, Weights};
use lmtrain_runs::{Choices, Plan, Precision};

use crate::ops::{AttentionHalf, Head, Heads, MlpHalf, Ops, Rounding, number_type};

/// A normal cut off at ±2 has this deviation; haiku divides it out of its linear layers.
const CUT_NORMAL_DEVIATION: f32 = 0.879_625_7;

/// A decoder-only Transformer.
#[derive(Module, Debug)]
pub struct Network<B: Backend> {
    embedding: Param<Tensor<B, 2>>, // [embedding rows, width]
    embedding_convolution: Option<Param<Tensor<B, 1>>>, // [4 · width]
    blocks: Vec<Block<B>>,
    head: Param<Tensor<B, 2>>, // [width, vocabulary]
    head_bias: Option<Param<Tensor<B, 1>>>,
    #[module(skip)]
    architecture: Architecture,
}

/// One layer: attention and MLP, each around the residual stream.
#[derive(Module, Debug)]
struct Block<B: Backend> {
    residual: Option<Param<Tensor<B, 1>>>, // [2]: of the stream, and of the embedding
    skip: Option<Param<Tensor<B, 1>>>,     // [2]: of the stream, and of an earlier block
    convolution: Option<Param<Tensor<B, 1>>>, // [4 · width]
    qkv_convolution: Option<Param<Tensor<B, 1>>>, // [4 · 3 · width]
    values: Option<Param<Tensor<B, 2>>>,   // [embedding rows, width]
    qkv: Param<Tensor<B, 2>>,              // [width, 3 · width]
    gain: Option<Param<Tensor<B, 1>>>,     // [heads]
    proj: Param<Tensor<B, 2>>,             // [width, width]
    attention_norm: Option<LayerNorm<B>>,
    up: Param<Tensor<B, 2>>, // [width, 4 · width]
    up_bias: Option<Param<Tensor<B, 1>>>,
    down: Param<Tensor<B, 2>>, // [4 · width, width]
    down_bias: Option<Param<Tensor<B, 1>>>,
    mlp_norm: Option<LayerNorm<B>>,
}

/// Scale and offset of a layer norm, each [width].
#[derive(Module, Debug)]
struct LayerNorm<B: Backend> {
    scale: Param<Tensor<B, 1>>,
    offset: Param<Tensor<B, 1>>,
}

/// What of a plan shapes the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Architecture {
    /// Width of the residual stream.
    pub width: usize,
    /// Heads of each attention.
    pub heads: Heads,
    /// The recipe's row.
    pub choices: Choices,
    /// Numbers of the matrix products.
    pub precision: Precision,
}

impl<B: Backend> Network<B> {
    /// The network of a plan, with the weights that its seed draws.
    #[must_use]
    pub fn new(plan: &Plan, device: &B::Device) -> Self {
        let mut draw = Draw { generator: SplitMix64::stream(plan.seed, 0), device };
        let (width, choices) = (plan.size.width, plan.choices);
        let vocabulary = plan.tokenization.vocabulary();
        let deviation = choices.embedding_deviation as f32;
        let embedding = draw.matrix([plan.embedding_rows(), width], deviation);
        let blocks =
            (0..plan.size.layers).map(|index| Block::new(plan, index, &mut draw)).collect();
        let head = draw.output([width, vocabulary], &choices);
        let head_bias = choices.biases.then(|| draw.vector(vocabulary, 0.0));
        let embedding_convolution = choices.embedding_convolution.then(|| draw.taps(width));
        let rotated = choices.rotary_dimensions;
        let heads = Heads { count: plan.heads(), rotated };
        let architecture = Architecture { width, heads, choices, precision: plan.precision };
        Self { embedding, embedding_convolution, blocks, head, head_bias, architecture }
    }

    /// The same weights, computed with as they are, whatever the plan rounds them to.
    #[must_use]
    pub fn unrounded(&self) -> Self {
        let mut network = self.clone();
        network.architecture.choices.weights = Weights::F16;
        network
    }

    /// The same weights as leaves of a graph, each of which gets a gradient.
    #[must_use]
    pub fn with_gradients(self) -> Network<Autodiff<B>> {
        Network::from_inner(self).map(&mut RequireGradients)
    }
}

impl<B: Ops> Network<B> {
    /// −ln p of each target: `inputs` [batch, time] begin with the begin token, `targets`
    /// [batch, time] are what follows each → nats [batch · time].
    #[must_use]
    pub fn loss(&self, inputs: Tensor<B, 2, Int>, targets: Tensor<B, 2, Int>) -> Tensor<B, 1> {
        let rows = targets.shape().num_elements();
        B::head_loss(self.output_head(), self.hidden(inputs), targets.reshape([rows]))
    }

    /// The mean of [`Self::loss`], one number: what training minimises.
    #[must_use]
    pub fn mean_loss(&self, inputs: Tensor<B, 2, Int>, targets: Tensor<B, 2, Int>) -> Tensor<B, 1> {
        let rows = targets.shape().num_elements();
        B::mean_head_loss(self.output_head(), self.hidden(inputs), targets.reshape([rows]))
    }

    /// The head's weights.
    #[must_use]
    pub fn output_head(&self) -> Head<B> {
        Head {
            weights: self.architecture.compute("head", &self.head),
            bias: self.head_bias.as_ref().map(Param::val),
            soft_cap: self.architecture.choices.soft_cap,
        }
    }

    /// Tokens [batch, time] → what the head reads, [batch · time, width].
    pub fn hidden(&self, tokens: Tensor<B, 2, Int>) -> Tensor<B, 2> {
        let [batch, time] = tokens.dims();
        let architecture = &self.architecture;
        let tokens = tokens.reshape([batch * time]);
        let mut x = self.embed(tokens.clone());
        match architecture.choices.norm {
            Norm::PreRms => {
                if let Some(taps) = &self.embedding_convolution {
                    x = B::convolve(time, x, taps.val());
                }
                let mut outputs = Outputs::new(x.clone(), architecture);
                for (index, block) in self.blocks.iter().enumerate() {
                    x = block.enter(x, &outputs, [index, self.blocks.len()], time);
                    x = block.pre_norm(x, architecture, Place { index, time, tokens: &tokens });
                    outputs.keep(&x);
                }
                B::normalize_rms(x)
            }
            Norm::PostLayer => {
                for block in &self.blocks {
                    x = block.post_norm(x, architecture, time);
                }
                x
            }
        }
    }

    /// Tokens [rows] → what the first block reads, [rows, width].
    fn embed(&self, tokens: Tensor<B, 1, Int>) -> Tensor<B, 2> {
        let Architecture { width, choices, .. } = self.architecture;
        let scale = if choices.scale_embeddings { (width as f64).sqrt() } else { 1.0 };
        let table = self.architecture.rounded("embedding", &self.embedding);
        let x = B::embed(table, tokens, scale);
        if choices.norm == Norm::PreRms { B::normalize_rms(x) } else { x }
    }
}

impl Architecture {
    /// A matrix of this kind, rounded to the levels that it is trained for.
    fn rounded<B: Ops>(&self, kind: &str, weights: &Param<Tensor<B, 2>>) -> Tensor<B, 2> {
        let weights = weights.val();
        match rounding(kind, &weights.dims(), self.choices.weights.into()) {
            Some((_, scaled, bits)) => B::round(Rounding { scaled, bits }, weights),
            None => weights,
        }
    }

    /// The same in the numbers that it multiplies in.
    fn compute<B: Ops>(&self, kind: &str, weights: &Param<Tensor<B, 2>>) -> Tensor<B, 2> {
        self.rounded(kind, weights).cast(number_type(self.precision))
    }

    /// One that a block's normed input is multiplied by; dividing it divides the input.
    fn compute_input<B: Ops>(
        &self,
        kind: &str,
        weights: &Param<Tensor<B, 2>>,
        block: usize,
    ) -> Tensor<B, 2> {
        match self.choices.depth_scale {
            false => self.compute(kind, weights),
            true => {
                let weights = self.rounded(kind, weights) * depth_scale(block);
                weights.cast(number_type(self.precision))
            }
        }
    }
}

/// What a network that has mixes keeps of the stream: the embeddings, and each block's output.
struct Outputs<B: Backend> {
    first: Tensor<B, 2>,
    kept: Option<Vec<Tensor<B, 2>>>,
}

impl<B: Backend> Outputs<B> {
    fn new(first: Tensor<B, 2>, architecture: &Architecture) -> Self {
        Self { first, kept: architecture.choices.skips.then(Vec::new) }
    }

    fn keep(&mut self, x: &Tensor<B, 2>) {
        if let Some(kept) = &mut self.kept {
            kept.push(x.clone());
        }
    }
}

/// Where a block stands, and what it is given.
struct Place<'a, B: Backend> {
    index: usize,
    /// Tokens of a sequence.
    time: usize,
    /// [batch · time].
    tokens: &'a Tensor<B, 1, Int>,
}

struct RequireGradients;

impl<B: Backend> ModuleMapper<B> for RequireGradients {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(Tensor::require_grad)
    }
}

impl<B: Backend> Block<B> {
    fn new(plan: &Plan, index: usize, draw: &mut Draw<'_, B>) -> Self {
        let (width, heads, choices) = (plan.size.width, plan.heads(), &plan.choices);
        let layers = plan.size.layers;
        let layer_norm = choices.norm == Norm::PostLayer;
        let mix = |draw: &Draw<'_, B>| draw.parameter(TensorData::from([1.0_f32, 0.0]));
        let table = [plan.embedding_rows(), width];
        Self {
            residual: choices.residual_scalars.then(|| mix(draw)),
            skip: choices.skip_from(index, layers).map(|_| mix(draw)),
            convolution: choices.block_convolution.then(|| draw.taps(width)),
            qkv_convolution: choices.qkv_convolution.then(|| draw.taps(3 * width)),
            values: choices.has_values(index, layers).then(|| draw.zeros(table)),
            qkv: draw.input([width, 3 * width], choices),
            gain: choices.qk_norm.then(|| draw.vector(heads, choices.initial_gain as f32)),
            proj: draw.output([width, width], choices),
            attention_norm: layer_norm.then(|| LayerNorm::new(width, draw)),
            up: draw.input([width, 4 * width], choices),
            up_bias: choices.biases.then(|| draw.vector(4 * width, 0.0)),
            down: draw.output([4 * width, width], choices),
            down_bias: choices.biases.then(|| draw.vector(width, 0.0)),
            mlp_norm: layer_norm.then(|| LayerNorm::new(width, draw)),
        }
    }
}

impl<B: Ops> Block<B> {
    /// What the block reads of the stream x [batch · time, width], as block `index` of `of`.
    fn enter(
        &self,
        mut x: Tensor<B, 2>,
        outputs: &Outputs<B>,
        [index, of]: [usize; 2],
        time: usize,
    ) -> Tensor<B, 2> {
        if let Some(weights) = &self.residual {
            x = B::mix(x, outputs.first.clone(), weights.val());
        }
        if let (Some(weights), Some(kept)) = (&self.skip, &outputs.kept) {
            x = B::mix(x, kept[of - 1 - index].clone(), weights.val());
        }
        match &self.convolution {
            Some(taps) => B::convolve(time, x, taps.val()),
            None => x,
        }
    }

    /// x [batch · time, width] → the same.
    fn pre_norm(
        &self,
        x: Tensor<B, 2>,
        architecture: &Architecture,
        place: Place<'_, B>,
    ) -> Tensor<B, 2> {
        let mlp = MlpHalf {
            activation: architecture.choices.activation,
            up: architecture.compute_input("up", &self.up, place.index),
            down: architecture.compute("down", &self.down),
        };
        B::mlp_half(mlp, self.attention_half(x, architecture, place))
    }

    /// x + attention: in one operation where nothing stands between its parts.
    fn attention_half(
        &self,
        x: Tensor<B, 2>,
        architecture: &Architecture,
        Place { index, time, tokens }: Place<'_, B>,
    ) -> Tensor<B, 2> {
        let (heads, gain) = (architecture.heads, self.gain.as_ref().map(Param::val));
        let qkv = architecture.compute_input("qkv", &self.qkv, index);
        let proj = architecture.compute("proj", &self.proj);
        if self.qkv_convolution.is_none() && self.values.is_none() {
            return B::attention_half(AttentionHalf { heads, time, qkv, gain, proj }, x);
        }
        let [rows, width] = x.dims();
        let mut qkv = B::project(B::normalize_rms(x.clone()), qkv); // [rows, 3 · width]
        if let Some(taps) = &self.qkv_convolution {
            qkv = B::convolve(time, qkv, taps.val());
        }
        if let Some(table) = &self.values {
            let values = B::embed(architecture.rounded("values", table), tokens.clone(), 1.0);
            let nothing = Tensor::zeros([rows, 2 * width], &values.device());
            qkv = qkv + Tensor::cat(vec![nothing, values], 1);
        }
        let mixed = B::attend(heads, qkv.reshape([rows / time, time, 3 * width]), gain);
        x + B::project(mixed.reshape([rows, width]), proj)
    }

    /// x [batch · time, width] → the same, for sequences of `time` tokens.
    fn post_norm(&self, x: Tensor<B, 2>, architecture: &Architecture, time: usize) -> Tensor<B, 2> {
        let [rows, width] = x.dims();
        let qkv = B::project(x.clone(), architecture.compute("qkv", &self.qkv));
        let qkv = qkv.reshape([rows / time, time, 3 * width]);
        let mixed = B::attend(architecture.heads, qkv, self.gain.as_ref().map(Param::val));
        let mixed = mixed.reshape([rows, width]);
        let x = x + B::project(mixed, architecture.compute("proj", &self.proj));
        let x = normed(&self.attention_norm, x);
        let mlp = self.mlp(x.clone(), architecture);
        normed(&self.mlp_norm, x + mlp)
    }

    fn mlp(&self, x: Tensor<B, 2>, architecture: &Architecture) -> Tensor<B, 2> {
        let up = B::project(x, architecture.compute("up", &self.up));
        let up = biased(up, &self.up_bias); // [batch · time, 4 · width]
        let after = B::activate(architecture.choices.activation, up);
        biased(B::project(after, architecture.compute("down", &self.down)), &self.down_bias)
    }
}

fn biased<B: Ops>(x: Tensor<B, 2>, bias: &Option<Param<Tensor<B, 1>>>) -> Tensor<B, 2> {
    match bias {
        Some(bias) => B::add_bias(x, bias.val()),
        None => x,
    }
}

fn normed<B: Ops>(norm: &Option<LayerNorm<B>>, x: Tensor<B, 2>) -> Tensor<B, 2> {
    match norm {
        Some(norm) => B::normalize_layer(x, norm.scale.val(), norm.offset.val()),
        None => x,
    }
}

impl<B: Backend> LayerNorm<B> {
    fn new(width: usize, draw: &mut Draw<'_, B>) -> Self {
        Self { scale: draw.vector(width, 1.0), offset: draw.vector(width, 0.0) }
    }
}

/// Draws initial weights, in the order of the network's fields.
struct Draw<'a, B: Backend> {
    generator: SplitMix64,
    device: &'a B::Device,
}

impl<B: Backend> Draw<'_, B> {
    /// A matrix of a normal distribution cut off at twice its `deviation`.
    fn matrix(&mut self, shape: [usize; 2], deviation: f32) -> Param<Tensor<B, 2>> {
        let count = shape[0] * shape[1];
        let values: Vec<f32> =
            (0..count).map(|_| self.generator.truncated_normal() * deviation).collect();
        self.parameter(TensorData::new(values, shape))
    }

    /// [inputs, outputs] that keep the variance where the scale is 1: 1/√inputs (haiku's default for
    /// linear layers).
    fn input(&mut self, shape: [usize; 2], choices: &Choices) -> Param<Tensor<B, 2>> {
        let scale = choices.matrix_scale as f32;
        self.matrix(shape, scale / (shape[0] as f32).sqrt() / CUT_NORMAL_DEVIATION)
    }

    /// [inputs, outputs] that write to the residual stream or the logits.
    fn output(&mut self, shape: [usize; 2], choices: &Choices) -> Param<Tensor<B, 2>> {
        if choices.zero_outputs { self.matrix(shape, 0.0) } else { self.input(shape, choices) }
    }

    /// A table that starts at zero, and leaves what is drawn for other weights as it is.
    fn zeros(&self, shape: [usize; 2]) -> Param<Tensor<B, 2>> {
        self.parameter(TensorData::new(vec![0.0_f32; shape[0] * shape[1]], shape))
    }

    /// The taps of a convolution that changes nothing yet: [4 · width].
    fn taps(&self, width: usize) -> Param<Tensor<B, 1>> {
        let mut values = vec![0.0_f32; CONVOLUTION_TAPS * width];
        values[..width].fill(1.0);
        self.parameter(TensorData::new(values, [CONVOLUTION_TAPS * width]))
    }

    fn vector(&mut self, length: usize, value: f32) -> Param<Tensor<B, 1>> {
        self.parameter(TensorData::new(vec![value; length], [length]))
    }

    fn parameter<const D: usize>(&self, data: TensorData) -> Param<Tensor<B, D>> {
        Param::initialized(ParamId::new(), Tensor::from_data(data, self.device))
    }
}
