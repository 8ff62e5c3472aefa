//! How the report writes numbers, and how it escapes text for each of its formats.

use lmtrain_runs::Bytes;
use lmtrain_runs::units;

/// A rate in percent, with as many digits as mean something: `22.93`, `138.2`, `1,410`.
#[must_use]
pub(crate) fn percent(rate: f64) -> String {
    let value = 100.0 * rate;
    match value.abs() {
        size if size < 99.995 => format!("{value:.2}"),
        size if size < 999.95 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

/// A share in percent, with its sign: `90 %`, `4.7 %`.
#[must_use]
pub(crate) fn share(share: f64) -> String {
    let value = 100.0 * share;
    let text = if (value - value.round()).abs() < 0.05 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    };
    format!("{text}\u{a0}%")
}

/// A whole number in groups of three digits: `1,410`.
#[must_use]
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value <= -0.5 { "−" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of parameters or tokens that was computed, in few letters: `3.2M`.
#[must_use]
pub(crate) fn short_count(value: f64) -> String {
    units::short_count(value.round() as u64)
}

/// A length of data in few letters: `5 MB`.
#[must_use]
pub(crate) fn short_bytes(bytes: Bytes) -> String {
    let text = bytes.to_string();
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// Text as HTML and SVG hold it, in elements and in quoted attributes.
#[must_use]
pub(crate) fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML has no form for the other control characters, not even an escaped one.
            '\u{0}'..='\u{8}'
            | '\u{b}'
            | '\u{c}'
            | '\u{e}'..='\u{1f}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                escaped.push('\u{fffd}');
            }
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Text as a cell of a Markdown table holds it.
#[must_use]
pub(crate) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' | '~' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            letter if letter.is_control() => escaped.push(' '),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Text as a field of a CSV file holds it (RFC 4180).
#[must_use]
pub(crate) fn csv(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Bytes as a `data:` address holds them (RFC 4648).
#[must_use]
pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_digits() {
        assert_eq!(
            [0.22934, 1.382, 14.102, 140.083].map(percent),
            ["22.93", "138.2", "1,410", "14,008"]
        );
        assert_eq!(
            [0.9, 0.0471, 0.0, 1.0].map(share),
            ["90\u{a0}%", "4.7\u{a0}%", "0\u{a0}%", "100\u{a0}%"]
        );
        assert_eq!([0.0, 999.0, 1e6, -1234.0].map(grouped), ["0", "999", "1,000,000", "−1,234"]);
        let lengths =
            [999, 5_000_000, 4_154_399, 1_000_000_000].map(|length| short_bytes(Bytes(length)));
        assert_eq!(lengths, ["999 B", "5 MB", "4.15 MB", "1 GB"]);
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(html("<b a='1'>&\u{1}"), "&lt;b a=&#39;1&#39;&gt;&amp;\u{fffd}");
        assert_eq!(markdown("a|b\n<i>"), "a\\|b &lt;i&gt;");
        assert_eq!(csv("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(csv("plain"), "plain");
    }

    #[test]
    fn base64_agrees_with_the_standard() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in vectors {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
