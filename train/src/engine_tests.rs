//! The engine compared with the network that is trained: the same tensors, and the same losses.

use burn::backend::{Flex, NdArray};
use lmtrain_engine::tensor_file::TensorFile;
use lmtrain_engine::testing::{variants, weights};
use lmtrain_engine::weight_code::round;
use lmtrain_engine::{Engine, shapes};
use lmtrain_runs::recipe::Weights;
use lmtrain_runs::{Choices, Plan};

use crate::batches::Batch;
use crate::network::Network;
use crate::reference_tests::gradients;
use crate::weights::{network_from, tensors_of};

#[test]
fn shapes_are_those_of_the_network() {
    for (name, plan) in variants() {
        let tensors = tensors_of(&Network::<NdArray>::new(&plan, &Default::default()));
        let tensors = tensors.into_iter().map(|(name, numbers)| (name, numbers.shape));
        assert_eq!(shapes(&plan), tensors.collect(), "{name}");
        let count = |shape: &Vec<usize>| shape.iter().product::<usize>() as u64;
        assert_eq!(shapes(&plan).values().map(count).sum::<u64>(), plan.parameters(), "{name}");
    }
}

/// A network of whole numbers trains with the very levels that are saved; the engine rounds what they are multiplied by,
/// too, to 8 bits.
#[test]
fn levels_that_train_are_those_that_are_saved() {
    for chosen in [Weights::Int8, Weights::Int4] {
        let (_, mut plan) = variants().into_iter().next().expect("a plan");
        (plan.context, plan.choices.weights) = (64, chosen);
        let device = Default::default();
        let targets: Vec<i32> = (0..64).map(|i| (7 * i + 3 * i * i) % 256).collect();
        let nats = |plan: &Plan, mut file: TensorFile| {
            let network = network_from::<Flex>(plan, &mut file, &device).expect("every tensor");
            let batch = Batch::<Flex>::new(plan.begin_token(), targets.clone(), 64, &device);
            let nats = network.loss(batch.inputs, batch.targets).into_data();
            nats.iter::<f64>().collect::<Vec<_>>()
        };
        let saved = round(&weights(&plan), chosen.into()).expect("finite");
        let floats =
            Plan { choices: Choices { weights: Weights::F16, ..plan.choices }, ..plan.clone() };
        // As floats, the saved weights are what the network rounds its own to.
        let trained = nats(&plan, weights(&plan));
        assert_eq!(trained, nats(&floats, saved.clone()), "{chosen:?}");
        assert_ne!(trained, nats(&floats, weights(&plan)), "{chosen:?}: nothing was rounded");
        let engine = Engine::of_run(&plan, &mut saved.clone()).expect("every tensor");
        let tokens: Vec<u32> = targets.iter().map(|it| it.cast_unsigned()).collect();
        let bits = engine.score(plan.begin_token(), &[&tokens]).concat();
        let bits = bits.iter().copied().map(f64::from).sum::<f64>();
        let expected = trained.iter().sum::<f64>() * lmtrain_runs::units::BITS_PER_NAT;
        assert!((bits / expected - 1.0).abs() < 0.01, "{chosen:?}: {bits} {expected}");
        // The gradient passes straight through: it is that of the rounded weights.
        let gradients = |plan: &Plan, mut file: TensorFile| {
            let network = network_from::<Flex>(plan, &mut file, &device).expect("every tensor");
            let batch = Batch::new(plan.begin_token(), targets.clone(), 64, &device);
            gradients(&network.with_gradients(), batch)
        };
        assert_eq!(gradients(&plan, weights(&plan)), gradients(&floats, saved), "{chosen:?}");
        // Before rounding starts, nothing is rounded.
        let network = network_from::<Flex>(&plan, &mut weights(&plan), &device);
        let batch = Batch::<Flex>::new(plan.begin_token(), targets.clone(), 64, &device);
        let nats_before = network.expect("every tensor").unrounded();
        let nats_before = nats_before.loss(batch.inputs, batch.targets).into_data();
        let nats_before: Vec<f64> = nats_before.iter::<f64>().collect();
        assert_eq!(nats_before, nats(&floats, weights(&plan)), "{chosen:?}");
    }
}

/// Of the network that trains, within what rounded keys and values cost, averaged over the keys.
#[test]
fn the_engine_is_the_network_that_trains() {
    for (name, mut plan) in variants() {
        plan.context = 200;
        let (mut file, device) = (weights(&plan), Default::default());
        let network = network_from::<Flex>(&plan, &mut file, &device).expect("every tensor");
        let mut file = weights(&plan);
        let engine = Engine::of_run(&plan, &mut file).expect("every tensor");
        assert!(file.tensors.is_empty(), "tensors are left over: {:?}", file.tensors.keys());
        let token = |i: u32| (7 * i + 3 * i * i) % 256;
        let chunks: Vec<Vec<u32>> =
            (0..2).map(|c| (0..200).map(|i| token(i + c)).collect()).collect();
        let slices: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
        let targets = chunks.concat().into_iter().map(u32::cast_signed).collect();
        let batch = Batch::<Flex>::new(plan.begin_token(), targets, 200, &device);
        let nats = network.loss(batch.inputs, batch.targets).into_data();
        let found = engine.score(plan.begin_token(), &slices).concat();
        let (mut worst, mut sum) = (0.0_f64, 0.0_f64);
        for (nats, bits) in nats.iter::<f64>().zip(&found) {
            let error = f64::from(*bits) - nats * lmtrain_runs::units::BITS_PER_NAT;
            worst = worst.max(error.abs());
            sum += error;
        }
        assert!(worst < 0.02 && (sum / 400.0).abs() < 1e-3, "{name}: {worst} {sum}");
    }
}
