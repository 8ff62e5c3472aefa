//! The passes of a step: one after another on a single device, in parallel on several. Each device has a thread and a
//! copy of the network, and computes every n-th pass. Gradients and losses are summed on the first device in the order
//! of the passes, so the number of devices changes no bit of the sums. (burn-train's own multi-device step sums each
//! parameter on a device that depends on its number, and takes batches from loaders; here a batch is a function of the
//! step.)
//!
//! Batches are read and copied to their devices by a separate thread, a few passes ahead.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};

use burn::backend::Autodiff;
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use burn_train::{TrainOutput, TrainStep};

use super::components::StepOutput;
use crate::batches::{Batch, Batches};
use crate::network::Network;
use crate::ops::Kernels;

/// Batches that wait, for each device.
const AHEAD: usize = 2;

/// Makes the passes of steps, in order.
pub(super) struct Workers<B: Kernels> {
    batches: Receiver<Batch<Autodiff<B>>>,
    parts: usize,
    device: B::Device,
    /// None on one device, which needs no other thread.
    others: Vec<Worker<B>>,
}

/// A network, and what to pass through it.
type Order<B> = (Network<Autodiff<B>>, Batch<Autodiff<B>>);

/// The thread of one device.
struct Worker<B: Kernels> {
    orders: Sender<Order<B>>,
    passes: Receiver<TrainOutput<StepOutput<B>>>,
}

/// What the passes of a step come to, on the first device.
pub(super) struct Passes<B: Kernels> {
    /// Sum over the passes.
    pub(super) gradients: GradientsParams,
    /// Mean nats a token.
    pub(super) loss: Tensor<B, 1>,
}

impl<B: Kernels> Workers<B> {
    /// The passes from step `first` on; `devices` are at least one.
    pub(super) fn start(batches: Arc<Batches>, first: u64, devices: &[B::Device]) -> Self {
        let others = match devices {
            [_] => Vec::new(),
            _ => devices.iter().map(Worker::start).collect(),
        };
        let (parts, device) = (batches.accumulation(), devices[0].clone());
        let batches = read_ahead(batches, first, devices.to_vec());
        Self { batches, parts, device, others }
    }

    /// Forward and backward through every part of the next step.
    pub(super) fn step(&self, network: &Network<Autodiff<B>>) -> Passes<B> {
        let mut gradients = GradientsAccumulator::new();
        let mut losses: Option<Tensor<B, 1>> = None;
        for output in self.passes(network) {
            let loss = output.item.loss.to_device(&self.device);
            losses = Some(match losses.take() {
                None => loss,
                Some(sum) => sum + loss,
            });
            gradients.accumulate(network, output.grads);
        }
        let loss = losses.expect("a step has at least one part") / self.parts as f64;
        Passes { gradients: gradients.grads(), loss }
    }

    /// The passes in the order of the parts, with gradients on the first device.
    fn passes<'a>(
        &'a self,
        network: &'a Network<Autodiff<B>>,
    ) -> Box<dyn Iterator<Item = TrainOutput<StepOutput<B>>> + 'a> {
        let batch = || self.batches.recv().expect("batches are read as long as steps are made");
        if self.others.is_empty() {
            return Box::new((0..self.parts).map(move |_| network.step(batch())));
        }
        let worker = |part: usize| &self.others[part % self.others.len()];
        for part in 0..self.parts {
            let order = (network.clone(), batch());
            worker(part).orders.send(order).expect("a device's thread is there");
        }
        Box::new((0..self.parts).map(move |part| {
            let mut output = worker(part).passes.recv().expect("a device's thread is there");
            output.grads = output.grads.to_device(&self.device, network);
            output
        }))
    }
}

impl<B: Kernels> Worker<B> {
    fn start(device: &B::Device) -> Self {
        let (orders, received) = channel::<Order<B>>();
        let (send, passes) = channel();
        let device = device.clone();
        std::thread::spawn(move || {
            for (network, batch) in received {
                // Whoever is gone needs no more passes.
                if send.send(network.fork(&device).step(batch)).is_err() {
                    break;
                }
            }
        });
        Self { orders, passes }
    }
}

