//! Training: burn-train's learner with our own strategy. The strategy (`segments.rs`) runs the steps of the plan in
//! segments that end with a validation and a checkpoint. Its state is in `session.rs`; the networks, schedules and
//! metrics that burn-train needs are in `components.rs`.

mod components;
mod dashboard;
mod held;
mod job;
mod rescue;
mod segments;
mod session;
mod terminal;
mod watched;
mod workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use burn_train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};
use lmtrain_runs::Plan;

use crate::batches::{Batches, Tokens};
use crate::checkpoint::{self, Reached, Saved};
use crate::error::TrainError;
use crate::network::Network;
use crate::ops::Kernels;
use crate::optimizer::{RecipeOptimizer, State};
use components::{Components, Factor, Gauge, NoLoader, Silent};
use dashboard::Dashboard;
pub use job::{Fitted, Job};
use rescue::Rescuer;
use segments::Segments;
use workers::Workers;

/// Trains a run from its last checkpoint, or from the start if it has none, on devices that share the passes of each
/// step; the first device does everything else.
///
/// # Errors
/// See [`TrainError`]; what was done until the last checkpoint is kept in every case.
pub fn fit<B: Kernels>(job: Job, devices: &[B::Device]) -> Result<Fitted, TrainError> {
    check_share(&job.plan, devices.len())?;
    let device = &devices[0];
    let mut saved = checkpoint::load::<B>(&job.run, device)?;
    // The run may have been renamed since, or be the copy of another.
    if let Some(saved) = &mut saved {
        saved.origin.plan.name.clone_from(&job.plan.name);
    }
    let Saved { network, state, progress, .. } = match saved {
        Some(saved) if saved.origin.plan != job.plan => {
            return Err(TrainError::OtherPlan(job.plan.name));
        }
        Some(saved) => saved,
        None => Saved {
            network: Network::new(&job.plan, device),
            state: State::default(),
            progress: Reached::default(),
            origin: session::origin(&job, 0),
        },
    };
    job.run.keep_steps_until(progress.step)?;
    launch(job, network, state, progress, devices)
}

fn check_share(plan: &Plan, devices: usize) -> Result<(), TrainError> {
    let parts = plan.accumulation;
    if parts.is_multiple_of(devices) { Ok(()) } else { Err(TrainError::Uneven { devices, parts }) }
}

fn launch<B: Kernels>(
    job: Job,
    network: Network<B>,
    state: State<B>,
    progress: Reached,
    devices: &[B::Device],
) -> Result<Fitted, TrainError> {
    let interrupter = Interrupter::new();
    let optimizer = RecipeOptimizer::new(&job.plan, state);
    let schedule = Factor::new(&job.plan, progress.step);
    let folder = job.run.checkpoint_folder();
    let dashboard = job.dashboard.then(|| Dashboard::open(interrupter.clone(), job.stop.clone()));
    let watched = dashboard.as_ref().map(Dashboard::watched).unwrap_or_default();
    let (ended, outcome) = channel();
    let segments = Segments::new(job, optimizer.clone(), progress, devices, (watched, ended))?;
    let _rescuer = Rescuer::watch(segments.shared_session());
    let network = network.with_gradients();

    let loader = Arc::new(NoLoader);
    let mut training = SupervisedTraining::<Components<B>>::new(folder, loader.clone(), loader)
        .with_application_logger(None)
        .with_metric_logger(burn_train::logger::InMemoryMetricLogger::new())
        .with_interrupter(interrupter)
        .with_training_strategy(TrainingStrategy::Custom(Arc::new(segments)));
    for gauge in Gauge::all() {
        training = training.metric_train_numeric(gauge.clone()).metric_valid_numeric(gauge);
    }
    training = match dashboard {
        Some(dashboard) => training.renderer(dashboard),
        None => training.renderer(Silent),
    };
    training.launch(Learner::new(network, optimizer, schedule));
    // Of a learner that was killed nothing comes.
    outcome.try_recv().unwrap_or(Err(TrainError::Killed))
}

