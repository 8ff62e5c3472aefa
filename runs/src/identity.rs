//! When two records measure the same thing. `eval` uses this to measure nothing twice; the report uses it to show the
//! last record of each measurement, and to compare measurements made by the same method.

use serde::{Deserialize, Serialize};

use crate::record::{Chunking, Kind, Mask, RateRecord, Span, WeightCode};

/// A method of compression: a row of a table of rates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Method {
    /// What kind of thing it is.
    pub kind: Kind,
    /// Run, compressor or model.
    pub name: String,
    /// A compressor's preset.
    pub preset: Option<String>,
    /// The code of the weights; absent if they were measured as saved.
    pub weight_code: WeightCode,
    /// The mask of the bytes, which loses bits.
    pub mask: Option<Mask>,
    /// How the bytes were cut.
    pub chunking: Chunking,
}

/// What a record measures: a method, and its data. Of two records with one identity, the later one counts.
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
            kind: self.kind(),
            name: self.name.clone(),
            preset: self.preset().map(str::to_owned),
            weight_code: self.weight_code().unwrap_or(WeightCode::F16),
            // Before masks had names there was one.
            mask: self.mask.or(self.counts.lost_bits.map(|_| Mask::Cleared)),
            chunking: self.chunking,
        }
    }

    /// What it measures.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            method: self.method(),
            corpus: self.excerpt.corpus.clone(),
            corpus_sha256: self.excerpt.corpus_sha256.clone(),
            span: self.excerpt.span,
            sample: self.excerpt.sample.map(|sample| (sample.chunks, sample.seed)),
        }
    }

    /// Whether measuring `wanted` again would give this record's numbers: it measures the same, with the same weights
    /// and arithmetic, or with the same library and the same definition of the header.
    #[must_use]
    pub fn stands_for(&self, wanted: &Self) -> bool {
        let is_header_counted_once =
            |record: &Self| record.kind() == Kind::Compressor && record.chunking != Chunking::Whole;
        let header =
            |record: &Self| is_header_counted_once(record).then_some(record.counts.header_bytes);
        let by = |record: &Self| (record.arithmetic(), header(record));
        by(self) == by(wanted)
            && (self.weights(), self.library()) == (wanted.weights(), wanted.library())
            && self.identity() == wanted.identity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::example;
    use crate::record::{CompressorFacts, Facts, ModelFacts, NetworkFacts, RunFacts, Sample};
    use crate::units::{Bits, Bytes};

    /// [`example`], changed.
    fn with(change: impl Fn(&mut RateRecord)) -> RateRecord {
        let mut record = example();
        change(&mut record);
        record
    }

    fn run(record: &mut RateRecord) -> &mut RunFacts {
        let Facts::Run(run) = &mut record.facts else { panic!("a run") };
        run
    }

    fn compressor(preset: &str, library: &str) -> RateRecord {
        let [preset, library] = [preset, library].map(|it| Some(it.to_owned()));
        with(|it| {
            let (preset, library) = (preset.clone(), library.clone());
            it.facts = Facts::Compressor(CompressorFacts { preset, library });
        })
    }

    /// Each of these is another measurement than [`example`].
    fn others() -> Vec<(&'static str, RateRecord)> {
        let sample = Some(Sample { chunks: 2, of: 5, seed: 0 });
        vec![
            ("kind", with(|it| it.facts = Facts::Pretrained(ModelFacts::default()))),
            ("compressor", compressor("9", "a")),
            ("name", with(|it| it.name = "other".into())),
            ("code", with(|it| run(it).network.weight_code = Some(WeightCode::Int8))),
            ("cleared", with(|it| it.counts.lost_bits = Some(Bits(0.0)))),
            ("shifted", with(|it| it.mask = Some(Mask::Shifted))),
            ("chunking", with(|it| it.chunking = Chunking::Tokens(2048))),
            ("corpus", with(|it| it.excerpt.corpus = "two".into())),
            ("text", with(|it| it.excerpt.corpus_sha256 = "01".repeat(32))),
            ("span", with(|it| it.excerpt.span = Span { start: 1, end: 10_000 })),
            ("sample", with(|it| it.excerpt.sample = sample)),
        ]
    }

    #[test]
    fn what_is_measured_tells_records_apart() {
        for (what, other) in others() {
            assert_ne!(other.identity(), example().identity(), "{what}");
            assert!(!other.stands_for(&example()), "{what}");
        }
        assert_ne!(compressor("9", "a").identity(), compressor("8", "a").identity());
        let drawn = |seed| Some(Sample { chunks: 2, of: 5, seed });
        let sampled = |seed| with(|it| it.excerpt.sample = drawn(seed));
        assert_ne!(sampled(0).identity(), sampled(1).identity());
    }

    #[test]
    fn a_header_of_another_rule_is_measured_anew() {
        let chunked = compressor("9", "a");
        let mut before = chunked.clone();
        before.counts.header_bytes += Bytes(1);
        assert!(chunked.stands_for(&chunked) && !before.stands_for(&chunked));
        // Of a whole, which has one header, the rule changes nothing.
        let whole = |record: RateRecord| RateRecord { chunking: Chunking::Whole, ..record };
        assert!(whole(before).stands_for(&whole(chunked)));
    }

    #[test]
    fn by_what_it_was_measured_does_not() {
        let saved = with(|it| run(it).network.weight_code = Some(WeightCode::F16));
        assert_eq!(saved.identity(), example().identity(), "what was saved is half precision");
        assert!(saved.stands_for(&example()));
        let network = |change: fn(&mut NetworkFacts)| with(|it| change(&mut run(it).network));
        for (other, now) in [
            (network(|it| it.weights = Some("later".into())), example()),
            (network(|it| it.arithmetic = it.arithmetic.map(|version| version + 1)), example()),
            (network(|it| it.arithmetic = None), example()),
            (compressor("9", "liblzma 9"), compressor("9", "liblzma 10")),
        ] {
            assert_eq!(other.identity(), now.identity(), "the later one counts");
            assert!(!other.stands_for(&now), "but it is measured anew");
        }
    }
}
