//! The terminal that standard output is, under the dashboard.

use std::io::Write;

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

/// Shows the cursor, which a dashboard that ended in a panic has hidden.
pub(super) fn show_cursor() {
    let mut out = std::io::stdout();
    let _ = out.write_all(b"\x1b[?25h").and_then(|()| out.flush());
}
