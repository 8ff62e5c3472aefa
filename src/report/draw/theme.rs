//! Colours of the figures. Each has a light and a dark value: figures are drawn with the light ones, and a style sheet
//! of attribute selectors replaces them in an SVG on a dark screen. To add a colour, add a constant and its place in
//! [`all`].

use std::fmt::Write;

/// A colour on paper and on a dark screen, as 0xRRGGBB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Color {
    light: u32,
    dark: u32,
}

const fn color(light: u32, dark: u32) -> Color {
    Color { light, dark }
}

/// The ground.
pub(crate) const PAPER: Color = color(0xFFFFFF, 0x16191F);
/// Text.
pub(crate) const INK: Color = color(0x1B1F24, 0xE8EAED);
/// Text of less weight, and what others reported.
pub(crate) const MUTED: Color = color(0x5A626C, 0xA9B1BC);
/// Axes.
pub(crate) const AXIS: Color = color(0x8B939D, 0x737B87);
/// Gridlines.
pub(crate) const GRID: Color = color(0xE4E7EB, 0x2B3038);

/// Corpora: the hues of Okabe & Ito ("Color Universal Design", 2008) which colour-blind readers
/// tell apart, darkened where their own would be too pale for coloured text on white.
pub(crate) const CATEGORIES: [Color; 7] = [
    color(0x0072B2, 0x5AB8F0),
    color(0xC85200, 0xFF9450),
    color(0x00805C, 0x35CFA0),
    color(0xA63D84, 0xE895CB),
    color(0x8F6A00, 0xEBC04B),
    color(0x3A3F8F, 0xA5ABFF),
    color(0x5F5F5F, 0xC4C4C4),
];

/// Sizes, small to large, one for each row of the ladder: matplotlib's `plasma`, of even steps in
/// lightness; large is darkest on paper and brightest on a dark screen.
pub(crate) const RAMP: [Color; 9] = [
    color(0xEE8245, 0x9C63D9),
    color(0xE2695C, 0xB765CF),
    color(0xD2526F, 0xCB67BB),
    color(0xBF3A82, 0xDB6CA4),
    color(0xA82395, 0xE9768C),
    color(0x8C0FA5, 0xF38473),
    color(0x6F02A7, 0xFA985A),
    color(0x4B05A1, 0xFCB54A),
    color(0x1E0A8C, 0xF4DC55),
];

/// Every colour of a figure.
pub(crate) fn all() -> impl Iterator<Item = Color> {
    [PAPER, INK, MUTED, AXIS, GRID].into_iter().chain(CATEGORIES).chain(RAMP)
}

impl Color {
    /// Red, green and blue on paper.
    #[must_use]
    pub(crate) fn rgb(self) -> [u8; 3] {
        let [_, red, green, blue] = self.light.to_be_bytes();
        [red, green, blue]
    }
}

/// CSS that turns figures over on a dark screen, and leaves print alone.
#[must_use]
pub(crate) fn dark_rules() -> String {
    let mut rules = String::from("@media screen and (prefers-color-scheme: dark) {\n");
    for Color { light, dark } in all() {
        for attribute in ["fill", "stroke"] {
            // Writing to a string cannot fail.
            let _ = writeln!(
                rules,
                "svg [{attribute}=\"#{light:06X}\"] {{ {attribute}: #{dark:06X} }}"
            );
        }
    }
    rules + "}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(color: u32) -> f64 {
        let [_, channels @ ..] = color.to_be_bytes();
        let linear = channels.map(|channel| {
            let share = f64::from(channel) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    fn contrast(one: u32, other: u32) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        one.max(other) / one.min(other)
    }

    #[test]
    fn no_two_colours_turn_into_each_other() {
        let lights: Vec<u32> = all().map(|color| color.light).collect();
        let mut distinct = lights.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), lights.len(), "a light colour names its dark one");
    }

    #[test]
    fn text_is_legible_on_both_grounds() {
        for Color { light, dark } in [INK, MUTED].into_iter().chain(CATEGORIES) {
            assert!(contrast(light, PAPER.light) > 4.4, "{light:06X} on paper");
            assert!(contrast(dark, PAPER.dark) > 4.4, "{dark:06X} on a dark screen");
        }
        for Color { light, dark } in RAMP {
            assert!(contrast(light, PAPER.light) > 2.5, "{light:06X} on paper");
            assert!(contrast(dark, PAPER.dark) > 2.5, "{dark:06X} on a dark screen");
        }
    }
}
