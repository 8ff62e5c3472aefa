//! Rates side by side: the table of rates as a figure. There is a panel for each corpus and a row for each compressor
//! and run. A line goes from the raw rate to the adjusted rate, so its length is the cost of the model.

use lmtrain_runs::record::Kind;

use super::colors;
use crate::report::draw::axis::{Axis, Unit};
use crate::report::draw::chart::Layout;
use crate::report::draw::scene::{Align, Marker, Scene, Stroke, Text};
use crate::report::draw::text::{self, Weight};
use crate::report::draw::theme::{AXIS, Color, GRID, INK, MUTED};
use crate::report::figure::Figure;
use crate::report::names;
use crate::report::records::{Measurement, Records};
use crate::report::subject::Subject;
use crate::report::table::{Cell, Column, Table};
use crate::report::views::curves::Measure;

/// Height of an em of the names and ticks.
const EM: f64 = 12.5;
/// Height of a row.
const ROW: f64 = 20.0;
/// Room around everything.
const EDGE: f64 = 8.0;
/// Room between panels side by side.
const GAP: f64 = 14.0;
/// Rows of runs beyond this are reduced to the lowest of each size.
const MOST_RUNS: usize = 14;

/// Width of a panel below which fewer stand side by side.
const LEAST_WIDTH: f64 = 180.0;
/// From one line of a panel's title to the next.
const LINE: f64 = 1.25 * EM;

/// An adjusted rate beyond this, in percent, is only pointed at: the others would be crowded.
const BEYOND: f64 = 150.0;

/// A corpus in a panel.
#[derive(Clone, Debug)]
struct Panel {
    title: String,
    color: Color,
    /// For each row raw and adjusted rate in percent, if it was measured.
    rates: Vec<Option<[f64; 2]>>,
}

impl Panel {
    /// Whether anything in it has a model to pay for.
    fn has_model(&self) -> bool {
        self.rates.iter().flatten().any(|[raw, adjusted]| adjusted > raw)
    }
}

/// Rows by name, and where a new group of them begins.
#[derive(Clone, Debug)]
struct Rows {
    names: Vec<String>,
    starts: Vec<bool>,
}

/// The figure; absent without rates.
pub(super) fn figure(records: &Records) -> Option<Figure> {
    let measurements = shown(records);
    let reduced = measurements.len() < records.compared.len();
    let (rows, panels) = panels(records, &measurements);
    let all = panels.iter().flat_map(|panel| panel.rates.iter().flatten());
    let ends = all.flat_map(|&[raw, adjusted]| [raw, adjusted.min(raw.max(BEYOND))]);
    let axis = Axis::over(ends, 1.15, Unit::Percent)?;
    let table = table(records, &measurements);
    let draw = move |layout| draw(layout, &rows, &panels, &axis);
    Some(Figure { caption: caption(records, reduced), data: table, draw: Box::new(draw) })
}

/// The entries of the figure: all, or of many runs those that are lowest for their size anywhere.
fn shown(records: &Records) -> Vec<&Measurement> {
    let mut runs: Vec<&str> = Vec::new();
    for measurement in
        records.compared.iter().filter(|measurement| measurement.record.kind() == Kind::Run)
    {
        if !runs.contains(&measurement.record.name.as_str()) {
            runs.push(&measurement.record.name);
        }
    }
    if runs.len() <= MOST_RUNS {
        return records.compared.iter().collect();
    }
    let lowest = |measurement: &&Measurement| {
        let rivals = records.compared.iter().filter(|other| {
            other.subject == measurement.subject
                && other.record.kind() == Kind::Run
                && other.record.size() == measurement.record.size()
        });
        let rate =
            |measurement: &Measurement| measurement.record.adjusted_rate().unwrap_or(f64::INFINITY);
        measurement.record.kind() != Kind::Run
            || rivals.map(rate).fold(f64::INFINITY, f64::min) >= rate(measurement)
    };
    let kept: Vec<&Measurement> = records.compared.iter().filter(lowest).collect();
    let is_kept = |name: &str| kept.iter().any(|measurement| measurement.record.name == name);
    records.compared.iter().filter(|measurement| is_kept(&measurement.record.name)).collect()
}

