//! Sweeps: many runs and their measurements, written as grids. A grid's keys are the flags of
//! `lmtrain fit` or `lmtrain eval`, so that a sweep can say whatever the command line can, and
//! each of its jobs is a command that one could type.
//!
//! ```toml
//! title = "What it is for"
//!
//! [[fit]]                            # every combination of the lists is a run
//! size = ["200K", "800K"]
//! tokenizer = ["bytes", "bpe-5000"]
//! corpus = "wiki15-8"
//! tokens = "30M"
//! set.matrix-learning-rate = [0.01, 0.02]   # any choice of the recipe's table
//!
//! [[eval]]                           # every run is measured by every one of these
//! corpus = ["wiki15-tail-20M"]
//! sample-chunks = 1000
//! compressor = ["gzip", "lzma2"]     # measured once, not with every run
//! ```

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::Deserialize;
use toml::{Table, Value};

/// A sweep as it is written.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// What it is for, in a line.
    #[serde(default)]
    pub title: String,
    /// Grids of runs.
    #[serde(default)]
    pub fit: Vec<Table>,
    /// What measures them.
    #[serde(default)]
    pub eval: Vec<Table>,
}

/// What can be wrong with a sweep's file.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SweepError {
    /// It is not TOML, or has tables that a sweep does not have.
    #[error("it is not a valid plan: {0}")]
    Syntax(String),
    /// A key whose value is not a string, number, truth value or list of them.
    #[error("`{key}` must be a string, a number, true or false, or a list of them")]
    Value {
        /// The key.
        key: String,
    },
    /// An empty list, which would make no run at all.
    #[error("`{key}` is an empty list")]
    Empty {
        /// The key.
        key: String,
    },
}

impl FromStr for Sweep {
    type Err = SweepError;

    fn from_str(text: &str) -> Result<Self, SweepError> {
        toml::from_str(text).map_err(|error| SweepError::Syntax(error.to_string()))
    }
}

impl Sweep {
    /// The flags of each run, in the order of the file; the last key of a grid varies fastest.
    ///
    /// # Errors
    /// If a key's value cannot be a flag's.
    pub fn fits(&self) -> Result<Vec<Vec<String>>, SweepError> {
        let mut all: Vec<Vec<String>> = Vec::new();
        for grid in &self.fit {
            for flags in combinations(grid)? {
                if !all.contains(&flags) {
                    all.push(flags);
                }
            }
        }
        Ok(all)
    }

    /// The flags of each measurement of runs, and apart from them those of compressors.
    ///
    /// # Errors
    /// As [`Self::fits`].
    pub fn evals(&self) -> Result<[Vec<Vec<String>>; 2], SweepError> {
        let [mut of_runs, mut of_compressors] = [Vec::new(), Vec::new()];
        for table in &self.eval {
            let mut table = table.clone();
            let compressor = table.remove("compressor");
            of_runs.push(joined(&table)?);
            if let Some(compressor) = compressor {
                // Compressors have no weights.
                table.remove("weight-codes");
                table.insert("compressor".to_owned(), compressor);
                of_compressors.push(joined(&table)?);
            }
        }
        Ok([of_runs, of_compressors])
    }
}

/// Every combination of a grid's lists, as flags.
fn combinations(grid: &Table) -> Result<Vec<Vec<String>>, SweepError> {
    let mut all = vec![Vec::new()];
    for (key, value) in grid {
        for choices in axes(key, value)? {
            let with = |flags: &Vec<String>, choice: &Vec<String>| [&flags[..], choice].concat();
            all = all.iter().flat_map(|flags| choices.iter().map(|it| with(flags, it))).collect();
        }
    }
    Ok(all)
}

/// The axes of a grid that a key stands for, each the flags of its places: one, or one for each
/// choice of the table `set`.
fn axes(key: &str, value: &Value) -> Result<Vec<Vec<Vec<String>>>, SweepError> {
    match value {
        Value::Table(choices) if key == "set" => {
            let axis = |(name, value): (&String, &Value)| {
                let texts = texts(&format!("set.{name}"), value)?.into_iter();
                Ok(texts.map(|it| vec!["--set".to_owned(), format!("{name}={it}")]).collect())
            };
            choices.iter().map(axis).collect()
        }
        value => Ok(vec![texts(key, value)?.iter().map(|it| flag(key, it)).collect()]),
    }
}

