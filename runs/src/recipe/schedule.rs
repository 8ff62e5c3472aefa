//! What changes over the steps of a training run: the learning rates, Muon's momentum, the weight decay. Each is a
//! function of the step and the number of steps, so that a resumed run continues exactly.

use super::choices::{Choices, DecayForm, DecaySchedule};

impl Choices {
    /// The factor on every learning rate at `step` (counted from 0) of `steps`: it rises over the
    /// warm-up, is level, and falls to the floor over the decay.
    #[must_use]
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        let [done, left] = ends(step, steps);
        let rising = (done + 1.0) / length(self.warmup, steps);
        let left = (left / length(self.decay, steps)).min(1.0);
        let falling = match self.decay_form {
            DecayForm::Linear => left,
            DecayForm::Root => 1.0 - (1.0 - left).sqrt(),
            DecayForm::Cosine => 0.5 - 0.5 * (std::f64::consts::PI * left).cos(),
        };
        rising.min(self.decay_floor + (1.0 - self.decay_floor) * falling).min(1.0)
    }

    /// Muon's momentum at that step: it changes linearly from its start to its usual value, and at the end to its
    /// final value.
    #[must_use]
    pub fn momentum_at(&self, step: u64, steps: u64) -> f64 {
        let [done, left] = ends(step, steps);
        let part = |other: Option<f64>, at: f64, share: f64| {
            let off = 1.0 - (at / length(share, steps)).min(1.0);
            other.map_or(0.0, |other| off * (other - self.momentum))
        };
        self.momentum
            + part(self.momentum_start, done, self.momentum_warmup)
            + part(self.momentum_end, left - 1.0, self.momentum_cooldown)
    }

    /// The weight decay at that step, to be multiplied by the learning rate.
    #[must_use]
    pub fn weight_decay_at(&self, step: u64, steps: u64) -> f64 {
        let [_, left] = ends(step, steps);
        match self.weight_decay_schedule {
            DecaySchedule::Constant => self.weight_decay,
            DecaySchedule::ToZero => self.weight_decay * left / length(1.0, steps),
        }
    }
}

/// Steps before this one, and steps from this one on.
#[expect(clippy::cast_precision_loss, reason = "steps stay far below 2^53")]
fn ends(step: u64, steps: u64) -> [f64; 2] {
    [step as f64, steps.max(1) as f64 - step as f64]
}

/// Steps of a share of all, at least one.
#[expect(clippy::cast_precision_loss, reason = "steps stay far below 2^53")]
fn length(share: f64, steps: u64) -> f64 {
    (share * steps.max(1) as f64).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    fn choices() -> Choices {
        Choices { warmup: 0.1, decay: 0.4, ..Recipe::Modern.row().choices }
    }

    #[test]
    fn the_learning_rate_rises_holds_and_falls() {
        let all = |choices: &Choices| -> Vec<f64> {
            (0..100).map(|step| choices.factor(step, 100)).collect()
        };
        for form in [DecayForm::Linear, DecayForm::Root, DecayForm::Cosine] {
            for floor in [0.0, 0.1] {
                let factors = all(&Choices { decay_form: form, decay_floor: floor, ..choices() });
                assert!((factors[0] - 0.1).abs() < 1e-12);
                assert!(factors[9..=60].iter().all(|factor| (factor - 1.0).abs() < 1e-12));
                assert!(factors[60..].is_sorted_by(|left, right| left >= right));
                assert!(factors[99] > floor && factors[99] < floor + 0.03, "{form:?} {factors:?}");
            }
        }
        assert!((all(&choices())[99] - 0.025).abs() < 1e-12);
        let constant = Choices { warmup: 0.0, decay: 0.0, ..choices() };
        assert!(all(&constant).iter().all(|factor| *factor == 1.0));
    }

    #[test]
    fn momentum_and_decay_follow_their_lines() {
        let mut choices = choices();
        assert_eq!([0, 50, 99].map(|step| choices.momentum_at(step, 100)), [0.95; 3]);
        (choices.momentum_start, choices.momentum_end) = (Some(0.85), Some(0.9));
        let momenta: Vec<f64> = (0..100).map(|step| choices.momentum_at(step, 100)).collect();
        assert!((momenta[0] - 0.85).abs() < 1e-12 && (momenta[99] - 0.9).abs() < 1e-12);
        assert!(momenta[10..90].iter().all(|momentum| *momentum == 0.95));
        assert!((momenta[5] - 0.9).abs() < 1e-12);
        choices.weight_decay = 0.2;
        assert_eq!(choices.weight_decay_at(99, 100), 0.2);
        choices.weight_decay_schedule = DecaySchedule::ToZero;
        let decays = [0, 50].map(|step| choices.weight_decay_at(step, 100));
        assert!((decays[0] - 0.2).abs() < 1e-12 && (decays[1] - 0.1).abs() < 1e-12);
    }
}
