//! Multiply-adds in registers, and nothing else: no kernel does more floating-point operations a second, since
//! each of theirs is one of these, with something to read and to write besides.

use std::hint::black_box;

use super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::level;

/// Vectors that are added to side by side, so that none waits for its last sum; as many as the registers hold.
const NARROW: usize = 6;
const WIDE: usize = 12;

/// Does about so many floating-point operations on this thread, at the level of the kernels; gives how many they
/// were: an addition and a multiplication for each lane of each multiply-add.
pub fn multiply_adds(operations: u64) -> u64 {
    dispatch(level::current(), MultiplyAdds { operations })
}

struct MultiplyAdds {
    operations: u64,
}

impl Kernel for MultiplyAdds {
    type Output = u64;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> u64 {
        if L::WIDE {
            chains::<L, WIDE>(lanes, self.operations)
        } else {
            chains::<L, NARROW>(lanes, self.operations)
        }
    }
}

#[inline(always)]
fn chains<L: Lanes, const N: usize>(lanes: L, operations: u64) -> u64 {
    let each = (2 * LANES * N) as u64;
    let rounds = operations.div_ceil(each);
    // Sums of a geometric series, which stay near 2; all different, or they would be computed once.
    let (factor, term) = (lanes.splat(black_box(0.5)), lanes.splat(black_box(1.0)));
    let mut sums: [L::Vector; N] =
        std::array::from_fn(|chain| lanes.splat(black_box(chain as f32)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = lanes.fma(*sum, factor, term);
        }
    }
    for sum in sums {
        black_box(lanes.array(sum));
    }
    rounds * each
}

#[cfg(test)]
mod tests {
    use super::super::level::{Level, with_level};
    use super::*;

    #[test]
    fn as_many_as_were_asked_for_are_done_at_every_level() {
        for level in Level::all_available() {
            for operations in [0, 1, 10_000] {
                let done = with_level(level, || multiply_adds(operations));
                assert!((operations..operations + 400).contains(&done), "{level}: {done}");
            }
        }
    }
}
