//! Each kernel's speed by itself: `cargo bench -p lmtrain-engine`. Shapes are those of a batch of
//! 4 × 2048 at 200K (width 64, 4 heads) and at 3.2M (width 256, 8 heads); the throughput counts
//! multiply-adds, or numbers where there are none. Products are of singles and of bfloat16.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lmtrain_kernels::{
    self as kernels, Activation, AdamW, AttentionShape, Factors, Head, Kept, LinearShape, Muon,
};
use lmtrain_runs::random::SplitMix64;

const ROWS: usize = 4 * 2048;
/// The numbers that products multiply, and what to add to a name.
const FACTORS: [(&str, Factors); 2] = [("", Factors::Single), ("/bf16", Factors::Bfloat)];
/// Name, width and heads.
const SIZES: [(&str, usize, usize); 2] = [("200K", 64, 4), ("3.2M", 256, 8)];

/// Each size in each of the numbers that are multiplied.
fn sizes() -> impl Iterator<Item = (String, usize, usize, Factors)> {
    SIZES.into_iter().flat_map(|(name, width, heads)| {
        FACTORS.map(|(with, factors)| (format!("{name}{with}"), width, heads, factors))
    })
}

fn numbers(count: usize) -> Vec<f32> {
    let mut generator = SplitMix64::new(count as u64);
    (0..count).map(|_| generator.truncated_normal()).collect()
}

fn linear(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("linear");
    for (name, width, _, factors) in sizes() {
        let shape = LinearShape { rows: ROWS, inputs: width, outputs: 4 * width, factors };
        let (x, w) = (numbers(ROWS * width), numbers(4 * width * width));
        let (dy, mut y) = (numbers(ROWS * 4 * width), vec![0.0; ROWS * 4 * width]);
        let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
        group.throughput(Throughput::Elements((ROWS * 4 * width * width) as u64));
        group.bench_function(format!("up/{name}"), |b| {
            b.iter(|| kernels::linear(shape, black_box(&x), &w, None, &mut y));
        });
        group.bench_function(format!("up_activate/{name}"), |b| {
            let activation = Activation::ReluSquared;
            b.iter(|| {
                kernels::linear_activate(shape, black_box(&x), &w, None, activation, None, &mut y);
            });
        });
        group.bench_function(format!("grad_input/{name}"), |b| {
            b.iter(|| kernels::linear_grad_input(shape, black_box(&dy), &w, &mut dx));
        });
        group.bench_function(format!("grad_weight/{name}"), |b| {
            b.iter(|| kernels::linear_grad_weight(shape, black_box(&x), &dy, &mut dw));
        });
    }
    group.finish();
}

fn attention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention");
    for (name, width, heads, factors) in sizes() {
        let (batch, time, head_dim) = (4, 2048, width / heads);
        let shape = AttentionShape { batch, time, heads, head_dim, rotated: head_dim, factors };
        let (qkv, gain) = (numbers(ROWS * 3 * width), vec![1.5; heads]);
        let (mut out, mut sums) = (vec![0.0; ROWS * width], vec![0.0; batch * heads * time]);
        let pairs = (batch * width * time * (time + 1) / 2) as u64;
        group.throughput(Throughput::Elements(2 * pairs));
        group.bench_function(format!("forward/{name}"), |b| {
            b.iter(|| {
                let qkv = black_box(&qkv);
                kernels::attention(shape, qkv, Some(&gain), &mut out, Some(&mut sums));
            });
        });
        let (upstream, mut dqkv) = (numbers(ROWS * width), vec![0.0; qkv.len()]);
        let mut dgain = vec![0.0; heads];
        group.throughput(Throughput::Elements(5 * pairs));
        group.bench_function(format!("backward/{name}"), |b| {
            b.iter(|| {
                kernels::attention_backward(
                    shape,
                    black_box(&qkv),
                    Some(&gain),
                    &out,
                    &sums,
                    &upstream,
                    &mut dqkv,
                    Some(&mut dgain),
                );
            });
        });
    }
    group.finish();
}

