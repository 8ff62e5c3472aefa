//! Which bytes of a corpus are for training, validation and testing.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use lmtrain_runs::Span;
use lmtrain_runs::medium::MEDIA_CHUNK_BYTES;
use lmtrain_runs::plan::TrainOn;
use serde::{Deserialize, Serialize};

use super::corpus::Corpus;

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
    /// Bytes for training.
    pub train: Span,
    /// Bytes that validate.
    pub validation: Span,
    /// Bytes that test.
    pub test: Span,
}

impl Split {
    /// The parts of a corpus of `length` bytes: the first ⌊9·length/10⌋ bytes are for training, those up to
    /// ⌊19·length/20⌋ for validation, and the rest for testing. With [`TrainOn::All`] every byte is for training, and
    /// the other two parts, which stay the same, are in-sample.
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

    /// The parts of a corpus. One that was decoded from images or sounds is divided by whole files: at the ends of
    /// files nearest to 90 and 95 %, each part with one file at least; of fewer than three files, at the ends of chunks.
    /// Any other as by [`Self::of`].
    #[must_use]
    pub fn of_corpus(corpus: &Corpus, train_on: TrainOn) -> Self {
        let length = corpus.length();
        let ends: Vec<u64> = match corpus.files() {
            None => return Self::of(length, train_on),
            Some(files) if files.count() >= PARTS => files.ends().collect(),
            Some(_) => (1..=length / MEDIA_CHUNK_BYTES).map(|it| it * MEDIA_CHUNK_BYTES).collect(),
        };
        let [train_end, validation_end] = match ends.len().checked_sub(PARTS as usize) {
            None => [length; 2],
            Some(spare) => {
                let train = nearest(&ends, 0..spare + 1, 18);
                [ends[train], ends[nearest(&ends, train + 1..ends.len() - 1, 19)]]
            }
        };
        let rest = Span { start: 0, end: train_end };
        Self {
            train: if train_on == TrainOn::All { Span { start: 0, end: length } } else { rest },
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

/// Train, validation, test.
const PARTS: u64 = 3;

/// The end within a range that is nearest to so many twentieths of the whole; of two equally near ones the first.
fn nearest(ends: &[u64], range: Range<usize>, twentieths: i128) -> usize {
    let wanted = twentieths * i128::from(ends.last().copied().unwrap_or(0));
    let distance = |&index: &usize| (20 * i128::from(ends[index]) - wanted).abs();
    range.min_by_key(distance).unwrap_or(0)
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
        found.ok_or_else(|| format!("`{text}` is not a part: write train, validation or test"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::media::Files;

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

    fn set(chunks: &[u32]) -> Corpus {
        let length = chunks.iter().map(|&chunks| chunks as usize * 2048).sum();
        Corpus::from_bytes("set", vec![0; length]).with_files(Arc::new(Files::of_chunks(chunks)))
    }

    /// The ends of the parts, in chunks.
    fn ends(chunks: &[u32]) -> [u64; 3] {
        let split = Split::of_corpus(&set(chunks), TrainOn::Split);
        assert_eq!(
            (split.train.end, split.validation.end),
            (split.validation.start, split.test.start)
        );
        [split.train.end, split.validation.end, split.test.end].map(|end| end / 2048)
    }

    #[test]
    fn sets_are_split_between_files() {
        assert_eq!(ends(&[192; 24]), [22 * 192, 23 * 192, 24 * 192]);
        assert_eq!(ends(&[10; 20]), [180, 190, 200]);
        assert_eq!(ends(&[70, 20, 4, 6]), [90, 94, 100]);
        assert_eq!(ends(&[1, 1, 98]), [1, 2, 100], "each part has a file");
        assert_eq!(ends(&[100]), [90, 95, 100], "one long sound is cut between chunks");
        assert_eq!(ends(&[50, 50]), [90, 95, 100]);
        assert_eq!(ends(&[1, 1]), [2, 2, 2], "too short for three");
        let corpus = set(&[10; 20]);
        let all = Split::of_corpus(&corpus, TrainOn::All);
        assert_eq!(all.train, Span { start: 0, end: corpus.length() });
        let text = Corpus::from_bytes("text", vec![1; 100]);
        let split = Split::of_corpus(&text, TrainOn::Split);
        assert_eq!(split, Split::of(100, TrainOn::Split));
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
