//! Distributing work over threads: always by outputs, never within a sum, so that no result depends on the number of
//! threads.

use rayon::prelude::*;
use std::cell::Cell;

/// Work below this many multiply-adds (or their like) stays on the calling thread: waking another costs more.
const SERIAL_WORK: usize = 200_000;

/// A pointer that threads share to write disjoint places.
#[derive(Clone, Copy)]
pub(super) struct Shared(*mut f32);

// SAFETY: the tasks that share it write disjoint places; each use says why.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Shares a slice for as long as the caller keeps its exclusive borrow.
    pub(super) fn new(slice: &mut [f32]) -> Self {
        Shared(slice.as_mut_ptr())
    }

    /// The start of the slice.
    pub(super) fn pointer(self) -> *mut f32 {
        self.0
    }

    /// A part of the slice.
    ///
    /// # Safety
    /// The part must lie inside the slice, and no other task may touch it meanwhile.
    pub(super) unsafe fn part<'a>(self, start: usize, length: usize) -> &'a mut [f32] {
        // SAFETY: granted by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), length) }
    }

    /// Writes one place.
    ///
    /// # Safety
    /// The place must lie inside the slice, and no other task may touch it meanwhile.
    pub(super) unsafe fn write(self, index: usize, value: f32) {
        // SAFETY: granted by the caller.
        unsafe { *self.0.add(index) = value };
    }
}

thread_local! {
    /// Whether `on_this_thread` is running here.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` so that the kernels that it calls stay on this thread.
///
/// For callers that already run many of these in parallel, one sequence or group of sequences on each thread: the data
/// that a sequence passes from kernel to kernel then stay in one core's cache. The bits are the same.
pub fn on_this_thread<R>(work: impl FnOnce() -> R) -> R {
    /// Puts the former state back, after a panic too.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _restore = Restore(ALONE.replace(true));
    work()
}

/// How many threads a kernel called here may use.
pub(super) fn threads() -> usize {
    if ALONE.get() { 1 } else { rayon::current_num_threads() }
}

/// Runs `task` for 0..count, over the threads of the pool when `work` (multiply-adds in all) is worth it.
pub(super) fn for_each(count: usize, work: usize, task: impl Fn(usize) + Sync + Send) {
    if count <= 1 || work < SERIAL_WORK || threads() == 1 {
        (0..count).for_each(task);
    } else {
        (0..count).into_par_iter().with_max_len(1).for_each(task);
    }
}

/// How many pieces to cut `count` units of work into: a few a thread, so that they end together.
pub(super) fn pieces(count: usize, work: usize) -> usize {
    let threads = threads();
    if threads == 1 || work < SERIAL_WORK { 1 } else { count.min(threads * 4) }
}

/// The bounds of piece `index` when `count` units are cut into `pieces`.
pub(super) fn piece(index: usize, pieces: usize, count: usize) -> std::ops::Range<usize> {
    index * count / pieces..(index + 1) * count / pieces
}

/// Runs `task` on the pieces of 0..count.
pub(super) fn for_pieces(
    count: usize,
    work: usize,
    task: impl Fn(std::ops::Range<usize>) + Sync + Send,
) {
    let pieces = pieces(count, work);
    for_each(pieces, work, |index| task(piece(index, pieces, count)));
}

#[cfg(test)]
mod tests {
    use super::super::testing::in_pool;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn pieces_cover_everything_once() {
        for count in [0, 1, 7, 100] {
            for threads in [1, 2, 7] {
                let seen: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                in_pool(threads, || {
                    for_pieces(count, SERIAL_WORK, |piece| {
                        piece.for_each(|i| {
                            seen[i].fetch_add(1, Ordering::Relaxed);
                        });
                    });
                });
                assert!(seen.iter().all(|times| times.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn work_on_this_thread_stays_there() {
        in_pool(3, || {
            let here = std::thread::current().id();
            on_this_thread(|| {
                for_each(100, usize::MAX, |_| assert_eq!(std::thread::current().id(), here));
            });
            assert_eq!(threads(), 3);
        });
    }
}
