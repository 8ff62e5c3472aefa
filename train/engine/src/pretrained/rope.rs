//! Rotary positions as configurations give them: `rope_theta` with `rope_scaling`, or the one group
//! `rope_parameters` of newer ones; types `default`, `linear` and `llama3`.

use super::config::Config;
use super::error::PretrainedError;
use crate::rotary_frequencies;

/// Bases that the frequencies are exact for.
const BASES: std::ops::RangeInclusive<f64> = 1.0..=4e8;

/// How positions turn queries and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rope {
    base: f64,
    scaling: Scaling,
    /// The part of a head that turns, if the group says.
    pub(super) partial: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scaling {
    Default,
    /// Positions are divided by a factor (Chen et al., arXiv 2306.15595).
    Linear {
        factor: f64,
    },
    /// Slow frequencies are divided by a factor, fast ones stay, with a ramp between (Llama 3.1).
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
}

impl Rope {
    /// Reads it; `theta` is the key of the base in older configurations.
    pub(super) fn read(config: &Config, theta: &str) -> Result<Self, PretrainedError> {
        let group = match config.group("rope_parameters")? {
            Some(group) => Some(group),
            None => config.group("rope_scaling")?,
        };
        let outside = config.number_or(theta, 10_000.0)?;
        let Some(group) = group else {
            return Self { base: outside, scaling: Scaling::Default, partial: None }
                .checked(config);
        };
        let base = group.number_or("rope_theta", outside)?;
        let kind = match group.text("rope_type")? {
            Some(kind) => Some(kind),
            None => group.text("type")?,
        };
        let needed = |key: &str| match group.keys().any(|(name, _)| name == key) {
            true => group.number_or(key, 1.0),
            false => Err(config.refuse(format!("the rotary positions have no `{key}`"))),
        };
        let scaling = match kind.unwrap_or("default") {
            "default" => Scaling::Default,
            "linear" => Scaling::Linear { factor: needed("factor")? },
            "llama3" => Scaling::Llama3 {
                factor: needed("factor")?,
                low: needed("low_freq_factor")?,
                high: needed("high_freq_factor")?,
                original: needed("original_max_position_embeddings")?,
            },
            other => {
                let known = "`default`, `linear` and `llama3` are known";
                return Err(config.refuse(format!("rotary positions of type `{other}`: {known}")));
            }
        };
        if let Some((key, _)) = group.keys().find(|(_, value)| value.is_object()) {
            return Err(config.refuse(format!("rotary positions differ by layers (`{key}`)")));
        }
        let key = "partial_rotary_factor";
        let partial = match group.keys().any(|(name, value)| name == key && !value.is_null()) {
            true => Some(group.number_or(key, 1.0)?),
            false => None,
        };
        config.note_group("rope", &group);
        Self { base, scaling, partial }.checked(config)
    }

    fn checked(self, config: &Config) -> Result<Self, PretrainedError> {
        if let Scaling::Llama3 { low, high, .. } = self.scaling
            && low >= high
        {
            let why = format!("`low_freq_factor` {low} is not below `high_freq_factor` {high}");
            return Err(config.refuse(why));
        }
        if BASES.contains(&self.base) {
            return Ok(self);
        }
        Err(config
            .refuse(format!("rotary positions of base {}; 1 to 4e8 are supported", self.base)))
    }

    /// Radians a position of each pair of a packed head.
    pub(super) fn frequencies(self, dimensions: usize, rotated: usize) -> Vec<f64> {
        let mut frequencies = rotary_frequencies(self.base, dimensions, rotated);
        frequencies.iter_mut().for_each(|frequency| *frequency = self.scaled(*frequency));
        frequencies
    }

    fn scaled(self, frequency: f64) -> f64 {
        match self.scaling {
            Scaling::Default => frequency,
            Scaling::Linear { factor } => frequency / factor,
            Scaling::Llama3 { factor, low, high, original } => {
                // Turns within the context that the model was first trained on.
                let turns = original * frequency / std::f64::consts::TAU;
                if turns < low {
                    frequency / factor
                } else if turns > high {
                    frequency
                } else {
                    let share = (turns - low) / (high - low);
                    (1.0 - share) * frequency / factor + share * frequency
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Rope, String> {
        let config = Config::parse("config.json".into(), text.as_bytes()).expect("JSON");
        Rope::read(&config, "rope_theta").map_err(|error| error.to_string())
    }

    #[test]
    fn old_and_new_spellings_are_the_same() {
        let old = r#"{"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4}}"#;
        let new = r#"{"rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 4}}"#;
        let expected = Rope { base: 5e5, scaling: Scaling::Linear { factor: 4.0 }, partial: None };
        assert_eq!([read(old), read(new)], [Ok(expected), Ok(expected)]);
        let plain = Rope { base: 1e4, scaling: Scaling::Default, partial: None };
        for text in
            ["{}", r#"{"rope_scaling": null}"#, r#"{"rope_parameters": {"rope_type": "default"}}"#]
        {
            assert_eq!(read(text), Ok(plain));
        }
        assert_eq!(expected.frequencies(16, 16)[0], 0.25);
    }

    /// Of Llama 3.1: factor 8, 1 to 4 turns of 8192 positions.
    #[test]
    fn slow_frequencies_are_divided() {
        let text = r#"{"rope_theta": 500000, "rope_scaling": {"rope_type": "llama3", "factor": 8,
            "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 8192}}"#;
        let rope = read(text).expect("known");
        assert_eq!(rope.scaled(1.0), 1.0);
        assert_eq!(rope.scaled(1e-6), 1e-6 / 8.0);
        let turns = |turns: f64| turns * std::f64::consts::TAU / 8192.0;
        let middle = rope.scaled(turns(2.5)) / turns(2.5);
        assert!((middle - (0.5 + 0.5 / 8.0)).abs() < 1e-12, "{middle}");
    }

    #[test]
    fn other_kinds_are_named() {
        for (text, why) in [
            (r#"{"rope_scaling": {"rope_type": "yarn", "factor": 4}}"#, "`yarn`"),
            (r#"{"rope_scaling": {"type": "linear"}}"#, "`factor`"),
            (r#"{"rope_scaling": {"type": "llama3", "factor": 8}}"#, "low_freq_factor"),
            (r#"{"rope_theta": 0.5}"#, "base 0.5"),
            (r#"{"rope_theta": 1e12}"#, "4e8"),
            (r#"{"rope_theta": -1}"#, "`rope_theta`"),
            (r#"{"rope_scaling": 3}"#, "`rope_scaling`"),
            (r#"{"rope_parameters": {"full_attention": {"rope_theta": 1}}}"#, "full_attention"),
        ] {
            let error = read(text).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }
}
