//! Where, when and by which program a number was made.

use serde::{Deserialize, Serialize};

/// Where and by what a number was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Commit of the program, if it was built from a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Processor, cores and system.
    pub machine: String,
    /// What computed: `cpu`, or the GPU's name.
    pub device: String,
    /// Command line that made it.
    pub command: String,
}
