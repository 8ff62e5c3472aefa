//! Opening a corpus by what the user wrote.

use std::path::{Path, PathBuf};

use lmtrain_runs::Medium;

use super::cache::unpacked;
use super::catalogue::{Kind, Published, holders, known};
use super::container::{HEAD_BYTES, check_unpacked, format_of};
use super::corpus::Corpus;
use super::directory::{DataDirectory, corpus_name, path_corpus_name};
use super::error::CorpusError;
use super::files::{Contents, open_bytes};
use super::format::Format;
use super::markov::MarkovSource;
use super::media::{MediaKind, find, open_set};
use super::mixture::is_mixture;
use super::name::{MarkovOptions, RAW, RandomOptions, Request, parse};
use super::progress::{ProgressCallback, silent};
use super::random::uniform_bytes;
use super::source::SOURCE;

/// Opens a corpus by name or path.
///
/// A name is a known corpus, with options after a colon if it takes any (`markov:order=3,seed=7`); otherwise a file in
/// the data directory; otherwise a file in the working directory. Text with a path separator is a path. A file is
/// unpacked if its first bytes show that it is compressed, and refused if they show that it is an archive of several
/// files; after `raw:` its bytes are used as they are.
///
/// # Errors
/// If there is no such corpus, its name is none, or its file cannot be read or unpacked.
pub fn open(name_or_path: &str, data: &DataDirectory) -> Result<Corpus, CorpusError> {
    open_with(name_or_path, data, &mut silent)
}

/// As [`open`], telling how far it is when a compressed file is unpacked for the first time.
///
/// # Errors
/// As [`open`]; [`CorpusError::Interrupted`] if the callback says so.
pub fn open_with(
    name_or_path: &str,
    data: &DataDirectory,
    progress: &mut ProgressCallback,
) -> Result<Corpus, CorpusError> {
    match parse(name_or_path)? {
        Request::Published(name, published) => open_published(name, published, data, progress),
        Request::Source => Ok(Corpus::new("source".to_owned(), Contents::Packed(SOURCE))),
        Request::Random(options) => Ok(random(&options)),
        Request::Markov(options) => markov(&options),
        Request::RawPath(path) => open_raw(path, vec![path.to_owned()], data),
        Request::RawFile(name) => match data.file_of(name) {
            Some(file) => open_raw(&file, Vec::new(), data),
            None => {
                let looked_for = vec![data.text().join(name), PathBuf::from(name)];
                open_raw(Path::new(name), looked_for, data)
            }
        },
        Request::Path(path) => {
            match if path.is_file() { None } else { find(name_or_path, data)? } {
                Some(set) => open_set(&set, data, progress),
                None => open_path(path, vec![path.to_owned()], data, progress),
            }
        }
        Request::File(name) | Request::Set(name, _) => open_named(name, data, progress),
    }
}

/// Opens what is in the data directory under this name: a text, or else a set of images or sounds; or else what is in
/// the working directory.
fn open_named(
    name: &str,
    data: &DataDirectory,
    progress: &mut ProgressCallback,
) -> Result<Corpus, CorpusError> {
    if let Some(file) = data.file_of(name) {
        return open_file(&file, corpus_name(&file), data, progress);
    }
    if let Some(set) = find(name, data)? {
        return open_set(&set, data, progress);
    }
    let mut looked_for = vec![data.looked_for(name)];
    looked_for.extend(MediaKind::ALL.map(|kind| data.set_folder(kind.name(), name)));
    if let Some(Kind::Set(_)) = known(name).map(|row| &row.kind) {
        let hint = data.command(&format!("data fetch {name}"));
        return Err(CorpusError::Absent { name: name.to_owned(), looked_for, hint });
    }
    looked_for.push(PathBuf::from(name));
    open_path(Path::new(name), looked_for, data, progress)
}

/// As [`open_with`], but a file of a set that does not decode is an error instead of left out.
///
/// # Errors
/// As [`open_with`]; [`CorpusError::Undecodable`].
pub fn open_strictly(
    name_or_path: &str,
    data: &DataDirectory,
    progress: &mut ProgressCallback,
) -> Result<Corpus, CorpusError> {
    let corpus = open_with(name_or_path, data, progress)?;
    match corpus.files().map(|files| &files.broken).filter(|broken| broken.count > 0) {
        None => Ok(corpus),
        Some(broken) => Err(CorpusError::Undecodable {
            name: corpus.name().to_owned(),
            count: broken.count,
            files: broken.named(),
        }),
    }
}

