//! [`Ops`] on every backend that has [`Kernels`], and on `Autodiff` of it: there each operation is
//! one node of the graph, which keeps its inputs and calls the kernel's backward pass.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops as Node, OpsKind};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Int, Tensor, TensorPrimitive};
use lmtrain_runs::recipe::Activation;

use super::{
    AttentionHalf, AttentionKept, Head, HeadGradients, Heads, Kernels, MlpHalf, Ops, Rounding,
};

fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

fn tensor<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// A backward pass of one operation: from the output's gradient to one for each of N inputs.
trait Gradient<B: Backend, const N: usize>: Clone + Send + std::fmt::Debug + 'static {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; N];
}

/// The node of any operation that has a [`Gradient`] as its state.
#[derive(Debug)]
struct Step<G>(std::marker::PhantomData<G>);

impl<B: Backend, const N: usize, G: Gradient<B, N>> Backward<B, N> for Step<G> {
    type State = G;

    fn backward(
        self,
        node: Node<G, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let output = gradients.consume::<B>(&node.node);
        let inputs = node.state.gradients(output);
        for (parent, gradient) in node.parents.into_iter().zip(inputs) {
            if let Some(parent) = parent {
                gradients.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// Registers an operation: its inputs in the graph, its output, and its backward pass.
fn node<B: Backend, C: CheckpointStrategy, G: Gradient<B, N>, const N: usize>(
    inputs: [&FloatTensor<Autodiff<B, C>>; N],
    output: FloatTensor<B>,
    gradient: G,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = inputs.map(|input| input.node.clone());
    match Step::<G>(std::marker::PhantomData).prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(preparation) => preparation.finish(gradient, output),
        OpsKind::UnTracked(preparation) => preparation.finish(output),
    }
}

#[derive(Clone, Debug)]
struct EmbeddingGradient<B: Backend> {
    rows: usize,
    tokens: Tensor<B, 1, Int>,
    scale: f64,
}

impl<B: Kernels> Gradient<B, 1> for EmbeddingGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 1] {
        [primitive(B::embed_backward(self.rows, self.tokens, self.scale, tensor(output)))]
    }
}

/// The gradient as it comes.
#[derive(Clone, Debug)]
struct StraightThrough;

impl<B: Backend> Gradient<B, 1> for StraightThrough {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 1] {
        [output]
    }
}

#[derive(Clone, Debug)]
struct RmsNormGradient<B: Backend>(Tensor<B, 2>);

impl<B: Kernels> Gradient<B, 1> for RmsNormGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 1] {
        [primitive(B::normalize_rms_backward(self.0, tensor(output)))]
    }
}

#[derive(Clone, Debug)]
struct LayerNormGradient<B: Backend>(Tensor<B, 2>, Tensor<B, 1>);

impl<B: Kernels> Gradient<B, 3> for LayerNormGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 3] {
        let (x, scale, offset) = B::normalize_layer_backward(self.0, self.1, tensor(output));
        [primitive(x), primitive(scale), primitive(offset)]
    }
}

#[derive(Clone, Debug)]
struct LinearGradient<B: Backend>(Tensor<B, 2>, Tensor<B, 2>);

impl<B: Kernels> Gradient<B, 2> for LinearGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 2] {
        let output = tensor(output);
        let weights = B::project_weight_backward(self.0, output.clone(), self.1.dtype());
        [primitive(B::project_input_backward(self.1, output)), primitive(weights)]
    }
}

#[derive(Clone, Debug)]
struct BiasGradient;

impl<B: Kernels> Gradient<B, 2> for BiasGradient {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 2] {
        [output.clone(), primitive(B::add_bias_backward(tensor(output)))]
    }
}

#[derive(Clone, Debug)]
struct ActivationGradient<B: Backend>(Activation, Tensor<B, 2>);

impl<B: Kernels> Gradient<B, 1> for ActivationGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 1] {
        [primitive(B::activate_backward(self.0, self.1, tensor(output)))]
    }
}

#[derive(Clone, Debug)]
struct MixGradient<B: Backend>(Tensor<B, 2>, Tensor<B, 2>, Tensor<B, 1>);

impl<B: Kernels> Gradient<B, 3> for MixGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 3] {
        let (x, other, weights) = B::mix_backward(self.0, self.1, self.2, tensor(output));
        [primitive(x), primitive(other), primitive(weights)]
    }
}

