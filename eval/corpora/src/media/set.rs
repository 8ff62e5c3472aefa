//! A set: a folder of images or sounds that is a corpus. It is given by a name in the data directory or by a path, with
//! options after a colon.

use std::path::{Component, Path, PathBuf};

use super::folder::{Entry, Walk};
use super::{MediaKind, Options};
use crate::catalogue::{Kind, known};
use crate::directory::DataDirectory;
use crate::error::CorpusError;

/// A folder to decode, and how.
#[derive(Debug)]
pub(crate) struct MediaSet {
    /// As records name it: `kodak`, `images/kodak` where a text has that name too, or a path; with its options.
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// What it holds, if its place or an option says so.
    pub(crate) kind: Option<MediaKind>,
    pub(crate) options: Options,
}

/// The set that is meant, if one is.
///
/// # Errors
/// If its options are none, or two sets have its name.
pub(crate) fn find(text: &str, data: &DataDirectory) -> Result<Option<MediaSet>, CorpusError> {
    let with_options = text.rsplit_once(':').filter(|(_, options)| options.contains('='));
    let readings = [Some((text, None)), with_options.map(|(base, options)| (base, Some(options)))];
    for (base, options) in readings.into_iter().flatten() {
        let Some(place) = locate(text, base, data)? else { continue };
        let options = options.map_or(Ok(Options::default()), |it| Options::parse(text, it))?;
        return place.set(text, options).map(Some);
    }
    Ok(None)
}

/// A folder that a name or a path leads to.
pub(crate) struct Place {
    name: String,
    folder: PathBuf,
    kind: Option<MediaKind>,
}

impl Place {
    pub(crate) fn set(self, text: &str, options: Options) -> Result<MediaSet, CorpusError> {
        let Self { name, folder, kind } = self;
        if let (Some(kind), Some(implied)) = (kind, options.kind())
            && kind != implied
        {
            let reason =
                format!("it holds {}, but the options are for {}", kind.files(), implied.files());
            return Err(CorpusError::Name { name: text.to_owned(), reason });
        }
        let name = format!("{name}{options}");
        Ok(MediaSet { name, folder, kind: kind.or(options.kind()), options })
    }
}

/// Looks in the data directory, then for the path.
fn locate(text: &str, base: &str, data: &DataDirectory) -> Result<Option<Place>, CorpusError> {
    let named = MediaKind::ALL.into_iter().find_map(|kind| {
        let set = base.strip_prefix(kind.name())?.strip_prefix('/')?.trim_end_matches('/');
        is_name(set).then_some((kind, set))
    });
    let there = |kind: MediaKind, set: &str| data.set_folder(kind.name(), set).is_dir();
    if let Some((kind, set)) = named.filter(|(kind, set)| there(*kind, set)) {
        return Ok(Some(in_directory(kind, set, data)));
    }
    if is_name(base) {
        match MediaKind::ALL.into_iter().filter(|kind| there(*kind, base)).collect::<Vec<_>>()[..] {
            [] => {}
            [kind] => return Ok(Some(in_directory(kind, base, data))),
            _ => {
                let reason = format!(
                    "there are both `images/{base}` and `audio/{base}`; write one of these"
                );
                return Err(CorpusError::Name { name: text.to_owned(), reason });
            }
        }
    }
    let folder = Path::new(base);
    if base.is_empty() || !folder.is_dir() {
        return Ok(None);
    }
    // `.` and `..` have no name of their own.
    let name = match folder.file_name() {
        Some(_) => base.trim_end_matches('/').to_owned(),
        None => folder.canonicalize().unwrap_or_else(|_| folder.to_owned()).display().to_string(),
    };
    Ok(Some(Place { name, folder: folder.to_owned(), kind: None }))
}