/// A table as flags, its lists joined by commas.
fn joined(table: &Table) -> Result<Vec<String>, SweepError> {
    let mut flags = Vec::new();
    for (key, value) in table {
        flags.extend(flag(key, &texts(key, value)?.join(",")));
    }
    Ok(flags)
}

/// A flag with its value; one that is true stands alone, one that is false is left out.
fn flag(key: &str, value: &str) -> Vec<String> {
    let name = format!("--{key}");
    match value {
        "true" => vec![name],
        "false" => Vec::new(),
        value => vec![name, value.to_owned()],
    }
}

/// A value as texts: several of a list.
fn texts(key: &str, value: &Value) -> Result<Vec<String>, SweepError> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        _ => Err(SweepError::Value { key: key.to_owned() }),
    };
    match value {
        Value::Array(values) if values.is_empty() => Err(SweepError::Empty { key: key.to_owned() }),
        Value::Array(values) => values.iter().map(one).collect(),
        value => Ok(vec![one(value)?]),
    }
}

/// One of several shares of a sweep's jobs or of a measurement's chunks: `2/3` is the second of three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1 on.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

impl Shard {
    /// Everything.
    pub const WHOLE: Self = Self { index: 1, of: 1 };

    /// Whether a part is in this share, if all parts cost about the same: parts are assigned to the shares in turn.
    #[must_use]
    pub fn holds(&self, part: u64) -> bool {
        part % self.of as u64 + 1 == self.index as u64
    }

    /// All shares of as many.
    pub fn all(of: usize) -> impl Iterator<Item = Self> {
        (1..=of).map(move |index| Self { index, of })
    }

    /// Which of so many parts are in this share, if all parts cost about the same and neighbours are to stay together.
    /// The first shares have one more where the parts do not come out even.
    #[must_use]
    pub fn span(&self, parts: u64) -> Range<u64> {
        let (before, of) = (self.index as u64 - 1, self.of as u64);
        let (each, more) = (parts / of, parts % of);
        let start = before * each + before.min(more);
        start..start + each + u64::from(before < more)
    }

