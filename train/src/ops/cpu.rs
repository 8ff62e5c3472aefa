//! The processor's operations: burn's `Flex` tensors as slices, handed to the kernels.
//!
//! As everywhere, matrices of weights in bf16 ask for products of bf16. All other tensors are f32: the kernels round what
//! they multiply.

use std::ops::Deref;

use burn::backend::Flex;
use burn::backend::flex::{FlexDevice, FlexTensor};
use burn::tensor::{DType, Int, Tensor, TensorData};
use lmtrain_runs::Precision;
use lmtrain_runs::recipe::Activation;

use super::{
    AdamSettings, AttentionHalf, AttentionKept, Head, HeadGradients, Heads, Kernels, MlpHalf,
    MuonSettings, scaled,
};
use lmtrain_kernels::{self as kernels, AttentionShape, Factors, LinearShape};

/// A tensor that can be read as a slice.
struct Slice(FlexTensor);

impl Deref for Slice {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0.storage()
    }
}

/// A tensor's numbers; those of bf16 are widened.
fn slice<const D: usize>(tensor: Tensor<Flex, D>) -> Slice {
    Slice(tensor.cast(DType::F32).into_primitive().tensor().to_contiguous())
}

/// What the kernels multiply for weights in these numbers.
fn factors(numbers: DType) -> Factors {
    match numbers {
        DType::BF16 => Factors::Bfloat,
        _ => Factors::Single,
    }
}

/// A linear layer's shape, and what its weights ask to multiply.
fn linear_shape(rows: usize, weights: &Tensor<Flex, 2>) -> LinearShape {
    let [inputs, outputs] = weights.dims();
    LinearShape { rows, inputs, outputs, factors: factors(weights.dtype()) }
}

/// The values of a tensor, to write over; copied only if someone else holds them too.
fn values<const D: usize>(tensor: Tensor<Flex, D>) -> Vec<f32> {
    tensor.into_data().into_vec().expect("Flex tensors here are f32")
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<Flex, D> {
    Tensor::from_data(TensorData::new(values, shape), &FlexDevice)
}

fn tokens(tokens: Tensor<Flex, 1, Int>) -> Vec<u32> {
    let tokens: Vec<i32> = tokens.into_data().into_vec().expect("Flex integers here are i32");
    tokens.into_iter().map(i32::cast_unsigned).collect()
}

/// The two numbers of a mix.
fn pair(weights: Tensor<Flex, 1>) -> [f32; 2] {
    let weights = slice(weights);
    [weights[0], weights[1]]
}

fn kernel_activation(activation: Activation) -> kernels::Activation {
    match activation {
        Activation::SquaredRelu => kernels::Activation::ReluSquared,
        Activation::LeakySquaredRelu => kernels::Activation::LeakyReluSquared,
        Activation::Gelu => kernels::Activation::Gelu,
    }
}

/// A head as slices.
struct HeadSlices {
    width: usize,
    vocabulary: usize,
    weights: Slice,
    bias: Option<Slice>,
    soft_cap: Option<f32>,
    factors: Factors,
}

impl HeadSlices {
    fn new(head: Head<Flex>) -> Self {
        let [width, vocabulary] = head.weights.dims();
        Self {
            width,
            vocabulary,
            factors: factors(head.weights.dtype()),
            weights: slice(head.weights),
            bias: head.bias.map(slice),
            soft_cap: head.soft_cap.map(|cap| cap as f32),
        }
    }

    fn kernel(&self) -> kernels::Head<'_> {
        kernels::Head {
            width: self.width,
            vocabulary: self.vocabulary,
            weights: &self.weights,
            bias: self.bias.as_deref(),
            softcap: self.soft_cap,
            factors: self.factors,
        }
    }
}

fn attention_shape(
    heads: Heads,
    [batch, time, triple]: [usize; 3],
    factors: Factors,
) -> AttentionShape {
    let head_dim = triple / 3 / heads.count;
    let rotated = heads.turning(head_dim);
    AttentionShape { batch, time, heads: heads.count, head_dim, rotated, factors }
}

