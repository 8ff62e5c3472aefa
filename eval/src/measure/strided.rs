//! Overlapping windows (the paper's option (i), section 2.2, which it leaves out for its cost): each token counts once,
//! and all tokens after the first window have at least (window − stride) tokens of context.

use std::ops::Range;

/// The range of tokens that each window measures: all of the first window, and the `stride` new ones of every other.
pub(super) fn coded(tokens: usize, window: usize, stride: usize) -> Vec<Range<usize>> {
    let first = window.min(tokens);
    let rest = (first..tokens).step_by(stride.max(1));
    let rest = rest.map(|start| start..tokens.min(start.saturating_add(stride.max(1))));
    std::iter::once(0..first).filter(|first| !first.is_empty()).chain(rest).collect()
}

/// The tokens of the window that codes these: they are its last ones.
pub(super) fn window_of(coded: &Range<usize>, window: usize) -> Range<usize> {
    coded.end.saturating_sub(window)..coded.end
}

/// The tokens that a chunk is predicted in, of which the first are only read: another chunk codes them.
pub(super) struct Text {
    pub(super) tokens: Vec<u32>,
    pub(super) before: usize,
}

impl Text {
    /// The token ranges that are predicted from an empty context each, and how many of their first tokens are only
    /// context; those fit into the context.
    pub(super) fn pieces(&self, context: usize) -> impl Iterator<Item = (&[u32], usize)> {
        let before = self.before;
        self.tokens.chunks(context).map(move |piece| (piece, before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn windows_follow_each_other_by_a_stride() {
        assert_eq!(coded(10, 4, 3), [0..4, 4..7, 7..10]);
        assert_eq!(coded(11, 4, 3), [0..4, 4..7, 7..10, 10..11]);
        assert_eq!((coded(3, 4, 3).len(), coded(3, 4, 3)[0].clone()), (1, 0..3));
        assert!(coded(0, 4, 3).is_empty());
        assert_eq!([4..7, 10..11].map(|it| window_of(&it, 4)), [3..7, 7..11]);
    }

    proptest! {
        #[test]
        fn every_token_is_coded_once_after_enough(
            tokens in 0_usize..500, window in 1_usize..60, share in 0.0..1.0_f64,
        ) {
            let stride = ((window as f64 * share) as usize).max(1);
            let coded = coded(tokens, window, stride);
            let all: Vec<usize> = coded.iter().cloned().flatten().collect();
            prop_assert_eq!(all, (0..tokens).collect::<Vec<_>>());
            for coded in coded {
                let of = window_of(&coded, window);
                prop_assert!(of.len() <= window && of.start <= coded.start && of.end == coded.end);
                let before = coded.start - of.start;
                prop_assert!(of.start == 0 || before >= window - stride);
            }
        }
    }
}
