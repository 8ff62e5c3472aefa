//! How a corpus is written: a known name, `markov:order=3,seed=7`, a file's name or a path.
//!
//! ```text
//! corpus  = path | known | known ":" option { "," option } | file name | "raw:" (path | file name)
//! option  = key "=" count                  counts as 4096, 200K, 100M; a seed in digits alone
//! ```
//! `raw:` uses a file's bytes as they are, even if it is a compressed file or an archive, which would otherwise be
//! unpacked or refused.
//!
//! Parsed names are printed in one canonical form, which records keep: options with their default value are left out,
//! the others come in the order of the tables below.

use std::fmt;
use std::path::{MAIN_SEPARATOR, Path};

use lmtrain_runs::units::parse_count;

use super::catalogue::{Kind, Published, known};
use super::error::CorpusError;
use super::media::PublishedSet;

/// More would not fit in memory, where generated corpora live.
const MOST_BYTES: u64 = 1 << 32;
/// Contexts times symbols of a Markov source: beyond, its tables take long to make.
const MOST_TRANSITIONS: u64 = 1 << 20;

/// A corpus as it was asked for.
#[derive(Debug)]
pub(super) enum Request<'a> {
    Published(&'static str, &'static Published),
    Source,
    Random(RandomOptions),
    Markov(MarkovOptions),
    /// A file of the data directory, or else of the working directory.
    File(&'a str),
    Path(&'a Path),
    /// A published set of images or sounds; what is asked for, options included.
    Set(&'a str, &'static PublishedSet),
    /// The same two, with their bytes used as they are.
    RawFile(&'a str),
    RawPath(&'a Path),
}

/// The prefix of a file's name whose bytes are to be used as they are.
pub(super) const RAW: &str = "raw:";

/// Which random bytes: the options of `random:seed=…,bytes=…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomOptions {
    /// Seed of the generator; 0 unless told.
    pub seed: u64,
    /// Length in bytes; 10^7 unless told.
    pub bytes: u64,
}

/// Which Markov source: the options of `markov:order=…,alphabet=…,seed=…,bytes=…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkovOptions {
    /// The number of symbols that determine the probabilities of the next one; 2 by default.
    pub order: u32,
    /// Number of different bytes, 2 to 256; 16 unless told.
    pub alphabet: u32,
    /// Seed of the probabilities and of the sample; 0 unless told.
    pub seed: u64,
    /// Length in bytes; 4·10^6 unless told.
    pub bytes: u64,
}

impl Default for RandomOptions {
    fn default() -> Self {
        Self { seed: 0, bytes: 10_000_000 }
    }
}

impl Default for MarkovOptions {
    fn default() -> Self {
        Self { order: 2, alphabet: 16, seed: 0, bytes: 4_000_000 }
    }
}

/// Parses a corpus as the user wrote it. Whether a file exists is not checked.
pub(super) fn parse(text: &str) -> Result<Request<'_>, CorpusError> {
    if text.is_empty() {
        return Err(refuse(text, "it is empty".to_owned()));
    }
    let is_path = |text: &str| text.contains('/') || text.contains(MAIN_SEPARATOR);
    match text.strip_prefix(RAW) {
        Some("") => return Err(refuse(text, "it names no file".to_owned())),
        Some(path) if is_path(path) => return Ok(Request::RawPath(Path::new(path))),
        Some(file) => return Ok(Request::RawFile(file)),
        None if is_path(text) => return Ok(Request::Path(Path::new(text))),
        None => {}
    }
    let (name, options) = match text.split_once(':') {
        Some((name, options)) => (name, Some(options)),
        None => (text, None),
    };
    let Some(row) = known(name) else { return Ok(Request::File(text)) };
    match &row.kind {
        Kind::Published(_) | Kind::Source if options.is_some() => {
            Err(refuse(text, format!("`{name}` takes no options")))
        }
        Kind::Published(published) => Ok(Request::Published(row.name, published)),
        Kind::Source => Ok(Request::Source),
        Kind::Set(set) => Ok(Request::Set(text, set)),
        Kind::Random => Ok(Request::Random(RandomOptions::parse(text, options)?)),
        Kind::Markov => Ok(Request::Markov(MarkovOptions::parse(text, options)?)),
    }
}

