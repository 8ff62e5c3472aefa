//! The state of the dashboard, for the thread that trains.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const SHOWN: u8 = 0;
const BROKEN: u8 = 1;
const KILLED: u8 = 2;

/// What has become of a dashboard.
#[derive(Clone, Debug, Default)]
pub(super) struct Watched(Arc<AtomicU8>);

impl Watched {
    /// Whether it was told to kill the training.
    pub(super) fn is_killed(&self) -> bool {
        self.0.load(Ordering::Relaxed) == KILLED
    }

    /// Whether it is still there.
    pub(super) fn is_shown(&self) -> bool {
        self.0.load(Ordering::Relaxed) == SHOWN
    }

    /// It was told to kill the training.
    pub(super) fn was_killed(&self) {
        self.becomes(KILLED);
    }

    /// It panicked.
    pub(super) fn has_broken(&self) {
        self.becomes(BROKEN);
    }

    fn becomes(&self, state: u8) {
        self.0.fetch_max(state, Ordering::Relaxed);
    }
}
