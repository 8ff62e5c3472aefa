//! One share of a measurement of a network, so that several processes measure what would take one of them too long. A
//! share is a span of neighbouring groups of chunks. Groups do not depend on each other, and are the same ones however
//! they are shared out, so the shares together have the numbers of one process, to the last bit.

use std::ops::Range;
use std::path::Path;

use lmtrain_runs::sweep::Shard;

use super::network::{Measurement, in_memory, length_of};
use super::{MeasureError, MeasureOutcome, MeasureProgress, ProgressCallback};

impl Measurement<'_> {
    /// Measures what the journal does not hold of one share of the groups: of neighbouring ones. Each share writes a
    /// file of its own beside the journal; the last one to end finds everything in these, and has the numbers that one
    /// process would have.
    ///
    /// # Errors
    /// As [`MeasureError`] lists.
    pub fn run_share(
        &self,
        share: Shard,
        journal: &Path,
        progress: &mut ProgressCallback,
    ) -> Result<MeasureOutcome, MeasureError> {
        let cut = self.pieces()?;
        let groups: Vec<_> = (0_u64..).zip(cut.0.ranges.chunks(self.in_group())).collect();
        let of = groups.len() as u64;
        let held = share.span(of);
        let own = &groups[in_memory(held.start)..in_memory(held.end)];
        let mut found = self.open(Some(journal), share)?;
        let raw_bytes = own.iter().map(|(_, ranges)| length_of(ranges)).sum();
        let mut so_far = MeasureProgress { raw_bytes, ..Default::default() };
        for group in own {
            if self.step(*group, &cut, &mut found, &mut so_far, progress)?.is_none() {
                return Ok(MeasureOutcome::Stopped);
            }
        }
        // What the others have done meanwhile.
        let mut found = self.open(Some(journal), share)?;
        let is_missing = |(index, ranges): &&(u64, &[Range<u64>])| {
            found.take(*index).is_none_or(|group| group.raw_bytes() != length_of(ranges))
        };
        let missing: Vec<u64> = groups.iter().filter(is_missing).map(|(index, _)| *index).collect();
        if missing.is_empty() {
            return self.whole(&cut, Some(journal), progress);
        }
        let lacks = |share: &Shard| missing.iter().any(|index| share.span(of).contains(index));
        let shares = Shard::all(share.of).filter(lacks).collect();
        Ok(MeasureOutcome::Partial { missing: missing.len() as u64, of, shares })
    }
}
