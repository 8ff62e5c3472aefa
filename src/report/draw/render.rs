//! Rendering a scene as SVG and as PNG with plotters' backends. Both use integer pixels, so the SVG is drawn ten times
//! as large and scaled back by its view box, and the PNG is drawn three times as large and averaged. The PNG needs no
//! font on the machine ([`super::text`]).

use anyhow::{Context, Result, anyhow};
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle};

use super::scene::{Align, Point, Scene, Shape, Text};
use super::text::{self, Weight};
use super::theme::{self, Color, PAPER};
use crate::report::format::html;

/// Units of the SVG's view box to a logical pixel.
const SVG_SCALE: f64 = 10.0;
/// Pixels of the PNG to a logical pixel, along each side.
const PNG_SCALE: usize = 2;
/// Pixels drawn to a pixel of the PNG, along each side.
const SAMPLES: usize = 3;
/// Pixels to a metre at which the PNG has its logical size (96 logical pixels to an inch).
const PNG_PIXELS_PER_METRE: u32 = 3780 * PNG_SCALE as u32;

/// The scene as an SVG document that follows the screen's colour scheme. `label` is what it shows,
/// for those who do not see it.
///
/// # Errors
/// If the backend refuses a mark.
pub(crate) fn svg(scene: &Scene, label: &str) -> Result<String> {
    let inner = svg_marks(scene)?;
    let style = theme::dark_rules();
    Ok(format!("{}<style>{style}</style>\n{inner}</svg>\n", svg_root(scene, label)))
}

/// The scene as an `svg` element of a page, which has [`theme::dark_rules`] in its own style.
///
/// # Errors
/// If the backend refuses a mark.
pub(crate) fn inline_svg(scene: &Scene, label: &str) -> Result<String> {
    Ok(format!("{}{}</svg>", svg_root(scene, label), svg_marks(scene)?))
}

/// The scene as a PNG, at twice its logical size.
///
/// # Errors
/// If the backend refuses a mark, or the picture cannot be encoded.
pub(crate) fn png(scene: &Scene) -> Result<Vec<u8>> {
    let scale = PNG_SCALE * SAMPLES;
    let (width, height) = (pixels(scene.width) * PNG_SCALE, pixels(scene.height) * PNG_SCALE);
    let mut large = vec![0; width * height * SAMPLES * SAMPLES * 3];
    let size = (whole(width * SAMPLES)?, whole(height * SAMPLES)?);
    {
        let mut backend = BitMapBackend::with_buffer(&mut large, size);
        shapes(&mut backend, scene, scale as f64)?;
        backend.present().map_err(refused)?;
    }
    for text in &scene.texts {
        blend_text(&mut large, width * SAMPLES, text, scale as f64);
    }
    encode(&average(&large, width, height), size.0 / SAMPLES as u32, size.1 / SAMPLES as u32)
}

fn svg_root(scene: &Scene, label: &str) -> String {
    let (width, height) = (scene.width.ceil(), scene.height.ceil());
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\" \
         stroke-linejoin=\"round\" stroke-linecap=\"butt\">\n",
        width * SVG_SCALE,
        height * SVG_SCALE,
        html(label),
    )
}

/// The elements of the scene, without the root that plotters writes around them.
fn svg_marks(scene: &Scene) -> Result<String> {
    let mut document = String::new();
    let side = |length: f64| whole(pixels(length) * SVG_SCALE as usize);
    {
        let size = (side(scene.width)?, side(scene.height)?);
        let mut backend = SVGBackend::with_string(&mut document, size);
        shapes(&mut backend, scene, SVG_SCALE)?;
        for text in &scene.texts {
            write_text(&mut backend, text)?;
        }
        backend.present().map_err(refused)?;
    }
    let inner = document.split_once(">\n").and_then(|(_, rest)| rest.rsplit_once("</svg>"));
    let (inner, _) = inner.context("plotters' SVG backend wrote no root element")?;
    Ok(with_lengths(inner, &scene.texts))
}

/// The elements with the length of each text: a viewer whose font is wider than ours then squeezes it, where it would
/// run out of the picture.
fn with_lengths(elements: &str, texts: &[Text]) -> String {
    let mut parts = elements.split("<text ");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for (part, text) in parts.zip(texts) {
        let length = text::width(&text.text, text.em, text.weight) * SVG_SCALE;
        result +=
            &format!("<text textLength=\"{length:.0}\" lengthAdjust=\"spacingAndGlyphs\" {part}");
    }
    result
}

/// Draws the ground and every shape.
fn shapes<B: DrawingBackend>(backend: &mut B, scene: &Scene, scale: f64) -> Result<()> {
    let corner = (scene.width.ceil(), scene.height.ceil());
    let ground = filled(PAPER, 1.0);
    backend.draw_rect((0, 0), scaled(corner, scale), &ground, true).map_err(refused)?;
    for shape in &scene.shapes {
        let drawn = match shape {
            Shape::Line { points, stroke } => {
                let width = (stroke.width * scale).round().max(1.0) as u32;
                let style = filled(stroke.color, stroke.opacity).stroke_width(width);
                backend.draw_path(points.iter().map(|&point| scaled(point, scale)), &style)
            }
            Shape::Disc { center, radius, color, opacity } => {
                let radius = (radius * scale).round() as u32;
                let style = filled(*color, *opacity);
                backend.draw_circle(scaled(*center, scale), radius, &style, true)
            }
            Shape::Polygon { points, color, opacity } => {
                let points = points.iter().map(|&point| scaled(point, scale));
                backend.fill_polygon(points, &filled(*color, *opacity))
            }
        };
        drawn.map_err(refused)?;
    }
    Ok(())
}

