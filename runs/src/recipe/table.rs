//! The table of choices, used by `--set KEY=VALUE`, plans, names of runs, records and figures. To add a choice, add a
//! field to [`Choices`] (or [`Row`]), its value in the recipes' rows, a row in [`CHOICES`] with the field's name as its
//! key, and the code that uses it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::choices::Choices;

/// A recipe's row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Sequences of one forward and backward pass.
    pub batch: usize,
    /// Passes whose gradients make one step.
    pub accumulation: usize,
    /// The rest.
    #[serde(flatten)]
    pub choices: Choices,
}

/// One choice.
#[derive(Debug)]
pub struct Choice {
    /// The key on the command line: the field's name with `-` for `_`.
    pub key: &'static str,
    /// The key's short form in names of runs. It never changes.
    pub short: &'static str,
    /// Which values it takes.
    pub kind: Kind,
    /// Whether it also takes `off`.
    pub may_be_off: bool,
    /// What it is, in one line.
    pub about: &'static str,
}

/// Which values a choice takes.
#[derive(Debug)]
pub enum Kind {
    /// `true` or `false`.
    Truth,
    /// A whole number in this range, ends included.
    Count([u64; 2]),
    /// One of these whole numbers.
    CountOf(&'static [u64]),
    /// A number in this range, ends included.
    Number([f64; 2]),
    /// One of these words.
    Word(&'static [&'static str]),
}

const fn row(key: &'static str, short: &'static str, kind: Kind, about: &'static str) -> Choice {
    Choice { key, short, kind, may_be_off: false, about }
}

impl Choice {
    const fn or_off(self) -> Self {
        Self { may_be_off: true, ..self }
    }
}

/// A share of all steps.
const SHARE: Kind = Kind::Number([0.0, 1.0]);
/// A momentum.
const MOMENTUM: Kind = Kind::Number([0.0, 0.9999]);
/// A step size.
const RATE: Kind = Kind::Number([0.0, 100.0]);
/// A factor.
const FACTOR: Kind = Kind::Number([0.0, 100.0]);

