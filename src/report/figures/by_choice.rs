//! The rate against a choice of the recipe: a line for each size, joining runs that differ only in that choice and in
//! the seed. For several seeds, their mean and spread are shown.

use std::collections::BTreeMap;

use lmtrain_runs::recipe::Choice;
use lmtrain_runs::{Plan, Setting};

use super::colors;
use crate::report::draw::axis::{Axis, Unit};
use crate::report::draw::scene::Marker;
use crate::report::draw::series::Series;
use crate::report::figure::Figure;
use crate::report::names;
use crate::report::records::{Records, RunData};
use crate::report::table::{Cell, Column, Table};

/// Values that lie further apart than this factor stand on a logarithmic axis.
const FAR_APART: f64 = 3.0;

/// Runs that differ in the choice and the seed alone.
struct Line<'a> {
    /// One of them, with the usual choice.
    plan: Plan,
    /// By the value's bits, which order as numbers that are not negative do.
    places: BTreeMap<u64, Vec<(&'a str, f64)>>,
}

/// What the rates of a figure are of, and a run's rate there in bits a byte.
type Measured<'a> = (String, Box<dyn Fn(&RunData) -> Option<f64> + 'a>);

/// The figure; absent if no runs differ in this choice alone.
pub(crate) fn figure(records: &Records, choice: &'static Choice) -> Option<Figure> {
    let measured = measured(records).map(|(what, of)| (what, lines(records, choice, &of)));
    let points = |lines: &[Line<'_>]| lines.iter().map(|line| line.places.len()).sum::<usize>();
    // Of those with most points the first, which is the one of most bytes.
    let (what, lines) = measured.rev().max_by_key(|(_, lines)| points(lines))?;
    let first = lines.first()?;
    let values =
        || lines.iter().flat_map(|line| line.places.keys().map(|bits| f64::from_bits(*bits)));
    let (low, high) =
        values().fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let unit = Unit::Number;
    let x = match low > 0.0 && high / low > FAR_APART {
        true => Axis::over(values(), 1.15, unit)?,
        false => Axis::even_over(values(), 0.06, unit)?,
    };
    let plans: Vec<&Plan> = lines.iter().map(|line| &line.plan).collect();
    let labels = names::distinguishing(&plans);
    let series: Vec<Series> =
        lines.iter().zip(&labels).map(|(line, name)| line.series(name)).collect();
    let heights = series.iter().flat_map(|series| {
        let points = series.points.iter().map(|point| point.1);
        points.chain(series.band.iter().flat_map(|place| place.2))
    });
    let y = Axis::even_over(heights, 0.08, unit)?;
    let usual = lmtrain_runs::recipe::text(&first.plan.usual().get(choice));
    let caption = format!(
        "{}: {}. Bits per byte of {what}. A line joins runs that differ only in this choice and in the seed. \
         If there are several seeds, the line is their mean, and a band shows their range. The default of \
         the recipe `{}` is {usual}.",
        choice.key, choice.about, first.plan.recipe
    );
    let table = table(choice, &what, &lines, &labels);
    let axes = [(choice.key.to_owned(), x), (format!("bits per byte of {what}"), y)];
    Some(Figure::of_series_on(axes, series, Vec::new(), (caption, table)))
}

/// Everything that runs were measured on, by the bytes there are; their own validation last.
fn measured(records: &Records) -> std::vec::IntoIter<Measured<'_>> {
    let mut cuts: Vec<_> = records
        .compared
        .iter()
        .map(|measurement| (measurement.subject, measurement.record.chunking))
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts.sort_by_key(|(subject, _)| std::cmp::Reverse(records.subjects[*subject].bytes()));
    let mut all: Vec<Measured<'_>> = Vec::new();
    for (subject, chunking) in cuts {
        let what = format!("{} in {}", records.subjects[subject].label, names::chunking(chunking));
        let of = move |run: &RunData| {
            let measurement = records.compared.iter().find(|measurement| {
                measurement.subject == subject
                    && measurement.record.chunking == chunking
                    && measurement.record.name == run.plan.name
            })?;
            measurement.record.bits_per_byte()
        };
        all.push((what, Box::new(of)));
    }
    all.push(("each run's own validation part".to_owned(), Box::new(RunData::lowest_validation)));
    all.into_iter()
}

/// The lines that have several places.
fn lines<'a>(
    records: &'a Records,
    choice: &'static Choice,
    of: &dyn Fn(&RunData) -> Option<f64>,
) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for run in records.runs.iter().filter(|run| run.is_finished()) {
        let (value, Some(bits), Some(plan)) =
            (run.plan.row().get(choice).as_f64(), of(run), with_usual(&run.plan, choice))
        else {
            continue;
        };
        // Off is no number, and has no place on the axis.
        let Some(value) = value else { continue };
        let place = (run.plan.name.as_str(), bits);
        match lines.iter_mut().find(|line| line.plan == plan) {
            Some(line) => line.places.entry(value.to_bits()).or_default().push(place),
            None => {
                let places = BTreeMap::from([(value.to_bits(), vec![place])]);
                lines.push(Line { plan, places });
            }
        }
    }
    lines.retain(|line| line.places.len() > 1);
    lines
}

