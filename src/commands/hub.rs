//! Models by name from the Hugging Face hub, kept in the cache that Python's `huggingface_hub` also uses
//! (`$HF_HUB_CACHE`, `$HF_HOME/hub` or `~/.cache/huggingface/hub`). Files in the cache are not requested again, so a
//! model that was fetched once needs no network; an interrupted download is continued.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, CacheRepo};
use serde::Deserialize;

use crate::context::Context;
use crate::progress::ShownProgress;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A model on the hub.
struct Remote<'a> {
    name: &'a str,
    cache: CacheRepo,
    api: Option<Api>,
    context: &'a Context,
}

/// Whether this may be a name on the hub: OWNER/NAME.
pub(super) fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(plain)
    };
    name.split('/').count() == 2 && name.split('/').all(part)
}

/// The folder of a model, fetched if it is not there.
pub(super) fn fetch(name: &str, context: &Context) -> Result<PathBuf> {
    let cache = match std::env::var_os("HF_HUB_CACHE") {
        Some(folder) => Cache::new(folder.into()),
        None => Cache::from_env(),
    };
    let offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| !["", "0"].contains(&&*value));
    let api = match offline {
        true => None,
        false => Some(api(&cache)?),
    };
    Remote { name, cache: cache.model(name.to_owned()), api, context }.folder()
}

fn api(cache: &Cache) -> Result<Api> {
    let mut builder = ApiBuilder::from_cache(cache.clone()).with_retries(3);
    if let Ok(endpoint) = std::env::var("HF_ENDPOINT") {
        builder = builder.with_endpoint(endpoint);
    }
    // The token may be in the environment, as Python's clients have it.
    if let Ok(token) = std::env::var("HF_TOKEN") {
        builder = builder.with_token(Some(token));
    }
    Ok(builder.build()?)
}

impl Remote<'_> {
    /// Fetches every file that is needed.
    fn folder(&self) -> Result<PathBuf> {
        let mut files = vec![self.get("config.json")?, self.get("tokenizer.json")?];
        files.extend(self.weights()?);
        let folders: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
        match folders.iter().next() {
            Some(folder) if folders.len() == 1 => Ok(folder.to_path_buf()),
            _ => bail!(
                "{} changed on the hub while it was fetched\nhint: run the same command again to fetch what is missing",
                self.name
            ),
        }
    }

    /// One file, or the shards that an index lists.
    fn weights(&self) -> Result<Vec<PathBuf>> {
        if let Some(file) = self.cache.get(SINGLE) {
            return Ok(vec![file]);
        }
        let index = match self.cache.get(INDEX) {
            Some(index) => index,
            None => match self.download(SINGLE) {
                Ok(file) => return Ok(vec![file]),
                Err(error) if is_absent(&error) => self.get(INDEX)?,
                Err(error) => return Err(error),
            },
        };
        #[derive(Deserialize)]
        struct Index {
            weight_map: std::collections::BTreeMap<String, String>,
        }
        let text = std::fs::read(&index)?;
        let Index { weight_map } = serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged", index.display()))?;
        let shards: BTreeSet<String> = weight_map.into_values().collect();
        if let Some(shard) = shards.iter().find(|shard| !is_file_name(shard)) {
            bail!("{} names the file `{shard}`", index.display());
        }
        let shards = shards.iter().map(|shard| self.get(shard)).collect::<Result<Vec<_>>>()?;
        Ok(std::iter::once(index).chain(shards).collect())
    }

    fn get(&self, file: &str) -> Result<PathBuf> {
        match self.cache.get(file) {
            Some(path) => Ok(path),
            None => self.download(file),
        }
    }

    fn download(&self, file: &str) -> Result<PathBuf> {
        let Some(api) = &self.api else {
            let hint = "hint: unset `HF_HUB_OFFLINE` to fetch it";
            bail!(
                "{file} of {} is not in the cache, and `HF_HUB_OFFLINE` forbids downloads\n{hint}",
                self.name
            );
        };
        let shown = ShownProgress::new(format!("{} {file}", self.name), self.context.quiet);
        let progress = Shows { shown, done: 0, of: 0 };
        let fetched = api.model(self.name.to_owned()).download_with_progress(file, progress);
        fetched.with_context(|| format!("cannot fetch {file} of {} from the hub", self.name))
    }
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\'])
}

/// Whether the hub said that there is no such file.
fn is_absent(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<ApiError>(), Some(ApiError::RequestError(error)) if error.to_string().contains("404"))
}

/// Shows how far a download is.
struct Shows {
    shown: ShownProgress,
    done: u64,
    of: u64,
}

impl Progress for Shows {
    fn init(&mut self, size: usize, _file: &str) {
        (self.done, self.of) = (0, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        let note = format!("{} fetched", lmtrain_runs::Bytes(self.done));
        self.shown.update(self.done, Some(self.of), &note);
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_two_plain_parts() {
        for name in ["openai-community/gpt2", "EleutherAI/pythia-70m", "a/b.c_d"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["gpt2", "a/b/c", "../x", "a/..", "/a", "a/", "a b/c", "", "a/b?c"] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_file_name("model-00001-of-00002.safetensors") && !is_file_name("../x"));
    }
}
