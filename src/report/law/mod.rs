//! Scaling laws: how the raw rate falls with a model's size, for each corpus and tokenizer, and the
//! size that therefore compresses a corpus of any length best, its weights counted: the paper's
//! Figure 2 turned into an answer. Parameters are all of them, as the adjusted rate counts them.
//! [`choose`] says which runs a law is fitted to, or why it is not; [`fit`] holds the
//! curve, [`bootstrap`] how sure it is.

mod bootstrap;
mod choose;
mod fit;

use lmtrain_runs::units::short_count;
use lmtrain_runs::{Bytes, RateRecord, Recipe, Tokenization};

use super::data::Data;
use super::figures::curves::Curve;
use super::format;

pub(crate) use bootstrap::Fit;
use choose::{fitted, longest_trained, varies_both};
pub(crate) use fit::Law;

/// Further than this factor from every size measured, a law is no answer.
const FAR: f64 = 10.0;
/// An interval wider than this factor is none, either.
const UNSURE: f64 = 100.0;

/// A run's place and raw rate.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// All of the model's.
    pub(crate) parameters: f64,
    /// Tokens it was trained on.
    pub(crate) tokens: f64,
    /// Raw rate.
    pub(crate) rate: f64,
    /// The run.
    pub(crate) name: String,
}

/// Runs that one law could be of.
#[derive(Clone, Debug)]
pub(crate) struct Study {
    /// Corpus, chunks and training corpus.
    pub(crate) curve: Curve,
    /// How bytes become tokens.
    pub(crate) tokenization: Tokenization,
    /// The networks' row of choices.
    pub(crate) recipe: Option<Recipe>,
    /// The runs that the law is fitted to: all if it has tokens, else the longest trained of each
    /// size, every seed. By size.
    pub(crate) points: Vec<Point>,
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

/// What the runs of a study have in common.
type Key = (Curve, Tokenization, Option<Recipe>);

/// The studies of all runs, by corpus, tokenization and recipe.
#[must_use]
pub(crate) fn studies(data: &Data) -> Vec<Study> {
    let mut groups: Vec<(Key, Vec<&RateRecord>)> = Vec::new();
    for entry in &data.entries {
        let Some(curve) = Curve::of(entry) else { continue };
        let Some(tokenization) = entry.record.tokenization.clone() else { continue };
        let key = (curve, tokenization, entry.record.recipe);
        match groups.iter_mut().find(|group| group.0 == key) {
            Some(group) => group.1.push(&entry.record),
            None => groups.push((key, vec![&entry.record])),
        }
    }
    groups.sort_by(|one, other| (&one.0.0, &one.0.1).cmp(&(&other.0.0, &other.0.1)));
    groups.into_iter().filter_map(|(key, records)| Study::new(key, &records)).collect()
}

/// Of the studies of each curve that have a law, the one of the most runs: what a figure has room
/// for.
#[must_use]
pub(crate) fn shown(data: &Data) -> Vec<&Study> {
    let mut shown: Vec<&Study> = Vec::new();
    for study in data.studies().iter().filter(|study| study.fit.is_ok()) {
        match shown.iter_mut().find(|other| other.curve == study.curve) {
            Some(other) if other.points.len() < study.points.len() => *other = study,
            Some(_) => {}
            None => shown.push(study),
        }
    }
    shown
}

impl Study {
    fn new((curve, tokenization, recipe): Key, records: &[&RateRecord]) -> Option<Self> {
        let last = records.last()?;
        let tokenizer_bytes = last.tokenizer_bytes.map_or(0.0, Bytes::as_f64);
        let parameters = last.parameters? as f64;
        let bytes_per_parameter = (last.model_bytes() - tokenizer_bytes) / parameters;
        let mut points: Vec<Point> = records.iter().filter_map(|it| Point::new(it)).collect();
        points.sort_by(|one, other| {
            let key = |point: &Point| [point.parameters, point.tokens];
            key(one).partial_cmp(&key(other)).unwrap_or(std::cmp::Ordering::Equal)
        });
        let of_tokens = varies_both(&points);
        if !of_tokens {
            points = longest_trained(points);
        }
        let fit = fitted(&points, of_tokens);
        Some(Self {
            curve,
            tokenization,
            recipe,
            points,
            bytes_per_parameter,
            tokenizer_bytes,
            fit,
            of_tokens,
        })
    }

    /// The smallest and the largest model measured.
    #[must_use]
    pub(crate) fn measured(&self) -> [f64; 2] {
        let sizes = self.points.iter().map(|point| point.parameters);
        [sizes.clone().fold(f64::INFINITY, f64::min), sizes.fold(0.0, f64::max)]
    }

    /// What the law depends on at so many parameters: tokens are the most that any run saw.
    fn scales(&self, parameters: f64) -> Vec<f64> {
        let tokens = self.points.iter().map(|point| point.tokens).fold(0.0, f64::max);
        if self.of_tokens { vec![parameters, tokens] } else { vec![parameters] }
    }

    /// The fitted raw rate of a point measured.
    #[must_use]
    pub(crate) fn fitted_rate(&self, point: &Point) -> Option<f64> {
        let scales = [point.parameters, point.tokens];
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
    pub(crate) fn optimum(&self, length: f64) -> Option<Optimum> {
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

    /// Whether an optimum is an answer: not far from every size measured, and narrow enough.
    #[must_use]
    pub(crate) fn tells(&self, optimum: &Optimum) -> bool {
        let [smallest, largest] = self.measured();
        let [low, high] = optimum.interval;
        (smallest / FAR..=largest * FAR).contains(&optimum.parameters) && high / low < UNSURE
    }

    /// The answer for so many bytes, in words.
    #[must_use]
    pub(crate) fn answer(&self, length: u64) -> String {
        let bytes = format::short_bytes(Bytes(length));
        let optimum = match (&self.fit, self.optimum(length as f64)) {
            (Err(why), _) => return why.clone(),
            (Ok(_), None) => return String::new(),
            (Ok(_), Some(optimum)) => optimum,
        };
        let count = |parameters: f64| short_count(parameters.round() as u64);
        let [smallest, largest] = self.measured();
        let sizes = format!("{} to {}", count(smallest), count(largest));
        let [low, high] = optimum.interval;
        match optimum.parameters {
            best if best > FAR * largest => {
                format!("for {bytes}, a model far larger than those measured ({sizes})")
            }
            best if best < smallest / FAR => {
                format!("for {bytes}, a model far smaller than those measured ({sizes})")
            }
            _ if !self.tells(&optimum) => {
                format!("for {bytes}, the sizes measured ({sizes}) do not tell")
            }
            best => {
                let mark = match optimum.extrapolated {
                    true => format!("; extrapolated, measured were {sizes}"),
                    false => String::new(),
                };
                let (best, low, high) = (count(best), count(low), count(high));
                format!("for {bytes}, about {best} parameters, {low} to {high}{mark}")
            }
        }
    }
}

impl Point {
    fn new(record: &RateRecord) -> Option<Self> {
        Some(Self {
            parameters: record.parameters? as f64,
            tokens: record.tokens_trained? as f64,
            rate: record.raw_rate().filter(|rate| *rate > 0.0)?,
            name: record.name.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
