//! Blocks of keys in a cached step: which ones are visible, and prefetching the next ones.

use super::super::lanes::{LANES, Lanes, prefetch};
use super::KEY_BLOCK;
use super::forward_tile::numbered;

/// Score vectors of a block of keys.
pub(super) const PARTS: usize = KEY_BLOCK / LANES;
/// Keys of a sequence, in bytes, from which on they are asked for ahead of their use: fewer are near anyway. (At
/// 512 KiB, 3.2M parameters, asking gains a twelfth; at 128 KiB, 200K, nothing.)
pub(super) const FAR: usize = 256 << 10;

/// Asks for so many numbers from two places on.
///
/// What a sequence holds goes through the caches once a step, and processors that read ahead by themselves stop at
/// every page. So the keys of the heads that follow are asked for before those of these, and values as many.
#[inline(always)]
pub(super) fn ask_for<T>(places: [*const T; 2], count: usize) {
    for at in (0..count).step_by(64 / size_of::<T>()) {
        places.into_iter().for_each(|place| prefetch(place.wrapping_add(at)));
    }
}

/// The scores of a block's sixteen keys `part`, with −∞ for those that are not seen.
#[inline(always)]
pub(super) fn only<L: Lanes>(
    lanes: L,
    score: L::Vector,
    part: usize,
    seen: &std::ops::Range<usize>,
) -> L::Vector {
    let (mut score, first, none) = (score, (part * LANES) as f32, lanes.splat(f32::NEG_INFINITY));
    if (part + 1) * LANES > seen.end {
        let end = lanes.splat(seen.end as f32 - first);
        score = lanes.select_greater(end, numbered(lanes), score, none);
    }
    if part * LANES < seen.start {
        let start = lanes.splat(seen.start as f32 - first);
        score = lanes.select_greater(start, numbered(lanes), none, score);
    }
    score
}
