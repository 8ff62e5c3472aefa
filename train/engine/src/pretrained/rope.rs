//! Rotary positions as configurations give them: `rope_theta` with `rope_scaling`, or the one group
//! `rope_parameters` of newer ones.
//!
//! | type | frequencies |
//! | --- | --- |
//! | `default` | base^(−2i/d) |
//! | `linear` | all divided by a factor (Chen et al., arXiv 2306.15595) |
//! | `dynamic` | the default ones up to the context of the configuration, which is all that is read |
//! | `llama3` | slow ones divided by a factor, with a ramp between (Llama 3.1) |
//! | `yarn` | the same with a ramp over the pairs; queries and keys grow by a factor (Peng et al., arXiv 2309.00071) |
//! | `longrope` | each divided by a factor of its own, up to the original context, which is all that is read; queries and keys grow by a factor (Ding et al., arXiv 2402.13753) |

use super::config::Config;
use super::error::PretrainedError;
use crate::rotary_frequencies;
use lmtrain_kernels::natural_logarithm;

/// Bases that the frequencies are exact for.
const BASES: std::ops::RangeInclusive<f64> = 1.0..=4e8;
/// The types that are known, as messages list them.
const KNOWN: &str = "supported are `default`, `linear`, `dynamic`, `llama3`, `yarn` and `longrope`";

/// How positions turn queries and keys.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rope {
    base: f64,
    scaling: Scaling,
    /// The part of a head that turns, if the group says.
    pub(super) partial: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
enum Scaling {
    Default,
    Linear {
        factor: f64,
    },
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
    Yarn {
        factor: f64,
        /// Turns within the original context: pairs of more stay, of fewer are divided.
        fast: f64,
        slow: f64,
        original: f64,
        /// Whether the ramp begins and ends at whole pairs.
        truncate: bool,
        grown: f64,
    },
    Long {
        /// One a pair.
        factors: Vec<f64>,
        original: usize,
        grown: f64,
    },
}

impl Rope {
    /// Reads it; `theta` is the key of the base in older configurations, `base` stands in where there is none.
    pub(super) fn read(config: &Config, theta: &str, base: f64) -> Result<Self, PretrainedError> {
        let key = "rope_parameters";
        let group = match config.group(key)? {
            Some(group) => Some(group),
            None => config.group("rope_scaling")?,
        };
        let outside = config.number_or(theta, base)?;
        let Some(group) = group else { return Ok(Self::plain(config, outside)) };
        if let Some((key, _)) = group.keys().find(|(_, value)| value.is_object()) {
            return Err(config.fault(format!(
                "rotary positions that differ between layers are not supported \
                (`{key}`)"
            )));
        }
        let rope = Self::of_group(config, [&group, &group], outside);
        config.note_group("rope", &group);
        rope
    }

    /// One of this base, of the default type.
    pub(super) fn plain(config: &Config, base: f64) -> Self {
        Self { base, scaling: Scaling::Default, partial: None }.checked(config)
    }

    /// One of a group of keys; the second is the group around it, if there is one, which transformers asks for
    /// `truncate`.
    pub(super) fn of_group(
        config: &Config,
        [group, outer]: [&Config; 2],
        base: f64,
    ) -> Result<Self, PretrainedError> {
        let base = group.number_or("rope_theta", base)?;
        let kind = match group.text("rope_type")? {
            Some(kind) => Some(kind),
            None => group.text("type")?,
        };
        let scaling = match kind.unwrap_or("default") {
            "default" => Scaling::Default,
            "linear" => Scaling::Linear { factor: needed(config, group, "factor")? },
            "dynamic" => {
                needed(config, group, "factor")?;
                Scaling::Default
            }
            "llama3" => Scaling::Llama3 {
                factor: needed(config, group, "factor")?,
                low: needed(config, group, "low_freq_factor")?,
                high: needed(config, group, "high_freq_factor")?,
                original: needed(config, group, "original_max_position_embeddings")?,
            },
            // Phi-3 has called its own type by both names.
            "yarn" if !group.keys().any(|(key, _)| key == "short_factor") => {
                yarn(config, group, outer.flag_or("truncate", true)?)?
            }
            "longrope" | "su" | "yarn" => long(config, group)?,
            other => {
                let why = format!("rotary positions of type `{other}` are not supported; {KNOWN}");
                return Err(config.fault(why));
            }
        };
        Ok(Self { base, scaling, partial: group.number_if_any("partial_rotary_factor")? }
            .checked(config))
    }

