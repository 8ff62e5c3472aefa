//! The optimizer of a plan: Muon for the blocks' matrices and AdamW for the rest, or Adam for all, with the gradient
//! clipped to a global norm. burn-train's learner hides its optimizer, so the optimizer's state is shared with the code
//! that saves it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::backend::Autodiff;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{GradientsParams, MultiGradientsParams};
use burn::tensor::Tensor;
use lmtrain_runs::recipe::Optimizer;
use lmtrain_runs::{Choices, Plan, Precision};

use crate::network::Network;
use crate::ops::{AdamSettings, Kernels, MuonSettings, MuonStep};
use crate::paths::Paths;

/// The state of the optimizer: for each parameter, by path, its moments, flattened.
#[derive(Clone, Debug)]
pub struct State<B: Kernels> {
    /// Steps done.
    pub step: u64,
    /// First and second moment; Muon has one only.
    pub moments: BTreeMap<String, Vec<Tensor<B, 1>>>,
    /// The running mean of each parameter, by path, flattened; of recipes that keep one.
    pub average: BTreeMap<String, Tensor<B, 1>>,
    /// Global norm of the last gradient, before clipping: one number on the device.
    pub gradient_norm: Option<Tensor<B, 1>>,
}

impl<B: Kernels> Default for State<B> {
    fn default() -> Self {
        let (moments, average) = (BTreeMap::new(), BTreeMap::new());
        Self { step: 0, moments, average, gradient_norm: None }
    }
}

/// The optimizer of a recipe's choices.
#[derive(Clone)]
pub struct RecipeOptimizer<B: Kernels> {
    choices: Choices,
    steps: u64,
    precision: Precision,
    parts: usize,
    state: Arc<Mutex<State<B>>>,
}

impl<B: Kernels> RecipeOptimizer<B> {
    /// The optimizer of a plan, from a state on; each gradient that it is given is the sum over the
    /// parts of a step, and is averaged.
    #[must_use]
    pub fn new(plan: &Plan, state: State<B>) -> Self {
        let Plan { choices, steps, precision, accumulation: parts, .. } = *plan;
        Self { choices, steps, precision, parts, state: Arc::new(Mutex::new(state)) }
    }

    /// Global norm of the last gradient, before clipping.
    pub fn gradient_norm(&self) -> f64 {
        let norm = self.state().gradient_norm.clone();
        let read = |norm: Tensor<B, 1>| norm.into_data().iter::<f64>().next();
        norm.and_then(read).unwrap_or(0.0)
    }

    /// The network that is saved and measured: the running means, if they are kept.
    pub fn averaged(&self, network: Network<B>) -> Network<B> {
        network.map(&mut Averaged { state: &self.state(), paths: Paths::default() })
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
        let mut all = Gradients { gradients: &gradients, all: Vec::new() };
        network.visit(&mut all);
        let average = 1.0 / self.parts as f64;
        let norm = B::squared_norms(all.all).map(|sum| sum.sqrt() * average);
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
        let mut update = Update {
            choices: self.choices,
            momentum: self.choices.momentum_at(state.step - 1, self.steps),
            weight_decay: self.choices.weight_decay_at(state.step - 1, self.steps),
            precision: self.precision,
            factor,
            scale,
            gradients: &mut gradients,
            state: &mut state,
            paths: Paths::default(),
            matrices: BTreeMap::new(),
        };
        update.step_matrices(&network);
        network.map(&mut update)
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

/// Gathers all gradients, flattened, in the order of the network's fields.
struct Gradients<'a, B: Kernels> {
    gradients: &'a GradientsParams,
    all: Vec<Tensor<B, 1>>,
}

impl<B: Kernels> ModuleVisitor<Autodiff<B>> for Gradients<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let Some(gradient) = self.gradients.get::<B, D>(param.id) else { return };
        let count = gradient.shape().num_elements();
        self.all.push(gradient.reshape([count]));
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

/// Puts the running mean of each parameter in its place, if there is one.
struct Averaged<'a, B: Kernels> {
    state: &'a State<B>,
    paths: Paths,
}

impl<B: Kernels> ModuleMapper<B> for Averaged<'_, B> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.paths.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.paths.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        match self.state.average.get(&self.paths.current()) {
            Some(mean) => param.map(|own| mean.clone().reshape(own.shape())),
            None => param,
        }
    }
}

/// Applies one step to each parameter that has a gradient.
struct Update<'a, B: Kernels> {
    choices: Choices,
    /// At this step.
    momentum: f64,
    /// At this step, before the learning rate.
    weight_decay: f64,
    precision: Precision,
    factor: f64,
    scale: Option<Tensor<B, 1>>,
    gradients: &'a mut GradientsParams,
    state: &'a mut State<B>,
    paths: Paths,
    /// Muon's matrices after the step, by path: weights and momentum.
    matrices: BTreeMap<String, [Tensor<B, 2>; 2]>,
}

