//! The optimizer of a plan: Muon on the blocks' matrices and AdamW on the rest, or Adam on all, with
//! the gradient clipped to a global norm. burn-train's learner hides its optimizer, so the state is
//! shared with whoever saves it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::backend::Autodiff;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{GradientsParams, MultiGradientsParams};
use burn::tensor::Tensor;
use lmtrain_runs::recipe::Optimizer;
use lmtrain_runs::{Choices, Plan, Precision};

use crate::network::Network;
use crate::ops::{AdamSettings, Kernels, MuonSettings};
use crate::paths::Paths;

/// β of Adam in the paper's recipe (the defaults of its library), and its ε.
const ADAM: (f64, f64, f64) = (0.9, 0.999, 1e-8);
/// β of AdamW beside Muon, and its ε.
const ADAM_BESIDE_MUON: (f64, f64, f64) = (0.8, 0.95, 1e-10);
const MUON_MOMENTUM: f64 = 0.95;

/// What the optimizer remembers: of each parameter, by path, the moments, flattened.
#[derive(Clone, Debug)]
pub struct State<B: Kernels> {
    /// Steps done.
    pub step: u64,
    /// First and second moment; Muon has one only.
    pub moments: BTreeMap<String, Vec<Tensor<B, 1>>>,
    /// Global norm of the last gradient, before clipping: one number on the device.
    pub gradient_norm: Option<Tensor<B, 1>>,
}

impl<B: Kernels> Default for State<B> {
    fn default() -> Self {
        Self { step: 0, moments: BTreeMap::new(), gradient_norm: None }
    }
}

/// The optimizer of a recipe's choices.
#[derive(Clone)]
pub struct RecipeOptimizer<B: Kernels> {
    choices: Choices,
    precision: Precision,
    parts: usize,
    state: Arc<Mutex<State<B>>>,
}

impl<B: Kernels> RecipeOptimizer<B> {
    /// The optimizer of a plan, from a state on; each gradient that it is given is the sum over the
    /// parts of a step, and is averaged.
    #[must_use]
    pub fn new(plan: &Plan, state: State<B>) -> Self {
        let (choices, precision) = (plan.choices, plan.precision);
        Self { choices, precision, parts: plan.accumulation, state: Arc::new(Mutex::new(state)) }
    }

    /// Global norm of the last gradient, before clipping.
    pub fn gradient_norm(&self) -> f64 {
        let norm = self.state().gradient_norm.clone();
        let read = |norm: Tensor<B, 1>| norm.into_data().iter::<f64>().next();
        norm.and_then(read).unwrap_or(0.0)
    }

    /// What it remembers.
    pub fn state(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Kernels> burn::optim::Optimizer<Network<Autodiff<B>>, Autodiff<B>> for RecipeOptimizer<B> {
    // What it remembers is saved by `checkpoint.rs`.
    type Record = ();

    /// `factor` is the schedule's, on every learning rate.
    fn step(
        &mut self,
        factor: f64,
        network: Network<Autodiff<B>>,
        mut gradients: GradientsParams,
    ) -> Network<Autodiff<B>> {
        let mut norm = SquaredNorm { gradients: &gradients, sum: None };
        network.visit(&mut norm);
        let average = 1.0 / self.parts as f64;
        let norm = norm.sum.map(|sum| sum.sqrt() * average);
        let scale = match (self.choices.clip_norm, &norm) {
            (Some(limit), Some(norm)) => {
                Some(((norm.clone() + 1e-12).recip() * limit).clamp_max(1.0) * average)
            }
            (None, Some(norm)) if self.parts > 1 => Some(norm.ones_like() * average),
            _ => None,
        };
        let mut state = self.state();
        state.gradient_norm = norm;
        state.step += 1;
        network.map(&mut Update {
            optimizer: self.choices.optimizer,
            precision: self.precision,
            factor,
            scale,
            gradients: &mut gradients,
            state: &mut state,
            paths: Paths::default(),
        })
    }

    fn step_multi(
        &mut self,
        factor: f64,
        network: Network<Autodiff<B>>,
        mut gradients: MultiGradientsParams,
    ) -> Network<Autodiff<B>> {
        let mut sum = GradientsParams::new();
        network.visit(&mut Gather { from: &mut gradients, into: &mut sum });
        self.step(factor, network, sum)
    }

    fn to_record(&self) {}

    fn load_record(self, (): ()) -> Self {
        self
    }
}

/// Sums the squares of all gradients, in the order of the network's fields.
struct SquaredNorm<'a, B: Kernels> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<B, 1>>,
}

impl<B: Kernels> ModuleVisitor<Autodiff<B>> for SquaredNorm<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let Some(gradient) = self.gradients.get::<B, D>(param.id) else { return };
        let count = gradient.shape().num_elements();
        let square = B::squared_norm(gradient.reshape([count]));
        self.sum = Some(match self.sum.take() {
            None => square,
            Some(sum) => sum + square,
        });
    }
}

