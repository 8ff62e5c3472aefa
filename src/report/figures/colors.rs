//! Colours that mean the same thing in every figure.

use lmtrain_runs::{LADDER, Size};

use crate::report::draw::theme::{CATEGORIES, Color, RAMP};

/// The colour of what was compressed.
#[must_use]
pub(super) fn of_subject(subject: usize) -> Color {
    CATEGORIES[subject % CATEGORIES.len()]
}

/// The colour of a size: its place on the ladder.
#[must_use]
pub(super) fn of_size(size: Size) -> Color {
    let place = LADDER.iter().rposition(|(_, row)| *row <= size).unwrap_or_default();
    RAMP[place.min(RAMP.len() - 1)]
}
