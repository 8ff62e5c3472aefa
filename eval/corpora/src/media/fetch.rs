//! Downloading a published set of images or sounds into the data directory. The set appears under its name only when it
//! is complete; an interrupted download is continued.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

use super::Grey;
use super::decoded::Decoded;
use super::images;
use super::published::{Origin, PublishedSet};
use super::untar::untar;
use crate::directory::DataDirectory;
use crate::download::{FetchOptions, Fetched};
use crate::error::CorpusError;
use crate::part_file::PartFile;
use crate::progress::{CorpusProgress, ProgressCallback};
use crate::transfer::Transfer;

/// Bytes of an image, at most about.
const IMAGE_BYTES: u64 = 1_000_000;

/// A set that is being downloaded.
struct SetDownload<'a> {
    name: &'a str,
    options: &'a FetchOptions,
    /// Where it will be.
    target: PathBuf,
    /// The folder that this is in.
    folder: PathBuf,
}

/// Gets a set, if it is not there.
///
/// # Errors
/// As [`fetch`](crate::fetch()).
pub(crate) fn fetch_set(
    name: &str,
    set: &PublishedSet,
    data: &DataDirectory,
    options: &FetchOptions,
    progress: &mut ProgressCallback,
) -> Result<Fetched, CorpusError> {
    let target = data.set_folder(set.kind.name(), name);
    let checked_by = match set.origin {
        Origin::Archive { .. } => "its published MD5",
        Origin::Images { .. } => "that every image decodes at its size (no checksum is published)",
    };
    let fetched = |downloaded_bytes, path| {
        let holder = name.to_owned();
        Fetched { holder, path, downloaded_bytes, was_there: false, checked_by }
    };
    if target.is_dir() {
        return Ok(Fetched { was_there: true, ..fetched(0, target) });
    }
    let folder = data.root.join(set.kind.name());
    fs::create_dir_all(&folder).map_err(CorpusError::file("create", &folder))?;
    let download = SetDownload { name, options, target, folder };
    let bytes = match set.origin {
        Origin::Archive { url, md5, unpacked_bytes } => {
            download.archive(url, md5, unpacked_bytes, progress)?
        }
        Origin::Images { url, names, pixels } => download.images(url, names, pixels, progress)?,
    };
    Ok(fetched(bytes, download.target))
}

impl SetDownload<'_> {
    /// A `.tar.gz`, known by its MD5 before it is unpacked.
    fn archive(
        &self,
        url: &str,
        md5: &str,
        unpacked_bytes: u64,
        progress: &mut ProgressCallback,
    ) -> Result<u64, CorpusError> {
        let url = self.options.url.as_deref().unwrap_or(url);
        let mut part = PartFile::open(&self.folder, self.name)?;
        let bytes = self.transfer(url, unpacked_bytes, &mut part, progress)?;
        let found = md5_of(part.path(), progress)?;
        if found != md5 {
            part.remove()?;
            return Err(self.wrong(url, format!("its MD5 is {found} instead of {md5}")));
        }
        let unpacked = self.folder.join(format!(".{}.unpacking", self.name));
        // Of an earlier process that was killed; the part file's lock says that none is at it.
        remove_folder(&unpacked)?;
        fs::create_dir(&unpacked).map_err(CorpusError::file("create", &unpacked))?;
        if let Err(error) = untar(part.path(), &unpacked, progress) {
            remove_folder(&unpacked)?;
            return Err(error);
        }
        self.name_it(&unpacked)?;
        part.remove()?;
        Ok(bytes)
    }

    /// Images, one after another.
    fn images(
        &self,
        url: &str,
        names: &[&str],
        pixels: [u32; 2],
        progress: &mut ProgressCallback,
    ) -> Result<u64, CorpusError> {
        let base = self.options.url.as_deref().unwrap_or(url);
        let coming = self.folder.join(format!(".{}.coming", self.name));
        let mut bytes = 0;
        for name in names {
            let target = coming.join(name);
            if target.is_file() {
                continue;
            }
            let url = format!("{base}{name}");
            let mut part = PartFile::open(&coming, name)?;
            bytes += self.transfer(&url, IMAGE_BYTES, &mut part, progress)?;
            if let Err(reason) = check_image(part.path(), pixels) {
                part.remove()?;
                return Err(self.wrong(&url, reason));
            }
            fs::rename(part.path(), &target).map_err(CorpusError::file("write", &target))?;
            part.remove()?;
        }
        self.name_it(&coming)?;
        Ok(bytes)
    }

    fn transfer(
        &self,
        url: &str,
        spare_bytes: u64,
        part: &mut PartFile,
        progress: &mut ProgressCallback,
    ) -> Result<u64, CorpusError> {
        let transfer = Transfer {
            url,
            folder: &self.folder,
            connect_timeout: self.options.connect_timeout,
            stall_timeout: self.options.stall_timeout,
            retries: self.options.retries,
            spare_bytes,
        };
        transfer.run(part, progress).map_err(|error| match error {
            CorpusError::Unreachable { url, reason, .. } => {
                CorpusError::UnreachableSet { url, reason, folder: self.target.clone() }
            }
            error => error,
        })
    }

    /// Gives the folder that all is in its name.
    fn name_it(&self, whole: &Path) -> Result<(), CorpusError> {
        fs::rename(whole, &self.target).map_err(CorpusError::file("write", &self.target))
    }

    fn wrong(&self, url: &str, reason: String) -> CorpusError {
        CorpusError::WrongContent { url: url.to_owned(), name: self.name.to_owned(), reason }
    }
}