#[derive(Clone, Debug)]
struct ConvolutionGradient<B: Backend>(usize, Tensor<B, 2>, Tensor<B, 1>);

impl<B: Kernels> Gradient<B, 2> for ConvolutionGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 2] {
        let (x, weights) = B::convolve_backward(self.0, self.1, self.2, tensor(output));
        [primitive(x), primitive(weights)]
    }
}

#[derive(Clone, Debug)]
struct AttentionGradient<B: Backend> {
    heads: Heads,
    qkv: Tensor<B, 3>,
    gain: Option<Tensor<B, 1>>,
    output: Tensor<B, 3>,
    log_sum: Tensor<B, 3>,
}

impl<B: Kernels> AttentionGradient<B> {
    fn both(self, gradient: FloatTensor<B>) -> (FloatTensor<B>, Option<FloatTensor<B>>) {
        let Self { heads, qkv, gain, output, log_sum } = self;
        let gradient = tensor(gradient);
        let (qkv, gain) = B::attend_backward(heads, qkv, gain, output, log_sum, gradient);
        (primitive(qkv), gain.map(primitive))
    }
}

impl<B: Kernels> Gradient<B, 1> for AttentionGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 1] {
        [self.both(output).0]
    }
}

impl<B: Kernels> Gradient<B, 2> for AttentionGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 2] {
        let (qkv, gain) = self.both(output);
        [qkv, gain.expect("a node of two inputs has a gain")]
    }
}

#[derive(Clone, Debug)]
struct AttentionHalfGradient<B: Backend> {
    half: AttentionHalf<B>,
    x: Tensor<B, 2>,
    kept: AttentionKept<B>,
}

impl<B: Kernels> AttentionHalfGradient<B> {
    fn all(self, gradient: FloatTensor<B>) -> ([FloatTensor<B>; 3], Option<FloatTensor<B>>) {
        let Self { half, x, kept } = self;
        let (matrices, gain) = B::attention_half_backward(half, x, kept, tensor(gradient));
        (matrices.map(primitive), gain.map(primitive))
    }
}

impl<B: Kernels> Gradient<B, 3> for AttentionHalfGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 3] {
        self.all(output).0
    }
}

impl<B: Kernels> Gradient<B, 4> for AttentionHalfGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 4] {
        let ([x, qkv, proj], gain) = self.all(output);
        [x, qkv, proj, gain.expect("a node of four inputs has a gain")]
    }
}

#[derive(Clone, Debug)]
struct MlpHalfGradient<B: Backend> {
    half: MlpHalf<B>,
    x: Tensor<B, 2>,
    kept: Tensor<B, 2>,
}

impl<B: Kernels> Gradient<B, 3> for MlpHalfGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 3] {
        let Self { half, x, kept } = self;
        B::mlp_half_backward(half, x, kept, tensor(output)).map(primitive)
    }
}

/// Gradients that the forward pass made already, for an upstream of 1.
#[derive(Clone, Debug)]
struct MeanHeadGradient<B: Backend>(HeadGradients<B>);

impl<B: Kernels> MeanHeadGradient<B> {
    fn all(self, upstream: FloatTensor<B>) -> ([FloatTensor<B>; 2], Option<FloatTensor<B>>) {
        let (hidden, weights, bias) = self.0;
        let upstream = tensor::<B, 1>(upstream);
        let matrix = |gradient: Tensor<B, 2>| primitive(gradient * upstream.clone().unsqueeze());
        let bias = bias.map(|bias| primitive(bias * upstream.clone()));
        ([matrix(hidden), matrix(weights)], bias)
    }
}

impl<B: Kernels> Gradient<B, 2> for MeanHeadGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 2] {
        self.all(output).0
    }
}

impl<B: Kernels> Gradient<B, 3> for MeanHeadGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 3] {
        let ([hidden, weights], bias) = self.all(output);
        [hidden, weights, bias.expect("a node of three inputs has a bias")]
    }
}

#[derive(Clone, Debug)]
struct HeadGradient<B: Backend> {
    head: Head<B>,
    hidden: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
}

impl<B: Kernels> HeadGradient<B> {
    fn all(self, gradient: FloatTensor<B>) -> ([FloatTensor<B>; 2], Option<FloatTensor<B>>) {
        let Self { head, hidden, targets } = self;
        let (hidden, weights, bias) =
            B::head_loss_backward(head, hidden, targets, tensor(gradient));
        ([primitive(hidden), primitive(weights)], bias.map(primitive))
    }
}

