//! The blocked operations against the processor's kernels, whatever the blocks; and how far bf16
//! moves them. All on `Flex`, which knows both types of number.

use burn::backend::Flex;
use burn::backend::flex::FlexDevice;
use burn::tensor::{DType, Int, Tensor, TensorData};
use lmtrain_runs::Precision;
use lmtrain_runs::random::SplitMix64;
use lmtrain_runs::recipe::Activation;
use proptest::prelude::*;

use super::reference::{muon_step, weight_gradient};
use super::{
    AttentionHalf, AttentionKept, Head, Heads, Kernels, MlpHalf, MuonSettings, MuonStep,
    blocked_attention, blocked_rows, half_blocks,
};

/// Sums of some hundred f32 terms, in another order: of the largest value.
const SAME: f64 = 2e-5;
/// Sums of up to two thousand terms of about 1, which round at 6e-8 each.
const GAIN: f64 = 1e-4;
/// bf16 keeps 8 bits, so that a number is off by up to 2^-9; chains of a few products of such
/// numbers stay below 2 % of the root mean square.
const BF16: f64 = 0.02;

fn random<const D: usize>(seed: u64, deviation: f32, shape: [usize; D]) -> Tensor<Flex, D> {
    let mut generator = SplitMix64::new(seed);
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| generator.truncated_normal() * deviation).collect();
    Tensor::from_data(TensorData::new(values, shape), &FlexDevice)
}

fn random_tokens(seed: u64, count: usize, vocabulary: u64) -> Tensor<Flex, 1, Int> {
    let mut generator = SplitMix64::new(seed);
    let values: Vec<i32> = (0..count).map(|_| generator.below(vocabulary) as i32).collect();
    Tensor::from_data(TensorData::new(values, [count]), &FlexDevice)
}

fn numbers<const D: usize>(tensor: Tensor<Flex, D>) -> Vec<f64> {
    tensor.into_data().iter().collect()
}

/// Largest difference, as a share of the largest value.
fn largest<const D: usize>(a: Tensor<Flex, D>, b: Tensor<Flex, D>) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (numbers(a), numbers(b));
    let top = b.iter().fold(1e-30, |top: f64, value| top.max(value.abs()));
    a.iter().zip(&b).map(|(a, b)| (a - b).abs() / top).fold(0.0, f64::max)
}

/// Root mean square of the difference, as a share of that of the values.
fn typical<const D: usize>(a: Tensor<Flex, D>, b: Tensor<Flex, D>) -> f64 {
    assert_eq!((a.dims(), a.dtype()), (b.dims(), DType::F32));
    let (a, b) = (numbers(a), numbers(b));
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|it| it * it).sum::<f64>();
    let difference = square(&mut a.iter().zip(&b).map(|(a, b)| a - b));
    (difference / square(&mut b.iter().copied())).sqrt()
}

