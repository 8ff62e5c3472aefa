//! The optimizers' steps on the GPU: `kernels/optimizer.cu`. Where Muon orthogonalises in bf16, all matrices of one
//! shape go through its products together, since each of them alone leaves most of a GPU idle.

use std::collections::BTreeMap;

use burn::tensor::{DType, Tensor};
use burn_cuda::CudaDevice;
use cubecl::server::Handle;
use lmtrain_runs::Precision;

use super::Cuda;
use super::launch::{Held, Kernel, empty, held, tensor};
use super::products::Product;
use super::rows;
use crate::ops::reference::{NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS};
use crate::ops::{AdamSettings, MuonStep, single_muon_step};

const SOURCE: &str = include_str!("kernels/optimizer.cu");

/// Blocks that sum the squares of a tensor, at most.
const MOST_PARTS: usize = 132;
/// Numbers of a block's sum, at least.
const LEAST_PART: usize = 4096;
/// Side of a tile of Muon's matrices.
const TILE: usize = 32;

/// As many as the kernels' settings have places.
fn settings_of(numbers: &[f64]) -> [f32; 6] {
    let mut settings = [0.0; 6];
    for (place, number) in settings.iter_mut().zip(numbers) {
        *place = *number as f32;
    }
    settings
}

/// Σ x² over several tensors, [1].
pub(super) fn squared_norms(all: &[Held]) -> Held {
    let near = &all[0];
    let counts: Vec<usize> = all.iter().map(|x| x.meta.shape().num_elements()).collect();
    let blocks = |count: &usize| count.div_ceil(LEAST_PART).min(MOST_PARTS);
    let parts: usize = counts.iter().map(blocks).sum();
    let sums = empty([parts], DType::F32, near);
    let mut place = sums.handle.clone();
    for (x, count) in all.iter().zip(&counts) {
        let macros = [("COUNT", *count as f64)];
        let (entry, threads) = ("squared_norm", 256);
        let kernel = Kernel { source: SOURCE, entry, macros: &macros, threads, shared: 0 };
        kernel.launch([blocks(count), 1, 1], &[&x.handle, &place], &[], near);
        place = place.offset_start(4 * blocks(count) as u64);
    }
    rows::sum_parts(&sums.handle, parts, [1], near)
}

/// What gradients are multiplied by, [1]; none is 1.
pub(super) fn scale(scale: &Option<Tensor<Cuda, 1>>, device: &CudaDevice) -> Held {
    held(scale.clone().unwrap_or_else(|| Tensor::ones([1], device)))
}

/// One step of Adam on numbers [count], for the gradient times `scale`: weights and moments.
pub(super) fn adam_step(
    settings: AdamSettings,
    gradient: &Held,
    scale: &Held,
    state: [Held; 3],
) -> [Held; 3] {
    let AdamSettings { learning_rate, beta1, beta2, epsilon, step } = settings;
    let power = |beta: f64| 1.0 - beta.powf(step as f64);
    let numbers = [learning_rate, beta1, beta2, epsilon, power(beta1), power(beta2)];
    let count = gradient.meta.shape().num_elements();
    let new = [(); 3].map(|()| empty([count], DType::F32, gradient));
    let [weights, first, second] = &state;
    let read = [weights, gradient, first, second, scale];
    let buffers: Vec<&Handle> = read.into_iter().chain(&new).map(|held| &held.handle).collect();
    let macros = [("COUNT", count as f64)];
    let (entry, threads) = ("adam_step", 256);
    let kernel = Kernel { source: SOURCE, entry, macros: &macros, threads, shared: 0 };
    kernel.launch([count.div_ceil(1024), 1, 1], &buffers, &settings_of(&numbers), gradient);
    new
}

/// A matrix that Muon steps on, on the device.
struct Matrix {
    step: MuonStep<Cuda>,
    /// Its number among the steps.
    index: usize,
    inputs: usize,
    columns: usize,
    /// Side by side in its columns.
    blocks: usize,
}

impl Matrix {
    fn new(index: usize, step: MuonStep<Cuda>) -> Self {
        let [inputs, columns] = step.weights.dims();
        let blocks = step.settings.column_blocks;
        Self { step, index, inputs, columns, blocks }
    }

    fn outputs(&self) -> usize {
        self.columns / self.blocks
    }

    /// Whether the kernels make its step: they multiply in bf16, and read 8 numbers at a time.
    fn is_known(&self) -> bool {
        self.step.settings.precision == Precision::Bf16
            && [self.inputs, self.outputs()].iter().all(|side| side.is_multiple_of(8))
    }

    /// Rows and columns of each block as the products take it: never taller than wide.
    fn shape(&self) -> [usize; 2] {
        let (inputs, outputs) = (self.inputs, self.outputs());
        [inputs.min(outputs), inputs.max(outputs)]
    }

