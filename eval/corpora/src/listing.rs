//! The corpora that are available: known ones, text files, and folders of images and sounds, each with the name that
//! opens it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lmtrain_runs::Medium;
use lmtrain_runs::medium::MEDIA_CHUNK_BYTES;
use serde::Serialize;

use super::archive::unpacked_length;
use super::catalogue::{CORPORA, Kind, holders};
use super::container::format_of;
use super::directory::{DataDirectory, ORIGIN_SUFFIX, PART_SUFFIX, corpus_name};
use super::error::CorpusError;
use super::media::{MediaKind, in_directory, known_files, look_over};

/// A corpus, here or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// What to call it.
    pub name: String,
    /// Whether it is here.
    pub presence: Presence,
    /// The file that it is, or is in; of images and sounds the folder.
    #[serde(serialize_with = "lmtrain_runs::files::serialize_path_if_any")]
    pub path: Option<PathBuf>,
    /// Length of that file, or of the folder's images or sounds together.
    pub bytes_on_disk: Option<u64>,
    /// Length of the corpus, if that is known without unpacking or decoding it.
    pub bytes: Option<u64>,
    /// Its chunks of 2048 bytes, if its length is known.
    pub chunks: Option<u64>,
    /// `text`, `images`, `audio` or `bytes`.
    pub holds: &'static str,
    /// What its bytes are of, if images or sounds were decoded before.
    pub medium: Option<Medium>,
    /// How many images or sounds there are.
    pub files: Option<u64>,
    /// Why the file cannot be opened as a corpus, if its first bytes show this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
    /// What it is, of known ones.
    pub about: Option<&'static str>,
}

/// Whether a corpus is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// As a file.
    Present,
    /// As the beginning of this other corpus, which is.
    PrefixOf(String),
    /// Not here, but can be fetched.
    Absent,
    /// In the program.
    AlwaysThere,
}

impl Listing {
    /// Whether it is a file that can be opened as a corpus, judged by its first bytes.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.presence == Presence::Present && self.obstacle.is_none()
    }
}

impl DataDirectory {
    /// Known corpora, in the order of their table, then every other file in `text/`, and every other folder in
    /// `images/` and `audio/`, by name.
    ///
    /// # Errors
    /// If one of these is there and cannot be read.
    pub fn list(&self) -> Result<Vec<Listing>, CorpusError> {
        let mut files = self.files()?;
        let mut sets = self.sets()?;
        let mut listings = Vec::new();
        for row in CORPORA {
            let found = match &row.kind {
                Kind::Published(_) => self.published(row.name, files.remove(row.name)),
                Kind::Set(set) => match sets.remove(&(set.kind, row.name.to_owned())) {
                    Some(listing) => listing,
                    None => Listing { holds: set.kind.name(), ..absent(row.name, None) },
                },
                // Their names never mean a file.
                generated => {
                    files.remove(row.name);
                    generated.listing(row.name)
                }
            };
            listings.push(Listing { about: Some(row.about), ..found });
        }
        listings.extend(files.into_iter().map(|(name, file)| present(name, &file)));
        listings.extend(sets.into_values());
        Ok(listings)
    }

