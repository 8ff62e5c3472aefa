//! When two records measure the same thing. Everything that asks goes through here: `eval`, which
//! measures nothing twice, and the report, which shows the last of each measurement and sets those
//! of one method side by side.

use serde::{Deserialize, Serialize};

use crate::record::{Chunking, Kind, Mask, RateRecord, Span, WeightCode};

/// How something compresses, whatever it is given: a row of a table of rates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Method {
    /// What kind of thing it is.
    pub kind: Kind,
    /// Run, compressor or model.
    pub name: String,
    /// A compressor's preset.
    pub preset: Option<String>,
    /// How the weights were coded; as they were saved, where nothing is said.
    pub weight_code: WeightCode,
    /// What was taken from the bytes before, which loses bits.
    pub mask: Option<Mask>,
    /// How the bytes were cut.
    pub chunking: Chunking,
}

/// What a record measures: a method, and on what. Of two records of one identity the later counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// What compressed, and how.
    pub method: Method,
    /// The corpus by name: the same bytes by another name are another corpus.
    pub corpus: String,
    /// SHA-256 of the whole corpus, hexadecimal.
    pub corpus_sha256: String,
    /// The bytes of it that were measured, or sampled from.
    pub span: Span,
    /// Chunks and seed of a sample.
    pub sample: Option<(u64, u64)>,
}

impl RateRecord {
    /// What compressed, and how.
    #[must_use]
    pub fn method(&self) -> Method {
        Method {
            kind: self.kind,
            name: self.name.clone(),
            preset: self.preset.clone(),
            weight_code: self.weight_code.unwrap_or(WeightCode::F16),
            // Before masks had names there was one.
            mask: self.mask.or(self.lost_bits.map(|_| Mask::Cleared)),
            chunking: self.chunking,
        }
    }

    /// What it measures.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            method: self.method(),
            corpus: self.corpus.clone(),
            corpus_sha256: self.corpus_sha256.clone(),
            span: self.span,
            sample: self.sample.map(|sample| (sample.chunks, sample.seed)),
        }
    }

    /// Whether measuring `wanted` anew would give this record's numbers: it measures the same, by
    /// the same weights and arithmetic, or by the same library with the same header counted once.
    #[must_use]
    pub fn stands_for(&self, wanted: &Self) -> bool {
        let is_header_counted_once =
            |record: &Self| record.kind == Kind::Compressor && record.chunking != Chunking::Whole;
        let by = |record: &Self| {
            let header = is_header_counted_once(record).then_some(record.header_bytes);
            (record.weights.clone(), record.arithmetic, record.library.clone(), header)
        };
        by(self) == by(wanted) && self.identity() == wanted.identity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Sample;
    use crate::record::tests::example;
    use crate::units::{Bits, Bytes};

    /// Each of these is another measurement than [`example`].
    fn others() -> Vec<(&'static str, RateRecord)> {
        let sample = Some(Sample { chunks: 2, of: 5, seed: 0 });
        vec![
            ("kind", RateRecord { kind: Kind::Pretrained, ..example() }),
            ("name", RateRecord { name: "other".into(), ..example() }),
            ("preset", RateRecord { preset: Some("9".into()), ..example() }),
            ("code", RateRecord { weight_code: Some(WeightCode::Int8), ..example() }),
            ("cleared", RateRecord { lost_bits: Some(Bits(0.0)), ..example() }),
            ("shifted", RateRecord { mask: Some(Mask::Shifted), ..example() }),
            ("chunking", RateRecord { chunking: Chunking::Tokens(2048), ..example() }),
            ("corpus", RateRecord { corpus: "two".into(), ..example() }),
            ("text", RateRecord { corpus_sha256: "01".repeat(32), ..example() }),
            ("span", RateRecord { span: Span { start: 1, end: 10_000 }, ..example() }),
            ("sample", RateRecord { sample, ..example() }),
        ]
    }

    #[test]
    fn what_is_measured_tells_records_apart() {
        for (what, other) in others() {
            assert_ne!(other.identity(), example().identity(), "{what}");
            assert!(!other.stands_for(&example()), "{what}");
        }
        let drawn = |seed| Some(Sample { chunks: 2, of: 5, seed });
        let sampled = |seed| RateRecord { sample: drawn(seed), ..example() };
        assert_ne!(sampled(0).identity(), sampled(1).identity());
    }

    #[test]
    fn a_header_of_another_rule_is_measured_anew() {
        let chunked = RateRecord { kind: Kind::Compressor, ..example() };
        let before =
            RateRecord { header_bytes: chunked.header_bytes + Bytes(1), ..chunked.clone() };
        assert!(chunked.stands_for(&chunked) && !before.stands_for(&chunked));
        // Of a whole, which has one header, the rule changes nothing.
        let whole = |record: RateRecord| RateRecord { chunking: Chunking::Whole, ..record };
        assert!(whole(before).stands_for(&whole(chunked)));
    }

    #[test]
    fn by_what_it_was_measured_does_not() {
        let saved = RateRecord { weight_code: Some(WeightCode::F16), ..example() };
        assert_eq!(saved.identity(), example().identity(), "what was saved is half precision");
        assert!(saved.stands_for(&example()));
        for other in [
            RateRecord { weights: Some("later".into()), ..example() },
            RateRecord { arithmetic: example().arithmetic.map(|version| version + 1), ..example() },
            RateRecord { arithmetic: None, ..example() },
            RateRecord { library: Some("liblzma 9".into()), ..example() },
        ] {
            assert_eq!(other.identity(), example().identity(), "the later one counts");
            assert!(!other.stands_for(&example()), "but it is measured anew");
        }
    }
}
