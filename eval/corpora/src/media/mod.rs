//! Images and sounds as corpora: which files are meant, how options determine their conversion to bytes, and how these
//! are written.
//!
//! ```text
//! set     = [ "images/" | "audio/" ] name [ ":" option { "," option } ] | folder [ ":" … ]
//! option  = "grey=" mean | luma            of images
//!         | "bits=" 8 | 16                 of sounds
//!         | "rate=" Hz                     of sounds: files of another rate are left out
//!         | "chunks=" count                no more than so many, the first
//!         | "medium=" images | audio       of a folder that holds both
//! ```
//!
//! set ─► copy (kept from before?) ─► decode: folder (files in order) → in_order (all cores) → images, audio (chunks)
//! published, fetch, untar: sets that can be downloaded

mod audio;
mod copy;
mod decode;
mod decoded;
mod fetch;
mod files;
mod folder;
mod guard;
mod images;
mod in_order;
mod jpeg;
mod published;
#[cfg(test)]
mod reference_tests;
mod set;
#[cfg(test)]
mod set_tests;
mod summary;
mod untar;

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use lmtrain_runs::units::parse_count;

use crate::error::CorpusError;

pub(crate) use copy::{known_files, look_over, open_set};
pub(crate) use fetch::fetch_set;
pub use files::{Files, LeftOut};
pub use published::PublishedSet;
pub(crate) use published::{KODAK, LIBRISPEECH_DEV_CLEAN, LIBRISPEECH_TEST_CLEAN};
pub(crate) use set::{find, in_directory};

/// What a folder is decoded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MediaKind {
    Images,
    Audio,
}

/// Formats by what their files begin with, the suffixes that they go by, and their names.
const FORMATS: [(MediaKind, &str, &[&str]); 10] = [
    (MediaKind::Images, "PNG", &["png", "apng"]),
    (MediaKind::Images, "JPEG", &["jpg", "jpeg", "jpe", "jfif"]),
    (MediaKind::Images, "WebP", &["webp"]),
    (MediaKind::Images, "PNM", &["pnm", "pbm", "pgm", "ppm", "pam"]),
    (MediaKind::Images, "TIFF", &["tif", "tiff"]),
    (MediaKind::Images, "BMP", &["bmp", "dib"]),
    (MediaKind::Audio, "FLAC", &["flac"]),
    (MediaKind::Audio, "WAV", &["wav", "wave"]),
    (MediaKind::Audio, "MP3", &["mp3"]),
    (MediaKind::Audio, "Ogg Vorbis", &["ogg", "oga"]),
];

impl MediaKind {
    pub(crate) const ALL: [Self; 2] = [Self::Images, Self::Audio];

    /// Its folder in the data directory, and its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Audio => "audio",
        }
    }

    /// What its files hold.
    pub(crate) fn files(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Audio => "sounds",
        }
    }

    fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its formats, for messages: `PNG, JPEG …`.
    pub(crate) fn formats(self) -> String {
        let names = FORMATS.iter().filter(|(kind, ..)| *kind == self).map(|(_, name, _)| *name);
        names.collect::<Vec<_>>().join(", ")
    }

    /// The kind of a file by the suffix of its name or, if it has none, by its first bytes. None if it is neither an
    /// image nor a sound.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match path.extension() {
            Some(suffix) => Self::of_suffix(suffix),
            None => Self::of_first_bytes(&first_bytes(path)?),
        }
    }

    fn of_suffix(suffix: &OsStr) -> Option<Self> {
        let suffix = suffix.to_str()?.to_ascii_lowercase();
        let format = FORMATS.iter().find(|(_, _, suffixes)| suffixes.contains(&&*suffix))?;
        Some(format.0)
    }

    /// By signatures that nothing else begins with. (BMP and PNM have short ones.)
    fn of_first_bytes(first: &[u8]) -> Option<Self> {
        let riff = |form: &[u8]| first.starts_with(b"RIFF") && first.get(8..12) == Some(form);
        let is_image = first.starts_with(b"\x89PNG\r\n\x1a\n")
            || first.starts_with(b"\xff\xd8\xff")
            || first.starts_with(b"II*\0")
            || first.starts_with(b"MM\0*")
            || riff(b"WEBP");
        let is_sound = first.starts_with(b"fLaC") || first.starts_with(b"OggS") || riff(b"WAVE");
        match (is_image, is_sound) {
            (true, _) => Some(Self::Images),
            (_, true) => Some(Self::Audio),
            _ => None,
        }
    }
}

