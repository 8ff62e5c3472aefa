//! The program as a user meets it: whole commands at tiny sizes, and errors. One binary, a file a subject.

mod archives;
mod bench;
mod builtin;
mod choices;
mod closed;
mod digests;
mod errors;
mod eval;
mod fit;
mod generate;
mod golden;
mod inputs;
mod media;
mod models;
mod outputs;
mod paths;
mod readme;
mod renamed;
mod resume;
#[cfg(target_os = "linux")]
mod signals;
#[cfg(target_os = "linux")]
mod started;
mod sweep;
#[cfg(target_os = "linux")]
mod terminal;
mod tokenizer;
mod weights;

use std::path::PathBuf;
use std::process::{Command, Output};

struct Study {
    folder: tempfile::TempDir,
}

impl Study {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with its arguments, behind `LMTRAIN_RUNNER` where that is set: an emulator and its arguments.
    fn command(&self, line: &str) -> Command {
        let runner = std::env::var("LMTRAIN_RUNNER").unwrap_or_default();
        let mut words = runner
            .split_whitespace()
            .chain([env!("CARGO_BIN_EXE_lmtrain")])
            .chain(line.split_whitespace());
        let mut command = self.surroundings(words.next().expect("the program at least"));
        command.args(words);
        command
    }

    /// Any program in the study's folder, with nothing of the user's.
    fn surroundings(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_remove("LMTRAIN_SIMD")
            .env_remove("LMTRAIN_TOKENIZERS")
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("LMTRAIN_RUNS", self.path("runs"))
            .env("LMTRAIN_DATA", self.path("data"))
            .env("RUST_BACKTRACE", "1")
            .current_dir(self.folder.path());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("the program starts")
    }

    /// Runs a script of the shell, which must succeed; `$LMTRAIN` is the program.
    #[cfg(unix)]
    fn shell(&self, script: &str) -> String {
        let mut command = self.surroundings("sh");
        command.args(["-c", script]).env("LMTRAIN", env!("CARGO_BIN_EXE_lmtrain"));
        let output = command.output().expect("a shell");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{script}` failed:\n{error}");
        String::from_utf8(output.stdout).expect("results are text")
    }

    /// Runs what must succeed; gives its standard output.
    fn succeeds(&self, line: &str) -> String {
        let output = self.run(line);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`lmtrain {line}` failed:\n{error}");
        String::from_utf8(output.stdout).expect("results are text")
    }

    /// Runs what must fail with this status; gives its standard error, which holds no panic.
    fn fails(&self, line: &str, status: i32) -> String {
        let output = self.run(line);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "`lmtrain {line}`:\n{error}");
        assert!(!error.contains("panicked"), "`lmtrain {line}`:\n{error}");
        error
    }

    fn json(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.succeeds(line)).expect("one JSON document")
    }

    /// Trains the smallest run there is; further arguments follow.
    fn fit(&self, more: &str) -> serde_json::Value {
        self.json(&format!("fit --json {FIT} {more}"))
    }
}

const FIT: &str = "--size 50K --corpus markov:bytes=200K --context 64 --batch 2 --name tiny";