    /// Every set of images or sounds, by kind and the name of its folder.
    fn sets(&self) -> Result<BTreeMap<(MediaKind, String), Listing>, CorpusError> {
        let mut sets = BTreeMap::new();
        for kind in MediaKind::ALL {
            let folder = self.root.join(kind.name());
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(CorpusError::file("read", &folder))?,
            };
            for entry in entries {
                let path = entry.map_err(CorpusError::file("read", &folder))?.path();
                let name = shown_name(&path);
                if name.starts_with('.') || !path.is_dir() {
                    continue;
                }
                let listing = match obstacle_of_name(&path) {
                    None => self.set_listing(kind, &name)?,
                    obstacle => Listing {
                        presence: Presence::Present,
                        path: Some(path),
                        holds: kind.name(),
                        obstacle,
                        ..absent(&name, None)
                    },
                };
                sets.insert((kind, name), listing);
            }
        }
        Ok(sets)
    }

    fn set_listing(&self, kind: MediaKind, name: &str) -> Result<Listing, CorpusError> {
        let set = in_directory(kind, name, self).set(name, Default::default())?;
        let looked_over = look_over(&set).ok();
        let known = known_files(&set, self);
        let chunks = known.as_ref().map(|(_, files)| files.chunks());
        Ok(Listing {
            presence: Presence::Present,
            path: Some(set.folder),
            bytes_on_disk: looked_over.map(|(_, bytes)| bytes),
            bytes: chunks.map(|chunks| chunks * MEDIA_CHUNK_BYTES),
            chunks,
            holds: kind.name(),
            medium: known.map(|(medium, _)| medium),
            files: looked_over.map(|(files, _)| files),
            ..absent(&set.name, None)
        })
    }

    fn published(&self, name: &'static str, file: Option<PathBuf>) -> Listing {
        if let Some(file) = file {
            return present(name.to_owned(), &file);
        }
        let bytes = holders(name).next().map(|(_, published)| published.bytes);
        let longer =
            holders(name).skip(1).find_map(|(holder, _)| Some((holder, self.file_of(holder)?)));
        match longer {
            Some((holder, file)) => Listing {
                presence: Presence::PrefixOf(holder.to_owned()),
                chunks: bytes.map(chunks_of),
                bytes,
                ..present(name.to_owned(), &file)
            },
            None => absent(name, bytes),
        }
    }

    /// Every file in `text/` by the name that opens it.
    fn files(&self) -> Result<BTreeMap<String, PathBuf>, CorpusError> {
        let folder = self.text();
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries.map_err(CorpusError::file("read", &folder))?,
        };
        let mut files = BTreeMap::new();
        for entry in entries {
            let path = entry.map_err(CorpusError::file("read", &folder))?.path();
            let file_name = shown_name(&path);
            let is_unfinished =
                file_name.ends_with(PART_SUFFIX) || file_name.ends_with(ORIGIN_SUFFIX);
            if file_name.starts_with('.') || is_unfinished || !path.is_file() {
                continue;
            }
            let stem = corpus_name(&path);
            let opens = self.file_of(&stem).as_deref() == Some(&path);
            let name = if opens { stem } else { file_name };
            files.insert(name, path);
        }
        Ok(files)
    }
}

fn present(name: String, file: &Path) -> Listing {
    let format = format_of(file);
    Listing {
        presence: Presence::Present,
        path: Some(file.to_owned()),
        bytes_on_disk: file.metadata().ok().map(|metadata| metadata.len()),
        obstacle: obstacle_of_name(file).or(format.as_ref().err().map(ToString::to_string)),
        ..absent(&name, format.ok().and_then(|format| unpacked_length(file, format)))
    }
}

/// The name of a file or folder; what is not UTF-8 of it is replaced.
fn shown_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Why no name of a corpus can mean this file or folder.
fn obstacle_of_name(path: &Path) -> Option<String> {
    let is_utf8 = path.file_name().is_some_and(|name| name.to_str().is_some());
    (!is_utf8).then(|| "its name is not valid UTF-8\nhint: rename it".to_owned())
}

/// Its chunks, the last one shorter if need be.
fn chunks_of(bytes: u64) -> u64 {
    bytes.div_ceil(MEDIA_CHUNK_BYTES)
}

/// A text that is not here, of so many bytes if that is known.
fn absent(name: &str, bytes: Option<u64>) -> Listing {
    Listing {
        name: name.to_owned(),
        presence: Presence::Absent,
        path: None,
        bytes_on_disk: None,
        bytes,
        chunks: bytes.map(chunks_of),
        holds: "text",
        medium: None,
        files: None,
        obstacle: None,
        about: None,
    }
}

