//! A terminal, by a pseudo-terminal: closed under every long command, Ctrl-C, and the dashboard's keys.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use crate::Study;
use crate::started::Started;

const FIT: &str =
    "fit --size 50K --corpus source --context 64 --batch 2 --tokens 900M --name watched";
/// What a dashboard begins and ends with: another screen.
const OTHER_SCREEN: &str = "\u{1b}[?1049h";
const FIRST_SCREEN: &str = "\u{1b}[?1049l";

/// The side of a pseudo-terminal that a terminal program holds, and what was shown on it.
struct Terminal {
    side: File,
    shown: String,
}

#[expect(unsafe_code, reason = "the standard library knows no pseudo-terminals")]
fn open() -> (Terminal, File) {
    let mut name = [0; 64];
    // SAFETY: the descriptor is new, and nobody else's; the name fits, or is an error.
    let side = unsafe {
        // No program that another test starts may hold it open.
        let side = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(side >= 0, "a pseudo-terminal");
        let side = File::from_raw_fd(side);
        let side_fd = side.as_raw_fd();
        assert_eq!(libc::grantpt(side_fd), 0);
        assert_eq!(libc::unlockpt(side_fd), 0);
        assert_eq!(libc::ptsname_r(side_fd, name.as_mut_ptr(), name.len()), 0);
        let size = libc::winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        assert_eq!(libc::ioctl(side_fd, libc::TIOCSWINSZ, &size), 0);
        assert_eq!(libc::fcntl(side_fd, libc::F_SETFL, libc::O_NONBLOCK), 0);
        side
    };
    let name: Vec<u8> =
        name.iter().take_while(|&&byte| byte != 0).map(|&byte| byte as u8).collect();
    let name = String::from_utf8(name).expect("a path");
    let mut options = std::fs::OpenOptions::new();
    let inner = options.read(true).write(true).custom_flags(libc::O_NOCTTY).open(name);
    (Terminal { side, shown: String::new() }, inner.expect("its other side"))
}

