//! Which bytes of a corpus train, validate and test.

use std::fmt;
use std::str::FromStr;

use lmtrain_runs::Span;
use lmtrain_runs::plan::TrainOn;
use serde::{Deserialize, Serialize};

/// The use that a part of a corpus is put to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Fitted to.
    Train,
    /// Looked at while training.
    Validation,
    /// Looked at when all is done.
    Test,
}

/// The parts of a corpus of some length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Bytes that train.
    pub train: Span,
    /// Bytes that validate.
    pub validation: Span,
    /// Bytes that test.
    pub test: Span,
}

impl Split {
    /// The parts of a corpus of `length` bytes: ⌊9·length/10⌋ bytes train, those up to
    /// ⌊19·length/20⌋ validate, the rest test. With [`TrainOn::All`] every byte trains, and the
    /// other two parts, which stay where they are, are in-sample.
    #[must_use]
    pub fn of(length: u64, train_on: TrainOn) -> Self {
        let twentieths = |count: u128| (u128::from(length) * count / 20) as u64;
        let [train_end, validation_end] = [twentieths(18), twentieths(19)];
        let train = match train_on {
            TrainOn::Split => Span { start: 0, end: train_end },
            TrainOn::All => Span { start: 0, end: length },
        };
        Self {
            train,
            validation: Span { start: train_end, end: validation_end },
            test: Span { start: validation_end, end: length },
        }
    }

    /// One of the parts.
    #[must_use]
    pub fn span(&self, part: Part) -> Span {
        match part {
            Part::Train => self.train,
            Part::Validation => self.validation,
            Part::Test => self.test,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = [Self::Train, Self::Validation, Self::Test];
        let found = parts.into_iter().find(|part| part.to_string() == text);
        found.ok_or_else(|| format!("`{text}` is no part; there are train, validation, test"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn enwik8_is_split_as_is_usual() {
        let split = Split::of(100_000_000, TrainOn::Split);
        assert_eq!(split.train, Span { start: 0, end: 90_000_000 });
        assert_eq!(split.validation, Span { start: 90_000_000, end: 95_000_000 });
        assert_eq!(split.test, Span { start: 95_000_000, end: 100_000_000 });
        let all = Split::of(100_000_000, TrainOn::All);
        assert_eq!(all.train, Span { start: 0, end: 100_000_000 });
        assert_eq!((all.validation, all.test), (split.validation, split.test));
    }

    #[test]
    fn parts_read_back() {
        for part in [Part::Train, Part::Validation, Part::Test] {
            assert_eq!(part.to_string().parse(), Ok(part));
        }
        assert!("Train".parse::<Part>().is_err());
    }

    proptest! {
        #[test]
        fn parts_cover_every_byte_once(length: u64) {
            let split = Split::of(length, TrainOn::Split);
            prop_assert_eq!(split.train.start, 0);
            prop_assert_eq!(split.train.end, split.validation.start);
            prop_assert_eq!(split.validation.end, split.test.start);
            prop_assert_eq!(split.test.end, length);
            prop_assert!(split.train.end >= split.train.start);
            prop_assert_eq!(split.train.end, length / 10 * 9 + length % 10 * 9 / 10);
            prop_assert_eq!(split.span(Part::Test), split.test);
        }
    }
}
