//! The state of a training run, and saving it: records and checkpoints. The thread that runs the steps holds the
//! session, except during passes; then a thread that needs to save it may take it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use burn::backend::Autodiff;
use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use lmtrain_runs::units::{BITS_PER_NAT, hex};
use lmtrain_runs::{Bits, Bytes, StepRecord};

use super::job::{Fitted, Job};
use crate::batches::Batches;
use crate::checkpoint::{self, Reached};
use crate::error::TrainError;
use crate::network::Network;
use crate::ops::Kernels;
use crate::optimizer::RecipeOptimizer;
use lmtrain_engine::Origin;

/// A checkpoint is made at least this often, whatever the segments' length.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(120);
/// Records of one training, roughly; and the most steps between two.
const RECORDS: u64 = 200;
const MOST_STEPS_A_RECORD: u64 = 50;

/// What a training has done, and what it is done with.
pub(super) struct Session<B: Kernels> {
    pub(super) job: Job,
    pub(super) progress: Reached,
    batches: Arc<Batches>,
    pub(super) optimizer: RecipeOptimizer<B>,
    /// The network as of the steps that are done, while its passes leave the session to others.
    pub(super) apart: Option<Network<Autodiff<B>>>,
    /// Set once someone else has kept everything: what was computed meanwhile is forgotten.
    pub(super) is_rescued: bool,
    record_every: u64,
    pending: Vec<Tensor<B, 1>>,
    /// The schedule's factor at the last step.
    factor: f64,
    session_start: Instant,
    seconds_before: f64,
    timed_tokens: u64,
    timed_since: Instant,
    saved_at: Instant,
    saved_step: u64,
}

/// What to use weights with.
pub(super) fn origin(job: &Job, step: u64) -> Origin {
    let tokenizer = hex(&job.tokenizer);
    Origin { plan: job.plan.clone(), tokenizer, step }
}

impl<B: Kernels> Session<B> {
    pub(super) fn new(
        job: Job,
        batches: Arc<Batches>,
        optimizer: RecipeOptimizer<B>,
        progress: Reached,
    ) -> Self {
        let now = Instant::now();
        Self {
            batches,
            optimizer,
            apart: None,
            is_rescued: false,
            record_every: (job.plan.steps / RECORDS).clamp(1, MOST_STEPS_A_RECORD),
            pending: Vec::new(),
            factor: 0.0,
            session_start: now,
            seconds_before: progress.seconds,
            timed_tokens: 0,
            timed_since: now,
            saved_at: now,
            saved_step: progress.step,
            progress,
            job,
        }
    }

