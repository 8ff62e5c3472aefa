//! What a recipe decides, field by field, and how plans of earlier versions are read. Each field is
//! described by its row in `table.rs`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::size::Size;

/// The kind of normalisation, and its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Root-mean-square norm without scale, before each sub-layer and before the head.
    PreRms,
    /// Layer norm with scale and offset, after each residual sum.
    PostLayer,
}

/// The MLP's activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// max(x, 0)².
    SquaredRelu,
    /// max(x, ½x)².
    LeakySquaredRelu,
    /// GELU in its tanh form.
    Gelu,
}

/// Which blocks add an embedding of the token to their values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueEmbeddings {
    /// None.
    #[default]
    None,
    /// The last, and every second before it.
    Alternate,
    /// All.
    All,
}

/// The numbers that weights are trained for, and saved in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// IEEE half precision.
    #[default]
    F16,
    /// Whole numbers of 8 bits with scales.
    Int8,
    /// Whole numbers of 4 bits with scales; embeddings and head of 8 bits.
    Int4,
}

/// What is fed before the first token of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Begin {
    /// A row of its own in the embedding table, after the vocabulary's.
    OwnRow,
    /// Token 0, which the vocabulary has too (the paper's shift to the right).
    TokenZero,
}

/// The optimizer of the blocks' matrices; embedding, head and gains always use Adam.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimizer {
    /// Momentum, made orthogonal.
    Muon,
    /// Adam (Kingma & Ba, arXiv 1412.6980).
    Adam,
}

/// How learning rates fall at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecayForm {
    /// In a straight line.
    Linear,
    /// 1 − √(share of the decay that is over) (Hägele et al., arXiv 2405.18392).
    Root,
    /// Half a cosine wave.
    Cosine,
}

/// How the weight decay changes over the steps, besides following the learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecaySchedule {
    /// The same at every step.
    Constant,
    /// From the whole to nothing, in a straight line.
    ToZero,
}

/// All choices of a recipe. They are saved with the plan, so that weights are read with the choices that they were
/// trained with, even if the table has changed since. A new field needs a `serde` default that means what plans
/// without it did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[expect(missing_docs, reason = "the table has a line on each")]
pub struct Choices {
    pub norm: Norm,
    pub activation: Activation,
    pub qk_norm: bool,
    pub initial_gain: f64,
    pub biases: bool,
    pub scale_embeddings: bool,
    pub zero_outputs: bool,
    pub embedding_deviation: f64,
    pub matrix_scale: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_cap: Option<f64>,
    pub begin: Begin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_size: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotary_dimensions: Option<usize>,
    #[serde(default)]
    pub depth_scale: bool,
    #[serde(default)]
    pub residual_scalars: bool,
    #[serde(default)]
    pub skips: bool,
    #[serde(default)]
    pub embedding_convolution: bool,
    #[serde(default)]
    pub block_convolution: bool,
    #[serde(default)]
    pub qkv_convolution: bool,
    #[serde(default)]
    pub value_embeddings: ValueEmbeddings,
    #[serde(default)]
    pub weights: Weights,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounding_start: Option<f64>,
    pub optimizer: Optimizer,
    pub matrix_learning_rate: f64,
    pub embedding_learning_rate: f64,
    pub head_learning_rate: f64,
    #[serde(default = "first_scalar_learning_rate")]
    pub scalar_learning_rate: f64,
    pub momentum: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum_start: Option<f64>,
    pub momentum_warmup: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum_end: Option<f64>,
    pub momentum_cooldown: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
    pub weight_decay_schedule: DecaySchedule,
    pub cautious_decay: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    pub warmup: f64,
    pub decay: f64,
    pub decay_form: DecayForm,
    pub decay_floor: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<f64>,
}

/// What it was when it became a choice; no plan before had anything that it moves.
fn first_scalar_learning_rate() -> f64 {
    0.005
}

impl Serialize for Choices {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Choices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let saved = Map::deserialize(deserializer)?;
        Self::deserialize(Value::Object(flat(saved))).map_err(D::Error::custom)
    }
}

