//! What was compressed: a corpus, or a part of one. Rates of different parts are never joined; the test part of a
//! corpus is a different subject from the whole.

use lmtrain_runs::record::Span;
use lmtrain_runs::{Bytes, Medium, Plan, RateRecord};

use super::format;

/// A range of bytes of one corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    corpus: String,
    sha256: String,
    span: Span,
    /// What it is of. Records that do not say are from before there was anything but text.
    pub(crate) medium: Medium,
    /// As figures and tables name it: `enwik8`, `enwik8 (last 5 %)`.
    pub(crate) label: String,
}

impl Subject {
    /// Whether a record is about it.
    #[must_use]
    pub(crate) fn is_of(&self, record: &RateRecord) -> bool {
        self.corpus == record.excerpt.corpus
            && self.sha256 == record.excerpt.corpus_sha256
            && self.span == record.excerpt.span
    }

    /// Length.
    #[must_use]
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes(self.span.end.saturating_sub(self.span.start))
    }

    /// Whether it is a whole corpus of this name.
    #[must_use]
    pub(crate) fn is_whole(&self, corpus: &str) -> bool {
        self.corpus == corpus && self.label == corpus
    }
}

/// Lengths of corpora that carry theirs in their names.
const LENGTHS: [(&str, u64); 3] =
    [("enwik7", 10_000_000), ("enwik8", 100_000_000), ("enwik9", 1_000_000_000)];

/// The subjects of records, by medium, corpus and span, each with a name of its own. How long a
/// whole corpus is say the plans that train on it, or else the last byte that any record names.
#[must_use]
pub(crate) fn subjects(rates: &[RateRecord], plans: &[&Plan]) -> Vec<Subject> {
    let mut subjects: Vec<Subject> = Vec::new();
    for record in rates {
        if !subjects.iter().any(|subject| subject.is_of(record)) {
            let length = corpus_length(record, rates, plans);
            subjects.push(Subject {
                corpus: record.excerpt.corpus.clone(),
                sha256: record.excerpt.corpus_sha256.clone(),
                span: record.excerpt.span,
                medium: record.excerpt.medium.unwrap_or(Medium::Text),
                label: format!("{}{}", record.excerpt.corpus, part(record.excerpt.span, length)),
            });
        }
    }
    subjects.sort_by(|one, other| {
        let key = |subject: &Subject| {
            (subject.medium, subject.corpus.clone(), subject.span, subject.sha256.clone())
        };
        key(one).cmp(&key(other))
    });
    tell_apart(&mut subjects);
    subjects
}

fn corpus_length(record: &RateRecord, rates: &[RateRecord], plans: &[&Plan]) -> u64 {
    let (name, sha256) = (&record.excerpt.corpus, &record.excerpt.corpus_sha256);
    let named = LENGTHS.iter().find(|(known, _)| known == name).map(|&(_, length)| length);
    let planned =
        plans.iter().find(|plan| &plan.corpus_sha256 == sha256).map(|plan| plan.corpus_bytes.0);
    let same = rates.iter().filter(|other| &other.excerpt.corpus_sha256 == sha256);
    let seen = same.map(|other| other.excerpt.span.end).max().unwrap_or(0);
    // A file may be called enwik8 and be longer; what was seen is there.
    planned.or(named).unwrap_or(0).max(seen)
}

/// How a span of a corpus of some length is named: nothing if it is all of it.
fn part(span: Span, length: u64) -> String {
    let of_all = |bytes: u64| format::share(bytes as f64 / length as f64);
    match (span.start, span.end) {
        (0, end) if end >= length => String::new(),
        (0, end) => format!(" (first {})", of_all(end)),
        (start, end) if end >= length => format!(" (last {})", of_all(length - start)),
        (start, end) => format!(" ({} to {})", Bytes(start), Bytes(end)),
    }
}

/// Two texts of the same name are told apart by the first digits of their checksums.
fn tell_apart(subjects: &mut [Subject]) {
    let labels: Vec<String> = subjects.iter().map(|subject| subject.label.clone()).collect();
    for subject in subjects {
        if labels.iter().filter(|label| **label == subject.label).count() > 1 {
            let digits: String = subject.sha256.chars().take(6).collect();
            subject.label += &format!(" {digits}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn labels(rates: &[RateRecord]) -> Vec<String> {
        subjects(rates, &[]).into_iter().map(|subject| subject.label).collect()
    }

    #[test]
    fn parts_are_named_by_their_share() {
        let with = |start, end| {
            let mut record = samples::rate("200K", "enwik8", 0.3);
            record.excerpt.span = Span { start, end };
            record
        };
        let rates = [
            with(0, 100_000_000),
            with(95_000_000, 100_000_000),
            with(0, 12_300_000),
            with(1000, 2_000_000),
        ];
        assert_eq!(
            labels(&rates),
            [
                "enwik8 (first 12.3\u{a0}%)",
                "enwik8",
                "enwik8 (1.0 KB to 2.00 MB)",
                "enwik8 (last 5\u{a0}%)",
            ]
        );
    }

    #[test]
    fn texts_of_one_name_are_told_apart() {
        let mut one = samples::rate("200K", "notes", 0.3);
        let mut other = one.clone();
        one.excerpt.corpus_sha256 = "00".repeat(32);
        other.excerpt.corpus_sha256 = "ab".repeat(32);
        assert_eq!(labels(&[one, other]), ["notes 000000", "notes ababab"]);
    }
}
