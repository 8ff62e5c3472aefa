//! A data directory for tests, with its cache beside the data.

use std::fs;
use std::path::{Path, PathBuf};

use crate::corpus::Corpus;
use crate::directory::DataDirectory;
use crate::open;

/// A folder that is gone when it is dropped.
pub(crate) struct TestFolder {
    folder: tempfile::TempDir,
    pub(crate) data: DataDirectory,
}

impl TestFolder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataDirectory::at(folder.path()).with_cache(folder.path().join("cache"));
        Self { folder, data }
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// What would have this name in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and the folders that it is in.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, content).expect("written");
        path
    }

    /// Makes a folder.
    pub(crate) fn make(&self, name: &str) {
        fs::create_dir_all(self.path(name)).expect("made");
    }

    pub(crate) fn open(&self, name: &str) -> Corpus {
        open(name, &self.data).expect(name)
    }

    /// Why a corpus does not open.
    pub(crate) fn refuses(&self, name: &str) -> String {
        open(name, &self.data).expect_err(name).to_string()
    }

    /// The copies of sets, and what lies beside them.
    pub(crate) fn cached(&self, suffix: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data.cache.join("media")).expect("a cache");
        let paths = entries.map(|entry| entry.expect("one").path());
        paths.filter(|path| path.to_string_lossy().ends_with(suffix)).collect()
    }
}