impl<B: Kernels> Gradient<B, 2> for HeadGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 2] {
        self.all(output).0
    }
}

impl<B: Kernels> Gradient<B, 3> for HeadGradient<B> {
    fn gradients(self, output: FloatTensor<B>) -> [FloatTensor<B>; 3] {
        let ([hidden, weights], bias) = self.all(output);
        [hidden, weights, bias.expect("a node of three inputs has a bias")]
    }
}

impl<B: Kernels> Ops for B {
    fn embed(table: Tensor<B, 2>, tokens: Tensor<B, 1, Int>, scale: f64) -> Tensor<B, 2> {
        B::embed_forward(table, tokens, scale)
    }

    fn normalize_rms(x: Tensor<B, 2>) -> Tensor<B, 2> {
        B::normalize_rms_forward(x)
    }

    fn normalize_layer(x: Tensor<B, 2>, scale: Tensor<B, 1>, offset: Tensor<B, 1>) -> Tensor<B, 2> {
        B::normalize_layer_forward(x, scale, offset)
    }

    fn project(x: Tensor<B, 2>, weights: Tensor<B, 2>) -> Tensor<B, 2> {
        B::project_forward(x, weights)
    }

    fn round(rounding: Rounding, weights: Tensor<B, 2>) -> Tensor<B, 2> {
        B::round_forward(rounding, weights)
    }

    fn add_bias(x: Tensor<B, 2>, bias: Tensor<B, 1>) -> Tensor<B, 2> {
        B::add_bias_forward(x, bias)
    }

    fn activate(activation: Activation, x: Tensor<B, 2>) -> Tensor<B, 2> {
        B::activate_forward(activation, x)
    }

    fn mix(x: Tensor<B, 2>, other: Tensor<B, 2>, weights: Tensor<B, 1>) -> Tensor<B, 2> {
        B::mix_forward(x, other, weights)
    }

    fn convolve(time: usize, x: Tensor<B, 2>, weights: Tensor<B, 1>) -> Tensor<B, 2> {
        B::convolve_forward(time, x, weights)
    }

    fn attend(heads: Heads, qkv: Tensor<B, 3>, gain: Option<Tensor<B, 1>>) -> Tensor<B, 3> {
        B::attend_forward(heads, qkv, gain).0
    }

    fn attention_half(half: AttentionHalf<B>, x: Tensor<B, 2>) -> Tensor<B, 2> {
        B::attention_half_forward(&half, x).0
    }

    fn mlp_half(half: MlpHalf<B>, x: Tensor<B, 2>) -> Tensor<B, 2> {
        B::mlp_half_forward(&half, x).0
    }

    fn head_loss(head: Head<B>, hidden: Tensor<B, 2>, targets: Tensor<B, 1, Int>) -> Tensor<B, 1> {
        B::head_loss_forward(head, hidden, targets)
    }

    fn mean_head_loss(
        head: Head<B>,
        hidden: Tensor<B, 2>,
        targets: Tensor<B, 1, Int>,
    ) -> Tensor<B, 1> {
        B::head_loss_forward(head, hidden, targets).mean()
    }
}

impl<B: Kernels, C: CheckpointStrategy> Ops for Autodiff<B, C> {
    fn embed(table: Tensor<Self, 2>, tokens: Tensor<Self, 1, Int>, scale: f64) -> Tensor<Self, 2> {
        let rows = table.dims()[0];
        let table = primitive(table);
        let tokens = tokens.inner();
        let output = B::embed_forward(inner::<B, C, _>(&table), tokens.clone(), scale);
        let gradient = EmbeddingGradient::<B> { rows, tokens, scale };
        tensor(node::<B, C, _, 1>([&table], primitive(output), gradient))
    }

    fn normalize_rms(x: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let x = primitive(x);
        let output = B::normalize_rms_forward(inner::<B, C, _>(&x));
        tensor(node::<B, C, _, 1>(
            [&x],
            primitive(output),
            RmsNormGradient::<B>(inner::<B, C, _>(&x)),
        ))
    }

