//! Validation: mean bits a byte over sequences spread evenly over the validation data, each from an
//! empty context, as evaluation cuts its chunks.

use std::sync::Arc;

use lmtrain_runs::Plan;
use lmtrain_runs::units::BITS_PER_NAT;

use crate::TrainError;
use crate::batches::{Batch, Tokens};
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
        let count = tokens.count();
        let context = plan.context.min(count);
        if context == 0 {
            return Err(TrainError::TooShort { tokens: 0, context: plan.context });
        }
        let there = count / context;
        let wanted = plan.validation_sequences.clamp(1, there);
        let starts = (0..wanted).map(|index| index * there / wanted * context).collect();
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