/// Seconds that one step of this plan takes on this device, measured on a network that is discarded. A budget of
/// minutes is converted to steps with this, and `--dry-run` bases its estimate on it.
///
/// # Errors
/// If the data do not fill one sequence.
pub fn seconds_per_step<B: Kernels>(
    plan: &Plan,
    training: Arc<dyn Tokens>,
    devices: &[B::Device],
    stop: &AtomicBool,
) -> Result<f64, TrainError> {
    const TRIALS: u64 = 4;
    const ENOUGH: Duration = Duration::from_secs(5);
    let begun = Instant::now();
    let enough = || stop.load(Ordering::Relaxed) || begun.elapsed() > ENOUGH;
    // The first step also pays for what is made once, which shows where steps are short.
    let seconds = time_steps::<B>(plan, training, devices, TRIALS, enough)?;
    Ok(seconds.into_iter().fold(f64::INFINITY, f64::min))
}

/// Seconds of each of `steps` steps on a network that is thrown away, after three that are not
/// counted.
///
/// # Errors
/// If the data do not fill one sequence.
pub fn timed_steps<B: Kernels>(
    plan: &Plan,
    training: Arc<dyn Tokens>,
    devices: &[B::Device],
    steps: u64,
) -> Result<Vec<f64>, TrainError> {
    const WARM_UP: u64 = 3;
    let mut seconds = time_steps::<B>(plan, training, devices, WARM_UP + steps, || false)?;
    Ok(seconds.split_off(WARM_UP as usize))
}

fn time_steps<B: Kernels>(
    plan: &Plan,
    training: Arc<dyn Tokens>,
    devices: &[B::Device],
    steps: u64,
    enough: impl Fn() -> bool,
) -> Result<Vec<f64>, TrainError> {
    check_share(plan, devices.len())?;
    let batches = Arc::new(Batches::new(plan, training)?);
    let workers = Workers::start(batches, 0, devices);
    let optimizer = RecipeOptimizer::<B>::new(plan, State::default());
    let network = Network::<B>::new(plan, &devices[0]).with_gradients();
    let mut learner = Learner::<Components<B>>::new(network, optimizer, Factor::new(plan, 0));
    let mut seconds = Vec::new();
    for _ in 0..steps {
        let start = Instant::now();
        let passes = workers.step(&learner.model());
        learner.lr_step();
        learner.optimizer_step(passes.gradients);
        let _ = B::sync(&devices[0]);
        seconds.push(start.elapsed().as_secs_f64());
        if enough() {
            break;
        }
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::ByteTokens;
    use burn::backend::Flex;
    use burn::backend::flex::FlexDevice;
    use lmtrain_corpora::Corpus;
    use lmtrain_engine::testing::plan;
    use lmtrain_runs::Store;
    use lmtrain_runs::recipe::Recipe;

    #[test]
    fn a_run_that_diverges_stops_and_keeps_its_last_good_checkpoint() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut plan = plan(Recipe::Paper);
        plan.validate_every = 1;
        let corpus = Arc::new(Corpus::from_bytes("test", (0..=255).cycle().take(4000).collect()));
        let tokens: Arc<dyn Tokens> = Arc::new(ByteTokens::new(corpus, 0..4000));
        let job = |plan: Plan| Job {
            run: Store::new(folder.path()).run("diverging"),
            plan,
            training: tokens.clone(),
            validation: tokens.clone(),
            tokenizer: [0; 32],
            dashboard: false,
            stop: Arc::default(),
            keeping: None,
            observe: Box::new(|_| {}),
        };
        plan.choices.matrix_learning_rate = 1e38;
        plan.choices.embedding_learning_rate = 1e38;
        plan.choices.head_learning_rate = 1e38;
        let error = fit::<Flex>(job(plan), &[FlexDevice]);
        let error = error.expect_err("such steps end in no number");
        assert!(error.to_string().contains("diverged"), "{error}");
        let run = Store::new(folder.path()).run("diverging");
        let kept = checkpoint::load::<Flex>(&run, &Default::default()).expect("whole or not there");
        let finite = |saved: Saved<Flex>| {
            let tensors = crate::weights::tensors_of(&saved.network);
            tensors.values().all(|tensor| tensor.values.iter().all(|value| value.is_finite()))
        };
        assert!(kept.is_none_or(finite), "the checkpoint that is kept is a good one");
    }

    #[test]
    fn passes_that_do_not_go_round_are_refused() {
        let plan = Plan { accumulation: 3, ..plan(Recipe::Modern) };
        assert!(check_share(&plan, 1).is_ok() && check_share(&plan, 3).is_ok());
        let error = check_share(&plan, 2).expect_err("3 passes of 2 devices");
        assert!(error.to_string().contains("--accumulate 2"), "{error}");
    }
}
