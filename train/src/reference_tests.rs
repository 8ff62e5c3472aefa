//! Both recipes compared with PyTorch: `reference/make.py` writes losses, gradients and 20 training steps in float64 to
//! `reference/reference.json`; weights and tokens are made by the same formulas here.

use std::collections::BTreeMap;

use burn::backend::{Autodiff, Flex, NdArray};
use burn::module::{AutodiffModule, Module, ModuleVisitor, Param};
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::Tensor;
use burn_train::TrainStep;
use lmtrain_engine::testing::{EVERYTHING, plan, variants, weights, with};
use lmtrain_kernels::testing::assert_same_bits;
use lmtrain_runs::recipe::Recipe;
use lmtrain_runs::{Plan, Precision};
use serde_json::Value;

use crate::batches::Batch;

use crate::network::Network;
use crate::ops::Kernels;
use crate::optimizer::{RecipeOptimizer, State};
use crate::paths::Paths;
use crate::weights::{network_from, tensors_of};

/// Float32 rounds at 6e-8; sums of some hundred terms and a chain of layers bring that to about
/// 1e-6, and Newton–Schulz, which amplifies small singular values 3.4 times a step, to 1e-4.
const FORWARD_TOLERANCE: f64 = 2e-5;
const GRADIENT_TOLERANCE: f64 = 1e-4;
const TRAINING_TOLERANCE: f64 = 1e-3;
/// How far losses of bf16 may be from those of f32.
const BAND_OF_BF16: f64 = 0.05;
/// What a rounding of a mean loss, 1e-7, makes of a slope over the longest step.
const SLOPE_NOISE: f64 = 2e-6;

impl Kernels for NdArray {}

pub(crate) fn batch<B: Kernels>(plan: &Plan, step: u64) -> Batch<Autodiff<B>> {
    let token = |i: u64| ((7 * i + 3 * i * i + 11 * step) % 256) as i32;
    let (time, count) = (plan.context, (plan.batch * plan.context) as u64);
    Batch::new(plan.begin_token(), (0..count).map(token).collect(), time, &Default::default())
}

/// The network of [`weights`].
pub(crate) fn network<B: Kernels>(plan: &Plan) -> Network<Autodiff<B>> {
    let (mut file, device) = (weights(plan), Default::default());
    network_from::<B>(plan, &mut file, &device).expect("every tensor is there").with_gradients()
}

struct CollectGradients<'a> {
    gradients: &'a GradientsParams,
    paths: Paths,
    found: BTreeMap<String, Vec<f32>>,
}

impl<B: Kernels> ModuleVisitor<Autodiff<B>> for CollectGradients<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.paths.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.paths.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let gradient = self.gradients.get::<B, D>(param.id).expect("every weight has a gradient");
        self.found.insert(self.paths.current(), gradient.into_data().iter().collect());
    }
}

/// The gradient of each weight, by its path.
pub(crate) fn gradients<B: Kernels>(
    network: &Network<Autodiff<B>>,
    batch: Batch<Autodiff<B>>,
) -> BTreeMap<String, Vec<f32>> {
    let gradients = &network.step(batch).grads;
    let mut collect =
        CollectGradients { gradients, paths: Paths::default(), found: BTreeMap::new() };
    network.visit(&mut collect);
    collect.found
}

fn close(what: &str, got: f64, expected: f64, scale: f64, tolerance: f64) {
    let error = (got - expected).abs() / scale.abs().max(1e-12);
    assert!(error < tolerance, "{what}: {got} where PyTorch has {expected} (off by {error:.1e})");
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().expect("a list");
    list.iter().map(|item| item.as_f64().expect("a number")).collect()
}

/// Compares norm and first elements of each tensor, relative to its norm.
fn compare(expected: &Value, got: &BTreeMap<String, Vec<f32>>, tolerance: f64) {
    let expected = expected.as_object().expect("an object");
    assert_eq!(expected.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>());
    for (path, values) in got {
        let norm = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let reference = expected[path]["norm"].as_f64().expect("a number");
        close(path, norm, reference, reference, tolerance);
        for (value, first) in values.iter().zip(numbers(&expected[path]["first"])) {
            close(path, f64::from(*value), first, reference, tolerance);
        }
    }
}

fn agrees<B: Kernels>(recipe: Recipe) {
    let text = include_str!("../reference/reference.json");
    let reference: Value = serde_json::from_str(text).expect("valid JSON");
    let reference = &reference[recipe.to_string()];
    let plan = plan(recipe);
    let mut network = network::<B>(&plan);

    let first = batch::<B>(&plan, 0);
    let nats = network.loss(first.inputs.clone(), first.targets.clone()).into_data();
    for (nats, expected) in nats.iter::<f64>().zip(numbers(&reference["nats"])) {
        close("loss of a token", nats, expected, expected, FORWARD_TOLERANCE);
    }
    compare(&reference["gradients"], &gradients(&network, first), GRADIENT_TOLERANCE);

    let mut optimizer = RecipeOptimizer::<B>::new(&plan, State::default());
    let expected =
        numbers(&reference["losses"]).into_iter().zip(numbers(&reference["gradient_norms"]));
    for (step, (expected_loss, expected_norm)) in (0..).zip(expected) {
        let output = network.step(batch(&plan, step));
        let loss = output.item.loss.into_data().iter::<f64>().next().expect("one number");
        let factor = plan.choices.factor(step, plan.steps);
        network = optimizer.step(factor, network, output.grads);
        close("loss of a step", loss, expected_loss, expected_loss, TRAINING_TOLERANCE);
        let norm = optimizer.gradient_norm();
        close("gradient norm", norm, expected_norm, expected_norm, 10.0 * TRAINING_TOLERANCE);
    }
    let weights = tensors_of(&network.valid());
    let weights = weights.into_iter().map(|(path, numbers)| (path, numbers.values)).collect();
    compare(&reference["weights"], &weights, TRAINING_TOLERANCE);
}