    fn normalize_layer(
        x: Tensor<Self, 2>,
        scale: Tensor<Self, 1>,
        offset: Tensor<Self, 1>,
    ) -> Tensor<Self, 2> {
        let (x, scale, offset) = (primitive(x), primitive(scale), primitive(offset));
        let output = B::normalize_layer_forward(
            inner::<B, C, _>(&x),
            inner::<B, C, _>(&scale),
            inner::<B, C, _>(&offset),
        );
        let gradient = LayerNormGradient::<B>(inner::<B, C, _>(&x), inner::<B, C, _>(&scale));
        tensor(node::<B, C, _, 3>([&x, &scale, &offset], primitive(output), gradient))
    }

    fn project(x: Tensor<Self, 2>, weights: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let (x, weights) = (primitive(x), primitive(weights));
        let output = B::project_forward(inner::<B, C, _>(&x), inner::<B, C, _>(&weights));
        let matrix: Tensor<B, 2> = inner::<B, C, _>(&weights);
        let kept: Tensor<B, 2> = inner::<B, C, _>(&x);
        let gradient = LinearGradient::<B>(kept.cast(matrix.dtype()), matrix);
        tensor(node::<B, C, _, 2>([&x, &weights], primitive(output), gradient))
    }

    fn round(rounding: Rounding, weights: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let weights = primitive(weights);
        let output = B::round_forward(rounding, inner::<B, C, _>(&weights));
        tensor(node::<B, C, _, 1>([&weights], primitive(output), StraightThrough))
    }

    fn add_bias(x: Tensor<Self, 2>, bias: Tensor<Self, 1>) -> Tensor<Self, 2> {
        let (x, bias) = (primitive(x), primitive(bias));
        let output: Tensor<B, 2> =
            B::add_bias_forward(inner::<B, C, _>(&x), inner::<B, C, _>(&bias));
        tensor(node::<B, C, _, 2>([&x, &bias], primitive(output), BiasGradient))
    }

    fn activate(activation: Activation, x: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let x = primitive(x);
        let output = B::activate_forward(activation, inner::<B, C, _>(&x));
        tensor(node::<B, C, _, 1>(
            [&x],
            primitive(output),
            ActivationGradient::<B>(activation, inner::<B, C, _>(&x)),
        ))
    }

    fn mix(
        x: Tensor<Self, 2>,
        other: Tensor<Self, 2>,
        weights: Tensor<Self, 1>,
    ) -> Tensor<Self, 2> {
        let (x, other, weights) = (primitive(x), primitive(other), primitive(weights));
        let gradient = MixGradient::<B>(
            inner::<B, C, _>(&x),
            inner::<B, C, _>(&other),
            inner::<B, C, _>(&weights),
        );
        let MixGradient(own, mixed, by) = gradient.clone();
        let output = primitive(B::mix_forward(own, mixed, by));
        tensor(node::<B, C, _, 3>([&x, &other, &weights], output, gradient))
    }

    fn convolve(time: usize, x: Tensor<Self, 2>, weights: Tensor<Self, 1>) -> Tensor<Self, 2> {
        let (x, weights) = (primitive(x), primitive(weights));
        let gradient =
            ConvolutionGradient::<B>(time, inner::<B, C, _>(&x), inner::<B, C, _>(&weights));
        let ConvolutionGradient(_, rows, taps) = gradient.clone();
        let output = primitive(B::convolve_forward(time, rows, taps));
        tensor(node::<B, C, _, 2>([&x, &weights], output, gradient))
    }

    fn attend(
        heads: Heads,
        qkv: Tensor<Self, 3>,
        gain: Option<Tensor<Self, 1>>,
    ) -> Tensor<Self, 3> {
        let (qkv, gain) = (primitive(qkv), gain.map(primitive));
        let inner_qkv: Tensor<B, 3> = inner::<B, C, _>(&qkv);
        let inner_gain: Option<Tensor<B, 1>> = gain.as_ref().map(inner::<B, C, _>);
        let (output, log_sum) = B::attend_forward(heads, inner_qkv.clone(), inner_gain.clone());
        let gradient = AttentionGradient {
            heads,
            qkv: inner_qkv,
            gain: inner_gain,
            output: output.clone(),
            log_sum,
        };
        tensor(match &gain {
            None => node::<B, C, _, 1>([&qkv], primitive(output), gradient),
            Some(gain) => node::<B, C, _, 2>([&qkv, gain], primitive(output), gradient),
        })
    }

