//! The project's own text, which is built in and always available.

/// The project's own text: `build.rs` packs it.
pub(super) static SOURCE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/source.txt"));
