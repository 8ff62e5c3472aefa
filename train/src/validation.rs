//! Validation: mean bits per byte over sequences spread evenly over the validation data, each from an empty context,
//! like the chunks of an evaluation. For a mixture, each corpus has its share of the sequences.

use std::sync::Arc;

use lmtrain_runs::Plan;
use lmtrain_runs::units::BITS_PER_NAT;

use crate::batches::{Batch, Stretch, Tokens};
use crate::error::TrainError;
use crate::network::Network;
use crate::ops::Kernels;

/// The sequences of every validation of one run.
pub(crate) struct Validation {
    tokens: Arc<dyn Tokens>,
    context: usize,
    batch: usize,
    begin_token: u32,
    starts: Vec<usize>,
}

impl Validation {
    /// The validation of a plan. Data shorter than the context make one shorter sequence.
    pub(crate) fn new(plan: &Plan, tokens: Arc<dyn Tokens>) -> Result<Self, TrainError> {
        let stretches = tokens.stretches();
        let shortest = stretches.iter().map(|stretch| stretch.range.len()).min().unwrap_or(0);
        let context = plan.context.min(shortest);
        if context == 0 {
            return Err(TrainError::TooShort { tokens: 0, context: plan.context });
        }
        let shares: f64 = stretches.iter().map(|stretch| stretch.share).sum();
        let starts_in = |stretch: &Stretch| {
            let there = stretch.range.len() / context;
            let share = plan.validation_sequences as f64 * stretch.share / shares;
            let wanted = (share.round() as usize).clamp(1, there);
            let first = stretch.range.start;
            (0..wanted).map(move |index| first + index * there / wanted * context)
        };
        let starts = stretches.iter().flat_map(starts_in).collect();
        let begin_token = plan.begin_token();
        Ok(Self { tokens, context, batch: plan.batch, begin_token, starts })
    }

    /// Mean ideal bits a raw byte.
    pub(crate) fn bits_per_byte<B: Kernels>(
        &self,
        network: &Network<B>,
        device: &B::Device,
    ) -> f64 {
        let mut nats = 0.0;
        for starts in self.starts.chunks(self.batch) {
            let mut targets = vec![0; starts.len() * self.context];
            for (sequence, start) in targets.chunks_exact_mut(self.context).zip(starts) {
                self.tokens.read(*start, sequence);
            }
            let batch = Batch::<B>::new(self.begin_token, targets, self.context, device);
            let losses = network.loss(batch.inputs, batch.targets).into_data();
            nats += losses.iter::<f32>().map(f64::from).sum::<f64>();
        }
        let raw_bytes = |&start: &usize| self.tokens.raw_bytes_of(start, self.context);
        let raw_bytes: u64 = self.starts.iter().map(raw_bytes).sum();
        nats * BITS_PER_NAT / raw_bytes as f64
    }
}
