//! Panels of a figure of rates against size: each medium has its own, one above another. Texts share one panel, as in
//! the paper's Figure 2. But if the models of a medium were trained on several corpora, each compressed corpus has a
//! panel, whose curves are distinguished by their training data.

use lmtrain_runs::Medium;

use super::{axes, colors};
use crate::report::draw::chart::Layout;
use crate::report::draw::scene::Scene;
use crate::report::draw::theme::{CATEGORIES, Color, INK, MUTED};
use crate::report::format;
use crate::report::records::Records;
use crate::report::views::curves::Measure;

/// Height of the plot of one of several panels, as a share of a figure's.
const HEIGHT: f64 = 0.75;

/// What a curve or point is of: what was compressed (index into the records' subjects), and what the model was trained
/// on, if that is known.
pub(super) type Measured = (usize, Option<String>);

/// A panel.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    /// What was compressed: indices into the records' subjects.
    subjects: Vec<usize>,
    /// What it is, if there are others.
    heading: Option<String>,
    /// Every corpus that models of the figure were trained on, where these tell the curves apart.
    trainings: Option<Vec<String>>,
    /// Whether it is of text, as what the paper reports is.
    pub(super) is_text: bool,
}

/// The panels of a figure that has these curves and points, in the order of the records' subjects.
pub(super) fn panels(records: &Records, all: &[Measured]) -> Vec<Panel> {
    let medium = |subject: usize| records.subjects[subject].medium;
    let subjects = distinct(all.iter().map(|(subject, _)| *subject));
    let is_crowded = |of: Medium| {
        let own = all.iter().filter(|(subject, _)| medium(*subject) == of);
        distinct(own.filter_map(|(_, training)| training.as_ref())).len() > 1
    };
    let together =
        |one: &usize, other: &usize| medium(*one) == medium(*other) && !is_crowded(medium(*one));
    let groups: Vec<&[usize]> = subjects.chunk_by(together).collect();
    let is_alone = groups.len() < 2;
    let trainings = distinct(all.iter().filter_map(|(_, training)| training.clone()));
    let panel = |group: &[usize]| Panel {
        subjects: group.to_vec(),
        heading: (!is_alone).then(|| heading(records, group)),
        trainings: Some(trainings.clone())
            .filter(|it| it.len() > 1 && group.len() == 1 && !is_alone),
        is_text: medium(group[0]) == Medium::Text,
    };
    groups.into_iter().map(panel).collect()
}

fn distinct<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = all.collect();
    all.sort();
    all.dedup();
    all
}

/// `kodak: grey images, 64 × 32, 9.44 MB`; of several corpora their medium.
fn heading(records: &Records, group: &[usize]) -> String {
    let subject = &records.subjects[group[0]];
    match group.len() {
        1 => {
            let length = format::short_bytes(subject.bytes());
            format!("{}: {}, {length}", subject.label, subject.medium)
        }
        _ => subject.medium.to_string(),
    }
}

impl Panel {
    /// Whether what is about this subject is drawn in it.
    pub(super) fn holds(&self, subject: usize) -> bool {
        self.subjects.contains(&subject)
    }

    /// Whether curves are told apart by what their models were trained on, and not by what was compressed.
    pub(super) fn is_by_training(&self) -> bool {
        self.trainings.is_some()
    }

    /// What stands above it.
    pub(super) fn title(&self, measure: Measure) -> String {
        match &self.heading {
            Some(heading) => format!("{} of {heading}", measure.name()),
            None => axes::rate(measure).title.to_owned(),
        }
    }

    /// The colour of a curve or point.
    pub(super) fn color(&self, subject: usize, training: Option<&str>) -> Color {
        let Some(trainings) = &self.trainings else { return colors::of_subject(subject) };
        let place = trainings.iter().position(|it| Some(it.as_str()) == training);
        place.map_or(INK, |place| CATEGORIES[place % CATEGORIES.len()])
    }

    /// The colour of a level.
    pub(super) fn level_color(&self, subject: usize) -> Color {
        if self.is_by_training() { MUTED } else { colors::of_subject(subject) }
    }

    /// The name of a curve.
    pub(super) fn name(&self, records: &Records, subject: usize, training: Option<&str>) -> String {
        match training.filter(|_| self.is_by_training()) {
            Some(training) => format!("trained on {}", records.trained_on(training)),
            None => records.subjects[subject].label.clone(),
        }
    }
}

/// Panels one above another.
pub(super) fn stacked(
    layout: Layout,
    count: usize,
    draw: impl Fn(usize, Layout) -> Scene,
) -> Scene {
    let share = if count > 1 { HEIGHT } else { 1.0 };
    let layout = Layout { plot_height: share * layout.plot_height, ..layout };
    let scenes = (0..count).map(|index| draw(index, layout));
    scenes.reduce(Scene::above).unwrap_or_else(|| Scene::new(layout.width, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    /// For each panel its heading's first word and how many subjects it has.
    fn of(media: &[(&str, Medium)], trainings: &[&str]) -> Vec<(String, usize, bool)> {
        let rate = |(corpus, medium): &(&str, Medium)| {
            let mut rate = samples::rate("200K", corpus, 0.3);
            rate.excerpt.medium = Some(*medium);
            rate
        };
        let records = Records::new(Vec::new(), media.iter().map(rate).collect());
        let subjects = 0..records.subjects.len();
        let pairs = subjects
            .flat_map(|subject| trainings.iter().map(move |it| (subject, Some((*it).to_owned()))));
        let first = |panel: &Panel| {
            let heading = panel.heading.clone().unwrap_or_default();
            heading.split([',', ':']).next().unwrap_or_default().to_owned()
        };
        let panels = panels(&records, &pairs.collect::<Vec<_>>());
        panels.iter().map(|it| (first(it), it.subjects.len(), it.is_by_training())).collect()
    }

    #[test]
    fn each_medium_has_a_panel_and_so_has_each_corpus_where_training_differs() {
        let texts = [("enwik7", Medium::Text), ("enwik8", Medium::Text)];
        let (photos, noise) = (("kodak", Medium::PATCHES), ("random", Medium::Bytes));
        let named = |name: &str, count, by_training| (name.to_owned(), count, by_training);
        assert_eq!(of(&texts, &["enwik8"]), [named("", 2, false)], "the paper's Figure 2");
        assert_eq!(of(&[photos], &["enwik8", "kodak"]), [named("", 1, false)], "one corpus");
        let all = [photos, noise, texts[1], texts[0]];
        let shared = [("text", 2), ("kodak", 1), ("random", 1)];
        assert_eq!(of(&all, &["enwik8"]), shared.map(|(name, count)| named(name, count, false)));
        let each = ["enwik7", "enwik8", "kodak", "random"];
        assert_eq!(of(&all, &["enwik8", "kodak"]), each.map(|name| named(name, 1, true)));
        assert!(of(&[], &[]).is_empty());
    }
}
