//! The rate against the length of the compressed data (the paper's figure 6): a panel for each corpus, ordered by
//! medium, with a line and its 95 % band for each compressor, run and pretrained model.

use std::collections::BTreeMap;

use lmtrain_runs::medium::MEDIA_CHUNK_BYTES;
use lmtrain_runs::record::Kind;
use lmtrain_runs::{CurveRecord, Plan};

use super::panels::stacked;
use crate::report::draw::axis::{Axis, Unit};
use crate::report::draw::chart::Layout;
use crate::report::draw::scene::Stroke;
use crate::report::draw::series::{self, Series, Titled};
use crate::report::draw::theme::CATEGORIES;
use crate::report::figure::Figure;
use crate::report::records::Records;
use crate::report::table::{Cell, Column, Table};
use crate::report::views::levels::DRAWN;
use crate::report::{format, names};

/// Bytes from which on lines are drawn: before, a compressor's header, less what counts once, decides. The CSV has all.
const FIRST_BYTES: u64 = 16;

/// The figure; absent before a curve was measured.
pub(super) fn figure(records: &Records) -> Option<Figure> {
    let curves = &records.curves;
    let is_drawn =
        |it: &&CurveRecord| it.kind() != Kind::Compressor || DRAWN.contains(&it.name.as_str());
    let drawn: Vec<&CurveRecord> = curves.iter().filter(is_drawn).collect();
    let names = Names::of(&drawn, records);
    let panels: Vec<_> = drawn
        .chunk_by(|one, other| subject(one) == subject(other))
        .filter_map(|curves| panel(curves, &names))
        .collect();
    if panels.is_empty() {
        return None;
    }
    let draw = move |layout: Layout| {
        stacked(layout, panels.len(), |index, layout| {
            let (axes, series) = &panels[index];
            let chart = series::chart(series, axes.clone(), Vec::new());
            chart.compose(layout, |scene, frame| series::draw(scene, frame, series))
        })
    };
    Some(Figure { caption: caption(records), data: table(curves), draw: Box::new(draw) })
}

/// What a panel is about.
fn subject(curve: &CurveRecord) -> impl PartialEq + '_ {
    let excerpt = &curve.excerpt;
    (excerpt.medium, &excerpt.corpus, excerpt.span, curve.chunk_bytes)
}

/// Everything that is named, so that it has one colour in all panels.
struct Names {
    places: Vec<(Kind, String)>,
    /// What runs are called in figures, by their names.
    labels: BTreeMap<String, String>,
}

impl Names {
    fn of(curves: &[&CurveRecord], records: &Records) -> Self {
        let mut places: Vec<_> = curves.iter().map(|it| (it.kind(), it.name.clone())).collect();
        places.sort();
        places.dedup();
        let is_drawn = |plan: &&Plan| places.contains(&(Kind::Run, plan.name.clone()));
        let plans: Vec<&Plan> = records.runs.iter().map(|run| &run.plan).filter(is_drawn).collect();
        let labels = plans.iter().map(|plan| plan.name.clone());
        let labels = labels.zip(names::distinguishing(&plans)).collect();
        Self { places, labels }
    }

    fn place(&self, curve: &CurveRecord) -> usize {
        let is_it = |name: &(Kind, String)| name.0 == curve.kind() && name.1 == curve.name;
        self.places.iter().position(is_it).unwrap_or_default()
    }

    fn label(&self, curve: &CurveRecord) -> String {
        self.labels.get(&curve.name).unwrap_or(&curve.name).clone()
    }
}

/// The axes and lines of one panel.
type Panel = ([(String, Axis); 2], Vec<Series>);

fn panel(curves: &[&CurveRecord], names: &Names) -> Option<Panel> {
    let first = curves.first()?;
    let lines: Vec<Series> = curves.iter().map(|curve| line(curve, names)).collect();
    let x = Titled { title: "bytes of a chunk, from its beginning", unit: Unit::Count };
    let y = Titled { title: "", unit: Unit::Percent };
    let [x, (_, y)] = series::axes(&lines, &x, &y)?;
    let (corpus, medium) = (&first.excerpt.corpus, first.excerpt.medium());
    let title = match first.chunk_bytes {
        MEDIA_CHUNK_BYTES => format!("Rate of the first bytes of a chunk: {corpus} ({medium})"),
        longer => format!("Rate of the first bytes of a chunk of {longer}: {corpus} ({medium})"),
    };
    Some(([x, (title, y)], lines))
}

fn line(curve: &CurveRecord, names: &Names) -> Series {
    let place = names.place(curve);
    let color = CATEGORIES[place % CATEGORIES.len()];
    let plain = Stroke::solid(color, 1.9);
    // More than there are colours are told apart by dashes.
    let stroke = if place < CATEGORIES.len() { plain } else { plain.dashed(6.0, 3.0) };
    let last = curve.points.last().map_or(0, |point| point.end);
    let points = curve.points.iter().filter(|point| point.end >= FIRST_BYTES.min(last));
    Series {
        name: names.label(curve),
        notes: curve
            .points
            .last()
            .map(|end| format!("{} %", format::percent(end.rate())))
            .into_iter()
            .collect(),
        color,
        marker: None,
        hollow: false,
        stroke,
        points: points.clone().map(|point| (point.end as f64, percent(point.rate()))).collect(),
        band: points
            .filter_map(|point| {
                let ends = point.interval()?.map(percent);
                Some((point.end as f64, percent(point.rate()), ends))
            })
            .collect(),
    }
}

