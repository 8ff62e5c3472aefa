//! The rate of one thing on one corpus, as counts. Rates are methods.

use serde::{Deserialize, Serialize};

use super::{Chunking, Counts, Excerpt, Facts, Kind, Mask, Provenance, WeightCode};
use crate::size::Size;
use crate::tokenization::Tokenization;
use crate::units::{Bits, Bytes};

/// The compression of one corpus by one compressor. In JSON, the fields of its parts are all at the top level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateRecord {
    /// Run, compressor or model.
    pub name: String,
    /// What is known of it.
    #[serde(flatten)]
    pub facts: Facts,
    /// What it was measured on.
    #[serde(flatten)]
    pub excerpt: Excerpt,
    /// How that was cut.
    pub chunking: Chunking,
    /// What the bytes were masked with, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<Mask>,
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
    /// Of the bytes that were compressed, those that the model was trained on.
    pub in_sample_bytes: Bytes,
    /// By what and where it was made.
    #[serde(flatten)]
    pub provenance: Provenance,
}

impl RateRecord {
    /// What is to be measured, with nothing measured yet.
    #[must_use]
    pub fn wanted(name: &str, facts: Facts, excerpt: Excerpt, chunking: Chunking) -> Self {
        Self {
            name: name.to_owned(),
            facts,
            excerpt,
            chunking,
            mask: None,
            counts: Counts::default(),
            in_sample_bytes: Bytes(0),
            provenance: Provenance::default(),
        }
    }

