//! The one way to standard error: what cannot be written there is dropped, since a message is no reason
//! to stop. (`eprintln!` panics, and a lint refuses it; so does `println!`. Results go to standard
//! output by `commands/output.rs`, and are errors where they cannot be written.)

use std::io::Write;

/// Writes a line to standard error, in one piece, so that two processes' lines do not mix.
pub(crate) fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
