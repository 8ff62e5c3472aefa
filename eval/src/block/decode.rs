//! Decoding a block: every core takes the next stream when it has finished one. The result does not depend on which
//! core decodes what, or when.

use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::layout::split;
use super::steps::Steps;
use super::{BlockError, Layout, Pulse};
use crate::coder::Decoder;
use crate::predictor::Predictor;
use crate::quantize::RowTable;

/// Time between two pulses, for which all cores meet.
const TURN: Duration = Duration::from_millis(100);

/// Decodes what [`encode_block`](super::encode_block) coded with the same predictor and layout:
/// chunks of these lengths.
///
/// # Errors
/// As [`BlockError`] lists. Damaged bytes are an error, or garbage of these lengths.
pub fn decode_block(
    predictor: &dyn Predictor,
    layout: Layout,
    lengths: &[usize],
    payload: &[u8],
    pulse: &mut Pulse,
) -> Result<Vec<Vec<u32>>, BlockError> {
    let (longest, context) = (lengths.iter().copied().max().unwrap_or(0), predictor.context());
    if longest > context {
        return Err(BlockError::Context { tokens: longest, context });
    }
    let ranges = layout.streams(lengths.len());
    let parts = split(payload, ranges.len())?;
    let streams: Vec<Stream> = ranges.into_iter().zip(parts).collect();
    let queue = Queue { streams: &streams, lengths, layout, next: AtomicUsize::new(0) };
    let workers = rayon::current_num_threads().min(streams.len());
    let mut workers: Vec<Worker> = (0..workers)
        .map(|_| Worker {
            steps: Steps::new(predictor, longest),
            work: None,
            done: Vec::new(),
            tokens: 0,
        })
        .collect();
    while !workers.iter().all(|worker| worker.work.is_none() && queue.is_empty()) {
        let end = Instant::now() + TURN;
        workers.par_iter_mut().with_max_len(1).try_for_each(|worker| worker.turn(&queue, end))?;
        if pulse(workers.iter().map(|worker| worker.tokens).sum()).is_break() {
            return Err(BlockError::Stopped);
        }
    }
    let mut done: Vec<(usize, Vec<u32>)> =
        workers.into_iter().flat_map(|worker| worker.done).collect();
    done.sort_unstable_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, chunk)| chunk).collect())
}

/// The chunks of a stream, and its bytes.
type Stream<'a> = (Range<usize>, &'a [u8]);

/// The streams that wait for a core.
struct Queue<'a> {
    streams: &'a [Stream<'a>],
    lengths: &'a [usize],
    layout: Layout,
    next: AtomicUsize,
}

impl<'a> Queue<'a> {
    fn is_empty(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.streams.len()
    }

    fn take(&self) -> Option<&'a Stream<'a>> {
        self.streams.get(self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// What one core does.
struct Worker<'a> {
    steps: Steps<'a>,
    /// The stream in the middle of being decoded.
    work: Option<Work<'a>>,
    /// Finished chunks, by their place in the block.
    done: Vec<(usize, Vec<u32>)>,
    /// Tokens decoded.
    tokens: u64,
}

/// A stream in the middle of being decoded.
struct Work<'a> {
    decoder: Decoder<'a>,
    table: RowTable,
    /// Its chunks that have not been begun.
    rest: Range<usize>,
    /// Place of the current group's first chunk.
    first: usize,
    /// The current group.
    chunks: Vec<Vec<u32>>,
}

impl<'a> Worker<'a> {
    /// Decodes until that moment, or until there is nothing left.
    fn turn(&mut self, queue: &Queue<'a>, end: Instant) -> Result<(), BlockError> {
        while Instant::now() < end {
            let Some(work) = &mut self.work else {
                let Some((chunks, bytes)) = queue.take() else { break };
                self.work = Some(Work {
                    decoder: Decoder::new(bytes),
                    table: RowTable::default(),
                    rest: chunks.clone(),
                    first: chunks.start,
                    chunks: Vec::new(),
                });
                continue;
            };
            if work.step(&mut self.steps, &mut self.tokens)? {
                continue;
            }
            let places = work.first..;
            self.done.extend(places.zip(std::mem::take(&mut work.chunks)));
            if work.begin(queue, &mut self.steps)?.is_break()
                && let Some(work) = self.work.take()
            {
                work.decoder.finish()?;
            }
        }
        Ok(())
    }
}

impl<'a> Work<'a> {
    /// Begins the next group; a break after the last.
    fn begin(
        &mut self,
        queue: &Queue<'a>,
        steps: &mut Steps<'a>,
    ) -> Result<ControlFlow<()>, BlockError> {
        if self.rest.is_empty() {
            return Ok(ControlFlow::Break(()));
        }
        let end = self.rest.end.min(self.rest.start + queue.layout.group());
        let group = self.rest.start..end;
        (self.first, self.rest.start) = (group.start, end);
        self.chunks.resize(group.len(), Vec::new());
        steps.start(&queue.lengths[group])?;
        Ok(ControlFlow::Continue(()))
    }

    /// Decodes the next token of each chunk of the group; false if all have ended.
    fn step(&mut self, steps: &mut Steps<'a>, tokens: &mut u64) -> Result<bool, BlockError> {
        let Self { decoder, table, first, chunks, .. } = self;
        if chunks.is_empty() || !steps.next(|lane, position| chunks[lane][position])? {
            return Ok(false);
        }
        for (lane, row) in steps.present() {
            let (chunk, position) = (*first + lane, steps.position());
            let place = |source| BlockError::Row { chunk, position, source };
            table.fill(row).map_err(place)?;
            let (token, interval) =
                table.find(row, decoder.target(table.total())?).map_err(place)?;
            decoder.consume(interval);
            chunks[lane].push(token);
            *tokens += 1;
        }
        Ok(true)
    }
}
