//! Laws compared with SciPy's: `reference.py` minimises the same loss by other methods, and makes the same bootstrap
//! with other random numbers; its results are in `reference.json`.

use serde::Deserialize;

use super::bootstrap::Fit;
use super::fit::{Law, Observation};

#[derive(Deserialize)]
struct Reference {
    corpus_bytes: f64,
    bytes_per_parameter: f64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    points: Vec<Place>,
    delta: f64,
    loss: f64,
    floor: f64,
    factors: Vec<f64>,
    exponents: Vec<f64>,
    best_size: f64,
    intervals: Option<Intervals>,
}

#[derive(Deserialize)]
struct Place {
    scales: Vec<f64>,
    rate: f64,
}

#[derive(Deserialize)]
struct Intervals {
    exponent: [f64; 2],
    best_size: [f64; 2],
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("reference.json")).expect("what reference.py wrote")
}

impl Case {
    fn observations(&self) -> Vec<Observation> {
        let observation =
            |place: &Place| Observation { scales: place.scales.clone(), rate: place.rate };
        self.points.iter().map(observation).collect()
    }
}

#[test]
fn laws_are_those_that_scipy_finds() {
    let Reference { corpus_bytes, bytes_per_parameter, cases } = reference();
    assert!(cases.iter().any(|case| case.factors.len() == 2) && cases.len() >= 4);
    for case in &cases {
        let points = case.observations();
        let (law, delta) = Law::fit(&points).expect("points");
        // Both stop where the loss falls no more; a loss changes with the square of what its numbers
        // are off, so that they agree to about half the digits of an f64.
        let near = |what: &str, value: f64, wanted: f64, share: f64| {
            println!("SEEN {} {what} {:e}", case.name, value / wanted - 1.0);
            let off = (value / wanted - 1.0).abs();
            assert!(off < share, "{}: {what} {value}, by SciPy {wanted}", case.name);
        };
        near("delta", delta, case.delta, 1e-4);
        near("loss", law.loss(&points, delta), case.loss, 1e-4);
        near("floor", law.floor(), case.floor, 1e-4);
        for (term, (factor, exponent)) in case.factors.iter().zip(&case.exponents).enumerate() {
            near("factor", law.factor(term), *factor, 1e-3);
            near("exponent", law.exponent(term), *exponent, 1e-4);
        }
        let best = law.best_parameters(corpus_bytes, bytes_per_parameter);
        near("best size", best, case.best_size, 1e-4);
    }
}

#[test]
fn intervals_are_those_of_numpys_bootstrap() {
    let Reference { corpus_bytes, bytes_per_parameter, cases } = reference();
    let mut compared = 0;
    for case in &cases {
        let Some(intervals) = &case.intervals else { continue };
        let fit = Fit::of(&case.observations()).expect("points");
        let exponent = fit.interval(|law| law.exponent(0));
        let best = fit.interval(|law| law.best_parameters(corpus_bytes, bytes_per_parameter));
        let logs = |ends: [f64; 2]| ends.map(f64::ln);
        // An end is the 2.5th percentile of 1,000 draws: its own error is about 0.04 of the width.
        let pairs = [(exponent, intervals.exponent), (logs(best), logs(intervals.best_size))];
        for (ours, theirs) in pairs {
            let width = theirs[1] - theirs[0];
            for (own, wanted) in ours.iter().zip(theirs) {
                println!("SEEN {} {:e}", case.name, (own - wanted) / width);
                let off = (own - wanted).abs() / width;
                assert!(off < 0.15, "{}: {ours:?}, by numpy {theirs:?}", case.name);
            }
            compared += 1;
        }
    }
    assert_eq!(compared, 4);
}
