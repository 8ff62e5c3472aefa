//! The result of decoding one file of a set.

/// Bytes of an image that its decoder may take.
pub(crate) const MOST_IMAGE_BYTES: u64 = 1 << 30;

/// The result of decoding a file.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// Whole chunks, and of sounds how many samples a second they have.
    Chunks { bytes: Vec<u8>, rate_hz: Option<u32> },
    /// It does not fill one chunk: how large it is.
    TooShort(String),
    /// It does not decode: why not.
    Broken(String),
}
