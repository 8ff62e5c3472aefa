//! The components that burn-train needs: the network's training step, the schedule, and the metrics on the dashboard.

use std::sync::Arc;

use burn::backend::Autodiff;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::lr_scheduler::LrScheduler;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_train::metric::state::{FormatOptions, NumericMetricState};
use burn_train::metric::{
    Adaptor, Metric, MetricAttributes, MetricDefinition, MetricMetadata, MetricName, Numeric,
    NumericAttributes, NumericEntry, SerializedEntry,
};
use burn_train::renderer::{
    EvaluationName, EvaluationProgress, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining, ProgressType, TrainingProgress,
};
use burn_train::{InferenceStep, ItemLazy, LearningComponentsMarker, TrainOutput, TrainStep};
use lmtrain_runs::{Choices, Plan};

use crate::batches::Batch;
use crate::network::Network;
use crate::ops::{Kernels, Ops};
use crate::optimizer::RecipeOptimizer;

/// The types that make up our learner.
pub(super) type Components<B> =
    LearningComponentsMarker<Autodiff<B>, Factor, Network<Autodiff<B>>, RecipeOptimizer<B>>;

/// What a step gives: the loss on the device, and what was measured once the host asked.
#[derive(Clone, Debug)]
pub struct StepOutput<B: Backend> {
    /// Mean nats a token, one number.
    pub loss: Tensor<B, 1>,
    /// What the dashboard shows.
    pub shown: Shown,
}

/// Numbers for the dashboard.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    /// Loss in bits a raw byte.
    pub bits_per_byte: f64,
    /// Speed.
    pub tokens_per_s: f64,
    /// Global norm of the gradient.
    pub gradient_norm: f64,
}

impl<B: Backend> ItemLazy for StepOutput<B> {
    type ItemSync = Shown;

    fn sync(self) -> Shown {
        self.shown
    }
}

impl<B: Kernels> TrainStep for Network<Autodiff<B>> {
    type Input = Batch<Autodiff<B>>;
    type Output = StepOutput<B>;

    fn step(&self, batch: Self::Input) -> TrainOutput<Self::Output> {
        let network = if batch.rounds { self } else { &self.unrounded() };
        let loss = network.mean_loss(batch.inputs, batch.targets);
        let output = StepOutput { loss: loss.clone().inner(), shown: Shown::default() };
        TrainOutput::new(self, loss.backward(), output)
    }
}

impl<B: Ops> InferenceStep for Network<B> {
    type Input = Batch<B>;
    type Output = StepOutput<B>;

    fn step(&self, batch: Self::Input) -> Self::Output {
        let loss = self.mean_loss(batch.inputs, batch.targets);
        StepOutput { loss, shown: Shown::default() }
    }
}

/// The schedule's factor on the learning rates; the optimizer knows the rates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor {
    choices: Choices,
    next: u64,
    steps: u64,
}

impl Factor {
    /// The factors of a plan's steps, from `next` on.
    pub(super) fn new(plan: &Plan, next: u64) -> Self {
        Self { choices: plan.choices, next, steps: plan.steps }
    }
}

impl LrScheduler for Factor {
    // A plan and a step say all; nothing else is saved.
    type Record<B: Backend> = ();

    fn step(&mut self) -> f64 {
        self.next += 1;
        self.choices.factor(self.next - 1, self.steps)
    }

    fn to_record<B: Backend>(&self) {}

    fn load_record<B: Backend>(self, (): ()) -> Self {
        self
    }
}

/// The strategy makes its own batches by step, so that resuming is exact; burn-train still wants
/// loaders, and gets ones that are empty.
pub(super) struct NoLoader;

struct Nothing<O>(std::marker::PhantomData<O>);

impl<O> Iterator for Nothing<O> {
    type Item = O;

    fn next(&mut self) -> Option<O> {
        None
    }
}

impl<O> DataLoaderIterator<O> for Nothing<O> {
    fn progress(&self) -> Progress {
        Progress::new(0, 0)
    }
}

impl<B: Backend, O: 'static> DataLoader<B, O> for NoLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        Box::new(Nothing(std::marker::PhantomData))
    }

    fn num_items(&self) -> usize {
        0
    }

    fn to_device(&self, _device: &B::Device) -> Arc<dyn DataLoader<B, O>> {
        Arc::new(Self)
    }

    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<B, O>> {
        Arc::new(Self)
    }
}

/// One number on the dashboard.
#[derive(Clone)]
pub(super) struct Gauge {
    name: MetricName,
    digits: usize,
    higher_is_better: bool,
    pick: fn(&Shown) -> f64,
    state: NumericMetricState,
}

impl Gauge {
    /// Every gauge there is.
    pub(super) fn all() -> [Self; 3] {
        let gauge = |name: &str, digits, higher_is_better, pick| Self {
            name: Arc::new(name.to_owned()),
            digits,
            higher_is_better,
            pick,
            state: NumericMetricState::default(),
        };
        [
            gauge("Bits per byte", 4, false, |shown| shown.bits_per_byte),
            gauge("Tokens/s", 0, true, |shown| shown.tokens_per_s),
            gauge("Gradient norm", 3, false, |shown| shown.gradient_norm),
        ]
    }
}

impl Metric for Gauge {
    type Input = Shown;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: self.higher_is_better }.into()
    }

    fn update(&mut self, shown: &Shown, _metadata: &MetricMetadata) -> SerializedEntry {
        let format = FormatOptions::new(self.name()).precision(self.digits);
        self.state.update((self.pick)(shown), 1, format)
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl Numeric for Gauge {
    fn value(&self) -> NumericEntry {
        self.state.current_value()
    }

    fn running_value(&self) -> NumericEntry {
        self.state.running_value()
    }
}

impl Adaptor<Shown> for Shown {
    fn adapt(&self) -> Shown {
        *self
    }
}

/// Off a terminal the application prints the records; burn-train prints nothing.
pub(super) struct Silent;

impl MetricsRendererTraining for Silent {
    fn update_train(&mut self, _state: MetricState) {}

    fn update_valid(&mut self, _state: MetricState) {}

    fn render_train(&mut self, _item: TrainingProgress, _indicators: Vec<ProgressType>) {}

    fn render_valid(&mut self, _item: TrainingProgress, _indicators: Vec<ProgressType>) {}
}

impl MetricsRendererEvaluation for Silent {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}

    fn render_test(&mut self, _item: EvaluationProgress, _indicators: Vec<ProgressType>) {}
}

impl MetricsRenderer for Silent {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, _definition: MetricDefinition) {}
}
