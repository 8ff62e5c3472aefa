//! Batches: which tokens train at which step, a pure function of (seed, step). A pass over the data
//! cuts it into sequences that do not overlap, and takes each once in an order of its own.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use lmtrain_corpora::{Corpus, Encoded};
use lmtrain_runs::Plan;
use lmtrain_runs::random::SplitMix64;

use crate::TrainError;

/// A long row of tokens to train or validate on.
pub trait Tokens: Send + Sync {
    /// Number of tokens.
    fn count(&self) -> usize;

    /// Raw bytes that they stand for.
    fn raw_bytes(&self) -> u64;

    /// Raw bytes that `count` of them from `start` on stand for.
    fn raw_bytes_of(&self, start: usize, count: usize) -> u64;

    /// Copies the tokens from `start` on.
    fn read(&self, start: usize, tokens: &mut [i32]);
}

/// A range of a corpus, each byte a token.
pub struct ByteTokens {
    corpus: Arc<Corpus>,
    range: Range<usize>,
}

impl ByteTokens {
    /// The bytes of `range`.
    ///
    /// # Panics
    /// If the range ends after the corpus.
    #[must_use]
    pub fn new(corpus: Arc<Corpus>, range: Range<usize>) -> Self {
        assert!(range.end <= corpus.bytes().len(), "a range within the corpus");
        Self { corpus, range }
    }
}

impl Tokens for ByteTokens {
    fn count(&self) -> usize {
        self.range.len()
    }

    fn raw_bytes(&self) -> u64 {
        self.range.len() as u64
    }

    fn raw_bytes_of(&self, _start: usize, count: usize) -> u64 {
        count as u64
    }

    fn read(&self, start: usize, tokens: &mut [i32]) {
        let from = self.range.start + start;
        let bytes = &self.corpus.bytes()[from..from + tokens.len()];
        for (token, byte) in tokens.iter_mut().zip(bytes) {
            *token = i32::from(*byte);
        }
    }
}

impl Tokens for Encoded {
    fn count(&self) -> usize {
        self.count()
    }

    fn raw_bytes(&self) -> u64 {
        self.raw_bytes()
    }

    fn raw_bytes_of(&self, start: usize, count: usize) -> u64 {
        self.raw_bytes_of(start, count)
    }

    fn read(&self, start: usize, tokens: &mut [i32]) {
        let encoded = self.tokens(start, tokens.len());
        for (token, encoded) in tokens.iter_mut().zip(encoded) {
            *token = encoded.cast_signed();
        }
    }
}

/// Sequences side by side.
#[derive(Clone, Debug)]
pub struct Batch<B: Backend> {
    /// [batch, time]: the begin token, then all targets but the last.
    pub inputs: Tensor<B, 2, Int>,
    /// [batch, time].
    pub targets: Tensor<B, 2, Int>,
}

impl<B: Backend> Batch<B> {
    /// The batch of these sequences of `time` tokens, [batch · time], each from its begin token.
    #[must_use]
    pub fn new(begin_token: u32, targets: Vec<i32>, time: usize, device: &B::Device) -> Self {
        let mut inputs = targets.clone();
        for sequence in inputs.chunks_exact_mut(time) {
            sequence.copy_within(..time - 1, 1);
            sequence[0] = begin_token.cast_signed();
        }
        let shape = [targets.len() / time, time];
        let tensor = |tokens| Tensor::from_data(TensorData::new(tokens, shape), device);
        Self { inputs: tensor(inputs), targets: tensor(targets) }
    }
}

/// The order of the training data.
pub struct Batches {
    tokens: Arc<dyn Tokens>,
    seed: u64,
    context: usize,
    batch: usize,
    accumulation: usize,
    begin_token: u32,
    sequences_per_pass: u64,
}

impl Batches {
    /// The batches of a plan.
    ///
    /// # Errors
    /// [`TrainError::TooShort`] if the data do not fill one sequence.
    pub fn new(plan: &Plan, tokens: Arc<dyn Tokens>) -> Result<Self, TrainError> {
        let (count, context) = (tokens.count(), plan.context);
        if count < context {
            return Err(TrainError::TooShort { tokens: count, context });
        }
        // Later passes start at a shift below one sequence, which must fit as well.
        let sequences_per_pass = ((count - context) / context).max(1) as u64;
        Ok(Self {
            tokens,
            seed: plan.seed,
            context,
            batch: plan.batch,
            accumulation: plan.accumulation,
            begin_token: plan.begin_token(),
            sequences_per_pass,
        })
    }

