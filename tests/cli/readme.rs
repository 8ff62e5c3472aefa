//! The README's commands that need neither network nor minutes.

use crate::Study;

/// Every command in the README's fenced blocks that is marked as quick.
#[test]
fn the_readmes_quick_commands_work() {
    let study = Study::new();
    study.fit("--steps 20");
    std::fs::write(study.path("notes.txt"), "Notes to compress, and to restore.\n".repeat(50))
        .expect("written");
    let readme = include_str!("../../README.md");
    let quick = readme.split("```console\n").skip(1).map(|rest| rest.split("```").next());
    let lines: Vec<&str> = quick
        .flatten()
        .flat_map(str::lines)
        .filter_map(|line| line.strip_prefix("$ lmtrain "))
        .collect();
    assert!(lines.len() >= 8, "the README shows its quick commands: {lines:?}");
    for line in lines {
        study.succeeds(line.split(" #").next().unwrap_or(line).trim());
    }
    assert_eq!(
        std::fs::read(study.path("notes.txt")).expect("there"),
        std::fs::read(study.path("restored.txt")).expect("restored by the README's commands"),
    );
}
