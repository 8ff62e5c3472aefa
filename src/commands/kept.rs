//! The weights that archives depend on: a copy is kept when an archive is made, and found again when it is restored.

use std::path::PathBuf;

use anyhow::{Result, bail};
use lmtrain_engine::SavedWeights;
use lmtrain_eval::archive::Header;
use lmtrain_runs::Tokenization;
use lmtrain_runs::builtin::{by_identity, is_reserved};
use lmtrain_runs::files::put;
use lmtrain_runs::units::hex;

use super::builtin;
use super::tokenizer::{keep as keep_vocabulary, of_weights};
use crate::context::Context;

/// The suffixes of kept weights: those of runs, and packed networks.
const KEPT: [&str; 2] = ["safetensors", "lmw"];

/// The folder of weights that archives depend on: a run's own weights may be trained further or deleted, and an
/// archive must still be decoded.
fn kept_weights(identity: &[u8; 32], extension: &str, context: &Context) -> PathBuf {
    context.store.root().join("weights").join(format!("{}.{extension}", hex(identity)))
}

/// Keeps the weights and the vocabulary that an archive needs, unless they are built into the program.
pub(super) fn keep(weights: &SavedWeights, context: &Context) -> Result<()> {
    if by_identity(&weights.identity).is_some() {
        return Ok(());
    }
    let extension = KEPT[usize::from(weights.is_packed())];
    put(&kept_weights(&weights.identity, extension, context), &weights.bytes)?;
    keep_vocabulary(of_weights(weights, context)?.as_ref(), context)
}

/// The weights that an archive was made with: those that are built in or were kept for it, its run's, or those of any
/// run that has the same weights.
pub(super) fn find(header: &Header, context: &Context) -> Result<SavedWeights> {
    if let Some(built_in) = by_identity(&header.predictor_identity) {
        return builtin::weights(built_in);
    }
    if let Tokenization::Pretrained(_) = header.tokenization {
        let name = &header.model;
        bail!(
            "the archive was made with the pretrained model `{name}`\nhint: give its folder with `--model`"
        );
    }
    let named = context.store.run(&header.model);
    let others = context.store.runs()?;
    let kept = KEPT.map(|end| kept_weights(&header.predictor_identity, end, context));
    let runs = std::iter::once(&named).chain(&others).map(lmtrain_runs::Run::weights_path);
    let damaged = kept.iter().find(|path| path.is_file()).cloned();
    for path in kept.into_iter().chain(runs) {
        // Damaged weights of some other run are no reason to stop looking; the right ones have the
        // identity, whether or not they have a digest.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        match SavedWeights::from_bytes(bytes, &path.display().to_string()) {
            Ok(weights) if weights.identity == header.predictor_identity => return Ok(weights),
            _ => {}
        }
    }
    Err(not_found(header, damaged, context))
}

/// Why the weights of an archive are not found; `damaged` is the copy that was kept of them, if there is one.
fn not_found(header: &Header, damaged: Option<PathBuf>, context: &Context) -> anyhow::Error {
    let (name, root) = (&header.model, context.store.root().display());
    let named = context.store.run(name);
    let identity = hex(&header.predictor_identity[..4]);
    if let Some(copy) = damaged {
        return anyhow::anyhow!(
            "{}, the copy of the weights that was kept for this archive ({identity}…), is damaged or cannot be \
             read, and no run in {root} has these weights\n\
             hint: restore that file from a backup, or give the folder of the runs that has the weights with \
             `--runs-dir`",
            copy.display()
        );
    }
    if named.weights_path().is_file() {
        return anyhow::anyhow!(
            "run `{name}` in {root} does not have the weights that the archive was made with ({identity}…)\n\
             hint: give the folder of the runs that has them with `--runs-dir`"
        );
    }
    if named.plan_path().is_file() {
        return anyhow::anyhow!(
            "the archive was made with run `{name}` (weights {identity}…), of which {root} has the records but \
             not the weights\nhint: give the folder of the runs that has them with `--runs-dir`"
        );
    }
    if is_reserved(name) {
        return builtin::missing(name, &identity);
    }
    anyhow::anyhow!(
        "the archive was made with run `{name}` (weights {identity}…), which is not in {root}\n\
         hint: give the folder that has it with `--runs-dir`, or its packed network with `--run FILE.lmw`; \
         `compress --embed-model` makes archives that need no run"
    )
}
