//! The layer that makes logits.

use super::super::factors::Factors;
use super::super::level::Level;
use super::super::linear::{self, Panels};

/// The last linear layer, whose logits go into a soft-max.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Columns of h.
    pub width: usize,
    /// Logits of a row.
    pub vocabulary: usize,
    /// [width, vocabulary].
    pub weights: &'a [f32],
    /// \[vocabulary\].
    pub bias: Option<&'a [f32]>,
    /// The cap c of z = c·tanh(z/c) (Gemma Team, "Gemma 2").
    pub softcap: Option<f32>,
    /// What the products multiply, forward and backward; soft-max and loss are in singles.
    pub factors: Factors,
}

impl Head<'_> {
    /// Asserts the shapes and gives the rows of h.
    pub(super) fn rows(&self, h: &[f32]) -> usize {
        let Head { width, vocabulary, .. } = *self;
        assert_eq!(self.weights.len(), width * vocabulary, "weights [{width}, {vocabulary}]");
        assert!(h.len().is_multiple_of(width), "h [rows, {width}]: {}", h.len());
        h.len() / width
    }

    /// Asserts that there is a known target for each row.
    pub(super) fn check_targets(&self, rows: usize, targets: &[u32]) {
        assert_eq!(targets.len(), rows, "targets");
        let known = targets.iter().all(|target| (*target as usize) < self.vocabulary);
        assert!(known, "a target ≥ {}", self.vocabulary);
    }

    /// The weights in the form that suits a product with `rows` rows.
    pub(super) fn panels(&self, level: Level, rows: usize) -> Panels<'_> {
        let dimensions = [rows, self.width, self.vocabulary];
        Panels::for_rows(level, self.factors, self.weights, dimensions)
    }

    /// The logits of some rows, before the cap.
    pub(super) fn logits(&self, level: Level, h: &[f32], panels: &Panels<'_>, logits: &mut [f32]) {
        linear::multiply_panels(level, h.len() / self.width, h, panels, self.bias, logits);
    }
}
