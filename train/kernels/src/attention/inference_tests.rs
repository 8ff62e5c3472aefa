//! The attention of inference: compared with `f64`, whole-chunk passes with cached steps, and across SIMD levels and
//! threads.

use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level::current;
use super::super::testing::{Numbers, assert_close, assert_same_bits, bits, wide};
use super::heads::{probability_unit, round_probability};
use super::*;

/// Heads with random scales.
fn heads(numbers: &mut Numbers, [heads, key_heads, dims]: [usize; 3]) -> AttentionHeads {
    let around_one = |count: usize, numbers: &mut Numbers| -> Vec<f32> {
        numbers.uniform(count).into_iter().map(|x| 1.5 + x).collect()
    };
    let factor = AttentionHeads::score_scale(dims);
    let query_scale = around_one(heads * dims, numbers).into_iter().map(|x| x * factor).collect();
    let key_scale = around_one(key_heads * dims, numbers);
    let (norm, window, soft_cap, held) = (None, None, None, HeldAs::Halves);
    AttentionHeads { heads, key_heads, dims, norm, query_scale, key_scale, window, soft_cap, held }
}

fn table(dims: usize, positions: usize) -> RotaryTable {
    let pairs = dims / 2;
    let frequencies: Vec<f64> =
        (0..pairs).map(|pair| rotary_frequency(10_000.0, pair as f64 / pairs as f64)).collect();
    RotaryTable::new(&frequencies, positions)
}

fn norm_of(of: NormOf, dimensions: usize, epsilon: f32) -> Option<HeadNorm> {
    Some(HeadNorm { of, dimensions, epsilon })
}

/// Prepared rows, and the output of the whole pass.
fn whole(heads: &AttentionHeads, table: Option<&RotaryTable>, rows: &[f32]) -> [Vec<f32>; 2] {
    let mut prepared = rows.to_vec();
    prepare_rows(current(), heads, table, [0, rows.len()], &mut prepared);
    let mut mixed = vec![f32::NAN; rows.len() / heads.row() * heads.width()];
    attention_whole(current(), heads, &prepared, &mut mixed);
    [prepared, mixed]
}

/// The output of sequences side by side, step by step, in steps of the given sizes over and over.
fn cached(
    heads: &AttentionHeads,
    table: Option<&RotaryTable>,
    sequences: &[Vec<f32>],
    sizes: &[usize],
) -> Vec<Vec<f32>> {
    let time = sequences[0].len() / heads.row();
    let mut cache = KeyValueCache::new(heads, sequences.len(), time);
    let mut all = vec![Vec::new(); sequences.len()];
    let (mut position, mut sizes) = (0, sizes.iter().cycle());
    while position < time {
        let new = (*sizes.next().expect("a size")).min(time - position);
        let part = position * heads.row()..(position + new) * heads.row();
        let mut rows: Vec<f32> =
            sequences.iter().flat_map(|rows| rows[part.clone()].to_vec()).collect();
        prepare_rows(current(), heads, table, [position, new], &mut rows);
        let mut mixed = vec![f32::NAN; sequences.len() * new * heads.width()];
        attention_cached(current(), heads, &mut cache, [position, new], &rows, &mut mixed);
        for (all, mixed) in all.iter_mut().zip(mixed.chunks(new * heads.width())) {
            all.extend_from_slice(mixed);
        }
        position += new;
    }
    all
}

