//! How many of the measured bytes a run was trained on.

use std::cmp::Ordering;

use lmtrain_runs::{Bytes, Plan, PlannedPart, Span};
use serde::{Deserialize, Serialize};

use super::catalogue::same_family;
use super::corpus::{Corpus, CorpusIdentity, sha256_of};
use super::split::{Part, Split};

/// The bytes that a model was trained on: a span of a corpus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainedOn {
    /// The corpus.
    pub corpus: CorpusIdentity,
    /// Which of its bytes.
    pub span: Span,
}

impl TrainedOn {
    /// What a run was trained on: one span, or for a mixture one span of each corpus.
    #[must_use]
    pub fn of_plan(plan: &Plan) -> Vec<Self> {
        if plan.parts.is_empty() {
            let by_rule = Split::of(plan.corpus_bytes.0, plan.train_on).span(Part::Train);
            let corpus = CorpusIdentity {
                name: plan.corpus.clone(),
                bytes: plan.corpus_bytes,
                sha256: plan.corpus_sha256.clone(),
            };
            return vec![Self { corpus, span: plan.train_span.unwrap_or(by_rule) }];
        }
        let part = |part: &PlannedPart| {
            let (name, sha256) = (part.corpus.clone(), part.sha256.clone());
            let corpus = CorpusIdentity { name, bytes: part.bytes, sha256 };
            Self { corpus, span: part.train }
        };
        plan.parts.iter().map(part).collect()
    }

    /// How many bytes of `span` of `evaluated` were trained on: those that are also within the training span, if both
    /// corpora are the same text (under any name) or one is a prefix of the other; otherwise 0.
    ///
    /// `training` is the training corpus, if it can still be opened. Only then is it noticed that a text is an
    /// unpublished prefix of it. (A piece from its middle is not noticed.)
    #[must_use]
    pub fn in_sample_bytes(
        &self,
        evaluated: &Corpus,
        span: Span,
        training: Option<&Corpus>,
    ) -> Bytes {
        let both =
            Span { start: self.span.start.max(span.start), end: self.span.end.min(span.end) };
        if both.start >= both.end || !self.is_same_text(evaluated, training) {
            return Bytes(0);
        }
        Bytes(both.end - both.start)
    }

    fn is_same_text(&self, evaluated: &Corpus, training: Option<&Corpus>) -> bool {
        let trained = &self.corpus;
        let is_as_it_was = |training: &&Corpus| {
            training.length() == trained.bytes.0 && training.sha256() == trained.sha256
        };
        if let Some(training) = training.filter(is_as_it_was) {
            let common = training.len().min(evaluated.len());
            return training[..common] == evaluated[..common];
        }
        match evaluated.length().cmp(&trained.bytes.0) {
            Ordering::Less => same_family(&trained.sha256, evaluated.sha256()),
            Ordering::Equal => evaluated.sha256() == trained.sha256,
            Ordering::Greater => {
                sha256_of(&evaluated[..trained.bytes.0 as usize]) == trained.sha256
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::published;

    fn corpus(name: &str, bytes: &[u8]) -> Corpus {
        Corpus::from_bytes(name, bytes.to_vec())
    }

    fn whole(corpus: &Corpus) -> Span {
        Span { start: 0, end: corpus.length() }
    }

    #[test]
    fn bytes_in_common_are_counted() {
        let training = corpus("training", b"0123456789");
        let trained = TrainedOn { corpus: training.identity(), span: Span { start: 0, end: 9 } };
        for (text, alone, beside) in [
            (&b"0123456789"[..], 9, 9),
            (b"0123456789 and on", 9, 9),
            (b"012345", 0, 6),
            (b"01234x", 0, 0),
            (b"012345678x and on", 0, 0),
            (b"", 0, 0),
        ] {
            let evaluated = corpus("another name", text);
            let count =
                |training| trained.in_sample_bytes(&evaluated, whole(&evaluated), training).0;
            assert_eq!((count(None), count(Some(&training))), (alone, beside), "{text:?}");
        }
        let test = Span { start: 9, end: 10 };
        assert_eq!(trained.in_sample_bytes(&training, test, Some(&training)), Bytes(0));
        let middle = Span { start: 5, end: 10 };
        assert_eq!(trained.in_sample_bytes(&training, middle, None), Bytes(4));
    }

    #[test]
    fn another_text_under_the_old_name_is_not_believed() {
        let training = corpus("notes", b"as they were");
        let trained = TrainedOn { corpus: training.identity(), span: whole(&training) };
        let changed = corpus("notes", b"as they are.");
        assert_eq!(trained.in_sample_bytes(&changed, whole(&changed), Some(&changed)), Bytes(0));
        assert_eq!(trained.in_sample_bytes(&training, whole(&training), Some(&changed)), Bytes(12));
        let longer = corpus("notes", b"as they were, and more");
        assert_eq!(trained.in_sample_bytes(&training, whole(&training), Some(&longer)), Bytes(12));
    }

    #[test]
    fn what_was_trained_on_enwik9_knows_enwik8() {
        // Lengths and hashes as published; the bytes are not at hand, so family alone decides.
        const SHORT: usize = 1000;
        let hash = |name| published(name).expect("a published corpus").sha256;
        assert!(same_family(hash("enwik9"), hash("enwik8")));
        let trained = TrainedOn {
            corpus: CorpusIdentity {
                name: "enwik9".to_owned(),
                bytes: Bytes(1_000_000_000),
                sha256: hash("enwik9").to_owned(),
            },
            span: Span { start: 0, end: 900_000_000 },
        };
        let bytes = [0; SHORT];
        let count =
            |evaluated: Corpus| trained.in_sample_bytes(&evaluated, whole(&evaluated), None);
        let short = |hash: &str| corpus("short", &bytes).with_sha256(hash.to_owned());
        assert_eq!(
            count(short(hash("enwik8"))),
            Bytes(SHORT as u64),
            "enwik8 is how enwik9 begins"
        );
        assert_eq!(count(short(hash("enwik7"))), Bytes(SHORT as u64));
        assert_eq!(count(corpus("enwik8", &bytes)), Bytes(0), "another text by its name");
    }
}