/// A set of the data directory, under the shortest name that means it.
pub(crate) fn in_directory(kind: MediaKind, set: &str, data: &DataDirectory) -> Place {
    let is_taken = known(set).is_some_and(|row| !matches!(row.kind, Kind::Set(_)))
        || data.file_of(set).is_some()
        || MediaKind::ALL
            .into_iter()
            .any(|it| it != kind && data.set_folder(it.name(), set).is_dir());
    let long = format!("{}/{set}", kind.name());
    let name = if is_taken { long } else { set.to_owned() };
    Place { name, folder: data.set_folder(kind.name(), set), kind: Some(kind) }
}

/// Whether it is the name of a single folder and not a path.
fn is_name(text: &str) -> bool {
    let mut components = Path::new(text).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
}

impl MediaSet {
    /// What it holds; if nothing says so, its first image or sound decides.
    ///
    /// # Errors
    /// If it holds neither, or cannot be read.
    pub(crate) fn kind(&self) -> Result<MediaKind, CorpusError> {
        if let Some(kind) = self.kind {
            return Ok(kind);
        }
        let mut others = 0_u64;
        for entry in Walk::new(&self.folder)? {
            if let Entry::File(file) = entry?
                && let Some(kind) = MediaKind::of(&file.path)
            {
                return Ok(kind);
            }
            others += 1;
        }
        let [images, sounds] = MediaKind::ALL.map(MediaKind::formats);
        let reason = format!(
            "it holds neither images ({images}) nor sounds ({sounds}), only {others} other files"
        );
        Err(CorpusError::EmptySet { folder: self.folder.clone(), reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_folder::TestFolder;

    fn fixture(folders: &[&str]) -> TestFolder {
        let folder = TestFolder::new();
        folders.iter().for_each(|name| folder.make(name));
        folder
    }

    #[test]
    fn sets_are_found_by_name_and_by_path() {
        let folder =
            fixture(&["images/kodak", "images/both", "audio/both", "audio/speech", "text", "mine"]);
        folder.put("text/speech.txt", b"a text");
        let path = |name: &str| folder.path(name).display().to_string();
        for (text, name, place, kind) in [
            ("kodak", "kodak", "images/kodak", Some(MediaKind::Images)),
            ("images/kodak/", "kodak", "images/kodak", Some(MediaKind::Images)),
            ("kodak:grey=luma", "kodak:grey=luma", "images/kodak", Some(MediaKind::Images)),
            ("audio/both:bits=8", "audio/both", "audio/both", Some(MediaKind::Audio)),
            ("audio/speech", "audio/speech", "audio/speech", Some(MediaKind::Audio)),
            (&path("mine"), &path("mine"), "mine", None),
            (
                &format!("{}:bits=16", path("mine")),
                &format!("{}:bits=16", path("mine")),
                "mine",
                Some(MediaKind::Audio),
            ),
        ] {
            let set = find(text, &folder.data).expect(text).expect(text);
            assert_eq!((&*set.name, set.kind), (name, kind), "{text}");
            assert_eq!(set.folder.components().as_path(), folder.path(place), "{text}");
        }
        for text in ["nowhere", "images/nowhere", "images/..", "images/", "kodak:", "", ":a=b"] {
            assert!(find(text, &folder.data).expect(text).is_none(), "{text}");
        }
        for (text, expected) in [
            ("both", "`images/both` and `audio/both`"),
            ("kodak:bits=16", "it holds images, but the options are for sounds"),
            ("kodak:colour=red", "no option `colour`"),
        ] {
            let message = find(text, &folder.data).expect_err(text).to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn the_first_image_or_sound_says_what_a_folder_holds() {
        let folder = fixture(&["mine/deep", "none"]);
        let open = |name: &str| {
            let path = folder.path(name).display().to_string();
            find(&path, &folder.data).expect("read").expect("there").kind()
        };
        folder.put("mine/a.txt", b"");
        folder.put("mine/deep/b.wav", b"");
        assert_eq!(open("mine").expect("sounds"), MediaKind::Audio);
        folder.put("none/a.txt", b"");
        let message = open("none").expect_err("neither").to_string();
        assert!(message.contains("PNG, JPEG") && message.contains("1 other files"), "{message}");
    }
}