impl Kind {
    /// A corpus that is in the program.
    fn listing(&self, name: &str) -> Listing {
        let (bytes, holds) = match self {
            Self::Random => (super::name::RandomOptions::default().bytes, "bytes"),
            Self::Markov => (super::name::MarkovOptions::default().bytes, "bytes"),
            _ => (super::source::SOURCE.len() as u64, "text"),
        };
        Listing { presence: Presence::AlwaysThere, holds, ..absent(name, Some(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::packed;
    use crate::format::Format;

    #[test]
    fn everything_is_listed_under_the_name_that_opens_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataDirectory::at(folder.path());
        let named = |name: &str| {
            let listings = data.list().expect("lists");
            listings.into_iter().find(|listing| listing.name == name)
        };
        assert_eq!(data.list().expect("nothing but the known").len(), CORPORA.len());
        assert_eq!(named("enwik7").map(|listing| listing.presence), Some(Presence::Absent));
        assert_eq!(named("source").map(|listing| listing.presence), Some(Presence::AlwaysThere));
        fs::create_dir_all(data.text().join("folder")).expect("made");
        for file in ["a", "b.txt", ".hidden", "enwik9.part"] {
            fs::write(data.text().join(file), b"abc").expect("written");
        }
        for file in ["enwik8.gz", "a.xz"] {
            let packed = packed(b"abc", Format::of_name(Path::new(file)).expect("a suffix"));
            fs::write(data.text().join(file), packed).expect("written");
        }
        fs::write(data.text().join("c.7z"), b"7z\xbc\xaf\x27\x1c").expect("written");
        let seven = named("enwik7").expect("listed");
        assert_eq!(seven.presence, Presence::PrefixOf("enwik8".to_owned()));
        assert_eq!((seven.bytes, seven.bytes_on_disk), (Some(10_000_000), Some(23)));
        let eight = named("enwik8").expect("listed");
        assert_eq!((eight.presence, eight.bytes), (Presence::Present, None));
        assert_eq!(named("a").and_then(|listing| listing.bytes), Some(3));
        for name in ["a.xz", "b"] {
            assert!(named(name).is_some_and(|listing| listing.is_here()), "{name}");
        }
        let refused = named("c.7z").expect("listed").obstacle.expect("it is no corpus");
        assert!(refused.contains("a 7z archive"), "{refused}");
        assert_eq!(data.list().expect("lists").len(), CORPORA.len() + 4);
        assert_eq!((named("b").and_then(|it| it.chunks), seven.chunks), (Some(1), Some(4883)));
    }

    #[test]
    fn sets_of_images_and_sounds_are_listed() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataDirectory::at(folder.path()).with_cache(folder.path().join("cache"));
        let named = |name: &str| {
            let listings = data.list().expect("lists");
            listings.into_iter().find(|listing| listing.name == name).expect(name)
        };
        let kodak = named("kodak");
        assert_eq!((kodak.presence, kodak.holds), (Presence::Absent, "images"));
        for file in ["images/kodak/1.pnm", "audio/kodak/a.wav", "audio/speech/a/b.wav"] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            let patch = [&b"P5 64 32 255\n"[..], &[7; 2048]].concat();
            fs::write(path, patch).expect("written");
        }
        fs::create_dir(folder.path().join("images/.coming")).expect("made");
        let kodak = named("images/kodak");
        assert_eq!((kodak.presence, kodak.files, kodak.chunks), (Presence::Present, Some(1), None));
        assert_eq!(kodak.bytes_on_disk, Some(2061));
        assert_eq!((named("audio/kodak").holds, named("speech").files), ("audio", Some(1)));
        assert_eq!(data.list().expect("lists").len(), CORPORA.len() + 2);
        crate::open("images/kodak", &data).expect("opens");
        let kodak = named("images/kodak");
        assert_eq!((kodak.chunks, kodak.medium), (Some(1), Some(Medium::PATCHES)));
        fs::write(folder.path().join("images/kodak/2.pnm"), b"P5").expect("written");
        assert_eq!(named("images/kodak").chunks, None, "it is another set now");
    }
}
