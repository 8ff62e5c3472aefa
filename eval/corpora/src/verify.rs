//! Whether a local corpus is the published one.

use std::path::PathBuf;

use lmtrain_runs::Span;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::corpus::Corpus;
use super::directory::DataDirectory;
use super::error::CorpusError;
use super::name::{Request, parse};
use super::open::{find_published, open_file, open_with};
use super::progress::{CorpusProgress, ProgressCallback};

const STEP_BYTES: usize = 1 << 22;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The corpus.
    pub name: String,
    /// The file that it is, or is in; none if the program makes it.
    #[serde(serialize_with = "lmtrain_runs::files::serialize_path_if_any")]
    pub path: Option<PathBuf>,
    /// Bytes that were hashed.
    pub bytes: u64,
    /// Their SHA-256, hexadecimal.
    pub sha256: String,
    /// How it compares.
    pub verdict: Verdict,
    /// Of images and sounds, which were left out, in lines for people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// How a hash compares to the published one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is the same.
    Matches,
    /// It is not this.
    Differs {
        /// The published hash.
        published: String,
    },
    /// There is none to compare to.
    NothingPublished,
}

/// Hashes a corpus that is here, and compares.
///
/// # Errors
/// As [`open_with`]: an absent corpus, too, is an error. One that differs is none.
pub fn verify(
    name_or_path: &str,
    data: &DataDirectory,
    progress: &mut ProgressCallback,
) -> Result<Verification, CorpusError> {
    // A file of the wrong length is not opened by name, but is what this is here to tell of.
    let (corpus, published) = match parse(name_or_path)? {
        Request::Published(name, published) => {
            let held = find_published(name, data)?;
            let whole = open_file(&held.file, name.to_owned(), data, progress)?;
            // In its own file a corpus ends where the file does.
            let corpus = if held.holder == name { whole } else { whole.beginning(published.bytes) };
            (corpus, Some(published.sha256))
        }
        _ => (open_with(name_or_path, data, progress)?, None),
    };
    let sha256 = hash(&corpus, progress)?;
    let verdict = match published {
        None => Verdict::NothingPublished,
        Some(published) if published == sha256 => Verdict::Matches,
        Some(published) => Verdict::Differs { published: published.to_owned() },
    };
    Ok(Verification {
        name: corpus.name().to_owned(),
        path: corpus.path().map(ToOwned::to_owned),
        bytes: corpus.length(),
        sha256,
        verdict,
        left_out: corpus.files().map(|files| files.notes(corpus.medium())).unwrap_or_default(),
    })
}

fn hash(corpus: &Corpus, progress: &mut ProgressCallback) -> Result<String, CorpusError> {
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    for piece in corpus.chunks(STEP_BYTES) {
        hasher.update(piece);
        let end = bytes + piece.len() as u64;
        corpus.release(Span { start: bytes, end });
        bytes = end;
        if progress(CorpusProgress::Hashing { bytes, of: Some(corpus.length()) }).is_break() {
            return Err(CorpusError::Interrupted);
        }
    }
    Ok(format!("{:x}", hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::ops::ControlFlow;

    use super::*;
    use crate::progress::silent;

    #[test]
    fn hashes_are_compared_where_one_is_published() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataDirectory::at(folder.path()).with_cache(folder.path().join("cache"));
        assert!(verify("enwik8", &data, &mut silent).expect_err("absent").is_absent());
        fs::create_dir(data.text()).expect("made");
        fs::write(data.text().join("enwik8"), b"abc").expect("written");
        fs::write(data.text().join("own"), b"abc").expect("written");
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for name in ["enwik8", "enwik7"] {
            let found = verify(name, &data, &mut silent).expect("it is there");
            assert_eq!((found.bytes, &*found.sha256, &*found.name), (3, of_abc, name));
            assert!(matches!(found.verdict, Verdict::Differs { .. }));
        }
        let own = verify("own", &data, &mut silent).expect("it is there");
        assert_eq!((own.verdict, &*own.sha256), (Verdict::NothingPublished, of_abc));
        let source = verify("source", &data, &mut silent).expect("always there");
        assert_eq!(source.path, None);
    }

    #[test]
    fn hashing_stops_when_told() {
        let data = DataDirectory::at("nowhere");
        let error = verify("source", &data, &mut |_| ControlFlow::Break(())).expect_err("stopped");
        assert!(error.is_interrupted());
    }
}
