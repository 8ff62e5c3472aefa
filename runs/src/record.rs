//! Records: what was measured, as counts. Rates are methods; a measurement that was not made is
//! absent, never 0. Keys of the JSON are the fields' names.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::medium::Medium;
use crate::recipe::Recipe;
use crate::size::Size;
use crate::tokenization::Tokenization;
use crate::units::{Bits, Bytes};

/// Where and by what a number was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Commit of the program, if it was built from a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Processor, cores and system.
    pub machine: String,
    /// What computed: `cpu`, or the GPU's name.
    pub device: String,
    /// Command line that made it.
    pub command: String,
}

/// One logged step of a training, a line of `train.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Optimizer steps done.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Raw bytes that those tokens stand for.
    pub raw_bytes: Bytes,
    /// Mean training loss since the last record, in nats a token.
    pub train_nats_per_token: f64,
    /// The same in bits a raw byte.
    pub train_bits_per_byte: f64,
    /// Global norm of the gradient before clipping, at this step.
    pub gradient_norm: f64,
    /// Factor on the learning rates at this step.
    pub learning_rate_factor: f64,
    /// Tokens a second since the last record, validation and saving excluded.
    pub train_tokens_per_s: f64,
    /// Seconds of training so far, over all of its sessions.
    pub seconds: f64,
    /// Σ −log2 p of each batch before its update, over fresh data only; absent once data repeat
    /// (Blier & Ollivier, arXiv 1802.07044).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prequential_bits: Option<Bits>,
    /// On the validation part, if this step validated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_bits_per_byte: Option<f64>,
}

/// What kind of thing compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A network that `fit` trained.
    Run,
    /// A general or media compressor.
    Compressor,
    /// A language model from elsewhere.
    Pretrained,
}

/// How a corpus was cut before it was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chunking {
    /// Pieces of so many bytes, each from an empty context.
    Bytes(u64),
    /// Pieces of so many tokens, each from an empty context.
    Tokens(u64),
    /// One piece.
    Whole,
    /// Windows of so many tokens that overlap: of each the last `stride` are coded, after the ones before, and of the
    /// first all. So every token but the first ones is predicted from at least `window` − `stride` tokens.
    Strided {
        /// Tokens of a window.
        window: u64,
        /// Tokens that are coded of each.
        stride: u64,
    },
}

impl std::fmt::Display for Chunking {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(length) => formatter.pad(&format!("{length} bytes")),
            Self::Tokens(length) => formatter.pad(&format!("{length} tokens")),
            Self::Whole => formatter.pad("whole"),
            Self::Strided { window, stride } => {
                formatter.pad(&format!("{window} tokens, {stride} at a time"))
            }
        }
    }
}

/// A range of a corpus's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

/// Chunks drawn at random instead of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sample {
    /// Chunks measured.
    pub chunks: u64,
    /// Chunks that the span has.
    pub of: u64,
    /// Seed of the draw.
    pub seed: u64,
}

/// How weights are stored where they count: what a model costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightCode {
    /// IEEE single precision.
    F32,
    /// IEEE half precision: what runs are saved in, and so the code of a record that names none.
    F16,
    /// Integers of 8 bits, with a half-precision scale for each row.
    Int8,
    /// The same, compressed by LZMA2.
    Int8Xz,
}

impl WeightCode {
    /// Every code, the largest first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Int8, Self::Int8Xz];

    /// As it is written on the command line and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Int8Xz => "int8-xz",
        }
    }
}

impl std::fmt::Display for WeightCode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.name())
    }
}

impl std::str::FromStr for WeightCode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|code| code.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("`{text}` is no code of weights: {names}")
        })
    }
}

/// What the paper's code takes from the bytes that a model is given, so that they are ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mask {
    /// Bytes that are no ASCII lose their highest bit; a text's other bytes stay.
    Cleared,
    /// Every byte is shifted to the right by one.
    Shifted,
}

impl Mask {
    /// The mask of a medium: text keeps its letters, anything else the order of its values.
    #[must_use]
    pub fn of(medium: Medium) -> Self {
        if medium == Medium::Text { Self::Cleared } else { Self::Shifted }
    }

    /// A byte with the mask on it.
    #[must_use]
    pub fn apply(self, byte: u8) -> u8 {
        match self {
            Self::Cleared => byte & 0x7f,
            Self::Shifted => byte >> 1,
        }
    }
}

impl std::fmt::Display for Mask {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Cleared => "cleared",
            Self::Shifted => "shifted",
        })
    }
}

