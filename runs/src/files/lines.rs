//! Files of JSON lines. Whole lines are appended, by one process at a time. Each line ends with a checksum, so that a
//! changed digit is an error and never a different number:
//!
//! ```text
//! {"name":"200K","ideal_bits":20000.0,"crc32":"5d0e7c3a"}
//! ```
//! The checksum is the CRC-32 of the bytes before its comma. Lines of older versions have none and can still be read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{FileError, folder_of, read_if_there};

/// Key of a line's checksum.
const KEY: &str = "crc32";
/// Length of `,"crc32":"5d0e7c3a"}`.
const TAIL_BYTES: usize = 20;

/// The records of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines<T> {
    /// One a line, in the order of the lines.
    pub records: Vec<T>,
    /// How many of them had no checksum.
    pub unchecked: usize,
}

/// Appends one record as a line, whole. A line that a process left unfinished when it died is cut off
/// first; other processes that append wait meanwhile.
///
/// # Errors
/// If it cannot be written.
pub fn append_line<T: Serialize>(path: &Path, record: &T) -> Result<(), FileError> {
    let line = line_of(path, record)?;
    let mut file = open_alone(path)?;
    append(&mut file, &line).map_err(FileError::io("write", path))
}

/// The same, unless `found` finds something in the records that are there, which is given instead. If several processes
/// have the same thing to append, one of them does.
///
/// # Errors
/// If it cannot be written, or the records that are there cannot be read.
pub fn append_line_unless<T: Serialize + DeserializeOwned>(
    path: &Path,
    record: &T,
    found: impl FnOnce(Vec<T>) -> Option<T>,
) -> Result<Option<T>, FileError> {
    let line = line_of(path, record)?;
    let mut file = open_alone(path)?;
    if let Some(there) = found(read_lines(path)?.records) {
        return Ok(Some(there));
    }
    append(&mut file, &line).map_err(FileError::io("write", path))?;
    Ok(None)
}

/// Opens a file to append to, and makes other processes that append to it wait until it is closed.
fn open_alone(path: &Path) -> Result<File, FileError> {
    let folder = folder_of(path);
    fs::create_dir_all(folder).map_err(FileError::io("create", folder))?;
    let file = OpenOptions::new().create(true).read(true).append(true).open(path);
    let file = file.map_err(FileError::io("write", path))?;
    // A file system without locks is used by one process at a time.
    let _ = file.lock();
    Ok(file)
}

fn append(file: &mut File, line: &[u8]) -> io::Result<()> {
    cut_unfinished_line(file)?;
    file.write_all(line)?;
    file.sync_data()
}

/// Reads a file of lines; no records if it is not there. A last line without its end was being written
/// when a process died, and is left out.
///
/// # Errors
/// If a finished line does not parse or is not what its checksum is of, naming it.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Lines<T>, FileError> {
    let mut lines = Lines { records: Vec::new(), unchecked: 0 };
    let Some(text) = read_if_there(path)? else { return Ok(lines) };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (index, line) in whole.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let refuse =
            |reason: String| FileError::damaged(path, format!("line {}: {reason}", index + 1));
        match Tail::of(line) {
            Tail::Good => {}
            Tail::Absent => lines.unchecked += 1,
            Tail::Bad => return Err(refuse("it does not match its checksum".to_owned())),
        }
        // What follows the checksum is a brace alone, and no record knows its key.
        let record = serde_json::from_str(line).map_err(|error| refuse(error.to_string()))?;
        lines.records.push(record);
    }
    Ok(lines)
}

/// The line of a record, its end included.
pub(crate) fn line_of<T: Serialize>(path: &Path, record: &T) -> Result<Vec<u8>, FileError> {
    let json = serde_json::to_vec(record);
    let mut line = json.map_err(|error| FileError::damaged(path, error.to_string()))?;
    // A record is an object with at least one key.
    line.pop();
    let checksum = crc32fast::hash(&line);
    line.extend(format!(",\"{KEY}\":\"{checksum:08x}\"}}\n").bytes());
    Ok(line)
}