impl Choices {
    /// Refuses what no network computes.
    ///
    /// # Errors
    /// A sentence that names the choices that do not go together.
    pub fn check(&self) -> Result<(), String> {
        if self.biases && self.norm == Norm::PreRms {
            return Err("`biases=true` needs `norm=post-layer`".to_owned());
        }
        let of_pre_norm = [
            ("depth-scale", self.depth_scale),
            ("residual-scalars", self.residual_scalars),
            ("skips", self.skips),
            ("embedding-convolution", self.embedding_convolution),
            ("block-convolution", self.block_convolution),
            ("qkv-convolution", self.qkv_convolution),
            ("value-embeddings", self.value_embeddings != ValueEmbeddings::None),
        ];
        match of_pre_norm.into_iter().find(|(_, chosen)| *chosen) {
            Some((key, _)) if self.norm == Norm::PostLayer => {
                Err(format!("`{key}` needs `norm=pre-rms`"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a block of so many has value embeddings.
    #[must_use]
    pub fn has_values(&self, block: usize, of: usize) -> bool {
        match self.value_embeddings {
            ValueEmbeddings::None => false,
            ValueEmbeddings::Alternate => (of - 1 - block).is_multiple_of(2),
            ValueEmbeddings::All => true,
        }
    }

    /// The block whose output is mixed into a block's input, as in a U-net: the first gives to the
    /// last, the second to the last but one, unless they are neighbours.
    #[must_use]
    pub fn skip_from(&self, block: usize, of: usize) -> Option<usize> {
        let from = of - 1 - block;
        (self.skips && from + 1 < block).then_some(from)
    }

    /// Whether a step of so many computes with weights rounded as [`Self::weights`] says.
    #[must_use]
    pub fn rounds_at(&self, step: u64, steps: u64) -> bool {
        self.rounding_start.is_none_or(|start| step as f64 >= start * steps as f64)
    }

    /// Whether there is anything that the scalars' step size moves.
    fn has_scalars(&self) -> bool {
        self.residual_scalars
            || self.skips
            || self.embedding_convolution
            || self.block_convolution
            || self.qkv_convolution
    }

    /// Refuses what a network of this size cannot have.
    ///
    /// # Errors
    /// A sentence that names the choice.
    pub fn check_size(&self, size: Size) -> Result<(), String> {
        let width = size.width;
        if let Some(dimensions) = self.head_size.filter(|it| !width.is_multiple_of(*it)) {
            return Err(format!(
                "heads of {dimensions} dimensions do not divide the width, {width}\n\
                 hint: set another `--set head-size`, or another `--size`"
            ));
        }
        let dimensions = self.head_size.unwrap_or(size.head_dimension());
        match self.rotary_dimensions {
            Some(rotated) if rotated > dimensions => Err(format!(
                "`rotary-dimensions` is {rotated}, but a head has only {dimensions} dimensions"
            )),
            _ => Ok(()),
        }
    }

    /// Why a choice has no effect, given the other choices; nothing if it has one.
    #[must_use]
    pub fn idle(&self, key: &str) -> Option<&'static str> {
        let reasons: &[(bool, &[&str], &'static str)] = &[
            (!self.qk_norm, &["initial-gain"], "`qk-norm` is false"),
            (self.momentum_start.is_none(), &["momentum-warmup"], "`momentum-start` is off"),
            (self.momentum_end.is_none(), &["momentum-cooldown"], "`momentum-end` is off"),
            (
                self.optimizer == Optimizer::Adam,
                &[
                    "momentum",
                    "momentum-start",
                    "momentum-warmup",
                    "momentum-end",
                    "momentum-cooldown",
                ],
                "`optimizer` is adam",
            ),
            (
                self.weight_decay == 0.0,
                &["weight-decay-schedule", "cautious-decay"],
                "`weight-decay` is 0",
            ),
            (self.decay == 0.0, &["decay-form", "decay-floor"], "`decay` is 0"),
            (self.weights == Weights::F16, &["rounding-start"], "`weights` is f16"),
            (
                !self.has_scalars(),
                &["scalar-learning-rate"],
                "the network has no learned scalars or convolutions",
            ),
        ];
        let applies =
            |(idle, keys, _): &&(bool, &[&str], &'static str)| *idle && keys.contains(&key);
        reasons.iter().find(applies).map(|(_, _, why)| *why)
    }
}

/// Choices as they are saved now, of those that the first plans saved: these held optimizer and
/// schedule as tables of their own, with fewer choices.
fn flat(mut saved: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Object(optimizer)) = saved.get("optimizer").cloned() {
        let adam = optimizer.get("name") == Some(&json!("adam"));
        let scaled = saved.get("scale_embeddings") == Some(&json!(true));
        let constants = json!({
            "optimizer": optimizer.get("name"),
            "initial_gain": 1.5,
            "embedding_deviation": if scaled { 0.02 } else { 1.0 },
            "matrix_scale": 1.0,
            "momentum": 0.95,
            "momentum_warmup": 0.1,
            "momentum_cooldown": 0.1,
            "beta1": if adam { 0.9 } else { 0.8 },
            "beta2": if adam { 0.999 } else { 0.95 },
            "epsilon": if adam { 1e-8 } else { 1e-10 },
            "weight_decay": 0.0,
            "weight_decay_schedule": "constant",
            "cautious_decay": false,
            "warmup": 0.0,
            "decay": 0.0,
            "decay_form": "linear",
            "decay_floor": 0.0,
        });
        saved.extend(constants.as_object().into_iter().flatten().map(owned));
        if let Some(rate) = optimizer.get("learning_rate") {
            for group in ["matrix", "embedding", "head"] {
                saved.insert(format!("{group}_learning_rate"), rate.clone());
            }
        }
        let schedule = saved.remove("schedule");
        let schedule = schedule.as_ref().and_then(Value::as_object);
        let own = optimizer.iter().chain(schedule.into_iter().flatten());
        saved.extend(own.filter(|(key, _)| *key != "name").map(owned));
    }
    saved
}

fn owned((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    #[test]
    fn choices_survive_toml() {
        for recipe in Recipe::ALL {
            let choices = recipe.row().choices;
            let text = toml::to_string(&choices).expect("choices serialise");
            assert_eq!(toml::from_str::<Choices>(&text).expect("and read back"), choices);
            let without = text.lines().filter(|line| !line.starts_with("norm"));
            let without = without.collect::<Vec<_>>().join("\n");
            assert!(toml::from_str::<Choices>(&without).is_err(), "a choice is missing");
        }
    }

    #[test]
    fn the_first_plans_are_read() {
        let modern = r#"
            norm = "pre-rms"
            activation = "squared-relu"
            qk_norm = true
            biases = false
            scale_embeddings = false
            zero_outputs = true
            soft_cap = 15.0
            begin = "own-row"
            clip_norm = 1.0
            [optimizer]
            name = "muon"
            matrix_learning_rate = 0.02
            embedding_learning_rate = 0.02
            head_learning_rate = 0.005
            weight_decay = 0.0
            [schedule]
            name = "warmup-stable-decay"
            warmup = 0.02
            decay = 0.4
        "#;
        let paper = r#"
            norm = "post-layer"
            activation = "gelu"
            qk_norm = false
            biases = true
            scale_embeddings = true
            zero_outputs = false
            begin = "token-zero"
            [optimizer]
            name = "adam"
            learning_rate = 1e-4
            [schedule]
            name = "constant"
        "#;
        let read = |text: &str| toml::from_str::<Choices>(text);
        assert_eq!(read(paper), Ok(Recipe::Paper.row().choices));
        let modern = read(modern).expect("an early plan");
        // The row moves on; what these plans meant does not.
        let expected = Choices {
            matrix_learning_rate: 0.02,
            embedding_learning_rate: 0.02,
            head_learning_rate: 0.005,
            weight_decay: 0.0,
            warmup: 0.02,
            decay: 0.4,
            beta1: 0.8,
            ..modern
        };
        assert_eq!((modern, modern.optimizer), (expected, Optimizer::Muon));
        assert!(read(&paper.replace("adam", "sgd")).is_err());
    }
}