/// See [`Kernels::attend_forward`].
fn attend(
    factors: Factors,
    heads: Heads,
    qkv: Tensor<Flex, 3>,
    gain: Option<Tensor<Flex, 1>>,
) -> (Tensor<Flex, 3>, Tensor<Flex, 3>) {
    let shape = attention_shape(heads, qkv.dims(), factors);
    let (batch, time, width) = (shape.batch, shape.time, shape.width());
    let mut output = vec![0.0; batch * time * width];
    let mut log_sum = vec![0.0; batch * shape.heads * time];
    let gain = gain.map(slice);
    let sums = Some(log_sum.as_mut_slice());
    kernels::attention(shape, &slice(qkv), gain.as_deref(), &mut output, sums);
    (tensor(output, [batch, time, width]), tensor(log_sum, [batch, shape.heads, time]))
}

/// See [`Kernels::attend_backward`].
fn attend_backward(
    factors: Factors,
    heads: Heads,
    kept: AttentionKept<Flex>,
    gain: Option<Tensor<Flex, 1>>,
    gradient: Tensor<Flex, 3>,
) -> (Tensor<Flex, 3>, Option<Tensor<Flex, 1>>) {
    let AttentionKept { qkv, mixed, log_sum } = kept;
    let dims = qkv.dims();
    let shape = attention_shape(heads, dims, factors);
    let mut dqkv = vec![0.0; dims.iter().product()];
    let gain = gain.map(slice);
    let mut dgain = gain.as_ref().map(|_| vec![0.0; heads.count]);
    kernels::attention_backward(
        shape,
        &slice(qkv),
        gain.as_deref(),
        &slice(mixed),
        &slice(log_sum),
        &slice(gradient),
        &mut dqkv,
        dgain.as_deref_mut(),
    );
    (tensor(dqkv, dims), dgain.map(|values| tensor(values, [heads.count])))
}

/// residual + x · weights, in one pass.
fn project_add(
    x: Tensor<Flex, 2>,
    weights: Tensor<Flex, 2>,
    residual: Tensor<Flex, 2>,
) -> Tensor<Flex, 2> {
    let shape = linear_shape(x.dims()[0], &weights);
    let [rows, outputs] = [shape.rows, shape.outputs];
    let mut output = vec![0.0; rows * outputs];
    let (x, weights, residual) = (slice(x), slice(weights), slice(residual));
    kernels::linear_add(shape, &x, &weights, None, &residual, &mut output);
    tensor(output, [rows, outputs])
}

/// The backward pass of RMS-normed x · weights beside a residual: for the gradients of the product
/// and of the residual, those of x and of the weights.
fn normed_backward(
    x: Tensor<Flex, 2>,
    weights: Tensor<Flex, 2>,
    product: Tensor<Flex, 2>,
    residual: Tensor<Flex, 2>,
) -> (Tensor<Flex, 2>, Tensor<Flex, 2>) {
    let [rows, width] = x.dims();
    let normed = Flex::normalize_rms_forward(x.clone());
    let dweights = Flex::project_weight_backward(normed, product.clone(), weights.dtype());
    let upstream = Flex::project_input_backward(weights, product);
    let mut dx = vec![0.0; rows * width];
    let (x, upstream, residual) = (slice(x), slice(upstream), slice(residual));
    kernels::rms_norm_backward(rows, width, &x, &upstream, Some(&residual), &mut dx);
    (tensor(dx, [rows, width]), dweights)
}

/// The head's gradients for a gradient [rows] of the loss, and the loss [rows] too where there is a
/// place for it.
fn head_gradients(
    head: Head<Flex>,
    hidden: Tensor<Flex, 2>,
    targets: Tensor<Flex, 1, Int>,
    gradient: Tensor<Flex, 1>,
    nats: Option<&mut [f32]>,
) -> HeadGradients<Flex> {
    let head = HeadSlices::new(head);
    let (shape, vocabulary) = (hidden.dims(), head.vocabulary);
    let mut dhidden = vec![0.0; shape[0] * shape[1]];
    let mut dweights = vec![0.0; head.width * vocabulary];
    let mut dbias = head.bias.as_ref().map(|_| vec![0.0; vocabulary]);
    kernels::head_loss_gradients(
        &head.kernel(),
        &slice(hidden),
        &tokens(targets),
        &slice(gradient),
        nats,
        &mut dhidden,
        &mut dweights,
        dbias.as_deref_mut(),
    );
    let dbias = dbias.map(|values| tensor(values, [vocabulary]));
    (tensor(dhidden, shape), tensor(dweights, [head.width, vocabulary]), dbias)
}