    /// What kind of thing compressed.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.facts.kind()
    }

    /// All parameters of a network.
    #[must_use]
    pub fn parameters(&self) -> Option<u64> {
        self.facts.network()?.parameters
    }

    /// A network's tokenization.
    #[must_use]
    pub fn tokenization(&self) -> Option<&Tokenization> {
        self.facts.network()?.tokenization.as_ref()
    }

    /// Compressed bytes of a network's vocabulary.
    #[must_use]
    pub fn tokenizer_bytes(&self) -> Option<Bytes> {
        self.facts.network()?.tokenizer_bytes
    }

    /// Identity of a network's weights.
    #[must_use]
    pub fn weights(&self) -> Option<&str> {
        self.facts.network()?.weights.as_deref()
    }

    /// Version of the arithmetic that a network predicted by.
    #[must_use]
    pub fn arithmetic(&self) -> Option<u16> {
        self.facts.network()?.arithmetic
    }

    /// Shape of a run's network.
    #[must_use]
    pub fn size(&self) -> Option<Size> {
        self.facts.run()?.size
    }

    /// How a network's weights were coded, if it is said.
    #[must_use]
    pub fn weight_code(&self) -> Option<WeightCode> {
        self.facts.network()?.weight_code
    }

    /// A pretrained model's architecture.
    #[must_use]
    pub fn architecture(&self) -> Option<&str> {
        self.facts.model()?.architecture.as_deref()
    }

    /// A compressor's preset.
    #[must_use]
    pub fn preset(&self) -> Option<&str> {
        self.facts.compressor()?.preset.as_deref()
    }

    /// A compressor's library and version.
    #[must_use]
    pub fn library(&self) -> Option<&str> {
        self.facts.compressor()?.library.as_deref()
    }

    /// Compressed bytes of the data alone: coded if the coder ran, else ideal; lost bits included.
    /// Absent if neither was measured.
    #[must_use]
    pub fn compressed_bytes(&self) -> Option<f64> {
        let coded = self.counts.coded_bytes.map(Bytes::as_f64);
        let data = coded.or_else(|| self.counts.ideal_bits.map(Bits::as_bytes))?;
        Some(data + self.counts.lost_bits.map_or(0.0, Bits::as_bytes))
    }

    /// Compressed / raw bytes. Absent if nothing was measured, or there was nothing to compress.
    #[must_use]
    pub fn raw_rate(&self) -> Option<f64> {
        self.over_raw(self.compressed_bytes()?)
    }

    /// What a decoder needs besides the data: the weights in their stated code, and the tokenizer.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "parameters stay far below 2^53")]
    pub fn model_bytes(&self) -> f64 {
        let Some(network) = self.facts.network() else { return 0.0 };
        let each = network.bytes_per_parameter.unwrap_or(0.0);
        let counted = network.parameters.unwrap_or(0) as f64 * each;
        let weights = network.weight_bytes.map_or(counted, Bytes::as_f64);
        weights + network.tokenizer_bytes.map_or(0.0, Bytes::as_f64)
    }

    /// (Compressed + model) / raw bytes, for this much data. For a sample that is the whole span,
    /// at the sample's raw rate.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "lengths stay far below 2^53")]
    pub fn adjusted_rate(&self) -> Option<f64> {
        Some(self.raw_rate()? + self.model_bytes() / self.excerpt.length() as f64)
    }

    /// The same with a pretrained model's weights as its files store them, if it was measured with these.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "lengths stay far below 2^53")]
    pub fn adjusted_rate_as_stored(&self) -> Option<f64> {
        let model = self.facts.model().filter(|model| model.network.weight_code.is_none())?;
        let tokenizer = model.network.tokenizer_bytes.map_or(0.0, Bytes::as_f64);
        let bytes = model.stored_bytes?.as_f64() + tokenizer;
        Some(self.raw_rate()? + bytes / self.excerpt.length() as f64)
    }

    /// 2 to the mean cross-entropy of a token in bits: what evaluations of language models call perplexity.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "tokens stay far below 2^53")]
    pub fn token_perplexity(&self) -> Option<f64> {
        let tokens = self.counts.tokens.filter(|&tokens| tokens > 0)? as f64;
        let before = self.counts.ideal_bits.filter(|_| self.arithmetic().is_none());
        Some((self.counts.cross_entropy_bits.or(before)?.0 / tokens).exp2())
    }

    /// Tokens measured a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "tokens stay far below 2^53")]
    pub fn tokens_per_second(&self) -> Option<f64> {
        (self.counts.seconds > 0.0).then_some(self.counts.tokens? as f64 / self.counts.seconds)
    }

    /// The raw rate as the paper's code has it under its mask: chunks of whole bytes, scaled by bits / (bits − missed
    /// bits) instead of adding what is lost. Absent if nothing was masked, or all of it was missed.
    #[must_use]
    pub fn rate_as_in_the_paper(&self) -> Option<f64> {
        let bits = self.counts.raw_bytes.as_bits().0;
        let kept = bits - self.counts.missed_bits?.0;
        let padded = self.counts.padded_bytes?.as_f64();
        if kept > 0.0 { self.over_raw(padded * bits / kept) } else { None }
    }

    /// Compressed bits a raw byte.
    #[must_use]
    pub fn bits_per_byte(&self) -> Option<f64> {
        self.raw_rate().map(|rate| 8.0 * rate)
    }

    /// 95 % interval of [`Self::raw_rate`] over chunks.
    #[must_use]
    pub fn raw_rate_interval(&self) -> Option<[f64; 2]> {
        let [low, high] = self.counts.bits_interval?;
        let measured = self.counts.ideal_bits.or(self.counts.coded_bytes.map(Bytes::as_bits))?;
        let rate = self.raw_rate()?;
        (measured.0 > 0.0).then(|| [rate * low.0 / measured.0, rate * high.0 / measured.0])
    }

    /// The excess of the coded bytes over the ideal code length: 0.001 is 0.1 %.
    #[must_use]
    pub fn coding_overhead(&self) -> Option<f64> {
        let ideal = self.counts.ideal_bits?.as_bytes();
        (ideal > 0.0).then_some(self.counts.coded_bytes?.as_f64() / ideal - 1.0)
    }

    /// Share of the raw bytes that the model was trained on.
    #[must_use]
    pub fn in_sample_share(&self) -> f64 {
        self.over_raw(self.in_sample_bytes.as_f64()).unwrap_or(0.0)
    }

    fn over_raw(&self, bytes: f64) -> Option<f64> {
        (self.counts.raw_bytes.0 > 0).then(|| bytes / self.counts.raw_bytes.as_f64())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::medium::Medium;
    use crate::record::{ModelFacts, NetworkFacts, RunFacts, Span};

    /// The example with other counts.
    fn counting(change: impl Fn(&mut Counts)) -> RateRecord {
        let mut record = example();
        change(&mut record.counts);
        record
    }

    pub(crate) fn example() -> RateRecord {
        let network = NetworkFacts {
            tokenization: Some(Tokenization::Bytes),
            parameters: Some(100),
            bytes_per_parameter: Some(2.0),
            arithmetic: Some(crate::ARITHMETIC),
            ..NetworkFacts::default()
        };
        let facts = Facts::Run(RunFacts { network, ..RunFacts::default() });
        let excerpt = Excerpt {
            corpus: "enwik7".into(),
            corpus_sha256: "00".repeat(32),
            medium: Some(Medium::Text),
            span: Span { start: 0, end: 10_000 },
            sample: None,
        };
        let counts = Counts {
            raw_bytes: Bytes(10_000),
            chunks: 5,
            tokens: Some(10_000),
            ideal_bits: Some(Bits(20_000.0)),
            cross_entropy_bits: Some(Bits(20_000.0)),
            bits_interval: Some([Bits(19_000.0), Bits(22_000.0)]),
            coded_bytes: Some(Bytes(2_502)),
            seconds: 1.0,
            ..Counts::default()
        };
        let name = "200K-bytes-modern-s0";
        let wanted = RateRecord::wanted(name, facts, excerpt, Chunking::Bytes(2048));
        RateRecord { counts, in_sample_bytes: Bytes(2_500), ..wanted }
    }

    #[test]
    fn rates_divide_once() {
        let mut record = example();
        assert_eq!(record.raw_rate(), Some(0.2502));
        assert_eq!(record.adjusted_rate(), Some(0.2702));
        assert_eq!(record.in_sample_share(), 0.25);
        assert!((record.coding_overhead().expect("both measured") - 0.0008).abs() < 1e-12);
        record.counts.coded_bytes = None;
        assert_eq!(record.bits_per_byte(), Some(2.0));
        record.counts.lost_bits = Some(Bits(1000.0));
        assert_eq!(record.bits_per_byte(), Some(2.1));
        record.counts.ideal_bits = None;
        assert_eq!(record.raw_rate(), None);
        record.counts.raw_bytes = Bytes(0);
        record.counts.coded_bytes = Some(Bytes(0));
        assert_eq!(record.raw_rate(), None, "no data, no rate");
    }

    #[test]
    fn coded_weights_cost_their_bytes() {
        let saved = example();
        let mut coded = example();
        let network = coded.facts.network_mut().expect("a run has one");
        network.weight_code = Some(WeightCode::Int8Xz);
        network.weight_bytes = Some(Bytes(81));
        assert_eq!((saved.model_bytes(), coded.model_bytes()), (200.0, 81.0));
    }

    #[test]
    fn a_pretrained_model_costs_two_bytes_a_parameter_or_what_it_is_stored_in() {
        let own = example();
        assert_eq!((own.adjusted_rate_as_stored(), own.token_perplexity()), (None, Some(4.0)));
        let network = own.facts.network().expect("a run has one").clone();
        let stored_bytes = Some(Bytes(400));
        let facts = ModelFacts { network, stored_bytes, ..ModelFacts::default() };
        let mut model = RateRecord { facts: Facts::Pretrained(facts), ..own };
        let stored = model.adjusted_rate_as_stored().expect("stored");
        assert!((stored - 0.2902).abs() < 1e-12, "{stored}");
        assert_eq!(model.tokens_per_second(), Some(10_000.0));
        model.counts.tokens = Some(0);
        assert_eq!(model.token_perplexity(), None);
    }

    #[test]
    fn perplexity_is_of_the_cross_entropy() {
        let sure = counting(|counts| counts.cross_entropy_bits = Some(Bits(30_000.0)));
        assert_eq!(sure.token_perplexity(), Some(8.0));
        let unknown = counting(|counts| counts.cross_entropy_bits = None);
        assert_eq!(unknown.token_perplexity(), None, "ideal bits are cut off at the coder's floor");
        let mut old = unknown;
        old.facts.network_mut().expect("a run has one").arithmetic = None;
        assert_eq!(old.token_perplexity(), Some(4.0), "they were not, before");
    }

    #[test]
    fn a_mask_is_a_measurement_of_its_own_with_a_rate_of_the_papers() {
        let plain = example();
        assert_eq!(plain.rate_as_in_the_paper(), None);
        let mut shifted = counting(|counts| {
            counts.lost_bits = Some(Bits(10_000.0));
            counts.missed_bits = Some(Bits(10_000.0));
            counts.padded_bytes = Some(Bytes(2_504));
        });
        shifted.mask = Some(Mask::Shifted);
        assert_eq!(shifted.raw_rate(), Some(0.2502 + 0.125), "what is lost is added");
        let scaled = shifted.rate_as_in_the_paper().expect("masked");
        assert!((scaled - 0.2504 * 8.0 / 7.0).abs() < 1e-12, "{scaled}");
        shifted.counts.missed_bits = Some(Bits(80_000.0));
        assert_eq!(shifted.rate_as_in_the_paper(), None);
    }

    #[test]
    fn a_record_survives_json() {
        let record = example();
        let text = serde_json::to_string(&record).expect("a record serialises");
        let older = text.replace("\"medium\":\"text\",", "");
        let read: RateRecord = serde_json::from_str(&older).expect("records of before read");
        let mut without = example();
        without.excerpt.medium = None;
        assert_eq!(read, without);
        assert!(text.contains("\"ideal_bits\":20000.0") && !text.contains("lost_bits"), "{text}");
        assert_eq!(serde_json::from_str::<RateRecord>(&text).expect("and reads back"), record);
    }
}
