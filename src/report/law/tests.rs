//! Laws of synthetic records: known numbers come back, and what cannot be fitted is said.

use lmtrain_runs::{Bits, RateRecord};

use super::*;
use crate::report::samples;

const SIZES: [&str; 5] = ["200K", "800K", "1.6M", "3.2M", "6.4M"];

/// The rate of this size on enwik8 under a law of its parameters, and a little off it.
fn record(size: &str, rate: impl Fn(f64) -> f64, off: f64) -> RateRecord {
    let mut record = samples::rate(size, "enwik8", 0.3);
    let rate = rate(record.parameters.expect("a run") as f64) * (1.0 + off);
    record.coded_bytes = None;
    record.ideal_bits = Some(Bits(8.0 * rate * record.raw_bytes.as_f64()));
    record
}

fn study(records: Vec<RateRecord>) -> Study {
    let mut studies = studies(&Data::new(Vec::new(), records));
    assert_eq!(studies.len(), 1);
    studies.remove(0)
}

fn known(parameters: f64) -> f64 {
    0.1 + 30.0 * parameters.powf(-0.4)
}

fn known_study(off: f64) -> Study {
    let signs = [1.0, -1.0, 0.5, -0.5, 1.0];
    study(SIZES.iter().zip(signs).map(|(size, sign)| record(size, known, sign * off)).collect())
}

#[test]
fn known_numbers_come_back() {
    let study = known_study(0.0);
    let fit = study.fit.as_ref().expect("five sizes");
    assert!((fit.law.floor() - 0.1).abs() < 1e-4, "{}", fit.law.floor());
    assert!((fit.law.factor(0) - 30.0).abs() < 0.1, "{}", fit.law.factor(0));
    assert!((fit.law.exponent(0) - 0.4).abs() < 1e-3, "{}", fit.law.exponent(0));
    let best = study.optimum(1e9).expect("a fit").parameters;
    let closed = (0.4 * 30.0 * 1e9 / 2.0_f64).powf(1.0 / 1.4);
    assert!((best / closed - 1.0).abs() < 1e-2, "{best} {closed}");
}

#[test]
fn an_answer_has_an_interval_and_says_where_it_was_extrapolated() {
    let study = known_study(0.002);
    let optimum = study.optimum(1e8).expect("a fit");
    assert!(optimum.interval[0] < optimum.parameters && optimum.parameters < optimum.interval[1]);
    assert!(!optimum.extrapolated);
    let within = study.answer(100_000_000);
    assert!(within.starts_with("for 100 MB, about ") && !within.contains("extra"), "{within}");
    let beyond = study.answer(2_000_000_000);
    assert!(beyond.contains("extrapolated, measured were 229K to 6.42M"), "{beyond}");
    let far = study.answer(1_000_000_000_000);
    assert!(far.contains("far larger than those measured"), "{far}");
}

#[test]
fn too_few_sizes_and_no_fall_are_sentences() {
    let few = study(SIZES[..3].iter().map(|size| record(size, known, 0.0)).collect());
    assert_eq!(
        few.fit.expect_err("three sizes, three numbers"),
        "3 sizes measured, and a law has three numbers: 4 sizes are needed"
    );
    let rising = study(SIZES.iter().map(|size| record(size, f64::ln, 0.0)).collect());
    assert!(rising.answer(1_000_000).contains("no fall to fit"));
    let step = |parameters: f64| if parameters < 3e5 { 0.5 } else { 0.2 };
    let step = study(SIZES.iter().map(|size| record(size, step, 0.0)).collect());
    let refused = step.answer(1_000_000);
    assert!(refused.contains("do not follow a power law"), "{refused}");
}

#[test]
fn short_trainings_of_a_size_are_left_out_unless_tokens_vary_everywhere() {
    let mut records: Vec<RateRecord> = SIZES.iter().map(|size| record(size, known, 0.0)).collect();
    let mut short = record("800K", |_| 0.4, 0.0);
    short.name = "short".into();
    short.tokens_trained = Some(1000);
    records.push(short);
    let study = study(records);
    assert!(!study.of_tokens && study.points.len() == SIZES.len());
    assert!(study.fit.is_ok());
}

#[test]
fn runs_that_vary_both_give_a_law_of_both() {
    let rate = |parameters: f64, tokens: f64| {
        0.08 + 20.0 * parameters.powf(-0.4) + 40.0 * tokens.powf(-0.35)
    };
    let mut records = Vec::new();
    for size in ["200K", "800K", "3.2M"] {
        for tokens in [1e7, 1e8, 1e9] {
            let mut record = record(size, |parameters| rate(parameters, tokens), 0.0);
            record.name += &format!("-{tokens}");
            record.tokens_trained = Some(tokens as u64);
            records.push(record);
        }
    }
    let study = study(records);
    let fit = study.fit.as_ref().expect("nine runs");
    assert!(study.of_tokens);
    assert!((fit.law.exponent(0) - 0.4).abs() < 5e-3, "{}", fit.law.exponent(0));
    assert!((fit.law.exponent(1) - 0.35).abs() < 5e-3, "{}", fit.law.exponent(1));
    let (at_most, _) = study.rate(1e6).expect("a fit");
    assert!((at_most - rate(1e6, 1e9)).abs() < 1e-4, "of the most tokens seen");
}
