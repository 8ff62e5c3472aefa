//! The loss of a head in bf16: `kernels/head.cu`, for blocks of rows, so that the logits of all are never there at once.

use burn::tensor::{DType, Int, Tensor};
use cubecl::server::Handle;

use super::Cuda;
use super::launch::{Held, Kernel, empty, held, held_tokens, row_range, tensor};
use super::products::{Product, dims};
use super::rows;
use crate::ops::{Head, HeadGradients};

const SOURCE: &str = include_str!("kernels/head.cu");

/// Numbers of logits that are made at a time, in f32: 1 GiB.
const LOGITS: usize = 1 << 28;

/// A head in bf16, and what it reads.
pub(super) struct HalfHead {
    /// [width, vocabulary].
    weights: Held,
    /// f32 [vocabulary], added to the logits.
    bias: Option<Held>,
    soft_cap: Option<f64>,
    /// bf16 [rows, width].
    hidden: Held,
    /// [rows].
    targets: Held,
}

/// A block of its rows.
struct Block {
    hidden: Held,
    targets: Held,
    /// f32 [rows, vocabulary].
    logits: Held,
    /// Where −ln p of the targets goes, f32 [rows].
    nats: Held,
}

impl HalfHead {
    pub(super) fn new(
        head: Head<Cuda>,
        hidden: Tensor<Cuda, 2>,
        targets: Tensor<Cuda, 1, Int>,
    ) -> Self {
        let Head { weights, bias, soft_cap } = head;
        let (weights, bias) = (held(weights), bias.map(held));
        Self {
            weights,
            bias,
            soft_cap,
            hidden: rows::half(&held(hidden)),
            targets: held_tokens(targets),
        }
    }

    /// −ln p of each target, [rows].
    pub(super) fn losses(&self) -> Tensor<Cuda, 1> {
        let nats = self.empty_nats();
        for block in self.blocks(&nats) {
            self.launch("nats_only", &block, None, &[]);
        }
        tensor(nats)
    }

    /// Their mean, and its gradients.
    pub(super) fn mean_with_gradients(&self) -> (Tensor<Cuda, 1>, HeadGradients<Cuda>) {
        let nats = self.empty_nats();
        let (mut weights, mut bias, mut upstream) = (None, None, Vec::new());
        for block in self.blocks(&nats) {
            let slope = empty(dims(&block.logits), DType::BF16, &block.logits);
            self.launch("head_loss", &block, Some(dims(&self.hidden)[0]), &[&slope.handle]);
            add(&mut weights, tensor::<2>(Product::of_gradient(&block.hidden, &slope).single()));
            if self.bias.is_some() {
                add(&mut bias, tensor::<1>(rows::column_sums(&slope)));
            }
            upstream.push(tensor(Product::back(&slope, &self.weights).single()));
        }
        let upstream = match upstream.len() {
            1 => upstream.remove(0),
            _ => Tensor::cat(upstream, 0),
        };
        (mean(&nats), (upstream, weights.expect("at least one row"), bias))
    }

    fn empty_nats(&self) -> Held {
        empty([dims(&self.hidden)[0]], DType::F32, &self.hidden)
    }

    /// All rows, a block at a time, with their logits.
    fn blocks(&self, nats: &Held) -> impl Iterator<Item = Block> {
        let ([rows, _], [_, vocabulary]) = (dims(&self.hidden), dims(&self.weights));
        // A multiple that keeps the parts of tensors aligned.
        let most = (LOGITS / vocabulary).next_multiple_of(1024);
        (0..rows).step_by(most).map(move |first| {
            let part = |all: &Held| row_range(all, first, most.min(rows - first));
            let hidden = part(&self.hidden);
            let logits = Product::of(&hidden, &self.weights).single();
            Block { hidden, targets: part(&self.targets), logits, nats: part(nats) }
        })
    }

    /// `divisor` is that of the loss whose slope is written to the last of `more`.
    fn launch(&self, entry: &'static str, block: &Block, divisor: Option<usize>, more: &[&Handle]) {
        let Block { targets, logits, nats, .. } = block;
        let [rows, vocabulary] = dims(logits);
        let mut macros = vec![("ROWS", rows as f64), ("VOCABULARY", vocabulary as f64)];
        macros.extend(self.bias.as_ref().map(|_| ("HAS_BIAS", 1.0)));
        macros.extend(self.soft_cap.map(|_| ("HAS_CAP", 1.0)));
        macros.extend(self.soft_cap.map(|cap| ("SOFT_CAP", cap)));
        macros.extend(divisor.map(|divisor| ("DIVISOR", divisor as f64)));
        let blocks = if vocabulary > 1024 { rows } else { rows.div_ceil(8) };
        let bias = self.bias.as_ref().unwrap_or(logits);
        let mut buffers = [logits, bias, targets, nats].map(|held| &held.handle).to_vec();
        buffers.extend(more);
        let threads = if vocabulary > 4096 { 512 } else { 256 };
        let shared = if vocabulary > 1024 { 4 * vocabulary } else { 0 };
        let kernel = Kernel { source: SOURCE, entry, macros: &macros, threads, shared };
        kernel.launch([blocks, 1, 1], &buffers, &[], logits);
    }
}

/// The mean of some numbers.
fn mean(x: &Held) -> Tensor<Cuda, 1> {
    let out = empty([1], DType::F32, x);
    let macros = [("COUNT", x.meta.shape().num_elements() as f64)];
    let kernel = Kernel { source: SOURCE, entry: "mean", macros: &macros, threads: 256, shared: 0 };
    kernel.launch([1, 1, 1], &[&x.handle, &out.handle], &[], x);
    tensor(out)
}

/// Adds to a sum that may be empty yet.
fn add<const D: usize>(sum: &mut Option<Tensor<Cuda, D>>, more: Tensor<Cuda, D>) {
    *sum = Some(match sum.take() {
        None => more,
        Some(sum) => sum + more,
    });
}
