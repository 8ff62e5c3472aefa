//! Pretrained models, by their folder or by their name on the hub.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use lmtrain_engine::pretrained::PretrainedModel;
use lmtrain_eval::Predictor;
use lmtrain_runs::builtin::is_reserved;
use lmtrain_runs::record::WeightCode;
use lmtrain_runs::units::short_count;

use crate::context::Context;

/// Most bytes of a name in an archive.
const MOST_NAME: usize = 255;

/// A model with its name.
pub(super) struct Named {
    /// The last part of its folder's path.
    pub(super) name: String,
    pub(super) model: PretrainedModel,
    /// How its weights are coded.
    pub(super) code: WeightCode,
}

impl Named {
    /// The name as an archive holds it.
    pub(super) fn archive_name(&self) -> &str {
        let cut = (0..=MOST_NAME).rev().find(|&at| self.name.is_char_boundary(at));
        self.name.get(..cut.unwrap_or(0)).unwrap_or(&self.name)
    }
}

/// Opens a model by its folder, or by its name on the hub, with its weights as they are stored.
pub(super) fn open(name: &str, context: &Context) -> Result<Named> {
    open_coded(name, WeightCode::F16, context)
}

/// The same with its weights under a code; f16 stands for what they are stored in, which counts two bytes each.
pub(super) fn open_coded(name: &str, code: WeightCode, context: &Context) -> Result<Named> {
    let (name, folder) = find(name, context)?;
    let model = PretrainedModel::open_coded(&folder, code)?;
    context.say(&format!(
        "{name}: {}, {} parameters, {} tokens, context {}",
        model.architecture(),
        short_count(model.parameters()),
        model.predictor().vocabulary(),
        model.predictor().context(),
    ));
    Ok(Named { name, model, code })
}

/// The model that a name means, and its folder.
fn find(name: &str, context: &Context) -> Result<(String, PathBuf)> {
    let path = Path::new(name);
    if path.is_file() {
        if path.extension().is_some_and(|end| end == "gguf") {
            bail!("{name}: GGUF files are not supported\n{HINT}");
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.unwrap_or(Path::new("."));
        bail!(
            "{name} is a file, but a model is given by its folder\nhint: `--model {}`",
            folder.display()
        );
    }
    if !path.exists() && is_reserved(name) {
        bail!(
            "there is no folder {name}\nhint: networks that are built into the program are runs: `--run {name}`"
        );
    }
    if !path.exists() {
        return elsewhere(name, context);
    }
    // `.` and `..` have no name of their own.
    let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let last = whole.file_name().map(|last| last.to_string_lossy().into_owned());
    Ok((last.unwrap_or_else(|| name.to_owned()), path.to_owned()))
}

/// A model that is not here.
#[cfg(feature = "hub")]
fn elsewhere(name: &str, context: &Context) -> Result<(String, PathBuf)> {
    match super::hub::is_name(name) {
        true => Ok((name.to_owned(), super::hub::fetch(name, context)?)),
        false => {
            bail!(
                "there is no folder {name}, and it is not a name on the hub\n{HINT}, or OWNER/NAME"
            )
        }
    }
}

/// A model that is not here.
#[cfg(not(feature = "hub"))]
fn elsewhere(name: &str, _context: &Context) -> Result<(String, PathBuf)> {
    bail!("there is no folder {name}\n{HINT}; a build with `--features hub` takes OWNER/NAME too")
}

const HINT: &str =
    "hint: `--model` takes a folder with config.json, model.safetensors and tokenizer.json";