fn first_bytes(path: &Path) -> Option<Vec<u8>> {
    let mut first = Vec::new();
    File::open(path).ok()?.take(12).read_to_end(&mut first).ok()?;
    Some(first)
}

/// How colours become grey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Grey {
    /// ⌊(R + G + B) / 3⌋: the paper's code.
    #[default]
    Mean,
    /// ⌊(19595·R + 38470·G + 7471·B + 32768) / 65536⌋: the luma of ITU-R BT.601, rounded.
    Luma,
}

/// How a folder becomes bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Given if the folder might be either.
    pub(crate) medium: Option<MediaKind>,
    pub(crate) grey: Grey,
    /// Whether samples have 16 bits, and not 8.
    pub(crate) sixteen_bits: bool,
    /// The one rate whose files are taken.
    pub(crate) rate_hz: Option<u32>,
    /// The most chunks.
    pub(crate) chunks: Option<u64>,
    /// What the given options say about the folder: `grey` means images, `bits` means sounds.
    implied: Option<MediaKind>,
}

impl Options {
    /// Reads `key=value,…`; `text` is all that was written, for messages.
    pub(crate) fn parse(text: &str, options: &str) -> Result<Self, CorpusError> {
        let refuse = |reason: String| CorpusError::Name { name: text.to_owned(), reason };
        let mut parsed = Self::default();
        let mut given: Vec<&str> = Vec::new();
        for option in options.split(',') {
            let Some((key, value)) = option.split_once('=') else {
                return Err(refuse(format!("`{option}` is not key=value; {KEYS}")));
            };
            if given.contains(&key) {
                return Err(refuse(format!("`{key}` is given twice")));
            }
            given.push(key);
            parsed.set(key, value).map_err(refuse)?;
        }
        Ok(parsed)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let mut of = |kind| match self.implied.replace(kind) {
            Some(other) if other != kind => {
                Err(format!("`{key}` is not an option for {}", other.files()))
            }
            _ => Ok(()),
        };
        match (key, value) {
            ("grey", "mean" | "luma") => {
                of(MediaKind::Images)?;
                self.grey = if value == "luma" { Grey::Luma } else { Grey::Mean };
            }
            ("grey", _) => return Err(format!("grey must be mean or luma, not `{value}`")),
            ("bits", "8" | "16") => {
                of(MediaKind::Audio)?;
                self.sixteen_bits = value == "16";
            }
            ("bits", _) => return Err(format!("bits must be 8 or 16, not `{value}`")),
            ("rate", _) => {
                of(MediaKind::Audio)?;
                let rate = parse_count(value)?;
                let rate = u32::try_from(rate).ok().filter(|rate| *rate > 0);
                self.rate_hz =
                    Some(rate.ok_or(format!("rate must be a sample rate in Hz, not `{value}`"))?);
            }
            ("chunks", _) => match parse_count(value)? {
                0 => return Err("chunks must be at least 1, not `0`".to_owned()),
                chunks => self.chunks = Some(chunks),
            },
            ("medium", _) => {
                let kind = MediaKind::by_name(value);
                let kind = kind.ok_or(format!("medium must be images or audio, not `{value}`"))?;
                of(kind)?;
                self.medium = Some(kind);
            }
            _ => return Err(format!("there is no option `{key}`; {KEYS}")),
        }
        Ok(())
    }

