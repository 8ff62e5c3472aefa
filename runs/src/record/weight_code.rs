//! The codes of weights.

use serde::{Deserialize, Serialize};

/// How weights are stored where they count: what a model costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightCode {
    /// IEEE single precision.
    F32,
    /// IEEE half precision: what runs are saved in, and so the code of a record that names none.
    F16,
    /// Integers of 8 bits, with a half-precision scale for each row.
    Int8,
    /// The same, compressed by LZMA2.
    Int8Xz,
}

impl WeightCode {
    /// Every code, the largest first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Int8, Self::Int8Xz];

    /// As it is written on the command line and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Int8Xz => "int8-xz",
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
            format!("`{text}` is no code of weights: {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_its_name() {
        for code in WeightCode::ALL {
            assert_eq!(code.name().parse(), Ok(code));
            let json = serde_json::to_string(&code).expect("a name serialises");
            assert_eq!(json, format!("\"{code}\""));
        }
        assert!("int4".parse::<WeightCode>().is_err());
    }
}
