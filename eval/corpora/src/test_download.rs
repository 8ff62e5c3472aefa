//! Shared by the tests of downloads: a corpus published by a test server, and a folder to download it into.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::archive::tests::packed;
use super::catalogue::Published;
use super::corpus::sha256_of;
use super::download::Download;
use super::download::FetchOptions;
use super::error::CorpusError;
use super::format::Format;
use super::progress::{ProgressCallback, silent};
use super::random::uniform_bytes;
use super::test_server::Server;

/// A corpus that a server of the test publishes.
pub(super) struct Fixture {
    folder: tempfile::TempDir,
    text: Vec<u8>,
    pub(super) archive: Vec<u8>,
    published: Published,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = uniform_bytes(9, 1_000_000);
        let published = Published {
            bytes: text.len() as u64,
            sha256: sha256_of(&text).leak(),
            url: None,
            prefix_of: None,
        };
        let archive = packed(&text, Format::Zip);
        Self { folder, text, archive, published }
    }

    pub(super) fn fetch(&self, server: &Server) -> Result<(PathBuf, u64), CorpusError> {
        self.fetch_with(server, 10, &mut silent)
    }

    pub(super) fn fetch_with(
        &self,
        server: &Server,
        retries: u32,
        progress: &mut ProgressCallback,
    ) -> Result<(PathBuf, u64), CorpusError> {
        let stall_timeout = Duration::from_secs(3);
        let options = &FetchOptions { retries, stall_timeout, ..FetchOptions::default() };
        let published = &self.published;
        Download { holder: "tiny", published, url: server.url(), options }
            .run(self.folder.path(), progress)
    }

    /// Checks that the corpus is there, and nothing else.
    pub(super) fn assert_whole(&self, fetched: Result<(PathBuf, u64), CorpusError>) {
        let (path, _) = fetched.expect("fetched");
        assert!(fs::read(path).expect("there") == self.text);
        assert_eq!(self.files(), ["tiny"]);
    }

    pub(super) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("there");
        let names = entries.map(|entry| entry.expect("one").file_name());
        let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into()).collect();
        names.sort();
        names
    }

    pub(super) fn part_bytes(&self) -> usize {
        fs::read(self.folder.path().join("tiny.part")).expect("there").len()
    }
}