/// The output in `f64` from prepared rows, the plain way; and the most that probabilities of 8 bits may change it.
fn exact(heads: &AttentionHeads, prepared: &[f64]) -> Vec<[f64; 2]> {
    let (d, group) = (heads.dims, heads.heads / heads.key_heads);
    let rows: Vec<&[f64]> = prepared.chunks(heads.row()).collect();
    let mut out = Vec::new();
    for (t, row) in rows.iter().enumerate() {
        for head in 0..heads.heads {
            let key = (heads.heads + head / group) * d;
            let value = key + heads.key_heads * d;
            let first = heads.window.map_or(0, |window| (t + 1).saturating_sub(window));
            let score = |s: &&[f64]| {
                let terms = row[head * d..][..d].iter().zip(&s[key..]);
                let score: f64 = terms.map(|(q, k)| q * k).sum();
                let cap = heads.soft_cap.map(|cap| f64::from(cap) * std::f64::consts::LOG2_E);
                cap.map_or(score, |cap| cap * (score / cap).tanh()).exp2()
            };
            let powers: Vec<f64> = rows[first..=t].iter().map(score).collect();
            let total: f64 = powers.iter().sum();
            let steps: Vec<f64> = rows[first..=t]
                .iter()
                .map(|s| s[value..][..d].iter().fold(0.0_f64, |most, x| most.max(x.abs())))
                .map(|largest| (largest / 127.0).log2().ceil().exp2())
                .collect();
            // A unit is at most a 127.5th of the block's largest probability; rounding takes half of one.
            let half = |key: usize| {
                let block = (first + key) / KEY_BLOCK * KEY_BLOCK;
                let keys =
                    block.saturating_sub(first)..(block + KEY_BLOCK - first).min(powers.len());
                keys.map(|key| powers[key] * steps[key]).fold(0.0, f64::max) / 255.0
            };
            let halves: Vec<f64> = (0..powers.len()).map(half).collect();
            out.extend((0..d).map(|i| {
                let (mut sum, mut change) = (0.0, 0.0);
                for (key, s) in rows[first..=t].iter().enumerate() {
                    sum += powers[key] * s[value + i];
                    change += halves[key] * s[value + i].abs() / steps[key];
                }
                [sum, change].map(|x| x / total * f64::from(heads.sum_factor()))
            }));
        }
    }
    out
}

#[test]
fn outputs_are_exact_to_rounding() {
    let mut numbers = Numbers::new(1);
    for (shape, time, window) in [
        ([1, 1, 16], 1, None),
        ([2, 2, 16], 70, None),
        ([4, 2, 32], 100, Some(7)),
        ([3, 1, 48], 200, Some(64)),
        ([2, 1, 80], 33, None),
        ([1, 1, 256], 40, Some(1)),
    ] {
        let mut heads = heads(&mut numbers, shape);
        heads.window = window;
        let rows = numbers.scaled(time * heads.row(), 1.5);
        let table = table(heads.dims, time);
        let normed = norm_of(NormOf::Head, heads.dims, 1e-5);
        for (norm, held, soft_cap) in [
            (None, HeldAs::Singles, None),
            (None, HeldAs::Singles, Some(3.0)),
            (None, HeldAs::Halves, None),
            (normed, HeldAs::Bytes, None),
        ] {
            (heads.norm, heads.held, heads.soft_cap) = (norm, held, soft_cap);
            let [prepared, mixed] = whole(&heads, Some(&table), &rows);
            let expected = exact(&heads, &wide(&prepared));
            if held == HeldAs::Bytes {
                for (found, [expected, change]) in mixed.iter().zip(expected) {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(error <= 1.01 * change + 1e-5, "{found} {expected} {change}");
                }
            } else {
                let expected: Vec<f64> = expected.iter().map(|[expected, _]| *expected).collect();
                assert_close("mixed", &mixed, &expected, 4e-6);
            }
        }
    }
}

