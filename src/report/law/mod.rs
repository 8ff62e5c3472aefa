//! Scaling laws: how the raw rate falls with a model's size, for each corpus and tokenizer, and hence the size that
//! compresses a corpus of any length best with its weights counted: the paper's Figure 2 turned into an answer.
//! Parameters are all parameters, as in the adjusted rate. [`choose`] says which runs a law is fitted to, or why it is
//! not; [`fit`] is the curve, [`bootstrap`] its uncertainty, and [`trend`] the conclusions from both.

mod bootstrap;
mod choose;
mod fit;
#[cfg(test)]
mod reference;
mod trend;

use lmtrain_runs::RateRecord;

use super::records::Measurement;
use super::views::curves::Condition;

pub(crate) use bootstrap::Fit;
pub(crate) use choose::TrainedRun;
pub(crate) use fit::Law;
use trend::Key;
pub(crate) use trend::{Optimum, Trend};

/// The trends of a report's runs, each with its law, fitted once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Laws {
    trends: Vec<Trend>,
}

impl Laws {
    /// Those of all runs among these measurements, by corpus, tokenization and recipe.
    #[must_use]
    pub(crate) fn of(measurements: &[Measurement]) -> Self {
        let mut groups: Vec<(Key, Vec<&RateRecord>)> = Vec::new();
        for measurement in measurements {
            let Some(condition) = Condition::of(measurement) else { continue };
            let Some(tokenization) = measurement.record.tokenization().cloned() else { continue };
            let key = (
                condition,
                tokenization,
                measurement.record.facts.run().and_then(|run| run.recipe),
            );
            match groups.iter_mut().find(|group| group.0 == key) {
                Some(group) => group.1.push(&measurement.record),
                None => groups.push((key, vec![&measurement.record])),
            }
        }
        groups.sort_by(|one, other| (&one.0.0, &one.0.1).cmp(&(&other.0.0, &other.0.1)));
        let trends = groups.into_iter().filter_map(|(key, records)| Trend::new(key, &records));
        Self { trends: trends.collect() }
    }

    /// Every trend, those without a law too.
    #[must_use]
    pub(crate) fn trends(&self) -> &[Trend] {
        &self.trends
    }

    /// Of the trends under each condition that have a law, the one of the most runs: what a figure
    /// has room for.
    #[must_use]
    pub(crate) fn shown(&self) -> Vec<&Trend> {
        let mut shown: Vec<&Trend> = Vec::new();
        for trend in self.trends.iter().filter(|trend| trend.fit.is_ok()) {
            match shown.iter_mut().find(|other| other.condition == trend.condition) {
                Some(other) if other.runs.len() < trend.runs.len() => *other = trend,
                Some(_) => {}
                None => shown.push(trend),
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests;