/// The compression of one corpus by one compressor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateRecord {
    /// Run, compressor or model.
    pub name: String,
    /// What kind of thing `name` is.
    pub kind: Kind,
    /// Corpus by name.
    pub corpus: String,
    /// SHA-256 of the whole corpus, hexadecimal.
    pub corpus_sha256: String,
    /// What its bytes are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<Medium>,
    /// The bytes of the corpus that were measured, or sampled from.
    pub span: Span,
    /// How they were cut.
    pub chunking: Chunking,
    /// Which chunks, if not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,

    /// Bytes that were compressed.
    pub raw_bytes: Bytes,
    /// Pieces that they were cut into.
    pub chunks: u64,
    /// Tokens that were coded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Σ −log2 p, in f64, of the very distribution that the coder uses, its floor included, whoever
    /// computed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ideal_bits: Option<Bits>,
    /// The same of the network's own distribution, which has no floor: what evaluations of language
    /// models call cross-entropy. Absent where the coder's numbers could not tell it, that is where
    /// a token's probability was 0 to them; in records without `arithmetic`, `ideal_bits` is this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_entropy_bits: Option<Bits>,
    /// 95 % bootstrap interval of `ideal_bits` (else of 8 · `coded_bytes`) over chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_interval: Option<[Bits; 2]>,
    /// What the coder emitted; for a chunked classical compressor its header counts once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coded_bytes: Option<Bytes>,
    /// Header bytes within `coded_bytes`.
    pub header_bytes: Bytes,
    /// Chunks that were longer than the model's context, and cut into pieces that each start from an empty one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_chunks: Option<u64>,
    /// What the bytes were masked with, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<Mask>,
    /// Bits that a decoder lacks for what the mask took, not within `coded_bytes`: one for each byte of a chunk that
    /// was not what it is without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_bits: Option<Bits>,
    /// Bits that the paper's code takes as missed: one for each byte that it changed or might have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_bits: Option<Bits>,
    /// Ideal bits of each chunk rounded up to whole bytes, and these summed: what the paper's code counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padded_bytes: Option<Bytes>,
    /// Of `raw_bytes`, those that the model was trained on.
    pub in_sample_bytes: Bytes,

    /// Architecture of a pretrained model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Shape of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Its recipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
    /// The choices in which it differs from its recipe's row, by their keys.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub choices: Map<String, Value>,
    /// Its tokenization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenization: Option<Tokenization>,
    /// All of its parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// Bytes that each parameter is stored in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_parameter: Option<f64>,
    /// How the weights were coded that predicted: decoded again before they did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_code: Option<WeightCode>,
    /// Bytes of the weights in that code; where absent, `parameters` · `bytes_per_parameter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_bytes: Option<Bytes>,
    /// Bytes of a pretrained model's weights in its own files; `bytes_per_parameter` is 2 there, as the paper has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<Bytes>,
    /// Compressed bytes of the tokenizer's vocabulary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer_bytes: Option<Bytes>,
    /// Corpus it was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<String>,
    /// Tokens it was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_trained: Option<u64>,
    /// Seed it was trained with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Identity of the weights, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Version of the arithmetic that a network predicted by: see [`ARITHMETIC`](crate::ARITHMETIC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arithmetic: Option<u16>,
    /// A classical compressor's preset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Its library and version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,

    /// Seconds that the measurement took.
    pub seconds: f64,
    /// By what and where it was made.
    #[serde(flatten)]
    pub provenance: Provenance,
}

impl RateRecord {
    /// Compressed bytes of the data alone: coded if the coder ran, else ideal; lost bits included.
    /// Absent if neither was measured.
    #[must_use]
    pub fn compressed_bytes(&self) -> Option<f64> {
        let coded = self.coded_bytes.map(Bytes::as_f64);
        let data = coded.or_else(|| self.ideal_bits.map(Bits::as_bytes))?;
        Some(data + self.lost_bits.map_or(0.0, Bits::as_bytes))
    }

    /// Compressed / raw bytes. Absent if nothing was measured, or there was nothing to compress.
    #[must_use]
    pub fn raw_rate(&self) -> Option<f64> {
        self.over_raw(self.compressed_bytes()?)
    }

    /// What a decoder must have besides the data: weights at their stated code, and the tokenizer.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "parameters stay far below 2^53")]
    pub fn model_bytes(&self) -> f64 {
        let each = self.bytes_per_parameter.unwrap_or(0.0);
        let counted = self.parameters.unwrap_or(0) as f64 * each;
        let weights = self.weight_bytes.map_or(counted, Bytes::as_f64);
        weights + self.tokenizer_bytes.map_or(0.0, Bytes::as_f64)
    }

