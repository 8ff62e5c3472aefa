//! Memory aligned to cache lines, since a vector that crosses two lines takes two loads.

use super::lanes::LANES;
use std::cell::RefCell;

/// One cache line of 64 bytes.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

/// A growable buffer of `f32` that starts on a cache line.
#[derive(Clone, Default)]
pub(super) struct Aligned {
    lines: Vec<Line>,
    length: usize,
}

impl Aligned {
    /// A buffer of zeros.
    pub(super) fn zeros(length: usize) -> Self {
        Aligned { lines: vec![Line([0.0; LANES]); length.div_ceil(LANES)], length }
    }

    /// The numbers.
    pub(super) fn as_slice(&self) -> &[f32] {
        // SAFETY: a line is 16 `f32` without padding, and there are at least `length` of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }

    /// The same memory as numbers of 16 bits, two for each `f32`.
    pub(super) fn as_halves(&self) -> &[u16] {
        // SAFETY: as above; any bits are a `u16`, whose alignment is less.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), 2 * self.length) }
    }

    /// The same memory as numbers of 16 bits, to write.
    pub(super) fn as_mut_halves(&mut self) -> &mut [u16] {
        // SAFETY: as above; the borrow is exclusive, and any bits are an `f32`.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), 2 * self.length) }
    }

    /// The same memory as whole numbers of 8 bits, four for each `f32`.
    pub(super) fn as_bytes(&self) -> &[i8] {
        // SAFETY: as above; any bits are an `i8`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), 4 * self.length) }
    }

    /// The same memory as whole numbers of 8 bits, to write.
    pub(super) fn as_mut_bytes(&mut self) -> &mut [i8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), 4 * self.length) }
    }

    /// The numbers, to write.
    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

thread_local! {
    /// This thread's scratch memory, kept from call to call: fresh pages cost more than the work in them.
    static SCRATCH: RefCell<Aligned> = RefCell::default();
}

/// Runs `work` with scratch memory of this thread, one slice for each length, with whatever was left there.
///
/// Each slice starts on a cache line. `work` must not ask for scratch itself, nor wait for other tasks.
pub(super) fn with_scratch<const N: usize, R>(
    lengths: [usize; N],
    work: impl FnOnce([&mut [f32]; N]) -> R,
) -> R {
    let padded = lengths.map(|length| length.next_multiple_of(LANES));
    // A few lines between the parts: at equal offsets of a page, loads would wait for stores to other parts.
    const GAP: usize = 5 * LANES;
    SCRATCH.with_borrow_mut(|scratch| {
        let total = padded.iter().map(|length| length + GAP).sum();
        if scratch.length < total {
            *scratch = Aligned::zeros(total);
        }
        let mut rest = scratch.as_mut_slice();
        let parts = padded.map(|length| {
            let (part, after) = std::mem::take(&mut rest).split_at_mut(length);
            rest = &mut after[GAP..];
            part
        });
        work(parts)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_aligned_and_apart() {
        with_scratch([5, 0, 40], |parts| {
            assert_eq!(parts.each_ref().map(|part| part.len()), [16, 0, 48]);
            for part in &parts {
                assert!((part.as_ptr() as usize).is_multiple_of(64));
            }
        });
        let mut numbers = Aligned::zeros(17);
        numbers.as_mut_slice()[16] = 1.0;
        assert_eq!(numbers.as_slice().iter().sum::<f32>(), 1.0);
    }
}
