//! The bits that are removed from bytes before a network sees them, as in the paper's code.

use serde::{Deserialize, Serialize};

use crate::medium::Medium;

/// The bits that the paper's code removes from the bytes that a model sees, so that they are ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mask {
    /// Bytes that are not ASCII lose their highest bit; all other bytes of a text stay.
    Cleared,
    /// Every byte is shifted to the right by one.
    Shifted,
}

impl Mask {
    /// The mask of a medium: text keeps its letters, anything else the order of its values.
    #[must_use]
    pub fn of(medium: Medium) -> Self {
        if medium == Medium::Text { Self::Cleared } else { Self::Shifted }
    }

    /// A byte with the mask on it.
    #[must_use]
    pub fn apply(self, byte: u8) -> u8 {
        match self {
            Self::Cleared => byte & 0x7f,
            Self::Shifted => byte >> 1,
        }
    }
}

impl std::fmt::Display for Mask {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Cleared => "cleared",
            Self::Shifted => "shifted",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_medium_has_its_mask() {
        assert_eq!((Mask::Cleared.apply(0xe9), Mask::Shifted.apply(0xe9)), (0x69, 0x74));
        assert_eq!(Mask::of(Medium::Text), Mask::Cleared);
        assert_eq!(Mask::of(Medium::PATCHES), Mask::Shifted);
    }
}