    fn checked(self, config: &Config) -> Self {
        if let Scaling::Llama3 { low, high, .. } = self.scaling
            && low >= high
        {
            config.fault(format!("`low_freq_factor` {low} is not below `high_freq_factor` {high}"));
        }
        if !BASES.contains(&self.base) {
            let base = self.base;
            config.fault(format!(
                "the base of the rotary positions is {base}; it must be from 1 to 4e8"
            ));
        }
        self
    }

    /// What the turned numbers of queries and keys are multiplied by.
    pub(super) fn factor(&self) -> f64 {
        match self.scaling {
            Scaling::Yarn { grown, .. } | Scaling::Long { grown, .. } => grown,
            _ => 1.0,
        }
    }

    /// The most tokens that it is for, if it says.
    pub(super) fn limit(&self) -> Option<usize> {
        match self.scaling {
            Scaling::Long { original, .. } => Some(original),
            _ => None,
        }
    }

    /// Radians a position of each pair of a packed head.
    pub(super) fn frequencies(
        &self,
        config: &Config,
        dimensions: usize,
        rotated: usize,
    ) -> Result<Vec<f64>, PretrainedError> {
        let turning = rotated / 2;
        if let Scaling::Long { factors, .. } = &self.scaling
            && factors.len() != turning
        {
            let count = factors.len();
            return Err(config.fault(format!(
                "`short_factor` has {count} numbers, but a head has {turning} rotated pairs of dimensions"
            )));
        }
        let mut frequencies = rotary_frequencies(self.base, dimensions, rotated);
        for (pair, frequency) in frequencies.iter_mut().enumerate().take(turning) {
            *frequency = self.scaled(*frequency, [pair, turning]);
        }
        Ok(frequencies)
    }

    /// The frequency of one of so many pairs.
    fn scaled(&self, frequency: f64, [pair, turning]: [usize; 2]) -> f64 {
        match &self.scaling {
            Scaling::Default => frequency,
            Scaling::Linear { factor } => frequency / factor,
            Scaling::Long { factors, .. } => frequency / factors[pair],
            Scaling::Llama3 { factor, low, high, original } => {
                // Turns within the context that the model was first trained on.
                let turns = original * frequency / std::f64::consts::TAU;
                if turns < *low {
                    frequency / factor
                } else if turns > *high {
                    frequency
                } else {
                    let share = (turns - low) / (high - low);
                    (1.0 - share) * frequency / factor + share * frequency
                }
            }
            Scaling::Yarn { factor, .. } => {
                let [first, last] = self.ramp(turning);
                let share = ((pair as f64 - first) / (last - first)).clamp(0.0, 1.0);
                frequency / factor * share + frequency * (1.0 - share)
            }
        }
    }

    /// The pairs between which YaRN's frequencies go from undivided to divided.
    fn ramp(&self, turning: usize) -> [f64; 2] {
        let Scaling::Yarn { fast, slow, original, truncate, .. } = self.scaling else {
            return [0.0, 1.0];
        };
        let pair = |turns: f64| {
            let most = original / (turns * std::f64::consts::TAU);
            turning as f64 * natural_logarithm(most) / natural_logarithm(self.base)
        };
        let [first, last] = [pair(fast), pair(slow)];
        let [first, last] = if truncate { [first.floor(), last.ceil()] } else { [first, last] };
        let [first, last] = [first.max(0.0), last.min(2.0 * turning as f64 - 1.0)];
        // As transformers keeps them apart.
        [first, if first == last { last + 0.001 } else { last }]
    }
}

/// A number that a group must have.
fn needed(config: &Config, group: &Config, key: &str) -> Result<f64, PretrainedError> {
    let number = group.number_if_any(key)?;
    number.ok_or_else(|| config.fault(format!("the rotary positions have no `{key}`")))
}

/// The context that a model was first trained on, and how many times as long its own is, unless a factor says.
fn stretch(config: &Config, group: &Config) -> Result<(usize, f64), PretrainedError> {
    let key = "original_max_position_embeddings";
    let context = config.count_if_any("max_position_embeddings")?;
    let original = match (config.count_if_any(key)?, group.count_if_any(key)?) {
        (Some(original), _) | (None, Some(original)) => Some(original),
        (None, None) => context,
    };
    let Some(original) = original else {
        return Err(config.fault(format!("the rotary positions have no `{key}`")));
    };
    let ratio = context.unwrap_or(original) as f64 / original as f64;
    Ok((original, group.number_if_any("factor")?.unwrap_or(ratio)))
}

