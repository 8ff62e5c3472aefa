//! The terminal on standard output, while the dashboard uses it.

use std::io::Write;
#[cfg(unix)]
use std::io::{Read, Seek};

#[cfg(unix)]
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

/// How a terminal was set; nothing if it does not tell.
#[cfg(unix)]
pub(super) type Modes = Option<Termios>;
/// How a terminal was set, which is not told here.
#[cfg(not(unix))]
pub(super) type Modes = ();

/// A key that does nothing.
#[cfg(unix)]
const NO_KEY: u8 = if cfg!(any(target_os = "linux", target_os = "android")) { 0 } else { 0xff };

/// How it is set.
#[cfg(unix)]
pub(super) fn modes() -> Modes {
    tcgetattr(std::io::stdout()).ok()
}

/// Sets it as it was.
#[cfg(unix)]
pub(super) fn restore(modes: &Modes) {
    if let Some(modes) = modes {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(std::io::stdout(), OptionalActions::Now, modes);
    }
}

/// Whether it was closed.
#[cfg(unix)]
pub(super) fn is_gone() -> bool {
    modes().is_none()
}

/// Makes Ctrl-C a signal again, once the terminal hands on every key as it is; whether it was time to.
/// The keys that stop and abort stay keys: they would leave the terminal as it is.
#[cfg(unix)]
pub(super) fn hear_ctrl_c() -> bool {
    let Some(mut modes) = modes() else { return false };
    if modes.local_modes.contains(LocalModes::ICANON) {
        return false;
    }
    modes.local_modes.insert(LocalModes::ISIG);
    modes.special_codes[SpecialCodeIndex::VSUSP] = NO_KEY;
    modes.special_codes[SpecialCodeIndex::VQUIT] = NO_KEY;
    restore(&Some(modes));
    true
}

#[cfg(not(unix))]
pub(super) fn modes() -> Modes {}

#[cfg(not(unix))]
pub(super) fn restore((): &Modes) {}

#[cfg(not(unix))]
pub(super) fn is_gone() -> bool {
    false
}

#[cfg(not(unix))]
pub(super) fn hear_ctrl_c() -> bool {
    true
}

/// What is written to standard error while the dashboard is on the same terminal: kept, since it would
/// be written over the dashboard, and since who writes to a terminal that is gone panics.
#[cfg(unix)]
pub(super) struct KeptErrors {
    terminal: std::os::fd::OwnedFd,
    kept: std::fs::File,
}

#[cfg(unix)]
impl KeptErrors {
    /// Keeps what is written from now on; nothing where standard error is no terminal.
    pub(super) fn keep() -> Option<Self> {
        tcgetattr(std::io::stderr()).ok()?;
        let terminal = std::os::fd::AsFd::as_fd(&std::io::stderr()).try_clone_to_owned().ok()?;
        let kept = tempfile::tempfile().ok()?;
        rustix::stdio::dup2_stderr(&kept).ok()?;
        Some(Self { terminal, kept })
    }

    /// Shows what was kept, and gives the terminal back, if it is there.
    pub(super) fn show(mut self) {
        if is_gone() || rustix::stdio::dup2_stderr(&self.terminal).is_err() {
            return;
        }
        let mut text = Vec::new();
        let read = self.kept.rewind().and_then(|()| self.kept.read_to_end(&mut text));
        let _ = read.and_then(|_| std::io::stderr().write_all(&text));
    }
}

/// What is written to standard error, which is not kept here.
#[cfg(not(unix))]
pub(super) struct KeptErrors;

#[cfg(not(unix))]
impl KeptErrors {
    pub(super) fn keep() -> Option<Self> {
        None
    }

    pub(super) fn show(self) {}
}

/// Shows the cursor, which a dashboard that ended in a panic has hidden.
pub(super) fn show_cursor() {
    let mut out = std::io::stdout();
    let _ = out.write_all(b"\x1b[?25h").and_then(|()| out.flush());
}