/// Sums the gradients of several devices.
struct Gather<'a> {
    from: &'a mut MultiGradientsParams,
    into: &'a mut GradientsParams,
}

impl<B: Kernels> ModuleVisitor<Autodiff<B>> for Gather<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        if let Some((gradient, _)) = self.from.remove::<B, D>(param.id) {
            self.into.register(param.id, gradient);
        }
    }
}

/// Applies one step to each parameter that has a gradient.
struct Update<'a, B: Kernels> {
    optimizer: Optimizer,
    precision: Precision,
    factor: f64,
    scale: Option<Tensor<B, 1>>,
    gradients: &'a mut GradientsParams,
    state: &'a mut State<B>,
    paths: Paths,
}

impl<B: Kernels> Update<'_, B> {
    /// Muon's settings, if it is Muon that moves this parameter.
    fn muon(&self, path: &str, rank: usize) -> Option<MuonSettings> {
        match self.optimizer {
            Optimizer::Muon { matrix_learning_rate, weight_decay, .. }
                if rank == 2 && path.starts_with("blocks.") =>
            {
                Some(MuonSettings {
                    learning_rate: matrix_learning_rate * self.factor,
                    momentum: MUON_MOMENTUM,
                    weight_decay,
                    column_blocks: if path.ends_with("qkv") { 3 } else { 1 },
                    precision: self.precision,
                })
            }
            _ => None,
        }
    }

    fn adam(&self, path: &str) -> AdamSettings {
        let (rate, (beta1, beta2, epsilon)) = match self.optimizer {
            Optimizer::Adam { learning_rate } => (learning_rate, ADAM),
            Optimizer::Muon { embedding_learning_rate, head_learning_rate, .. } => {
                let of_embedding = path == "embedding";
                let rate = if of_embedding { embedding_learning_rate } else { head_learning_rate };
                (rate, ADAM_BESIDE_MUON)
            }
        };
        let step = self.state.step;
        AdamSettings { learning_rate: rate * self.factor, beta1, beta2, epsilon, step }
    }

    fn update<const D: usize>(
        &mut self,
        weights: Tensor<B, D>,
        gradient: Tensor<B, D>,
    ) -> Tensor<B, D> {
        let path = self.paths.current();
        let shape = weights.shape();
        let count = shape.num_elements();
        let (flat, gradient) = (weights.reshape([count]), gradient.reshape([count]));
        let gradient = match &self.scale {
            Some(scale) => gradient * scale.clone(),
            None => gradient,
        };
        let zeros = || Tensor::zeros([count], &gradient.device());
        let mut moments = self.state.moments.remove(&path).unwrap_or_default().into_iter();
        let first = moments.next().unwrap_or_else(zeros);
        let (flat, moments) = match self.muon(&path, D) {
            Some(settings) => {
                let square = [shape[0], shape[1]];
                let state = [flat.reshape(square), first.reshape(square)];
                let [weights, momentum] = B::muon_step(settings, gradient.reshape(square), state);
                (weights.reshape([count]), vec![momentum.reshape([count])])
            }
            None => {
                let state = [flat, first, moments.next().unwrap_or_else(zeros)];
                let [weights, first, second] = B::adam_step(self.adam(&path), gradient, state);
                (weights, vec![first, second])
            }
        };
        self.state.moments.insert(path, moments);
        flat.reshape(shape)
    }
}

impl<B: Kernels> ModuleMapper<Autodiff<B>> for Update<'_, B> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.paths.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.paths.exit();
    }

    fn map_float<const D: usize>(
        &mut self,
        param: Param<Tensor<Autodiff<B>, D>>,
    ) -> Param<Tensor<Autodiff<B>, D>> {
        let (id, tensor, mapper) = param.consume();
        let Some(gradient) = self.gradients.remove::<B, D>(id) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let updated = Tensor::from_inner(self.update(tensor.inner(), gradient)).require_grad();
        Param::from_mapped_value(id, updated, mapper)
    }
}
