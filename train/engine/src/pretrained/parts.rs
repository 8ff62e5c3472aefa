//! The parts of a layer, by the names of their tensors: what the architectures share. Each is packed as the engine
//! needs it, padded to a multiple of sixteen.

use super::error::PretrainedError;
use super::heads::{HeadPart, HeadShape};
use super::matrix::{Inputs, Lies, Matrix};
use super::weights::Weights;
use lmtrain_kernels::{PackedWeights, RowNorm};

/// Where a network's parts come from, and their shapes.
pub(super) struct Parts<'a> {
    pub(super) weights: &'a Weights,
    /// What names begin with.
    pub(super) base: &'static str,
    /// Numbers of a token in the stream.
    pub(super) width: usize,
    /// Numbers of a token between the layers of the MLP.
    pub(super) inner: usize,
    pub(super) shape: HeadShape,
    /// How matrices lie.
    pub(super) lies: Lies,
}

/// A matrix that queries, keys and values come from: its name, and the outputs that it has.
pub(super) type Source = (String, usize);

impl<'a> Parts<'a> {
    /// The width, filled up.
    pub(super) fn filled(&self) -> usize {
        self.width.next_multiple_of(16)
    }

    /// A name with what it begins with.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    /// A layer norm: scale `weight` and offset `bias`.
    pub(super) fn layer_norm(&self, name: &str, epsilon: f32) -> Result<RowNorm, PretrainedError> {
        let vector = |end| self.weights.vector(&format!("{}.{end}", self.name(name)), self.width);
        let (scale, offset) = (vector("weight"), vector("bias"));
        Ok(RowNorm::Layer { scale: scale?, offset: offset?, epsilon })
    }

    /// An RMS norm, whose scale is `weight` and `offset` more.
    pub(super) fn rms_norm(
        &self,
        name: &str,
        epsilon: f32,
        offset: f32,
    ) -> Result<RowNorm, PretrainedError> {
        let name = format!("{}.weight", self.name(name));
        let mut scale = self.weights.vector(&name, self.width)?;
        if offset != 0.0 {
            scale.iter_mut().for_each(|scale| *scale += offset);
        }
        Ok(RowNorm::Rms { scale: Some(scale), epsilon })
    }

    /// What leads into the MLP: [width, inner].
    pub(super) fn up(&self, name: &str, biased: bool) -> Result<PackedWeights, PretrainedError> {
        let shape = [self.width, self.inner];
        self.linear(name, shape, [self.filled(), self.inner], biased)
    }

    /// The same where one matrix [width, 2·inner] leads into it twice: the first half, or the second.
    pub(super) fn half_of_up(
        &self,
        name: &str,
        second: bool,
    ) -> Result<PackedWeights, PretrainedError> {
        let name = format!("{}.weight", self.name(name));
        let matrix = self.weights.matrix(&name, self.lies, [self.width, 2 * self.inner])?;
        let first = if second { self.inner } else { 0 };
        let inputs = Inputs::First(self.width, self.filled());
        self.weights.pack(&[matrix], &inputs, self.inner, |output| Some((0, first + output)))
    }

    /// What leads out of the MLP: [inner, width].
    pub(super) fn down(&self, name: &str, biased: bool) -> Result<PackedWeights, PretrainedError> {
        let filled = [self.inner.next_multiple_of(16), self.filled()];
        self.linear(name, [self.inner, self.width], filled, biased)
    }

    fn linear(
        &self,
        name: &str,
        shape: [usize; 2],
        filled: [usize; 2],
        biased: bool,
    ) -> Result<PackedWeights, PretrainedError> {
        let name = self.name(name);
        let packed = self.weights.plain(&format!("{name}.weight"), self.lies, shape, filled);
        let bias = self.bias(&name, shape[1], biased);
        with_bias(packed?, bias?, filled[1])
    }

    /// Queries, keys and values from these matrices: `source` says of a number of a head which matrix it comes from, and
    /// which of its outputs it is.
    pub(super) fn qkv(
        &self,
        sources: &[Source],
        source: impl Fn(HeadPart, usize, usize) -> (usize, usize) + Sync,
        biased: bool,
    ) -> Result<PackedWeights, PretrainedError> {
        let (weights, row) = (self.weights, self.shape.row());
        let matrix = |(name, outputs): &Source| -> Result<Matrix<'a>, PretrainedError> {
            let name = format!("{}.weight", self.name(name));
            weights.matrix(&name, self.lies, [self.width, *outputs])
        };
        let bias = |(name, outputs): &Source| self.bias(&self.name(name), *outputs, biased);
        let matrices: Vec<_> = sources.iter().map(matrix).collect();
        let biases: Vec<_> = sources.iter().map(bias).collect();
        let matrices = matrices.into_iter().collect::<Result<Vec<_>, _>>()?;
        let biases = biases.into_iter().collect::<Result<Option<Vec<_>>, _>>()?;
        let placed = |place| {
            let (part, head, number) = self.shape.source(place)?;
            Some(source(part, head, number))
        };
        let inputs = Inputs::First(self.width, self.filled());
        let packed = weights.pack(&matrices, &inputs, row, placed)?;
        let bias = biases.map(|biases| {
            let one = |place| placed(place).map_or(0.0, |(matrix, output)| biases[matrix][output]);
            (0..row).map(one).collect()
        });
        with_bias(packed, bias, row)
    }

    /// What the heads give back to the stream: [heads · dimension, width].
    pub(super) fn mixing(
        &self,
        name: &str,
        biased: bool,
    ) -> Result<PackedWeights, PretrainedError> {
        let (weights, width, name) = (self.weights, self.width, self.name(name));
        let inner = self.shape.heads * self.shape.dimension;
        let matrix = weights.matrix(&format!("{name}.weight"), self.lies, [inner, width]);
        let bias = self.bias(&name, width, biased);
        let inputs = Inputs::Placed(self.shape.mixed(), inner);
        let source = |output| (output < width).then_some((0, output));
        let packed = weights.pack(&[matrix?], &inputs, self.filled(), source)?;
        with_bias(packed, bias?, self.filled())
    }

    fn bias(
        &self,
        name: &str,
        outputs: usize,
        biased: bool,
    ) -> Result<Option<Vec<f32>>, PretrainedError> {
        biased.then(|| self.weights.vector(&format!("{name}.bias"), outputs)).transpose()
    }
}

fn with_bias(
    packed: PackedWeights,
    bias: Option<Vec<f32>>,
    outputs: usize,
) -> Result<PackedWeights, PretrainedError> {
    let Some(mut bias) = bias else { return Ok(packed) };
    bias.resize(outputs, 0.0);
    Ok(packed.with_bias(&bias))
}
