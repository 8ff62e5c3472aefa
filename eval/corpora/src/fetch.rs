//! Downloading published corpora: which ones are asked for, whether they are here already, and where they are
//! published.

use std::path::PathBuf;

use super::catalogue::holders;
use super::container::format_of;
use super::directory::DataDirectory;
use super::download::{Download, FetchOptions, Fetched};
use super::error::CorpusError;
use super::format::Format;
use super::media::fetch_set;
use super::name::{Request, parse};
use super::open::find_published;
use super::progress::ProgressCallback;

/// What texts are known by.
const BY_SHA256: &str = "its published SHA-256";

/// Downloads a published corpus into the data directory, if it is not there. An interrupted download is continued, and
/// the file gets its name only if its hash is the published one.
///
/// # Errors
/// If the corpus is not a published one, the network or the disk fails, or something else came.
/// After [`CorpusError::Interrupted`] and [`CorpusError::BrokenOff`] what came is kept.
pub fn fetch(
    name: &str,
    data: &DataDirectory,
    options: &FetchOptions,
    progress: &mut ProgressCallback,
) -> Result<Fetched, CorpusError> {
    let refuse = |reason| Err(CorpusError::NothingToFetch { name: name.to_owned(), reason });
    let name = match parse(name)? {
        Request::Published(name, _) => name,
        Request::Set(asked, set) => {
            let name = asked.split(':').next().unwrap_or(asked);
            return fetch_set(name, set, data, options, progress);
        }
        Request::File(_) | Request::Path(_) | Request::RawFile(_) | Request::RawPath(_) => {
            return refuse("it is not one of the published corpora");
        }
        _ => return refuse("it is built in and always available"),
    };
    if let Ok(held) = find_published(name, data) {
        return was_there(held.holder, held.holder_bytes, held.file, data);
    }
    let downloadable =
        holders(name).find_map(|(holder, published)| Some((holder, published, published.url?)));
    let Some((holder, published, url)) = downloadable else {
        return refuse("it is not published anywhere");
    };
    let url = options.url.as_deref().unwrap_or(url);
    let download = Download { holder, published, url, options };
    let (path, downloaded_bytes) = download.run(&data.text(), progress)?;
    Ok(Fetched {
        holder: holder.to_owned(),
        path,
        downloaded_bytes,
        was_there: false,
        checked_by: BY_SHA256,
    })
}

/// Nothing to do, unless the file is evidently not what its name says. (Only a plain file shows.)
fn was_there(
    holder: &str,
    expected: u64,
    path: PathBuf,
    data: &DataDirectory,
) -> Result<Fetched, CorpusError> {
    let found = path.metadata().map_err(CorpusError::file("read", &path))?.len();
    if format_of(&path)? == Format::Plain && found != expected {
        let hint = data.command(&format!("data fetch {holder}"));
        let name = holder.to_owned();
        return Err(CorpusError::WrongLength { name, path, found, expected, hint });
    }
    Ok(Fetched {
        holder: holder.to_owned(),
        path,
        downloaded_bytes: 0,
        was_there: true,
        checked_by: BY_SHA256,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::archive::tests::packed;
    use crate::progress::silent;
    use crate::test_server::Server;

    #[test]
    fn only_what_is_published_and_absent_is_fetched() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataDirectory::at(folder.path());
        let options = FetchOptions::default();
        for name in ["source", "markov", "my-notes", "./enwik8"] {
            let error = fetch(name, &data, &options, &mut silent).expect_err("not to be had");
            assert!(matches!(error, CorpusError::NothingToFetch { .. }), "{error}");
        }
        fs::create_dir(data.text()).expect("made");
        let file = fs::File::create(data.text().join("enwik8")).expect("made");
        let error = fetch("enwik7", &data, &options, &mut silent).expect_err("not enwik8");
        assert!(matches!(error, CorpusError::WrongLength { expected: 100_000_000, .. }), "{error}");
        file.set_len(100_000_000).expect("long");
        let fetched = fetch("enwik7", &data, &options, &mut silent).expect("nothing to do");
        assert!(fetched.was_there && fetched.holder == "enwik8");
    }

    #[test]
    fn a_beginning_comes_with_the_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataDirectory::at(folder.path());
        let server = Server::of_file(packed(b"not enwik8", Format::Zip));
        let url = Some(server.url().to_owned());
        let options = FetchOptions { url, ..FetchOptions::default() };
        let error = fetch("enwik7", &data, &options, &mut silent).expect_err("something else");
        let message = error.to_string();
        assert!(message.contains(server.url()) && message.contains("is not enwik8"), "{message}");
    }
}