fn write_text<B: DrawingBackend>(backend: &mut B, text: &Text) -> Result<()> {
    let h_pos = match text.align {
        Align::Start => HPos::Left,
        Align::Middle => HPos::Center,
        Align::End => HPos::Right,
    };
    let style = match text.weight {
        Weight::Regular => FontStyle::Normal,
        Weight::Bold => FontStyle::Bold,
    };
    // plotters takes 1.24 em for a font's size, and sets a top-anchored baseline 0.76 em lower.
    let em = text.em * SVG_SCALE;
    let font = (FontFamily::Name(text::FAMILY), em * 1.24, style);
    let [red, green, blue] = text.color.rgb();
    let ink = RGBColor(red, green, blue);
    let style = TextStyle::from(font).color(&ink).pos(Pos::new(h_pos, VPos::Top));
    let (x, y) = scaled(text.at, SVG_SCALE);
    backend.draw_text(&text.text, &style, (x, y - (0.76 * em).round() as i32)).map_err(refused)
}

fn blend_text(picture: &mut [u8], width: usize, text: &Text, scale: f64) {
    let em = text.em * scale;
    let before = match text.align {
        Align::Start => 0.0,
        Align::Middle => 0.5,
        Align::End => 1.0,
    };
    let left = text.at.0 * scale - before * text::width(&text.text, em, text.weight);
    let ink = text.color.rgb();
    text::draw(&text.text, em, text.weight, (left, text.at.1 * scale), |x, y, coverage| {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        let place = (y * width + x) * 3;
        let inside = x < width && place + 3 <= picture.len();
        let below = if inside { &mut picture[place..place + 3] } else { return };
        for (channel, ink) in below.iter_mut().zip(ink) {
            let paper = f32::from(*channel);
            *channel = (paper + (f32::from(ink) - paper) * coverage.min(1.0)).round() as u8;
        }
    });
}

/// Averages squares of pixels.
fn average(large: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut small = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let row = |dy: usize| ((y * SAMPLES + dy) * width + x) * SAMPLES;
                let at = |dy: usize, dx: usize| usize::from(large[(row(dy) + dx) * 3 + channel]);
                let square = (0..SAMPLES).flat_map(|dy| (0..SAMPLES).map(move |dx| (dy, dx)));
                let sum: usize = square.map(|(dy, dx)| at(dy, dx)).sum();
                small.push(((sum + SAMPLES * SAMPLES / 2) / (SAMPLES * SAMPLES)) as u8);
            }
        }
    }
    small
}

fn encode(picture: &[u8], width: u32, height: u32) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    encoder.set_pixel_dims(Some(png::PixelDimensions {
        xppu: PNG_PIXELS_PER_METRE,
        yppu: PNG_PIXELS_PER_METRE,
        unit: png::Unit::Meter,
    }));
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture)?;
    writer.finish()?;
    Ok(file)
}

fn filled(color: Color, opacity: f64) -> ShapeStyle {
    let [red, green, blue] = color.rgb();
    RGBColor(red, green, blue).mix(opacity).filled()
}

fn scaled((x, y): Point, scale: f64) -> (i32, i32) {
    ((x * scale).round() as i32, (y * scale).round() as i32)
}

fn pixels(length: f64) -> usize {
    length.ceil() as usize
}

fn whole(length: usize) -> Result<u32> {
    u32::try_from(length).context("a figure is larger than a picture can be")
}

fn refused(error: impl std::error::Error) -> anyhow::Error {
    anyhow!("a figure cannot be drawn: {error}")
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Marker, Stroke};
    use super::super::theme::INK;
    use super::*;

    fn scene() -> Scene {
        let mut scene = Scene::new(40.0, 20.0);
        scene.line(&[(5.0, 5.0), (35.0, 15.0)], Stroke::solid(INK, 1.5));
        scene.marker(Marker::Square, (20.0, 10.0), 4.0, INK);
        scene.text(Text::new((2.0, 18.0), 8.0, "a < b & c"));
        scene
    }

    #[test]
    fn svg_is_escaped_and_sized() {
        let svg = svg(&scene(), "shows \"a\" < b").expect("drawn");
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"40\""), "{svg}");
        assert!(svg.contains("aria-label=\"shows &quot;a&quot; &lt; b\""), "{svg}");
        assert!(svg.contains("a &lt; b &amp; c") && svg.contains("font-size=\"80\""), "{svg}");
        let length = text::width("a < b & c", 8.0, Weight::Regular) * SVG_SCALE;
        assert!(svg.contains(&format!("<text textLength=\"{length:.0}\"")), "{svg}");
        assert_eq!(svg.matches("<svg").count(), 1);
        assert_eq!(svg.matches("</svg>").count(), 1);
    }

    #[test]
    fn png_is_the_scene_at_twice_its_size() {
        let file = png(&scene()).expect("encoded");
        assert_eq!(file, png(&scene()).expect("encoded"), "the same bytes each time");
        let decoder = png::Decoder::new(std::io::Cursor::new(&file));
        let mut reader = decoder.read_info().expect("a PNG");
        let mut picture = vec![0; reader.output_buffer_size().expect("a size")];
        let info = reader.next_frame(&mut picture).expect("its pixels");
        assert_eq!((info.width, info.height), (80, 40));
        let at = |x: usize, y: usize| picture[(y * 80 + x) * 3];
        assert_eq!(at(2, 2), 255, "ground");
        assert_eq!(at(40, 20), 0x1B, "marker");
    }
}
