//! The SIMD level of the kernels: forced by a test or by `LMTRAIN_SIMD`, otherwise the best that this machine supports.
//!
//! The level never changes a result, only its speed; the tests force levels to check that.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// The environment variable that forces a level.
const VARIABLE: &str = "LMTRAIN_SIMD";

/// A set of vector instructions that the kernels are compiled for, and that this machine has: a level is made by
/// detection alone, which is what makes it sound to run its kernels from safe code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Level(Instructions);

/// The sets of vector instructions that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Instructions {
    /// Plain Rust, on any machine.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512F, BW, DQ, VL and VNNI.
    Avx512,
    /// The same with AVX-512BF16, which multiplies pairs of bfloat16.
    Avx512Bf16,
    /// 64-bit ARM.
    Neon,
}

/// The levels, slowest first, by the names that `LMTRAIN_SIMD` takes.
const NAMES: [(Instructions, &str); 5] = [
    (Instructions::Scalar, "scalar"),
    (Instructions::Avx2, "avx2"),
    (Instructions::Avx512, "avx512"),
    (Instructions::Avx512Bf16, "avx512bf16"),
    (Instructions::Neon, "neon"),
];

impl Instructions {
    /// Whether this machine has them.
    #[cfg(target_arch = "x86_64")]
    fn available(self) -> bool {
        match self {
            Self::Scalar => true,
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
                    && Self::Avx2.available()
            }
            Self::Avx512Bf16 => is_x86_feature_detected!("avx512bf16") && Self::Avx512.available(),
            Self::Neon => false,
        }
    }

    /// Whether this machine has them.
    #[cfg(target_arch = "aarch64")]
    fn available(self) -> bool {
        matches!(self, Self::Scalar | Self::Neon)
    }

    /// Whether this machine has them.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn available(self) -> bool {
        self == Self::Scalar
    }
}

impl Level {
    /// Plain Rust, on any machine.
    pub const SCALAR: Self = Self(Instructions::Scalar);

    /// Every level of this machine, slowest first.
    pub fn all_available() -> Vec<Self> {
        let all = NAMES.iter().map(|(instructions, _)| *instructions);
        all.filter(|it| it.available()).map(Self).collect()
    }

    /// What it may be compiled for.
    pub(super) fn instructions(self) -> Instructions {
        self.0
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(instructions, _)| *instructions == self.0);
        formatter.write_str(name.map_or("unknown", |(_, name)| name))
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(_, name)| *name == text);
        let (instructions, _) = found.ok_or_else(|| {
            format!("{VARIABLE}={text}: there is no such SIMD level; write scalar, avx2, avx512, avx512bf16 \
                or neon")
        })?;
        if instructions.available() {
            return Ok(Self(*instructions));
        }
        let names: Vec<String> = Self::all_available().iter().map(Self::to_string).collect();
        let names = names.join(", ");
        Err(format!(
            "{VARIABLE}={text}: this machine does not support this SIMD level; it supports {names}"
        ))
    }
}

thread_local! {
    /// The level that `with_level` forces on this thread.
    static FORCED: Cell<Option<Level>> = const { Cell::new(None) };
}

/// The level that this thread's kernel calls run at. An error names a bad `LMTRAIN_SIMD`: ask once at start-up.
pub fn level() -> Result<Level, String> {
    static CHOSEN: OnceLock<Result<Level, String>> = OnceLock::new();
    if let Some(level) = FORCED.get() {
        return Ok(level);
    }
    CHOSEN.get_or_init(choose).clone()
}

/// `LMTRAIN_SIMD`'s level, or the best of this machine.
fn choose() -> Result<Level, String> {
    match std::env::var(VARIABLE) {
        Err(std::env::VarError::NotPresent) => {
            Ok(*Level::all_available().last().unwrap_or(&Level::SCALAR))
        }
        Err(error) => Err(format!("{VARIABLE}: {error}")),
        Ok(text) => text.parse(),
    }
}

/// The level for a kernel; a bad `LMTRAIN_SIMD` that the application did not report ends here.
pub(super) fn current() -> Level {
    level().unwrap_or_else(|error| panic!("{error}"))
}

/// Whether products of bfloat16 are faster than those of singles: by instructions for them, not by other means.
pub fn multiplies_pairs() -> bool {
    level().is_ok_and(|level| level.instructions() == Instructions::Avx512Bf16)
}

/// Runs `work` with the kernels that this thread calls forced to `level`.
///
/// The parallel tasks of those kernels follow: a kernel reads its level once, before it splits its work.
pub fn with_level<R>(level: Level, work: impl FnOnce() -> R) -> R {
    /// Puts the former level back, after a panic too.
    struct Restore(Option<Level>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    let _restore = Restore(FORCED.replace(Some(level)));
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_to_levels_that_the_machine_has() {
        let available = Level::all_available();
        assert_eq!(available[0], Level::SCALAR);
        for (instructions, name) in NAMES {
            match name.parse::<Level>() {
                Ok(level) => assert!(available.contains(&level) && level.to_string() == name),
                Err(error) => {
                    assert!(!available.contains(&Level(instructions)));
                    assert!(error.contains(name) && error.contains("scalar"), "{error}");
                }
            }
        }
        assert!("sse9".parse::<Level>().is_err_and(|error| error.contains("sse9")));
    }

    #[test]
    fn a_forced_level_ends_with_its_work() {
        let before = level();
        with_level(Level::SCALAR, || assert_eq!(level(), Ok(Level::SCALAR)));
        assert_eq!(level(), before);
        let panicked = std::panic::catch_unwind(|| with_level(Level::SCALAR, || panic!("inside")));
        assert!(panicked.is_err());
        assert_eq!(level(), before);
    }
}
