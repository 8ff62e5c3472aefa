//! What meets the vocabulary by burn's operations: the head's loss and its gradients, and the
//! embedding's gradient, in blocks of rows, so that nothing of size [tokens, vocabulary] is ever
//! whole. Logits, soft-max and loss are f32; products have the type of the head's weights.

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

use super::reference::{single, weight_gradient};
use super::{Head, HeadGradients};

/// Numbers of a block, roughly: 128 MiB in f32.
const NUMBERS: usize = 1 << 25;
/// The fewest rows of a block.
const LEAST_ROWS: usize = 128;

/// Rows of a block, of so many columns.
pub(crate) fn block_rows(columns: usize) -> usize {
    (NUMBERS / columns).max(LEAST_ROWS)
}

/// Blocks of rows, of so many or as suits the columns: their first, and their count.
fn blocks(
    rows: usize,
    block: Option<usize>,
    columns: usize,
) -> impl Iterator<Item = (usize, usize)> {
    let block = block.unwrap_or_else(|| block_rows(columns));
    (0..rows).step_by(block).map(move |first| (first, block.min(rows - first)))
}

/// 1 where the column is the row's token, else 0: [rows] → [rows, columns].
fn hits<B: Backend>(tokens: Tensor<B, 1, Int>, columns: usize) -> Tensor<B, 2> {
    let every = Tensor::<B, 1, Int>::arange(0..columns as i64, &tokens.device());
    every.unsqueeze_dim::<2>(0).equal(tokens.unsqueeze_dim(1)).float()
}

/// The gradient of an embedding table of so many rows. A product with [`hits`], since burn's sum
/// over repeated indices takes them one after another on a GPU.
pub(crate) fn embedding_backward<B: Backend>(
    block: Option<usize>,
    table_rows: usize,
    tokens: Tensor<B, 1, Int>,
    scale: f64,
    gradient: Tensor<B, 2>,
) -> Tensor<B, 2> {
    let [rows, width] = gradient.dims();
    let zeros = Tensor::zeros([table_rows, width], &gradient.device());
    let sum = blocks(rows, block, table_rows).fold(zeros, |sum, (first, count)| {
        let hits = hits(tokens.clone().narrow(0, first, count), table_rows);
        sum + weight_gradient(hits, gradient.clone().narrow(0, first, count))
    });
    sum * scale
}

/// Logits in f32, of operands in the weights' type: [rows, width] → [rows, vocabulary].
fn logits<B: Backend>(head: &Head<B>, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
    let hidden = hidden.cast(head.weights.dtype());
    let mut logits = single(hidden).matmul(single(head.weights.clone()));
    if let Some(bias) = &head.bias {
        logits = logits + bias.clone().unsqueeze();
    }
    match head.soft_cap {
        Some(cap) => (logits / cap).tanh() * cap,
        None => logits,
    }
}

/// −ln p of each row's target, and ln Σ exp of its logits, each [rows, 1].
fn nats<B: Backend>(
    logits: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
) -> (Tensor<B, 2>, Tensor<B, 2>) {
    let top = logits.clone().max_dim(1);
    let log_sum = (logits.clone() - top.clone()).exp().sum_dim(1).log() + top;
    (log_sum.clone() - logits.gather(1, targets.unsqueeze_dim(1)), log_sum)
}

pub(crate) fn head_loss<B: Backend>(
    block: Option<usize>,
    head: &Head<B>,
    hidden: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
) -> Tensor<B, 1> {
    let columns = head.weights.dims()[1];
    let losses = blocks(hidden.dims()[0], block, columns).map(|(first, count)| {
        let logits = logits(head, hidden.clone().narrow(0, first, count));
        nats(logits, targets.clone().narrow(0, first, count)).0
    });
    Tensor::cat(losses.collect(), 0).squeeze_dim(1)
}

/// The loss [rows], and the gradients for a gradient [rows] of it.
pub(crate) fn head_loss_and_gradients<B: Backend>(
    block: Option<usize>,
    head: &Head<B>,
    hidden: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
    gradient: Tensor<B, 1>,
) -> (Tensor<B, 1>, HeadGradients<B>) {
    let (device, [_, columns]) = (hidden.device(), head.weights.dims());
    let gradient = gradient.unsqueeze_dim::<2>(1);
    let mut weights = Tensor::<B, 2>::zeros(head.weights.shape(), &device);
    let mut bias = head.bias.as_ref().map(Tensor::zeros_like);
    let (mut losses, mut upstream) = (Vec::new(), Vec::new());
    for (first, count) in blocks(hidden.dims()[0], block, columns) {
        let hidden = hidden.clone().narrow(0, first, count);
        let targets = targets.clone().narrow(0, first, count);
        let logits = logits(head, hidden.clone());
        let (loss, log_sum) = nats(logits.clone(), targets.clone());
        let shares = (logits.clone() - log_sum).exp(); // [count, vocabulary]
        let slope = (shares - hits(targets, columns)) * gradient.clone().narrow(0, first, count);
        let slope = through_cap(head.soft_cap, logits, slope);
        bias = bias.map(|bias| bias + slope.clone().sum_dim(0).squeeze_dim(0));
        let slope = slope.cast(head.weights.dtype());
        weights = weights + weight_gradient(hidden.cast(head.weights.dtype()), slope.clone());
        upstream.push(single(slope.matmul(head.weights.clone().transpose())));
        losses.push(loss);
    }
    let gradients = (Tensor::cat(upstream, 0), weights, bias);
    (Tensor::cat(losses, 0).squeeze_dim(1), gradients)
}

/// The mean of the loss, and its gradients.
pub(crate) fn mean_head_loss_and_gradients<B: Backend>(
    head: Head<B>,
    hidden: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
) -> (Tensor<B, 1>, HeadGradients<B>) {
    let rows = hidden.dims()[0];
    let gradient = Tensor::ones([rows], &hidden.device()).div_scalar(rows as f64);
    let (nats, gradients) = head_loss_and_gradients(None, &head, hidden, targets, gradient);
    (nats.mean(), gradients)
}

/// The gradient through c · tanh(x / c), for its values.
fn through_cap<B: Backend>(
    soft_cap: Option<f64>,
    capped: Tensor<B, 2>,
    slope: Tensor<B, 2>,
) -> Tensor<B, 2> {
    let Some(cap) = soft_cap else { return slope };
    let tanh = capped / cap;
    slope * (-(tanh.clone() * tanh) + 1.0)
}