#[test]
fn rows_are_normed_scaled_turned_and_rounded() {
    let mut numbers = Numbers::new(2);
    let mut heads = heads(&mut numbers, [2, 1, 32]);
    heads.norm = norm_of(NormOf::Head, 24, 1e-3);
    let (positions, first) = (9, 4);
    let rows = numbers.scaled(5 * heads.row(), 2.0);
    let mut prepared = rows.clone();
    let table = table(32, positions);
    prepare_rows(current(), &heads, Some(&table), [first, 5], &mut prepared);
    let scales: Vec<f32> = [&heads.query_scale[..], &heads.key_scale].concat();
    for (t, (row, found)) in rows.chunks(heads.row()).zip(prepared.chunks(heads.row())).enumerate()
    {
        for head in 0..3 {
            let x = wide(&row[head * 32..][..32]);
            let square = x.iter().map(|x| x * x).sum::<f64>() / 24.0;
            let factor = 1.0 / (square + 1e-3).sqrt();
            let scaled: Vec<f64> = x
                .iter()
                .zip(&scales[head * 32..])
                .map(|(x, scale)| x * factor * f64::from(*scale))
                .collect();
            let mut expected = scaled.clone();
            for pair in 0..16 {
                let low = pair / 8 * 16 + pair % 8;
                let angle = (first + t) as f64 * 10_000_f64.powf(-(pair as f64) / 16.0);
                expected[low] = scaled[low] * angle.cos() - scaled[low + 8] * angle.sin();
                expected[low + 8] = scaled[low + 8] * angle.cos() + scaled[low] * angle.sin();
            }
            // Keys have 11 bits.
            let tolerance = if head == 2 { 5e-4 } else { 1e-6 };
            assert_close("turned", &found[head * 32..][..32], &expected, tolerance);
        }
        let halves = found[64..].iter().all(|x| half::f16::from_f32(*x).to_f32() == *x);
        assert!(halves, "keys and values are halves");
        assert_close("values", &found[96..], &wide(&row[96..]), 5e-4);
    }
}

#[test]
fn heads_are_normed_together_or_centred() {
    let mut numbers = Numbers::new(8);
    let (count, dimensions, epsilon) = (3, 24, 1e-3);
    let mut heads = heads(&mut numbers, [2, 1, 32]);
    heads.held = HeldAs::Singles;
    // What a head is filled up with.
    for scale in heads.query_scale.chunks_mut(32).chain(heads.key_scale.chunks_mut(32)) {
        scale[dimensions..].fill(0.0);
    }
    let mut rows: Vec<f32> = numbers.scaled(5 * heads.row(), 2.0);
    for head in rows.chunks_mut(32) {
        head.iter_mut().for_each(|x| *x += 1.0);
        head[dimensions..].fill(0.0);
    }
    let scales = wide(&[&heads.query_scale[..], &heads.key_scale].concat());
    for of in [NormOf::AllHeads, NormOf::CentredHead] {
        heads.norm = norm_of(of, dimensions, epsilon);
        let mut prepared = rows.clone();
        prepare_rows(current(), &heads, None, [0, 5], &mut prepared);
        for (row, found) in rows.chunks(heads.row()).zip(prepared.chunks(heads.row())) {
            let row = wide(row);
            let normed = |numbers: &[f64], count: usize| {
                let square =
                    numbers.iter().map(|x| x * x).sum::<f64>() / (count * dimensions) as f64;
                1.0 / (square + f64::from(epsilon)).sqrt()
            };
            let expected: Vec<f64> = match of {
                NormOf::AllHeads => {
                    let factors = [normed(&row[..64], 2), normed(&row[64..96], 1)];
                    (0..96).map(|i| row[i] * factors[i / 64] * scales[i]).collect()
                }
                _ => (0..count)
                    .flat_map(|head| {
                        let x = &row[head * 32..][..dimensions];
                        let mean = x.iter().sum::<f64>() / dimensions as f64;
                        let x: Vec<f64> = x.iter().map(|x| x - mean).collect();
                        let factor = normed(&x, 1);
                        (0..32)
                            .map(move |i| x.get(i).map_or(0.0, |x| x * factor))
                            .collect::<Vec<_>>()
                    })
                    .zip(&scales)
                    .map(|(x, scale)| x * scale)
                    .collect(),
            };
            assert_close("normed", &found[..96], &expected, 1e-6);
        }
    }
}