fn panels(records: &Records, measurements: &[&Measurement]) -> (Rows, Vec<Panel>) {
    let name = |measurement: &Measurement| {
        let chunking = names::short_chunking(measurement.record.chunking);
        let short = records.short_name(&measurement.record);
        if measurement.record.kind() == Kind::Compressor {
            format!("{short}, {chunking}")
        } else {
            short
        }
    };
    let mut rows = Rows { names: Vec::new(), starts: Vec::new() };
    let mut group = None;
    for measurement in measurements {
        if !rows.names.contains(&name(measurement)) {
            let own = (measurement.record.kind(), measurement.record.chunking);
            rows.starts.push(group.is_some_and(|group| group != own));
            rows.names.push(name(measurement));
            group = Some(own);
        }
    }
    let rates = |subject: usize, row: &String| {
        let measurement = measurements
            .iter()
            .find(|measurement| measurement.subject == subject && name(measurement) == *row)?;
        let record = &measurement.record;
        Some([Measure::Raw.of(record)?, Measure::Adjusted.of(record)?])
    };
    let panel = |(index, subject): (usize, &Subject)| Panel {
        // A part's share is not broken over two lines.
        title: subject.label.replace("(first ", "(first\u{a0}").replace("(last ", "(last\u{a0}"),
        color: colors::of_subject(index),
        rates: rows.names.iter().map(|row| rates(index, row)).collect(),
    };
    let panels = records.subjects.iter().enumerate().map(panel).collect();
    (rows, panels)
}

/// Where a panel lies, and its rows' heights.
struct Place {
    left: f64,
    right: f64,
    top: f64,
    rows: Vec<f64>,
}

fn draw(layout: Layout, rows: &Rows, panels: &[Panel], axis: &Axis) -> Scene {
    let names = rows.names.iter().map(|name| text::width(name, EM, Weight::Regular));
    let names = names.fold(0.0, f64::max).min(0.45 * layout.width) + 12.0;
    let room = layout.width - 2.0 * EDGE - names;
    let fits = |across: &usize| room / *across as f64 >= LEAST_WIDTH;
    let most = if layout.narrow { 1 } else { panels.len().clamp(1, 3) };
    let across = (1..=most).rev().find(fits).unwrap_or(1);
    let width = room / across as f64;
    let wrapped = |panel: &Panel| text::wrap(&panel.title, EM, Weight::Bold, width - GAP);
    let titles: Vec<Vec<String>> = panels.iter().map(wrapped).collect();
    let lines = titles.iter().map(Vec::len).max().unwrap_or(1);
    let head = 24.0 + LINE * (lines - 1) as f64;
    let gaps = rows.starts.iter().filter(|start| **start).count() as f64;
    let rows_height = ROW * (rows.names.len() as f64 + 0.5 * gaps);
    let band = head + rows_height + 34.0;
    let models = panels.iter().any(Panel::has_model);
    let key = if models { 26.0 } else { 0.0 };
    let bands = panels.len().div_ceil(across);
    let mut scene = Scene::new(layout.width, EDGE + key + band * bands as f64);
    if models {
        draw_key(&mut scene);
    }
    for (index, (panel, title)) in panels.iter().zip(&titles).enumerate() {
        let left = EDGE + names + (index % across) as f64 * width;
        let top = EDGE + key + band * (index / across) as f64 + head;
        let mut y = top - ROW / 2.0;
        let heights = rows.starts.iter().map(|start| {
            y += if *start { 1.5 * ROW } else { ROW };
            y
        });
        let place = Place { left, right: left + width - GAP, top, rows: heights.collect() };
        if index % across == 0 {
            draw_names(&mut scene, &place, &rows.names, names);
        }
        draw_title(&mut scene, &place, title, panel.color);
        draw_panel(&mut scene, &place, panel, axis);
    }
    scene
}

fn draw_key(scene: &mut Scene) {
    let y = EDGE + 10.0;
    let mut x = EDGE;
    for (name, hollow) in [("raw rate", false), ("adjusted rate, with the model", true)] {
        let at = (x + 5.0, y);
        match hollow {
            true => scene.hollow_marker(Marker::Circle, at, 4.4, MUTED),
            false => scene.marker(Marker::Circle, at, 4.4, MUTED),
        }
        let at = (x + 14.0, y + 0.36 * EM);
        scene.text(Text { color: MUTED, ..Text::new(at, EM, name) });
        x += 14.0 + text::width(name, EM, Weight::Regular) + 22.0;
    }
}

