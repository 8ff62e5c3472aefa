//! The strategy: walks the plan's steps in segments of a fixed number, each ended by a validation
//! and a checkpoint. The host waits for the device only where it logs.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use burn::backend::Autodiff;
use burn::data::dataloader::Progress as Count;
use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use burn_train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};
use lmtrain_runs::units::BITS_PER_NAT;
use lmtrain_runs::{Bits, Bytes, StepRecord};

use super::components::{Components, Shown, StepOutput};
use super::workers::{Passes, Workers};
use super::{Fitted, Job, TrainError};
use crate::batches::Batches;
use crate::checkpoint::{self, Progress};
use crate::network::Network;
use crate::ops::Kernels;
use crate::optimizer::RecipeOptimizer;
use crate::validation::Validation;
use lmtrain_engine::Origin;

/// A checkpoint is made at least this often, whatever the segments' length.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(120);
/// Records of one training, roughly; and the most steps between two.
const RECORDS: u64 = 200;
const MOST_STEPS_A_RECORD: u64 = 50;

type Outcome = Arc<Mutex<Option<Result<Fitted, TrainError>>>>;
type Trained<B> = (Network<Autodiff<B>>, SupervisedTrainingEventProcessor<Components<B>>);

/// The strategy that burn-train calls, with all that it needs in one place.
pub(super) struct Segments<B: Kernels> {
    session: Mutex<Session<B>>,
    outcome: Outcome,
}

struct Session<B: Kernels> {
    job: Job,
    batches: Arc<Batches>,
    workers: Workers<B>,
    validation: Validation,
    optimizer: RecipeOptimizer<B>,
    device: B::Device,
    progress: Progress,
    record_every: u64,
    pending: Vec<Tensor<B, 1>>,
    session_start: Instant,
    seconds_before: f64,
    timed_tokens: u64,
    timed_since: Instant,
    saved_at: Instant,
    saved_step: u64,
}

/// What to use weights with.
pub(super) fn origin(job: &Job, step: u64) -> Origin {
    let tokenizer = job.tokenizer.iter().map(|byte| format!("{byte:02x}")).collect();
    Origin { plan: job.plan.clone(), tokenizer, step }
}

impl<B: Kernels> Segments<B> {
    pub(super) fn new(
        job: Job,
        optimizer: RecipeOptimizer<B>,
        progress: Progress,
        devices: &[B::Device],
        outcome: Outcome,
    ) -> Result<Self, TrainError> {
        let now = Instant::now();
        let batches = Arc::new(Batches::new(&job.plan, job.training.clone())?);
        let session = Session {
            workers: Workers::start(batches.clone(), progress.step, devices),
            batches,
            validation: Validation::new(&job.plan, job.validation.clone())?,
            optimizer,
            device: devices[0].clone(),
            record_every: (job.plan.steps / RECORDS).clamp(1, MOST_STEPS_A_RECORD),
            pending: Vec::new(),
            session_start: now,
            seconds_before: progress.seconds,
            timed_tokens: 0,
            timed_since: now,
            saved_at: now,
            saved_step: progress.step,
            progress,
            job,
        };
        Ok(Self { session: Mutex::new(session), outcome })
    }

    fn session(&self) -> MutexGuard<'_, Session<B>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Kernels> SupervisedLearningStrategy<Components<B>> for Segments<B> {
    fn fit(
        &self,
        components: TrainingComponents<Components<B>>,
        mut learner: Learner<Components<B>>,
        _training: TrainLoader<Components<B>>,
        _validation: ValidLoader<Components<B>>,
        _start: usize,
    ) -> Trained<B> {
        let mut events = components.event_processor;
        let mut session = self.session();
        let outcome = session.train(&mut learner, &components.interrupter, &mut events);
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        (learner.model(), events)
    }
}

impl<B: Kernels> Session<B> {
    fn train(
        &mut self,
        learner: &mut Learner<Components<B>>,
        interrupter: &Interrupter,
        events: &mut SupervisedTrainingEventProcessor<Components<B>>,
    ) -> Result<Fitted, TrainError> {
        let steps = self.job.plan.steps;
        while self.progress.step < steps {
            let stopping = interrupter.should_stop() || self.job.stop.load(Ordering::Relaxed);
            if stopping {
                break;
            }
            self.step(learner);
            let step = self.progress.step;
            let validates = step.is_multiple_of(self.job.plan.validate_every) || step == steps;
            let overdue = self.saved_at.elapsed() > CHECKPOINT_EVERY;
            if validates || overdue || step.is_multiple_of(self.record_every) {
                self.record(learner, validates, events)?;
            }
            if validates || overdue {
                self.save(learner)?;
            }
        }
        self.finish(learner, events)
    }

    /// One optimizer step; the loss stays on the device.
    fn step(&mut self, learner: &mut Learner<Components<B>>) {
        let Passes { gradients, loss } = self.workers.step(&learner.model());
        self.pending.push(loss);
        learner.lr_step();
        learner.optimizer_step(gradients);
        self.progress.step += 1;
        self.timed_tokens += self.job.plan.tokens_per_step();
    }

