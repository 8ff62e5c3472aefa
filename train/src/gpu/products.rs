//! Products of bf16 matrices by the tensor cores: `kernels/products.cu`, its tiles, and the splits of long sums.

use burn::tensor::DType;
use cubecl::server::Handle;
use lmtrain_runs::recipe::Activation;

use super::launch::{Held, Kernel, empty, halves};
use super::rows;

const SOURCE: &str = include_str!("kernels/products.cu");

/// Inner numbers of a step, and steps that are in shared memory at a time.
const STEP: usize = 32;
const STAGES: usize = 4;
/// Inner numbers up to which the left operand's rows stay in shared memory for all tiles of a block.
const MOST_RESIDENT: usize = 256;
/// Inner numbers up to which the left operand's rows stay in L2 from one tile of a block to the next.
const MOST_IN_L2: usize = 512;
/// Tiles that fill a GPU twice, roughly.
const FILLED: usize = 264;
/// Rows of a usual batch: as many blocks as these make are enough.
const BATCH_ROWS: usize = 65536;
/// Inner numbers of a part of a long sum, at least.
const LEAST_PART: usize = 512;

/// Two operands in bf16: [rows, inner] · [inner, columns], or several such, one after another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product<'a> {
    pub(super) left: &'a Held,
    pub(super) right: &'a Held,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) inner: usize,
    /// Whether the left operand is stored as [inner, rows].
    pub(super) left_transposed: bool,
    /// Whether the right operand is stored as [columns, inner].
    pub(super) right_transposed: bool,
    /// How many products there are.
    pub(super) batch: usize,
}

/// The tiles of a result.
struct Tiles {
    rows: usize,
    columns: usize,
    /// That one block makes, one after another.
    a_block: usize,
    /// Whether the left operand's rows stay in shared memory for all of them.
    resident: bool,
}

/// What becomes of the sums, as the kernel numbers it, from 0 on.
#[derive(Clone, Copy)]
enum Epilogue {
    Half,
    Single,
    Add,
    Activate,
    ActivateBackward,
    Scaled,
}

/// The same with what it reads and writes, and its macros.
struct Finish<'a> {
    epilogue: Epilogue,
    buffers: Vec<&'a Handle>,
    macros: Vec<(&'static str, f64)>,
}

impl<'a> Product<'a> {
    /// x [rows, inner] · weights [inner, columns].
    pub(super) fn of(x: &'a Held, weights: &'a Held) -> Self {
        let ([rows, inner], [_, columns]) = (dims(x), dims(weights));
        let (left, right) = (x, weights);
        let (left_transposed, right_transposed) = (false, false);
        Self { left, right, rows, columns, inner, left_transposed, right_transposed, batch: 1 }
    }

    /// gradient [rows, outputs] · weightsᵀ, of weights [inputs, outputs].
    pub(super) fn back(gradient: &'a Held, weights: &'a Held) -> Self {
        let ([rows, inner], [columns, _]) = (dims(gradient), dims(weights));
        let (left_transposed, right_transposed) = (false, true);
        let (left, right) = (gradient, weights);
        Self { left, right, rows, columns, inner, left_transposed, right_transposed, batch: 1 }
    }

    /// xᵀ · gradient: [rows, inputs], [rows, outputs] → [inputs, outputs].
    pub(super) fn of_gradient(x: &'a Held, gradient: &'a Held) -> Self {
        let ([inner, rows], [_, columns]) = (dims(x), dims(gradient));
        let (left_transposed, right_transposed) = (true, false);
        let (left, right) = (x, gradient);
        Self { left, right, rows, columns, inner, left_transposed, right_transposed, batch: 1 }
    }

    /// The product in bf16.
    pub(super) fn half(self) -> Held {
        self.into_new(DType::BF16, Epilogue::Half, &[], Vec::new())
    }

    /// The product in f32.
    pub(super) fn single(self) -> Held {
        let parts = self.parts();
        if parts == 1 {
            return self.into_new(DType::F32, Epilogue::Single, &[], Vec::new());
        }
        let sums = empty([parts, self.rows, self.columns], DType::F32, self.left);
        let (epilogue, buffers) = (Epilogue::Single, vec![&sums.handle]);
        self.launch(Finish { epilogue, buffers, macros: Vec::new() }, parts);
        rows::sum_parts(&sums.handle, parts, [self.rows, self.columns], self.left)
    }

    /// other + the product, in f32.
    pub(super) fn plus(self, other: &Held) -> Held {
        self.into_new(DType::F32, Epilogue::Add, &[other], Vec::new())
    }

    /// The product and its activation, the [`halves`] of one tensor [2 · rows, columns] of bf16.
    pub(super) fn activated(self, activation: Activation) -> Held {
        let both = empty([2 * self.rows, self.columns], DType::BF16, self.left);
        let [before, after] = halves(&both);
        let (epilogue, buffers) = (Epilogue::Activate, vec![&before.handle, &after.handle]);
        self.launch(Finish { epilogue, buffers, macros: macros_of(activation) }, 1);
        both
    }

    /// The product times the activation's slope, for what was `before` it, in bf16.
    pub(super) fn through_activation(self, activation: Activation, before: &Held) -> Held {
        self.into_new(DType::BF16, Epilogue::ActivateBackward, &[before], macros_of(activation))
    }