impl Kernels for Flex {
    fn embed_forward(
        table: Tensor<Self, 2>,
        ids: Tensor<Self, 1, Int>,
        scale: f64,
    ) -> Tensor<Self, 2> {
        let (rows, width) = (ids.dims()[0], table.dims()[1]);
        let mut output = vec![0.0; rows * width];
        kernels::embedding(width, &slice(table), &tokens(ids), scale as f32, &mut output);
        tensor(output, [rows, width])
    }

    fn embed_backward(
        rows: usize,
        ids: Tensor<Self, 1, Int>,
        scale: f64,
        gradient: Tensor<Self, 2>,
    ) -> Tensor<Self, 2> {
        let width = gradient.dims()[1];
        let mut table = vec![0.0; rows * width];
        let gradient = slice(gradient);
        kernels::embedding_backward(width, &tokens(ids), &gradient, scale as f32, &mut table);
        tensor(table, [rows, width])
    }

    fn normalize_rms_forward(x: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let [rows, width] = x.dims();
        let mut output = vec![0.0; rows * width];
        kernels::rms_norm(rows, width, &slice(x), &mut output);
        tensor(output, [rows, width])
    }

    fn normalize_rms_backward(x: Tensor<Self, 2>, gradient: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let [rows, width] = x.dims();
        let mut output = vec![0.0; rows * width];
        kernels::rms_norm_backward(rows, width, &slice(x), &slice(gradient), None, &mut output);
        tensor(output, [rows, width])
    }

    fn normalize_layer_forward(
        x: Tensor<Self, 2>,
        scale: Tensor<Self, 1>,
        offset: Tensor<Self, 1>,
    ) -> Tensor<Self, 2> {
        let [rows, width] = x.dims();
        let mut output = vec![0.0; rows * width];
        let (x, scale, offset) = (slice(x), slice(scale), slice(offset));
        kernels::layer_norm(rows, width, &x, &scale, &offset, &mut output);
        tensor(output, [rows, width])
    }

    fn normalize_layer_backward(
        x: Tensor<Self, 2>,
        scale: Tensor<Self, 1>,
        gradient: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, Tensor<Self, 1>, Tensor<Self, 1>) {
        let [rows, width] = x.dims();
        let (mut dx, mut dscale, mut doffset) =
            (vec![0.0; rows * width], vec![0.0; width], vec![0.0; width]);
        kernels::layer_norm_backward(
            rows,
            width,
            &slice(x),
            &slice(scale),
            &slice(gradient),
            None,
            &mut dx,
            &mut dscale,
            &mut doffset,
        );
        (tensor(dx, [rows, width]), tensor(dscale, [width]), tensor(doffset, [width]))
    }

    fn project_forward(x: Tensor<Self, 2>, weights: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let shape = linear_shape(x.dims()[0], &weights);
        let [rows, outputs] = [shape.rows, shape.outputs];
        let mut output = vec![0.0; rows * outputs];
        kernels::linear(shape, &slice(x), &slice(weights), None, &mut output);
        tensor(output, [rows, outputs])
    }

    fn project_input_backward(
        weights: Tensor<Self, 2>,
        gradient: Tensor<Self, 2>,
    ) -> Tensor<Self, 2> {
        let shape = linear_shape(gradient.dims()[0], &weights);
        let [rows, inputs] = [shape.rows, shape.inputs];
        let mut output = vec![0.0; rows * inputs];
        kernels::linear_grad_input(shape, &slice(gradient), &slice(weights), &mut output);
        tensor(output, [rows, inputs])
    }

