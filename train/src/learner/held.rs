//! Locking what several threads share.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Holds what a thread that panicked may have held before.
pub(super) fn held<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
