//! A power law with a floor, rate = E + Σ A·x^−α, fitted to measured rates: with one term for the model's parameters,
//! or one for parameters and one for tokens seen (Hoffmann et al., arXiv 2203.15556, section 3.3). As there, the Huber
//! loss of log rates is minimised over log E, log A and α from several starting points. They use δ = 10^−3, for over
//! 400 runs; with it, a law of nine points would run exactly through three of them. So δ here is 1.345 times the robust
//! scale of the residuals (Huber's choice, 95 % as efficient as least squares for normal errors), and at least 10^−3.

use crate::statistics::median;

/// Where a model lies and what it reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Observation {
    /// What the rate depends on: parameters, and tokens seen where the law has them.
    pub(crate) scales: Vec<f64>,
    /// Compressed over raw bytes.
    pub(crate) rate: f64,
}

/// One term A·x^−α.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Term {
    /// Logarithm of what it is worth at the centre.
    height: f64,
    /// α.
    exponent: f64,
    /// Logarithm of the scale around which it is fitted: the mean of those measured.
    center: f64,
}

/// A law with its numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Law {
    /// Logarithm of E.
    floor: f64,
    terms: Vec<Term>,
}

/// The steepest and the flattest exponent that a fit may take: a law at either is none.
const EXPONENTS: (f64, f64) = (0.02, 4.0);
/// How far below the lowest rate the floor may be, as a logarithm: as good as nothing.
const LEAST_FLOOR: f64 = -7.0;
/// Hoffmann et al.'s δ: the least here.
pub(super) const LEAST_DELTA: f64 = 1e-3;
/// Efficiency of 95 % on normal errors (Huber, "Robust Statistics", 1981).
const HUBER: f64 = 1.345;
/// Median of a normal distribution's absolute values.
const NORMAL_MEDIAN: f64 = 0.6745;
/// Steps of one descent; most need twenty.
const MOST_STEPS: usize = 200;

impl Law {
    /// The number of numbers in it, if it has so many terms.
    pub(super) const fn numbers(terms: usize) -> usize {
        1 + 2 * terms
    }

    /// The rate at these scales.
    pub(crate) fn rate(&self, scales: &[f64]) -> f64 {
        self.floor.exp() + self.parts(scales).iter().sum::<f64>()
    }

    /// E: the rate of a model without end.
    pub(crate) fn floor(&self) -> f64 {
        self.floor.exp()
    }

    /// α of a term.
    pub(crate) fn exponent(&self, term: usize) -> f64 {
        self.terms[term].exponent
    }

    /// A of a term: what it is worth at scale 1.
    pub(crate) fn factor(&self, term: usize) -> f64 {
        let Term { height, exponent, center } = self.terms[term];
        (height + exponent * center).exp()
    }

    /// The parameters at which rate(N) + bytes a parameter · N / length is least: there the slopes
    /// cancel, α·A·N^(−α−1) = bytes a parameter / length.
    pub(crate) fn best_parameters(&self, corpus_bytes: f64, bytes_per_parameter: f64) -> f64 {
        let Term { height, exponent, center } = self.terms[0];
        let worth = (exponent * corpus_bytes / bytes_per_parameter).ln();
        ((height + exponent * center + worth) / (exponent + 1.0)).exp()
    }

    /// Whether an exponent is at its bound, which means that the points need another kind of curve.
    pub(super) fn is_bound(&self) -> bool {
        let (low, high) = EXPONENTS;
        self.terms.iter().any(|term| !(1.01 * low..0.99 * high).contains(&term.exponent))
    }

    /// The law with the least loss that descents from each start find.
    pub(super) fn best(points: &[Observation], starts: &[Self], delta: f64) -> Option<Self> {
        let ends = starts.iter().map(|start| start.descend(points, delta));
        let (_, best) = ends
            .map(|law| (law.loss(points, delta), law))
            .filter(|(loss, _)| loss.is_finite())
            .min_by(|one, other| one.0.total_cmp(&other.0))?;
        Some(best)
    }

    /// The law of these points, and the δ that it was fitted with.
    pub(super) fn fit(points: &[Observation]) -> Option<(Self, f64)> {
        let terms = points.first()?.scales.len();
        let first = Self::best(points, &Self::starts(points), LEAST_DELTA)?;
        // The scale is the median of those residuals that the first fit, nearly one of least
        // absolute values, could not make 0 (Maronna, Martin & Yohai, 2006, section 4.4.2).
        let mut sizes = first.residuals(points).collect::<Vec<_>>();
        sizes.iter_mut().for_each(|size| *size = size.abs());
        sizes.sort_by(f64::total_cmp);
        let free = &sizes[Self::numbers(terms).min(sizes.len() - 1)..];
        let scale = median(free.to_vec())? / NORMAL_MEDIAN;
        let delta = LEAST_DELTA.max(HUBER * scale);
        let starts: Vec<Self> = [first].into_iter().chain(Self::starts(points)).collect();
        Some((Self::best(points, &starts, delta)?, delta))
    }