/// The end of a line.
#[derive(Debug, PartialEq, Eq)]
enum Tail {
    /// With its checksum.
    Good,
    /// With another's, or one that is damaged itself.
    Bad,
    /// Without.
    Absent,
}

impl Tail {
    fn of(line: &str) -> Self {
        let Some((body, tail)) = line.as_bytes().split_last_chunk::<TAIL_BYTES>() else {
            return Self::Absent;
        };
        let checksum = crc32fast::hash(body);
        if tail == format!(",\"{KEY}\":\"{checksum:08x}\"}}").as_bytes() {
            return Self::Good;
        }
        // No record ends with a key of five letters and a value of eight: that was a checksum once.
        let marks = [(0, b','), (1, b'"'), (7, b'"'), (8, b':'), (9, b'"'), (18, b'"'), (19, b'}')];
        let fitting = marks.iter().filter(|(place, mark)| tail[*place] == *mark).count();
        if fitting + 1 >= marks.len() { Self::Bad } else { Self::Absent }
    }
}

fn cut_unfinished_line(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut end = length;
    let mut byte = [0];
    while end > 0 {
        file.seek(SeekFrom::Start(end - 1))?;
        file.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            break;
        }
        end -= 1;
    }
    if end < length { file.set_len(end) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn records(path: &Path) -> Result<Vec<Value>, FileError> {
        let strip = |mut record: Value| {
            record.as_object_mut().expect("an object").remove(KEY);
            record
        };
        Ok(read_lines(path)?.records.into_iter().map(strip).collect())
    }

    #[test]
    fn every_flipped_bit_of_a_line_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lines.jsonl");
        let record = json!({ "bits": 20_000.5, "name": "a", "of": [1, 2] });
        append_line(&path, &record).expect("written");
        let good = fs::read(&path).expect("there");
        assert_eq!(records(&path).expect("whole"), [record]);
        // All but the end of the line, without which it is an unfinished one.
        for place in 0..good.len() - 1 {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[place] ^= 1 << bit;
                fs::write(&path, &bad).expect("written");
                let message = records(&path).expect_err("damaged").to_string();
                assert!(message.contains("lines.jsonl is damaged"), "{place} {bit}: {message}");
            }
        }
    }

    #[test]
    fn lines_without_a_checksum_are_read_and_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lines.jsonl");
        fs::write(&path, "{\"a\":1}\n{\"command\":\"lmtrain eval -a\"}\n").expect("written");
        append_line(&path, &json!({ "a": 2 })).expect("written");
        let lines = read_lines::<Value>(&path).expect("whole");
        assert_eq!((lines.records.len(), lines.unchecked), (3, 2));
    }

    #[test]
    fn of_many_who_append_the_same_one_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lines.jsonl");
        let record = json!({ "name": "a" });
        let same = |there: Vec<Value>| there.into_iter().find(|it| it["name"] == "a");
        let once = || append_line_unless(&path, &record, same).expect("written").is_none();
        let wrote = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(once)).collect();
            all.into_iter().filter_map(|one| one.join().ok()).filter(|wrote| *wrote).count()
        });
        assert_eq!((wrote, records(&path).expect("whole")), (1, vec![record.clone()]));
        let other = |there: Vec<Value>| there.into_iter().find(|it| it["name"] == "b");
        assert_eq!(append_line_unless(&path, &record, other).expect("written"), None);
        assert_eq!(records(&path).expect("whole").len(), 2);
    }

    #[test]
    fn who_appends_at_once_damages_nothing() {
        const EACH: usize = 40;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lines.jsonl");
        // Longer than a page: a file grows by pages while such a line is being written.
        let record = json!({ "text": "x".repeat(100_000) });
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..EACH).for_each(|_| append_line(&path, &record).expect("written"))
                });
            }
        });
        let lines = read_lines::<Value>(&path).expect("every line is whole");
        assert_eq!((lines.records.len(), lines.unchecked), (4 * EACH, 0));
    }
}
