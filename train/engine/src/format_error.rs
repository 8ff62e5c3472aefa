//! Errors in a file of weights.

/// What is wrong with a file of tensors.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FormatError(pub String);