    /// Laws to start from: floors of some shares of the lowest rate, each with each of some
    /// exponents for every term.
    pub(super) fn starts(points: &[Observation]) -> Vec<Self> {
        let rates = points.iter().map(|point| point.rate);
        let lowest = rates.clone().fold(f64::INFINITY, f64::min);
        let mean = rates.map(f64::ln).sum::<f64>() / points.len() as f64;
        let centers = centers(points);
        let mut starts = Vec::new();
        for share in [0.1, 0.5, 0.9] {
            let above = (mean.exp() - share * lowest).max(1e-3 * lowest) / centers.len() as f64;
            let term = |center, exponent| Term { height: above.ln(), exponent, center };
            let mut laws = vec![Self { floor: (share * lowest).ln(), terms: Vec::new() }];
            for &center in &centers {
                let longer = |law: &Self| {
                    [0.1, 0.3, 0.7, 1.5].map(|exponent| {
                        let mut longer = law.clone();
                        longer.terms.push(term(center, exponent));
                        longer
                    })
                };
                laws = laws.iter().flat_map(longer).collect();
            }
            starts.extend(laws);
        }
        starts
    }

    /// Logarithms of measured over fitted rates.
    pub(super) fn residuals<'a>(
        &'a self,
        points: &'a [Observation],
    ) -> impl Iterator<Item = f64> + 'a {
        points.iter().map(|point| (point.rate / self.rate(&point.scales)).ln())
    }

    /// The Huber loss of the log rates.
    pub(super) fn loss(&self, points: &[Observation], delta: f64) -> f64 {
        let huber = |residual: f64| match residual.abs() {
            size if size <= delta => size * size / 2.0,
            size => delta * (size - delta / 2.0),
        };
        self.residuals(points).map(huber).sum()
    }

    /// What each term is worth at these scales.
    fn parts(&self, scales: &[f64]) -> Vec<f64> {
        let part = |(term, scale): (&Term, &f64)| {
            (term.height - term.exponent * (scale.ln() - term.center)).exp()
        };
        self.terms.iter().zip(scales).map(part).collect()
    }

    /// Levenberg's and Marquardt's descent on squares that are weighted anew at each step
    /// (iteratively reweighted least squares, whose fixed points are those of the Huber loss).
    fn descend(&self, points: &[Observation], delta: f64) -> Self {
        let lowest = points.iter().map(|point| point.rate.ln()).fold(f64::INFINITY, f64::min);
        let (mut law, mut loss) = (self.clone(), self.loss(points, delta));
        let mut damping = 1e-2;
        for _ in 0..MOST_STEPS {
            let (matrix, slope) = law.normal_equations(points, delta);
            let mut damped = matrix;
            for (index, row) in damped.iter_mut().enumerate() {
                row[index] += damping * row[index].max(1e-12);
            }
            let next = solve(damped, slope).map(|step| law.moved(&step, lowest));
            let tried = next.map(|next| (next.loss(points, delta), next));
            match tried {
                Some((less, next)) if less < loss => {
                    let settled = loss - less < 1e-10 * loss;
                    (law, loss) = (next, less);
                    damping = (damping / 3.0_f64).max(1e-12);
                    if settled {
                        break;
                    }
                }
                _ if damping > 1e10 => break,
                _ => damping *= 4.0,
            }
        }
        law
    }

    /// Left and right side of the weighted normal equations.
    fn normal_equations(&self, points: &[Observation], delta: f64) -> (Vec<Vec<f64>>, Vec<f64>) {
        let count = Self::numbers(self.terms.len());
        let mut matrix = vec![vec![0.0; count]; count];
        let mut slope = vec![0.0; count];
        for (point, residual) in points.iter().zip(self.residuals(points)) {
            let weight = if residual.abs() <= delta { 1.0 } else { delta / residual.abs() };
            let parts = self.parts(&point.scales);
            let rate = self.floor.exp() + parts.iter().sum::<f64>();
            // Of the log rate by log E, and by log A and α of each term.
            let mut derivatives = vec![self.floor.exp() / rate];
            for ((term, part), scale) in self.terms.iter().zip(parts).zip(&point.scales) {
                derivatives.push(part / rate);
                derivatives.push(-part / rate * (scale.ln() - term.center));
            }
            for (row, one) in derivatives.iter().enumerate() {
                slope[row] += weight * one * residual;
                for (column, other) in derivatives.iter().enumerate() {
                    matrix[row][column] += weight * one * other;
                }
            }
        }
        (matrix, slope)
    }

    /// The law a step further, within its bounds.
    fn moved(&self, step: &[f64], lowest: f64) -> Self {
        let floor = (self.floor + step[0]).clamp(lowest + LEAST_FLOOR, lowest);
        let moved = |(term, step): (&Term, &[f64])| Term {
            height: term.height + step[0],
            exponent: (term.exponent + step[1]).clamp(EXPONENTS.0, EXPONENTS.1),
            ..*term
        };
        let terms = self.terms.iter().zip(step[1..].chunks_exact(2)).map(moved).collect();
        Self { floor, terms }
    }
}

