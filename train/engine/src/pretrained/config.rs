//! `config.json`, key by key. Every value that is read is noted, so that a model's identity covers the values that it
//! was built from. An absent key and `null` mean the same, except for tokens, where `null` means that there is none.
//!
//! A wrong value is noted as a fault and, if possible, replaced by the usual value, so that everything that is wrong
//! can be reported at once: the reader of a configuration asks for its [`faults`](Config::faults) at the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Map, Value};

use super::error::{PretrainedError, refuse_pointer};

/// No dimension of a network is larger; products of two of them do not overflow.
const MOST: u64 = 1 << 31;

/// The configuration of a model.
pub(super) struct Config {
    path: PathBuf,
    values: Map<String, Value>,
    used: RefCell<BTreeMap<String, String>>,
    /// What is wrong, groups included.
    faults: Rc<RefCell<Vec<String>>>,
}

impl Config {
    /// Reads a folder's.
    pub(super) fn read(folder: &Path) -> Result<Self, PretrainedError> {
        let path = folder.join("config.json");
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let hint = super::error::WEIGHTS_HINT;
                return Err(PretrainedError::missing(folder, "config.json", hint));
            }
            text => text.map_err(|source| PretrainedError::Read { path: path.clone(), source })?,
        };
        Self::parse(path, &text)
    }

    pub(super) fn parse(path: PathBuf, text: &[u8]) -> Result<Self, PretrainedError> {
        refuse_pointer(&path, text)?;
        match serde_json::from_slice(text) {
            Ok(Value::Object(values)) => {
                Ok(Self { path, values, used: RefCell::default(), faults: Rc::default() })
            }
            Ok(_) => Err(PretrainedError::refused(&path, "it is not a JSON object")),
            Err(error) => Err(PretrainedError::refused(&path, error.to_string())),
        }
    }

    /// An error that names the file.
    pub(super) fn refuse(&self, reason: impl Into<String>) -> PretrainedError {
        PretrainedError::refused(&self.path, reason)
    }

    /// The same, noted as a fault: reading goes on.
    pub(super) fn fault(&self, reason: impl Into<String>) -> PretrainedError {
        let reason = reason.into();
        self.faults.borrow_mut().push(reason.clone());
        self.refuse(reason)
    }

    /// All that was found wrong.
    pub(super) fn faults(&self) -> Vec<PretrainedError> {
        let faults = self.faults.take();
        faults.into_iter().map(|reason| self.refuse(reason)).collect()
    }

    fn wrong(&self, key: &str, value: &Value, wanted: &str) -> PretrainedError {
        let mut shown = value.to_string();
        if shown.len() > 60 {
            shown = shown.chars().take(60).chain(['…']).collect();
        }
        self.fault(format!("`{key}` is {shown}, but must be {wanted}"))
    }

    /// A value, if it is there and not `null`.
    fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// Notes what a key came to.
    fn note<T: ToString>(&self, key: &str, value: T) -> T {
        self.used.borrow_mut().insert(key.to_owned(), value.to_string());
        value
    }

    /// A count of at least 1.
    pub(super) fn count(&self, key: &str) -> Result<usize, PretrainedError> {
        self.count_if_any(key)?.ok_or_else(|| self.fault(format!("`{key}` is missing")))
    }

    /// The same with a value for where it is absent.
    pub(super) fn count_or(&self, key: &str, absent: usize) -> Result<usize, PretrainedError> {
        Ok(self.note(key, self.count_if_any(key).unwrap_or_default().unwrap_or(absent)))
    }

    /// The same, if it is there.
    pub(super) fn count_if_any(&self, key: &str) -> Result<Option<usize>, PretrainedError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.as_u64() {
            Some(count @ 1..MOST) => Ok(Some(self.note(key, count as usize))),
            _ => Err(self.wrong(key, value, &format!("a count from 1 to {}", MOST - 1))),
        }
    }

    /// A number above 0.
    pub(super) fn number_or(&self, key: &str, absent: f64) -> Result<f64, PretrainedError> {
        let number = match self.value(key) {
            None => absent,
            Some(value) => match value.as_f64() {
                Some(number) if number > 0.0 && number.is_finite() => number,
                _ => {
                    self.wrong(key, value, "a number above 0");
                    absent
                }
            },
        };
        Ok(self.note(key, number))
    }

    /// The same, if it is there.
    pub(super) fn number_if_any(&self, key: &str) -> Result<Option<f64>, PretrainedError> {
        self.value(key).map(|_| self.number_or(key, 1.0)).transpose()
    }

    /// The same, where `null` says that there is none.
    pub(super) fn number_or_none(
        &self,
        key: &str,
        absent: Option<f64>,
    ) -> Result<Option<f64>, PretrainedError> {
        match (self.values.contains_key(key), absent) {
            (false, Some(absent)) => Ok(Some(self.note(key, absent))),
            (false, None) => Ok(None),
            (true, _) => self.number_if_any(key),
        }
    }

    /// A list of numbers above 0.
    pub(super) fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, PretrainedError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let numbers = value.as_array().map(|items| items.iter().map(Value::as_f64).collect());
        let numbers: Option<Vec<f64>> = numbers.flatten();
        match numbers.filter(|all| all.iter().all(|it| *it > 0.0 && it.is_finite())) {
            Some(numbers) => {
                self.note(key, value);
                Ok(Some(numbers))
            }
            None => Err(self.wrong(key, value, "a list of numbers above 0")),
        }
    }

    /// A list of yes and no, as true and false or 1 and 0.
    pub(super) fn flags(&self, key: &str) -> Result<Option<Vec<bool>>, PretrainedError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let flag = |item: &Value| match item.as_u64() {
            Some(number @ 0..=1) => Some(number == 1),
            _ => item.as_bool(),
        };
        let flags = value.as_array().map(|items| items.iter().map(flag).collect());
        let flags: Option<Vec<bool>> = flags.flatten();
        let flags = flags
            .ok_or_else(|| self.wrong(key, value, "a list of true and false, or of 1 and 0"))?;
        self.note(key, value);
        Ok(Some(flags))
    }

    /// Yes or no.
    pub(super) fn flag_or(&self, key: &str, absent: bool) -> Result<bool, PretrainedError> {
        let flag = match self.value(key) {
            None => absent,
            Some(Value::Bool(flag)) => *flag,
            Some(value) => {
                self.wrong(key, value, "true or false");
                absent
            }
        };
        Ok(self.note(key, flag))
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, PretrainedError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => {
                self.note(key, text.as_str());
                Ok(Some(text))
            }
            Some(value) => Err(self.wrong(key, value, "a string")),
        }
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&str>>, PretrainedError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let texts = value.as_array().map(|items| items.iter().map(Value::as_str).collect());
        let texts: Option<Vec<&str>> = texts.unwrap_or_default();
        let texts = texts.ok_or_else(|| self.wrong(key, value, "a list of strings"))?;
        self.note(key, texts.join(","));
        Ok(Some(texts))
    }

    /// The first token of a key: a number, or a list of them; `absent` where the key is not there, none if `null`.
    pub(super) fn token(
        &self,
        key: &str,
        absent: Option<u32>,
    ) -> Result<Option<u32>, PretrainedError> {
        let token = match self.values.get(key) {
            None => return Ok(absent),
            Some(Value::Array(tokens)) => tokens.first().unwrap_or(&Value::Null),
            Some(token) => token,
        };
        match token.as_u64().and_then(|token| u32::try_from(token).ok()) {
            // Some old configurations say −1 for none.
            None if token.is_null() || token.as_i64() == Some(-1) => Ok(None),
            None => Err(self.wrong(key, token, "a token")),
            token => Ok(token),
        }
    }

    /// A group of keys as a configuration of its own, by the same path.
    pub(super) fn group(&self, key: &str) -> Result<Option<Self>, PretrainedError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Object(values)) => {
                let (path, values) = (self.path.clone(), values.clone());
                let faults = Rc::clone(&self.faults);
                Ok(Some(Self { path, values, used: RefCell::default(), faults }))
            }
            Some(value) => Err(self.wrong(key, value, "a JSON object")),
        }
    }

    /// Takes over what was read of a group, under its key.
    pub(super) fn note_group(&self, key: &str, group: &Self) {
        let members = group.used.borrow().clone().into_iter();
        self.used
            .borrow_mut()
            .extend(members.map(|(name, value)| (format!("{key}.{name}"), value)));
    }

    /// Refuses a key unless it is absent, `null`, false, empty or one of the values that change nothing.
    pub(super) fn must_not_be_set(
        &self,
        key: &str,
        harmless: &[f64],
    ) -> Result<(), PretrainedError> {
        match self.value(key) {
            Some(value) if self.is_set(key, harmless) => {
                Err(self.wrong(key, value, "supported here"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a key is there, and not `null`, false, empty or one of the values that change nothing.
    pub(super) fn is_set(&self, key: &str, harmless: &[f64]) -> bool {
        match self.value(key) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Object(members)) => !members.is_empty(),
            Some(Value::Number(number)) => !harmless.contains(&number.as_f64().unwrap_or(f64::NAN)),
            Some(Value::String(_) | Value::Null) => true,
        }
    }

    /// Refuses a vocabulary of another size than the table of embeddings has rows. Not noted: the
    /// table itself decides.
    pub(super) fn check_vocabulary(&self, rows: usize) -> Result<(), PretrainedError> {
        let key = "vocab_size";
        match self.value(key) {
            None => Ok(()),
            Some(value) if value.as_u64() == Some(rows as u64) => Ok(()),
            Some(value) => {
                let wanted = format!("the {rows} tokens that the table of embeddings has");
                Err(self.wrong(key, value, &wanted))
            }
        }
    }

    /// All keys with their values.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// All that was read, a line each.
    pub(super) fn used(&self) -> String {
        let used = self.used.borrow();
        used.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse("x/config.json".into(), text.as_bytes()).expect("JSON")
    }

    #[test]
    fn values_are_what_they_must_be_or_are_named() {
        let config = config(
            r#"{"a": 3, "b": 0, "c": -1, "d": 1e99, "e": null, "f": "x", "g": true, "h": [1, 2], "i": 2147483648,
                "j": {"k": 2.5}, "l": [], "m": ["p", "q"], "n": {},
                "o": [1, 0, true]}"#,
        );
        assert_eq!(config.count("a").expect("a count"), 3);
        for key in ["b", "c", "d", "e", "f", "g", "h", "i", "zz"] {
            let error = config.count(key).expect_err(key).to_string();
            assert!(
                error.contains(&format!("`{key}`")) && error.contains("x/config.json"),
                "{error}"
            );
        }
        assert_eq!(config.count_or("e", 7).expect("absent"), 7);
        assert_eq!(config.number_or("a", 1.0).expect("a number"), 3.0);
        config.faults();
        for (number, flag) in [("c", "a"), ("f", "b")] {
            assert_eq!(config.number_or(number, 4.0).expect("stands in"), 4.0);
            assert!(config.flag_or(flag, true).expect("stands in"));
            let faults: Vec<String> = config.faults().iter().map(ToString::to_string).collect();
            let named = |key: &str| faults.iter().any(|it| it.contains(&format!("`{key}`")));
            assert!(faults.len() == 2 && named(number) && named(flag), "{faults:?}");
        }
        assert!(config.flag_or("g", false).expect("a flag"));
        assert_eq!(config.numbers("h").expect("numbers"), Some(vec![1.0, 2.0]));
        assert_eq!(config.flags("o").expect("flags"), Some(vec![true, false, true]));
        assert!(config.numbers("m").is_err() && config.flags("h").is_err());
        assert_eq!(config.number_or_none("e", Some(3.0)).expect("none"), None);
        assert_eq!(config.number_or_none("zz", Some(3.0)).expect("usual"), Some(3.0));
        assert!(config.faults().len() == 2 && config.faults().is_empty());
        assert_eq!(config.texts("m").expect("texts"), Some(vec!["p", "q"]));
        assert!(config.texts("h").is_err() && config.text("m").is_err());
        let group = config.group("j").expect("a group").expect("there");
        assert_eq!(group.number_or("k", 1.0).expect("a number"), 2.5);
        config.note_group("j", &group);
        for key in ["e", "l", "n", "zz"] {
            config.must_not_be_set(key, &[]).expect(key);
        }
        assert!(config.must_not_be_set("a", &[1.0]).is_err());
        config.must_not_be_set("a", &[3.0]).expect("harmless");
        assert!(config.used().contains("e=7\n") && config.used().contains("j.k=2.5\n"));
    }

    #[test]
    fn the_vocabulary_is_as_large_as_its_table() {
        for (text, fits) in [
            (r#"{"vocab_size": 512}"#, true),
            (r#"{"vocab_size": null}"#, true),
            ("{}", true),
            (r#"{"vocab_size": 500}"#, false),
            (r#"{"vocab_size": 600}"#, false),
            (r#"{"vocab_size": "512"}"#, false),
        ] {
            let config = config(text);
            let checked = config.check_vocabulary(512);
            assert_eq!(checked.is_ok(), fits, "{text}");
            assert!(config.used().is_empty(), "a model's identity does not depend on it");
            let Err(error) = checked else { continue };
            let (message, value) = (error.to_string(), &text[15..text.len() - 1]);
            for part in [value, "512", "vocab_size", "x/config.json"] {
                assert!(message.contains(part), "{message}");
            }
        }
    }

    #[test]
    fn a_pointer_is_no_configuration() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
        let error = Config::parse("c".into(), pointer).err().expect("refused").to_string();
        assert!(error.contains("Git LFS") && error.contains("git lfs pull"), "{error}");
    }

    #[test]
    fn tokens_may_be_lists_or_none() {
        let config = config(r#"{"a": 5, "b": [7, 8], "c": null, "d": -1, "e": "x", "f": []}"#);
        let token = |key, absent| config.token(key, absent).expect(key);
        assert_eq!(
            ["a", "b", "c", "d", "f", "g"].map(|key| token(key, Some(9))),
            [Some(5), Some(7), None, None, None, Some(9)]
        );
        assert!(config.token("e", None).is_err());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "{", "3"] {
            assert!(Config::parse("c".into(), text.as_bytes()).is_err(), "{text}");
        }
    }
}