    /// Forward passes of a step.
    #[must_use]
    pub fn accumulation(&self) -> usize {
        self.accumulation
    }

    /// Whether every sequence of this step is seen for the first time.
    #[must_use]
    pub fn is_fresh(&self, step: u64) -> bool {
        let sequences = (self.batch * self.accumulation) as u64;
        (step + 1) * sequences <= self.sequences_per_pass
    }

    /// The batch of one forward pass: `part` of `accumulation` of a step, both from 0.
    #[must_use]
    pub fn get<B: Backend>(&self, step: u64, part: usize, device: &B::Device) -> Batch<B> {
        let first = (step * self.accumulation as u64 + part as u64) * self.batch as u64;
        let mut targets = vec![0; self.batch * self.context];
        for (lane, sequence) in targets.chunks_exact_mut(self.context).enumerate() {
            self.tokens.read(self.start(first + lane as u64), sequence);
        }
        Batch::new(self.begin_token, targets, self.context, device)
    }

    /// Where the sequence of this number starts.
    fn start(&self, sequence: u64) -> usize {
        let (pass, index) =
            (sequence / self.sequences_per_pass, sequence % self.sequences_per_pass);
        let spare = self.tokens.count() as u64 - self.sequences_per_pass * self.context as u64;
        let shift = match pass {
            0 => 0,
            _ => SplitMix64::stream(self.seed, 2 * pass)
                .below(spare.min(self.context as u64) + u64::from(spare == 0)),
        };
        let place = permuted(index, self.sequences_per_pass, self.seed, pass);
        usize::try_from(shift + place * self.context as u64).expect("within the tokens")
    }
}

/// The place of `index` in a random order of `count` things: a Feistel network of four rounds over
/// the next even number of bits, walked until it falls below `count` (Black & Rogaway, "Ciphers
/// with arbitrary finite domains", 2002). No table, whatever the count.
fn permuted(index: u64, count: u64, seed: u64, pass: u64) -> u64 {
    let half = (64 - count.leading_zeros()).div_ceil(2).max(1);
    let mask = (1 << half) - 1;
    let mut keys = SplitMix64::stream(seed, 2 * pass + 1);
    let keys: [u64; 4] = std::array::from_fn(|_| keys.next_u64());
    let mut place = index;
    loop {
        let (mut left, mut right) = (place >> half, place & mask);
        for key in keys {
            (left, right) = (right, left ^ (SplitMix64::new(key ^ right).next_u64() & mask));
        }
        place = left << half | right;
        if place < count {
            return place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_takes_everything_once() {
        for count in [1, 2, 3, 10, 64, 1000] {
            let mut seen = vec![false; count];
            for index in 0..count as u64 {
                let place = permuted(index, count as u64, 5, 1);
                assert!(!std::mem::replace(&mut seen[place as usize], true));
            }
        }
        let order = |pass| (0..50).map(|index| permuted(index, 50, 5, pass)).collect::<Vec<_>>();
        assert_ne!(order(0), order(1));
    }

    #[test]
    fn passes_cover_the_tokens_and_shift() {
        let corpus = Corpus::from_bytes("test", (0..=255).cycle().take(1050).collect());
        let tokens: Arc<dyn Tokens> = Arc::new(ByteTokens::new(Arc::new(corpus), 10..1050));
        let batches = Batches {
            tokens,
            seed: 1,
            context: 100,
            batch: 3,
            accumulation: 1,
            begin_token: 256,
            sequences_per_pass: 9,
        };
        let mut starts: Vec<_> = (0..9).map(|sequence| batches.start(sequence)).collect();
        starts.sort_unstable();
        assert_eq!(starts, (0..9).map(|place| place * 100).collect::<Vec<_>>());
        assert!((9..900).all(|sequence| batches.start(sequence) + 100 <= 1040));
        assert!(batches.is_fresh(2) && !batches.is_fresh(3));
        let batch = batches.get::<burn::backend::Flex>(0, 0, &Default::default());
        let inputs: Vec<i32> = batch.inputs.into_data().iter().collect();
        let targets: Vec<i32> = batch.targets.into_data().iter().collect();
        assert_eq!((inputs[0], inputs[100]), (256, 256));
        assert_eq!(inputs[1..100], targets[..99]);
    }
}
