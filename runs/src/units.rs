//! Units. Bits and bytes are types, so that a rate can only be made of the right two; conversion
//! happens once, by name. Seconds, tokens and parameters carry their unit in their names.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// Bits per nat, log2(e).
pub const BITS_PER_NAT: f64 = std::f64::consts::LOG2_E;

/// Bytes as text: two lower-case hexadecimal digits each.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of such a text; none if it is no such text.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|it| it.len() == 2)?, 16).ok()
        })
        .collect()
}

/// A word of a command line as a shell reads it: in quotes if it has anything else than letters, digits and
/// harmless signs.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let is_harmless = |letter: char| letter.is_alphanumeric() || "._-+=:,/@%".contains(letter);
    if !text.is_empty() && text.chars().all(is_harmless) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// An amount of information in bits; fractional, since ideal code lengths are.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bits(pub f64);

/// A whole number of bytes: a file, a payload, a model.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bits {
    /// The bits of an amount of information in nats.
    #[must_use]
    pub fn from_nats(nats: f64) -> Self {
        Self(nats * BITS_PER_NAT)
    }

    /// The same amount in bytes, not rounded.
    #[must_use]
    pub fn as_bytes(self) -> f64 {
        self.0 / 8.0
    }
}

impl Bytes {
    /// The same amount in bits.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "lengths stay far below 2^53")]
    pub fn as_bits(self) -> Bits {
        Bits(self.0 as f64 * 8.0)
    }

    /// The count as a float, for a ratio.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "lengths stay far below 2^53")]
    pub fn as_f64(self) -> f64 {
        self.0 as f64
    }
}

impl Add for Bits {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Bits {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sum for Bits {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self(0.0), Add::add)
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self(0), Add::add)
    }
}

impl fmt::Display for Bytes {
    /// `999 B`, `1.50 MB`: decimal multiples, as corpora are named by powers of ten.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1000 => write!(formatter, "{} B", self.0),
            1000..1_000_000 => write!(formatter, "{:.1} KB", self.as_f64() / 1e3),
            1_000_000..1_000_000_000 => write!(formatter, "{:.2} MB", self.as_f64() / 1e6),
            _ => write!(formatter, "{:.2} GB", self.as_f64() / 1e9),
        }
    }
}

/// A count with a decimal suffix, as sizes and budgets are written: `3.2M`, `819`, `1.5B`.
#[must_use]
pub fn short_count(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let value = count as f64;
    let (scaled, suffix) = match count {
        0..1000 => return count.to_string(),
        1000..1_000_000 => (value / 1e3, "K"),
        1_000_000..1_000_000_000 => (value / 1e6, "M"),
        _ => (value / 1e9, "B"),
    };
    let digits = usize::from(scaled < 100.0) + usize::from(scaled < 10.0);
    let text = format!("{scaled:.digits$}");
    let trimmed =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{trimmed}{suffix}")
}

/// No count that a user may ask for is larger; products of a few stay exact.
const LARGEST_COUNT: u64 = 1_000_000_000_000;

/// Reads what [`short_count`] writes, and plain numbers: `100M`, `1.5B`, `200k`, `4096`.
///
/// # Errors
/// A sentence that names the text, when it is not a count.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let refuse = || format!("`{text}` is not a count: write it as 4096, 200K, 100M or 1.5B");
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1e3),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1e6),
        Some(b'B' | b'b' | b'G' | b'g') => (&text[..text.len() - 1], 1e9),
        _ => (text, 1.0),
    };
    if factor == 1.0 {
        return digits.parse().ok().filter(|count| *count <= LARGEST_COUNT).ok_or_else(refuse);
    }
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value: f64 = digits.parse().map_err(|_| refuse())?;
    if !plain || value * factor > LARGEST_COUNT as f64 {
        return Err(refuse());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok((value * factor).round() as u64)
}

/// A span of time as people say it: `48 s`, `3 min 20 s`, `2 h 05 min`, `12 days`.
#[must_use]
pub fn short_seconds(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_owned();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{whole} s"),
        120..7200 => format!("{} min {:02} s", whole / 60, whole % 60),
        7200..172_800 => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} days", (seconds / 86_400.0).round()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_command_are_what_a_shell_reads() {
        for (text, word) in [
            ("wiki15-8:8+kodak:1", "wiki15-8:8+kodak:1"),
            ("./a file", "'./a file'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn counts_read_back() {
        for (text, count) in
            [("4096", 4096), ("200K", 200_000), ("3.2M", 3_200_000), ("1.5B", 1_500_000_000)]
        {
            assert_eq!(parse_count(text), Ok(count));
            assert_eq!(
                parse_count(&short_count(count)).unwrap_or(0),
                if count == 4096 { 4100 } else { count }
            );
        }
        for text in ["", "M", "-3M", "1e3K", "3.2", "x", "infM", "99999999B"] {
            assert!(parse_count(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bits_and_bytes_convert() {
        assert_eq!(Bytes(3).as_bits(), Bits(24.0));
        assert!((Bits::from_nats(std::f64::consts::LN_2).0 - 1.0).abs() < 1e-15);
        assert_eq!([Bytes(1), Bytes(2)].into_iter().sum::<Bytes>(), Bytes(3));
    }
}
