//! The trend of a rate: the runs that differ only in size, and the law by which the rate falls with size, if there is
//! one.

use lmtrain_runs::{Bytes, RateRecord, Recipe, Tokenization};

use super::bootstrap::Fit;
use super::choose::{TrainedRun, fitted, longest_trained, varies_both};
use super::fit::Law;
use crate::report::format;
use crate::report::views::curves::Condition;

/// Beyond this factor from every measured size, a law gives no answer.
const FAR: f64 = 10.0;
/// An interval wider than this factor is none, either.
const UNSURE: f64 = 100.0;

/// Runs that one law could be of.
#[derive(Clone, Debug)]
pub(crate) struct Trend {
    /// Corpus, chunks and training corpus.
    pub(crate) condition: Condition,
    /// How bytes become tokens.
    pub(crate) tokenization: Tokenization,
    /// The networks' row of choices.
    pub(crate) recipe: Option<Recipe>,
    /// The runs that the law is fitted to: all if it has tokens, else the longest trained of each
    /// size, every seed. By size.
    pub(crate) runs: Vec<TrainedRun>,
    /// Bytes that a parameter costs.
    pub(crate) bytes_per_parameter: f64,
    /// Bytes of the tokenizer.
    pub(crate) tokenizer_bytes: f64,
    /// The fit, or a sentence why there is none.
    pub(crate) fit: Result<Fit, String>,
    /// Whether the law has a term of tokens seen.
    pub(crate) of_tokens: bool,
}

/// The size that compresses a length of data best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Optimum {
    /// Its parameters.
    pub(crate) parameters: f64,
    /// Their 95 % interval.
    pub(crate) interval: [f64; 2],
    /// The adjusted rate there.
    pub(crate) rate: f64,
    /// Whether no model as small or as large was measured.
    pub(crate) extrapolated: bool,
}

/// What the runs of a trend have in common.
pub(super) type Key = (Condition, Tokenization, Option<Recipe>);

impl Trend {
    pub(super) fn new(
        (condition, tokenization, recipe): Key,
        records: &[&RateRecord],
    ) -> Option<Self> {
        let last = records.last()?;
        let tokenizer_bytes = last.tokenizer_bytes().map_or(0.0, Bytes::as_f64);
        let parameters = last.parameters()? as f64;
        let bytes_per_parameter = (last.model_bytes() - tokenizer_bytes) / parameters;
        let mut runs: Vec<TrainedRun> =
            records.iter().filter_map(|record| TrainedRun::new(record)).collect();
        runs.sort_by(|one, other| {
            let key = |run: &TrainedRun| [run.parameters, run.tokens];
            key(one).partial_cmp(&key(other)).unwrap_or(std::cmp::Ordering::Equal)
        });
        let of_tokens = varies_both(&runs);
        if !of_tokens {
            runs = longest_trained(runs);
        }
        let fit = fitted(&runs, of_tokens);
        Some(Self {
            condition,
            tokenization,
            recipe,
            runs,
            bytes_per_parameter,
            tokenizer_bytes,
            fit,
            of_tokens,
        })
    }

    /// The smallest and the largest model measured.
    #[must_use]
    pub(crate) fn measured(&self) -> [f64; 2] {
        let sizes = self.runs.iter().map(|run| run.parameters);
        [sizes.clone().fold(f64::INFINITY, f64::min), sizes.fold(0.0, f64::max)]
    }

    /// What the law depends on at so many parameters: tokens are the most that any run saw.
    fn scales(&self, parameters: f64) -> Vec<f64> {
        let tokens = self.runs.iter().map(|run| run.tokens).fold(0.0, f64::max);
        if self.of_tokens { vec![parameters, tokens] } else { vec![parameters] }
    }

    /// The fitted raw rate of a run.
    #[must_use]
    pub(crate) fn fitted_rate(&self, run: &TrainedRun) -> Option<f64> {
        let scales = [run.parameters, run.tokens];
        let fit = self.fit.as_ref().ok()?;
        Some(fit.law.rate(if self.of_tokens { &scales } else { &scales[..1] }))
    }

    /// The raw rate at a size, and its 95 % interval.
    #[must_use]
    pub(crate) fn rate(&self, parameters: f64) -> Option<(f64, [f64; 2])> {
        let fit = self.fit.as_ref().ok()?;
        let scales = self.scales(parameters);
        Some((fit.law.rate(&scales), fit.interval(|law| law.rate(&scales))))
    }

    /// What a model adds to the rate of so many bytes.
    #[must_use]
    pub(crate) fn cost(&self, parameters: f64, length: f64) -> f64 {
        (self.bytes_per_parameter * parameters + self.tokenizer_bytes) / length
    }

    /// The size that compresses so many bytes of such data best.
    #[must_use]
    pub(super) fn optimum(&self, length: f64) -> Option<Optimum> {
        let fit = self.fit.as_ref().ok()?;
        let best = |law: &Law| law.best_parameters(length, self.bytes_per_parameter);
        let [smallest, largest] = self.measured();
        let parameters = best(&fit.law);
        Some(Optimum {
            parameters,
            interval: fit.interval(best),
            rate: fit.law.rate(&self.scales(parameters)) + self.cost(parameters, length),
            extrapolated: !(smallest..=largest).contains(&parameters),
        })
    }

    /// The same where it is an answer.
    #[must_use]
    pub(crate) fn telling_optimum(&self, length: f64) -> Option<Optimum> {
        self.optimum(length).filter(|optimum| self.tells(optimum))
    }

    /// Whether an optimum is an answer: not far from every size measured, and narrow enough.
    fn tells(&self, optimum: &Optimum) -> bool {
        let [smallest, largest] = self.measured();
        let [low, high] = optimum.interval;
        (smallest / FAR..=largest * FAR).contains(&optimum.parameters) && high / low < UNSURE
    }

    /// The answer for this many bytes, in words.
    #[must_use]
    pub(crate) fn answer(&self, length: u64) -> String {
        let bytes = format::short_bytes(Bytes(length));
        let optimum = match (&self.fit, self.optimum(length as f64)) {
            (Err(why), _) => return why.clone(),
            (Ok(_), None) => return String::new(),
            (Ok(_), Some(optimum)) => optimum,
        };
        let count = format::short_count;
        let [smallest, largest] = self.measured();
        let sizes = format!("{} to {}", count(smallest), count(largest));
        let [low, high] = optimum.interval;
        match optimum.parameters {
            best if best > FAR * largest => {
                format!("for {bytes}: a model far larger than those measured ({sizes})")
            }
            best if best < smallest / FAR => {
                format!("for {bytes}: a model far smaller than those measured ({sizes})")
            }
            _ if !self.tells(&optimum) => {
                format!("for {bytes}: cannot be told from the sizes measured ({sizes})")
            }
            best => {
                let mark = match optimum.extrapolated {
                    true => format!("; extrapolated beyond the measured {sizes}"),
                    false => String::new(),
                };
                let (best, low, high) = (count(best), count(low), count(high));
                format!("for {bytes}: about {best} parameters ({low} to {high}){mark}")
            }
        }
    }
}