    fn attention_half(half: AttentionHalf<Self>, x: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let AttentionHalf { heads, time, qkv, gain, proj } = half;
        let [x, qkv, proj] = [x, qkv, proj].map(primitive);
        let gain = gain.map(primitive);
        let half = AttentionHalf::<B> {
            heads,
            time,
            qkv: inner::<B, C, _>(&qkv),
            gain: gain.as_ref().map(inner::<B, C, _>),
            proj: inner::<B, C, _>(&proj),
        };
        let rows: Tensor<B, 2> = inner::<B, C, _>(&x);
        let (output, kept) = B::attention_half_forward(&half, rows.clone());
        let gradient = AttentionHalfGradient { half, x: rows, kept };
        tensor(match &gain {
            None => node::<B, C, _, 3>([&x, &qkv, &proj], primitive(output), gradient),
            Some(gain) => node::<B, C, _, 4>([&x, &qkv, &proj, gain], primitive(output), gradient),
        })
    }

    fn mlp_half(half: MlpHalf<Self>, x: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let [x, up, down] = [x, half.up, half.down].map(primitive);
        let half = MlpHalf::<B> {
            activation: half.activation,
            up: inner::<B, C, _>(&up),
            down: inner::<B, C, _>(&down),
        };
        let rows: Tensor<B, 2> = inner::<B, C, _>(&x);
        let (output, kept) = B::mlp_half_forward(&half, rows.clone());
        let gradient = MlpHalfGradient { half, x: rows, kept };
        tensor(node::<B, C, _, 3>([&x, &up, &down], primitive(output), gradient))
    }

    fn head_loss(
        head: Head<Self>,
        hidden: Tensor<Self, 2>,
        targets: Tensor<Self, 1, Int>,
    ) -> Tensor<Self, 1> {
        let HeadParts { hidden, weights, bias, head, rows } = HeadParts::<B, C>::new(head, hidden);
        let targets = targets.inner();
        let output = B::head_loss_forward(head.clone(), rows.clone(), targets.clone());
        let (output, gradient) =
            (primitive(output), HeadGradient::<B> { head, hidden: rows, targets });
        tensor(match &bias {
            None => node::<B, C, _, 2>([&hidden, &weights], output, gradient),
            Some(bias) => node::<B, C, _, 3>([&hidden, &weights, bias], output, gradient),
        })
    }

    fn mean_head_loss(
        head: Head<Self>,
        hidden: Tensor<Self, 2>,
        targets: Tensor<Self, 1, Int>,
    ) -> Tensor<Self, 1> {
        let HeadParts { hidden, weights, bias, head, rows } = HeadParts::<B, C>::new(head, hidden);
        let (output, gradients) = B::mean_head_loss_with_gradients(head, rows, targets.inner());
        let (output, gradient) = (primitive(output), MeanHeadGradient::<B>(gradients));
        tensor(match &bias {
            None => node::<B, C, _, 2>([&hidden, &weights], output, gradient),
            Some(bias) => node::<B, C, _, 3>([&hidden, &weights, bias], output, gradient),
        })
    }
}

/// A head and what it reads, in the graph and under it.
struct HeadParts<B: Backend, C: CheckpointStrategy> {
    hidden: FloatTensor<Autodiff<B, C>>,
    weights: FloatTensor<Autodiff<B, C>>,
    bias: Option<FloatTensor<Autodiff<B, C>>>,
    head: Head<B>,
    rows: Tensor<B, 2>,
}

impl<B: Backend, C: CheckpointStrategy> HeadParts<B, C> {
    fn new(head: Head<Autodiff<B, C>>, hidden: Tensor<Autodiff<B, C>, 2>) -> Self {
        let [hidden, weights] = [hidden, head.weights].map(primitive);
        let bias = head.bias.map(primitive);
        let inner_head = Head {
            weights: inner::<B, C, _>(&weights),
            bias: bias.as_ref().map(inner::<B, C, _>),
            soft_cap: head.soft_cap,
        };
        let rows = inner::<B, C, _>(&hidden);
        Self { hidden, weights, bias, head: inner_head, rows }
    }
}

/// The tensor under a node, on the inner backend.
fn inner<B: Backend, C: CheckpointStrategy, const D: usize>(
    primitive: &FloatTensor<Autodiff<B, C>>,
) -> Tensor<B, D> {
    tensor(<Autodiff<B, C> as AutodiffBackend>::inner(primitive.clone()))
}