    /// (Compressed + model) / raw bytes, for this much data. For a sample that is the whole span,
    /// at the sample's raw rate.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "lengths stay far below 2^53")]
    pub fn adjusted_rate(&self) -> Option<f64> {
        let span = (self.span.end - self.span.start) as f64;
        Some(self.raw_rate()? + self.model_bytes() / span)
    }

    /// The same with a pretrained model's weights as its files store them.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "lengths stay far below 2^53")]
    pub fn adjusted_rate_as_stored(&self) -> Option<f64> {
        let span = (self.span.end - self.span.start) as f64;
        let model = self.stored_bytes?.as_f64() + self.tokenizer_bytes.map_or(0.0, Bytes::as_f64);
        Some(self.raw_rate()? + model / span)
    }

    /// 2 to the mean cross-entropy of a token in bits: what evaluations of language models call perplexity.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "tokens stay far below 2^53")]
    pub fn token_perplexity(&self) -> Option<f64> {
        let tokens = self.tokens.filter(|&tokens| tokens > 0)? as f64;
        let before = self.ideal_bits.filter(|_| self.arithmetic.is_none());
        Some((self.cross_entropy_bits.or(before)?.0 / tokens).exp2())
    }

    /// Tokens measured a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "tokens stay far below 2^53")]
    pub fn tokens_per_second(&self) -> Option<f64> {
        (self.seconds > 0.0).then_some(self.tokens? as f64 / self.seconds)
    }

    /// The raw rate as the paper's code has it under its mask: chunks of whole bytes, scaled by bits / (bits − missed
    /// bits) instead of adding what is lost. Absent if nothing was masked, or all of it was missed.
    #[must_use]
    pub fn rate_as_in_the_paper(&self) -> Option<f64> {
        let bits = self.raw_bytes.as_bits().0;
        let kept = bits - self.missed_bits?.0;
        let padded = self.padded_bytes?.as_f64();
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
        let [low, high] = self.bits_interval?;
        let measured = self.ideal_bits.or(self.coded_bytes.map(Bytes::as_bits))?;
        let rate = self.raw_rate()?;
        (measured.0 > 0.0).then(|| [rate * low.0 / measured.0, rate * high.0 / measured.0])
    }

    /// What the coder emitted over what it ideally had to: 0.001 is 0.1 %.
    #[must_use]
    pub fn coding_overhead(&self) -> Option<f64> {
        let ideal = self.ideal_bits?.as_bytes();
        (ideal > 0.0).then_some(self.coded_bytes?.as_f64() / ideal - 1.0)
    }

    /// Share of the raw bytes that the model was trained on.
    #[must_use]
    pub fn in_sample_share(&self) -> f64 {
        self.over_raw(self.in_sample_bytes.as_f64()).unwrap_or(0.0)
    }

