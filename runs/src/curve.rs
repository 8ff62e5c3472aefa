//! Records of the rate against context: `curves.jsonl` in a run's folder. A point is the compressed size of the first n
//! bytes of chunks.

use serde::{Deserialize, Serialize};

use crate::record::{Chunking, Excerpt, Kind, Maker, Provenance, RateRecord};
use crate::units::{Bits, Bytes};

/// The rate of one subject on one corpus, against the length of the compressed data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurveRecord {
    /// Run, compressor or model.
    pub name: String,
    /// What compressed.
    #[serde(flatten)]
    pub maker: Maker,
    /// What it was measured on.
    #[serde(flatten)]
    pub excerpt: Excerpt,
    /// Bytes of a chunk.
    pub chunk_bytes: u64,
    /// The compressed size of one zero byte, which counts once at each point.
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
    /// Raw bytes of all chunks that are at least this long.
    pub raw_bytes: Bytes,
    /// Their compressed size, with the header counted once.
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
    /// What kind of thing was measured.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.maker.kind()
    }

    /// Whether it measures the same as another: with the same weights, or with the same library.
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

    /// An empty curve for the subject of a rate. Absent for a whole corpus, or for chunks of tokens.
    #[must_use]
    pub fn beside(record: &RateRecord) -> Option<Self> {
        let Chunking::Bytes(chunk_bytes) = record.chunking else { return None };
        let medium = Some(record.excerpt.medium());
        Some(Self {
            name: record.name.clone(),
            maker: record.facts.maker(),
            excerpt: Excerpt { medium, ..record.excerpt.clone() },
            chunk_bytes,
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
    use crate::medium::Medium;
    use crate::record::{CompressorFacts, Span, WeightsOf};

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
            maker: Maker::Compressor(CompressorFacts::default()),
            excerpt: Excerpt {
                corpus: "notes".into(),
                corpus_sha256: String::new(),
                medium: Some(Medium::Text),
                span: Span { start: 0, end: 8 },
                sample: None,
            },
            chunk_bytes: 4,
            header_bytes: Bytes(1),
            points: vec![point(1, 24.0), point(4, 40.0)],
            provenance: Provenance::default(),
        };
        assert_eq!(record.points[1].rate(), 40.0 / 64.0);
        assert_eq!(record.points[1].interval(), Some([39.0 / 64.0, 41.0 / 64.0]));
        // Eight bits of a byte of each chunk, then eight of three.
        assert_eq!(record.rates_between(), [1.0, 1.0 / 3.0]);
        assert!(record.is_as(&CurveRecord { points: Vec::new(), ..record.clone() }));
        let weights = WeightsOf { weights: Some("a".into()) };
        assert!(!record.is_as(&CurveRecord { maker: Maker::Run(weights), ..record.clone() }));
    }
}
