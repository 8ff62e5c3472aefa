//! The only way to write to standard error. Messages that cannot be written are dropped, since they are no reason to
//! stop. (`eprintln!` and `println!` panic, and a lint forbids them. Results are written to standard output by
//! `commands/output.rs`, and fail if they cannot be written.)

use std::io::Write;

/// Writes a line to standard error, in one piece, so that two processes' lines do not mix.
pub(crate) fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
