//! What a path means as an output: a file in a folder, whether it exists or not, or a stream. Links are followed one by
//! one here, since a link to a descriptor (`/dev/stdout`, `/proc/self/fd/3`) may resolve to a file's name, but must be
//! written to as a stream and not be replaced.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::folder_of;

/// Links that are followed before they are taken to go round in circles.
const MOST_LINKS: usize = 40;

/// Where an output goes.
pub(super) enum Place {
    /// To something that is open, or was opened.
    Stream(File),
    /// A file with this name, which is not a link.
    File {
        /// The name, in a folder that is there.
        path: PathBuf,
        /// The file that has the name now.
        replaced: Option<Metadata>,
    },
}

/// Finds out what a path means. A pipe is waited for until somebody reads from it.
pub(super) fn find(path: &Path) -> io::Result<Place> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let (folder, name) = split(&path)?;
        if let Some(number) = descriptor(&folder, &name) {
            return open_descriptor(number).map(Place::Stream);
        }
        let here = folder.join(&name);
        let metadata = match here.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Place::File { path: here, replaced: None });
            }
            metadata => metadata?,
        };
        let kind = metadata.file_type();
        if kind.is_symlink() && folder.starts_with("/proc") {
            // Another process's descriptor: the file behind it has a reader or a writer.
            return OpenOptions::new().append(true).open(&here).map(Place::Stream);
        } else if kind.is_symlink() {
            path = folder.join(fs::read_link(&here)?);
        } else if kind.is_file() {
            return Ok(Place::File { path: here, replaced: Some(metadata) });
        } else if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        } else {
            return OpenOptions::new().write(true).open(&here).map(Place::Stream);
        }
    }
    Err(io::Error::other("its symbolic links form a loop"))
}

/// What `-` means.
pub(super) fn standard_output() -> io::Result<Place> {
    open_descriptor(1).map(Place::Stream)
}

/// The folder of a path, without links, and the name in it.
fn split(path: &Path) -> io::Result<(PathBuf, OsString)> {
    let text = path.as_os_str().as_encoded_bytes();
    match path.file_name() {
        // `Path` takes no notice of such ends, and the system takes them for a folder's.
        Some(name) if !text.ends_with(b"/") && !text.ends_with(b"/.") => {
            Ok((fs::canonicalize(folder_of(path))?, name.to_owned()))
        }
        _ => Err(io::Error::new(io::ErrorKind::IsADirectory, "this is the name of a folder")),
    }
}

/// The number of our own file descriptor that a path stands for, if it does.
fn descriptor(folder: &Path, name: &OsStr) -> Option<u16> {
    match (folder.to_str(), name.to_str()?) {
        (Some("/dev"), "stdin") => return Some(0),
        (Some("/dev"), "stdout") => return Some(1),
        (Some("/dev"), "stderr") => return Some(2),
        _ => {}
    }
    let own = fs::canonicalize("/proc/self").is_ok_and(|own| folder.starts_with(own));
    let is_list = folder == Path::new("/dev/fd") || (own && folder.ends_with("fd"));
    is_list.then(|| name.to_str()?.parse().ok())?
}

/// A duplicate of an open file descriptor, with the same position.
#[cfg(unix)]
fn open_descriptor(number: u16) -> io::Result<File> {
    use std::os::fd::{AsFd, BorrowedFd};
    let owned = match number {
        0 => io::stdin().as_fd().try_clone_to_owned(),
        1 => io::stdout().as_fd().try_clone_to_owned(),
        2 => io::stderr().as_fd().try_clone_to_owned(),
        _ => {
            Path::new("/dev/fd").join(number.to_string()).symlink_metadata()?;
            // SAFETY: the descriptor is open, as was just seen, and is borrowed for as long as it takes to
            // duplicate it; nobody closes it meanwhile who was not given the number by the user, too.
            #[expect(unsafe_code, reason = "a number that the shell gave us has no owner in Rust")]
            unsafe { BorrowedFd::borrow_raw(i32::from(number)) }.try_clone_to_owned()
        }
    };
    owned.map(File::from)
}

#[cfg(windows)]
fn open_descriptor(number: u16) -> io::Result<File> {
    use std::os::windows::io::AsHandle;
    let owned = match number {
        1 => io::stdout().as_handle().try_clone_to_owned(),
        2 => io::stderr().as_handle().try_clone_to_owned(),
        _ => Err(io::ErrorKind::Unsupported.into()),
    };
    owned.map(File::from)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_are_followed_to_what_they_mean() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = fs::canonicalize(folder.path()).expect("there");
        fs::create_dir(root.join("sub")).expect("made");
        fs::write(root.join("sub/old"), "old").expect("written");
        for (link, target) in [
            ("to-old", "sub/old"),
            ("to-new", "sub/../sub/new"),
            ("twice", "to-new"),
            ("to-sub", "sub"),
            ("round", "round"),
            ("out", "/dev/stdout"),
            ("null", "/dev/null"),
        ] {
            symlink(target, root.join(link)).expect("linked");
        }
        let found = |path: &str| match find(&root.join(path)) {
            Ok(Place::File { path, replaced }) => {
                let path = path.strip_prefix(&root).expect("in the folder").to_owned();
                (path.display().to_string(), replaced.is_some())
            }
            Ok(Place::Stream(_)) => ("a stream".to_owned(), false),
            Err(error) => (error.kind().to_string(), false),
        };
        for (path, expected, is_there) in [
            ("new", "new", false),
            ("sub/old", "sub/old", true),
            ("to-old", "sub/old", true),
            ("twice", "sub/new", false),
            ("to-sub/new", "sub/new", false),
            ("sub/./../new", "new", false),
            ("out", "a stream", false),
            ("null", "a stream", false),
            ("sub", "is a directory", false),
            ("to-sub", "is a directory", false),
            ("new/", "is a directory", false),
            ("new/.", "is a directory", false),
            ("sub/..", "is a directory", false),
            ("nowhere/new", "entity not found", false),
            ("round", "other error", false),
        ] {
            assert_eq!(found(path), (expected.to_owned(), is_there), "{path}");
        }
    }

    #[test]
    fn descriptors_are_told_from_files() {
        let of = |path: &str| {
            let (folder, name) = split(Path::new(path)).expect("a path");
            descriptor(&folder, &name)
        };
        assert_eq!([of("/dev/stdin"), of("/dev/stdout"), of("/dev/stderr")], [0, 1, 2].map(Some));
        assert_eq!(of("/dev/fd/7"), Some(7));
        assert_eq!([of("/dev/fd/7x"), of("/dev/fd/-1"), of("/dev/null")], [None; 3]);
        if cfg!(target_os = "linux") {
            assert_eq!([of("/proc/self/fd/63"), of("/proc/thread-self/fd/63")], [Some(63); 2]);
        }
        assert!(open_descriptor(60_000).is_err(), "nothing is open there");
    }
}
