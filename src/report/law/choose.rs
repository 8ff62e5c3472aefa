//! Which runs a law is fitted to, and whether a law can be fitted to them; if not, the reason, in a sentence.

use lmtrain_runs::RateRecord;

use super::bootstrap::Fit;
use super::fit::Observation;

/// A law of parameters has three coefficients, so this many sizes leave one degree of freedom.
const FEWEST_SIZES: usize = 4;
/// A law of parameters and tokens has five coefficients, so it needs this many runs.
const FEWEST_RUNS: usize = 6;
/// Tokens seen that differ by less than this factor are the same amount of training.
const SAME_TOKENS: f64 = 1.1;
/// Above this correlation, parameters and tokens grew together and their effects cannot be separated.
const TOGETHER: f64 = 0.9;

/// A run as a law sees it: its place and raw rate.
#[derive(Clone, Debug)]
pub(crate) struct TrainedRun {
    /// All of the model's.
    pub(crate) parameters: f64,
    /// Tokens it was trained on.
    pub(crate) tokens: f64,
    /// Raw rate.
    pub(crate) rate: f64,
    /// Its name.
    pub(crate) name: String,
}

impl TrainedRun {
    /// That of a record; absent if it was not measured, or of no run.
    pub(super) fn new(record: &RateRecord) -> Option<Self> {
        Some(Self {
            parameters: record.parameters()? as f64,
            tokens: record.facts.run()?.tokens_trained? as f64,
            rate: record.raw_rate().filter(|rate| *rate > 0.0)?,
            name: record.name.clone(),
        })
    }
}

/// Whether runs of one size were trained differently long, and there are runs enough to tell
/// what size and what training does.
pub(super) fn varies_both(runs: &[TrainedRun]) -> bool {
    let sizes = distinct(runs.iter().map(|run| run.parameters), 1.0);
    let tokens = distinct(runs.iter().map(|run| run.tokens), SAME_TOKENS);
    let within = runs.chunk_by(|one, other| one.parameters == other.parameters);
    let varied =
        within.filter(|runs| distinct(runs.iter().map(|run| run.tokens), SAME_TOKENS) > 1).count();
    let logs = runs.iter().map(|run| (run.parameters.ln(), run.tokens.ln()));
    sizes >= 3
        && tokens >= 3
        && varied >= 2
        && runs.len() >= FEWEST_RUNS
        && correlation(&logs.collect::<Vec<_>>()).abs() < TOGETHER
}

/// How many values there are that lie further apart than a factor.
fn distinct(values: impl Iterator<Item = f64>, factor: f64) -> usize {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.chunk_by(|one, other| *other <= factor * one).count()
}

fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let count = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        pairs.iter().map(|pair| of(pair.0 - x, pair.1 - y)).sum()
    };
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

/// Of each size the runs that were trained longest. They come in the order of their sizes.
pub(super) fn longest_trained(runs: Vec<TrainedRun>) -> Vec<TrainedRun> {
    let of_size = runs.chunk_by(|one, other| one.parameters == other.parameters);
    let longest = of_size.flat_map(|runs| {
        let most = runs.iter().map(|run| run.tokens).fold(0.0, f64::max);
        runs.iter().filter(move |run| SAME_TOKENS * run.tokens >= most)
    });
    longest.cloned().collect()
}

/// Fits a law to runs in the order of their sizes.
///
/// # Errors
/// Why there is none, as a sentence.
pub(super) fn fitted(runs: &[TrainedRun], of_tokens: bool) -> Result<Fit, String> {
    let mean_rate = |parameters: f64| {
        let rates = runs.iter().filter(|run| run.parameters == parameters);
        let rates: Vec<f64> = rates.map(|run| run.rate).collect();
        rates.iter().sum::<f64>() / rates.len() as f64
    };
    let sizes = distinct(runs.iter().map(|run| run.parameters), 1.0);
    if !of_tokens && sizes < FEWEST_SIZES {
        let plural = if sizes == 1 { "" } else { "s" };
        return Err(format!(
            "only {sizes} size{plural} measured; a law with three coefficients needs {FEWEST_SIZES}"
        ));
    }
    let ends = [runs.first(), runs.last()].map(|run| run.map_or(0.0, |it| it.parameters));
    if !of_tokens && mean_rate(ends[1]) >= mean_rate(ends[0]) {
        return Err(
            "the largest measured model does not compress better than the smallest (weights not \
            counted), so there is no decrease to fit"
                .to_owned(),
        );
    }
    let observations: Vec<Observation> = runs
        .iter()
        .map(|run| {
            let scales = [run.parameters, run.tokens];
            let scales = if of_tokens { scales.to_vec() } else { scales[..1].to_vec() };
            Observation { scales, rate: run.rate }
        })
        .collect();
    let no_law = || "the measured rates do not follow a power law with a floor".to_owned();
    let fit = Fit::of(&observations).ok_or_else(no_law)?;
    if fit.law.is_bound() { Err(no_law()) } else { Ok(fit) }
}
