//! Tells the program which commit it was built from, if it was built in a repository.

#![allow(clippy::print_stdout, reason = "it talks to cargo by standard output")]

use std::path::Path;
use std::process::Command;

fn main() {
    for file in [".git/HEAD", ".git/index"] {
        if Path::new(file).exists() {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    let output =
        Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    if let Ok(output) = output
        && output.status.success()
    {
        println!(
            "cargo::rustc-env=LMTRAIN_COMMIT={}",
            String::from_utf8_lossy(&output.stdout).trim()
        );
    }
}
