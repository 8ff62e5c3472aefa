//! Records of generated samples: `samples.jsonl` in a run's folder. They hold the bytes themselves, so that showing
//! them needs neither corpus nor weights.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::medium::Medium;
use crate::record::{Kind, Maker, Provenance};
use crate::units::{Bits, from_hex, hex};

/// Bytes, in hexadecimal in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HexBytes(pub Vec<u8>);

impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes =
            from_hex(&text).ok_or_else(|| serde::de::Error::custom("not hexadecimal bytes"));
        bytes.map(Self)
    }
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleRecord {
    /// Run, compressor or model that drew it.
    pub name: String,
    /// What it was sampled from.
    #[serde(flatten)]
    pub maker: Maker,
    /// Bytes that a compressor looked ahead; 1 is the next byte alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub look_ahead: Option<u64>,

    /// Corpus that the context is of; absent for a prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corpus: Option<String>,
    /// Its chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk: Option<u64>,
    /// What the bytes are of.
    pub medium: Medium,
    /// Lengths in bytes of the given and the sampled stretches, alternating.
    pub stretches: Vec<u64>,
    /// Every byte, given ones too.
    pub bytes: HexBytes,
    /// The bytes that are really there; absent for a prompt, and where the corpus ends before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truth: Option<HexBytes>,

    /// Power, as 1 over it, that probabilities were raised to.
    pub temperature: f64,
    /// Seed of the random bits.
    pub seed: u64,
    /// The number of the sample among those with this seed, from 0.
    pub index: u64,
    /// Σ −log2 p of what was drawn.
    pub bits: Bits,
    /// Where and by what it was made.
    pub provenance: Provenance,
}

impl SampleRecord {
    /// What kind of thing drew it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.maker.kind()
    }

    /// Whether it is the same sample as another: from the same generator and context, with the same random bits.
    #[must_use]
    pub fn is_as(&self, other: &Self) -> bool {
        let same = |record: &Self| Self {
            bits: Bits(0.0),
            provenance: Provenance::default(),
            ..record.clone()
        };
        same(self) == same(other)
    }

    /// The stretches as ranges of the bytes, each with whether it was sampled.
    #[must_use]
    pub fn ranges(&self) -> Vec<(std::ops::Range<usize>, bool)> {
        let mut start = 0;
        let mut ranges = Vec::new();
        for (index, &length) in self.stretches.iter().enumerate() {
            let end = start
                + usize::try_from(length).unwrap_or(usize::MAX).min(self.bytes.0.len() - start);
            ranges.push((start..end, index % 2 == 1));
            start = end;
        }
        ranges
    }

    /// Bytes that were drawn.
    #[must_use]
    pub fn drawn(&self) -> Vec<u8> {
        let drawn = self.ranges().into_iter().filter(|(_, drawn)| *drawn);
        drawn.flat_map(|(range, _)| self.bytes.0[range].to_vec()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::CompressorFacts;

    #[test]
    fn bytes_survive_json_and_stretches_take_turns() {
        let json = serde_json::to_string(&HexBytes(vec![0, 255, 16])).expect("serialises");
        assert_eq!(json, "\"00ff10\"");
        assert_eq!(
            serde_json::from_str::<HexBytes>(&json).expect("reads"),
            HexBytes(vec![0, 255, 16])
        );
        for bad in ["\"0\"", "\"0g\"", "\"é0\""] {
            assert!(serde_json::from_str::<HexBytes>(bad).is_err(), "{bad}");
        }
        let record = SampleRecord {
            name: "gzip".into(),
            maker: Maker::Compressor(CompressorFacts::default()),
            look_ahead: Some(1),
            corpus: None,
            chunk: None,
            medium: Medium::Text,
            stretches: vec![2, 1, 1, 9],
            bytes: HexBytes(b"abcdef".to_vec()),
            truth: None,
            temperature: 1.0,
            seed: 0,
            index: 0,
            bits: Bits(1.0),
            provenance: Provenance::default(),
        };
        assert_eq!(record.drawn(), b"cef");
        assert_eq!(record.ranges()[3], (4..6, true));
        assert!(record.is_as(&SampleRecord { bits: Bits(2.0), ..record.clone() }));
        assert!(!record.is_as(&SampleRecord { seed: 1, ..record.clone() }));
    }
}
