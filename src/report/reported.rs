//! The paper's own numbers (Delétang et al., "Language Modeling Is Compression", ICLR 2024, Tables 1 and 2), shown
//! beside our measurements and never mixed with them. All are for the 10^9 bytes of enwik9; the Transformers were
//! trained on enwik8.

use lmtrain_runs::record::{Chunking, Kind};

/// How the source is named in a figure.
pub(crate) const SOURCE: &str = "Delétang et al. 2024";
/// The corpus of every row.
pub(crate) const CORPUS: &str = "enwik9";

/// How columns and curves of what the paper reports are headed.
#[must_use]
pub(crate) fn head() -> String {
    format!("{CORPUS}, as reported")
}

/// A row of the paper's Table 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reported {
    /// What kind of thing compressed.
    pub(crate) kind: Kind,
    /// Compressor or size, by the names that records use.
    pub(crate) name: &'static str,
    /// How the corpus was cut.
    pub(crate) chunking: Chunking,
    /// Parameters as the paper names them; 0 for a compressor.
    pub(crate) parameters: f64,
    /// Raw rate in percent.
    pub(crate) raw: f64,
    /// Adjusted rate in percent.
    pub(crate) adjusted: f64,
}

const CHUNKS: Chunking = Chunking::Bytes(2048);

const fn compressor(name: &'static str, chunking: Chunking, rate: f64) -> Reported {
    Reported { kind: Kind::Compressor, name, chunking, parameters: 0.0, raw: rate, adjusted: rate }
}

const fn model(kind: Kind, name: &'static str, parameters: f64, rates: [f64; 2]) -> Reported {
    Reported { kind, name, chunking: CHUNKS, parameters, raw: rates[0], adjusted: rates[1] }
}

/// Table 1, column enwik9. Llama 2 is of the paper's second version, whose raw rate we know; its adjusted rate is
/// that and 2 bytes for each of 7·10^9 parameters.
pub(crate) const TABLE_1: [Reported; 15] = [
    compressor("gzip", Chunking::Whole, 32.3),
    compressor("lzma2", Chunking::Whole, 23.0),
    compressor("png", Chunking::Whole, 42.9),
    compressor("flac", Chunking::Whole, 89.5),
    compressor("gzip", CHUNKS, 48.1),
    compressor("lzma2", CHUNKS, 50.0),
    compressor("png", CHUNKS, 80.6),
    compressor("flac", CHUNKS, 88.9),
    model(Kind::Run, "200K", 200e3, [30.9, 30.9]),
    model(Kind::Run, "800K", 800e3, [21.7, 21.9]),
    model(Kind::Run, "3.2M", 3.2e6, [17.0, 17.7]),
    model(Kind::Pretrained, "Chinchilla 1B", 1e9, [11.3, 211.3]),
    model(Kind::Pretrained, "Chinchilla 7B", 7e9, [10.2, 1410.2]),
    model(Kind::Pretrained, "Chinchilla 70B", 70e9, [8.3, 14008.3]),
    model(Kind::Pretrained, "Llama 2 7B", 7e9, [8.9, 1408.9]),
];

/// Sizes of the columns of the paper's Table 2.
pub(crate) const TABLE_2_SIZES: [&str; 3] = ["200K", "6.4M", "38M"];

/// Table 2: raw rates in percent on enwik9 by vocabulary (bytes are 256 tokens) and size.
pub(crate) const TABLE_2: [(usize, [f64; 3]); 6] = [
    (256, [22.9, 13.6, 6.4]),
    (1000, [25.4, 14.8, 6.9]),
    (2000, [25.6, 15.7, 7.4]),
    (5000, [23.1, 17.1, 8.7]),
    (10_000, [21.3, 17.0, 8.9]),
    (20_000, [19.3, 16.4, 9.0]),
];

/// The rows of the Transformers that the authors trained.
pub(crate) fn transformers() -> impl Iterator<Item = &'static Reported> {
    TABLE_1.iter().filter(|row| row.kind == Kind::Run)
}

/// The rows of foundation models.
pub(crate) fn pretrained() -> impl Iterator<Item = &'static Reported> {
    TABLE_1.iter().filter(|row| row.kind == Kind::Pretrained)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lmtrain_runs::Size;

    #[test]
    fn the_adjusted_rate_is_the_raw_one_and_two_bytes_a_parameter() {
        for row in TABLE_1 {
            let cost = 100.0 * 2.0 * row.parameters / 1e9;
            assert!((row.adjusted - row.raw - cost).abs() < 0.41, "{row:?}");
        }
    }

    #[test]
    fn transformers_are_of_the_ladder() {
        let sizes = transformers().map(|row| row.name.parse::<Size>());
        assert_eq!(sizes.filter(Result::is_ok).count(), 3);
        assert!(TABLE_2_SIZES.iter().all(|name| name.parse::<Size>().is_ok()));
    }
}
