//! A download: into a part file, which is unpacked and hashed, and gets its name only if the hash is right.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lmtrain_runs::files::{Output, remove_leftovers};
use sha2::{Digest, Sha256};

use super::archive::unpack;
use super::catalogue::Published;
use super::error::CorpusError;
use super::files::ensure_space;
use super::format::Format;
use super::part_file::PartFile;
use super::progress::ProgressCallback;
use super::transfer::Transfer;

/// How to download.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Timeout for connecting; 5 seconds by default.
    pub connect_timeout: Duration,
    /// Timeout for a server that sends nothing; 30 seconds by default.
    pub stall_timeout: Duration,
    /// How often an interrupted download is continued, as long as each attempt receives something; 10 by default.
    pub retries: u32,
    /// Where the archive is, or the folder of a set of files, if not at its home.
    pub url: Option<String>,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(30),
            retries: 10,
            url: None,
        }
    }
}

/// The result of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The corpus whose file it is: the requested one, or one of which it is a prefix.
    pub holder: String,
    /// That file.
    pub path: PathBuf,
    /// Bytes received over the network.
    pub downloaded_bytes: u64,
    /// Whether there was nothing to do.
    pub was_there: bool,
    /// How the download was verified: `its published SHA-256`.
    pub checked_by: &'static str,
}

/// A published corpus that is being downloaded.
pub(super) struct Download<'a> {
    pub(super) holder: &'a str,
    pub(super) published: &'a Published,
    pub(super) url: &'a str,
    pub(super) options: &'a FetchOptions,
}

impl Download<'_> {
    /// Returns the corpus's file in `folder`, and the number of bytes received over the network.
    pub(super) fn run(
        &self,
        folder: &Path,
        progress: &mut ProgressCallback,
    ) -> Result<(PathBuf, u64), CorpusError> {
        let target = folder.join(self.holder);
        let mut part = PartFile::open(folder, self.holder)?;
        let transfer = Transfer {
            url: self.url,
            folder,
            connect_timeout: self.options.connect_timeout,
            stall_timeout: self.options.stall_timeout,
            retries: self.options.retries,
            spare_bytes: self.published.bytes,
        };
        let downloaded_bytes = match transfer.run(&mut part, progress) {
            Ok(bytes) => bytes,
            Err(error) => {
                if part.length()? == 0 {
                    part.remove()?;
                }
                return Err(error);
            }
        };
        remove_leftovers(&target);
        match self.unpack(part.path(), &target, progress) {
            // What came is something else: going on from it would never help.
            Err(error @ CorpusError::WrongContent { .. }) => {
                part.remove()?;
                Err(error)
            }
            Err(error) => Err(error),
            Ok(()) => {
                part.remove()?;
                Ok((target, downloaded_bytes))
            }
        }
    }

    /// Unpacks and hashes in one pass; `target` appears only if the hash is right.
    fn unpack(
        &self,
        archive: &Path,
        target: &Path,
        progress: &mut ProgressCallback,
    ) -> Result<(), CorpusError> {
        let wrong = |reason: String| CorpusError::WrongContent {
            url: self.url.to_owned(),
            name: self.holder.to_owned(),
            reason,
        };
        ensure_space(target.parent().unwrap_or(target), self.published.bytes)?;
        let mut whole = Output::create(target)?;
        let mut output = Hashing {
            output: &mut whole,
            hasher: Sha256::new(),
            room: self.published.bytes,
            is_too_long: false,
        };
        let unpacked = unpack(archive, Format::Zip, &mut output, progress);
        let Hashing { hasher, is_too_long, .. } = output;
        match unpacked {
            Err(_) if is_too_long => return Err(wrong("it is too long".to_owned())),
            Err(CorpusError::Archive { reason, .. }) => return Err(wrong(reason)),
            unpacked => unpacked?,
        };
        let found = format!("{:x}", hasher.finalize());
        if found != self.published.sha256 {
            let expected = self.published.sha256;
            return Err(wrong(format!("its SHA-256 is {found} instead of {expected}")));
        }
        Ok(whole.finish()?)
    }
}

