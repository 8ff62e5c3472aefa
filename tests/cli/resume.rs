//! `lmtrain fit --resume`: what may be left out, and what must not differ.

use crate::{FIT, Study};

#[test]
fn what_is_left_out_is_as_the_run_was_begun() {
    let study = Study::new();
    let line = "--size 50K --tokenizer bpe-300 --corpus markov:bytes=200K --context 64 --seed 3 \
                --set batch=4 --train-on all --steps 6";
    let begun = study.json(&format!("fit --json {line}"));
    let name = begun[0]["name"].as_str().expect("a name").to_owned();
    // Its checkpoint alone makes the weights again.
    let weights = study.path("runs/work").join(&name).join("weights.safetensors");
    let before = std::fs::read(&weights).expect("weights");
    std::fs::remove_file(&weights).expect("removed");
    let resumed = study.json(&format!("fit --json --resume --name {name}"));
    assert_eq!((&resumed[0]["step"], &resumed[0]["finished"]), (&6.into(), &true.into()));
    assert!(std::fs::read(&weights).expect("weights") == before);
    let plan = study.json(&format!("fit --json --resume --name {name} --dry-run --seed 3"));
    for (key, value) in [("batch", 4), ("context", 64), ("seed", 3), ("steps", 6)] {
        assert_eq!(plan[0]["plan"][key], value, "{key}");
    }
    // The name that is made of the choices is as good as one that was given.
    study.succeeds(&format!("fit --resume {line}"));
}

#[test]
fn what_differs_is_listed_with_both_values() {
    let study = Study::new();
    study.fit("--steps 2");
    let line = "--size 200K --tokenizer bpe-300 --corpus markov:bytes=300K --context 32 --batch 4 \
                --recipe paper --seed 5 --steps 9 --train-on all --set warmup=0.5 --name tiny";
    let error = study.fails(&format!("fit --resume {line}"), 1);
    for expected in [
        "  size: 50K in the plan, but 200K on the command line",
        "  tokenizer: bytes in the plan, but bpe-300 on the command line",
        "  recipe: modern in the plan, but paper on the command line",
        "  context: 64 in the plan, but 32 on the command line",
        "  batch: 2 in the plan, but 4 on the command line",
        "  warmup: 0.02 in the plan, but 0.5 on the command line",
        "  seed: 0 in the plan, but 5 on the command line",
        "  budget: 2 steps in the plan, but 9 steps on the command line",
        "  train-on: split in the plan, but all on the command line",
        "  corpus: `markov:bytes=200000` of 200000 bytes",
        "`markov:bytes=300000` of 300000 bytes",
        "plan.toml",
    ] {
        assert!(error.contains(expected), "{expected:?} is not in\n{error}");
    }
    let error = study.fails(&format!("fit --resume {FIT} --seed 5"), 1);
    assert!(error.contains("seed: 0 in the plan, but 5") && !error.contains("size:"), "{error}");
    let error = study.fails("fit --resume --name nothing", 1);
    assert!(error.contains("no run `nothing`") && error.contains("`tiny`"), "{error}");
    study.fails("fit --resume", 2);
    study.fails("fit --name tiny", 2);
}

#[test]
fn a_text_that_changed_is_another() {
    let study = Study::new();
    std::fs::write(study.path("own.txt"), "some words of one kind ".repeat(2000)).expect("written");
    let line = "--size 50K --context 64 --batch 2 --name own";
    study.succeeds(&format!("fit {line} --steps 2 --corpus ./own.txt"));
    std::fs::write(study.path("own.txt"), "other words of one kind ".repeat(2000))
        .expect("written");
    let error = study.fails("fit --resume --name own --corpus ./own.txt", 1);
    assert!(error.contains("corpus: `own`") && !error.contains("seed:"), "{error}");
    std::fs::remove_file(study.path("own.txt")).expect("removed");
    let error = study.fails("fit --resume --name own", 1);
    assert!(error.contains("`own`") && error.contains("--corpus"), "{error}");
}