impl RandomOptions {
    fn parse(text: &str, options: Option<&str>) -> Result<Self, CorpusError> {
        let [mut seed, mut bytes] = [None; 2];
        read_options(text, options, &mut [("seed", &mut seed), ("bytes", &mut bytes)])?;
        let usual = Self::default();
        let made = Self { seed: seed.unwrap_or(usual.seed), bytes: bytes.unwrap_or(usual.bytes) };
        check_length(text, made.bytes)?;
        Ok(made)
    }
}

impl MarkovOptions {
    fn parse(text: &str, options: Option<&str>) -> Result<Self, CorpusError> {
        let [mut order, mut alphabet, mut seed, mut bytes] = [None; 4];
        let slots: &mut [(&str, &mut Option<u64>)] = &mut [
            ("order", &mut order),
            ("alphabet", &mut alphabet),
            ("seed", &mut seed),
            ("bytes", &mut bytes),
        ];
        read_options(text, options, slots)?;
        let usual = Self::default();
        let small = |value: Option<u64>, usual| {
            value.map_or(usual, |value| u32::try_from(value).unwrap_or(u32::MAX))
        };
        let made = Self {
            order: small(order, usual.order),
            alphabet: small(alphabet, usual.alphabet),
            seed: seed.unwrap_or(usual.seed),
            bytes: bytes.unwrap_or(usual.bytes),
        };
        check_length(text, made.bytes)?;
        made.check().map_err(|reason| refuse(text, reason))?;
        Ok(made)
    }

    /// Checks that such a source can be made; otherwise a sentence that says why not.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { order, alphabet, .. } = *self;
        if !(2..=256).contains(&alphabet) {
            return Err(format!("alphabet must be from 2 to 256, not {alphabet}"));
        }
        match u64::from(alphabet).checked_pow(order.saturating_add(1)) {
            Some(transitions) if transitions <= MOST_TRANSITIONS => Ok(()),
            _ => Err(format!(
                "order={order} with alphabet={alphabet} has more than {MOST_TRANSITIONS} \
                 transitions (alphabet^(order + 1))"
            )),
        }
    }
}

fn check_length(text: &str, bytes: u64) -> Result<(), CorpusError> {
    if bytes > MOST_BYTES {
        return Err(refuse(text, format!("bytes must be at most {MOST_BYTES}, not {bytes}")));
    }
    Ok(())
}

/// Reads `key=count,…` into the slot of each key.
fn read_options(
    text: &str,
    options: Option<&str>,
    slots: &mut [(&str, &mut Option<u64>)],
) -> Result<(), CorpusError> {
    let Some(options) = options else { return Ok(()) };
    let keys: Vec<&str> = slots.iter().map(|(key, _)| *key).collect();
    let keys = keys.join(", ");
    for option in options.split(',') {
        let Some((key, value)) = option.split_once('=') else {
            return Err(refuse(text, format!("`{option}` is not key=count; the keys are {keys}")));
        };
        let Some((_, slot)) = slots.iter_mut().find(|(known, _)| *known == key) else {
            return Err(refuse(text, format!("there is no option `{key}`; the keys are {keys}")));
        };
        // A seed is a name, not an amount: it may use all 64 bits, and takes no suffix.
        let count = if key == "seed" {
            value.parse().map_err(|_| format!("seed must be a whole number, not `{value}`"))
        } else {
            parse_count(value)
        };
        let count = count.map_err(|reason| refuse(text, reason))?;
        if slot.replace(count).is_some() {
            return Err(refuse(text, format!("`{key}` is given twice")));
        }
    }
    Ok(())
}

fn refuse(text: &str, reason: String) -> CorpusError {
    CorpusError::Name { name: text.to_owned(), reason }
}

impl fmt::Display for RandomOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Self::default();
        let options = [("seed", self.seed, usual.seed), ("bytes", self.bytes, usual.bytes)];
        write_canonical(formatter, "random", &options)
    }
}