/// Mean logarithm of each scale.
fn centers(points: &[Observation]) -> Vec<f64> {
    let scales = points.first().map_or(0, |point| point.scales.len());
    let mean = |index: usize| {
        points.iter().map(|point| point.scales[index].ln()).sum::<f64>() / points.len() as f64
    };
    (0..scales).map(mean).collect()
}

/// Gauss's elimination with the largest pivot first; nothing if a pivot vanishes.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let count = right.len();
    for pivot in 0..count {
        let size = |row: &usize| matrix[*row][pivot].abs();
        let best = (pivot..count).max_by(|one, other| size(one).total_cmp(&size(other)))?;
        matrix.swap(pivot, best);
        right.swap(pivot, best);
        if !matrix[pivot][pivot].is_normal() {
            return None;
        }
        for row in pivot + 1..count {
            let share = matrix[row][pivot] / matrix[pivot][pivot];
            let above = matrix[pivot].clone();
            for (value, above) in matrix[row].iter_mut().zip(above) {
                *value -= share * above;
            }
            right[row] -= share * right[pivot];
        }
    }
    for row in (0..count).rev() {
        let known: f64 = (row + 1..count).map(|column| matrix[row][column] * right[column]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right.iter().all(|value| value.is_finite()).then_some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(scales: &[Vec<f64>], rate: impl Fn(&[f64]) -> f64) -> Vec<Observation> {
        scales
            .iter()
            .map(|scales| Observation { scales: scales.clone(), rate: rate(scales) })
            .collect()
    }

    fn near(value: f64, wanted: f64, share: f64) {
        assert!((value / wanted - 1.0).abs() < share, "{value}, not {wanted}");
    }

    #[test]
    fn a_law_of_parameters_is_recovered_exactly() {
        let sizes: Vec<Vec<f64>> =
            [2.3e5, 8.5e5, 1.6e6, 3.3e6, 6.4e6].iter().map(|size| vec![*size]).collect();
        for (floor, factor, exponent) in [(0.1, 30.0, 0.4), (0.02, 3.0, 0.2), (0.2, 900.0, 0.7)] {
            let points = points(&sizes, |scales| floor + factor * scales[0].powf(-exponent));
            let (law, delta) = Law::fit(&points).expect("points");
            near(law.floor(), floor, 1e-4);
            near(law.factor(0), factor, 1e-3);
            near(law.exponent(0), exponent, 1e-4);
            assert_eq!(delta, LEAST_DELTA, "no noise");
        }
    }

    #[test]
    fn a_law_of_parameters_and_tokens_is_recovered_exactly() {
        // Chinchilla's own numbers (Hoffmann et al., equation 10).
        let loss =
            |scales: &[f64]| 1.69 + 406.4 * scales[0].powf(-0.34) + 410.7 * scales[1].powf(-0.28);
        let mut scales = Vec::new();
        for size in [2e5, 8e5, 3.2e6, 1.2e7] {
            for tokens in [1e7, 1e8, 1e9] {
                scales.push(vec![size, tokens]);
            }
        }
        let (law, _) = Law::fit(&points(&scales, loss)).expect("points");
        near(law.floor(), 1.69, 1e-3);
        near(law.factor(0), 406.4, 1e-2);
        near(law.exponent(0), 0.34, 1e-3);
        near(law.factor(1), 410.7, 1e-2);
        near(law.exponent(1), 0.28, 1e-3);
    }

    #[test]
    fn one_outlier_moves_a_law_little() {
        let sizes: Vec<Vec<f64>> = (0..8).map(|step| vec![2e5 * 2f64.powi(step)]).collect();
        let rate = |scales: &[f64]| 0.1 + 30.0 * scales[0].powf(-0.4);
        let mut outlying = points(&sizes, rate);
        for (index, point) in outlying.iter_mut().enumerate() {
            point.rate *= 1.0 + 0.002 * [1.0, -1.0, -1.0, 1.0][index % 4];
        }
        outlying[3].rate *= 1.15;
        let (law, _) = Law::fit(&outlying).expect("points");
        for point in points(&sizes, rate) {
            near(law.rate(&point.scales), point.rate, 0.015);
        }
    }

    #[test]
    fn the_best_size_is_where_the_adjusted_rate_is_least() {
        let sizes: Vec<Vec<f64>> = (0..6).map(|step| vec![2e5 * 2f64.powi(step)]).collect();
        let (law, _) =
            Law::fit(&points(&sizes, |scales| 0.1 + 30.0 * scales[0].powf(-0.4))).expect("points");
        for (length, bytes) in [(1e7, 2.0), (1e9, 1.0), (1e10, 2.0)] {
            let best = law.best_parameters(length, bytes);
            near(best, (0.4 * 30.0 * length / bytes).powf(1.0 / 1.4), 1e-3);
            let adjusted = |size: f64| law.rate(&[size]) + bytes * size / length;
            assert!(
                adjusted(best) < adjusted(1.02 * best) && adjusted(best) < adjusted(best / 1.02)
            );
        }
    }
}
