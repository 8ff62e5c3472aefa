//! The precision of matrix products: exact f32, or bf16 as in mixed-precision training (Micikevicius et al., arXiv
//! 1710.03740).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The precision of matrix products, and of the values kept for the backward pass. Weights, optimizer state, norms,
/// soft-max and loss are f32 in both cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit: all that the processor knows.
    #[default]
    F32,
    /// 16-bit with the exponent of f32, on a GPU.
    Bf16,
}

impl Precision {
    /// Whether it is [`Precision::F32`], which plans leave out.
    #[must_use]
    pub fn is_f32(&self) -> bool {
        *self == Self::F32
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(format!("`{text}` is not a precision: write f32 or bf16")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_to_themselves() {
        for precision in [Precision::F32, Precision::Bf16] {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        assert!("fp16".parse::<Precision>().is_err());
    }
}
