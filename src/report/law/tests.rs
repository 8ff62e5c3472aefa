//! Laws of synthetic records: known coefficients are recovered, and if no law can be fitted, the reason is given.

use lmtrain_runs::{Bits, RateRecord};

use super::*;
use crate::report::records::Records;
use crate::report::samples;

const SIZES: [&str; 5] = ["200K", "800K", "1.6M", "3.2M", "6.4M"];

/// The rate of this size on enwik8 under a law of its parameters, and a little off it.
fn record(size: &str, rate: impl Fn(f64) -> f64, off: f64) -> RateRecord {
    let mut record = samples::rate(size, "enwik8", 0.3);
    let rate = rate(record.parameters().expect("a run") as f64) * (1.0 + off);
    record.counts.coded_bytes = None;
    record.counts.ideal_bits = Some(Bits(8.0 * rate * record.counts.raw_bytes.as_f64()));
    record
}

fn trend(records: Vec<RateRecord>) -> Trend {
    let laws = Laws::of(&Records::new(Vec::new(), records).compared);
    let [trend] = laws.trends() else { panic!("{} trends", laws.trends().len()) };
    trend.clone()
}

fn known(parameters: f64) -> f64 {
    0.1 + 30.0 * parameters.powf(-0.4)
}

fn known_trend(off: f64) -> Trend {
    let signs = [1.0, -1.0, 0.5, -0.5, 1.0];
    trend(SIZES.iter().zip(signs).map(|(size, sign)| record(size, known, sign * off)).collect())
}

#[test]
fn known_numbers_come_back() {
    let trend = known_trend(0.0);
    let fit = trend.fit.as_ref().expect("five sizes");
    assert!((fit.law.floor() - 0.1).abs() < 1e-4, "{}", fit.law.floor());
    assert!((fit.law.factor(0) - 30.0).abs() < 0.1, "{}", fit.law.factor(0));
    assert!((fit.law.exponent(0) - 0.4).abs() < 1e-3, "{}", fit.law.exponent(0));
    let best = trend.optimum(1e9).expect("a fit").parameters;
    let closed = (0.4 * 30.0 * 1e9 / 2.0_f64).powf(1.0 / 1.4);
    assert!((best / closed - 1.0).abs() < 1e-2, "{best} {closed}");
}

#[test]
fn an_answer_has_an_interval_and_says_where_it_was_extrapolated() {
    let trend = known_trend(0.002);
    let optimum = trend.optimum(1e8).expect("a fit");
    let [low, high] = optimum.interval;
    assert!(low < optimum.parameters && optimum.parameters < high);
    // Rates that are known within 0.2 % tell the size within a few percent.
    assert!(high / low < 1.2, "{low} to {high}");
    assert!(!optimum.extrapolated);
    let within = trend.answer(100_000_000);
    assert!(within.starts_with("for 100 MB: about ") && !within.contains("extra"), "{within}");
    let beyond = trend.answer(2_000_000_000);
    assert!(beyond.contains("extrapolated beyond the measured 230K to 6.43M"), "{beyond}");
    let far = trend.answer(1_000_000_000_000);
    assert!(far.contains("far larger than those measured"), "{far}");
}

#[test]
fn too_few_sizes_and_no_fall_are_sentences() {
    let few = trend(SIZES[..3].iter().map(|size| record(size, known, 0.0)).collect());
    assert_eq!(
        few.fit.expect_err("three sizes, three numbers"),
        "only 3 sizes measured; a law with three coefficients needs 4"
    );
    let rising = trend(SIZES.iter().map(|size| record(size, f64::ln, 0.0)).collect());
    assert!(rising.answer(1_000_000).contains("no decrease to fit"));
    let step = |parameters: f64| if parameters < 3e5 { 0.5 } else { 0.2 };
    let step = trend(SIZES.iter().map(|size| record(size, step, 0.0)).collect());
    let refused = step.answer(1_000_000);
    assert!(refused.contains("do not follow a power law"), "{refused}");
}

#[test]
fn short_trainings_of_a_size_are_left_out_unless_tokens_vary_everywhere() {
    let mut records: Vec<RateRecord> = SIZES.iter().map(|size| record(size, known, 0.0)).collect();
    let mut short = record("800K", |_| 0.4, 0.0);
    short.name = "short".into();
    samples::run_facts(&mut short).tokens_trained = Some(1000);
    records.push(short);
    let trend = trend(records);
    assert!(!trend.of_tokens && trend.runs.len() == SIZES.len());
    assert!(trend.fit.is_ok());
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
            samples::run_facts(&mut record).tokens_trained = Some(tokens as u64);
            records.push(record);
        }
    }
    let trend = trend(records);
    let fit = trend.fit.as_ref().expect("nine runs");
    assert!(trend.of_tokens);
    assert!((fit.law.exponent(0) - 0.4).abs() < 5e-3, "{}", fit.law.exponent(0));
    assert!((fit.law.exponent(1) - 0.35).abs() < 5e-3, "{}", fit.law.exponent(1));
    let (at_most, _) = trend.rate(1e6).expect("a fit");
    assert!((at_most - rate(1e6, 1e9)).abs() < 1e-4, "of the most tokens seen");
}
