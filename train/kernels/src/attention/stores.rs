//! Floating-point formats of the KV cache.

use super::super::aligned::Aligned;
use super::super::lanes::Lanes;

/// Floating-point numbers as a cache holds them.
pub(super) trait Store: Copy {
    type Number: Copy + Default;
    fn of(memory: &mut Aligned) -> &mut [Self::Number];
    /// # Safety
    /// Sixteen numbers must be there.
    unsafe fn load<L: Lanes>(lanes: L, from: *const Self::Number) -> L::Vector;
    /// # Safety
    /// There must be places for sixteen.
    unsafe fn save<L: Lanes>(lanes: L, vector: L::Vector, to: *mut Self::Number);
}

#[derive(Clone, Copy)]
pub(super) struct Singles;

impl Store for Singles {
    type Number = f32;

    fn of(memory: &mut Aligned) -> &mut [f32] {
        memory.as_mut_slice()
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(lanes: L, from: *const f32) -> L::Vector {
        // SAFETY: granted by the caller.
        unsafe { lanes.load(from) }
    }

    #[inline(always)]
    unsafe fn save<L: Lanes>(lanes: L, vector: L::Vector, to: *mut f32) {
        // SAFETY: granted by the caller.
        unsafe { lanes.store(to, vector) }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Halves;

impl Store for Halves {
    type Number = u16;

    fn of(memory: &mut Aligned) -> &mut [u16] {
        memory.as_mut_halves()
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(lanes: L, from: *const u16) -> L::Vector {
        // SAFETY: granted by the caller.
        unsafe { lanes.load_half(from) }
    }

    #[inline(always)]
    unsafe fn save<L: Lanes>(lanes: L, vector: L::Vector, to: *mut u16) {
        // SAFETY: granted by the caller.
        unsafe { lanes.store_half(to, vector) }
    }
}