/// A published corpus's bytes on this machine.
pub(super) struct Held {
    /// The published corpus of the file: the requested one, or one of which it is a prefix.
    pub(super) holder: &'static str,
    pub(super) holder_bytes: u64,
    pub(super) file: PathBuf,
}

/// Finds a published corpus in the data directory: its own file, else the next longer one's.
pub(super) fn find_published(
    name: &'static str,
    data: &DataDirectory,
) -> Result<Held, CorpusError> {
    let mut looked_for = Vec::new();
    for (holder, published) in holders(name) {
        if let Some(file) = data.file_of(holder) {
            return Ok(Held { holder, holder_bytes: published.bytes, file });
        }
        looked_for.push(data.looked_for(holder));
    }
    let hint = data.command(&format!("data fetch {name}"));
    Err(CorpusError::Absent { name: name.to_owned(), looked_for, hint })
}

fn open_published(
    name: &'static str,
    published: &Published,
    data: &DataDirectory,
    progress: &mut ProgressCallback,
) -> Result<Corpus, CorpusError> {
    let held = find_published(name, data)?;
    let corpus = open_file(&held.file, name.to_owned(), data, progress)?;
    if corpus.length() != held.holder_bytes {
        return Err(CorpusError::WrongLength {
            name: held.holder.to_owned(),
            path: held.file,
            found: corpus.length(),
            expected: held.holder_bytes,
            hint: data.command(&format!("data fetch {name}")),
        });
    }
    Ok(corpus.beginning(published.bytes))
}

/// Opens a file given as a path; `looked_for` is what to say if it is not there.
fn open_path(
    path: &Path,
    looked_for: Vec<PathBuf>,
    data: &DataDirectory,
    progress: &mut ProgressCallback,
) -> Result<Corpus, CorpusError> {
    check_there(path, looked_for, data)?;
    open_file(path, path_corpus_name(path), data, progress)
}

/// Opens a file whose bytes are taken as they are, under a name that says so.
fn open_raw(
    path: &Path,
    looked_for: Vec<PathBuf>,
    data: &DataDirectory,
) -> Result<Corpus, CorpusError> {
    check_there(path, looked_for, data)?;
    check_file(path)?;
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Corpus::new(format!("{RAW}{file_name}"), open_bytes(path)?).at_path(path))
}

fn check_there(
    path: &Path,
    looked_for: Vec<PathBuf>,
    data: &DataDirectory,
) -> Result<(), CorpusError> {
    if path.exists() {
        return Ok(());
    }
    let name = path.display().to_string();
    if is_mixture(&name, data) {
        let reason = "only `lmtrain fit` takes a mixture; here, name its parts one by one";
        return Err(CorpusError::Name { name, reason: reason.to_owned() });
    }
    Err(CorpusError::Absent { name, looked_for, hint: data.command("data list") })
}

fn check_file(path: &Path) -> Result<(), CorpusError> {
    match path.metadata().map_err(CorpusError::file("read", path))?.is_file() {
        true => Ok(()),
        false => Err(CorpusError::NotAFile(path.to_owned())),
    }
}

/// Opens a file that is there, under this name.
pub(super) fn open_file(
    path: &Path,
    name: String,
    data: &DataDirectory,
    progress: &mut ProgressCallback,
) -> Result<Corpus, CorpusError> {
    check_file(path)?;
    let contents = match format_of(path)? {
        Format::Plain => open_bytes(path)?,
        format => {
            let contents = open_bytes(&unpacked(path, format, data, progress)?)?;
            // A copy may be of a version that did not look.
            check_unpacked(&contents[..contents.len().min(HEAD_BYTES)], path, format)?;
            contents
        }
    };
    Ok(Corpus::new(name, contents).at_path(path))
}

fn random(options: &RandomOptions) -> Corpus {
    let bytes = uniform_bytes(options.seed, options.bytes as usize);
    Corpus::from_bytes(options.to_string(), bytes).with_entropy_rate(8.0).with_medium(Medium::Bytes)
}