#[test]
fn bytes_are_within_half_a_step() {
    let mut numbers = Numbers::new(6);
    let mut heads = heads(&mut numbers, [1, 1, 32]);
    heads.held = HeldAs::Bytes;
    heads.query_scale.fill(1.0);
    heads.key_scale.fill(1.0);
    for scale in [0.0, 1e-30, 1e-6, 0.3, 40.0, 120.0] {
        let rows = numbers.scaled(20 * heads.row(), scale);
        let mut prepared = rows.clone();
        prepare_rows(current(), &heads, None, [0, 20], &mut prepared);
        for (row, found) in rows.chunks(96).zip(prepared.chunks(96)) {
            for (part, factor) in [(0, 1.0), (32, 1.0), (64, heads.sum_factor())] {
                let (row, found) = (&row[part..][..32], &found[part..][..32]);
                let largest = row.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
                // Half a step, a step being at most a 63.5th of the largest, or 2⁻²⁴ where that is tiny.
                let most = (largest / 127.0).max(2_f32.powi(-25));
                for (x, found) in row.iter().zip(found) {
                    assert!((x - found * factor).abs() <= 1.000_001 * most, "{x} {found} {scale}");
                }
            }
        }
    }
}

/// Weights of a block by their largest.
struct Probabilities<'a>(&'a [f32; LANES]);

impl Kernel for Probabilities<'_> {
    type Output = (f32, [f32; LANES]);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let probabilities = lanes.vector(self.0);
        let [unit, inverse] = probability_unit(lanes.largest(probabilities));
        (unit, lanes.array(round_probability(lanes, probabilities, lanes.splat(inverse))))
    }
}

#[test]
fn probabilities_are_within_half_a_unit() {
    let mut numbers = Numbers::new(7);
    for scale in [1.0, 3e-20, 7e9, 1.0 / 256.0] {
        for _ in 0..100 {
            let mut probabilities = [0.0; LANES];
            for (probability, number) in probabilities.iter_mut().zip(numbers.uniform(LANES)) {
                *probability = (number + 1.0) * scale;
            }
            let (unit, found) = dispatch(current(), Probabilities(&probabilities));
            let largest = probabilities
                .iter()
                .fold(0.0_f32, |largest, probability| largest.max(*probability));
            assert!(largest / unit > 127.0 && largest / unit < 255.01, "{largest} {unit}");
            for (probability, found) in probabilities.iter().zip(found) {
                assert!(found.fract() == 0.0 && (0.0..=255.0).contains(&found), "{found}");
                assert!(
                    (probability - found * unit).abs() <= 0.500_01 * unit,
                    "{probability} {found} {unit}"
                );
            }
        }
    }
    // Probabilities that no longer matter, and none at all.
    for tiny in [0.0, 1e-38, 3e-39] {
        let (unit, found) = dispatch(current(), Probabilities(&[tiny; LANES]));
        assert!(unit > 0.0 && unit < 1e-36 && found[0] <= 255.0, "{unit} {found:?}");
    }
}