    fn project_weight_backward(
        x: Tensor<Self, 2>,
        gradient: Tensor<Self, 2>,
        numbers: DType,
    ) -> Tensor<Self, 2> {
        let ([rows, inputs], [_, outputs]) = (x.dims(), gradient.dims());
        let mut output = vec![0.0; inputs * outputs];
        let shape = LinearShape { rows, inputs, outputs, factors: factors(numbers) };
        kernels::linear_grad_weight(shape, &slice(x), &slice(gradient), &mut output);
        tensor(output, [inputs, outputs])
    }

    fn add_bias_backward(gradient: Tensor<Self, 2>) -> Tensor<Self, 1> {
        let [rows, outputs] = gradient.dims();
        let mut output = vec![0.0; outputs];
        kernels::linear_grad_bias(rows, outputs, &slice(gradient), &mut output);
        tensor(output, [outputs])
    }

    fn activate_forward(activation: Activation, x: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let shape = x.dims();
        let mut output = vec![0.0; shape[0] * shape[1]];
        kernels::activate(kernel_activation(activation), &slice(x), &mut output);
        tensor(output, shape)
    }

    fn activate_backward(
        activation: Activation,
        x: Tensor<Self, 2>,
        gradient: Tensor<Self, 2>,
    ) -> Tensor<Self, 2> {
        let shape = x.dims();
        let mut output = vec![0.0; shape[0] * shape[1]];
        let (activation, x) = (kernel_activation(activation), slice(x));
        let kept = kernels::Kept::Before(&x);
        kernels::activate_backward(activation, kept, &slice(gradient), &mut output);
        tensor(output, shape)
    }

    fn mix_forward(
        x: Tensor<Self, 2>,
        other: Tensor<Self, 2>,
        weights: Tensor<Self, 1>,
    ) -> Tensor<Self, 2> {
        let shape = x.dims();
        let mut output = vec![0.0; shape[0] * shape[1]];
        kernels::mix(pair(weights), &slice(x), &slice(other), &mut output);
        tensor(output, shape)
    }

    fn mix_backward(
        x: Tensor<Self, 2>,
        other: Tensor<Self, 2>,
        weights: Tensor<Self, 1>,
        gradient: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>, Tensor<Self, 1>) {
        let (shape, [a, b]) = (gradient.dims(), pair(weights));
        let gradient = slice(gradient);
        let sums = kernels::mix_backward(&slice(x), &slice(other), &gradient);
        let scaled = |factor: f32| {
            let mut values = gradient.to_vec();
            kernels::scale(&mut values, factor);
            tensor(values, shape)
        };
        (scaled(a), scaled(b), tensor(sums.to_vec(), [2]))
    }

    fn convolve_forward(
        time: usize,
        x: Tensor<Self, 2>,
        weights: Tensor<Self, 1>,
    ) -> Tensor<Self, 2> {
        let shape = x.dims();
        let mut output = vec![0.0; shape[0] * shape[1]];
        kernels::convolution(time, &slice(weights), &slice(x), &mut output);
        tensor(output, shape)
    }

    fn convolve_backward(
        time: usize,
        x: Tensor<Self, 2>,
        weights: Tensor<Self, 1>,
        gradient: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, Tensor<Self, 1>) {
        let (shape, taps) = (x.dims(), weights.dims());
        let (mut dx, mut dweights) = (vec![0.0; shape[0] * shape[1]], vec![0.0; taps[0]]);
        let (x, weights, gradient) = (slice(x), slice(weights), slice(gradient));
        kernels::convolution_backward(time, &weights, &x, &gradient, &mut dx, &mut dweights);
        (tensor(dx, shape), tensor(dweights, taps))
    }

    fn attend_forward(
        heads: Heads,
        qkv: Tensor<Self, 3>,
        gain: Option<Tensor<Self, 1>>,
    ) -> (Tensor<Self, 3>, Tensor<Self, 3>) {
        attend(Factors::Single, heads, qkv, gain)
    }

