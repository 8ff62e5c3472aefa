//! The peak speed: multiply-adds on registers and nothing else. No kernel does more floating-point operations per
//! second, since its operations are the same and it must read and write memory too.

use std::hint::black_box;

use super::factors::{Factors, Numbers, Pairs, Singles};
use super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::level;

/// Vectors that are added to side by side, so that none waits for its last sum; as many as the registers hold.
const NARROW: usize = 6;
const WIDE: usize = 12;

/// Does about this many floating-point operations on this thread, at the kernels' SIMD level; returns their exact
/// number, counting an addition and a multiplication for each lane of each multiply-add.
pub fn multiply_adds(factors: Factors, operations: u64) -> u64 {
    match factors {
        Factors::Single => dispatch(level::current(), MultiplyAdds(Singles, operations)),
        Factors::Bfloat => dispatch(level::current(), MultiplyAdds(Pairs, operations)),
    }
}

struct MultiplyAdds<N>(N, u64);

impl<N: Numbers> Kernel for MultiplyAdds<N> {
    type Output = u64;
    const PAIRS: bool = N::IN_PLACE == 2;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> u64 {
        let MultiplyAdds(_, operations) = self;
        if L::WIDE {
            chains::<L, N, WIDE>(lanes, operations)
        } else {
            chains::<L, N, NARROW>(lanes, operations)
        }
    }
}

#[inline(always)]
fn chains<L: Lanes, N: Numbers, const CHAINS: usize>(lanes: L, operations: u64) -> u64 {
    let each = (2 * LANES * CHAINS * N::IN_PLACE) as u64;
    let rounds = operations.div_ceil(each);
    // Sums that grow slowly; all different, or they would be computed once.
    let place = |number: f32| N::place(lanes, &[lanes.splat(black_box(number)); 2]);
    let (factor, other) = (place(0.5), place(0.25));
    let mut sums: [L::Vector; CHAINS] =
        std::array::from_fn(|chain| lanes.splat(black_box(chain as f32)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = N::fma(lanes, factor, other, *sum);
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
            for (factors, operations) in [0, 1, 10_000]
                .into_iter()
                .flat_map(|n| [(Factors::Single, n), (Factors::Bfloat, n)])
            {
                let done = with_level(level, || multiply_adds(factors, operations));
                assert!((operations..operations + 800).contains(&done), "{level}: {done}");
            }
        }
    }
}
