//! Signals that ask the program to end. The first one requests a clean stop, which every command checks for; a second
//! later, work that does not check is ended where it is, unless it says that it is saving something. A second signal
//! ends the program at once, whatever its threads do.
//!
//! A signal that was ignored when the program started stays ignored: under `nohup`, or in the background of a script,
//! it is not meant for this program.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lmtrain_runs::temporaries;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// The signals that ask a program to end, and the usual exit status of a program that did so: 128 plus the signal's
/// number.
#[cfg(unix)]
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, signal_hook::consts::SIGHUP];
#[cfg(not(unix))]
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];
const STATUS: i32 = 128;
/// The number of a terminal's hang-up.
const HANGUP: i32 = 1;
/// Signals so soon after the first are the same one: `timeout` sends two, as a shell does whose
/// terminal was closed.
const SAME: Duration = Duration::from_millis(300);
/// How long a command that is not saving anything may continue after that.
const GRACE: Duration = Duration::from_millis(700);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether someone wants the program to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
    /// The first signal's number, 0 before it.
    signal: Arc<AtomicUsize>,
    /// How many are keeping something.
    keeping: Arc<AtomicUsize>,
}

#[cfg(feature = "train")]
/// Held while something is being kept that would otherwise be lost.
#[derive(Debug)]
pub(crate) struct Keeping(Arc<AtomicUsize>);

impl Stop {
    /// Listens to the signals that are not ignored.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn on_signals(quiet: bool) -> std::io::Result<Self> {
        let stop = Self::default();
        let heard: Vec<i32> = SIGNALS.into_iter().filter(|&signal| !is_ignored(signal)).collect();
        let again = Arc::new(AtomicBool::new(false));
        for &signal in &heard {
            let number = usize::try_from(signal).unwrap_or(0);
            flag::register_conditional_shutdown(signal, STATUS + signal, again.clone())?;
            flag::register_usize(signal, stop.signal.clone(), number)?;
            flag::register(signal, stop.asked.clone())?;
        }
        let (mut signals, heeded) = (Signals::new(&heard)?, stop.clone());
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if signals.forever().next().is_some() {
                heeded.see_to_it(&again, quiet);
            }
        })?;
        Ok(stop)
    }

    /// Ends the program, if it does not end by itself.
    fn see_to_it(&self, again: &AtomicBool, quiet: bool) {
        thread::sleep(SAME);
        again.store(true, Ordering::SeqCst);
        if !quiet {
            // Whoever should read it may not, and writing would never end.
            let say = || {
                let line = "\nstopping; finished work is kept (interrupt again to end at once)";
                let _ = writeln!(std::io::stderr(), "{line}");
            };
            let _ = thread::Builder::new().spawn(say);
        }
        let mut since = Instant::now();
        while since.elapsed() < GRACE {
            if self.keeping.load(Ordering::SeqCst) > 0 {
                since = Instant::now();
            }
            thread::sleep(LOOK_EVERY);
        }
        temporaries::remove_all();
        signal_hook::low_level::exit(i32::from(self.status()));
    }

    #[cfg(feature = "train")]
    /// Set once someone wants to stop.
    pub(crate) fn asked(&self) -> &Arc<AtomicBool> {
        &self.asked
    }

    /// Whether someone wants to stop.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    #[cfg(feature = "train")]
    /// Keeps the program from being ended by the first signal, as long as this is held.
    pub(crate) fn keep(&self) -> Keeping {
        self.keeping.fetch_add(1, Ordering::SeqCst);
        Keeping(self.keeping.clone())
    }

    /// The exit status of a program that was stopped; by no signal, its terminal has gone.
    pub(crate) fn status(&self) -> u8 {
        let number = i32::try_from(self.signal.load(Ordering::SeqCst)).unwrap_or(0);
        u8::try_from(STATUS + if number == 0 { HANGUP } else { number }).unwrap_or(1)
    }
}

#[cfg(feature = "train")]
impl Drop for Keeping {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(feature = "train")]
/// Whether SIGHUP is ignored.
pub(crate) fn ignores_hangups() -> bool {
    cfg!(unix) && is_ignored(HANGUP)
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "no library tells how a signal is handled")]
fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: given no new action, `sigaction` writes the present one and changes nothing; an action of
    // zeroes is a valid one.
    unsafe {
        let read = libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        read == 0 && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(not(unix))]
fn is_ignored(_signal: i32) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_names_the_signal() {
        let stop = Stop::default();
        assert!(!stop.is_asked());
        assert_eq!(stop.status(), 129, "no signal: the terminal has gone");
        stop.signal.store(15, Ordering::SeqCst);
        assert_eq!(stop.status(), 143);
    }

    #[cfg(feature = "train")]
    #[test]
    fn what_is_kept_is_counted() {
        let stop = Stop::default();
        let (one, other) = (stop.keep(), stop.keep());
        drop(one);
        assert_eq!(stop.keeping.load(Ordering::SeqCst), 1);
        drop(other);
        assert_eq!(stop.keeping.load(Ordering::SeqCst), 0);
    }
}