/// Gathers what Muon steps on, by path.
struct Matrices<'a, 'b, B: Kernels> {
    update: &'a mut Update<'b, B>,
    paths: Vec<String>,
    steps: Vec<MuonStep<B>>,
}

impl<B: Kernels> ModuleVisitor<Autodiff<B>> for Matrices<'_, '_, B> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.update.paths.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.update.paths.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let path = self.update.paths.current();
        if !is_matrix(&path) {
            return;
        }
        let Some(gradient) = self.update.gradients.remove::<B, D>(param.id) else { return };
        let weights = param.val().inner();
        let [inputs, outputs] = [0, 1].map(|axis| weights.dims()[axis]);
        let square = |x: Tensor<B, D>| x.reshape([inputs, outputs]);
        let momentum = match self.update.state.moments.remove(&path).and_then(|mut it| it.pop()) {
            Some(momentum) => momentum.reshape([inputs, outputs]),
            None => Tensor::zeros([inputs, outputs], &weights.device()),
        };
        self.steps.push(MuonStep {
            settings: self.update.muon(&path),
            gradient: square(gradient),
            scale: self.update.scale.clone(),
            weights: square(weights),
            momentum,
        });
        self.paths.push(path);
    }
}

impl<B: Kernels> Update<'_, B> {
    /// Muon's step on all matrices of the blocks: a GPU takes those of one shape together.
    fn step_matrices(&mut self, network: &Network<Autodiff<B>>) {
        if self.choices.optimizer != Optimizer::Muon {
            return;
        }
        let mut matrices = Matrices { update: self, paths: Vec::new(), steps: Vec::new() };
        network.visit(&mut matrices);
        let Matrices { paths, steps, .. } = matrices;
        self.matrices = paths.into_iter().zip(B::muon_steps(steps)).collect();
    }

    /// Muon's settings for a matrix of the blocks.
    fn muon(&self, path: &str) -> MuonSettings {
        MuonSettings {
            learning_rate: self.learning_rate(path),
            momentum: self.momentum,
            weight_decay: if self.choices.cautious_decay { 0.0 } else { self.weight_decay },
            column_blocks: if path.ends_with("qkv") { 3 } else { 1 },
            precision: self.precision,
        }
    }

    fn adam(&self, path: &str) -> AdamSettings {
        let Choices { beta1, beta2, epsilon, .. } = self.choices;
        let (learning_rate, step) = (self.learning_rate(path), self.state.step);
        AdamSettings { learning_rate, beta1, beta2, epsilon, step }
    }

    fn learning_rate(&self, path: &str) -> f64 {
        let rate = match path.rsplit('.').next().unwrap_or(path) {
            "embedding" | "values" => self.choices.embedding_learning_rate,
            "qkv" | "proj" | "up" | "down" => self.choices.matrix_learning_rate,
            "residual" | "skip" | "convolution" | "qkv_convolution" | "embedding_convolution" => {
                self.choices.scalar_learning_rate
            }
            _ => self.choices.head_learning_rate,
        };
        rate * self.factor
    }

    /// The weights after the step, for the gradient of one that AdamW steps on.
    fn update<const D: usize>(
        &mut self,
        weights: Tensor<B, D>,
        gradient: Option<Tensor<B, D>>,
    ) -> Tensor<B, D> {
        let path = self.paths.current();
        let shape = weights.shape();
        let count = shape.num_elements();
        let before = weights.reshape([count]);
        let stepped = self.matrices.remove(&path);
        let is_muon = stepped.is_some();
        let decays = is_matrix(&path) && self.weight_decay > 0.0;
        let kept = (decays && (self.choices.cautious_decay || !is_muon)).then(|| before.clone());
        let (after, moments) = match (stepped, gradient) {
            (Some([weights, momentum]), _) => {
                (weights.reshape([count]), vec![momentum.reshape([count])])
            }
            (None, Some(gradient)) => {
                let device = before.device();
                let zeros = || Tensor::zeros([count], &device);
                let mut moments = self.state.moments.remove(&path).unwrap_or_default().into_iter();
                let [first, second] = [0, 1].map(|_| moments.next().unwrap_or_else(zeros));
                let gradient = gradient.reshape([count]);
                let (settings, state) = (self.adam(&path), [before, first, second]);
                let [weights, first, second] = B::adam_step(settings, gradient, &self.scale, state);
                (weights, vec![first, second])
            }
            (None, None) => return before.reshape(shape),
        };
        let after = match kept {
            Some(before) => {
                let share = self.weight_decay * self.learning_rate(&path);
                decayed(before, after, share, self.choices.cautious_decay)
            }
            None => after,
        };
        if let Some(most) = self.choices.average {
            // The first steps are forgotten sooner.
            let step = self.state.step as f64;
            let kept = most.min(step / (step + 9.0));
            let mean = match self.state.average.remove(&path) {
                Some(mean) => mean * kept + after.clone() * (1.0 - kept),
                None => after.clone(),
            };
            self.state.average.insert(path.clone(), mean);
        }
        self.state.moments.insert(path, moments);
        after.reshape(shape)
    }
}

