//! The engine beside the network that trains: the same tensors, and the same losses.

use burn::backend::{Flex, NdArray};
use lmtrain_engine::testing::{variants, weights};
use lmtrain_engine::{Engine, shapes};

use crate::batches::Batch;
use crate::network::Network;
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