/// Hashes what it passes on, up to a length.
struct Hashing<W> {
    output: W,
    hasher: Sha256,
    /// Bytes that may still come.
    room: u64,
    is_too_long: bool,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.is_too_long = bytes.len() as u64 > self.room;
        if self.is_too_long {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.output.write_all(bytes)?;
        self.hasher.update(bytes);
        self.room -= bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::archive::tests::packed;
    use crate::progress::{CorpusProgress, silent};
    use crate::random::uniform_bytes;
    use crate::test_download::Fixture;
    use crate::test_server::{Reply, Server};

    #[test]
    fn a_download_arrives_whole() {
        let fixture = Fixture::new();
        let server = Server::of_file(fixture.archive.clone());
        fixture.assert_whole(fixture.fetch(&server));
        assert_eq!(server.asked(), [None]);
    }

    #[test]
    fn a_broken_download_goes_on_where_it_stopped() {
        let fixture = Fixture::new();
        let server = Server::of_file(fixture.archive.clone()).breaking_after(400_000);
        fixture.assert_whole(fixture.fetch(&server));
        assert_eq!(server.asked(), [None, Some(400_000), Some(800_000)]);
    }

    #[test]
    fn what_came_is_kept_for_the_next_time() {
        let fixture = Fixture::new();
        let server = Server::of_file(fixture.archive.clone()).breaking_after(400_000);
        let error = fixture.fetch_with(&server, 0, &mut silent).expect_err("broken off");
        assert!(matches!(error, CorpusError::BrokenOff { bytes: 400_000, .. }), "{error}");
        assert!(error.is_network());
        let mut stop = |progress| match progress {
            CorpusProgress::Downloading { bytes: 600_000.., .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let error = fixture.fetch_with(&server, 0, &mut stop).expect_err("stopped");
        assert!(error.is_interrupted() && (600_000..700_000).contains(&fixture.part_bytes()));
        assert_eq!(fixture.files(), ["tiny.part", "tiny.part-origin"]);
        fixture.assert_whole(fixture.fetch(&server));
    }

    #[test]
    fn a_whole_part_needs_no_network() {
        let fixture = Fixture::new();
        let server = Server::of_file(fixture.archive.clone());
        let mut stop = |progress| match progress {
            CorpusProgress::Unpacking { .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let error = fixture.fetch_with(&server, 0, &mut stop).expect_err("stopped");
        assert!(error.is_interrupted());
        assert_eq!(fixture.files(), ["tiny.part", "tiny.part-origin"]);
        fixture.assert_whole(fixture.fetch(&server));
        assert_eq!(server.asked().len(), 1);
    }

    #[test]
    fn a_server_without_ranges_sends_all_again() {
        let fixture = Fixture::new();
        let broken = Server::of_file(fixture.archive.clone()).breaking_after(400_000);
        let url = broken.url().to_owned();
        fixture.fetch_with(&broken, 0, &mut silent).expect_err("broken off");
        broken.serve(Reply::file(&fixture.archive));
        fixture.assert_whole(fixture.fetch(&broken));
        assert_eq!(broken.asked(), [None, Some(400_000)], "{url}");
    }

    #[test]
    fn a_changed_file_is_not_joined_to_the_old_one() {
        let fixture = Fixture::new();
        let server = Server::of_file(vec![7; 900_000]).breaking_after(400_000);
        fixture.fetch_with(&server, 0, &mut silent).expect_err("broken off");
        // This one keeps the range but ignores that it is asked for only if nothing changed.
        server.serve_file(fixture.archive.clone(), "\"another\"");
        fixture.assert_whole(fixture.fetch(&server));
        assert_eq!(server.asked(), [None, Some(400_000), None]);
    }

    #[test]
    fn a_part_of_something_longer_is_given_up() {
        let fixture = Fixture::new();
        let server = Server::of_file(vec![7; 9_000_000]).breaking_after(2_000_000);
        fixture.fetch_with(&server, 0, &mut silent).expect_err("broken off");
        // 416: the file is now shorter than what is here.
        server.serve_file(fixture.archive.clone(), "\"another\"");
        fixture.assert_whole(fixture.fetch(&server));
    }

    #[test]
    fn something_else_is_refused_and_removed() {
        let fixture = Fixture::new();
        let other = packed(&uniform_bytes(8, 1_000_000), Format::Zip);
        let longer = packed(&uniform_bytes(9, 1_000_001), Format::Zip);
        let page = b"<html>please log in</html>".to_vec();
        let cut = fixture.archive[..500_000].to_vec();
        for (file, expected) in [
            (other, "its SHA-256 is"),
            (longer, "it is too long"),
            (page, "not those of a ZIP archive"),
            (cut, ""),
        ] {
            let server = Server::of_file(file);
            let error = fixture.fetch(&server).expect_err(expected);
            assert!(matches!(error, CorpusError::WrongContent { .. }), "{error}");
            assert!(error.to_string().contains(expected), "{error}");
            assert!(fixture.files().is_empty(), "{:?}", fixture.files());
        }
    }

    #[test]
    fn refusals_and_silence_are_told() {
        let fixture = Fixture::new();
        let server = Server::of_file(Vec::new());
        server.serve(Reply::status("404 Not Found"));
        let error = fixture.fetch(&server).expect_err("not there").to_string();
        assert!(error.contains("answered 404 Not Found"), "{error}");
        assert!(fixture.files().is_empty());
        let silent_server = Server::of_file(fixture.archive.clone()).stalling_after(400_000);
        let error = fixture.fetch_with(&silent_server, 0, &mut silent).expect_err("stalled");
        assert!(matches!(error, CorpusError::BrokenOff { bytes: 400_000, .. }), "{error}");
        let nobody = Server::nobody();
        let error = fixture.fetch(&nobody).expect_err("nobody there");
        assert!(matches!(error, CorpusError::Unreachable { .. }), "{error}");
    }
}
