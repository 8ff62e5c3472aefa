//! Corpora: the bytes that everything starts from. A name or a path becomes a [`Corpus`], whose bytes are read from a
//! file (long files are memory-mapped), built into the program, or generated from a seed.
//!
//! ```text
//! name ─ name ─► open ─┬─ catalogue, directory   which file, and where
//!                      ├─ container              what the file is, by its first bytes
//!                      ├─ archive, cache         compressed → a file that can be mapped
//!                      ├─ media                  a folder of images or sounds → a file that can be mapped
//!                      └─ random, markov         generated
//! mixture: several corpora to train on   encoded: a part's tokens, kept as a file
//! fetch, verify: downloads and their hashes      split: which bytes train, which were trained on
//! ```
//!
//! ```
//! use lmtrain_corpora::{DataDirectory, Part, Split, open};
//! use lmtrain_runs::plan::TrainOn;
//!
//! // A source whose entropy is known; a file is opened in the same way, by its name or its path.
//! let corpus = open("markov:bytes=100K,seed=7", &DataDirectory::at("data"))?;
//! assert_eq!(corpus.length(), 100_000);
//! assert!(corpus.entropy_rate().is_some());
//!
//! // The last tenth is not trained on: half of it validates, half of it tests.
//! let split = Split::of_corpus(&corpus, TrainOn::Split);
//! let held_out = corpus.slice(split.span(Part::Test));
//! assert_eq!(held_out.len(), 5_000);
//! # Ok::<(), lmtrain_corpora::CorpusError>(())
//! ```

mod archive;
mod cache;
mod catalogue;
mod container;
mod corpus;
mod directory;
mod download;
mod encoded;
mod error;
mod fetch;
mod files;
mod format;
mod listing;
mod markov;
mod media;
mod members;
mod mixture;
mod name;
mod open;
mod part_file;
mod progress;
mod random;
mod source;
mod split;
#[cfg(test)]
mod test_download;
#[cfg(test)]
mod test_folder;
#[cfg(test)]
mod test_server;
mod trained_on;
mod transfer;
mod unpacking;
mod verify;
mod xz_index;

pub use catalogue::{CORPORA, Kind, KnownCorpus, Published};
pub use corpus::{Corpus, CorpusIdentity};
pub use directory::DataDirectory;
pub use download::{FetchOptions, Fetched};
pub use encoded::Encoded;
pub use error::CorpusError;
pub use fetch::fetch;
pub use files::MappedFile;
pub use listing::{Listing, Presence};
pub use lmtrain_runs::Medium;
pub use markov::MarkovSource;
pub use media::{Files, LeftOut, PublishedSet};
pub use mixture::{Ingredient, Mixture, Planned};
pub use name::{MarkovOptions, RandomOptions};
pub use open::{open, open_strictly, open_with};
pub use progress::{CorpusProgress, ProgressCallback};
pub use split::{Part, Split};
pub use trained_on::TrainedOn;
pub use verify::{Verdict, Verification, verify};