    /// Reads the losses since the last record, validates if asked to, and appends a record.
    fn record(
        &mut self,
        learner: &Learner<Components<B>>,
        validates: bool,
        events: &mut SupervisedTrainingEventProcessor<Components<B>>,
    ) -> Result<(), TrainError> {
        let first = self.progress.step - self.pending.len() as u64;
        let losses: Vec<f64> = std::mem::take(&mut self.pending)
            .into_iter()
            .map(|loss| f64::from(loss.into_data().iter::<f32>().next().unwrap_or(f32::NAN)))
            .collect();
        let gradient_norm = self.optimizer.gradient_norm();
        let tokens_per_s = self.timed_tokens as f64 / self.timed_since.elapsed().as_secs_f64();
        let loss = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        if !(loss.is_finite() && gradient_norm.is_finite()) {
            let (step, kept) = (self.progress.step, self.saved_step);
            return Err(TrainError::Diverged { step, loss, kept });
        }
        self.add_prequential(first, &losses);
        let mut record = self.describe(loss, gradient_norm, learner.lr_current(), tokens_per_s);
        self.show(events, &record, false);
        if validates {
            let network = self.optimizer.averaged(learner.model().valid());
            let best = self.validate(&network)?;
            record.validation_bits_per_byte = Some(best);
            self.show(events, &record, true);
        }
        self.job.run.append_step(&record)?;
        (self.job.observe)(&record);
        (self.timed_tokens, self.timed_since) = (0, Instant::now());
        Ok(())
    }

    /// Validation in bits a byte; keeps the network if it is the best so far.
    fn validate(&mut self, network: &Network<B>) -> Result<f64, TrainError> {
        let bits_per_byte = self.validation.bits_per_byte(network, &self.device);
        if !bits_per_byte.is_finite() {
            // The last update broke the network, and the step's loss could not show it yet.
            let (step, kept) = (self.progress.step, self.saved_step);
            return Err(TrainError::Diverged { step, loss: bits_per_byte, kept });
        }
        let best = self.progress.best_bits_per_byte.unwrap_or(f64::INFINITY);
        if bits_per_byte < best {
            self.progress.best_bits_per_byte = Some(bits_per_byte);
            let origin = origin(&self.job, self.progress.step);
            checkpoint::save_best(&self.job.run, &origin, network)?;
        }
        Ok(bits_per_byte)
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

    fn describe(&self, loss: f64, norm: f64, factor: f64, tokens_per_s: f64) -> StepRecord {
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
            learning_rate_factor: factor,
            train_tokens_per_s: tokens_per_s,
            seconds: self.seconds(),
            prequential_bits: self.progress.prequential_bits,
            validation_bits_per_byte: None,
        }
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.session_start.elapsed().as_secs_f64()
    }

    fn save(&mut self, learner: &Learner<Components<B>>) -> Result<(), TrainError> {
        if !self.pending.is_empty() {
            // The losses not yet read belong to a record that the checkpoint would cut in two.
            return Ok(());
        }
        self.progress.seconds = self.seconds();
        let origin = origin(&self.job, self.progress.step);
        let network = learner.model().valid();
        let state = self.optimizer.state();
        checkpoint::save(&self.job.run, origin, &network, &state, &self.progress)?;
        (self.saved_at, self.saved_step) = (Instant::now(), self.progress.step);
        self.timed_since = Instant::now();
        Ok(())
    }

    /// Keeps everything, also when stopped between two records.
    fn finish(
        &mut self,
        learner: &Learner<Components<B>>,
        events: &mut SupervisedTrainingEventProcessor<Components<B>>,
    ) -> Result<Fitted, TrainError> {
        if !self.pending.is_empty() {
            self.record(learner, false, events)?;
        }
        if self.saved_step < self.progress.step {
            self.save(learner)?;
        }
        if !self.job.run.weights_path().exists() && self.progress.step > 0 {
            let origin = origin(&self.job, self.progress.step);
            let network = self.optimizer.averaged(learner.model().valid());
            checkpoint::save_best(&self.job.run, &origin, &network)?;
        }
        Ok(Fitted {
            step: self.progress.step,
            finished: self.progress.step == self.job.plan.steps,
            best_bits_per_byte: self.progress.best_bits_per_byte,
            seconds: self.seconds(),
        })
    }

    fn show(
        &self,
        events: &mut SupervisedTrainingEventProcessor<Components<B>>,
        record: &StepRecord,
        valid: bool,
    ) {
        let done = |step: u64, of: u64| Count::new(step as usize, of as usize);
        let plan = &self.job.plan;
        let segment = plan.validate_every;
        let shown = Shown {
            bits_per_byte: record.validation_bits_per_byte.unwrap_or(record.train_bits_per_byte),
            tokens_per_s: record.train_tokens_per_s,
            gradient_norm: record.gradient_norm,
        };
        let loss = Tensor::zeros([1], &self.device);
        let item = TrainingItem::new(
            StepOutput { loss, shown },
            done(record.step % segment, segment),
            done(record.step.div_ceil(segment), plan.steps.div_ceil(segment)),
            Some(record.step as usize),
            Some(record.learning_rate_factor),
        );
        if valid {
            events.process_valid(LearnerEvent::ProcessedItem(item));
            let epoch = record.step.div_ceil(segment) as usize;
            events.process_train(LearnerEvent::EndEpoch(epoch));
            events.process_valid(LearnerEvent::EndEpoch(epoch));
        } else {
            events.process_train(LearnerEvent::ProcessedItem(item));
        }
    }
}