    /// Blocks of threads, each with a tile.
    fn grid(&self) -> [usize; 3] {
        [self.outputs().div_ceil(TILE), self.inputs.div_ceil(TILE), self.blocks]
    }

    fn launch(&self, entry: &'static str, grid: [usize; 3], buffers: &[&Handle], near: &Held) {
        let macros = [("INPUTS", self.inputs), ("COLUMNS", self.columns), ("BLOCKS", self.blocks)]
            .map(|(name, value)| (name, value as f64));
        let settings = self.step.settings;
        let numbers = [settings.momentum, settings.learning_rate, settings.weight_decay];
        let kernel = Kernel { source: SOURCE, entry, macros: &macros, threads: 256, shared: 0 };
        kernel.launch(grid, buffers, &settings_of(&numbers), near);
    }
}

/// A step of each, in their order: weights and momentum.
pub(super) fn muon_steps(steps: Vec<MuonStep<Cuda>>) -> Vec<[Tensor<Cuda, 2>; 2]> {
    let mut groups: BTreeMap<[usize; 2], Vec<Matrix>> = BTreeMap::new();
    let mut done = Vec::new();
    for (index, step) in steps.into_iter().enumerate() {
        let matrix = Matrix::new(index, step);
        match matrix.is_known() {
            true => groups.entry(matrix.shape()).or_default().push(matrix),
            false => done.push((index, single_muon_step(matrix.step))),
        }
    }
    done.extend(groups.into_iter().flat_map(|(shape, matrices)| step_group(shape, matrices)));
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, state)| state).collect()
}

/// A step of matrices whose blocks have one shape, each with its number.
fn step_group(
    [short, long]: [usize; 2],
    matrices: Vec<Matrix>,
) -> Vec<(usize, [Tensor<Cuda, 2>; 2])> {
    let batch: usize = matrices.iter().map(|matrix| matrix.blocks).sum();
    let near = held(matrices[0].step.weights.clone());
    let scale = scale(&matrices[0].step.scale, &near.device);
    let tiles = short.div_ceil(TILE) * long.div_ceil(TILE);
    let ahead = empty([batch, short, long], DType::F32, &near);
    let squares = empty([batch, tiles], DType::F32, &near);
    let (mut place, mut squares_place) = (ahead.handle.clone(), squares.handle.clone());
    let mut momenta = Vec::new();
    for matrix in &matrices {
        let gradient = held(matrix.step.gradient.clone());
        let momentum = held(matrix.step.momentum.clone());
        let new = empty([matrix.inputs, matrix.columns], DType::F32, &near);
        let buffers = [
            &gradient.handle,
            &momentum.handle,
            &scale.handle,
            &new.handle,
            &place,
            &squares_place,
        ];
        matrix.launch("muon_momentum", matrix.grid(), &buffers, &near);
        place = place.offset_start((4 * matrix.blocks * short * long) as u64);
        squares_place = squares_place.offset_start((4 * matrix.blocks * tiles) as u64);
        momenta.push(new);
    }
    let normed = empty([batch, short, long], DType::BF16, &near);
    let grid = [batch, (short * long).div_ceil(8192), 1];
    let buffers = [&ahead.handle, &squares.handle, &normed.handle];
    matrices[0].launch("muon_normalize", grid, &buffers, &near);
    let updates = orthogonal(normed, [batch, short, long]);
    let mut place = updates.handle.clone();
    let mut state = Vec::new();
    for (matrix, momentum) in matrices.iter().zip(momenta) {
        let weights = held(matrix.step.weights.clone());
        let new = empty([matrix.inputs, matrix.columns], DType::F32, &near);
        let buffers = [&weights.handle, &place, &new.handle];
        matrix.launch("muon_update", matrix.grid(), &buffers, &near);
        place = place.offset_start((2 * matrix.blocks * short * long) as u64);
        state.push((matrix.index, [tensor(new), tensor(momentum)]));
    }
    state
}

/// The nearest semi-orthogonal matrix of each, roughly: x [batch, short, long].
fn orthogonal(mut x: Held, [batch, short, long]: [usize; 3]) -> Held {
    let (a, b, c) = NEWTON_SCHULZ;
    for _ in 0..NEWTON_SCHULZ_STEPS {
        let product = |left, right, columns, inner, right_transposed| Product {
            left,
            right,
            rows: short,
            columns,
            inner,
            left_transposed: false,
            right_transposed,
            batch,
        };
        let square = product(&x, &x, short, long, true).half();
        let polynomial = product(&square, &square, short, short, false).scaled([b, c], &square);
        x = product(&polynomial, &x, long, short, false).scaled([a, 1.0], &x);
    }
    x
}