impl fmt::Display for MarkovOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Self::default();
        let options = [
            ("order", u64::from(self.order), u64::from(usual.order)),
            ("alphabet", u64::from(self.alphabet), u64::from(usual.alphabet)),
            ("seed", self.seed, usual.seed),
            ("bytes", self.bytes, usual.bytes),
        ];
        write_canonical(formatter, "markov", &options)
    }
}

/// Writes the name and those options, as (key, value, usual value), that are not the usual ones.
fn write_canonical(
    formatter: &mut fmt::Formatter<'_>,
    name: &str,
    options: &[(&str, u64, u64)],
) -> fmt::Result {
    formatter.write_str(name)?;
    let unusual = options.iter().filter(|(_, value, usual)| value != usual);
    for (index, (key, value, _)) in unusual.enumerate() {
        let before = if index == 0 { ':' } else { ',' };
        write!(formatter, "{before}{key}={value}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn markov(text: &str) -> MarkovOptions {
        match parse(text) {
            Ok(Request::Markov(options)) => options,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn names_are_told_apart() {
        assert!(matches!(parse("enwik7"), Ok(Request::Published("enwik7", _))));
        assert!(matches!(parse("source"), Ok(Request::Source)));
        assert!(matches!(parse("random"), Ok(Request::Random(_))));
        assert!(matches!(parse("wiki15-8"), Ok(Request::File("wiki15-8"))));
        assert!(matches!(parse("a:b=c"), Ok(Request::File(_))));
        assert!(matches!(parse("./enwik8"), Ok(Request::Path(_))));
        assert!(matches!(parse("raw:enwik8.zip"), Ok(Request::RawFile("enwik8.zip"))));
        assert!(matches!(parse("raw:source"), Ok(Request::RawFile("source"))));
        assert!(matches!(parse("raw:./a:b.gz"), Ok(Request::RawPath(_))));
        assert!(matches!(parse("./raw:a"), Ok(Request::Path(_))));
        assert_eq!(markov("markov"), MarkovOptions::default());
        let options = markov("markov:order=3,seed=18446744073709551615,bytes=2M,alphabet=4");
        assert_eq!(
            options.to_string(),
            "markov:order=3,alphabet=4,seed=18446744073709551615,bytes=2000000"
        );
        assert_eq!(markov("markov:bytes=4M,order=2").to_string(), "markov");
    }

    #[test]
    fn bad_options_are_named() {
        for (text, expected) in [
            ("", "empty"),
            ("raw:", "names no file"),
            ("source:seed=1", "takes no options"),
            ("enwik8:", "takes no options"),
            ("markov:", "`` is not key=count; the keys are order, alphabet, seed, bytes"),
            ("markov:ordr=2", "no option `ordr`"),
            ("markov:order=2,order=3", "twice"),
            ("markov:order=x", "`x` is not a count"),
            ("markov:seed=1M", "must be a whole number"),
            ("markov:order=9", "order=9 with alphabet=16"),
            ("markov:order=99999999999", "transitions"),
            ("markov:alphabet=1", "from 2 to 256, not 1"),
            ("random:bytes=5G", "must be at most"),
            ("random:order=1", "the keys are seed, bytes"),
        ] {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
            assert!(message.contains(&format!("`{text}`")), "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in ".*") {
            let _ = parse(&text);
        }

        #[test]
        fn any_options_parse_or_are_refused(text in "(markov|random):[a-z0-9=,KM.-]{0,30}") {
            let _ = parse(&text);
        }

        #[test]
        fn canonical_names_read_back(
            order in 0u32..3, alphabet in 2u32..100, seed: u64, bytes in 0u64..1 << 32,
        ) {
            let options = MarkovOptions { order, alphabet, seed, bytes };
            prop_assert_eq!(markov(&options.to_string()), options);
            let random = RandomOptions { seed, bytes };
            let text = random.to_string();
            let Ok(Request::Random(read)) = parse(&text) else { panic!("{text}") };
            prop_assert_eq!(read, random);
        }
    }
}