fn yarn(config: &Config, group: &Config, truncate: bool) -> Result<Scaling, PretrainedError> {
    let (original, factor) = stretch(config, group)?;
    let grown = |scale: f64| match factor <= 1.0 {
        true => 1.0,
        false => 0.1 * scale * natural_logarithm(factor) + 1.0,
    };
    let scales = [group.number_if_any("mscale")?, group.number_if_any("mscale_all_dim")?];
    let usual = match scales {
        [Some(one), Some(all)] => grown(one) / grown(all),
        _ => grown(1.0),
    };
    Ok(Scaling::Yarn {
        factor,
        fast: group.number_or("beta_fast", 32.0)?,
        slow: group.number_or("beta_slow", 1.0)?,
        original: original as f64,
        truncate,
        grown: group.number_if_any("attention_factor")?.unwrap_or(usual),
    })
}

fn long(config: &Config, group: &Config) -> Result<Scaling, PretrainedError> {
    let (original, factor) = stretch(config, group)?;
    let key = "short_factor";
    let factors = group.numbers(key)?;
    let missing = || config.fault(format!("the rotary positions have no `{key}`"));
    let usual = match factor <= 1.0 {
        true => 1.0,
        false => (1.0 + natural_logarithm(factor) / natural_logarithm(original as f64)).sqrt(),
    };
    let grown = group.number_if_any("attention_factor")?.unwrap_or(usual);
    Ok(Scaling::Long { factors: factors.ok_or_else(missing)?, original, grown })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Rope, String> {
        let config = Config::parse("config.json".into(), text.as_bytes()).expect("JSON");
        let rope = Rope::read(&config, "rope_theta", 10_000.0).map_err(|error| error.to_string());
        match config.faults().first() {
            Some(fault) => Err(fault.to_string()),
            None => rope,
        }
    }

    #[test]
    fn old_and_new_spellings_are_the_same() {
        let old = r#"{"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4}}"#;
        let new = r#"{"rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 4}}"#;
        let expected = Rope { base: 5e5, scaling: Scaling::Linear { factor: 4.0 }, partial: None };
        assert_eq!([read(old), read(new)], [Ok(expected.clone()), Ok(expected.clone())]);
        let plain = Rope { base: 1e4, scaling: Scaling::Default, partial: None };
        for text in
            ["{}", r#"{"rope_scaling": null}"#, r#"{"rope_parameters": {"rope_type": "default"}}"#]
        {
            assert_eq!(read(text), Ok(plain.clone()));
        }
        let config = Config::parse("config.json".into(), b"{}").expect("JSON");
        assert_eq!(expected.frequencies(&config, 16, 16).expect("fits")[0], 0.25);
    }

    /// Of Llama 3.1: factor 8, 1 to 4 turns of 8192 positions.
    #[test]
    fn slow_frequencies_are_divided() {
        let text = r#"{"rope_theta": 500000, "rope_scaling": {"rope_type": "llama3", "factor": 8,
            "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 8192}}"#;
        let rope = read(text).expect("known");
        assert_eq!(rope.scaled(1.0, [0, 4]), 1.0);
        assert_eq!(rope.scaled(1e-6, [0, 4]), 1e-6 / 8.0);
        let turns = |turns: f64| turns * std::f64::consts::TAU / 8192.0;
        let middle = rope.scaled(turns(2.5), [0, 4]) / turns(2.5);
        assert!((middle - (0.5 + 0.5 / 8.0)).abs() < 1e-12, "{middle}");
    }

    #[test]
    fn other_kinds_are_named() {
        for (text, why) in [
            (r#"{"rope_scaling": {"rope_type": "axial", "factor": 4}}"#, "`axial`"),
            (r#"{"rope_scaling": {"rope_type": "yarn", "factor": 4}}"#, "original_max_position"),
            (r#"{"rope_scaling": {"rope_type": "dynamic"}}"#, "`factor`"),
            (
                r#"{"max_position_embeddings": 8, "rope_scaling": {"type": "longrope"}}"#,
                "`short_factor`",
            ),
            (r#"{"rope_scaling": {"type": "linear"}}"#, "`factor`"),
            (r#"{"rope_scaling": {"type": "llama3", "factor": 8}}"#, "low_freq_factor"),
            (r#"{"rope_theta": 0.5}"#, "is 0.5"),
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