/// Every choice, first those about the step, then the network, then the training.
pub const CHOICES: &[Choice] = &[
    row("batch", "b", Kind::Count([1, 1 << 20]), "sequences in a forward and backward pass"),
    row(
        "accumulation",
        "a",
        Kind::Count([1, 1 << 20]),
        "passes in an optimizer step; their gradients are combined",
    ),
    row(
        "norm",
        "n",
        Kind::Word(&["pre-rms", "post-layer"]),
        "RMSNorm before attention and MLP, or LayerNorm after them",
    ),
    row(
        "activation",
        "act",
        Kind::Word(&["squared-relu", "leaky-squared-relu", "gelu"]),
        "activation function of the MLP",
    ),
    row(
        "qk-norm",
        "qk",
        Kind::Truth,
        "RMSNorm of queries and keys, with a learned gain for each head",
    ),
    row("initial-gain", "ig", FACTOR, "initial value of qk-norm's gain"),
    row("biases", "bias", Kind::Truth, "biases in the MLP and the output head"),
    row("scale-embeddings", "se", Kind::Truth, "multiply the embeddings by √width"),
    row(
        "zero-outputs",
        "zo",
        Kind::Truth,
        "start the output head, and matrices that write to the residual stream, at zero",
    ),
    row("embedding-deviation", "ed", FACTOR, "initial standard deviation of the embeddings"),
    row(
        "matrix-scale",
        "ms",
        FACTOR,
        "initial standard deviation of the other matrices, in units of 1/√inputs",
    ),
    row(
        "soft-cap",
        "sc",
        Kind::Number([0.1, 1000.0]),
        "the c of the soft cap on logits, c · tanh(logit / c)",
    )
    .or_off(),
    row(
        "begin",
        "bg",
        Kind::Word(&["own-row", "token-zero"]),
        "begin token: one with an embedding of its own, or token 0",
    ),
    row(
        "head-size",
        "hs",
        Kind::CountOf(&[16, 32, 48, 64, 128]),
        "dimensions of an attention head; off: those of the size",
    )
    .or_off(),
    row(
        "rotary-dimensions",
        "rot",
        Kind::CountOf(&[4, 8, 16, 32, 64]),
        "dimensions of a head that RoPE rotates; off: all",
    )
    .or_off(),
    row("depth-scale", "ds", Kind::Truth, "divide the normalised input of the i-th block by √i"),
    row(
        "residual-scalars",
        "res",
        Kind::Truth,
        "each block reads a · stream + b · embedding, with learned a and b",
    ),
    row(
        "skips",
        "skip",
        Kind::Truth,
        "late blocks read a · stream + b · output of an early block, as in a U-Net",
    ),
    row(
        "embedding-convolution",
        "ec",
        Kind::Truth,
        "depthwise causal convolution over four tokens, of the embeddings",
    ),
    row("block-convolution", "bc", Kind::Truth, "the same convolution, of every block's input"),
    row("qkv-convolution", "qc", Kind::Truth, "the same convolution, of queries, keys and values"),
    row(
        "value-embeddings",
        "ve",
        Kind::Word(&["none", "alternate", "all"]),
        "blocks whose attention adds an embedding of the token to its values",
    ),
    row(
        "weights",
        "w",
        Kind::Word(&["f16", "int8", "int4"]),
        "number format that weights are trained for and saved in; int8, int4 round in training",
    ),
    row(
        "rounding-start",
        "rs",
        SHARE,
        "share of the steps before training rounds to int8 or int4; off: it rounds from the start",
    )
    .or_off(),
    row("optimizer", "opt", Kind::Word(&["muon", "adam"]), "optimizer of the blocks' matrices"),
    row("matrix-learning-rate", "mlr", RATE, "learning rate of the blocks' matrices"),
    row("embedding-learning-rate", "elr", RATE, "learning rate of the embedding table"),
    row("head-learning-rate", "hlr", RATE, "learning rate of the output head, gains and biases"),
    row("scalar-learning-rate", "slr", RATE, "learning rate of learned scalars and convolutions"),
    row("momentum", "mom", MOMENTUM, "momentum of Muon"),
    row("momentum-start", "momst", MOMENTUM, "momentum at the first step").or_off(),
    row(
        "momentum-warmup",
        "momwu",
        SHARE,
        "share of the steps that go from `momentum-start` to `momentum`",
    ),
    row("momentum-end", "momend", MOMENTUM, "momentum at the last step").or_off(),
    row(
        "momentum-cooldown",
        "momcd",
        SHARE,
        "share of the steps that go from `momentum` to `momentum-end`",
    ),
    row("beta1", "b1", MOMENTUM, "decay rate of Adam's first moment"),
    row("beta2", "b2", Kind::Number([0.0, 0.999_999]), "decay rate of Adam's second moment"),
    row(
        "epsilon",
        "eps",
        Kind::Number([0.0, 1.0]),
        "added to the square root of Adam's second moment",
    ),
    row(
        "weight-decay",
        "wd",
        Kind::Number([0.0, 100.0]),
        "weight decay of the blocks' matrices, multiplied by their learning rate",
    ),
    row(
        "weight-decay-schedule",
        "wds",
        Kind::Word(&["constant", "to-zero"]),
        "how weight decay changes over the steps, besides following the learning rate",
    ),
    row(
        "cautious-decay",
        "cwd",
        Kind::Truth,
        "decay only weights that the update makes smaller too",
    ),
    row("clip-norm", "clip", Kind::Number([1e-6, 1e6]), "maximum global norm of the gradient")
        .or_off(),
    row("warmup", "wu", SHARE, "share of the steps in which learning rates rise, at the beginning"),
    row("decay", "dec", SHARE, "share of the steps in which learning rates fall, at the end"),
    row("decay-form", "decf", Kind::Word(&["linear", "root", "cosine"]), "shape of that fall"),
    row("decay-floor", "decfl", SHARE, "fraction of the learning rates that they fall to"),
    row(
        "average",
        "ema",
        Kind::Number([0.5, 0.99999]),
        "validate and save a running mean of the weights with this decay rate",
    )
    .or_off(),
];