/// A rate as its axis has it.
fn percent(rate: f64) -> f64 {
    100.0 * rate
}

fn caption(records: &Records) -> String {
    let mut corpora: Vec<String> = Vec::new();
    for curve in &records.curves {
        if !corpora.contains(&curve.excerpt.corpus) {
            corpora.push(curve.excerpt.corpus.clone());
        }
    }
    format!(
        "The raw rate of the first n bytes of chunks of {}, against n; the model's own size is not counted. \
         Bands are 95 % intervals over chunks. For networks these are ideal bits, and the bits of each token \
         are spread evenly over its bytes. A compressor compresses each beginning separately, in whole \
         bytes, and its header counts once. Both axes are logarithmic. The CSV file also has the rate \
         between neighbouring positions, the positions before byte {FIRST_BYTES}, and the compressors that \
         the paper does not use.",
        names::sentence(&corpora)
    )
}

fn table(curves: &[CurveRecord]) -> Table {
    let mut columns: Vec<Column> = ["medium", "corpus", "name", "preset"].map(Column::text).into();
    columns.extend(
        ["chunks", "bytes", "rate", "low", "high", "rate since the row before"].map(Column::number),
    );
    let mut rows = Vec::new();
    for curve in curves {
        for (point, since) in curve.points.iter().zip(curve.rates_between()) {
            let [low, high] = point.interval().map_or([None; 2], |ends| ends.map(Some));
            let chunks = point.raw_bytes.as_f64() / point.end as f64;
            let (corpus, medium) = (curve.excerpt.corpus.clone(), curve.excerpt.medium());
            let preset = curve.maker.preset().unwrap_or_default().to_owned();
            let texts = [medium.to_string(), corpus, curve.name.clone(), preset].into_iter();
            let numbers =
                [Some(chunks), Some(point.end as f64), Some(point.rate()), low, high, Some(since)];
            rows.push(texts.map(Cell::text).chain(numbers.map(Cell::plain)).collect());
        }
    }
    Table::of(columns, rows)
}

#[cfg(test)]
mod tests {
    use lmtrain_runs::curve::CurvePoint;
    use lmtrain_runs::record::{CompressorFacts, Excerpt, Maker, Provenance, Span, WeightsOf};
    use lmtrain_runs::{Bits, Bytes, Medium};

    use super::*;
    use crate::report::draw::chart::{NARROW, WIDE};

    fn curve(name: &str, maker: Maker, medium: Medium, bits: f64) -> CurveRecord {
        let point = |end| CurvePoint {
            end,
            raw_bytes: Bytes(10 * end),
            bits: Bits(bits * 10.0 * end as f64),
            bits_interval: Some([Bits(9.0 * bits * end as f64), Bits(11.0 * bits * end as f64)]),
        };
        CurveRecord {
            name: name.into(),
            maker,
            excerpt: Excerpt {
                corpus: format!("{medium}"),
                corpus_sha256: String::new(),
                medium: Some(medium),
                span: Span { start: 0, end: 4096 },
                sample: None,
            },
            chunk_bytes: 2048,
            header_bytes: Bytes(0),
            points: [1, 8, 64, 2048].map(point).into(),
            provenance: Provenance::default(),
        }
    }

    #[test]
    fn each_medium_has_a_panel_and_each_thing_one_colour() {
        let mut records = Records::new(Vec::new(), Vec::new());
        assert!(figure(&records).is_none());
        let run = || Maker::Run(WeightsOf::default());
        records.curves = vec![
            curve("gzip", Maker::Compressor(CompressorFacts::default()), Medium::Text, 4.0),
            curve("200K", run(), Medium::Text, 2.0),
            curve("200K", run(), Medium::PATCHES, 3.0),
        ];
        let figure = figure(&records).expect("curves");
        for layout in [WIDE, NARROW] {
            let scene = (figure.draw)(layout);
            let count = |text: &str| scene.texts.iter().filter(|it| it.text.contains(text)).count();
            assert_eq!((count("gzip"), count("200K")), (1, 2), "{:?}", scene.texts);
            assert!(scene.texts.iter().all(|text| text.at.1 < scene.height));
            // 2, 3 and 4 bits a byte are 25, 37.5 and 50 %, and bands are a tenth to either side.
            let ticks: Vec<f64> = (scene.texts.iter())
                .filter_map(|it| it.text.strip_suffix('%')?.trim().parse().ok())
                .collect();
            assert!(ticks.iter().all(|tick| (20.0..60.0).contains(tick)), "{ticks:?}");
            assert!(ticks.len() > 6, "{ticks:?}");
        }
        let csv = figure.data.csv();
        assert_eq!(csv.lines().count(), 1 + 3 * 4);
        // Only the paper's compressors are drawn, and no line begins before byte 16 of a longer chunk.
        let zstd = Maker::Compressor(CompressorFacts::default());
        records.curves.push(curve("zstd", zstd, Medium::PATCHES, 1.0));
        let all = super::figure(&records).expect("curves");
        let scene = (all.draw)(WIDE);
        assert!(scene.texts.iter().all(|text| !text.text.contains("zstd")));
        assert!(all.data.csv().contains("zstd"));
        let curves: Vec<&CurveRecord> = records.curves.iter().collect();
        let line = line(curves[0], &Names::of(&curves, &records));
        assert_eq!(line.points.iter().map(|point| point.0).collect::<Vec<_>>(), [64.0, 2048.0]);
        assert!(csv.contains("text,text,gzip"), "{csv}");
    }
}