fn rows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rows");
    for (name, width, _) in SIZES {
        let (x, dy, mut y) =
            (numbers(ROWS * width), numbers(ROWS * width), vec![0.0; ROWS * width]);
        group.throughput(Throughput::Elements((ROWS * width) as u64));
        group.bench_function(format!("rms_norm/{name}"), |b| {
            b.iter(|| kernels::rms_norm(ROWS, width, black_box(&x), &mut y));
        });
        group.bench_function(format!("rms_norm_backward/{name}"), |b| {
            b.iter(|| {
                kernels::rms_norm_backward(ROWS, width, black_box(&x), &dy, Some(&dy), &mut y)
            });
        });
        let (scale, offset) = (vec![1.0; width], vec![0.0; width]);
        group.bench_function(format!("layer_norm/{name}"), |b| {
            b.iter(|| kernels::layer_norm(ROWS, width, black_box(&x), &scale, &offset, &mut y));
        });
        for (label, activation) in [("relu2", Activation::ReluSquared), ("gelu", Activation::Gelu)]
        {
            group.bench_function(format!("{label}/{name}"), |b| {
                b.iter(|| kernels::activate(activation, black_box(&x), &mut y));
            });
            group.bench_function(format!("{label}_backward/{name}"), |b| {
                let kept = Kept::Before(&x);
                b.iter(|| kernels::activate_backward(activation, kept, black_box(&dy), &mut y));
            });
        }
        let tokens: Vec<u32> = (0..ROWS).map(|row| (row * 7 % 256) as u32).collect();
        let table = numbers(256 * width);
        group.bench_function(format!("embedding/{name}"), |b| {
            b.iter(|| kernels::embedding(width, black_box(&table), &tokens, 1.0, &mut y));
        });
    }
    group.finish();
}

fn head(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    for (name, width, _, factors) in sizes() {
        let vocabulary = 256;
        let (h, weights) = (numbers(ROWS * width), numbers(width * vocabulary));
        let targets: Vec<u32> = (0..ROWS).map(|row| (row * 7 % vocabulary) as u32).collect();
        let softcap = Some(30.0);
        let head = Head { width, vocabulary, weights: &weights, bias: None, softcap, factors };
        let upstream = vec![1.0 / ROWS as f32; ROWS];
        let (mut nats, mut dh) = (vec![0.0; ROWS], vec![0.0; h.len()]);
        let mut dw = vec![0.0; weights.len()];
        group.throughput(Throughput::Elements((ROWS * width * vocabulary) as u64));
        group.bench_function(format!("loss/{name}"), |b| {
            b.iter(|| kernels::head_loss(&head, black_box(&h), &targets, &mut nats));
        });
        group.throughput(Throughput::Elements((3 * ROWS * width * vocabulary) as u64));
        group.bench_function(format!("gradients/{name}"), |b| {
            b.iter(|| {
                let (h, nats) = (black_box(&h), Some(&mut nats[..]));
                kernels::head_loss_gradients(
                    &head, h, &targets, &upstream, nats, &mut dh, &mut dw, None,
                );
            });
        });
    }
    group.finish();
}

fn optimizer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("optimizer");
    for (name, width, _, factors) in sizes() {
        let count = 4 * width * width;
        let (gradient, mut weights) = (numbers(count), numbers(count));
        let (mut first, mut second) = (vec![0.0; count], vec![0.0; count]);
        group.throughput(Throughput::Elements(count as u64));
        let adam = AdamW {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            weight_decay: 0.0,
        };
        group.bench_function(format!("adamw/{name}"), |b| {
            b.iter(|| {
                let gradient = black_box(&gradient);
                kernels::adamw_step(&adam, 1, 1.0, gradient, &mut weights, &mut first, &mut second);
            });
        });
        let muon = Muon {
            learning_rate: 1e-3,
            momentum: 0.95,
            weight_decay: 0.0,
            iterations: 5,
            column_blocks: 1,
            factors,
        };
        group.bench_function(format!("muon/{name}"), |b| {
            b.iter(|| {
                let gradient = black_box(&gradient);
                kernels::muon_step(
                    &muon,
                    width,
                    4 * width,
                    1.0,
                    gradient,
                    &mut weights,
                    &mut first,
                );
            });
        });
    }
    group.finish();
}

criterion_group!(kernels_alone, linear, attention, rows, head, optimizer);
criterion_main!(kernels_alone);