    /// The kind of folder that the options imply, if any.
    pub(crate) fn kind(&self) -> Option<MediaKind> {
        self.implied
    }
}

const KEYS: &str = "the keys are grey (for images), bits, rate (for sounds), chunks, medium";

impl fmt::Display for Options {
    /// The options after a set's name, with the colon: those that differ from the defaults, in a fixed order.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = [
            self.medium.map(|kind| format!("medium={}", kind.name())),
            (self.grey == Grey::Luma).then(|| "grey=luma".to_owned()),
            self.sixteen_bits.then(|| "bits=16".to_owned()),
            self.rate_hz.map(|rate| format!("rate={rate}")),
            self.chunks.map(|chunks| format!("chunks={chunks}")),
        ];
        for (index, option) in given.into_iter().flatten().enumerate() {
            write!(formatter, "{}{option}", if index == 0 { ':' } else { ',' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn options_print_in_one_form() {
        for (text, printed, kind) in [
            ("grey=mean", "", Some(MediaKind::Images)),
            ("chunks=10K,grey=luma", ":grey=luma,chunks=10000", Some(MediaKind::Images)),
            ("rate=16K,bits=16", ":bits=16,rate=16000", Some(MediaKind::Audio)),
            ("bits=8", "", Some(MediaKind::Audio)),
            ("chunks=7", ":chunks=7", None),
            ("medium=audio,bits=16", ":medium=audio,bits=16", Some(MediaKind::Audio)),
        ] {
            let options = Options::parse("x", text).expect(text);
            assert_eq!((&*options.to_string(), options.kind()), (printed, kind), "{text}");
            if let Some(again) = printed.strip_prefix(':') {
                assert_eq!(Options::parse("x", again).expect(again).to_string(), printed);
            }
        }
    }

    #[test]
    fn bad_options_are_named() {
        for (options, expected) in [
            ("", "`` is not key=value; the keys are grey"),
            ("bits=12", "must be 8 or 16, not `12`"),
            ("grey=red", "must be mean or luma, not `red`"),
            ("rate=0", "in Hz, not `0`"),
            ("rate=fast", "`fast` is not a count"),
            ("chunks=0", "at least 1, not `0`"),
            ("chunks=1,chunks=2", "`chunks` is given twice"),
            ("medium=text", "must be images or audio, not `text`"),
            ("medium=images,bits=8", "`bits` is not an option for images"),
            ("bits=8,grey=mean", "`grey` is not an option for sounds"),
            ("seed=1", "no option `seed`"),
        ] {
            let message = Options::parse("set:x", options).expect_err(options).to_string();
            assert!(message.contains(expected) && message.contains("`set:x`"), "{message}");
        }
    }

    #[test]
    fn files_are_known_by_suffix_or_else_by_their_first_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("written");
            MediaKind::of(&path)
        };
        assert_eq!(
            of("a.JPEG", b"no image"),
            Some(MediaKind::Images),
            "which its decoder will say"
        );
        assert_eq!(of("a.flac", b""), Some(MediaKind::Audio));
        assert_eq!(of("a.txt", b"\x89PNG\r\n\x1a\n"), None);
        assert_eq!(of("png", b"\x89PNG\r\n\x1a\n"), Some(MediaKind::Images));
        assert_eq!(of("wave", b"RIFF....WAVE"), Some(MediaKind::Audio));
        assert_eq!(of("webp", b"RIFF....WEBPVP8"), Some(MediaKind::Images));
        assert_eq!(of("text", b"BMP is a format"), None);
        assert_eq!(of("nothing", b""), None);
        assert!(MediaKind::Images.formats().starts_with("PNG, JPEG, WebP, PNM"));
        assert_eq!(MediaKind::Audio.formats(), "FLAC, WAV, MP3, Ogg Vorbis");
    }

    proptest! {
        #[test]
        fn any_options_parse_or_are_refused(text in "[a-z0-9=,KM]{0,30}") {
            let _ = Options::parse(&text, &text);
        }
    }
}