    /// Which jobs are in this share, for jobs of these costs: the most expensive first, each to the next share in
    /// turn, forward and backward, so that all shares take about the same time. Every job is in exactly one share.
    #[must_use]
    pub fn takes(&self, costs: &[f64]) -> Vec<bool> {
        let mut order: Vec<usize> = (0..costs.len()).collect();
        order.sort_by(|&one, &other| costs[other].total_cmp(&costs[one]).then(one.cmp(&other)));
        let mut takes = vec![false; costs.len()];
        for (place, job) in order.into_iter().enumerate() {
            let (round, turn) = (place / self.of, place % self.of);
            let share = if round.is_multiple_of(2) { turn } else { self.of - 1 - turn };
            takes[job] = share + 1 == self.index;
        }
        takes
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let numbers = parts.and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            _ => Err(format!("`{text}` is not a share: write 1/4 for the first of four")),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    const TEXT: &str = r#"
        title = "two by two"
        [[fit]]
        size = ["200K", "800K"]
        seed = [0, 1]
        corpus = "wiki15-8"
        equal-total = true
        [[fit]]
        size = "200K"
        seed = 0
        corpus = "wiki15-8"
        equal-total = true
        [[eval]]
        corpus = ["a", "b"]
        sample-chunks = 100
        ideal = false
        compressor = ["gzip", "lzma2"]
    "#;

    #[test]
    fn grids_become_commands() {
        let sweep: Sweep = TEXT.parse().expect("a sweep");
        let fits = sweep.fits().expect("flags");
        let lines: Vec<String> = fits.iter().map(|flags| flags.join(" ")).collect();
        assert_eq!(lines.len(), 4, "the second grid is in the first: {lines:?}");
        for line in &lines {
            assert!(line.contains("--corpus wiki15-8 --equal-total"), "{line}");
        }
        let [runs, compressors] = sweep.evals().expect("flags");
        assert_eq!(runs[0].join(" "), "--corpus a,b --sample-chunks 100");
        assert!(compressors[0].join(" ").contains("--compressor gzip,lzma2"));
    }

    #[test]
    fn choices_are_axes() {
        let text = "[[fit]]\nsize = \"200K\"\nset.beta1 = [0.8, 0.9]\nset.qk-norm = [true, false]\n\
                    set.soft-cap = \"off\"";
        let fits = text.parse::<Sweep>().expect("a sweep").fits().expect("flags");
        let lines: Vec<String> = fits.iter().map(|flags| flags.join(" ")).collect();
        assert_eq!(lines.len(), 4);
        for beta1 in ["0.8", "0.9"] {
            for norm in ["true", "false"] {
                let sets = [format!("beta1={beta1}"), format!("qk-norm={norm}")];
                let has =
                    |line: &&String| sets.iter().all(|set| line.contains(&format!("--set {set}")));
                assert_eq!(lines.iter().filter(has).count(), 1, "{lines:?}");
            }
        }
        assert!(lines.iter().all(|line| line.contains("--set soft-cap=off")), "{lines:?}");
        let sweep: Sweep = "[[fit]]\nset.beta1 = []".parse().expect("a sweep");
        assert_eq!(sweep.fits(), Err(SweepError::Empty { key: "set.beta1".into() }));
    }

    #[test]
    fn what_is_no_sweep_is_an_error() {
        for text in ["fit = 3", "[[fits]]\nsize = 1", "[[fit]\n", "title = 1"] {
            assert!(text.parse::<Sweep>().is_err(), "{text}");
        }
        let sweep: Sweep = "[[fit]]\nsize = []".parse().expect("a sweep");
        assert_eq!(sweep.fits(), Err(SweepError::Empty { key: "size".into() }));
        let sweep: Sweep = "[[fit]]\nsize = { a = 1 }".parse().expect("a sweep");
        assert_eq!(sweep.fits(), Err(SweepError::Value { key: "size".into() }));
    }

    #[test]
    fn shares_have_every_job_once_and_end_together() {
        let mut generator = SplitMix64::new(4);
        for count in [0, 1, 5, 40] {
            let costs: Vec<f64> = (0..count).map(|_| generator.below(9) as f64).collect();
            for of in 1..=7 {
                let takes = (1..=of).map(|index| Shard { index, of }.takes(&costs));
                let shares: Vec<Vec<bool>> = takes.collect();
                for job in 0..count as usize {
                    assert_eq!(shares.iter().filter(|share| share[job]).count(), 1);
                }
                let sum = |share: &Vec<bool>| -> f64 {
                    share.iter().zip(&costs).filter(|(taken, _)| **taken).map(|it| it.1).sum()
                };
                let sums: Vec<f64> = shares.iter().map(sum).collect();
                let [low, high] = [f64::min, f64::max]
                    .map(|pick| sums.iter().copied().reduce(pick).expect("a share"));
                let dearest = costs.iter().copied().fold(0.0, f64::max);
                assert!(high - low <= dearest, "{sums:?}");
            }
        }
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, of: 3 }));
        let held = |index| (0..7).filter(|part| Shard { index, of: 3 }.holds(*part)).count();
        assert_eq!([1, 2, 3].map(held), [3, 2, 2]);
        for (parts, of) in [(0, 3), (2, 3), (7, 3), (9, 3), (1, 1), (u64::MAX, 7)] {
            let spans: Vec<_> = Shard::all(of).map(|share| share.span(parts)).collect();
            assert_eq!((spans[0].start, spans[of - 1].end), (0, parts), "{spans:?}");
            assert!(spans.windows(2).all(|pair| pair[0].end == pair[1].start), "{spans:?}");
            let each = parts / of as u64;
            assert!(spans.iter().all(|span| (each..=each + 1).contains(&(span.end - span.start))));
        }
        for text in ["0/3", "4/3", "1", "a/b", "1/0"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
