//! Batches: which tokens are trained on at which step, a pure function of (seed, step). Each pass over the data cuts it
//! into sequences that do not overlap, and takes each once, in a different order for each pass. For a mixture, every
//! block of sequences has a fixed number from each corpus, in an order of its own, and each corpus goes through its own
//! passes.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use lmtrain_corpora::{Corpus, Encoded};
use lmtrain_runs::random::SplitMix64;
use lmtrain_runs::{Choices, Plan};

use crate::error::TrainError;

/// A long row of tokens to train or validate on.
pub trait Tokens: Send + Sync {
    /// Number of tokens.
    fn count(&self) -> usize;

    /// Raw bytes that they stand for.
    fn raw_bytes(&self) -> u64;

    /// Raw bytes that `count` of them from `start` on stand for.
    fn raw_bytes_of(&self, start: usize, count: usize) -> u64;

    /// Copies the tokens from `start` on. They are of one stretch.
    fn read(&self, start: usize, tokens: &mut [i32]);

    /// The stretches that sequences are cut from, none across two.
    fn stretches(&self) -> Vec<Stretch> {
        vec![Stretch { range: 0..self.count(), share: 1.0, whole_chunks: false }]
    }
}

/// Tokens that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// Where they are.
    pub range: Range<usize>,
    /// Their share of the sequences, in proportion to those of the other stretches.
    pub share: f64,
    /// Whether sequences begin where chunks do, as of images and sounds, or a later pass may cut elsewhere.
    pub whole_chunks: bool,
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

    fn stretches(&self) -> Vec<Stretch> {
        let whole_chunks = self.corpus.medium().is_decoded();
        vec![Stretch { range: 0..self.count(), share: 1.0, whole_chunks }]
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
    /// Whether the network computes with rounded weights, where its plan has such.
    pub rounds: bool,
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
        Self { inputs: tensor(inputs), targets: tensor(targets), rounds: true }
    }
}

/// Sequences of a mixture that are dealt out to its parts at a time.
const BLOCK: u64 = 1024;
/// Streams of random numbers beyond those of passes: the order of a mixture's blocks, and the seeds of its parts.
const ORDER_STREAM: u64 = 1 << 62;
const SEED_STREAM: u64 = 1 << 63;

/// The order of the training data.
pub struct Batches {
    tokens: Arc<dyn Tokens>,
    seed: u64,
    context: usize,
    batch: usize,
    accumulation: usize,
    begin_token: u32,
    steps: u64,
    choices: Choices,
    sources: Vec<Source>,
}

/// A stretch that sequences are cut from.
struct Source {
    stretch: Stretch,
    seed: u64,
    sequences_per_pass: u64,
    /// Of every block of a mixture.
    sequences_per_block: u64,
}

impl Batches {
    /// The batches of a plan.
    ///
    /// # Errors
    /// [`TrainError::TooShort`] if the data, or a stretch of them, do not fill one sequence.
    pub fn new(plan: &Plan, tokens: Arc<dyn Tokens>) -> Result<Self, TrainError> {
        let stretches = tokens.stretches();
        let per_block = dealt(&stretches.iter().map(|stretch| stretch.share).collect::<Vec<_>>());
        let source = |(index, (stretch, sequences_per_block)): (u64, (Stretch, u64))| {
            let seed = match index {
                0 => plan.seed,
                _ => SplitMix64::stream(plan.seed, SEED_STREAM + index).next_u64(),
            };
            Source::new(stretch, seed, sequences_per_block, plan.context)
        };
        let sources = (0..).zip(stretches.into_iter().zip(per_block)).map(source);
        Ok(Self {
            sources: sources.collect::<Result<_, _>>()?,
            tokens,
            seed: plan.seed,
            context: plan.context,
            batch: plan.batch,
            accumulation: plan.accumulation,
            begin_token: plan.begin_token(),
            steps: plan.steps,
            choices: plan.choices,
        })
    }

    /// Forward passes of a step.
    #[must_use]
    pub fn accumulation(&self) -> usize {
        self.accumulation
    }

    /// Whether every sequence of this step and all earlier ones is seen for the first time.
    #[must_use]
    pub fn is_fresh(&self, step: u64) -> bool {
        let sequences = (step + 1) * (self.batch * self.accumulation) as u64;
        if let [only] = &self.sources[..] {
            return sequences <= only.sequences_per_pass;
        }
        let (blocks, rest) = (sequences / BLOCK, sequences % BLOCK);
        let is_fresh = |source: &Source, blocks| {
            blocks * source.sequences_per_block <= source.sequences_per_pass
        };
        self.sources.iter().all(|source| is_fresh(source, blocks))
            && (self.sources.iter().all(|source| is_fresh(source, blocks + 1))
                || (0..rest).all(|index| {
                    let (source, own) = self.dealt_to(blocks * BLOCK + index);
                    own < source.sequences_per_pass
                }))
    }

