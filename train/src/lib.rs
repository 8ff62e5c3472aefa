//! Placeholder while the workspace builds.