    fn attend_backward(
        heads: Heads,
        qkv: Tensor<Self, 3>,
        gain: Option<Tensor<Self, 1>>,
        output: Tensor<Self, 3>,
        log_sum: Tensor<Self, 3>,
        gradient: Tensor<Self, 3>,
    ) -> (Tensor<Self, 3>, Option<Tensor<Self, 1>>) {
        let kept = AttentionKept { qkv, mixed: output, log_sum };
        attend_backward(Factors::Single, heads, kept, gain, gradient)
    }

    fn attention_half_forward(
        half: &AttentionHalf<Self>,
        x: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, AttentionKept<Self>) {
        let [rows, width] = x.dims();
        let normed = Self::normalize_rms_forward(x.clone());
        let qkv = Self::project_forward(normed, half.qkv.clone()); // [rows, 3 · width]
        let qkv = qkv.reshape([rows / half.time, half.time, 3 * width]);
        let factors = factors(half.qkv.dtype());
        let (mixed, log_sum) = attend(factors, half.heads, qkv.clone(), half.gain.clone());
        let output = project_add(mixed.clone().reshape([rows, width]), half.proj.clone(), x);
        (output, AttentionKept { qkv, mixed, log_sum })
    }

    fn attention_half_backward(
        half: AttentionHalf<Self>,
        x: Tensor<Self, 2>,
        kept: AttentionKept<Self>,
        gradient: Tensor<Self, 2>,
    ) -> ([Tensor<Self, 2>; 3], Option<Tensor<Self, 1>>) {
        let [rows, width] = x.dims();
        let flat = kept.mixed.clone().reshape([rows, width]);
        let proj = Self::project_weight_backward(flat, gradient.clone(), half.proj.dtype());
        let upstream = Self::project_input_backward(half.proj, gradient.clone());
        let upstream = upstream.reshape(kept.mixed.shape());
        let factors = factors(half.qkv.dtype());
        let (qkv, gain) = attend_backward(factors, half.heads, kept, half.gain, upstream);
        let (x, weights) = normed_backward(x, half.qkv, qkv.reshape([rows, 3 * width]), gradient);
        ([x, weights, proj], gain)
    }

    /// Keeps what comes after squared ReLU, whose slope follows from it, and what comes before any
    /// other activation.
    fn mlp_half_forward(
        half: &MlpHalf<Self>,
        x: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        let shape = linear_shape(x.dims()[0], &half.up);
        let [rows, outputs] = [shape.rows, shape.outputs];
        let normed = Self::normalize_rms_forward(x.clone());
        let mut after = vec![0.0; rows * outputs];
        let mut before = match half.activation {
            Activation::SquaredRelu => None,
            Activation::LeakySquaredRelu | Activation::Gelu => Some(vec![0.0; rows * outputs]),
        };
        let activation = kernel_activation(half.activation);
        let (normed, up) = (slice(normed), slice(half.up.clone()));
        let place = before.as_deref_mut();
        kernels::linear_activate(shape, &normed, &up, None, activation, place, &mut after);
        let after = tensor(after, [rows, outputs]);
        let output = project_add(after.clone(), half.down.clone(), x);
        (output, before.map_or(after, |before| tensor(before, [rows, outputs])))
    }

    fn mlp_half_backward(
        half: MlpHalf<Self>,
        x: Tensor<Self, 2>,
        kept: Tensor<Self, 2>,
        gradient: Tensor<Self, 2>,
    ) -> [Tensor<Self, 2>; 3] {
        let shape = linear_shape(kept.dims()[0], &half.down);
        let [rows, inputs] = [shape.rows, shape.inputs];
        let values = slice(kept.clone());
        let (after, kept) = match half.activation {
            Activation::SquaredRelu => (kept, kernels::Kept::After(&values)),
            Activation::LeakySquaredRelu | Activation::Gelu => {
                (Self::activate_forward(half.activation, kept), kernels::Kept::Before(&values))
            }
        };
        let down = Self::project_weight_backward(after, gradient.clone(), half.down.dtype());
        let activation = kernel_activation(half.activation);
        let mut upstream = vec![0.0; rows * inputs];
        let (dy, weights) = (slice(gradient.clone()), slice(half.down));
        kernels::linear_grad_input_activate(shape, &dy, &weights, activation, kept, &mut upstream);
        let (x, up) = normed_backward(x, half.up, tensor(upstream, [rows, inputs]), gradient);
        [x, up, down]
    }

