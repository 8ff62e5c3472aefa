//! Several corpora to train on together: each sequence comes from one of them, in proportion to their weights.
//!
//! ```text
//! mixture = part { "+" part }
//! part    = corpus [ ":" weight ]      every part has a weight, or none has: then their lengths are
//! ```

use std::path::Path;
use std::sync::Arc;

use lmtrain_runs::plan::TrainOn;
use lmtrain_runs::{Bytes, PlannedPart, Span};

use super::corpus::{Corpus, CorpusIdentity, sha256_of};
use super::directory::DataDirectory;
use super::error::CorpusError;
use super::media::find;
use super::split::{Part, Split};

/// The most parts: each has one sequence of a block at least.
const MOST_PARTS: usize = 64;

/// One corpus or several.
#[derive(Debug)]
pub struct Mixture {
    ingredients: Vec<Ingredient>,
}

/// What a plan records about the training data.
#[derive(Clone, Debug)]
pub struct Planned {
    /// All of it.
    pub corpus: CorpusIdentity,
    /// The training bytes, if they do not follow from the length: for images and sounds.
    pub train_span: Option<Span>,
    /// The corpora that are mixed, if there are several.
    pub parts: Vec<PlannedPart>,
}

/// A part of a mixture.
#[derive(Clone, Debug)]
pub struct Ingredient {
    /// Its bytes.
    pub corpus: Arc<Corpus>,
    /// Its share of the tokens; none if lengths decide.
    pub weight: Option<f64>,
}

impl Mixture {
    /// Opens the corpora of a mixture, one by one, with `open`.
    ///
    /// # Errors
    /// If a part is empty or there twice, weights are given to some alone, or `open` fails.
    pub fn open<E: From<CorpusError>>(
        text: &str,
        data: &DataDirectory,
        mut open: impl FnMut(&str) -> Result<Arc<Corpus>, E>,
    ) -> Result<Self, E> {
        let mut ingredients: Vec<Ingredient> = Vec::new();
        for (name, weight) in pieces(text, data)? {
            let corpus = open(name)?;
            if ingredients.iter().any(|it| it.corpus.name() == corpus.name()) {
                return Err(refuse(text, format!("`{name}` occurs twice")).into());
            }
            ingredients.push(Ingredient { corpus, weight });
        }
        Ok(Self { ingredients })
    }

    /// One corpus.
    #[must_use]
    pub fn of(corpus: Arc<Corpus>) -> Self {
        Self { ingredients: vec![Ingredient { corpus, weight: None }] }
    }

    /// Its parts, at least one.
    #[must_use]
    pub fn ingredients(&self) -> &[Ingredient] {
        &self.ingredients
    }

    /// The corpus, if it is but one.
    #[must_use]
    pub fn single(&self) -> Option<&Arc<Corpus>> {
        match &self.ingredients[..] {
            [only] => Some(&only.corpus),
            _ => None,
        }
    }

    /// As it is written: `wiki15-8:8+kodak:1`.
    #[must_use]
    pub fn name(&self) -> String {
        let part = |part: &Ingredient| match part.weight {
            Some(weight) => format!("{}:{weight}", part.corpus.name()),
            None => part.corpus.name().to_owned(),
        };
        self.ingredients.iter().map(part).collect::<Vec<_>>().join("+")
    }

    /// Length of all parts together.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.ingredients.iter().map(|part| part.corpus.length()).sum()
    }

    /// SHA-256, hexadecimal: of one corpus its bytes', of several that of their hashes and weights.
    #[must_use]
    pub fn sha256(&self) -> String {
        if let Some(corpus) = self.single() {
            return corpus.sha256().to_owned();
        }
        let line = |part: &Ingredient| format!("{} {:?}\n", part.corpus.sha256(), part.weight);
        sha256_of(self.ingredients.iter().map(line).collect::<String>().as_bytes())
    }

    /// Checks that files that are still being read from have their original length.
    ///
    /// # Errors
    /// [`CorpusError::Shortened`] if not: what was read since cannot be trusted.
    pub fn check_length(&self) -> Result<(), CorpusError> {
        self.ingredients.iter().try_for_each(|part| part.corpus.check_length())
    }

    /// What a plan records of it.
    #[must_use]
    pub fn planned(&self, train_on: TrainOn) -> Planned {
        let set = self.single().filter(|corpus| corpus.files().is_some());
        let span = |corpus: &Corpus| Split::of_corpus(corpus, train_on).span(Part::Train);
        Planned {
            corpus: CorpusIdentity {
                name: self.name(),
                bytes: Bytes(self.length()),
                sha256: self.sha256(),
            },
            train_span: set.map(|corpus| span(corpus)),
            parts: self.parts(train_on),
        }
    }

    /// The parts as a plan records them; none if it is but one.
    fn parts(&self, train_on: TrainOn) -> Vec<PlannedPart> {
        if self.single().is_some() {
            return Vec::new();
        }
        let planned = |part: &Ingredient| PlannedPart {
            corpus: part.corpus.name().to_owned(),
            bytes: Bytes(part.corpus.length()),
            sha256: part.corpus.sha256().to_owned(),
            train: Split::of_corpus(&part.corpus, train_on).span(Part::Train),
            weight: part.weight,
        };
        self.ingredients.iter().map(planned).collect()
    }
}