/// Whether it is one of the blocks' matrices.
fn is_matrix(path: &str) -> bool {
    ["qkv", "proj", "up", "down"].contains(&path.rsplit('.').next().unwrap_or(path))
}

/// Weights after a step, less this share of what they were before it; of cautious decay only where
/// the step made them smaller as well (Chen et al., arXiv 2510.12402).
fn decayed<B: Kernels>(
    before: Tensor<B, 1>,
    after: Tensor<B, 1>,
    share: f64,
    cautious: bool,
) -> Tensor<B, 1> {
    let lost = before.clone() * share;
    if !cautious {
        return after - lost;
    }
    let grew = ((before.clone() - after.clone()) * before).lower_equal_elem(0.0);
    after - lost.mask_fill(grew, 0.0)
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
        let gradient = self.gradients.remove::<B, D>(id);
        if gradient.is_none() && !self.matrices.contains_key(&self.paths.current()) {
            return Param::from_mapped_value(id, tensor, mapper);
        }
        let updated = Tensor::from_inner(self.update(tensor.inner(), gradient)).require_grad();
        Param::from_mapped_value(id, updated, mapper)
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::module::AutodiffModule;
    use burn::optim::Optimizer as _;
    use burn_train::TrainStep;
    use lmtrain_engine::testing::plan;
    use lmtrain_runs::Recipe;

    use super::*;
    use crate::reference_tests::{batch, network};
    use crate::weights::tensors_of;

    /// The weights of a run after two steps: the sum of their magnitudes, by path.
    fn trained(optimizer: Optimizer, weight_decay: f64, cautious: bool) -> BTreeMap<String, f64> {
        let mut plan = plan(Recipe::Modern);
        plan.choices.optimizer = optimizer;
        (plan.choices.weight_decay, plan.choices.cautious_decay) = (weight_decay, cautious);
        let mut network = network::<Flex>(&plan);
        let mut optimizer = RecipeOptimizer::<Flex>::new(&plan, State::default());
        for step in 0..2 {
            let gradients = network.step(batch(&plan, step)).grads;
            network = optimizer.step(1.0, network, gradients);
        }
        let sum = |numbers: Vec<f32>| numbers.iter().map(|it| f64::from(it.abs())).sum();
        let tensors = tensors_of(&network.valid()).into_iter();
        tensors.map(|(path, numbers)| (path, sum(numbers.values))).collect()
    }

    #[test]
    fn weight_decay_shrinks_the_matrices_alone() {
        for optimizer in [Optimizer::Muon, Optimizer::Adam] {
            let none = trained(optimizer, 0.0, false);
            let [cautious, plain] = [true, false].map(|it| trained(optimizer, 5.0, it));
            for path in ["blocks.0.up", "blocks.3.qkv"] {
                let sums = [&plain, &cautious, &none].map(|weights| weights[path]);
                assert!(sums.is_sorted() && sums[0] < 0.95 * sums[2], "{optimizer:?}: {sums:?}");
            }
            let others = (plain["embedding"] / none["embedding"] - 1.0).abs();
            assert!(others < 0.01, "the embedding does not decay: {others}");
        }
    }

    #[test]
    fn the_average_follows_the_weights() {
        let mut plan = plan(Recipe::Modern);
        plan.choices.average = Some(0.9);
        let mut network = network::<Flex>(&plan);
        let mut optimizer = RecipeOptimizer::<Flex>::new(&plan, State::default());
        let (mut seen, mut mean) = (Vec::new(), 0.0_f64);
        for step in 0..30 {
            let gradients = network.step(batch(&plan, step)).grads;
            network = optimizer.step(1.0, network, gradients);
            let weight = f64::from(tensors_of(&network.valid())["blocks.1.up"].values[5]);
            seen.push(weight);
            let kept = (0.9_f64).min((step as f64 + 1.0) / (step as f64 + 10.0));
            mean = if step == 0 { weight } else { kept * mean + (1.0 - kept) * weight };
        }
        let averaged = tensors_of(&optimizer.averaged(network.valid()));
        let found = f64::from(averaged["blocks.1.up"].values[5]);
        assert!((found - mean).abs() < 1e-5 && (found - seen[29]).abs() > 1e-5, "{found} {mean}");
        assert_eq!(averaged.len(), tensors_of(&network.valid()).len());
    }

    #[test]
    fn cautious_decay_leaves_what_grew() {
        let tensor = |values: [f32; 4]| Tensor::<Flex, 1>::from_floats(values, &Default::default());
        let (before, after) = (tensor([1.0, 1.0, -1.0, -1.0]), tensor([0.9, 1.1, -1.1, -0.9]));
        let found: Vec<f32> = decayed(before, after, 0.5, true).into_data().iter().collect();
        for (found, expected) in found.into_iter().zip([0.4, 1.1, -1.1, -0.4]) {
            assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
        }
    }
}