    /// Whether someone wants to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.job.stop.load(Ordering::Relaxed)
    }

    /// Whether this step ends with a validation.
    pub(super) fn validates(&self) -> bool {
        let (step, plan) = (self.progress.step, &self.job.plan);
        step.is_multiple_of(plan.validate_every) || step == plan.steps
    }

    /// Whether this step has a record.
    pub(super) fn has_record(&self) -> bool {
        self.progress.step.is_multiple_of(self.record_every)
    }

    /// Whether a checkpoint is due, with or without a validation.
    pub(super) fn is_overdue(&self) -> bool {
        self.saved_at.elapsed() > CHECKPOINT_EVERY
    }

    /// Another step is done; its loss stays on the device.
    pub(super) fn count_step(&mut self, loss: Tensor<B, 1>, factor: f64) {
        self.pending.push(loss);
        self.factor = factor;
        self.progress.step += 1;
        self.timed_tokens += self.job.plan.tokens_per_step();
    }

    /// Reads the losses since the last record, and makes one, without validation.
    pub(super) fn describe_steps(&mut self) -> Result<StepRecord, TrainError> {
        let first = self.progress.step - self.pending.len() as u64;
        let losses: Vec<f64> = std::mem::take(&mut self.pending)
            .into_iter()
            .map(|loss| f64::from(loss.into_data().iter::<f32>().next().unwrap_or(f32::NAN)))
            .collect();
        let gradient_norm = self.optimizer.gradient_norm();
        let tokens_per_s = self.timed_tokens as f64 / self.timed_since.elapsed().as_secs_f64();
        let loss = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        if !(loss.is_finite() && gradient_norm.is_finite()) {
            return Err(self.diverged(loss));
        }
        self.add_prequential(first, &losses);
        Ok(self.describe(loss, gradient_norm, tokens_per_s))
    }

    /// Takes over a validation; keeps the network if it is the best so far.
    pub(super) fn add_validation(
        &mut self,
        record: &mut StepRecord,
        network: &Network<B>,
        bits_per_byte: f64,
    ) -> Result<(), TrainError> {
        if !bits_per_byte.is_finite() {
            // The last update broke the network, and the step's loss could not show it yet.
            return Err(self.diverged(bits_per_byte));
        }
        let best = self.progress.best_bits_per_byte.unwrap_or(f64::INFINITY);
        if bits_per_byte < best {
            self.progress.best_bits_per_byte = Some(bits_per_byte);
            checkpoint::save_best(&self.job.run, &self.origin(), network)?;
        }
        record.validation_bits_per_byte = Some(bits_per_byte);
        Ok(())
    }

    /// Appends a record; what was timed begins anew.
    pub(super) fn append(&mut self, record: &StepRecord) -> Result<(), TrainError> {
        self.job.run.append_step(record)?;
        (self.job.observe)(record);
        (self.timed_tokens, self.timed_since) = (0, Instant::now());
        Ok(())
    }

    /// Makes a checkpoint.
    pub(super) fn save(&mut self, network: &Network<B>) -> Result<(), TrainError> {
        self.progress.seconds = self.seconds();
        let state = self.optimizer.state();
        checkpoint::save(&self.job.run, self.origin(), network, &state, &self.progress)?;
        drop(state);
        (self.saved_at, self.saved_step) = (Instant::now(), self.progress.step);
        self.timed_since = Instant::now();
        Ok(())
    }

    /// Keeps everything, also when stopped between two records, or in the middle of a validation.
    pub(super) fn keep(&mut self, network: &Network<B>) -> Result<Fitted, TrainError> {
        if !self.pending.is_empty() {
            let record = self.describe_steps()?;
            self.append(&record)?;
        }
        if self.saved_step < self.progress.step {
            self.save(network)?;
        }
        if !self.job.run.weights_path().exists() && self.progress.step > 0 {
            let network = self.optimizer.averaged(network.clone());
            checkpoint::save_best(&self.job.run, &self.origin(), &network)?;
        }
        Ok(self.fitted())
    }

    /// Keeps everything while passes are computed that nobody will wait for; whether there was
    /// anything to keep.
    pub(super) fn rescue(&mut self) -> Result<bool, TrainError> {
        let Some(network) = self.apart.take() else { return Ok(false) };
        let kept = self.keep(&network.valid());
        self.apart = Some(network);
        kept?;
        self.is_rescued = true;
        Ok(true)
    }

    /// How far it has come.
    pub(super) fn fitted(&self) -> Fitted {
        let is_whole = self.progress.unvalidated.is_none();
        Fitted {
            step: self.progress.step,
            finished: self.progress.step == self.job.plan.steps && is_whole,
            best_bits_per_byte: self.progress.best_bits_per_byte,
            seconds: self.seconds(),
        }
    }

    fn origin(&self) -> Origin {
        origin(&self.job, self.progress.step)
    }

    fn diverged(&self, loss: f64) -> TrainError {
        TrainError::Diverged { step: self.progress.step, loss, kept: self.saved_step }
    }

    /// Adds the code length of each batch before its update, while every sequence is new.
    fn add_prequential(&mut self, first: u64, losses: &[f64]) {
        let tokens = self.job.plan.tokens_per_step() as f64;
        for (step, loss) in (first..).zip(losses) {
            let before = match step {
                0 => Some(Bits(0.0)),
                _ => self.progress.prequential_bits,
            };
            self.progress.prequential_bits = before
                .filter(|_| self.batches.is_fresh(step))
                .map(|bits| bits + Bits::from_nats(loss * tokens));
        }
    }

    fn describe(&self, loss: f64, norm: f64, tokens_per_s: f64) -> StepRecord {
        let tokens = self.progress.step * self.job.plan.tokens_per_step();
        let bytes_per_token =
            self.job.training.raw_bytes() as f64 / self.job.training.count() as f64;
        StepRecord {
            step: self.progress.step,
            tokens,
            raw_bytes: Bytes((tokens as f64 * bytes_per_token).round() as u64),
            train_nats_per_token: loss,
            train_bits_per_byte: loss * BITS_PER_NAT / bytes_per_token,
            gradient_norm: norm,
            learning_rate_factor: self.factor,
            train_tokens_per_s: tokens_per_s,
            seconds: self.seconds(),
            prequential_bits: self.progress.prequential_bits,
            validation_bits_per_byte: None,
        }
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.session_start.elapsed().as_secs_f64()
    }
}