/// Whether a text that is not a corpus's name is that of a mixture.
pub(super) fn is_mixture(text: &str, data: &DataDirectory) -> bool {
    pieces(text, data).is_ok_and(|pieces| pieces.len() > 1)
}

/// The names in a mixture, each with its weight; one, if a corpus has all of it for its name.
fn pieces<'a>(
    text: &'a str,
    data: &DataDirectory,
) -> Result<Vec<(&'a str, Option<f64>)>, CorpusError> {
    let is_whole = !text.contains('+')
        || Path::new(text).exists()
        || data.file_of(text).is_some()
        || find(text, data).is_ok_and(|set| set.is_some());
    if is_whole {
        return Ok(vec![(text, None)]);
    }
    let pieces: Vec<_> = text.split('+').map(weighted).collect();
    if pieces.iter().any(|(name, _)| name.is_empty()) {
        return Err(refuse(text, "the mixture has an empty part".to_owned()));
    }
    if pieces.len() > MOST_PARTS {
        return Err(refuse(text, format!("a mixture has at most {MOST_PARTS} parts")));
    }
    let with_weights = pieces.iter().filter(|(_, weight)| weight.is_some()).count();
    if ![0, pieces.len()].contains(&with_weights) {
        let reason = "some parts have a weight and some have none: give all of them one, or none";
        return Err(refuse(text, reason.to_owned()));
    }
    Ok(pieces)
}

fn weighted(piece: &str) -> (&str, Option<f64>) {
    let weight = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        text.parse().ok().filter(|weight: &f64| plain && *weight > 0.0 && weight.is_finite())
    };
    match piece.rsplit_once(':').map(|(name, text)| (name, weight(text))) {
        Some((name, Some(weight))) => (name, Some(weight)),
        _ => (piece, None),
    }
}

fn refuse(text: &str, reason: String) -> CorpusError {
    CorpusError::Name { name: text.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> DataDirectory {
        DataDirectory::at("nowhere")
    }

    fn mixture(text: &str) -> Result<Mixture, CorpusError> {
        Mixture::open(text, &data(), |name| crate::open(name, &data()).map(Arc::new))
    }

    #[test]
    fn parts_are_opened_one_by_one() {
        let two = mixture("random:bytes=100:3+markov:order=1,bytes=200:0.5").expect("opens");
        assert_eq!(two.name(), "random:bytes=100:3+markov:order=1,bytes=200:0.5");
        assert_eq!((two.length(), two.single().is_none()), (300, true));
        let planned = two.planned(TrainOn::Split).parts;
        assert_eq!((planned[0].share(), planned[1].share()), (3.0, 0.5));
        assert_eq!(planned[1].train, Span { start: 0, end: 180 });
        let by_length = mixture("random:bytes=100+markov:bytes=200").expect("opens");
        assert_eq!(by_length.planned(TrainOn::All).parts[1].share(), 200.0);
        let other = mixture("random:bytes=100:3+markov:order=1,bytes=200:1").expect("opens");
        assert_ne!(two.sha256(), other.sha256());
        let one = mixture("source").expect("opens");
        let corpus = one.single().expect("one");
        assert_eq!(
            (one.sha256(), one.planned(TrainOn::All).parts),
            (corpus.sha256().to_owned(), vec![])
        );
    }

    #[test]
    fn what_is_no_mixture_says_why() {
        for (text, expected) in [
            ("source+", "the mixture has an empty part"),
            ("+source", "the mixture has an empty part"),
            ("source+source", "`source` occurs twice"),
            ("source:1+random", "some parts have a weight"),
            ("source+nowhere", "corpus `nowhere` was not found"),
            ("source:0+random:1", "some parts have a weight"),
        ] {
            let message = mixture(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
        let many = vec!["x"; 65].join("+");
        assert!(mixture(&many).expect_err("many").to_string().contains("at most 64 parts"));
    }

    #[test]
    fn a_name_with_a_plus_is_a_name_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataDirectory::at(folder.path());
        std::fs::create_dir(data.text()).expect("made");
        std::fs::write(data.text().join("c++.txt"), b"a text").expect("written");
        let open = |name: &str| crate::open(name, &data).map(Arc::new);
        assert_eq!(Mixture::open("c++", &data, open).expect("opens").name(), "c++");
        assert!(is_mixture("source+random", &data) && !is_mixture("c++", &data));
        let message = crate::open("source+random", &data).expect_err("to train on").to_string();
        assert!(message.contains("only `lmtrain fit` takes a mixture"), "{message}");
    }
}