    /// The batch of one forward pass: `part` of `accumulation` of a step, both from 0.
    #[must_use]
    pub fn get<B: Backend>(&self, step: u64, part: usize, device: &B::Device) -> Batch<B> {
        let first = (step * self.accumulation as u64 + part as u64) * self.batch as u64;
        let mut targets = vec![0; self.batch * self.context];
        for (lane, sequence) in targets.chunks_exact_mut(self.context).enumerate() {
            self.tokens.read(self.start(first + lane as u64), sequence);
        }
        let rounds = self.choices.rounds_at(step, self.steps);
        Batch { rounds, ..Batch::new(self.begin_token, targets, self.context, device) }
    }

    /// Where the sequence of this number starts.
    fn start(&self, sequence: u64) -> usize {
        let (source, own) = self.dealt_to(sequence);
        source.start(own, self.context)
    }

    /// Which stretch a sequence is of, and which of that stretch's it is.
    fn dealt_to(&self, sequence: u64) -> (&Source, u64) {
        if let [only] = &self.sources[..] {
            return (only, sequence);
        }
        let (block, index) = (sequence / BLOCK, sequence % BLOCK);
        let order = SplitMix64::stream(self.seed, ORDER_STREAM).next_u64();
        let mut place = permuted(index, BLOCK, order, block);
        for source in &self.sources {
            if place < source.sequences_per_block {
                return (source, block * source.sequences_per_block + place);
            }
            place -= source.sequences_per_block;
        }
        unreachable!("the sources share all of a block")
    }
}

impl Source {
    fn new(
        stretch: Stretch,
        seed: u64,
        sequences_per_block: u64,
        context: usize,
    ) -> Result<Self, TrainError> {
        let count = stretch.range.len();
        if count < context {
            return Err(TrainError::TooShort { tokens: count, context });
        }
        // Later passes start at a shift below one sequence, which must fit as well.
        let kept = if stretch.whole_chunks { 0 } else { context };
        let sequences_per_pass = ((count - kept) / context).max(1) as u64;
        Ok(Self { stretch, seed, sequences_per_pass, sequences_per_block })
    }

    /// Where the sequence of this number starts.
    fn start(&self, sequence: u64, context: usize) -> usize {
        let (pass, index) =
            (sequence / self.sequences_per_pass, sequence % self.sequences_per_pass);
        let context = context as u64;
        let spare = self.stretch.range.len() as u64 - self.sequences_per_pass * context;
        let shift = match pass {
            0 => 0,
            _ if self.stretch.whole_chunks => 0,
            _ => SplitMix64::stream(self.seed, 2 * pass)
                .below(spare.min(context) + u64::from(spare == 0)),
        };
        let place = permuted(index, self.sequences_per_pass, self.seed, pass);
        let within = usize::try_from(shift + place * context).expect("within the tokens");
        self.stretch.range.start + within
    }
}

/// The number of sequences in a block for each share: at least one each, and together all of them (by the largest
/// remainders; of equal ones the first).
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within a block")]
fn dealt(shares: &[f64]) -> Vec<u64> {
    let total: f64 = shares.iter().sum();
    let exact = |share: f64| share / total * BLOCK as f64;
    let mut dealt: Vec<u64> = shares.iter().map(|&share| (exact(share) as u64).max(1)).collect();
    loop {
        let all: u64 = dealt.iter().sum();
        let lack = |index: usize| exact(shares[index]) - dealt[index] as f64;
        let by_lack = |one: &usize, other: &usize| lack(*one).total_cmp(&lack(*other));
        let indices = 0..shares.len();
        let index = match all.cmp(&BLOCK) {
            Ordering::Equal => return dealt,
            Ordering::Less => indices.rev().max_by(by_lack),
            Ordering::Greater => indices.filter(|&it| dealt[it] > 1).min_by(by_lack),
        };
        let Some(index) = index else { return dealt };
        dealt[index] = if all < BLOCK { dealt[index] + 1 } else { dealt[index] - 1 };
    }
}