    /// a · other + b · the product, in bf16.
    pub(super) fn scaled(self, [a, b]: [f64; 2], other: &Held) -> Held {
        let macros = vec![("FACTOR_A", a), ("FACTOR_B", b)];
        self.into_new(DType::BF16, Epilogue::Scaled, &[other], macros)
    }

    fn shape(&self) -> Vec<usize> {
        match self.batch {
            1 => vec![self.rows, self.columns],
            batch => vec![batch, self.rows, self.columns],
        }
    }

    fn into_new(
        self,
        dtype: DType,
        epilogue: Epilogue,
        read: &[&Held],
        macros: Vec<(&'static str, f64)>,
    ) -> Held {
        let out = empty(self.shape(), dtype, self.left);
        let read = read.iter().map(|held| &held.handle);
        let buffers = read.chain([&out.handle]).collect();
        self.launch(Finish { epilogue, buffers, macros }, 1);
        out
    }

    /// Parts of the sum that are made side by side, where one product leaves most of a GPU idle.
    fn parts(&self) -> usize {
        if self.batch > 1 {
            return 1;
        }
        let most = self.inner / LEAST_PART;
        let Tiles { rows, columns, .. } = self.tiles(most.max(1));
        let tiles = self.rows.div_ceil(rows) * self.columns.div_ceil(columns);
        let filled = match [rows, columns] {
            [256, _] => FILLED / 2,
            [128, 128] => FILLED,
            _ => 2 * FILLED,
        };
        (filled / tiles).min(most).max(1)
    }

    /// Tiles are large, so that little is read from L2 for each product, where there are enough of them to fill a GPU;
    /// and a block makes as many as leave enough blocks.
    fn tiles(&self, parts: usize) -> Tiles {
        let large = self.rows.div_ceil(128) * self.columns.div_ceil(128) * self.batch;
        let tall = match parts {
            1 => self.rows >= 16384,
            _ => self.rows.is_multiple_of(256),
        };
        let [rows, columns] = if self.rows <= 64 || (parts == 1 && large < FILLED) {
            [64, 64]
        } else if self.columns <= 1024 && (1..=64).contains(&(self.columns % 128)) {
            [128, 64]
        } else if self.inner > MOST_RESIDENT && tall {
            [256, 128]
        } else {
            [128, 128]
        };
        let [down, across] = [self.rows.div_ceil(rows), self.columns.div_ceil(columns)];
        let enough = BATCH_ROWS / rows;
        let tiles = down * across * self.batch;
        let a_block = if parts > 1 || self.inner > MOST_IN_L2 || tiles < 2 * enough {
            1
        } else if down * self.batch >= enough {
            across
        } else {
            tiles / enough
        };
        let resident = a_block > 1 && self.steps(parts) * STEP <= MOST_RESIDENT;
        Tiles { rows, columns, a_block, resident }
    }

    /// Of a part of the sum.
    fn steps(&self, parts: usize) -> usize {
        self.inner.div_ceil(parts).div_ceil(STEP)
    }

    fn launch(self, finish: Finish<'_>, parts: usize) {
        let tiles = self.tiles(parts);
        let share = |tile: usize| if tile == 64 { 32 } else { 64 };
        let threads = tiles.rows / share(tiles.rows) * (tiles.columns / share(tiles.columns)) * 32;
        let left_stages = if tiles.resident { self.steps(parts) } else { STAGES };
        let mut macros = [
            ("ROWS", self.rows),
            ("COLUMNS", self.columns),
            ("INNER", self.inner),
            ("LEFT_TRANSPOSED", usize::from(self.left_transposed)),
            ("RIGHT_TRANSPOSED", usize::from(self.right_transposed)),
            ("BATCH", self.batch),
            ("PARTS", parts),
            ("EPILOGUE", finish.epilogue as usize),
            ("STAGES", STAGES),
            ("TILE_ROWS", tiles.rows),
            ("TILE_COLUMNS", tiles.columns),
            ("TILES_A_BLOCK", tiles.a_block),
            ("RESIDENT", usize::from(tiles.resident)),
        ]
        .map(|(name, value)| (name, value as f64))
        .to_vec();
        macros.extend(finish.macros);
        let kernel = Kernel {
            source: SOURCE,
            entry: "product",
            macros: &macros,
            threads,
            shared: 2 * STEP * (left_stages * tiles.rows + STAGES * tiles.columns),
        };
        let blocks_a_row = self.columns.div_ceil(tiles.columns).div_ceil(tiles.a_block);
        let grid = [self.rows.div_ceil(tiles.rows) * blocks_a_row, parts, self.batch];
        let mut buffers = vec![&self.left.handle, &self.right.handle];
        buffers.extend(finish.buffers);
        kernel.launch(grid, &buffers, &[], self.left);
    }
}

/// The macro of an activation, as the kernel numbers it.
fn macros_of(activation: Activation) -> Vec<(&'static str, f64)> {
    let number = match activation {
        Activation::SquaredRelu => 0.0,
        Activation::LeakySquaredRelu => 1.0,
        Activation::Gelu => 2.0,
    };
    vec![("ACTIVATION", number)]
}

/// Rows and columns of a matrix.
pub(super) fn dims(matrix: &Held) -> [usize; 2] {
    let shape = matrix.meta.shape();
    [shape[0], shape[1]]
}
