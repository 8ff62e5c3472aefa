//! The strategy: runs the plan's steps in segments of a fixed number of steps, each followed by a validation and a
//! checkpoint. The host waits for the device only when it logs.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard};

use burn::backend::Autodiff;
use burn::data::dataloader::Progress as Count;
use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use burn_train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};
use lmtrain_runs::StepRecord;

use super::components::{Components, Shown, StepOutput};
use super::held::held;
use super::job::{Fitted, Job};
use super::session::Session;
use super::watched::Watched;
use super::workers::{Passes, Workers};
use crate::batches::Batches;
use crate::checkpoint::Reached;
use crate::error::TrainError;
use crate::network::Network;
use crate::ops::Kernels;
use crate::optimizer::RecipeOptimizer;
use crate::validation::Validation;

pub(super) type SharedSession<B> = Arc<Mutex<Session<B>>>;
type Trained<B> = (Network<Autodiff<B>>, SupervisedTrainingEventProcessor<Components<B>>);
type Events<B> = SupervisedTrainingEventProcessor<Components<B>>;

/// The strategy that burn-train calls, with all that it needs in one place.
pub(super) struct Segments<B: Kernels> {
    session: SharedSession<B>,
    workers: Mutex<Workers<B>>,
    validation: Validation,
    device: B::Device,
    watched: Watched,
    /// Told how the training ended.
    ended: Sender<Result<Fitted, TrainError>>,
}

impl<B: Kernels> Segments<B> {
    pub(super) fn new(
        job: Job,
        optimizer: RecipeOptimizer<B>,
        progress: Reached,
        devices: &[B::Device],
        (watched, ended): (Watched, Sender<Result<Fitted, TrainError>>),
    ) -> Result<Self, TrainError> {
        let batches = Arc::new(Batches::new(&job.plan, job.training.clone())?);
        let workers = Workers::start(batches.clone(), progress.step, devices);
        let validation = Validation::new(&job.plan, job.validation.clone())?;
        let session = Session::new(job, batches, optimizer, progress);
        Ok(Self {
            session: Arc::new(Mutex::new(session)),
            workers: Mutex::new(workers),
            validation,
            device: devices[0].clone(),
            watched,
            ended,
        })
    }

    /// For whoever has to save it.
    pub(super) fn shared_session(&self) -> SharedSession<B> {
        self.session.clone()
    }

    fn session(&self) -> MutexGuard<'_, Session<B>> {
        held(&self.session)
    }
}

impl<B: Kernels> SupervisedLearningStrategy<Components<B>> for Segments<B> {
    fn fit(
        &self,
        components: TrainingComponents<Components<B>>,
        learner: Learner<Components<B>>,
        _training: TrainLoader<Components<B>>,
        _validation: ValidLoader<Components<B>>,
        _start: usize,
    ) -> Trained<B> {
        let TrainingComponents { event_processor: events, interrupter, .. } = components;
        let mut walk = Walk { of: self, learner, interrupter, events };
        // Whoever waited may have given up.
        let _ = self.ended.send(walk.train());
        (walk.learner.model(), walk.events)
    }
}

/// The steps being walked.
struct Walk<'a, B: Kernels> {
    of: &'a Segments<B>,
    learner: Learner<Components<B>>,
    interrupter: Interrupter,
    events: Events<B>,
}

impl<'a, B: Kernels> Walk<'a, B> {
    fn train(&mut self) -> Result<Fitted, TrainError> {
        let mut session = self.of.session();
        if let Some(record) = session.progress.unvalidated.clone() {
            // Stopped in the middle of this validation.
            session = self.validate(session, record)?;
            if session.is_rescued {
                return Ok(session.fitted());
            }
            session.save(&self.learner.model().valid())?;
        }
        while session.progress.step < session.job.plan.steps {
            if self.of.watched.is_killed() {
                return Err(TrainError::Killed);
            }
            if session.is_stopping() || self.interrupter.should_stop() {
                break;
            }
            session = self.step(session);
            if session.is_rescued {
                return Ok(session.fitted());
            }
            let (validates, overdue) = (session.validates(), session.is_overdue());
            if validates || overdue || session.has_record() {
                let record = session.describe_steps()?;
                self.show(&session, &record, false);
                if validates {
                    session = self.validate(session, record)?;
                } else {
                    session.append(&record)?;
                }
            }
            if session.is_rescued {
                return Ok(session.fitted());
            }
            if validates || overdue {
                session.save(&self.learner.model().valid())?;
            }
        }
        session.keep(&self.learner.model().valid())
    }

    /// Long work on the network, while the session is free for whoever has to save it.
    fn apart<T>(
        &self,
        mut session: MutexGuard<'a, Session<B>>,
        work: impl FnOnce(&Network<Autodiff<B>>) -> T,
    ) -> (MutexGuard<'a, Session<B>>, T) {
        let network = self.learner.model();
        session.apart = Some(network.clone());
        drop(session);
        let done = work(&network);
        // The update that follows is made in place, where nobody else holds the weights.
        drop(network);
        let mut session = self.of.session();
        session.apart = None;
        (session, done)
    }

    /// One optimizer step.
    fn step(&mut self, session: MutexGuard<'a, Session<B>>) -> MutexGuard<'a, Session<B>> {
        let workers = held(&self.of.workers);
        let (mut session, passes) = self.apart(session, |network| workers.step(network));
        if !session.is_rescued {
            let Passes { gradients, loss } = passes;
            self.learner.lr_step();
            self.learner.optimizer_step(gradients);
            session.count_step(loss, self.learner.lr_current());
        }
        session
    }

    /// Validates, and appends the record with what came of it.
    fn validate(
        &mut self,
        mut session: MutexGuard<'a, Session<B>>,
        mut record: StepRecord,
    ) -> Result<MutexGuard<'a, Session<B>>, TrainError> {
        session.progress.unvalidated = Some(record.clone());
        let Segments { validation, device, .. } = self.of;
        let optimizer = session.optimizer.clone();
        let (mut session, (network, bits_per_byte)) = self.apart(session, |network| {
            let network = optimizer.averaged(network.valid());
            let bits_per_byte = validation.bits_per_byte(&network, device);
            (network, bits_per_byte)
        });
        if session.is_rescued {
            return Ok(session);
        }
        session.progress.unvalidated = None;
        session.add_validation(&mut record, &network, bits_per_byte)?;
        self.show(&session, &record, true);
        session.append(&record)?;
        Ok(session)
    }

    fn show(&mut self, session: &Session<B>, record: &StepRecord, valid: bool) {
        let done = |step: u64, of: u64| Count::new(step as usize, of as usize);
        let plan = &session.job.plan;
        let segment = plan.validate_every;
        let shown = Shown {
            bits_per_byte: record.validation_bits_per_byte.unwrap_or(record.train_bits_per_byte),
            tokens_per_s: record.train_tokens_per_s,
            gradient_norm: record.gradient_norm,
        };
        let loss = Tensor::zeros([1], &self.of.device);
        let item = TrainingItem::new(
            StepOutput { loss, shown },
            done(record.step % segment, segment),
            done(record.step.div_ceil(segment), plan.steps.div_ceil(segment)),
            Some(record.step as usize),
            Some(record.learning_rate_factor),
        );
        if valid {
            self.events.process_valid(LearnerEvent::ProcessedItem(item));
            let epoch = record.step.div_ceil(segment) as usize;
            self.events.process_train(LearnerEvent::EndEpoch(epoch));
            self.events.process_valid(LearnerEvent::EndEpoch(epoch));
        } else {
            self.events.process_train(LearnerEvent::ProcessedItem(item));
        }
    }
}