/// The batches of all steps from `first` on, each on the device that its part goes to.
fn read_ahead<B: Kernels>(
    batches: Arc<Batches>,
    first: u64,
    devices: Vec<B::Device>,
) -> Receiver<Batch<Autodiff<B>>> {
    let (send, ready) = sync_channel(AHEAD * devices.len());
    std::thread::spawn(move || {
        for step in first.. {
            for part in 0..batches.accumulation() {
                let batch = batches.get(step, part, &devices[part % devices.len()]);
                if send.send(batch).is_err() {
                    return;
                }
            }
        }
    });
    ready
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::backend::flex::FlexDevice;
    use burn::module::AutodiffModule;
    use burn_train::Learner;
    use lmtrain_corpora::Corpus;
    use lmtrain_runs::Plan;
    use lmtrain_runs::recipe::Recipe;

    use super::*;
    use crate::batches::ByteTokens;
    use crate::learner::TrainError;
    use crate::learner::components::{Components, Factor};
    use crate::optimizer::{RecipeOptimizer, State};
    use crate::reference_tests::network;
    use crate::weights::tensors_of;
    use lmtrain_engine::testing::plan;

    const STEPS: u64 = 4;

    fn batches(plan: &Plan) -> Result<Arc<Batches>, TrainError> {
        let text = (0..=255_u8).rev().cycle().take(5000).collect();
        let corpus = Arc::new(Corpus::from_bytes("test", text));
        Batches::new(plan, Arc::new(ByteTokens::new(corpus, 0..5000))).map(Arc::new)
    }

    /// Losses of some steps, and the weights after them.
    fn train(plan: &Plan, devices: usize) -> (Vec<f32>, Vec<f32>) {
        let batches = batches(plan).expect("long enough");
        let workers = Workers::<Flex>::start(batches, 0, &vec![FlexDevice; devices]);
        let optimizer = RecipeOptimizer::<Flex>::new(plan, State::default());
        let factor = Factor::new(plan, STEPS); // past the warm-up, where nothing would move
        let mut learner = Learner::<Components<Flex>>::new(network(plan), optimizer, factor);
        let mut losses = Vec::new();
        for _ in 0..STEPS {
            let Passes { gradients, loss } = workers.step(&learner.model());
            losses.extend(loss.into_data().iter::<f32>());
            learner.lr_step();
            learner.optimizer_step(gradients);
        }
        let weights = tensors_of(&learner.model().valid()).into_values();
        (losses, weights.flat_map(|numbers| numbers.values).collect())
    }

    #[test]
    fn workers_side_by_side_train_as_one_does() {
        let mut shared = plan(Recipe::Modern);
        (shared.batch, shared.accumulation) = (2, 4);
        let (losses, weights) = train(&shared, 1);
        assert!(losses[0] > losses[STEPS as usize - 1], "it learns: {losses:?}");
        // The same passes, summed in the same order: the same bits, whoever makes them.
        for devices in [2, 4] {
            assert_eq!(train(&shared, devices), (losses.clone(), weights.clone()));
        }
        // Two passes of four sequences for one of eight: f32 rounds at 6e-8, and Newton–Schulz
        // amplifies what differs.
        let whole = Plan { batch: 8, accumulation: 1, ..shared.clone() };
        let halves = Plan { batch: 4, accumulation: 2, ..shared };
        let (one, two) = (train(&whole, 1).0, train(&halves, 2).0);
        for (one, two) in one.iter().zip(&two) {
            assert!((one - two).abs() < 1e-4 * one, "{one} alone, {two} by two workers");
        }
    }

    #[test]
    fn batches_read_ahead_are_those_of_their_steps() {
        let mut plan = plan(Recipe::Paper);
        plan.accumulation = 3;
        let batches = batches(&plan).expect("long enough");
        let ready = read_ahead::<Flex>(batches.clone(), 7, vec![FlexDevice; 3]);
        for (step, part) in (7..9).flat_map(|step| (0..3).map(move |part| (step, part))) {
            let expected = batches.get::<Flex>(step, part, &FlexDevice).targets.into_data();
            let got = ready.recv().expect("read").targets.inner().into_data();
            assert_eq!(got, expected);
        }
    }
}