/// Heads, sequences, tokens, window and steps.
type Case = ([usize; 3], usize, usize, Option<usize>, &'static [usize]);

#[test]
fn whole_and_cached_are_the_same_bits() {
    let mut numbers = Numbers::new(3);
    let cases: [Case; 11] = [
        ([8, 8, 16], 1, 130, None, &[1]),
        ([2, 2, 64], 1, 130, None, &[1]),
        // So many keys that they are asked for ahead.
        ([16, 16, 32], 1, 520, None, &[40]),
        ([1, 1, 16], 1, 2048, None, &[1]),
        ([4, 4, 16], 3, 300, None, &[1]),
        ([4, 2, 32], 2, 257, None, &[5, 1, 64, 17]),
        ([8, 8, 32], 1, 200, None, &[7]),
        ([3, 3, 48], 2, 150, None, &[1, 2]),
        ([2, 1, 64], 1, 500, Some(100), &[100, 1]),
        ([6, 2, 16], 1, 700, Some(64), &[1]),
        ([5, 1, 96], 2, 70, Some(1), &[3]),
    ];
    for (shape, count, time, window, sizes) in cases {
        let mut heads = heads(&mut numbers, shape);
        heads.window = window;
        let sequences: Vec<Vec<f32>> =
            (0..count).map(|_| numbers.scaled(time * heads.row(), 4.0)).collect();
        let table = table(heads.dims, time);
        for (table, held, soft_cap) in [
            (None, HeldAs::Singles, None),
            (Some(&table), HeldAs::Singles, None),
            (Some(&table), HeldAs::Singles, Some(2.5)),
            (None, HeldAs::Halves, None),
            (Some(&table), HeldAs::Halves, None),
            (None, HeldAs::Bytes, None),
            (Some(&table), HeldAs::Bytes, None),
        ] {
            (heads.held, heads.soft_cap) = (held, soft_cap);
            let steps = cached(&heads, table, &sequences, sizes);
            for (rows, step) in sequences.iter().zip(&steps) {
                let [_, mixed] = whole(&heads, table, rows);
                assert!(bits(&mixed) == bits(step), "{shape:?} {window:?}");
                assert!(mixed.iter().all(|value| value.is_finite()));
            }
        }
    }
}

#[test]
fn levels_and_threads_agree() {
    let mut numbers = Numbers::new(4);
    for (shape, time, window) in [
        ([4, 2, 16], 70, None),
        ([2, 2, 32], 40, Some(5)),
        ([1, 1, 48], 40, None),
        ([2, 1, 64], 33, None),
    ] {
        let mut heads = heads(&mut numbers, shape);
        heads.window = window;
        let rows = numbers.scaled(time * heads.row(), 3.0);
        let table = table(heads.dims, time);
        for (held, of, soft_cap) in [
            (HeldAs::Singles, NormOf::Head, Some(5.0)),
            (HeldAs::Singles, NormOf::AllHeads, None),
            (HeldAs::Singles, NormOf::CentredHead, None),
            (HeldAs::Halves, NormOf::Head, None),
            (HeldAs::Bytes, NormOf::Head, None),
        ] {
            (heads.held, heads.soft_cap) = (held, soft_cap);
            heads.norm = norm_of(of, heads.dims - 3, 1e-6);
            assert_same_bits("inference", || {
                let steps = cached(&heads, Some(&table), std::slice::from_ref(&rows), &[1, 3]);
                let both = whole(&heads, Some(&table), &rows);
                [both.concat(), steps.concat()].concat()
            });
        }
    }
}

#[test]
fn extreme_numbers_stay_finite_and_the_same() {
    let mut numbers = Numbers::new(5);
    let mut heads = heads(&mut numbers, [1, 1, 16]);
    for (held, scale) in [HeldAs::Halves, HeldAs::Bytes]
        .into_iter()
        .flat_map(|held| [0.0, 1e-30, 1e-12, 300.0, 1e6, 1e30].map(|scale| (held, scale)))
    {
        heads.held = held;
        let mut rows = numbers.scaled(100 * heads.row(), scale);
        // Tokens far smaller and larger than the others.
        for (i, row) in rows.chunks_mut(heads.row()).enumerate() {
            let factor = [1.0, 1e-9, 1e-25, 1e9][i % 4];
            row.iter_mut().for_each(|x| *x *= factor);
        }
        rows[5] = if scale > 1e6 { f32::NAN } else { 0.0 };
        assert_same_bits("extreme", || {
            let [_, mixed] = whole(&heads, None, &rows);
            let steps = cached(&heads, None, std::slice::from_ref(&rows), &[1]);
            assert!(bits(&mixed) == bits(&steps[0]), "{held:?} {scale}");
            // Scores of millions mean nothing any more, but they are the same nothing everywhere.
            assert!(scale > 1.0 || mixed.iter().all(|value| value.is_finite()), "{scale}");
            mixed
        });
    }
}
