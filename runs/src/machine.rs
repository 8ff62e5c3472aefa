//! What the system says about the machine and this process, if it does: Linux has it in `/proc`.

use std::fs;

use crate::units::Bytes;

/// The processor's name.
#[must_use]
pub fn processor() -> Option<String> {
    let line = field("/proc/cpuinfo", "model name")?;
    Some(line.trim_start().strip_prefix(':')?.trim().to_owned())
}

/// Memory that may be taken.
#[must_use]
pub fn free_memory() -> Option<Bytes> {
    bytes(&field("/proc/meminfo", "MemAvailable:")?)
}

/// The most memory that this process had at once.
#[must_use]
pub fn peak_memory() -> Option<Bytes> {
    bytes(&field("/proc/self/status", "VmHWM:")?)
}

/// What follows a key on the first line of a file that begins with it.
fn field(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned)
}

/// A number of kB.
fn bytes(text: &str) -> Option<Bytes> {
    let kilobytes: u64 = text.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024).map(Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kilobytes_are_bytes() {
        assert_eq!(bytes("   12 kB"), Some(Bytes(12 << 10)));
        assert_eq!([bytes("12"), bytes("x kB"), bytes("99999999999999999999 kB")], [None; 3]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_of_memory() {
        let peak = peak_memory().expect("told");
        assert!(peak.0 > 1 << 20 && free_memory().is_some(), "{peak}");
    }
}
