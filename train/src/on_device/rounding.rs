//! Rounds queries, keys, values and attention probabilities as the engine does when the KV cache holds bytes
//! ([`HeldAs::Bytes`](lmtrain_kernels::HeldAs)), so that measurements on a device agree with the CPU's coding.

use std::f64::consts::LN_2;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Queries and keys end here, and values there.
pub(super) const LARGEST_KEY: f64 = 128.0;
pub(super) const LARGEST_VALUE: f64 = 65_504.0;
/// Keys whose attention probabilities share a unit.
const KEYS: usize = 64;

/// Each row's numbers as whole numbers up to 127 times a power of two; and that power [.., 1].
pub(super) fn rounded<B: Backend, const D: usize>(
    largest: f64,
    x: Tensor<B, D>,
) -> [Tensor<B, D>; 2] {
    let x = x.clamp(-largest, largest);
    let steps = x.clone().abs().max_dim(D - 1).div_scalar(127.0).clamp_min(2_f64.powi(-24));
    // The power of two may be off in its last bit, which changes nothing that is looked for.
    let step = power_of_two(steps.log().div_scalar(LN_2).ceil());
    [(x / step.clone()).round() * step.clone(), step]
}

/// The soft-max's powers [heads, rows, keys], so rounded that, times the values' steps, they are whole numbers up to 255 times
/// what the largest of each 64 keys gives. `steps` are of the values, [heads, 1, keys].
pub(super) fn rounded_powers<B: Backend>(
    powers: Tensor<B, 3>,
    steps: Tensor<B, 3>,
) -> Tensor<B, 3> {
    let [heads, rows, keys] = powers.dims();
    let filled = keys.next_multiple_of(KEYS);
    let mut shares = powers * steps.clone();
    if filled > keys {
        let missing = Tensor::zeros([heads, rows, filled - keys], &shares.device());
        shares = Tensor::cat(vec![shares, missing], 2);
    }
    let shares = shares.reshape([heads, rows, filled / KEYS, KEYS]);
    let largest = shares.clone().max_dim(3).clamp_min(1e-30);
    let unit = power_of_two(largest.log().div_scalar(LN_2).floor() - 7.0) * (256.0 / 255.0);
    let shares = (shares / unit.clone()).round() * unit;
    shares.reshape([heads, rows, filled]).narrow(2, 0, keys) / steps
}

fn power_of_two<B: Backend, const D: usize>(exponent: Tensor<B, D>) -> Tensor<B, D> {
    exponent.mul_scalar(LN_2).exp()
}
