//! The networks that are built into the program, where a command takes a run: opened by name, or as the one that
//! compresses if none is named.

use anyhow::{Result, bail};
use lmtrain_engine::SavedWeights;
use lmtrain_runs::Bytes;
use lmtrain_runs::builtin::{BUILTINS, Builtin, PREFIX, by_name, default};
use lmtrain_runs::units::short_count;

use crate::context::Context;

/// The weights of a network that is built in, under its name.
pub(super) fn weights(builtin: &Builtin) -> Result<SavedWeights> {
    let weights = SavedWeights::from_bytes(builtin.packed.to_vec(), builtin.name)?;
    Ok(weights.of_run(builtin.name))
}

/// The same, by a name that is theirs alone. A run that has such a name all the same is an error, so that nobody gets
/// one network for the other.
pub(super) fn open(name: &str, context: &Context) -> Result<SavedWeights> {
    let run = context.store.run(name);
    if run.plan_path().is_file() || run.weights_path().is_file() {
        bail!(
            "{} is called as only networks that are built into the program are: names that begin with `{PREFIX}` \
             never mean a run\nhint: give the folder another name; a run is called what its folder is",
            run.folder().display()
        );
    }
    let Some(builtin) = by_name(name) else {
        bail!(
            "no network `{name}` is built into this program, lmtrain {VERSION}\n\
             hint: there is {}; other releases may have others",
            names()
        )
    };
    weights(builtin)
}

/// The weights that compress if no network is named, with a line that says so.
pub(super) fn by_default(context: &Context) -> Result<SavedWeights> {
    let builtin = default();
    let weights = weights(builtin)?;
    context.say(&format!(
        "compressing with `{}`, a network of {} parameters ({}) that is built into the program and was trained on {}; \
         what is unlike that may not get smaller: `--run` or `--model` takes another network",
        builtin.name,
        short_count(weights.origin.plan.parameters()),
        Bytes(builtin.packed.len() as u64),
        builtin.trained_on,
    ));
    Ok(weights)
}

/// The names, as messages list them.
pub(super) fn names() -> String {
    let names: Vec<String> = BUILTINS.iter().map(|builtin| format!("`{}`", builtin.name)).collect();
    names.join(", ")
}

/// Why an archive cannot be restored that names a network of these which is not here.
pub(super) fn missing(name: &str, identity: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "the archive was made with `{name}` (weights {identity}…), which is built into another release of lmtrain, \
         but not into this one, {VERSION}, which has {}\n\
         hint: restore it with a newer release, since releases keep the networks of those before them; or \
         `lmtrain pack {name} -o net.lmw` with a release that has it, and give that file with `--run net.lmw`",
        names()
    )
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests {
    use lmtrain_runs::units::hex;

    use super::*;

    #[test]
    fn each_is_the_network_that_its_row_says() {
        for builtin in BUILTINS {
            let weights = weights(builtin).expect("whole");
            assert_eq!(
                hex(&weights.identity),
                builtin.sha256,
                "{}: archives need the bytes that it had; another network gets another name",
                builtin.name
            );
            assert_eq!(weights.origin.plan.name, builtin.name);
            let predictor = weights.predictor().expect("complete");
            assert!(predictor.is_exact() && predictor.identity() == weights.identity);
        }
    }
}
