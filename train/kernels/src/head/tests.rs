//! The head compared with `f64` and with central differences, and across SIMD levels and threads.

use super::super::factors::Factors;
use super::super::testing::{Numbers, assert_close, assert_same_bits, bits, differences, wide};
use super::*;

/// Owned tensors of a case.
struct Case {
    width: usize,
    vocabulary: usize,
    h: Vec<f32>,
    weights: Vec<f32>,
    bias: Option<Vec<f32>>,
    softcap: Option<f32>,
    factors: Factors,
    targets: Vec<u32>,
    upstream: Vec<f32>,
}

impl Case {
    fn new(rows: usize, width: usize, vocabulary: usize, bias: bool, softcap: Option<f32>) -> Self {
        let mut numbers = Numbers::new((rows * 31 + vocabulary) as u64);
        Case {
            width,
            vocabulary,
            h: numbers.scaled(rows * width, 2.0),
            weights: numbers.uniform(width * vocabulary),
            bias: bias.then(|| numbers.uniform(vocabulary)),
            softcap,
            factors: Factors::Single,
            targets: numbers.tokens(rows, vocabulary),
            upstream: numbers.uniform(rows),
        }
    }

    fn head(&self) -> Head<'_> {
        Head {
            width: self.width,
            vocabulary: self.vocabulary,
            weights: &self.weights,
            bias: self.bias.as_deref(),
            softcap: self.softcap,
            factors: self.factors,
        }
    }

    /// Nats, dh, dweights, dbias.
    fn results(&self) -> [Vec<f32>; 4] {
        let mut nats = vec![0.0; self.targets.len()];
        let (mut dh, mut dw) = (vec![0.0; self.h.len()], vec![0.0; self.weights.len()]);
        let mut db = vec![0.0; self.vocabulary];
        let (h, t, u) = (&self.h, &self.targets, &self.upstream);
        head_loss(&self.head(), h, t, &mut nats);
        head_loss_gradients(&self.head(), h, t, u, None, &mut dh, &mut dw, Some(&mut db));
        [nats, dh, dw, db]
    }
}

fn exact_nats(case: &Case, h: &[f64], weights: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    let rows = h.chunks(case.width).zip(&case.targets);
    rows.map(|(h, target)| {
        let logits: Vec<f64> = (0..case.vocabulary)
            .map(|v| {
                let column = weights[v..].iter().step_by(case.vocabulary);
                let z = h.iter().zip(column).map(|(h, w)| h * w).sum::<f64>()
                    + bias.map_or(0.0, |bias| bias[v]);
                case.softcap.map_or(z, |c| f64::from(c) * (z / f64::from(c)).tanh())
            })
            .collect();
        logits.iter().map(|z| z.exp()).sum::<f64>().ln() - logits[*target as usize]
    })
    .collect()
}

#[test]
fn loss_and_gradients_are_exact_to_rounding() {
    for (bias, softcap) in [(false, None), (true, Some(5.0)), (false, Some(30.0))] {
        let case = Case::new(4, 9, 21, bias, softcap);
        let [nats, dh, dw, db] = case.results();
        let (h, w, b) = (wide(&case.h), wide(&case.weights), case.bias.as_deref().map(wide));
        let b = b.as_deref();
        assert_close("nats", &nats, &exact_nats(&case, &h, &w, b), 1e-6);
        let upstream = wide(&case.upstream);
        let total = |nats: Vec<f64>| nats.iter().zip(&upstream).map(|(n, u)| n * u).sum();
        let by_h = differences(&h, |h| total(exact_nats(&case, h, &w, b)));
        assert_close("dh", &dh, &by_h, 3e-6);
        let by_w = differences(&w, |w| total(exact_nats(&case, &h, w, b)));
        assert_close("dweights", &dw, &by_w, 3e-6);
        if let Some(b) = b {
            let by_b = differences(b, |b| total(exact_nats(&case, &h, &w, Some(b))));
            assert_close("dbias", &db, &by_b, 3e-6);
        }
    }
}

#[test]
fn bfloats_are_near_singles() {
    let mut case = Case::new(70, 33, 101, true, Some(15.0));
    let exact = case.results();
    case.factors = Factors::Bfloat;
    for (found, exact) in case.results().iter().zip(&exact) {
        assert_close("bfloat", found, &wide(exact), 2e-2);
        assert_ne!(found, exact);
    }
}

#[test]
fn one_pass_is_both_passes() {
    let case = Case::new(150, 16, 33, true, Some(10.0));
    let [nats, dh, dw, db] = case.results();
    let (mut n, mut h) = (vec![0.0; nats.len()], vec![0.0; dh.len()]);
    let (mut w, mut b) = (vec![0.0; dw.len()], vec![0.0; db.len()]);
    head_loss_gradients(
        &case.head(),
        &case.h,
        &case.targets,
        &case.upstream,
        Some(&mut n),
        &mut h,
        &mut w,
        Some(&mut b),
    );
    let expected = [nats, dh, dw, db].concat();
    assert_eq!(bits(&[n, h, w, b].concat()), bits(&expected));
}

#[test]
fn levels_and_threads_agree() {
    for (rows, width, vocabulary) in [(1, 1, 1), (3, 20, 50), (300, 16, 256), (90, 8, 1000)] {
        for softcap in [None, Some(15.0)] {
            let mut case = Case::new(rows, width, vocabulary, rows % 2 == 1, softcap);
            for factors in [Factors::Single, Factors::Bfloat] {
                case.factors = factors;
                assert_same_bits("head", || case.results().concat());
            }
        }
    }
}

#[test]
fn extreme_logits_stay_finite() {
    let mut case = Case::new(2, 1, 3, false, None);
    case.h = vec![1.0, 1.0];
    case.weights = vec![3e4, -3e4, 0.0];
    case.targets = vec![0, 1];
    let [nats, dh, ..] = case.results();
    assert_eq!(nats, [0.0, 6e4]);
    assert!(dh.iter().all(|value| value.is_finite()));
}
