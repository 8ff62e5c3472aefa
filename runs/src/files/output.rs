//! The output of a command under a name that the user gave, and the input that it is made from.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::place::{self, Place};
use super::{FileError, Unfinished};

/// Whether a path stands for standard input or output.
fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The input that an output is made from: a file, or standard input.
pub struct Input {
    path: PathBuf,
    reader: Box<dyn Read>,
    metadata: Option<Metadata>,
}

impl Input {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// If it cannot be opened, or is a folder.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let (reader, metadata): (Box<dyn Read>, _) = if is_standard(path) {
            (Box::new(io::stdin().lock()), metadata_of_standard_input())
        } else {
            let file = File::open(path).map_err(FileError::io("open", path))?;
            let metadata = file.metadata().map_err(FileError::io("open", path))?;
            if metadata.is_dir() {
                let hint = "it is a folder; pack it into a file first, for example with tar";
                let error = io::Error::new(io::ErrorKind::IsADirectory, hint);
                return Err(FileError::io("read", path)(error));
            }
            (Box::new(io::BufReader::new(file)), Some(metadata))
        };
        Ok(Self { path: path.to_owned(), reader, metadata })
    }

    /// Its path, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length, if it is a file.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.file().map(Metadata::len)
    }

    /// The metadata of a regular file.
    fn file(&self) -> Option<&Metadata> {
        self.metadata.as_ref().filter(|metadata| metadata.is_file())
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

#[cfg(unix)]
fn metadata_of_standard_input() -> Option<Metadata> {
    use std::os::fd::AsFd;
    let same = io::stdin().as_fd().try_clone_to_owned().ok()?;
    File::from(same).metadata().ok()
}

#[cfg(not(unix))]
fn metadata_of_standard_input() -> Option<Metadata> {
    None
}

/// An output: a file that takes its name when it is whole, or a stream. It is written to piece by piece
/// without a buffer.
pub struct Output {
    /// As it was given.
    path: PathBuf,
    sink: Sink,
}

enum Sink {
    Stream(Box<dyn Write>),
    File(Box<Unfinished>),
}

impl Output {
    /// Opens an output. If it replaces a file, it gets that file's mode, owner and group; see [`Self::of`].
    ///
    /// # Errors
    /// If there is no such folder, or it cannot be written.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        Self::open(path, place::find, None)
    }

    /// Opens the output for an input; `-` is standard output. A new file gets the input's mode and, where the system
    /// allows it, its owner and group; if a file is replaced, its own are kept.
    ///
    /// # Errors
    /// If it is the input, by whatever name, or cannot be written.
    pub fn of(input: &Input, path: &Path) -> Result<Self, FileError> {
        Self::named(path, Some(input))
    }

    /// The same for what is made from no file, such as a network that is built into the program.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn of_no_input(path: &Path) -> Result<Self, FileError> {
        Self::named(path, None)
    }

    /// An output by the name that a user gave.
    fn named(path: &Path, input: Option<&Input>) -> Result<Self, FileError> {
        match is_standard(path) {
            true => Self::open(path, |_| place::standard_output(), input),
            false => Self::open(path, place::find, input),
        }
    }

    /// Refuses an output that is another file which is being read, such as a model's.
    ///
    /// # Errors
    /// If it is that file, by whatever name.
    pub fn is_not(path: &Path, read: &Path) -> Result<(), FileError> {
        match (std::fs::metadata(path), std::fs::metadata(read)) {
            (Ok(output), Ok(read)) if is_same(&output, &read) => {
                Err(FileError::IsInput(path.to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn open(
        path: &Path,
        find: impl FnOnce(&Path) -> io::Result<Place>,
        input: Option<&Input>,
    ) -> Result<Self, FileError> {
        let place = find(path).map_err(FileError::io("write", path))?;
        let there = match &place {
            Place::Stream(stream) => stream.metadata().ok(),
            Place::File { replaced, .. } => replaced.clone(),
        };
        let model = input.and_then(Input::file);
        if let (Some(there), Some(model)) = (&there, model)
            && is_same(there, model)
        {
            return Err(FileError::IsInput(path.to_owned()));
        }
        let sink = match place {
            Place::Stream(stream) => Sink::Stream(Box::new(stream)),
            Place::File { path, .. } => {
                Sink::File(Box::new(Unfinished::like(&path, there.or_else(|| model.cloned()))?))
            }
        };
        Ok(Self { path: path.to_owned(), sink })
    }

    /// Gives a file its name.
    ///
    /// # Errors
    /// If it cannot be brought onto the disk or renamed.
    pub fn finish(self) -> Result<(), FileError> {
        match self.sink {
            Sink::Stream(mut stream) => stream.flush().map_err(FileError::io("write", &self.path)),
            Sink::File(unfinished) => unfinished.finish(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::Stream(stream) => stream.write(bytes),
            Sink::File(unfinished) => unfinished.file().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Stream(stream) => stream.flush(),
            Sink::File(unfinished) => unfinished.file().flush(),
        }
    }
}

/// Whether two paths are the same regular file.
#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Other systems have no file numbers, but there an open file cannot be replaced.
#[cfg(not(unix))]
fn is_same(_one: &Metadata, _other: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_output_is_whole_or_what_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out");
        fs::write(&path, "old").expect("written");
        let mut output = Output::create(&path).expect("opened");
        output.write_all(b"half").expect("written");
        drop(output);
        assert_eq!(fs::read(&path).expect("there"), b"old");
        let mut output = Output::create(&path).expect("opened");
        output.write_all(b"new").expect("written");
        output.finish().expect("named");
        assert_eq!(fs::read(&path).expect("there"), b"new");
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1);
    }

    #[test]
    fn folders_are_no_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let message = Input::open(folder.path()).err().expect("refused").to_string();
        assert!(message.contains("tar"), "{message}");
        let message = Output::create(folder.path()).err().expect("refused").to_string();
        assert!(message.contains("cannot write"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn an_input_is_known_by_every_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("in"), "in").expect("written");
        fs::hard_link(path("in"), path("hard")).expect("linked");
        std::os::unix::fs::symlink("hard", path("soft")).expect("linked");
        let input = Input::open(&path("in")).expect("opens");
        assert_eq!(input.length(), Some(2));
        for name in ["in", "hard", "soft"] {
            assert!(
                matches!(Output::of(&input, &path(name)), Err(FileError::IsInput(_))),
                "{name}"
            );
        }
        Output::of(&input, &path("other")).expect("another file");
        let device = Input::open(Path::new("/dev/null")).expect("opens");
        Output::of(&device, Path::new("/dev/null")).expect("no file");
    }
}
