//! Text without a font on the machine: Noto Sans (SIL Open Font License) is in the crate `notosans`. It is used to
//! measure text for the layout of both renderers, and to draw it into the PNG.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};

/// Fonts that an SVG asks its reader for: the one that was measured, else narrower ones.
pub(crate) const FAMILY: &str = "Noto Sans, Helvetica Neue, Helvetica, Arial, sans-serif";

/// How heavy letters are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Weight {
    /// As running text.
    #[default]
    Regular,
    /// As headings.
    Bold,
}

static REGULAR: LazyLock<FontRef<'static>> = LazyLock::new(|| parse(notosans::REGULAR_TTF));
static BOLD: LazyLock<FontRef<'static>> = LazyLock::new(|| parse(notosans::BOLD_TTF));

fn parse(bytes: &'static [u8]) -> FontRef<'static> {
    FontRef::try_from_slice(bytes).expect("an embedded font is whole; a test draws with each")
}

fn face(weight: Weight) -> &'static FontRef<'static> {
    match weight {
        Weight::Regular => &REGULAR,
        Weight::Bold => &BOLD,
    }
}

/// The scale at which an em is so many pixels; `ab_glyph` counts from ascent to descent.
fn scale(font: &FontRef<'static>, em: f64) -> PxScale {
    let units = font.units_per_em().unwrap_or(1000.0);
    PxScale::from(em as f32 * font.height_unscaled() / units)
}

/// Width of a line of text whose em is so many pixels.
#[must_use]
pub(crate) fn width(text: &str, em: f64, weight: Weight) -> f64 {
    let mut end = 0.0;
    walk(text, em, weight, |_, _, after| end = after);
    f64::from(end)
}

/// Breaks text between words into lines that are at most so wide, where words allow it.
#[must_use]
pub(crate) fn wrap(text: &str, em: f64, weight: Weight, at_most: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let joined = lines.last().map(|line| format!("{line} {word}"));
        match (lines.last_mut(), joined) {
            (Some(line), Some(joined)) if width(&joined, em, weight) <= at_most => *line = joined,
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Text, cut in its middle if it is wider than this.
#[must_use]
pub(crate) fn fitted(text: &str, em: f64, weight: Weight, at_most: f64) -> String {
    if width(text, em, weight) <= at_most {
        return text.to_owned();
    }
    let letters: Vec<char> = text.chars().collect();
    let cut = |kept: usize| {
        let (head, tail) = (kept.div_ceil(2), kept / 2);
        let head: String = letters[..head].iter().collect();
        let tail: String = letters[letters.len() - tail..].iter().collect();
        format!("{head}…{tail}")
    };
    let fits = |kept: &usize| width(&cut(*kept), em, weight) <= at_most;
    cut((0..letters.len()).rev().find(fits).unwrap_or(0))
}

/// Draws a line of text: calls `blend` with pixels and their coverage in 0..=1.
pub(crate) fn draw(
    text: &str,
    em: f64,
    weight: Weight,
    baseline: (f64, f64),
    mut blend: impl FnMut(i64, i64, f32),
) {
    let font = face(weight);
    let scale = scale(font, em);
    let start = point(baseline.0 as f32, baseline.1 as f32);
    walk(text, em, weight, |letter, before, _| {
        let at = point(start.x + before, start.y);
        let glyph = font.glyph_id(letter).with_scale_and_position(scale, at);
        let Some(outline) = font.outline_glyph(glyph) else { return };
        let corner = outline.px_bounds().min;
        let (left, top) = (corner.x as i64, corner.y as i64);
        outline.draw(|x, y, coverage| blend(left + i64::from(x), top + i64::from(y), coverage));
    });
}

/// Visits each letter with its pen position before and after it.
fn walk(text: &str, em: f64, weight: Weight, mut visit: impl FnMut(char, f32, f32)) {
    let font = face(weight);
    let scaled = font.as_scaled(scale(font, em));
    let mut pen = 0.0;
    let mut previous = None;
    for letter in text.chars() {
        let glyph = scaled.glyph_id(letter);
        pen += previous.map_or(0.0, |previous| scaled.kern(previous, glyph));
        let after = pen + scaled.h_advance(glyph);
        visit(letter, pen, after);
        pen = after;
        previous = Some(glyph);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_weights_measure_and_draw() {
        for weight in [Weight::Regular, Weight::Bold] {
            let wide = width("enwik9", 12.0, weight);
            assert!((30.0..60.0).contains(&wide), "{wide}");
            assert!((width("enwik9", 24.0, weight) - 2.0 * wide).abs() < 1e-3);
            let mut ink = 0.0;
            draw("enwik9 − 22.9 %", 12.0, weight, (0.0, 12.0), |_, _, coverage| ink += coverage);
            assert!(ink > 50.0, "{ink}");
        }
        assert_eq!(width("", 12.0, Weight::Regular), 0.0);
    }

    #[test]
    fn lines_break_between_words() {
        let lines = wrap("the quick brown fox jumps", 10.0, Weight::Regular, 60.0);
        assert_eq!(lines.join(" "), "the quick brown fox jumps");
        assert!(lines.len() > 1);
        assert!(lines.iter().all(|line| width(line, 10.0, Weight::Regular) <= 60.0), "{lines:?}");
        assert_eq!(wrap("unbreakable", 10.0, Weight::Regular, 1.0), ["unbreakable"]);
    }

    #[test]
    fn long_text_is_cut_in_its_middle() {
        let cut = fitted("a-run-with-a-very-long-name-indeed-s0", 12.0, Weight::Bold, 100.0);
        assert!(cut.starts_with("a-run") && cut.ends_with("s0") && cut.contains('…'), "{cut}");
        assert!(width(&cut, 12.0, Weight::Bold) <= 100.0);
        assert_eq!(fitted("short", 12.0, Weight::Bold, 100.0), "short");
    }
}
