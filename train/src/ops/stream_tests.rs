//! Mixes and convolutions: the kernels, and burn's operations with the backward passes written out, against burn's own
//! differentiation.

use burn::backend::{Autodiff, Flex, NdArray};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use lmtrain_runs::plan::CONVOLUTION_TAPS;
use lmtrain_runs::random::SplitMix64;

use super::{Kernels, reference};

/// Sums of some dozen f32 terms, in another order: of the largest value.
const SAME: f64 = 1e-5;

type Plain = Autodiff<NdArray>;

fn random<B: Backend, const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<B, D> {
    let mut generator = SplitMix64::new(seed);
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| generator.truncated_normal()).collect();
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

fn assert_same<A: Backend, B: Backend, const D: usize>(
    what: &str,
    found: Tensor<A, D>,
    expected: Tensor<B, D>,
) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let [found, expected] = [found.into_data(), expected.into_data()]
        .map(|data| data.iter::<f64>().collect::<Vec<_>>());
    let top = expected.iter().fold(1e-30, |top: f64, value| top.max(value.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() / top < SAME, "{what}: {found} for {expected}");
    }
}

/// On a backend with these kernels.
fn mixes<B: Kernels>() {
    let (shape, upstream) = ([7, 5], 9);
    let leaves = || {
        let [x, other] = [1, 2].map(|seed| random::<Plain, 2>(seed, shape).require_grad());
        (x, other, random::<Plain, 1>(3, [2]).require_grad())
    };
    let (x, other, weights) = leaves();
    let output = reference::mix(x.clone(), other.clone(), weights.clone());
    let found = B::mix_forward(random(1, shape), random(2, shape), random(3, [2]));
    assert_same("the mix", found, output.clone());
    let gradients = (output * random(upstream, shape)).sum().backward();
    let found = B::mix_backward(
        random(1, shape),
        random(2, shape),
        random(3, [2]),
        random(upstream, shape),
    );
    assert_same("x", found.0, x.grad(&gradients).expect("a gradient"));
    assert_same("other", found.1, other.grad(&gradients).expect("a gradient"));
    assert_same("weights", found.2, weights.grad(&gradients).expect("a gradient"));
}

fn convolutions<B: Kernels>() {
    for (sequences, time, width) in [(1, 1, 3), (2, 3, 16), (3, 9, 5)] {
        let (shape, taps) = ([sequences * time, width], [CONVOLUTION_TAPS * width]);
        let x = random::<Plain, 2>(1, shape).require_grad();
        let weights = random::<Plain, 1>(2, taps).require_grad();
        let output = reference::convolve(time, x.clone(), weights.clone());
        let found = B::convolve_forward(time, random(1, shape), random(2, taps));
        assert_same("the convolution", found, output.clone());
        let gradients = (output * random(3, shape)).sum().backward();
        let found = B::convolve_backward(time, random(1, shape), random(2, taps), random(3, shape));
        assert_same("x", found.0, x.grad(&gradients).expect("a gradient"));
        // What no row meets has no gradient there.
        if time >= CONVOLUTION_TAPS {
            assert_same("weights", found.1, weights.grad(&gradients).expect("a gradient"));
        }
    }
}

#[test]
fn mixes_are_what_burn_makes_of_them() {
    mixes::<Flex>();
    mixes::<NdArray>();
}

#[test]
fn convolutions_are_what_burn_makes_of_them() {
    convolutions::<Flex>();
    convolutions::<NdArray>();
}
