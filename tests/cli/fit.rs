//! `lmtrain fit`: what stops and goes on.

use std::process::Stdio;
use std::time::Duration;

use crate::Study;

#[test]
fn a_killed_run_resumes_to_the_same_weights() {
    let study = Study::new();
    let folder = |name: &str| study.path("runs/work").join(name);
    // The numbers alone: the header before them holds the run's name.
    let numbers = |name: &str| {
        let bytes = std::fs::read(folder(name).join("weights.safetensors")).expect("weights");
        let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        bytes[8 + usize::try_from(header).expect("small")..].to_vec()
    };
    // With every choice whose state goes on from step to step.
    let fit = "--size w32l2h1 --corpus markov:bytes=200K --context 64 --batch 2 --accumulate 2 --steps 400 \
               --set average=0.99 --set momentum-start=0.85 --set weight-decay=0.1 \
               --set cautious-decay=true --set weight-decay-schedule=to-zero";
    study.succeeds(&format!("fit {fit} --name whole"));
    let whole = numbers("whole");
    // Killed before the first checkpoint, and at two moments between checkpoints.
    for (killed, records) in [("early", 0), ("between", 1), ("late", 120)] {
        let line = format!("fit {fit} --name {killed}");
        let mut child =
            study.command(&line).stderr(Stdio::null()).spawn().expect("the program starts");
        let recorded = || {
            let log = std::fs::read_to_string(folder(killed).join("train.jsonl"));
            log.unwrap_or_default().lines().count()
        };
        while recorded() < records || !folder(killed).join("plan.toml").exists() {
            assert!(child.try_wait().expect("known").is_none(), "{killed}: it ended by itself");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("ended");
        assert!(recorded() < 200, "{killed}: killed before its end");
        study.succeeds(&format!("fit {fit} --name {killed} --resume"));
        assert!(numbers(killed) == whole, "killed {killed}, the weights differ");
    }
}

/// Minutes become steps by timed ones; however fast the machine, there is at least one.
#[test]
fn minutes_become_steps() {
    let study = Study::new();
    let line =
        "--size 50K --corpus markov:bytes=200K --context 64 --batch 2 --minutes 0.01 --name timed";
    let outcome = study.json(&format!("fit --json {line}"));
    let plan = std::fs::read_to_string(study.path("runs/work/timed/plan.toml")).expect("a plan");
    assert!(plan.contains("minutes = 0.01"), "{plan}");
    let steps = outcome[0]["step"].as_u64().expect("steps");
    assert!(steps >= 1 && plan.contains(&format!("steps = {steps}\n")), "{steps} {plan}");
    assert_eq!(outcome[0]["finished"], true);
}