/// The choice of this key.
///
/// # Errors
/// If there is none: a sentence that names similar ones.
pub fn choice(key: &str) -> Result<&'static Choice, String> {
    CHOICES.iter().find(|choice| choice.key == key).ok_or_else(|| {
        let likeness = |choice: &Choice| match choice.key.contains(key) && key.len() > 2 {
            true => 1.0,
            false => strsim::jaro_winkler(choice.key, key),
        };
        let mut near: Vec<_> =
            CHOICES.iter().map(|choice| (likeness(choice), choice.key)).collect();
        near.retain(|(likeness, _)| *likeness > 0.8);
        near.sort_by(|one, other| other.0.total_cmp(&one.0));
        let near: Vec<String> = near.iter().take(3).map(|(_, key)| format!("`{key}`")).collect();
        let near = match near.is_empty() {
            true => String::new(),
            false => format!("similar ones are {}; ", near.join(", ")),
        };
        format!("there is no choice `{key}`; {near}`lmtrain recipes` prints them all")
    })
}

impl Choice {
    /// Parses a value of this choice.
    ///
    /// # Errors
    /// If the value is not allowed: a sentence that says which are.
    pub fn read(&self, text: &str) -> Result<Value, String> {
        let value = match &self.kind {
            _ if self.may_be_off && text == "off" => Some(Value::Null),
            Kind::Truth => text.parse().ok().map(Value::Bool),
            Kind::Count([least, most]) => {
                text.parse().ok().filter(|count| (least..=most).contains(&count)).map(u64::into)
            }
            Kind::CountOf(counts) => {
                text.parse().ok().filter(|count| counts.contains(count)).map(u64::into)
            }
            Kind::Number([least, most]) => {
                let number = text.parse().ok().filter(|number| (least..=most).contains(&number));
                number.and_then(serde_json::Number::from_f64).map(Value::Number)
            }
            Kind::Word(words) => words.contains(&text).then(|| text.into()),
        };
        value.ok_or_else(|| format!("`{}` must be {}, not `{text}`", self.key, self.range()))
    }

    /// The allowed values, in words.
    #[must_use]
    pub fn range(&self) -> String {
        let any = |texts: &[String]| texts.join(" or ");
        let mut range = match &self.kind {
            Kind::Truth => "true or false".to_owned(),
            Kind::Count([least, most]) => format!("a whole number from {least} to {most}"),
            Kind::CountOf(counts) => any(&counts.iter().map(u64::to_string).collect::<Vec<_>>()),
            Kind::Number([least, most]) => format!("a number from {least} to {most}"),
            Kind::Word(words) => any(&words.iter().map(ToString::to_string).collect::<Vec<_>>()),
        };
        if self.may_be_off {
            range += " or off";
        }
        range
    }

    /// Whether its values are numbers, and so can be an axis.
    #[must_use]
    pub fn is_numeric(&self) -> bool {
        matches!(self.kind, Kind::Count(_) | Kind::CountOf(_) | Kind::Number(_))
    }

    fn field(&self) -> String {
        self.key.replace('-', "_")
    }
}

/// A value as the command line writes it: the inverse of [`Choice::read`].
#[must_use]
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "off".to_owned(),
        Value::String(word) => word.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(small) if small != 0.0 && small.abs() < 1e-4 => format!("{small:e}"),
            Some(number) => number.to_string(),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A choice with its value: `KEY=VALUE`.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Which choice.
    pub choice: &'static Choice,
    /// Its value.
    pub value: Value,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=');
        let (key, value) = parts.ok_or("write a choice as KEY=VALUE")?;
        let choice = choice(key)?;
        Ok(Self { choice, value: choice.read(value)? })
    }
}

impl Row {
    /// The value of a choice.
    #[must_use]
    pub fn get(&self, choice: &Choice) -> Value {
        self.fields().remove(&choice.field()).unwrap_or_default()
    }