/// A plan with the usual choice, and without what follows from choice and seed: alike of runs that
/// differ in nothing else.
fn with_usual(plan: &Plan, choice: &'static Choice) -> Option<Plan> {
    let value = plan.usual().get(choice);
    let row = plan.row().with(&[Setting { choice, value }]).ok()?;
    let mut plan = Plan { name: String::new(), seed: 0, ..plan.clone() };
    (plan.batch, plan.accumulation, plan.choices) = (row.batch, row.accumulation, row.choices);
    (plan.validate_every, plan.validation_sequences) = (1, 1);
    if !matches!(plan.budget, lmtrain_runs::Budget::Steps(_)) {
        plan.steps = 0;
    }
    plan.name = plan.name_of();
    Some(plan)
}

impl Line<'_> {
    fn series(&self, name: &str) -> Series {
        let mut series = Series::new(name, colors::of_size(self.plan.size), Marker::Circle);
        for (value, rates) in &self.places {
            let (value, [mean, low, high]) = (f64::from_bits(*value), spread(rates));
            series.points.push((value, mean));
            series.band.push((value, mean, [low, high]));
        }
        if self.places.values().all(|rates| rates.len() == 1) {
            series.band.clear();
        }
        series
    }
}

/// Mean, least and greatest.
fn spread(rates: &[(&str, f64)]) -> [f64; 3] {
    let rates = || rates.iter().map(|(_, rate)| *rate);
    let mean = rates().sum::<f64>() / rates().count().max(1) as f64;
    [mean, rates().fold(f64::MAX, f64::min), rates().fold(f64::MIN, f64::max)]
}

fn table(choice: &Choice, what: &str, lines: &[Line<'_>], labels: &[String]) -> Table {
    let mut columns = vec![Column::text("line"), Column::number(choice.key)];
    columns.extend(["runs", "bits per byte", "least", "greatest"].map(Column::number));
    columns.push(Column::text("names"));
    let mut rows = Vec::new();
    for (line, label) in lines.iter().zip(labels) {
        for (value, rates) in &line.places {
            let [mean, low, high] = spread(rates);
            let numbers = [f64::from_bits(*value), rates.len() as f64, mean, low, high];
            let mut row = vec![Cell::text(label)];
            row.extend(numbers.map(|number| Cell::plain(Some(number))));
            row.push(Cell::text(rates.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ")));
            rows.push(row);
        }
    }
    let caption = format!("Bits per byte of {what}.");
    Table { caption, ..Table::of(columns, rows) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::draw::chart::{NARROW, WIDE};
    use crate::report::samples;
    use lmtrain_runs::recipe::choice;

    #[test]
    fn a_line_joins_runs_that_differ_in_the_choice_and_the_seed_alone() {
        let mut runs = Vec::new();
        for (size, floor) in [("200K", 2.0), ("800K", 1.8)] {
            for (rate, off) in [(0.01, 0.0), (0.02, -0.1), (0.08, 0.1)] {
                for seed in [0, 1] {
                    let mut plan = samples::plan(size, seed);
                    plan.choices.matrix_learning_rate = rate;
                    plan.name = plan.name_of();
                    let steps = samples::steps(&plan, floor + off + 0.01 * seed as f64);
                    runs.push((plan, steps));
                }
            }
        }
        let mut other = samples::plan("200K", 0);
        other.choices.beta1 = 0.9;
        other.name = other.name_of();
        runs.push((other.clone(), samples::steps(&other, 1.5)));
        let records = Records::new(runs, Vec::new());
        let of = |key: &str| figure(&records, choice(key).expect("a choice"));
        let figure = of("matrix-learning-rate").expect("two lines");
        let csv = figure.data.csv();
        assert_eq!(csv.lines().count(), 1 + 2 * 3, "{csv}");
        assert!(csv.contains("200K,0.02,2,") && !csv.contains(&other.name), "{csv}");
        for layout in [WIDE, NARROW] {
            let texts: Vec<String> =
                (figure.draw)(layout).texts.into_iter().map(|text| text.text).collect();
            for name in ["200K", "800K", "matrix-learning-rate"] {
                assert!(texts.iter().any(|text| text == name), "{name}: {texts:?}");
            }
        }
        let beta1 = of("beta1").expect("a line of two places");
        assert_eq!(beta1.data.csv().lines().count(), 1 + 2);
        assert!(of("momentum").is_none(), "nothing differs in it");
    }
}