    fn mean_head_loss_with_gradients(
        head: Head<Self>,
        hidden: Tensor<Self, 2>,
        targets: Tensor<Self, 1, Int>,
    ) -> (Tensor<Self, 1>, HeadGradients<Self>) {
        let rows = hidden.dims()[0];
        let upstream = vec![1.0 / rows as f32; rows];
        let mut nats = vec![0.0; rows];
        let upstream = tensor(upstream, [rows]);
        let gradients = head_gradients(head, hidden, targets, upstream, Some(&mut nats));
        let sum: f64 = nats.iter().map(|nats| f64::from(*nats)).sum();
        (tensor(vec![(sum / rows as f64) as f32], [1]), gradients)
    }

    fn head_loss_forward(
        head: Head<Self>,
        hidden: Tensor<Self, 2>,
        targets: Tensor<Self, 1, Int>,
    ) -> Tensor<Self, 1> {
        let rows = hidden.dims()[0];
        let mut nats = vec![0.0; rows];
        let head = HeadSlices::new(head);
        kernels::head_loss(&head.kernel(), &slice(hidden), &tokens(targets), &mut nats);
        tensor(nats, [rows])
    }

    fn head_loss_backward(
        head: Head<Self>,
        hidden: Tensor<Self, 2>,
        targets: Tensor<Self, 1, Int>,
        gradient: Tensor<Self, 1>,
    ) -> HeadGradients<Self> {
        head_gradients(head, hidden, targets, gradient, None)
    }

    fn squared_norm(x: Tensor<Self, 1>) -> Tensor<Self, 1> {
        let norm = kernels::global_norm(&[&slice(x)]);
        tensor(vec![(norm * norm) as f32], [1])
    }

    fn adam_step(
        settings: AdamSettings,
        gradient: Tensor<Self, 1>,
        scale: &Option<Tensor<Self, 1>>,
        [weights, first, second]: [Tensor<Self, 1>; 3],
    ) -> [Tensor<Self, 1>; 3] {
        let gradient = scaled(gradient, scale);
        let shape = weights.dims();
        let kernel = kernels::AdamW {
            learning_rate: settings.learning_rate as f32,
            beta1: settings.beta1 as f32,
            beta2: settings.beta2 as f32,
            epsilon: settings.epsilon as f32,
            weight_decay: 0.0,
        };
        let (mut weights, mut first, mut second) = (values(weights), values(first), values(second));
        let gradient = slice(gradient);
        kernels::adamw_step(
            &kernel,
            settings.step,
            1.0,
            &gradient,
            &mut weights,
            &mut first,
            &mut second,
        );
        [weights, first, second].map(|values| tensor(values, shape))
    }

    fn muon_step(
        settings: MuonSettings,
        gradient: Tensor<Self, 2>,
        [weights, momentum]: [Tensor<Self, 2>; 2],
    ) -> [Tensor<Self, 2>; 2] {
        let shape = weights.dims();
        let kernel = kernels::Muon {
            learning_rate: settings.learning_rate as f32,
            momentum: settings.momentum as f32,
            weight_decay: settings.weight_decay as f32,
            iterations: 5,
            column_blocks: settings.column_blocks,
            factors: match settings.precision {
                Precision::F32 => Factors::Single,
                Precision::Bf16 => Factors::Bfloat,
            },
        };
        let (mut weights, mut momentum) = (values(weights), values(momentum));
        let [rows, columns] = shape;
        let gradient = slice(gradient);
        kernels::muon_step(&kernel, rows, columns, 1.0, &gradient, &mut weights, &mut momentum);
        [weights, momentum].map(|values| tensor(values, shape))
    }
}
