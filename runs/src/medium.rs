//! The medium of a corpus: text, images, sound, or bytes of no known kind. Compressors, masks, samples and figures ask
//! for the medium, never for a corpus's name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Pixels of a row of a patch.
pub const PATCH_WIDTH: u32 = 64;
/// Rows of a patch.
pub const PATCH_HEIGHT: u32 = 32;
/// Bytes of a chunk of images or sounds: a patch, 2048 samples of 8 bits, or 1024 of 16. It is part of one file.
pub const MEDIA_CHUNK_BYTES: u64 = 2048;

/// The medium of a corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Medium {
    /// Text in any encoding.
    Text,
    /// Patches of grey images, one after another, each row by row, a byte a pixel.
    GrayImages {
        /// Pixels of a row of a patch.
        width: u32,
        /// Rows of a patch.
        height: u32,
    },
    /// Samples of one channel: of 8 bits with 128 for silence, or of 16 bits, signed, the low byte first.
    Audio {
        /// Bits of a sample: 8 or 16.
        bits: u32,
        /// Samples a second.
        rate_hz: u32,
    },
    /// Anything else.
    Bytes,
}

impl Medium {
    /// Patches as the paper cuts them: 64 wide and 32 high.
    pub const PATCHES: Self = Self::GrayImages { width: PATCH_WIDTH, height: PATCH_HEIGHT };

    /// Whether it was decoded from images or sounds, so that it has fixed chunks of [`MEDIA_CHUNK_BYTES`] and is
    /// divided by whole files.
    #[must_use]
    pub fn is_decoded(self) -> bool {
        matches!(self, Self::GrayImages { .. } | Self::Audio { .. })
    }

    /// Bytes of a pixel or a sample, or of one step in other bytes.
    #[must_use]
    pub fn bytes_of_a_sample(self) -> u64 {
        match self {
            Self::Audio { bits, .. } => u64::from(bits.div_ceil(8)),
            _ => 1,
        }
    }
}

impl fmt::Display for Medium {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => formatter.pad("text"),
            Self::Bytes => formatter.pad("bytes"),
            Self::GrayImages { width, height } => {
                formatter.pad(&format!("grey images, {width} × {height}"))
            }
            Self::Audio { bits, rate_hz } => {
                formatter.pad(&format!("sound, {bits} bits, {rate_hz} Hz"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_survive_json() {
        let speech = Medium::Audio { bits: 16, rate_hz: 16_000 };
        for (medium, json, shown) in [
            (Medium::Text, "\"text\"", "text"),
            (Medium::Bytes, "\"bytes\"", "bytes"),
            (
                Medium::PATCHES,
                "{\"gray-images\":{\"width\":64,\"height\":32}}",
                "grey images, 64 × 32",
            ),
            (speech, "{\"audio\":{\"bits\":16,\"rate_hz\":16000}}", "sound, 16 bits, 16000 Hz"),
        ] {
            assert_eq!(serde_json::to_string(&medium).expect("serialises"), json);
            assert_eq!(serde_json::from_str::<Medium>(json).expect("reads back"), medium);
            assert_eq!(medium.to_string(), shown);
        }
        assert_eq!(u64::from(PATCH_WIDTH * PATCH_HEIGHT), MEDIA_CHUNK_BYTES);
        assert!(speech.is_decoded() && !Medium::Bytes.is_decoded());
        assert_eq!((speech.bytes_of_a_sample(), Medium::PATCHES.bytes_of_a_sample()), (2, 1));
    }
}
