//! Unpacking a downloaded `.tar.gz`: only regular files and folders, and nothing outside the target folder.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use tar::{Archive, Entry, EntryType};

use crate::error::CorpusError;
use crate::progress::{CorpusProgress, ProgressCallback};

/// Unpacks `archive` into `folder`, which is there and empty.
///
/// # Errors
/// [`CorpusError::Archive`] if it is damaged, or holds what a set of files has no need of: links, devices, ways up, a
/// name twice; [`CorpusError::File`] if the disk refuses.
pub(crate) fn untar(
    archive: &Path,
    folder: &Path,
    progress: &mut ProgressCallback,
) -> Result<(), CorpusError> {
    let damaged = |reason: String| CorpusError::Archive { path: archive.to_owned(), reason };
    let file = File::open(archive).map_err(CorpusError::file("open", archive))?;
    let mut tar = Archive::new(GzDecoder::new(BufReader::new(file)));
    let mut bytes = 0;
    for entry in tar.entries().map_err(|error| damaged(error.to_string()))? {
        let mut entry = entry.map_err(|error| damaged(error.to_string()))?;
        let path = within(&entry).map_err(damaged)?;
        let target = folder.join(&path);
        match entry.header().entry_type() {
            EntryType::Directory => {
                fs::create_dir_all(&target).map_err(CorpusError::file("create", &target))?;
            }
            EntryType::Regular | EntryType::Continuous => {
                let parent = target.parent().unwrap_or(folder);
                fs::create_dir_all(parent).map_err(CorpusError::file("create", parent))?;
                bytes += unpack(&mut entry, &target).map_err(|error| match error {
                    Failure::Read(error) => damaged(format!("{}: {error}", path.display())),
                    Failure::Write(error) => CorpusError::file("write", &target)(error),
                })?;
            }
            EntryType::XGlobalHeader => {}
            _ => {
                let what = format!("{} is neither a file nor a folder", path.display());
                return Err(damaged(what));
            }
        }
        if progress(CorpusProgress::Unpacking { bytes, of: None }).is_break() {
            return Err(CorpusError::Interrupted);
        }
    }
    Ok(())
}

/// An entry's path, if it leads nowhere but down.
fn within(entry: &Entry<impl Read>) -> Result<PathBuf, String> {
    let path = entry.path().map_err(|error| error.to_string())?.into_owned();
    let mut down = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => down.push(name),
            Component::CurDir => {}
            _ => return Err(format!("{} leads outside the archive", path.display())),
        }
    }
    Ok(down)
}

enum Failure {
    Read(io::Error),
    Write(io::Error),
}

/// Writes an entry's bytes; gives how many.
fn unpack(entry: &mut Entry<impl Read>, target: &Path) -> Result<u64, Failure> {
    let mut file = File::create_new(target).map_err(Failure::Write)?;
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        match entry.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => {
                io::Write::write_all(&mut file, &buffer[..count]).map_err(Failure::Write)?;
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Read(error)),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    use super::*;
    use crate::progress::silent;

    /// A `.tar.gz` of these files; the names go into it as they are.
    pub(crate) fn tarred(files: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut tar = Builder::new(GzEncoder::new(Vec::new(), Default::default()));
        for (name, kind, content) in files {
            let mut header = Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            if kind.is_symlink() || kind.is_hard_link() {
                header.set_link_name("/etc/passwd").expect("fits");
            }
            header.set_cksum();
            tar.append(&header, *content).expect("written");
        }
        tar.into_inner().expect("written").finish().expect("packed")
    }

    fn untarred(file: &[u8]) -> (tempfile::TempDir, Result<(), CorpusError>) {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = folder.path().join("a.tar.gz");
        fs::write(&archive, file).expect("written");
        let target = folder.path().join("out");
        fs::create_dir(&target).expect("made");
        let result = untar(&archive, &target, &mut silent);
        (folder, result)
    }

    #[test]
    fn files_and_folders_come_out() {
        let file = tarred(&[
            ("set/", EntryType::Directory, b""),
            ("set/a/1.flac", EntryType::Regular, b"one"),
            ("./set/README", EntryType::Regular, b"read me"),
        ]);
        let (folder, result) = untarred(&file);
        result.expect("unpacks");
        let read = |name: &str| fs::read(folder.path().join("out/set").join(name)).expect(name);
        assert_eq!((read("a/1.flac"), read("README")), (b"one".to_vec(), b"read me".to_vec()));
    }

    #[test]
    fn nothing_else_does() {
        let regular = EntryType::Regular;
        for (files, expected) in [
            (&[("../out2", regular, &b"x"[..])][..], "leads outside the archive"),
            (&[("a/../../out2", regular, b"x")], "leads outside the archive"),
            (&[("/tmp/out2", regular, b"x")], "leads outside the archive"),
            (&[("link", EntryType::Symlink, b"")], "neither a file nor a folder"),
            (&[("link", EntryType::Link, b"")], "neither a file nor a folder"),
            (&[("pipe", EntryType::Fifo, b"")], "neither a file nor a folder"),
            (&[("a", regular, b"1"), ("a", regular, b"2")], "cannot write"),
        ] {
            let (folder, result) = untarred(&tarred(files));
            let message = result.expect_err(expected).to_string();
            assert!(message.contains(expected), "{message}");
            assert!(!folder.path().join("out2").exists());
        }
        let whole = tarred(&[("a", regular, &crate::random::uniform_bytes(1, 100_000))]);
        for cut in [&whole[..whole.len() / 2], &whole[..100], b"no archive"] {
            let (_folder, result) = untarred(cut);
            assert!(matches!(result, Err(CorpusError::Archive { .. })), "{result:?}");
        }
    }
}