fn remove_folder(folder: &Path) -> Result<(), CorpusError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(CorpusError::file("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Whether it is an image with these sides, in either orientation.
fn check_image(path: &Path, [long, short]: [u32; 2]) -> Result<(), String> {
    let file = fs::read(path).map_err(|error| error.to_string())?;
    match images::patches(&file, Grey::Mean) {
        Decoded::Chunks { bytes, .. } if bytes.len() as u64 == u64::from(long * short) => Ok(()),
        Decoded::Broken(reason) => Err(reason),
        _ => Err(format!("it does not have {long} × {short} pixels")),
    }
}

fn md5_of(path: &Path, progress: &mut ProgressCallback) -> Result<String, CorpusError> {
    let failed = CorpusError::file("read", path);
    let mut file = File::open(path).map_err(failed)?;
    let of = file.metadata().ok().map(|metadata| metadata.len());
    let mut hash = Md5::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            return Ok(format!("{:x}", hash.finalize()));
        }
        hash.update(&buffer[..count]);
        bytes += count as u64;
        if progress(CorpusProgress::Hashing { bytes, of }).is_break() {
            return Err(CorpusError::Interrupted);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::ops::ControlFlow;

    use image::{GrayImage, ImageFormat};
    use tar::EntryType;

    use super::super::MediaKind;
    use super::super::audio::tests::wav;
    use super::super::untar::tests::tarred;
    use super::*;
    use crate::progress::silent;
    use crate::test_server::Server;

    struct Fixture {
        folder: tempfile::TempDir,
        data: DataDirectory,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let data = DataDirectory::at(folder.path()).with_cache(folder.path().join("cache"));
            Self { folder, data }
        }

        fn fetch(
            &self,
            set: &PublishedSet,
            server: &Server,
            progress: &mut ProgressCallback,
        ) -> Result<Fetched, CorpusError> {
            let url = Some(format!("{}/", server.url()));
            let options = FetchOptions { url, retries: 0, ..FetchOptions::default() };
            fetch_set("tiny", set, &self.data, &options, progress)
        }

        /// Everything in a folder of the data directory.
        fn names(&self, folder: &str) -> Vec<String> {
            let entries = fs::read_dir(self.folder.path().join(folder)).expect("there");
            let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("one").file_name();
            let mut names: Vec<_> =
                entries.map(|entry| name(entry).display().to_string()).collect();
            names.sort();
            names
        }
    }

    fn speech(archive: &[u8]) -> PublishedSet {
        let md5 = format!("{:x}", Md5::digest(archive)).leak();
        let origin = Origin::Archive { url: "http://127.0.0.1:1/", md5, unpacked_bytes: 1 };
        PublishedSet { kind: MediaKind::Audio, origin }
    }

    const PICTURES: PublishedSet = PublishedSet {
        kind: MediaKind::Images,
        origin: Origin::Images {
            url: "http://127.0.0.1:1/",
            names: &["1.png", "2.png", "3.png"],
            pixels: [128, 64],
        },
    };

    fn picture(width: u32, height: u32) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        GrayImage::new(width, height).write_to(&mut file, ImageFormat::Png).expect("encodes");
        file.into_inner()
    }

    #[test]
    fn an_archive_comes_and_is_a_corpus() {
        let fixture = Fixture::new();
        let sound = wav(1, 16, 1, 16_000, &[1; 5000]);
        let archive = tarred(&[("set/84/1/a.wav", EntryType::Regular, &sound)]);
        let (set, server) = (speech(&archive), Server::of_file(archive));
        // Stopped while it is unpacked: the archive is kept, and nothing of the set is to be seen.
        let mut stop = |progress| match progress {
            CorpusProgress::Unpacking { .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let error = fixture.fetch(&set, &server, &mut stop).expect_err("stopped");
        assert!(error.is_interrupted());
        assert_eq!(fixture.names("audio"), ["tiny.part", "tiny.part-origin"]);
        let fetched = fixture.fetch(&set, &server, &mut silent).expect("goes on");
        assert_eq!((fetched.downloaded_bytes, fetched.was_there), (0, false));
        assert_eq!((fixture.names("audio"), server.asked().len()), (vec!["tiny".to_owned()], 1));
        let corpus = crate::open("tiny", &fixture.data).expect("opens");
        assert_eq!((corpus.length(), corpus.files().expect("a set").count()), (2048, 1));
        assert!(fixture.fetch(&set, &server, &mut silent).expect("there").was_there);
    }

    #[test]
    fn another_archive_is_refused_before_it_is_unpacked() {
        let fixture = Fixture::new();
        let server = Server::of_file(tarred(&[("a", EntryType::Regular, b"another")]));
        let error = fixture.fetch(&speech(b"the right one"), &server, &mut silent);
        let error = error.expect_err("another").to_string();
        assert!(error.contains("is not tiny: its MD5 is"), "{error}");
        assert!(fixture.names("audio").is_empty());
        let nobody = fixture.fetch(&speech(b"x"), &Server::nobody(), &mut silent);
        let message = nobody.expect_err("nobody there").to_string();
        assert!(message.contains("audio") && message.contains("unpack"), "{message}");
    }

    #[test]
    fn images_come_one_by_one() {
        let fixture = Fixture::new();
        let server = Server::of_file(picture(128, 64));
        let mut second = 0;
        let mut stop = |progress| {
            second += usize::from(matches!(progress, CorpusProgress::Downloading { bytes: 0, .. }));
            if second > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        fixture.fetch(&PICTURES, &server, &mut stop).expect_err("stopped");
        assert_eq!(fixture.names("images"), [".tiny.coming"]);
        let before = server.asked().len();
        let fetched = fixture.fetch(&PICTURES, &server, &mut silent).expect("goes on");
        assert_eq!(server.asked().len(), before + 2, "the first is there already");
        assert!(fetched.path.ends_with("images/tiny"));
        assert_eq!(fixture.names("images/tiny"), ["1.png", "2.png", "3.png"]);
        assert_eq!(crate::open("tiny", &fixture.data).expect("opens").length(), 3 * 128 * 64);
    }

    #[test]
    fn other_images_are_refused() {
        for (file, expected) in
            [(picture(64, 64), "128 × 64 pixels"), (b"<html>".to_vec(), "not those of PNG")]
        {
            let fixture = Fixture::new();
            let error = fixture.fetch(&PICTURES, &Server::of_file(file), &mut silent);
            let error = error.expect_err(expected).to_string();
            assert!(error.contains(expected) && error.contains("1.png"), "{error}");
            assert!(!fixture.folder.path().join("images/tiny").exists());
        }
    }
}