/// bf16 is near f32, and is not f32.
fn assert_rounded<const D: usize>(what: &str, a: Tensor<Flex, D>, b: Tensor<Flex, D>) {
    let error = typical(a, b);
    assert!((1e-5..BF16).contains(&error), "{what} is off by {error:.1e}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn attention_is_the_kernels_whatever_the_blocks(
        seed: u32, block in 1_usize..40, batch in 1_usize..3, time in 1_usize..34,
        count in 1_usize..4, wide: bool, normed: bool, some: bool,
    ) {
        let (seed, width) = (u64::from(seed), count * if wide { 32 } else { 16 });
        let heads = Heads { count, rotated: some.then_some(8) };
        let qkv = random(seed, 1.5, [batch, time, 3 * width]);
        let gain = normed.then(|| random(seed + 1, 0.3, [count]) + 1.5);
        let upstream = random(seed + 2, 1.0, [batch, time, width]);
        let (expected, log_sum) = Flex::attend_forward(heads, qkv.clone(), gain.clone());
        let (expected_qkv, expected_gain) = Flex::attend_backward(
            heads, qkv.clone(), gain.clone(), expected.clone(), log_sum, upstream.clone(),
        );
        let block = Some(block);
        let (mixed, log_sum) = blocked_attention::attention(block, heads, qkv.clone(), gain.clone());
        prop_assert!(largest(mixed.clone(), expected) < SAME);
        let kept = AttentionKept { qkv, mixed, log_sum };
        let (qkv, gain) = blocked_attention::attention_backward(block, heads, kept, gain, upstream);
        prop_assert!(largest(qkv, expected_qkv) < SAME);
        prop_assert_eq!(gain.is_some(), expected_gain.is_some());
        if let (Some(gain), Some(expected)) = (gain, expected_gain) {
            // One number a head, a sum over all tokens that may come to nothing: an absolute bound.
            let furthest = (gain - expected).abs().max();
            prop_assert!(numbers(furthest)[0] < GAIN);
        }
    }

    #[test]
    fn head_and_embedding_are_the_kernels_whatever_the_blocks(
        seed: u32, block in 1_usize..40, rows in 1_usize..34, width in 1_usize..20,
        vocabulary in 2_usize..60, biased: bool, capped: bool,
    ) {
        let seed = u64::from(seed);
        let head = Head {
            weights: random(seed, 0.5, [width, vocabulary]),
            bias: biased.then(|| random(seed + 1, 0.5, [vocabulary])),
            soft_cap: capped.then_some(5.0),
        };
        let hidden = random(seed + 2, 1.0, [rows, width]);
        let targets = random_tokens(seed + 3, rows, vocabulary as u64);
        let upstream = random(seed + 4, 1.0, [rows]);
        let nats = Flex::head_loss_forward(head.clone(), hidden.clone(), targets.clone());
        let expected = Flex::head_loss_backward(
            head.clone(), hidden.clone(), targets.clone(), upstream.clone(),
        );
        let block = Some(block);
        let forward = blocked_rows::head_loss(block, &head, hidden.clone(), targets.clone());
        let (both, got) = blocked_rows::head_loss_and_gradients(
            block, &head, hidden.clone(), targets.clone(), upstream,
        );
        prop_assert!(largest(forward, nats.clone()) < SAME);
        prop_assert!(largest(both, nats) < SAME);
        prop_assert!(largest(got.0, expected.0) < SAME);
        prop_assert!(largest(got.1, expected.1) < SAME);
        if let (Some(got), Some(expected)) = (got.2, expected.2) {
            prop_assert!(largest(got, expected) < SAME);
        }
        let expected = Flex::embed_backward(vocabulary, targets.clone(), 3.0, hidden.clone());
        let got = blocked_rows::embedding_backward(block, vocabulary, targets, 3.0, hidden);
        prop_assert!(largest(got, expected) < SAME);
    }
}

#[test]
fn a_block_bounds_what_is_stored() {
    // 2048 tokens of 8 heads: whatever the batch, no block of scores is 1.1 GB.
    for batch in [1, 4, 32, 512] {
        let block = blocked_attention::block_length(8, [batch, 2048, 0]);
        assert!((64..=512).contains(&block));
        assert!(batch > 32 || batch * 8 * block * 2048 <= 1 << 26);
    }
    assert_eq!(blocked_rows::block_rows(20_000), 1677);
    assert_eq!(blocked_rows::block_rows(256), 131_072);
}

#[test]
fn a_gradient_of_many_rows_is_summed_in_parts() {
    let (x, gradient) = (random(1, 1.0, [6144, 5]), random(2, 1.0, [6144, 7]));
    let expected = x.clone().transpose().matmul(gradient.clone());
    assert!(largest(weight_gradient(x, gradient), expected) < SAME);
}

const WIDTH: usize = 64;
const TIME: usize = 40;

fn matrix(seed: u64, shape: [usize; 2]) -> Tensor<Flex, 2> {
    random(seed, (shape[0] as f32).sqrt().recip(), shape)
}

