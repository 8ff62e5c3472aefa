//! Runs whose records were kept and whose weights were not, as in a study that others look at.

use crate::{FIT, Study};

/// Takes the weights and the checkpoint of a run away.
fn without_weights(study: &Study, name: &str) {
    let folder = study.path("runs/work").join(name);
    std::fs::remove_file(folder.join("weights.safetensors")).expect("removed");
    std::fs::remove_dir_all(folder.join("checkpoint")).expect("removed");
}

#[test]
fn a_run_without_weights_is_said_to_be_one() {
    let study = Study::new();
    study.fit("--steps 2");
    study.succeeds("eval --run tiny --corpus source --chunk 64 --sample-chunks 2");
    std::fs::write(study.path("text"), "some text").expect("written");
    study.succeeds("compress text -o text.lmz --run tiny");
    std::fs::remove_dir_all(study.path("runs/weights")).expect("removed");
    let other = FIT.replace("tiny", "other");
    study.succeeds(&format!("fit {other} --steps 2 --seed 1"));
    without_weights(&study, "tiny");

    let again =
        "lmtrain fit --size 50K --corpus markov:bytes=200000 --steps 2 --context 64 --name tiny";
    for line in [
        "eval --run tiny --corpus source",
        "eval --run other,tiny --corpus source --chunk 64",
        "compress text -o again.lmz --run tiny",
    ] {
        let error = study.fails(line, 1);
        for part in ["`tiny`", "its weights are not", "--runs-dir", again] {
            assert!(error.contains(part), "`{line}` does not say {part:?}:\n{error}");
        }
    }
    let error = study.fails("decompress text.lmz -o back", 1);
    assert!(error.contains("`tiny`") && error.contains("weights are not"), "{error}");
    let log = std::fs::read(study.path("runs/work/tiny/train.jsonl")).expect("a log");
    for line in ["fit --resume --name tiny".to_owned(), format!("fit {FIT} --steps 2 --resume")] {
        let error = study.fails(&line, 1);
        assert!(error.contains("records") && error.contains("neither weights"), "{error}");
    }
    let there = std::fs::read(study.path("runs/work/tiny/train.jsonl")).expect("a log");
    assert_eq!(there, log, "nothing is lost");
    // Those that have weights are measured, and the others named.
    let output = study.run("eval --size 50K --corpus source --chunk 64 --sample-chunks 2");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("left out") && said.contains("tiny"),
        "{said}"
    );

    without_weights(&study, "other");
    let error = study.fails("eval --size 50K --corpus source", 1);
    for part in ["2 runs", "--size 50K", "`tiny`", "`other`", "but not their weights", "--runs-dir"]
    {
        assert!(error.contains(part), "{part:?} is not in\n{error}");
    }
    study.succeeds("report");
    study.succeeds(&format!("fit {FIT} --steps 2 --overwrite"));
    study.succeeds("eval --run tiny --corpus source --chunk 64 --sample-chunks 2");
}

#[test]
fn the_study_that_is_kept_here_says_so() {
    let study = Study::new();
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/runs/studies/pocket");
    let error = study.fails(&format!("eval --tokenizer bpe-5000 --runs-dir {kept}"), 1);
    assert!(error.contains("2 runs") && error.contains("but not their weights"), "{error}");
    assert!(!error.contains("no run fits"), "{error}");
}
