//! Linear layers and norms in burn's operations, made from the engine's.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use lmtrain_kernels::{PackedWeights, RowNorm};

use crate::ops::reference::single;

/// Numbers of a table that is small beside a network's other weights.
const SMALL_TABLE: usize = 1 << 24;

/// Where weights go, and what those of products become.
pub(super) struct Place<'a, B: Backend> {
    pub(super) numbers: DType,
    pub(super) device: &'a B::Device,
}

impl<B: Backend> Place<'_, B> {
    pub(super) fn tensor<const D: usize>(
        &self,
        values: Vec<f32>,
        shape: [usize; D],
    ) -> Tensor<B, D> {
        Tensor::from_data(TensorData::new(values, shape), self.device)
    }

    pub(super) fn row(&self, values: &[f32]) -> Tensor<B, 1> {
        self.tensor(values.to_vec(), [values.len()])
    }

    /// [columns, inputs]: a table of the columns of packed weights, which keeps every bit if it is small.
    pub(super) fn table(&self, packed: &PackedWeights) -> Tensor<B, 2> {
        let (columns, inputs) = (packed.outputs(), packed.inputs());
        let mut values = vec![0.0; columns * inputs];
        for (column, values) in values.chunks_exact_mut(inputs).enumerate() {
            packed.column(column, values);
        }
        let small = columns * inputs <= SMALL_TABLE;
        let table = self.tensor(values, [columns, inputs]);
        if small { table } else { table.cast(self.numbers) }
    }

    /// [inputs, outputs], with zeros up to so many outputs.
    pub(super) fn linear(&self, packed: &PackedWeights, outputs: usize) -> Linear<B> {
        let inputs = packed.inputs();
        let mut columns = vec![0.0; outputs * inputs];
        for (output, column) in columns.chunks_exact_mut(inputs).enumerate().take(packed.outputs())
        {
            packed.column(output, column);
        }
        let weights = self.tensor(columns, [outputs, inputs]).swap_dims(0, 1);
        let bias = packed.bias().map(|bias| {
            let mut padded = bias.to_vec();
            padded.resize(outputs, 0.0);
            self.row(&padded)
        });
        Linear { weights: weights.cast(self.numbers), bias }
    }
}

pub(super) struct Linear<B: Backend> {
    /// [inputs, outputs].
    pub(super) weights: Tensor<B, 2>,
    bias: Option<Tensor<B, 1>>,
}

impl<B: Backend> Linear<B> {
    /// x [rows, inputs] → [rows, outputs], in f32.
    pub(super) fn apply(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let y = single(x.cast(self.weights.dtype()).matmul(self.weights.clone()));
        match &self.bias {
            Some(bias) => y + bias.clone().unsqueeze(),
            None => y,
        }
    }
}

/// `RowNorm`, of rows whose last columns may be filled up with zeros.
pub(super) struct Norm<B: Backend> {
    scale: Option<Tensor<B, 1>>,
    /// For norms that take the mean away: what is added, and 1 where a column counts.
    layer: Option<[Tensor<B, 1>; 2]>,
    columns: usize,
    epsilon: f32,
}

impl<B: Backend> Norm<B> {
    pub(super) fn new(norm: &RowNorm, width: usize, place: &Place<'_, B>) -> Self {
        let filled = |values: &[f32]| {
            let mut values = values.to_vec();
            values.resize(width, 0.0);
            place.row(&values)
        };
        match norm {
            RowNorm::Rms { scale, epsilon } => Norm {
                scale: scale.as_deref().map(filled),
                layer: None,
                columns: scale.as_ref().map_or(width, Vec::len),
                epsilon: *epsilon,
            },
            RowNorm::Layer { scale, offset, epsilon } => Norm {
                scale: Some(filled(scale)),
                layer: Some([filled(offset), filled(&vec![1.0; scale.len()])]),
                columns: scale.len(),
                epsilon: *epsilon,
            },
        }
    }

    /// x [rows, width].
    pub(super) fn apply(&self, mut x: Tensor<B, 2>) -> Tensor<B, 2> {
        let mean = |x: Tensor<B, 2>| x.sum_dim(1) / self.columns as f32;
        if let Some([_, counts]) = &self.layer {
            x = (x.clone() - mean(x)) * counts.clone().unsqueeze();
        }
        let deviation = (mean(x.clone() * x.clone()) + self.epsilon).sqrt();
        x = x / deviation;
        if let Some(scale) = &self.scale {
            x = x * scale.clone().unsqueeze();
        }
        match &self.layer {
            Some([offset, _]) => x + offset.clone().unsqueeze(),
            None => x,
        }
    }
}
