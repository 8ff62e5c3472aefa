//! Files of weights: `model.safetensors`, or the shards that `model.safetensors.index.json` lists. They are
//! memory-mapped, and the header is checked against the file's length: the crate verifies that the tensors cover the
//! file exactly.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use lmtrain_corpora::MappedFile;
use safetensors::tensor::{Dtype, SafeTensors};
use serde::Deserialize;

use super::error::{PretrainedError, WEIGHTS_HINT, refuse_pointer};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// What weights of PyTorch's own format are.
const PICKLED: &str = "weights pickled by PyTorch are not supported, since loading them can run code; safetensors are";
/// What GGUF is.
const GGUF: &str = "GGUF files are not supported; safetensors are";
/// Bytes before a file's header: its length.
const LENGTH_BYTES: usize = 8;

/// A file of tensors.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) map: MappedFile,
}

/// Where a tensor is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Index of its file.
    pub(super) file: usize,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Its bytes in the file.
    pub(super) range: Range<usize>,
}

/// Tensors of all files, by name.
pub(super) type Places = BTreeMap<String, Place>;

/// Opens a folder's weights.
pub(super) fn open(folder: &Path) -> Result<(Vec<File>, Places), PretrainedError> {
    let single = folder.join(SINGLE);
    if single.is_file() {
        let mut places = Places::new();
        let file = read(single, 0, &mut places)?;
        return Ok((vec![file], places));
    }
    let index = folder.join(INDEX);
    if !index.is_file() {
        return Err(other_format(folder)
            .unwrap_or_else(|| PretrainedError::missing(folder, SINGLE, WEIGHTS_HINT)));
    }
    shards(folder, &index)
}

/// The error of a folder whose weights are of a format that is not read.
fn other_format(folder: &Path) -> Option<PretrainedError> {
    let files = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = files.collect();
    files.sort_unstable();
    let ends = |path: &PathBuf, end: &str| path.extension().is_some_and(|found| found == end);
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("pytorch_model") && (ends(path, "bin") || name.ends_with(".index.json"))
    };
    let (path, why) = if let Some(path) = files.iter().find(|path| named(path)) {
        (path, format!("{PICKLED}\nhint: {}", conversion(folder)))
    } else if let Some(path) = files.iter().find(|path| ends(path, "gguf")) {
        (path, format!("{GGUF}\nhint: {WEIGHTS_HINT}"))
    } else {
        return None;
    };
    Some(PretrainedError::refused(path, why))
}

/// The line that writes a folder's weights as they are read here, beside those that it has.
fn conversion(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "python3 -c 'import sys; from transformers import AutoModelForCausalLM as M; \
         M.from_pretrained(sys.argv[1], torch_dtype=\"auto\").save_pretrained(sys.argv[1])' {folder}"
    )
}

/// The index of a model in several files.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn shards(folder: &Path, index: &Path) -> Result<(Vec<File>, Places), PretrainedError> {
    let text = std::fs::read(index)
        .map_err(|source| PretrainedError::Read { path: index.to_owned(), source })?;
    refuse_pointer(index, &text)?;
    let refuse = |reason: String| PretrainedError::refused(index, reason);
    let Index { weight_map } =
        serde_json::from_slice(&text).map_err(|error| refuse(error.to_string()))?;
    let names: BTreeSet<&String> = weight_map.values().collect();
    let (mut files, mut places) = (Vec::new(), Places::new());
    for name in names {
        // An index is anyone's: it names files beside itself.
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(refuse(format!("it names the file `{name}`, which is outside the folder")));
        }
        files.push(read(folder.join(name), files.len(), &mut places)?);
    }
    for (tensor, file) in &weight_map {
        let found = places.get(tensor).map(|place| &files[place.file].path);
        if found.is_none_or(|path| *path != folder.join(file)) {
            return Err(refuse(format!("tensor `{tensor}` is not in {file}")));
        }
    }
    Ok((files, places))
}

/// Maps a file and adds its tensors.
fn read(path: PathBuf, index: usize, places: &mut Places) -> Result<File, PretrainedError> {
    let map = MappedFile::open(&path)?;
    refuse_pointer(&path, map.bytes())?;
    let refuse = |reason: String| PretrainedError::refused(&path, reason);
    let (header, metadata) = SafeTensors::read_metadata(map.bytes())
        .map_err(|error| refuse(format!("it is not a complete safetensors file: {error}")))?;
    let start = LENGTH_BYTES + header;
    for (name, info) in metadata.tensors() {
        let (first, end) = info.data_offsets;
        let range = start + first..start + end;
        let place = Place { file: index, dtype: info.dtype, shape: info.shape.clone(), range };
        if places.insert(name.clone(), place).is_some() {
            return Err(refuse(format!("tensor `{name}` is in another file too")));
        }
    }
    Ok(File { path, map })
}