fn draw_names(scene: &mut Scene, place: &Place, names: &[String], width: f64) {
    for (name, y) in names.iter().zip(&place.rows) {
        let name = text::fitted(name, EM, Weight::Regular, width - 12.0);
        let at = (place.left - 10.0, y + 0.36 * EM);
        scene.text(Text { align: Align::End, color: INK, ..Text::new(at, EM, name) });
    }
}

/// The lines of a panel's title, the last just above it.
fn draw_title(scene: &mut Scene, place: &Place, lines: &[String], color: Color) {
    for (above, line) in lines.iter().rev().enumerate() {
        let at = (place.left, place.top - 7.0 - LINE * above as f64);
        let line = text::fitted(line, EM, Weight::Bold, 1.05 * (place.right - place.left));
        scene.text(Text { weight: Weight::Bold, color, ..Text::new(at, EM, line) });
    }
}

fn draw_panel(scene: &mut Scene, place: &Place, panel: &Panel, axis: &Axis) {
    let Place { left, right, top, rows } = place;
    let bottom = rows.last().map_or(*top, |last| last + ROW / 2.0);
    let across = |value: f64| left + (right - left) * axis.position(value);
    let ticks = axis.ticks(46.0 / (right - left));
    for (value, name) in ticks {
        let x = across(value);
        scene.line(&[(x, *top), (x, bottom)], Stroke::solid(GRID, 1.0));
        let text = Text::new((x, bottom + 5.0 + EM), EM, name);
        scene.text(Text { align: Align::Middle, color: MUTED, ..text });
    }
    scene.line(&[(*left, bottom), (*right, bottom)], Stroke::solid(AXIS, 1.2));
    for (rates, &y) in panel.rates.iter().zip(rows) {
        scene.line(&[(*left, y), (*right, y)], Stroke::solid(GRID, 1.0));
        let Some([raw, adjusted]) = *rates else { continue };
        let beyond = !axis.holds(adjusted);
        let end = if beyond { *right } else { across(adjusted) };
        let line = [(across(raw), y), (end, y)];
        scene.line(&line, Stroke::solid(panel.color, 1.8).faint(0.6));
        if beyond {
            scene.marker(Marker::Arrow, (end, y), 4.4, panel.color);
        } else if adjusted > raw {
            scene.hollow_marker(Marker::Circle, (end, y), 4.4, panel.color);
        }
        scene.marker(Marker::Circle, (across(raw), y), 4.4, panel.color);
    }
}

fn caption(records: &Records, reduced: bool) -> String {
    let mut text = String::from(
        "The rates of the table below: compressed size over raw size, on one logarithmic axis for all \
         corpora.",
    );
    if records.compared.iter().any(|measurement| measurement.record.kind() != Kind::Compressor) {
        text += " A run's line goes from its raw rate to its adjusted rate, so its length is the cost of the \
            model; an arrow means an adjusted rate far above 100 %. Classical compressors have no model to \
            count.";
    }
    if reduced {
        text += " Of the runs of one size, only those with the lowest adjusted rate on some corpus are \
            shown.";
    }
    text
}

fn table(records: &Records, measurements: &[&Measurement]) -> Table {
    let mut columns: Vec<Column> = ["corpus", "name", "chunks of"].map(Column::text).into();
    columns.extend(["raw %", "adjusted %"].map(Column::number));
    let row = |measurement: &&Measurement| {
        let Measurement { subject, record } = measurement;
        vec![
            Cell::text(&records.subjects[*subject].label),
            Cell::text(names::with_preset(record)),
            Cell::text(record.chunking.to_string()),
            Cell::plain(Measure::Raw.of(record)),
            Cell::plain(Measure::Adjusted.of(record)),
        ]
    };
    let rows = measurements.iter().map(row).collect();
    Table::of(columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn many_runs_are_reduced_to_the_lowest_of_each_size() {
        let rate = |seed: u64| {
            let mut record = samples::rate("200K", "enwik8", 0.3 + seed as f64 / 100.0);
            record.name = samples::plan("200K", seed).name;
            record
        };
        let records = Records::new(Vec::new(), (0..20).map(rate).collect());
        let names: Vec<&str> =
            shown(&records).iter().map(|measurement| measurement.record.name.as_str()).collect();
        assert_eq!(names, ["200K-bytes-modern-s0"]);
    }
}