/// Starts a command on a terminal that is its own, as a window's is; or one that it was only lent.
#[expect(unsafe_code, reason = "the standard library makes no sessions")]
fn start(study: &Study, line: &str, is_own: bool) -> (Started, Terminal) {
    let (terminal, inner) = open();
    let mut command = study.command(line);
    let stream = || inner.try_clone().expect("another descriptor");
    command.stdin(stream()).stdout(stream()).stderr(stream()).env("TERM", "xterm");
    // SAFETY: between fork and exec, these two system calls are all that is done.
    unsafe {
        command.pre_exec(move || {
            if libc::setsid() < 0 || (is_own && libc::ioctl(0, libc::TIOCSCTTY, 0) < 0) {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    (Started::as_it_is(&mut command, line), terminal)
}

impl Terminal {
    /// Reads what there is to see; whether `text` was shown at any time.
    fn shows(&mut self, text: &str) -> bool {
        let mut bytes = [0; 4096];
        loop {
            match self.side.read(&mut bytes) {
                Ok(count) if count > 0 => {
                    self.shown += &String::from_utf8_lossy(&bytes[..count]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        self.shown.contains(text)
    }

    fn looks(&mut self) {
        self.shows("");
    }

    fn types(&mut self, keys: &str) {
        self.side.write_all(keys.as_bytes()).expect("typed");
    }

    /// Whether lines are edited and echoed, as a shell leaves it.
    #[expect(unsafe_code, reason = "the standard library does not ask terminals")]
    fn is_as_before(&self) -> bool {
        let mut modes = std::mem::MaybeUninit::<libc::termios>::zeroed();
        // SAFETY: it writes the modes; zeroes are modes, too.
        let modes = unsafe {
            assert_eq!(libc::tcgetattr(self.side.as_raw_fd(), modes.as_mut_ptr()), 0);
            modes.assume_init()
        };
        modes.c_lflag & (libc::ICANON | libc::ECHO) == libc::ICANON | libc::ECHO
    }
}

/// Steps that are recorded of the run.
fn recorded(study: &Study) -> u64 {
    let log = std::fs::read_to_string(study.path("runs/work/watched/train.jsonl"));
    let log = log.unwrap_or_default();
    let last = log.lines().last().map(serde_json::from_str::<serde_json::Value>);
    last.and_then(Result::ok).and_then(|record| record["step"].as_u64()).unwrap_or(0)
}

/// Whether the run's lock is free, or is so in a moment: asked for the size of a terminal that is gone, crossterm starts
/// `tput`, and a process that has just been forked holds the lock until it has become that program.
fn is_free(study: &Study) {
    let lock = std::fs::File::open(study.path("runs/work/watched/lock")).expect("there");
    let start = Instant::now();
    while lock.try_lock().is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "the run's lock is still held");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_terminal_closed_under_the_dashboard_ends_training_with_all_kept() {
    // As soon as it is there; later, and with training on its way.
    for (trial, pause) in [0, 0, 30, 100, 250, 600, 1500].into_iter().enumerate() {
        let study = Study::new();
        let (mut fit, mut terminal) = start(&study, FIT, true);
        fit.until("its dashboard", || terminal.shows(OTHER_SCREEN));
        if trial > 0 {
            fit.until("a record", || terminal.shows(OTHER_SCREEN) && recorded(&study) > 0);
            let since = Instant::now();
            let pause = Duration::from_millis(pause);
            fit.until("the moment", || terminal.shows("") && since.elapsed() >= pause);
        }
        drop(terminal);
        let ended = fit.ends();
        assert_eq!(ended.code(), Some(129), "trial {trial}: {ended}");
        is_free(&study);
        let step = recorded(&study);
        if step > 0 {
            let checkpoint = study.path("runs/work/watched/checkpoint/last.safetensors");
            assert!(checkpoint.exists(), "trial {trial}: the checkpoint of step {step}");
            let mut resumed = Started::new(&study, "fit --resume --name watched");
            resumed.until("a further step", || recorded(&study) > step);
            resumed.tell(libc::SIGTERM);
            resumed.output(143);
        }
        assert!(trial == 0 || step > 0, "trial {trial}: it trained");
    }
}

#[test]
fn a_lent_terminal_that_goes_away_ends_training_as_well() {
    let study = Study::new();
    let (mut fit, mut terminal) = start(&study, FIT, false);
    fit.until("a record", || terminal.shows(OTHER_SCREEN) && recorded(&study) > 0);
    drop(terminal);
    let ended = fit.ends();
    assert_eq!(ended.code(), Some(129), "{ended}");
    is_free(&study);
}

#[test]
fn the_dashboard_hears_ctrl_c_and_signals_and_leaves_the_terminal_as_it_was() {
    for (keys, signal, status) in [("\u{3}", 0, 130), ("", libc::SIGTERM, 143)] {
        let study = Study::new();
        let (mut fit, mut terminal) = start(&study, FIT, true);
        fit.until("a record", || terminal.shows(OTHER_SCREEN) && recorded(&study) > 0);
        match signal {
            0 => terminal.types(keys),
            signal => fit.tell(signal),
        }
        let ended = fit.ends_while(|| terminal.looks());
        assert_eq!(ended.code(), Some(status), "{}", terminal.shown);
        assert!(terminal.shows(FIRST_SCREEN) && !terminal.shows("panicked"), "{}", terminal.shown);
        assert!(terminal.is_as_before());
        is_free(&study);
    }
}

#[test]
fn the_dashboards_keys_stop_and_kill_without_a_panic() {
    for (key, status, says) in [("s", 0, "stopped after step"), ("k", 1, "was killed")] {
        let study = Study::new();
        let (mut fit, mut terminal) = start(&study, FIT, true);
        fit.until("a record", || terminal.shows(OTHER_SCREEN) && recorded(&study) > 0);
        terminal.types("q");
        fit.until("what to do", || terminal.shows("Cancel"));
        terminal.types(key);
        let ended = fit.ends_while(|| terminal.looks());
        assert_eq!(ended.code(), Some(status), "{}", terminal.shown);
        assert!(terminal.shows(says) && !terminal.shows("panicked"), "{}", terminal.shown);
        assert!(terminal.shows(FIRST_SCREEN) && terminal.is_as_before());
        is_free(&study);
    }
}

#[test]
fn a_terminal_closed_under_every_other_long_command_ends_it() {
    let study = Study::new();
    study.fit("--steps 2");
    let text: Vec<u8> = (0..60_000_000_u32).map(|at| (at % 251 * (at % 83)) as u8).collect();
    std::fs::write(study.path("long"), text).expect("written");
    for line in [
        "fit --size 50K --corpus source --context 64 --tokens 900M --name plain --plain",
        "sweep --size 50K --corpus source --tokens 800M",
        "eval --compressor lzma2 --corpus random:bytes=100M",
        "eval --run tiny --corpus random:bytes=100M --chunk 64",
        "compress long -o long.lmz --run tiny",
        "tokenizer --vocab 60000 --corpus markov:bytes=40M,alphabet=200,order=1 --train-on all",
        "bench --size 38M --steps 1000 --only train",
        "quickstart --offline --minutes 300",
    ] {
        let (mut started, mut terminal) = start(&study, line, true);
        if line.starts_with("bench") {
            let id = started.id();
            started.until("its measuring", || {
                terminal.shows("") && !crate::started::children(id).is_empty()
            });
        } else {
            started.works();
        }
        drop(terminal);
        assert_eq!(started.ends().code(), Some(129), "`{line}`");
    }
    assert!(!study.path("long.lmz").exists());
}
