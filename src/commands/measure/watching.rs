//! Showing the progress of a measurement, and its result.

use std::ops::ControlFlow;

use lmtrain_corpora::Corpus;
use lmtrain_eval::measure::{Draw, MeasureProgress};
use lmtrain_runs::Span;

use crate::context::Context;
use crate::progress::ShownProgress;

/// Bytes of a corpus whose memory is released together.
const GIVEN_BACK_AT_ONCE: u64 = 16 << 20;

/// Releases the memory of a corpus's bytes that have been measured, up to this one; not if chunks are drawn from all
/// over it.
pub(super) fn giving_back(
    corpus: &Corpus,
    span: Span,
    sample: Option<Draw>,
) -> impl FnMut(u64) + '_ {
    let mut given_back = span.start;
    move |end| {
        if sample.is_none() && end >= given_back + GIVEN_BACK_AT_ONCE {
            corpus.release(Span { start: given_back, end });
            given_back = end;
        }
    }
}

/// Shows how far a measurement is, and whether to go on.
pub(super) fn tell(
    shown: &mut ShownProgress,
    progress: MeasureProgress,
    context: &Context,
) -> ControlFlow<()> {
    let rate = if progress.raw_bytes_done > 0 {
        format!("{:.4} bits/byte", progress.bits / progress.raw_bytes_done as f64)
    } else {
        String::new()
    };
    shown.update(progress.raw_bytes_done, Some(progress.raw_bytes), &rate);
    if context.is_stopping() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
