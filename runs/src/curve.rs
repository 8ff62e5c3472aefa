//! Records of the rate against context: `curves.jsonl` in a run's folder. A point says what the beginnings of chunks,
//! up to some byte, were compressed to.

use serde::{Deserialize, Serialize};

use crate::medium::Medium;
use crate::record::{Kind, Provenance, RateRecord, Sample, Span};
use crate::units::{Bits, Bytes};

/// The rate of one thing on one corpus against the length of what is compressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurveRecord {
    /// Run, compressor or model.
    pub name: String,
    /// What kind of thing `name` is.
    pub kind: Kind,
    /// SHA-256 of a network's weights, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// A compressor's preset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// A compressor's library and its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// Corpus by name.
    pub corpus: String,
    /// SHA-256 of the whole corpus, hexadecimal.
    pub corpus_sha256: String,
    /// What its bytes are of.
    pub medium: Medium,
    /// The bytes of the corpus that were measured, or sampled from.
    pub span: Span,
    /// Bytes of a chunk.
    pub chunk_bytes: u64,
    /// Which chunks, if not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
    /// What a compressor makes of one zero byte: it counts once at each point.
    pub header_bytes: Bytes,
    /// Ascending.
    pub points: Vec<CurvePoint>,
    /// Where and by what it was measured.
    pub provenance: Provenance,
}

/// The beginnings of chunks up to some byte.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Bytes of each beginning.
    pub end: u64,
    /// Bytes of all of them: of chunks that are at least so long.
    pub raw_bytes: Bytes,
    /// What these were compressed to, the header included once.
    pub bits: Bits,
    /// Of that, 95 % interval over chunks; absent if there are too few.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_interval: Option<[Bits; 2]>,
}

impl CurvePoint {
    /// Compressed / raw, of all bytes up to the end.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.bits.0 / self.raw_bytes.as_bits().0
    }

    /// Its 95 % interval.
    #[must_use]
    pub fn interval(&self) -> Option<[f64; 2]> {
        Some(self.bits_interval?.map(|bits| bits.0 / self.raw_bytes.as_bits().0))
    }
}

impl CurveRecord {
    /// Whether it measures the same as another, of the same weights or by the same library.
    #[must_use]
    pub fn is_as(&self, other: &Self) -> bool {
        let same = |record: &Self| Self {
            points: Vec::new(),
            header_bytes: Bytes(0),
            provenance: Provenance::default(),
            ..record.clone()
        };
        same(self) == same(other)
    }

    /// A curve of what a rate is of, with no point yet. Absent for a whole, or for chunks of tokens.
    #[must_use]
    pub fn beside(record: &RateRecord) -> Option<Self> {
        let crate::record::Chunking::Bytes(chunk_bytes) = record.chunking else { return None };
        Some(Self {
            name: record.name.clone(),
            kind: record.kind,
            weights: record.weights.clone(),
            preset: record.preset.clone(),
            library: record.library.clone(),
            corpus: record.corpus.clone(),
            corpus_sha256: record.corpus_sha256.clone(),
            medium: record.medium.unwrap_or(Medium::Bytes),
            span: record.span,
            chunk_bytes,
            sample: record.sample,
            header_bytes: Bytes(0),
            points: Vec::new(),
            provenance: Provenance::default(),
        })
    }

    /// Between the end before and each end: the mean bits of a byte there, / 8. Of chunks of one length only, which
    /// all but a last one are.
    #[must_use]
    pub fn rates_between(&self) -> Vec<f64> {
        let mut before = (0.0, 0.0);
        let rate = |point: &CurvePoint| {
            let chunks = point.raw_bytes.as_f64() / point.end.max(1) as f64;
            let (bits, end) =
                ((point.bits.0 - self.header_bytes.as_bits().0) / chunks, point.end as f64);
            let rate = (bits - before.0) / (8.0 * (end - before.1));
            before = (bits, end);
            rate
        };
        self.points.iter().map(rate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_counts() {
        let point = |end, bits| CurvePoint {
            end,
            raw_bytes: Bytes(2 * end),
            bits: Bits(bits),
            bits_interval: Some([Bits(bits - 1.0), Bits(bits + 1.0)]),
        };
        let record = CurveRecord {
            name: "gzip".into(),
            kind: Kind::Compressor,
            weights: None,
            preset: None,
            library: None,
            corpus: "notes".into(),
            corpus_sha256: String::new(),
            medium: Medium::Text,
            span: Span { start: 0, end: 8 },
            chunk_bytes: 4,
            sample: None,
            header_bytes: Bytes(1),
            points: vec![point(1, 24.0), point(4, 40.0)],
            provenance: Provenance::default(),
        };
        assert_eq!(record.points[1].rate(), 40.0 / 64.0);
        assert_eq!(record.points[1].interval(), Some([39.0 / 64.0, 41.0 / 64.0]));
        // Eight bits of a byte of each chunk, then eight of three.
        assert_eq!(record.rates_between(), [1.0, 1.0 / 3.0]);
        assert!(record.is_as(&CurveRecord { points: Vec::new(), ..record.clone() }));
        assert!(!record.is_as(&CurveRecord { weights: Some("a".into()), ..record.clone() }));
    }
}
