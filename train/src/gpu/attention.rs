//! Causal attention on the GPU: `kernels/attention.cu`, forward and backward.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use burn::tensor::DType;
use cubecl::server::Handle;

use super::launch::{Held, Kernel, empty};
use super::rows;
use crate::ops::{Heads, angles};

const SOURCE: &str = include_str!("kernels/attention.cu");

/// Dimensions of a head that the kernels know.
const DIMENSIONS: [usize; 4] = [16, 32, 64, 128];

/// The shape of an attention.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attention {
    batch: usize,
    time: usize,
    heads: Heads,
    /// Of a head.
    dimensions: usize,
    has_gain: bool,
}

/// What the forward pass makes.
pub(super) struct Attended {
    /// bf16 [batch · time, width].
    pub(super) mixed: Held,
    /// f32 [batch, heads, time]: log₂ of each soft-max's sum.
    pub(super) log_sum: Held,
}

impl Attention {
    /// Of qkv [batch, time, 3 · width], if the kernels know such heads.
    pub(super) fn of(
        heads: Heads,
        [batch, time, triple]: [usize; 3],
        has_gain: bool,
    ) -> Option<Self> {
        let dimensions = triple / 3 / heads.count;
        DIMENSIONS.contains(&dimensions).then_some(Self {
            batch,
            time,
            heads,
            dimensions,
            has_gain,
        })
    }

    fn width(&self) -> usize {
        self.heads.count * self.dimensions
    }

    /// Queries and keys as they are multiplied: normed, turned, times the gain; bf16 [batch · time, 2 · width].
    pub(super) fn prepare(&self, qkv: &Held, gain: Option<&Held>) -> Held {
        let turned = empty([self.batch * self.time, 2 * self.width()], DType::BF16, qkv);
        let (table, gain) = (self.table(qkv), gain.unwrap_or(qkv));
        let buffers = [&qkv.handle, &gain.handle, &table, &turned.handle];
        self.launch("prepare", 256, [self.time.div_ceil(32), self.batch, 1], &buffers, qkv);
        turned
    }

    /// The attention of what [`Self::prepare`] made.
    pub(super) fn attend(&self, turned: &Held, qkv: &Held) -> Attended {
        let mixed = empty([self.batch * self.time, self.width()], DType::BF16, qkv);
        let log_sum = empty([self.batch, self.heads.count, self.time], DType::F32, qkv);
        let buffers = [&turned.handle, &qkv.handle, &mixed.handle, &log_sum.handle];
        self.launch("attend", 128, self.blocks(), &buffers, qkv);
        Attended { mixed, log_sum }
    }

    /// Gradients of qkv, bf16 [batch · time, 3 · width], and of the gain, f32 [heads], for `upstream`, bf16
    /// [batch · time, width].
    pub(super) fn backward(
        &self,
        qkv: &Held,
        gain: Option<&Held>,
        attended: &Attended,
        upstream: &Held,
    ) -> (Held, Option<Held>) {
        let (rows, heads) = (self.batch * self.time, self.heads.count);
        let Attended { mixed, log_sum } = attended;
        let turned = self.prepare(qkv, gain);
        let along = empty([self.batch, heads, self.time], DType::F32, qkv);
        let buffers = [&mixed.handle, &upstream.handle, &along.handle];
        let eighths = self.time * self.width() / 8;
        self.launch("along", 256, [eighths.div_ceil(256), self.batch, 1], &buffers, qkv);
        let gradients = empty([rows, 3 * self.width()], DType::BF16, qkv);
        let all = [&turned, qkv, upstream, log_sum, &along, &gradients].map(|held| &held.handle);
        self.launch("query_gradients", 128, self.blocks(), &all, qkv);
        self.launch("key_gradients", 128, self.blocks(), &all, qkv);
        let parts = self.time.div_ceil(32) * self.batch;
        let gain_parts = empty([parts, heads], DType::F32, qkv);
        let (table, of_gain) = (self.table(qkv), gain.unwrap_or(qkv));
        let buffers = [&qkv.handle, &of_gain.handle, &table, &gradients.handle, &gain_parts.handle];
        let grid = [self.time.div_ceil(32), self.batch, 1];
        self.launch("prepare_backward", 256, grid, &buffers, qkv);
        let gain = gain.map(|_| rows::sum_parts(&gain_parts.handle, parts, [heads], qkv));
        (gradients, gain)
    }

    fn blocks(&self) -> [usize; 3] {
        let block = if self.dimensions == 128 { 64 } else { 128 };
        [self.time.div_ceil(block), self.heads.count, self.batch]
    }

    fn launch(
        &self,
        entry: &'static str,
        threads: usize,
        grid: [usize; 3],
        buffers: &[&Handle],
        near: &Held,
    ) {
        let macros = [
            ("HEADS", self.heads.count),
            ("DIM", self.dimensions),
            ("TIME", self.time),
            ("TURNING", self.heads.turning(self.dimensions)),
            ("HAS_GAIN", usize::from(self.has_gain)),
        ]
        .map(|(name, value)| (name, value as f64));
        let kernel = Kernel { source: SOURCE, entry, macros: &macros, threads, shared: 0 };
        kernel.launch(grid, buffers, &[], near);
    }

    /// Cosines and sines [time, dimensions / 2, 2] of the rotary angles, copied to each device once.
    fn table(&self, near: &Held) -> Handle {
        static KNOWN: Mutex<BTreeMap<(usize, [usize; 3]), Handle>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let turning = self.heads.turning(self.dimensions);
        let make = || {
            let angles = angles(self.time, [self.dimensions, turning]);
            let pairs = angles.0.iter().zip(&angles.1);
            let bytes = pairs.flat_map(|(cosine, sine)| [cosine.to_le_bytes(), sine.to_le_bytes()]);
            near.client.create_from_slice(&bytes.flatten().collect::<Vec<u8>>())
        };
        let shape = [self.time, self.dimensions, turning];
        known.entry((near.device.index, shape)).or_insert_with(make).clone()
    }
}
