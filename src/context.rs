//! The context of every command: the store, the data, how to print, and whether to stop.

use std::path::PathBuf;
#[cfg(feature = "train")]
use std::sync::{Arc, atomic::AtomicBool};

use crate::device::Device;
use anyhow::Result;
use lmtrain_corpora::DataDirectory;
use lmtrain_runs::record::Provenance;
use lmtrain_runs::{Store, machine, notice};

use crate::cli::Common;
use crate::say::say;
#[cfg(feature = "train")]
use crate::signals::Keeping;
use crate::signals::Stop;

/// The resolved surroundings of a command.
pub(crate) struct Context {
    pub(crate) store: Store,
    pub(crate) data: DataDirectory,
    /// Where vocabularies are.
    pub(crate) tokenizers: PathBuf,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    stop: Stop,
}

impl Context {
    /// Resolves folders.
    pub(crate) fn open(common: &Common, stop: Stop) -> Result<Self> {
        let quiet = common.quiet;
        notice::show_by(move |text| {
            if !quiet {
                say(text);
            }
        });
        Ok(Self {
            store: Store::new(common.runs_dir.clone().unwrap_or_else(|| PathBuf::from("runs"))),
            data: DataDirectory::resolve(common.data_dir.as_deref())?,
            tokenizers: common
                .tokenizers_dir
                .clone()
                .unwrap_or_else(|| PathBuf::from("tokenizers/vocab")),
            json: common.json,
            quiet,
            stop,
        })
    }

    #[cfg(feature = "train")]
    /// The same, printing no JSON: for a command within another.
    pub(crate) fn without_json(&self) -> Self {
        Self {
            store: self.store.clone(),
            data: self.data.clone(),
            tokenizers: self.tokenizers.clone(),
            json: false,
            quiet: self.quiet,
            stop: self.stop.clone(),
        }
    }

    /// The device, settled, with a line of what it is.
    pub(crate) fn open_device(&self, device: Device) -> Result<Device> {
        let (device, found) = device.open().map_err(anyhow::Error::msg)?;
        if let Some(found) = found {
            self.say(&found);
        }
        Ok(device)
    }

    #[cfg(feature = "train")]
    /// Set once someone wants to stop.
    pub(crate) fn stop(&self) -> Arc<AtomicBool> {
        self.stop.asked().clone()
    }

    #[cfg(feature = "train")]
    /// Keeps the program from being ended by the first signal, as long as this is held.
    pub(crate) fn keep(&self) -> Keeping {
        self.stop.keep()
    }

    /// Whether someone wants to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_asked()
    }

    /// A line for people, on standard error.
    pub(crate) fn say(&self, line: &str) {
        if !self.quiet {
            say(line);
        }
    }

    /// Where and by what a number is made.
    pub(crate) fn provenance(&self, device: &str) -> Provenance {
        Provenance {
            commit: option_env!("LMTRAIN_COMMIT").map(str::to_owned),
            machine: machine_label(),
            device: device.to_owned(),
            command: command_line(),
        }
    }
}

/// Processor, cores that we may use, system.
fn machine_label() -> String {
    let model = machine::processor().unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores, {}", std::env::consts::OS)
}

/// The command as it was typed, with only the program's name instead of its path. Arguments that are not UTF-8 are
/// shown with replacement characters.
fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| {
        let word = word.to_string_lossy().into_owned();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:,=+%".contains(letter);
        if !word.is_empty() && word.chars().all(plain) { word } else { format!("{word:?}") }
    });
    std::iter::once("lmtrain".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}
