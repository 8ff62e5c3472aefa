//! A program that runs beside the test: until when it works, what it is told, how it ends.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use crate::Study;

/// Longer than anything here takes on any machine; only what never ends gets there.
const FOREVER: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Makes a program hear the signals that these tests send, although the shell that runs the tests in the background, or
/// `nohup`, has them ignored.
#[expect(unsafe_code, reason = "the standard library does not set what a child ignores")]
fn hears_signals(command: &mut Command) {
    let hear = || {
        for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGTERM] {
            // SAFETY: `signal` may be called between fork and exec, and no handler is set.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: it calls nothing but `signal`.
    unsafe { command.pre_exec(hear) };
}

/// A program that is killed if the test leaves it.
pub(crate) struct Started {
    pub(crate) child: Child,
    line: String,
}

impl Started {
    /// Starts a command line with all that it prints kept.
    pub(crate) fn new(study: &Study, line: &str) -> Self {
        Self::of(&mut study.command(line), line)
    }

    /// The same of a command that is made ready.
    pub(crate) fn of(command: &mut Command, line: &str) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::as_it_is(command, line)
    }

    /// Starts a command whose streams are made ready too.
    pub(crate) fn as_it_is(command: &mut Command, line: &str) -> Self {
        hears_signals(command);
        Self { child: command.spawn().expect("the program starts"), line: line.to_owned() }
    }

    pub(crate) fn id(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    /// Waits until something is so, while the program goes on.
    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            let ended = self.child.try_wait().expect("known");
            assert!(ended.is_none(), "`{}` ended ({ended:?}) before {what}", self.line);
            assert!(start.elapsed() < FOREVER, "`{}` never came to {what}", self.line);
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until the program listens to signals, and has computed for a while.
    pub(crate) fn works(&mut self) {
        let id = self.id();
        self.until("its work", || listens(id) && ticks(id) > 30);
    }

    /// Sends a signal to a program that goes on.
    pub(crate) fn tell(&mut self, signal: i32) {
        let ended = self.child.try_wait().expect("known");
        assert!(ended.is_none(), "`{}` ended by itself ({ended:?})", self.line);
        kill(self.id(), signal);
    }

    /// Waits for the end.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        self.ends_while(|| ())
    }

    /// Waits for the end, and does something all the while.
    pub(crate) fn ends_while(&mut self, mut all_the_while: impl FnMut()) -> ExitStatus {
        let start = Instant::now();
        loop {
            all_the_while();
            if let Some(status) = self.child.try_wait().expect("known") {
                return status;
            }
            assert!(start.elapsed() < FOREVER, "`{}` never ended", self.line);
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits for the end, which is to be one that the program chose, and gives what it printed.
    pub(crate) fn output(mut self, expected: i32) -> Output {
        let status = self.ends();
        let take = |stream: Option<&mut dyn std::io::Read>| {
            let mut bytes = Vec::new();
            if let Some(stream) = stream {
                let _ = stream.read_to_end(&mut bytes);
            }
            bytes
        };
        let stdout = take(self.child.stdout.as_mut().map(|it| it as &mut dyn std::io::Read));
        let stderr = take(self.child.stderr.as_mut().map(|it| it as &mut dyn std::io::Read));
        let said = String::from_utf8_lossy(&stderr).into_owned();
        let line = &self.line;
        assert_eq!(status.code(), Some(expected), "`{line}`, {:?}: {said}", status.signal());
        assert!(!said.contains("panicked"), "`{line}`: {said}");
        Output { status, stdout, stderr }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(unsafe_code, reason = "the standard library sends no signals")]
pub(crate) fn kill(process: i32, signal: i32) {
    // SAFETY: it takes two integers.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0, "the signal is sent");
}

/// Whether a process is there.
#[expect(unsafe_code, reason = "the standard library sends no signals")]
pub(crate) fn is_there(process: i32) -> bool {
    // SAFETY: it takes two integers, and sends nothing.
    unsafe { libc::kill(process, 0) == 0 }
}

/// Whether a process has a handler for SIGTERM.
fn listens(process: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    caught & (1 << (libc::SIGTERM - 1)) != 0
}

/// Hundredths of a second that a process and those that it waited for have computed.
fn ticks(process: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|text| text.parse().ok()).unwrap_or(0);
    field(11) + field(12)
}

/// The processes that a process has started.
pub(crate) fn children(process: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}
