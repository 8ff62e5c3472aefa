//! Unpacked copies of compressed corpora. A copy is named after the hash of the compressed file's bytes, so that it is
//! used for that file wherever it is, and for no other.

use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lmtrain_runs::files::{Unfinished, remove_leftovers};
use sha2::{Digest, Sha256};

use super::archive::{unpack, unpacked_length};
use super::directory::DataDirectory;
use super::error::CorpusError;
use super::files::ensure_space;
use super::format::Format;
use super::progress::{CorpusProgress, ProgressCallback};

/// How often a process that waits for another process's copy checks whether it exists.
const WAIT: Duration = Duration::from_millis(100);
/// Characters of a file's name that its copy keeps, for who looks into the cache.
const LONGEST_STEM: usize = 40;

/// The unpacked copy of the file at `path`, made if it is not there yet.
pub(super) fn unpacked(
    path: &Path,
    format: Format,
    data: &DataDirectory,
    progress: &mut ProgressCallback,
) -> Result<PathBuf, CorpusError> {
    let folder = data.cache.join("text");
    let target = folder.join(copy_name(path)?);
    if target.is_file() {
        return Ok(target);
    }
    fs::create_dir_all(&folder).map_err(CorpusError::file("create", &folder))?;
    let lock = wait_for_lock(&target, progress)?;
    // Another process may have made it while this one waited.
    if !target.is_file() {
        if lock.is_some() {
            remove_leftovers(&target);
        }
        ensure_space(&folder, unpacked_length(path, format).unwrap_or(0))?;
        let mut copy = Unfinished::beside(&target)?;
        unpack(path, format, copy.file(), progress)?;
        copy.finish()?;
    }
    Ok(target)
}

/// `wiki15-8-` and the first 32 digits of the compressed file's SHA-256.
fn copy_name(path: &Path) -> Result<String, CorpusError> {
    let mut file = File::open(path).map_err(CorpusError::file("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = file.read(&mut buffer).map_err(CorpusError::file("read", path))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
    }
    let digest = format!("{:x}", hasher.finalize());
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let stem: String = stem.chars().take(LONGEST_STEM).collect();
    Ok(format!("{stem}-{}", &digest[..32]))
}

/// Holds the right to make `target` until dropped, so that processes started together unpack
/// once. None where the file system knows no locks: then each unpacks, and the last copy stays.
pub(super) fn wait_for_lock(
    target: &Path,
    progress: &mut ProgressCallback,
) -> Result<Option<File>, CorpusError> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let path = target.with_file_name(format!("{name}.lock"));
    let file = File::create(&path).map_err(CorpusError::file("write", &path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(_)) => return Ok(None),
            Err(TryLockError::WouldBlock) => {}
        }
        if progress(CorpusProgress::Unpacking { bytes: 0, of: None }).is_break() {
            return Err(CorpusError::Interrupted);
        }
        std::thread::sleep(WAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::packed;
    use crate::progress::silent;
    use crate::test_folder::TestFolder;

    /// A folder with a compressed corpus, and that.
    fn fixture(content: &[u8]) -> (TestFolder, PathBuf) {
        let folder = TestFolder::new();
        let file = folder.put("corpus.xz", content);
        (folder, file)
    }

    fn copies(data: &DataDirectory) -> Vec<String> {
        let entries = fs::read_dir(data.cache.join("text")).expect("a cache");
        let names = entries.map(|entry| entry.expect("one").file_name().to_string_lossy().into());
        names.filter(|name: &String| !name.ends_with(".lock")).collect()
    }

    #[test]
    fn a_copy_is_made_once_for_each_content() {
        let (TestFolder { data, .. }, file) = &fixture(&packed(b"first", Format::Xz));
        let mut unpackings = 0;
        let mut count = |_| {
            unpackings += 1;
            std::ops::ControlFlow::Continue(())
        };
        let first = unpacked(file, Format::Xz, data, &mut count).expect("unpacks");
        assert_eq!(fs::read(&first).expect("there"), b"first");
        assert_eq!(unpacked(file, Format::Xz, data, &mut count).expect("there"), first);
        assert_eq!(unpackings, 1);
        fs::write(file, packed(b"other", Format::Xz)).expect("written");
        let other = unpacked(file, Format::Xz, data, &mut silent).expect("unpacks");
        assert_eq!(fs::read(&other).expect("there"), b"other");
        assert_eq!(copies(data).len(), 2);
    }

    #[test]
    fn damaged_files_leave_nothing_behind() {
        let whole = packed(&crate::random::uniform_bytes(0, 1 << 20), Format::Xz);
        let (TestFolder { data, .. }, file) = &fixture(&whole[..whole.len() / 2]);
        let error = unpacked(file, Format::Xz, data, &mut silent).expect_err("cut short");
        assert!(matches!(error, CorpusError::Archive { .. }), "{error}");
        assert!(copies(data).is_empty());
    }

    #[test]
    fn many_at_once_get_the_same_copy() {
        let content = crate::random::uniform_bytes(0, 1 << 20);
        let (TestFolder { data, .. }, file) = &fixture(&packed(&content, Format::Xz));
        std::thread::scope(|scope| {
            let open = || unpacked(file, Format::Xz, data, &mut silent).expect("unpacks");
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            for thread in threads {
                let copy = thread.join().expect("no panic");
                assert_eq!(fs::read(copy).expect("there"), content);
            }
        });
        assert_eq!(copies(data).len(), 1);
    }
}