    fn over_raw(&self, bytes: f64) -> Option<f64> {
        (self.raw_bytes.0 > 0).then(|| bytes / self.raw_bytes.as_f64())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example() -> RateRecord {
        RateRecord {
            name: "200K-bytes-modern-s0".into(),
            kind: Kind::Run,
            corpus: "enwik7".into(),
            corpus_sha256: "00".repeat(32),
            medium: Some(Medium::Text),
            span: Span { start: 0, end: 10_000 },
            chunking: Chunking::Bytes(2048),
            sample: None,
            raw_bytes: Bytes(10_000),
            chunks: 5,
            tokens: Some(10_000),
            ideal_bits: Some(Bits(20_000.0)),
            cross_entropy_bits: Some(Bits(20_000.0)),
            bits_interval: Some([Bits(19_000.0), Bits(22_000.0)]),
            coded_bytes: Some(Bytes(2_502)),
            header_bytes: Bytes(0),
            cut_chunks: None,
            mask: None,
            lost_bits: None,
            missed_bits: None,
            padded_bytes: None,
            in_sample_bytes: Bytes(2_500),
            architecture: None,
            size: None,
            recipe: None,
            choices: Map::new(),
            tokenization: Some(Tokenization::Bytes),
            parameters: Some(100),
            bytes_per_parameter: Some(2.0),
            weight_code: None,
            weight_bytes: None,
            stored_bytes: None,
            tokenizer_bytes: None,
            trained_on: None,
            tokens_trained: None,
            seed: None,
            weights: None,
            arithmetic: Some(crate::ARITHMETIC),
            preset: None,
            library: None,
            seconds: 1.0,
            provenance: Provenance::default(),
        }
    }

    #[test]
    fn rates_divide_once() {
        let mut record = example();
        assert_eq!(record.raw_rate(), Some(0.2502));
        assert_eq!(record.adjusted_rate(), Some(0.2702));
        assert_eq!(record.in_sample_share(), 0.25);
        assert!((record.coding_overhead().expect("both measured") - 0.0008).abs() < 1e-12);
        record.coded_bytes = None;
        assert_eq!(record.bits_per_byte(), Some(2.0));
        record.lost_bits = Some(Bits(1000.0));
        assert_eq!(record.bits_per_byte(), Some(2.1));
        record.ideal_bits = None;
        assert_eq!(record.raw_rate(), None);
        record.raw_bytes = Bytes(0);
        record.coded_bytes = Some(Bytes(0));
        assert_eq!(record.raw_rate(), None, "no data, no rate");
    }

    #[test]
    fn coded_weights_cost_their_bytes() {
        let saved = example();
        let coded = RateRecord {
            weight_code: Some(WeightCode::Int8Xz),
            weight_bytes: Some(Bytes(81)),
            ..example()
        };
        assert_eq!((saved.model_bytes(), coded.model_bytes()), (200.0, 81.0));
        for code in WeightCode::ALL {
            assert_eq!(code.name().parse(), Ok(code));
            let json = serde_json::to_string(&code).expect("a name serialises");
            assert_eq!(json, format!("\"{code}\""));
        }
        assert!("int4".parse::<WeightCode>().is_err());
    }

    #[test]
    fn a_pretrained_model_costs_two_bytes_a_parameter_or_what_it_is_stored_in() {
        let own = example();
        assert_eq!((own.adjusted_rate_as_stored(), own.token_perplexity()), (None, Some(4.0)));
        let model = RateRecord { stored_bytes: Some(Bytes(400)), ..example() };
        let stored = model.adjusted_rate_as_stored().expect("stored");
        assert!((stored - 0.2902).abs() < 1e-12, "{stored}");
        assert_eq!(model.tokens_per_second(), Some(10_000.0));
        assert_eq!(RateRecord { tokens: Some(0), ..model }.token_perplexity(), None);
    }

    #[test]
    fn perplexity_is_of_the_cross_entropy() {
        let sure = RateRecord { cross_entropy_bits: Some(Bits(30_000.0)), ..example() };
        assert_eq!(sure.token_perplexity(), Some(8.0));
        let unknown = RateRecord { cross_entropy_bits: None, ..example() };
        assert_eq!(unknown.token_perplexity(), None, "ideal bits are cut off at the coder's floor");
        let old = RateRecord { arithmetic: None, ..unknown };
        assert_eq!(old.token_perplexity(), Some(4.0), "they were not, before");
    }

    #[test]
    fn a_mask_is_a_measurement_of_its_own_with_a_rate_of_the_papers() {
        let plain = example();
        assert_eq!(plain.rate_as_in_the_paper(), None);
        let shifted = RateRecord {
            mask: Some(Mask::Shifted),
            lost_bits: Some(Bits(10_000.0)),
            missed_bits: Some(Bits(10_000.0)),
            padded_bytes: Some(Bytes(2_504)),
            ..example()
        };
        assert_eq!(shifted.raw_rate(), Some(0.2502 + 0.125), "what is lost is added");
        let scaled = shifted.rate_as_in_the_paper().expect("masked");
        assert!((scaled - 0.2504 * 8.0 / 7.0).abs() < 1e-12, "{scaled}");
        let all = RateRecord { missed_bits: Some(Bits(80_000.0)), ..shifted };
        assert_eq!(all.rate_as_in_the_paper(), None);
        assert_eq!((Mask::Cleared.apply(0xe9), Mask::Shifted.apply(0xe9)), (0x69, 0x74));
        assert_eq!(Mask::of(Medium::Text), Mask::Cleared);
        assert_eq!(Mask::of(Medium::PATCHES), Mask::Shifted);
    }

    #[test]
    fn a_record_survives_json() {
        let record = example();
        let text = serde_json::to_string(&record).expect("a record serialises");
        let older = text.replace("\"medium\":\"text\",", "");
        let read: RateRecord = serde_json::from_str(&older).expect("records of before read");
        assert_eq!(read, RateRecord { medium: None, ..example() });
        assert!(text.contains("\"ideal_bits\":20000.0") && !text.contains("lost_bits"), "{text}");
        assert_eq!(serde_json::from_str::<RateRecord>(&text).expect("and reads back"), record);
    }
}
