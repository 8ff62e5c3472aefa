//! Learning curves: bits per byte of each run's training and validation, against the tokens or compute used so far.

use lmtrain_runs::{Size, StepRecord};

use crate::report::records::{Records, RunData};

/// One run's learning: (what was spent, bits per byte).
#[derive(Clone, Debug)]
pub(crate) struct LearningCurve {
    /// The run's name.
    pub(crate) name: String,
    /// Its size.
    pub(crate) size: Size,
    /// What it learned and was validated on.
    pub(crate) corpus: String,
    /// How many runs of the same size come before it.
    pub(crate) sibling: usize,
    /// On what it was learning from.
    pub(crate) training: Vec<(f64, f64)>,
    /// On what was kept from it.
    pub(crate) validation: Vec<(f64, f64)>,
}

/// The curves of all runs against what a step had spent.
#[must_use]
pub(crate) fn learning_curves(
    records: &Records,
    spent: fn(&RunData, &StepRecord) -> f64,
) -> Vec<LearningCurve> {
    let mut curves: Vec<LearningCurve> = Vec::new();
    for run in &records.runs {
        let RunData { plan, steps, label } = run;
        if steps.is_empty() {
            continue;
        }
        let training = steps.iter().map(|step| (spent(run, step), step.train_bits_per_byte));
        let validation = steps
            .iter()
            .filter_map(|step| Some((spent(run, step), step.validation_bits_per_byte?)));
        curves.push(LearningCurve {
            name: label.clone(),
            size: plan.size,
            corpus: plan.corpus.clone(),
            sibling: curves.iter().filter(|before| before.size == plan.size).count(),
            training: training.filter(|value| value.1.is_finite()).collect(),
            validation: validation.filter(|value| value.1.is_finite()).collect(),
        });
    }
    curves
}