#[test]
fn bf16_stays_near_f32_in_the_halves_of_a_block() {
    let half = |number_type: DType| AttentionHalf {
        heads: Heads::of(4),
        time: TIME,
        qkv: matrix(1, [WIDTH, 3 * WIDTH]).cast(number_type),
        gain: Some(random(2, 0.2, [4]) + 1.5),
        proj: matrix(3, [WIDTH, WIDTH]).cast(number_type),
    };
    let (x, upstream) = (random(4, 1.0, [2 * TIME, WIDTH]), random(5, 1.0, [2 * TIME, WIDTH]));
    let (expected, kept) = Flex::attention_half_forward(&half(DType::F32), x.clone());
    let expected_gradients =
        Flex::attention_half_backward(half(DType::F32), x.clone(), kept, upstream.clone());
    let (output, kept) = half_blocks::attention(&half(DType::BF16), x.clone());
    assert_eq!((kept.qkv.dtype(), kept.log_sum.dtype()), (DType::BF16, DType::F32));
    let gradients = half_blocks::attention_backward(half(DType::BF16), x, kept, upstream);
    assert_rounded("attention", output, expected);
    for (got, expected) in gradients.0.into_iter().zip(expected_gradients.0) {
        assert_rounded("a gradient", got, expected);
    }
    let gain = gradients.1.expect("has a gain");
    assert_rounded("the gain's gradient", gain, expected_gradients.1.expect("has a gain"));

    let half = |number_type: DType| MlpHalf {
        activation: Activation::SquaredRelu,
        up: matrix(6, [WIDTH, 4 * WIDTH]).cast(number_type),
        down: matrix(7, [4 * WIDTH, WIDTH]).cast(number_type),
    };
    let (x, upstream) = (random(8, 1.0, [2 * TIME, WIDTH]), random(9, 1.0, [2 * TIME, WIDTH]));
    let (expected, kept) = Flex::mlp_half_forward(&half(DType::F32), x.clone());
    let expected_gradients =
        Flex::mlp_half_backward(half(DType::F32), x.clone(), kept, upstream.clone());
    let (output, kept) = half_blocks::mlp(&half(DType::BF16), x.clone());
    assert_eq!(kept.dtype(), DType::BF16);
    let gradients = half_blocks::mlp_backward(half(DType::BF16), x, kept, upstream);
    assert_rounded("the MLP", output, expected);
    for (got, expected) in gradients.into_iter().zip(expected_gradients) {
        assert_rounded("a gradient", got, expected);
    }
}

#[test]
fn bf16_stays_near_f32_in_the_head() {
    let head = |number_type: DType| Head {
        weights: matrix(1, [WIDTH, 300]).cast(number_type),
        bias: Some(random(2, 0.2, [300])),
        soft_cap: Some(15.0),
    };
    let hidden = random(3, 1.0, [TIME, WIDTH]);
    let targets = random_tokens(4, TIME, 300);
    let (nats, expected) =
        Flex::mean_head_loss_with_gradients(head(DType::F32), hidden.clone(), targets.clone());
    let upstream = Tensor::ones([TIME], &FlexDevice) / TIME as f64;
    let (loss, got) = blocked_rows::head_loss_and_gradients(
        Some(16),
        &head(DType::BF16),
        hidden,
        targets,
        upstream,
    );
    assert!(largest(loss.mean(), nats) < 1e-3);
    assert_rounded("the hidden states' gradient", got.0, expected.0);
    assert_rounded("the weights' gradient", got.1, expected.1);
    let bias = got.2.expect("has a bias");
    assert_rounded("the bias's gradient", bias, expected.2.expect("has a bias"));
}

fn muon(precision: Precision) -> MuonSettings {
    let (learning_rate, momentum, weight_decay) = (0.1, 0.95, 0.0);
    MuonSettings { learning_rate, momentum, weight_decay, column_blocks: 3, precision }
}

#[test]
fn muon_in_bf16_makes_nearly_the_same_step() {
    let gradient = random(1, 1.0, [24, 72]);
    let zeros = || [Tensor::zeros([24, 72], &FlexDevice), Tensor::zeros([24, 72], &FlexDevice)];
    let [expected, _] = Flex::muon_step(muon(Precision::F32), gradient.clone(), zeros());
    let [single, _] = muon_step(muon(Precision::F32), gradient.clone(), zeros());
    let [rounded, _] = muon_step(muon(Precision::Bf16), gradient, zeros());
    // Newton–Schulz multiplies small singular values by 3.4 five times, and rounding with them.
    assert!(typical(single, expected.clone()) < 1e-3);
    let error = typical(rounded, expected);
    assert!((1e-5..0.1).contains(&error), "off by {error:.1e}");
}

#[test]
fn muon_steps_keep_their_order_and_scale_the_gradients() {
    let (settings, shapes) = (muon(Precision::F32), [[16, 24], [5, 21], [24, 48]]);
    let gradient = |shape| random::<2>(1, 1.0, shape);
    let state = |shape| [2, 3].map(|seed| random::<2>(seed, 1.0, shape));
    let steps = shapes.map(|shape| {
        let [weights, momentum] = state(shape);
        let scale = Some(Tensor::from_data([0.25_f32], &FlexDevice));
        MuonStep { settings, gradient: gradient(shape), scale, weights, momentum }
    });
    for (found, shape) in Flex::muon_steps(steps.to_vec()).into_iter().zip(shapes) {
        let expected = Flex::muon_step(settings, gradient(shape) * 0.25, state(shape));
        assert_eq!(found.map(numbers), expected.map(numbers));
    }
}
