//! Tells the program which commit it was built from, if it was built in a repository.

#![allow(clippy::print_stdout, reason = "it talks to cargo by standard output")]

use std::path::Path;
use std::process::Command;

fn main() {
    // Where git keeps them, which in a worktree is not `.git`.
    for file in ["HEAD", "index"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(commit) = git(&["describe", "--always", "--dirty", "--abbrev=12"]) {
        println!("cargo::rustc-env=LMTRAIN_COMMIT={commit}");
    }
}

/// What git answers, if it is there and this is a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