fn markov(options: &MarkovOptions) -> Result<Corpus, CorpusError> {
    let source = MarkovSource::new(options)?;
    let bytes = source.sample(options.bytes as usize);
    let corpus = Corpus::from_bytes(options.to_string(), bytes).with_medium(Medium::Bytes);
    Ok(corpus.with_entropy_rate(source.entropy_rate()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::archive::tests::packed;

    fn fixture() -> (tempfile::TempDir, DataDirectory) {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataDirectory::at(folder.path()).with_cache(folder.path().join("cache"));
        fs::create_dir(data.text()).expect("made");
        (folder, data)
    }

    fn put(data: &DataDirectory, file: &str, content: &[u8]) {
        fs::write(data.text().join(file), content).expect("written");
    }

    #[test]
    fn files_open_by_name_whatever_their_packing() {
        let (_folder, data) = fixture();
        put(&data, "plain", b"plain");
        put(&data, "note.txt", b"note");
        put(&data, "v1.5", b"dots");
        put(&data, "empty", b"");
        put(&data, "a.xz", &packed(b"xz", Format::Xz));
        put(&data, "b.txt.gz", &packed(b"gzip", Format::Gzip));
        put(&data, "c.zip", &packed(b"zip", Format::Zip));
        put(&data, "d.bz2", &packed(b"bzip2", Format::Bzip2));
        put(&data, "e.txt.zst", &packed(b"zstd", Format::Zstd));
        put(&data, "f.lzma", &packed(b"lzma", Format::Lzma));
        put(&data, "g", &packed(b"no suffix", Format::Gzip));
        put(&data, "UP.GZ", &packed(b"upper case", Format::Gzip));
        put(&data, "none.gz", &packed(b"", Format::Gzip));
        for (name, opened, content) in [
            ("plain", "plain", &b"plain"[..]),
            ("note", "note", b"note"),
            ("note.txt", "note", b"note"),
            ("v1.5", "v1.5", b"dots"),
            ("empty", "empty", b""),
            ("a", "a", b"xz"),
            ("b", "b", b"gzip"),
            ("b.txt.gz", "b", b"gzip"),
            ("c", "c", b"zip"),
            ("d", "d", b"bzip2"),
            ("e", "e", b"zstd"),
            ("f", "f", b"lzma"),
            ("g", "g", b"no suffix"),
            ("UP.GZ", "UP", b"upper case"),
            ("none", "none", b""),
        ] {
            let corpus = open(name, &data).expect(name);
            assert_eq!((corpus.name(), corpus.bytes()), (opened, content));
            assert!(corpus.path().is_some_and(|path| path.starts_with(data.text())));
            assert_eq!(corpus.entropy_rate(), None);
        }
    }

    #[test]
    fn paths_open_and_do_not_pass_for_known_corpora() {
        let (folder, data) = fixture();
        let path = folder.path().join("enwik8.gz");
        fs::write(&path, packed(b"not it", Format::Gzip)).expect("written");
        let corpus = open(&path.display().to_string(), &data).expect("opens");
        assert_eq!((corpus.bytes(), corpus.name()), (&b"not it"[..], &*path.display().to_string()));
        let folder_path = data.text().display().to_string();
        assert!(matches!(open(&folder_path, &data), Err(CorpusError::EmptySet { .. })));
    }

    #[test]
    fn raw_files_are_their_bytes() {
        let (folder, data) = fixture();
        let gzip = packed(b"gzip", Format::Gzip);
        put(&data, "a.gz", &gzip);
        let path = folder.path().join("b.7z");
        fs::write(&path, b"7z\xbc\xaf\x27\x1c\0\x04").expect("written");
        for name in ["raw:a.gz", "raw:a"] {
            let corpus = open(name, &data).expect(name);
            assert_eq!((corpus.name(), corpus.bytes()), ("raw:a.gz", &gzip[..]));
        }
        let place = path.display().to_string();
        let message = open(&place, &data).expect_err("an archive").to_string();
        assert!(message.contains(&format!("--corpus raw:{place}")), "{message}");
        let corpus = open(&format!("raw:{place}"), &data).expect("as it is");
        assert_eq!((corpus.name(), corpus.length()), ("raw:b.7z", 8));
        for (name, expected) in [("raw:nowhere", "nowhere"), ("raw:./nowhere", "./nowhere")] {
            let error = open(name, &data).expect_err("absent");
            assert!(error.is_absent() && error.to_string().contains(expected), "{error}");
        }
        let folder_path = format!("raw:{}", data.text().display());
        assert!(matches!(open(&folder_path, &data), Err(CorpusError::NotAFile(_))));
    }

    #[test]
    fn what_holds_an_archive_is_refused_and_leaves_no_copy() {
        let (_folder, data) = fixture();
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
        put(&data, "pointer.txt", lfs);
        put(&data, "twice.gz", &packed(&packed(b"x", Format::Xz), Format::Gzip));
        put(&data, "named.xz", b"not at all");
        for (name, parts) in [
            ("pointer", ["a Git LFS pointer", "git lfs pull"]),
            ("twice", ["a gzip file that holds an xz file", "unpack it first"]),
            ("named", ["that it is an xz file, but", "--corpus raw:"]),
        ] {
            let message = open(name, &data).expect_err(name).to_string();
            for part in parts {
                assert!(message.contains(part), "{message}");
            }
        }
        let copies = fs::read_dir(data.cache.join("text")).expect("a cache");
        let named = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let copies: Vec<String> = copies.map(|entry| named(entry.expect("one"))).collect();
        assert!(copies.iter().all(|name| name.ends_with(".lock")), "{copies:?}");
    }

    #[test]
    fn a_longer_corpus_serves_for_its_beginning() {
        let (_folder, data) = fixture();
        // As long as enwik8, and taking no room: a file of zeros that are not written.
        let file = fs::File::create(data.text().join("enwik8")).expect("made");
        file.set_len(100_000_000).expect("long");
        for (name, length) in [("enwik7", 10_000_000), ("enwik8", 100_000_000)] {
            let corpus = open(name, &data).expect(name);
            assert_eq!((corpus.name(), corpus.length()), (name, length));
        }
        assert!(open("enwik9", &data).expect_err("too short").is_absent());
        file.set_len(99).expect("short");
        let message = open("enwik7", &data).expect_err("of a wrong length").to_string();
        assert!(message.contains("has 99 bytes, but enwik8 has 100000000"), "{message}");
    }

    #[test]
    fn absence_is_explained() {
        let (folder, data) = fixture();
        let message = open("enwik8", &data).expect_err("absent").to_string();
        let text = folder.path().join("text").display().to_string();
        assert!(message.starts_with("corpus `enwik8` was not found: looked for "), "{message}");
        assert!(
            message.contains(&text)
                && message.contains("enwik9[.txt][.xz|.zst|.gz|.bz2|.lzma|.zip]")
        );
        assert!(message.ends_with("\nhint: `lmtrain data fetch enwik8`"), "{message}");
        let given = DataDirectory::resolve(Some(folder.path())).expect("given");
        let message = open("nonesuch", &given).expect_err("absent").to_string();
        assert!(message.contains("lmtrain data list --data-dir"), "{message}");
    }

    #[test]
    fn what_the_program_makes_is_always_there() {
        let (_folder, data) = fixture();
        let source = open("source", &data).expect("opens");
        assert!(source.starts_with(b"==> ") && source.length() > 100_000);
        let own = b"fn what_the_program_makes_is_always_there()";
        assert!(source.windows(own.len()).any(|window| window == own));
        let random = open("random:bytes=1K,seed=3", &data).expect("opens");
        assert_eq!((random.name(), random.length()), ("random:seed=3,bytes=1000", 1000));
        assert_eq!(random.entropy_rate(), Some(8.0));
        let markov = open("markov:order=1,bytes=10", &data).expect("opens");
        assert_eq!(markov.name(), "markov:order=1,bytes=10");
        assert!(markov.entropy_rate().is_some_and(|rate| rate > 1.0 && rate < 4.0));
    }

    #[test]
    fn the_wikipedia_stand_in_is_the_one_that_is_published() {
        let Some(root) = lmtrain_runs::testing::data_directory() else { return };
        let cache = tempfile::tempdir().expect("a folder");
        let data = DataDirectory::at(root).with_cache(cache.path());
        let corpus = open("wiki15-8", &data).expect("opens");
        assert_eq!(corpus.length(), 100_000_000);
        let expected = "3a26cd99663c1dd177826ec1c60533c038115d8ef4b315e7cc6db030ee2b3735";
        assert_eq!(corpus.sha256(), expected);
        let listing = data.list().expect("lists");
        let listed = listing.iter().find(|listing| listing.name == "wiki15-8").expect("listed");
        assert_eq!(listed.bytes, Some(100_000_000));
    }

    proptest! {
        #[test]
        fn any_name_opens_or_is_refused(name in "\\PC{1,20}") {
            let (_folder, data) = fixture();
            let _ = open(&name, &data);
        }
    }
}