#[test]
fn the_modern_recipe_agrees_with_pytorch() {
    agrees::<Flex>(Recipe::Modern);
    agrees::<NdArray>(Recipe::Modern);
}

#[test]
fn the_paper_recipe_agrees_with_pytorch() {
    agrees::<Flex>(Recipe::Paper);
    agrees::<NdArray>(Recipe::Paper);
}

/// The gradients of every choice: the kernels', burn's, and what the loss does along each.
#[test]
fn choices_have_their_gradients() {
    for (name, plan) in variants() {
        let found = gradients(&network::<Flex>(&plan), batch(&plan, 0));
        let plain = gradients(&network::<NdArray>(&plan), batch(&plan, 0));
        assert!(found.keys().eq(plain.keys()), "{name}");
        for (path, gradient) in &found {
            let norm = |values: &mut dyn Iterator<Item = f64>| {
                values.map(|value| value * value).sum::<f64>().sqrt()
            };
            let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
            let (gradient, plain) = (wide(gradient), wide(&plain[path]));
            let length = norm(&mut plain.iter().copied());
            let off = norm(&mut gradient.iter().zip(&plain).map(|(one, other)| one - other));
            assert!(off < 10.0 * GRADIENT_TOLERANCE * length, "{name}: {path} is off by {off:.1e}");
            let slope = slope_along(&plan, path, &gradient);
            let tolerance = 0.02 * length + SLOPE_NOISE;
            assert!((slope - length).abs() < tolerance, "{name}: {path}: {slope} for {length}");
        }
    }
}

/// What the loss gains a step along a direction of one tensor, of length 1, by a difference.
fn slope_along(plan: &Plan, path: &str, direction: &[f64]) -> f64 {
    let length = direction.iter().map(|it| it * it).sum::<f64>().sqrt();
    // Large enough for f32 to see, small enough to be straight.
    let step = (0.001 / length).min(0.05);
    let loss = |step: f64| {
        let mut file = weights(plan);
        let tensor = file.tensors.get_mut(path).expect("a tensor");
        for (value, along) in tensor.values.iter_mut().zip(direction) {
            *value += (step * along / length) as f32;
        }
        let network = network_from::<NdArray>(plan, &mut file, &Default::default());
        let Batch { inputs, targets, .. } = batch::<NdArray>(plan, 0);
        let network = network.expect("every tensor is there");
        let nats = network.loss(inputs.inner(), targets.inner()).into_data();
        nats.iter::<f64>().sum::<f64>() / nats.num_elements() as f64
    };
    (loss(step) - loss(-step)) / (2.0 * step)
}

/// The contract of the kernels, for training: the same weights at every SIMD level and on every
/// number of threads. The batch is one that threads share.
#[test]
fn steps_give_the_same_weights_everywhere() {
    let everything =
        with(&format!("{EVERYTHING} weight-decay=0.1 cautious-decay=true average=0.9"));
    // Without the instruction, pairs of bf16 are taken apart one by one: fifty steps of every plan would take minutes.
    let plans = [(plan(Recipe::Modern), 50), (plan(Recipe::Paper), 6), (everything, 6)];
    for (plan, steps_in_bf16) in plans {
        for (precision, mut plan) in both_precisions(&plan) {
            let steps = if precision == Precision::F32 { 50 } else { steps_in_bf16 };
            (plan.batch, plan.context, plan.steps) = (3, 24, steps);
            assert_same_bits(&format!("{precision}: {:?}", plan.choices), || trained(&plan).1);
        }
    }
}

fn both_precisions(plan: &Plan) -> [(Precision, Plan); 2] {
    [Precision::F32, Precision::Bf16]
        .map(|precision| (precision, Plan { precision, ..plan.clone() }))
}

/// The losses and the weights of a plan's steps.
fn trained(plan: &Plan) -> (Vec<f64>, Vec<f32>) {
    let mut network = network::<Flex>(plan);
    let mut optimizer = RecipeOptimizer::<Flex>::new(plan, State::default());
    let mut losses = Vec::new();
    for step in 0..plan.steps {
        let factor = plan.choices.factor(step, plan.steps);
        let Batch { inputs, targets, .. } = batch(plan, step);
        let loss = network.mean_loss(inputs, targets);
        losses.push(f64::from(loss.clone().into_scalar()));
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(factor, network, gradients);
    }
    (losses, tensors_of(&network.valid()).into_values().flat_map(|it| it.values).collect())
}

/// bf16 keeps 8 bits of what is multiplied: a loss follows that of f32, and is not the same.
#[test]
fn two_hundred_steps_in_bf16_stay_near_those_in_f32() {
    for recipe in [Recipe::Modern, Recipe::Paper] {
        let plan = Plan { batch: 2, context: 32, steps: 200, ..plan(recipe) };
        let [exact, rounded] = both_precisions(&plan).map(|(_, plan)| trained(&plan).0);
        assert_ne!(exact, rounded);
        for (step, (exact, rounded)) in exact.iter().zip(&rounded).enumerate() {
            let near = (rounded / exact - 1.0).abs() < BAND_OF_BF16;
            assert!(near, "{recipe:?}, step {step}: {rounded} for {exact} nats");
        }
    }
}
