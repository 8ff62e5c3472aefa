//! Archives that every version must restore, on every machine: `tests/golden/vN` holds what version N of the format
//! wrote, each of `tests/golden/plain`, with the networks within (16 wide, 1 or 2 layers, trained for 150 steps).

use std::path::{Path, PathBuf};

use lmtrain_runs::builtin::BUILTINS;

use crate::Study;
use crate::models::model;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Restores an archive and compares what comes back.
fn restores(study: &Study, archive: &str, more: &str) {
    let path = golden().join(archive);
    study.succeeds(&format!("decompress {} -o restored {more}", path.display()));
    let restored = std::fs::read(study.path("restored")).expect("restored");
    let plain = std::fs::read(golden().join("plain")).expect("committed");
    assert!(restored == plain, "{archive} comes back another");
}

#[test]
fn golden_archives_are_restored() {
    let study = Study::new();
    for version in ["v4", "v5"] {
        for archive in ["modern-bytes", "paper-bytes", "modern-bpe"] {
            restores(&study, &format!("{version}/{archive}.lmz"), "");
        }
    }
    // Mixes, convolutions, value embeddings, partial rotation: two layers of them.
    restores(&study, "v5/every-choice.lmz", "");
    // Networks of whole numbers, within, and as a packed network beside the archive.
    for archive in ["int8", "int4"] {
        restores(&study, &format!("v5/{archive}.lmz"), "");
    }
    let packed = golden().join("v5/packed-bpe.lmw");
    restores(&study, "v5/packed-bpe.lmz", &format!("--run {}", packed.display()));
    model(&study, "qwen3");
    restores(&study, "v4/pretrained.lmz", "--model qwen3");
    // Its weights are random: this version stores what coding would make longer.
    restores(&study, "v5/pretrained-stored.lmz", "--model qwen3");
}

/// One of each network that is built in, made from the root of the repository by
/// `lmtrain compress tests/golden/plain -o tests/golden/v5/NAME.lmz --run NAME`, when its row was added.
#[test]
fn golden_archives_of_networks_that_are_built_in_are_restored() {
    let study = Study::new();
    for builtin in BUILTINS {
        let archive = format!("v5/{}.lmz", builtin.name);
        assert!(golden().join(&archive).is_file(), "{archive} is to be made: see above");
        restores(&study, &archive, "");
        let path = golden().join(&archive);
        let summary = study.json(&format!("decompress --json {} -o restored", path.display()));
        assert_eq!(
            (&summary["model"], &summary["stored_bytes"]),
            (&builtin.name.into(), &0.into())
        );
    }
}
