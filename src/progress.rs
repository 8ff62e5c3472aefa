//! How the progress of long work is shown: a bar on a terminal, otherwise an occasional plain line, and nothing with
//! `--quiet`. Also how the final error is printed.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use lmtrain_runs::units::short_seconds;

use crate::say::say;

/// Plain lines come no more often than this.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Work of a known or unknown length.
pub(crate) struct ShownProgress {
    bar: Option<ProgressBar>,
    label: String,
    quiet: bool,
    start: Instant,
    last_line: Instant,
}

impl ShownProgress {
    /// Starts showing `label`.
    pub(crate) fn new(label: impl Into<String>, quiet: bool) -> Self {
        let label = label.into();
        let on_terminal = std::io::stderr().is_terminal() && !quiet;
        let bar = on_terminal.then(|| {
            let bar = ProgressBar::new(0).with_style(style(false)).with_prefix(label.clone());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let now = Instant::now();
        Self { bar, label, quiet, start: now, last_line: now }
    }

    /// So much of so much is done; `note` follows it.
    pub(crate) fn update(&mut self, done: u64, of: Option<u64>, note: &str) {
        if let Some(bar) = &self.bar {
            if let Some(of) = of.filter(|of| bar.length() != Some(*of)) {
                bar.set_style(style(true));
                bar.set_length(of);
            }
            bar.set_position(done);
            bar.set_message(note.to_owned());
        } else if !self.quiet && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            say(&format!("{}: {}", self.label, self.line(done, of, note)));
        }
    }

    fn line(&self, done: u64, of: Option<u64>, note: &str) -> String {
        let Some(of) = of.filter(|of| *of > 0) else { return note.to_owned() };
        #[expect(clippy::cast_precision_loss, reason = "a percentage")]
        let share = done as f64 / of as f64;
        let left = self.start.elapsed().as_secs_f64() * (1.0 / share.max(1e-9) - 1.0);
        let gap = if note.is_empty() { "" } else { ", " };
        format!("{:.0} %{gap}{note}, about {} left", 100.0 * share, short_seconds(left))
    }
}

impl Drop for ShownProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(known_length: bool) -> ProgressStyle {
    let template = if known_length {
        "{prefix} {bar:30} {percent:>3} %  {msg}  {eta} left"
    } else {
        "{prefix} {spinner} {msg}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Prints what went wrong, once, with its causes that say something new.
pub(crate) fn print_error(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let label = if colour { "\u{1b}[1;31merror:\u{1b}[0m" } else { "error:" };
    say(&format!("{label} {text}"));
}
