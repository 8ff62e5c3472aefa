//! The codes of weights.

use serde::{Deserialize, Serialize};

use crate::recipe::Weights;

/// How weights are stored when their size counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightCode {
    /// IEEE single precision.
    F32,
    /// IEEE half precision: what runs are saved in, and so the code of a record that names none.
    F16,
    /// Whole numbers within ±127, with a scale for each output of a matrix, by the range coder. The network computes
    /// with them. (Records before these had a scale for each row, and stored them plainly.)
    Int8,
    /// The same within ±7, but for embeddings and head, which have 8 bits.
    Int4,
    /// The original form of `Int8`, compressed by LZMA2. It is only read, not written.
    Int8Xz,
}

impl WeightCode {
    /// Every code that weights can be put in, the largest first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Int8, Self::Int4];
    /// Every code that a record may have.
    pub const RECORDED: [Self; 5] = [Self::F32, Self::F16, Self::Int8, Self::Int8Xz, Self::Int4];

    /// As it is written on the command line and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
            Self::Int8Xz => "int8-xz",
        }
    }
}

/// The code in which weights of a recipe are saved.
impl From<Weights> for WeightCode {
    fn from(weights: Weights) -> Self {
        match weights {
            Weights::F16 => Self::F16,
            Weights::Int8 => Self::Int8,
            Weights::Int4 => Self::Int4,
        }
    }
}

impl std::fmt::Display for WeightCode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.name())
    }
}

impl std::str::FromStr for WeightCode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|code| code.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("`{text}` is not a code of weights: write {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_its_name() {
        for code in WeightCode::RECORDED {
            let made = WeightCode::ALL.contains(&code);
            assert_eq!(code.name().parse().ok(), made.then_some(code));
            let json = serde_json::to_string(&code).expect("a name serialises");
            assert_eq!(json, format!("\"{code}\""));
        }
        assert!("int3".parse::<WeightCode>().is_err());
    }
}