/// The position of `index` in a random permutation of `count` items: a Feistel network of four rounds on the next even
/// number of bits, iterated until the result is below `count` (Black & Rogaway, "Ciphers with arbitrary finite
/// domains", 2002). This needs no table, however large `count` is.
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
    use burn::backend::Flex;
    use burn::backend::flex::FlexDevice;
    use lmtrain_engine::testing::plan;
    use lmtrain_runs::Recipe;

    use super::*;
    use crate::mixed::MixedTokens;

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

    /// Three sequences a step.
    fn batches(tokens: Arc<dyn Tokens>, context: usize) -> Batches {
        let plan = Plan { seed: 1, context, batch: 3, accumulation: 1, ..plan(Recipe::Modern) };
        Batches::new(&plan, tokens).expect("long enough")
    }

    /// Tokens that sequences are cut from at whole chunks, if they are.
    struct Row(usize, bool);

    impl Tokens for Row {
        fn count(&self) -> usize {
            self.0
        }

        fn raw_bytes(&self) -> u64 {
            self.0 as u64
        }

        fn raw_bytes_of(&self, _: usize, count: usize) -> u64 {
            count as u64
        }

        fn read(&self, start: usize, tokens: &mut [i32]) {
            tokens.fill(start as i32);
        }

        fn stretches(&self) -> Vec<Stretch> {
            vec![Stretch { range: 0..self.0, share: 1.0, whole_chunks: self.1 }]
        }
    }

    #[test]
    fn rounding_starts_at_its_step() {
        let rounds = |start: Option<f64>| {
            let mut plan = Plan { context: 10, batch: 1, steps: 10, ..plan(Recipe::Modern) };
            plan.choices.rounding_start = start;
            let batches = Batches::new(&plan, Arc::new(Row(1000, false))).expect("long enough");
            (0..10)
                .map(|step| batches.get::<Flex>(step, 0, &FlexDevice).rounds)
                .take_while(|rounds| !rounds)
                .count()
        };
        assert_eq!([None, Some(0.0), Some(0.7), Some(1.0)].map(rounds), [0, 0, 7, 10]);
    }

    #[test]
    fn sequences_of_images_begin_where_chunks_do() {
        let batches = batches(Arc::new(Row(1050, true)), 100);
        assert!((0..1000).all(|sequence| batches.start(sequence).is_multiple_of(100)));
        let mut pass: Vec<_> = (10..20).map(|sequence| batches.start(sequence)).collect();
        assert_ne!(pass, (0..10).map(|sequence| batches.start(sequence)).collect::<Vec<_>>());
        pass.sort_unstable();
        assert_eq!(pass, (0..10).map(|place| place * 100).collect::<Vec<_>>());
    }

    #[test]
    fn a_block_is_dealt_out_by_shares() {
        assert_eq!(dealt(&[1.0]), [1024]);
        assert_eq!(dealt(&[8.0, 1.0]), [910, 114]);
        assert_eq!(dealt(&[1.0, 1.0, 1.0]), [342, 341, 341]);
        assert_eq!(dealt(&[1e9, 1.0, 1.0]), [1022, 1, 1]);
        assert_eq!(dealt(&[1.0; 64]), [16; 64]);
    }

    #[test]
    fn mixtures_keep_proportions_and_passes() {
        let row = |count, whole| Arc::new(Row(count, whole)) as Arc<dyn Tokens>;
        let mixed = MixedTokens::new(vec![(row(100_050, false), 3.0), (row(20_000, true), 1.0)]);
        let batches = batches(Arc::new(mixed), 10);
        let starts: Vec<_> = (0..4096).map(|sequence| batches.start(sequence)).collect();
        for block in starts.chunks(1024) {
            assert_eq!(block.iter().filter(|start| **start >= 100_050).count(), 256);
        }
        let early = starts[..100].iter().filter(|start| **start >= 100_050).count();
        assert!((10..40).contains(&early), "{early} of the first 100");
        let images: Vec<_> = starts.iter().filter(|start| **start >= 100_050).collect();
        assert!(images.iter().all(|start| (**start - 100_050) % 10 == 0));
        let texts: std::collections::BTreeSet<_> =
            starts.iter().filter(|start| **start < 100_050).collect();
        assert_eq!(texts.len(), 3072, "each of the first pass once");
        // 2,000 images a pass, 256 a block: sequence 8·1024 − 2048 + … is the first seen again.
        let first_again = (0..9000)
            .find(|&sequence| {
                let (source, own) = batches.dealt_to(sequence);
                own >= source.sequences_per_pass
            })
            .expect("images come again");
        assert!((7 * 1024..8 * 1024).contains(&first_again));
        assert!(batches.is_fresh(first_again / 3 - 1) && !batches.is_fresh(first_again / 3));
        assert!(!batches.is_fresh(first_again));
    }

    #[test]
    fn passes_cover_the_tokens_and_shift() {
        let corpus = Corpus::from_bytes("test", (0..=255).cycle().take(1050).collect());
        let tokens: Arc<dyn Tokens> = Arc::new(ByteTokens::new(Arc::new(corpus), 10..1050));
        let batches = batches(tokens, 100);
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
