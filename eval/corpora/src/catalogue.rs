//! The corpora known by name, one row each. Any other text is a file: see
//! [`DataDirectory`](super::DataDirectory).

use super::media::{KODAK, LIBRISPEECH_DEV_CLEAN, LIBRISPEECH_TEST_CLEAN, PublishedSet};

/// A corpus known by name.
#[derive(Debug)]
pub struct KnownCorpus {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Where its bytes come from.
    pub kind: Kind,
}

/// Where the bytes of a known corpus come from.
#[derive(Debug)]
pub enum Kind {
    /// A published file, to be downloaded.
    Published(Published),
    /// A published folder of images or sounds, to be downloaded.
    Set(PublishedSet),
    /// The project's own text, packed into the program.
    Source,
    /// Uniform random bytes.
    Random,
    /// A seeded source of known entropy rate.
    Markov,
}

/// A published file.
#[derive(Debug)]
pub struct Published {
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: &'static str,
    /// Where to get it as a ZIP archive; none if it is a prefix of another corpus and comes with that.
    pub url: Option<&'static str>,
    /// The corpus that begins with exactly these bytes.
    pub prefix_of: Option<&'static str>,
}

/// Every known corpus. To add one, add a row; a new kind is also an arm of
/// [`open_with`](super::open_with).
pub static CORPORA: &[KnownCorpus] = &[
    KnownCorpus {
        name: "enwik7",
        about: "the first 10^7 bytes of enwik8",
        kind: Kind::Published(Published {
            bytes: 10_000_000,
            sha256: "5985c81c39d927ae0e169625790ca4d9e7d1531270c8b09ad73176a375bb3d97",
            url: None,
            prefix_of: Some("enwik8"),
        }),
    },
    KnownCorpus {
        name: "enwik8",
        about: "the first 10^8 bytes of enwik9; the Hutter Prize's first corpus",
        kind: Kind::Published(Published {
            bytes: 100_000_000,
            sha256: "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
            url: Some("https://mattmahoney.net/dc/enwik8.zip"),
            prefix_of: Some("enwik9"),
        }),
    },
    KnownCorpus {
        name: "enwik9",
        about: "the first 10^9 bytes of the English Wikipedia of 3 March 2006, as XML",
        kind: Kind::Published(Published {
            bytes: 1_000_000_000,
            sha256: "159b85351e5f76e60cbe32e04c677847a9ecba3adc79addab6f4c6c7aa3744bc",
            url: Some("https://mattmahoney.net/dc/enwik9.zip"),
            prefix_of: None,
        }),
    },
    KnownCorpus {
        name: "kodak",
        about: "Kodak's 24 photographs (no checksum is published)",
        kind: Kind::Set(KODAK),
    },
    KnownCorpus {
        name: "librispeech-dev-clean",
        about: "5.4 hours of read English, 40 speakers, 16 kHz",
        kind: Kind::Set(LIBRISPEECH_DEV_CLEAN),
    },
    KnownCorpus {
        name: "librispeech-test-clean",
        about: "5.4 hours of read English, 40 other speakers, 16 kHz",
        kind: Kind::Set(LIBRISPEECH_TEST_CLEAN),
    },
    KnownCorpus {
        name: "source",
        about: "this project's own source code and documentation",
        kind: Kind::Source,
    },
    KnownCorpus {
        name: "random",
        about: "uniform random bytes, 8 bits each; options: seed, bytes",
        kind: Kind::Random,
    },
    KnownCorpus {
        name: "markov",
        about: "a source whose entropy rate is known exactly; options: order, alphabet, seed, bytes",
        kind: Kind::Markov,
    },
];

/// The row of this name.
pub(super) fn known(name: &str) -> Option<&'static KnownCorpus> {
    CORPORA.iter().find(|row| row.name == name)
}

/// The published file of the corpus of this name.
pub(super) fn published(name: &str) -> Option<&'static Published> {
    match known(name)?.kind {
        Kind::Published(ref published) => Some(published),
        _ => None,
    }
}

/// A published corpus and those that begin with it, shortest first.
pub(super) fn holders(
    name: &'static str,
) -> impl Iterator<Item = (&'static str, &'static Published)> {
    let row = |name| Some((name, published(name)?));
    std::iter::successors(row(name), move |(_, published)| published.prefix_of.and_then(row))
}

/// Whether two hashes are those of published corpora, one of which is a prefix of the other.
pub(super) fn same_family(left_sha256: &str, right_sha256: &str) -> bool {
    let longest = |sha256: &str| {
        let row = CORPORA.iter().find(
            |row| matches!(&row.kind, Kind::Published(published) if published.sha256 == sha256),
        )?;
        holders(row.name).last().map(|(name, _)| name)
    };
    longest(left_sha256).is_some_and(|name| longest(right_sha256) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_together() {
        for (index, row) in CORPORA.iter().enumerate() {
            assert!(CORPORA[..index].iter().all(|other| other.name != row.name), "{}", row.name);
            let Kind::Published(published) = &row.kind else { continue };
            let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            assert!(published.sha256.len() == 64 && published.sha256.bytes().all(is_hex));
            let lengths: Vec<u64> = holders(row.name).map(|(_, holder)| holder.bytes).collect();
            assert!(lengths.is_sorted() && lengths[0] == published.bytes);
            assert!(holders(row.name).any(|(_, holder)| holder.url.is_some()), "{}", row.name);
        }
    }

    #[test]
    fn families_are_prefixes_of_one_text() {
        let hash = |name| published(name).expect("a published corpus").sha256;
        assert!(same_family(hash("enwik7"), hash("enwik9")));
        assert!(same_family(hash("enwik9"), hash("enwik8")));
        assert!(!same_family(hash("enwik9"), "0000"));
        assert!(!same_family("0000", "0000"));
    }
}
