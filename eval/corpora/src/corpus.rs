//! A corpus: bytes with a name, an identity and, where it is known, an entropy rate.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use lmtrain_runs::record::{Excerpt, Sample};
use lmtrain_runs::{Bytes, Medium, Span};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::CorpusError;
use super::files::Contents;
use super::media::Files;

/// Bytes that are hashed before their memory is released.
const HASHED_AT_ONCE: usize = 16 << 20;
/// Bytes at the beginning of a file that decide whether it is text.
const TELLING_BYTES: usize = 8000;

/// Bytes to train on, to score and to code. Reading a mapped file is what brings it from the disk.
pub struct Corpus {
    name: String,
    contents: Contents,
    /// At most `contents.len()`: a corpus may be the beginning of a longer file.
    length: usize,
    path: Option<PathBuf>,
    entropy_rate: Option<f64>,
    sha256: OnceLock<String>,
    medium: Option<Medium>,
    /// The files that it was decoded from, if it was.
    files: Option<Arc<Files>>,
}

/// What distinguishes a corpus from every other, as plans and records keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorpusIdentity {
    /// What it was called.
    pub name: String,
    /// Its length.
    pub bytes: Bytes,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
}

impl Corpus {
    pub(super) fn new(name: String, contents: Contents) -> Self {
        let length = contents.len();
        let sha256 = OnceLock::new();
        Self {
            name,
            contents,
            length,
            path: None,
            entropy_rate: None,
            sha256,
            medium: None,
            files: None,
        }
    }

    /// A corpus of bytes in memory.
    #[must_use]
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self::new(name.into(), Contents::Owned(bytes))
    }

    pub(super) fn at_path(self, path: &Path) -> Self {
        Self { path: Some(path.to_owned()), ..self }
    }

    pub(super) fn with_entropy_rate(self, rate: f64) -> Self {
        Self { entropy_rate: Some(rate), ..self }
    }

    pub(super) fn with_medium(self, medium: Medium) -> Self {
        Self { medium: Some(medium), ..self }
    }

    pub(super) fn with_files(self, files: Arc<Files>) -> Self {
        Self { files: Some(files), ..self }
    }

    /// The same, with a hash that is known already.
    pub(super) fn with_sha256(self, sha256: String) -> Self {
        Self { sha256: sha256.into(), ..self }
    }

    /// Only its first `length` bytes; all of them if it has no more.
    pub(super) fn beginning(self, length: u64) -> Self {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(self.length);
        Self { length, sha256: OnceLock::new(), ..self }
    }

    /// Its name, in the form that records keep: `enwik8`, `wiki15-8`, `markov:order=3`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every byte.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.contents[..self.length]
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length as u64
    }

    /// The bytes of a span.
    ///
    /// # Panics
    /// If the span reaches beyond the end.
    #[must_use]
    pub fn slice(&self, span: Span) -> &[u8] {
        &self.bytes()[span.start as usize..span.end as usize]
    }

    /// The file that it comes from, as the user knows it: the `.xz` file, not its unpacked copy. None if the program
    /// generates it.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// SHA-256 of its bytes, hexadecimal. The first call reads all of them.
    #[must_use]
    pub fn sha256(&self) -> &str {
        self.sha256.get_or_init(|| {
            let mut hash = Sha256::new();
            for start in (0..self.length).step_by(HASHED_AT_ONCE) {
                let range = start..self.length.min(start + HASHED_AT_ONCE);
                hash.update(&self.contents[range.clone()]);
                self.contents.release(range);
            }
            format!("{:x}", hash.finalize())
        })
    }

    /// Releases the memory of bytes that will not be needed again soon, if they come from a file, so that a long
    /// corpus is never in memory as a whole.
    pub fn release(&self, span: Span) {
        let end = (span.end as usize).min(self.length);
        self.contents.release((span.start as usize).min(end)..end);
    }

    /// Checks that its file still has its original length, if the file is long and so still being read from.
    ///
    /// # Errors
    /// [`CorpusError::Shortened`] if not: what was read since cannot be trusted.
    pub fn check_length(&self) -> Result<(), CorpusError> {
        self.contents.check_length(self.path().unwrap_or(Path::new(&self.name)))
    }

    /// The medium of its bytes. A file is text unless there is a zero byte among its first bytes.
    #[must_use]
    pub fn medium(&self) -> Medium {
        let beginning = &self.bytes()[..self.length.min(TELLING_BYTES)];
        let guessed = if beginning.contains(&0) { Medium::Bytes } else { Medium::Text };
        self.medium.unwrap_or(guessed)
    }

    /// What a record says about it: all of its bytes, some, or a sample. As with [`Self::sha256`], the first call
    /// reads the whole corpus.
    #[must_use]
    pub fn excerpt(&self, span: Span, sample: Option<Sample>) -> Excerpt {
        Excerpt {
            corpus: self.name.clone(),
            corpus_sha256: self.sha256().to_owned(),
            medium: Some(self.medium()),
            span,
            sample,
        }
    }

    /// The files that it was decoded from, if it is a set of images or sounds.
    #[must_use]
    pub fn files(&self) -> Option<&Files> {
        self.files.as_deref()
    }

    /// Bits per byte that no code can go below on average; none for a text of people.
    #[must_use]
    pub fn entropy_rate(&self) -> Option<f64> {
        self.entropy_rate
    }

    /// Name, length and hash, for plans and records.
    #[must_use]
    pub fn identity(&self) -> CorpusIdentity {
        CorpusIdentity {
            name: self.name.clone(),
            bytes: Bytes(self.length()),
            sha256: self.sha256().to_owned(),
        }
    }
}

/// SHA-256 in lower-case hexadecimal.
pub(super) fn sha256_of(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

impl Deref for Corpus {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes()
    }
}

impl fmt::Debug for Corpus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Corpus({}, {})", self.name, Bytes(self.length()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_corpus_of_its_own() {
        let whole = Corpus::from_bytes("abc", b"abc".to_vec());
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(whole.sha256(), expected);
        let beginning = whole.beginning(2);
        assert_eq!((beginning.bytes(), beginning.length()), (&b"ab"[..], 2));
        assert_eq!(beginning.sha256(), sha256_of(b"ab"));
        assert_eq!(beginning.slice(Span { start: 1, end: 2 }), b"b");
        assert_eq!(beginning.beginning(9).bytes(), b"ab");
    }

    #[test]
    fn what_has_a_zero_byte_is_no_text() {
        let medium = |bytes: &[u8]| Corpus::from_bytes("x", bytes.to_vec()).medium();
        assert_eq!(medium("Grüße".as_bytes()), Medium::Text);
        assert_eq!(medium(b"\xff\xd8\xff\xe0\0\x10JFIF"), Medium::Bytes);
        assert_eq!(medium(b""), Medium::Text);
        let patches = Corpus::from_bytes("x", vec![1; 10]).with_medium(Medium::PATCHES);
        assert_eq!(patches.medium(), Medium::PATCHES);
    }

    #[test]
    fn corpora_are_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Corpus>();
    }
}