    /// The row with other choices.
    ///
    /// # Errors
    /// If a choice is set twice, or two cannot be combined.
    pub fn with(&self, settings: &[Setting]) -> Result<Self, String> {
        let mut fields = self.fields();
        for (index, Setting { choice, value }) in settings.iter().enumerate() {
            if settings[..index].iter().any(|other| other.choice.key == choice.key) {
                return Err(format!("`{}` is set twice", choice.key));
            }
            fields.insert(choice.field(), value.clone());
        }
        let row: Self =
            serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())?;
        row.choices.check().map(|()| row)
    }

    /// The choices in which it differs from another row, with its own values, in the table's order.
    #[must_use]
    pub fn beside(&self, other: &Self) -> Vec<Setting> {
        let (mut own, other) = (self.fields(), other.fields());
        let differing = CHOICES.iter().filter_map(|choice| {
            let field = choice.field();
            let differs = own.get(&field) != other.get(&field);
            differs.then(|| Setting { choice, value: own.remove(&field).unwrap_or_default() })
        });
        differing.collect()
    }

    fn fields(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    #[test]
    fn every_field_has_a_row_and_every_row_a_field() {
        let mut shorts: Vec<&str> = CHOICES.iter().map(|choice| choice.short).collect();
        shorts.sort_unstable();
        shorts.dedup();
        assert_eq!(shorts.len(), CHOICES.len(), "short names tell choices apart");
        let all: Vec<String> = CHOICES.iter().map(Choice::field).collect();
        for row in Recipe::ALL.map(Recipe::row) {
            let fields = row.fields();
            assert!(fields.keys().all(|field| all.contains(field)), "{fields:?}");
            for choice in CHOICES {
                let value = row.get(choice);
                let is_there = fields.contains_key(&choice.field());
                assert!(is_there || (choice.may_be_off && value.is_null()), "{}", choice.key);
                assert_eq!(choice.read(&text(&value)), Ok(value), "{}", choice.key);
            }
        }
    }

    #[test]
    fn every_value_that_is_read_is_one_of_its_field() {
        // With one norm or the other every other choice is possible.
        let norms = ["norm=post-layer", "norm=pre-rms"].map(|norm| {
            let settings = [norm, "block-convolution=false"];
            let settings = settings.map(|it| it.parse::<Setting>().expect("a setting"));
            Recipe::Modern.row().with(&settings).expect("a row")
        });
        for choice in CHOICES {
            let texts: Vec<String> = match &choice.kind {
                Kind::Truth => vec!["true".into(), "false".into()],
                Kind::Count(ends) => ends.iter().map(u64::to_string).collect(),
                Kind::CountOf(counts) => counts.iter().map(u64::to_string).collect(),
                Kind::Number(ends) => ends.iter().map(f64::to_string).collect(),
                Kind::Word(words) => words.iter().map(ToString::to_string).collect(),
            };
            let off = choice.may_be_off.then(|| "off".to_owned());
            for text in texts.into_iter().chain(off) {
                let setting: Setting = format!("{}={text}", choice.key).parse().expect("a value");
                let with =
                    |norm| Some((norm, Row::with(norm, std::slice::from_ref(&setting)).ok()?));
                let (norm, row) = norms.iter().find_map(with).expect("a row");
                assert_eq!(row.get(choice), setting.value, "{text}");
                let differences = row.beside(norm);
                assert!(differences.len() <= 1);
                assert!(differences.iter().all(|other| other.choice.key == choice.key));
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, parts) in [
            ("matrix-lerning-rate=1", vec!["matrix-lerning-rate", "`matrix-learning-rate`"]),
            ("learning-rate=1", vec!["`matrix-learning-rate`", "`head-learning-rate`"]),
            ("xyz=1", vec!["lmtrain recipes"]),
            ("beta1=1.5", vec!["beta1", "1.5", "0 to 0.9999"]),
            ("beta1=NaN", vec!["beta1"]),
            ("head-size=20", vec!["16 or 32", "off"]),
            ("norm=rms", vec!["pre-rms or post-layer"]),
            ("biases=off", vec!["true or false"]),
            ("batch", vec!["KEY=VALUE"]),
        ] {
            let error = text.parse::<Setting>().expect_err(text);
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
        let setting: Setting = "beta1=0.5".parse().expect("a setting");
        let twice = Recipe::Modern.row().with(&[setting.clone(), setting]);
        assert!(twice.is_err_and(|error| error.contains("beta1")));
        let biased: Setting = "biases=true".parse().expect("a setting");
        let together = Recipe::Modern.row().with(&[biased]);
        assert!(together.is_err_and(|error| error.contains("norm=post-layer")));
    }
}
