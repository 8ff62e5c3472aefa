//! Tests that need a GPU, and are ignored by default. Those of CUDA: `LMTRAIN_CURVES=curves.csv cargo test --release
//! --features cuda -- --ignored --nocapture gpu`. Those of any GPU, for which a Vulkan driver that computes on the
//! processor is enough: `cargo test --features wgpu -- --ignored any_gpu`.

use std::sync::{Arc, Mutex};

use burn::backend::Flex;
use lmtrain_corpora::Corpus;
use lmtrain_runs::recipe::Recipe;
use lmtrain_runs::{Budget, Plan, Precision, Store};

use crate::batches::ByteTokens;
use crate::device::Device;
use crate::learner::{self, Job};
use crate::ops::Kernels;
use crate::reference_tests::{batch, gradients, network};
use lmtrain_engine::SavedWeights;
use lmtrain_engine::testing::plan;

/// Part of the text that trains; the rest is scored.
const TRAINING_BYTES: usize = 600_000;
/// Sequences that are scored.
const SCORED: usize = 32;
const BITS_PER_BYTE_OF_F32: f64 = 1e-4;

/// Real text that is always there: the project's own, which is packed into the program.
fn text() -> Vec<u8> {
    let nowhere = lmtrain_corpora::DataDirectory::at(std::env::temp_dir());
    lmtrain_corpora::open("source", &nowhere).expect("always there").bytes().to_vec()
}

/// A plan of some steps, from one seed.
fn real_plan(size: &str, context: usize, steps: u64, precision: Precision) -> Plan {
    Plan {
        size: size.parse().expect("in the ladder"),
        context,
        batch: 4,
        budget: Budget::Steps(steps),
        steps,
        validate_every: steps,
        precision,
        ..plan(Recipe::Modern)
    }
}

/// Trains by `fit`, and gives the loss of each record and the weights.
fn train(
    plan: Plan,
    fit: impl FnOnce(Job) -> Result<learner::Fitted, crate::error::TrainError>,
) -> (Vec<(u64, f64)>, SavedWeights) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = Store::new(folder.path()).run("gpu");
    let text = text();
    let count = text.len();
    assert!(count > TRAINING_BYTES + SCORED * plan.context, "only {count} bytes of sources");
    let corpus = Arc::new(Corpus::from_bytes("sources", text));
    let curve = Arc::new(Mutex::new(Vec::new()));
    let seen = curve.clone();
    let fitted = fit(Job {
        plan,
        run: run.clone(),
        training: Arc::new(ByteTokens::new(corpus.clone(), 0..TRAINING_BYTES)),
        validation: Arc::new(ByteTokens::new(corpus, TRAINING_BYTES..count)),
        tokenizer: [0; 32],
        dashboard: false,
        keeping: None,
        stop: Arc::default(),
        observe: Box::new(move |record| {
            seen.lock().expect("not poisoned").push((record.step, record.train_bits_per_byte));
        }),
    });
    assert!(fitted.expect("trains").finished);
    let curve = curve.lock().expect("not poisoned").clone();
    (curve, SavedWeights::read(&run.weights_path()).expect("saved"))
}

fn bits_per_byte(weights: &SavedWeights, precision: Precision, device: Device) -> f64 {
    let context = weights.origin.plan.context;
    let predictor = device.predictor(weights, precision).expect("loads");
    let held_out: Vec<u32> = text()[TRAINING_BYTES..].iter().map(|byte| u32::from(*byte)).collect();
    let chunks: Vec<&[u32]> = held_out.chunks_exact(context).take(SCORED).collect();
    let bits = predictor.score(&chunks).expect("scores");
    let bits: f64 = bits.iter().map(|it| it.iter().map(|it| f64::from(*it)).sum::<f64>()).sum();
    bits / (chunks.len() * context) as f64
}

/// What the last step lost.
fn last(curve: &[(u64, f64)]) -> f64 {
    curve.last().expect("records").1
}

/// Checks the gradients of a network that PyTorch is compared with against the processor's.
fn check_gradients<B: Kernels>(name: &str, exact: &Plan, precision: Precision, tolerance: f32) {
    let plan = Plan { precision, ..exact.clone() };
    let expected = gradients(&network::<Flex>(exact), batch(exact, 0));
    let got = gradients(&network::<B>(&plan), batch(&plan, 0));
    let mut worst = (0.0, String::new());
    for (path, expected) in expected {
        let difference = got[&path].iter().zip(&expected).map(|(a, b)| (a - b).powi(2));
        let error = difference.sum::<f32>() / expected.iter().map(|b| b * b).sum::<f32>();
        let error = error.sqrt();
        assert!(error < tolerance, "{name} {precision} {path}: off by {error:.1e}");
        if error > worst.0 {
            worst = (error, path);
        }
    }
    println!("{name} {precision}: at most {:.1e}, of {}", worst.0, worst.1);
}

#[cfg(feature = "cuda")]
mod cuda {
    use std::fmt::Write;
    use std::path::PathBuf;

    use super::*;
    use crate::device::on_gpu;
    use crate::gpu::{self, Cuda};

    const STEPS: u64 = 200;
    const CONTEXT: usize = 2048;
    /// What bf16 may cost, stated here and printed as measured.
    const BITS_PER_BYTE_OF_BF16: f64 = 0.01;

    /// The curves of [`STEPS`] steps on processor (exact) and GPU (f32, bf16) from one seed, written
    /// side by side; and what the processor's weights score on both.
    #[test]
    #[ignore = "needs a GPU"]
    fn gpu_trains_and_scores_as_the_processor_does() {
        let gpu = Device::Cuda(0);
        let real_plan = |precision| real_plan("800K", CONTEXT, STEPS, precision);
        let (exact, weights) = train(real_plan(Precision::F32), |job| Device::Cpu.fit(job));
        let (single, _) = train(real_plan(Precision::F32), |job| gpu.fit(job));
        let (rounded, _) = train(real_plan(Precision::Bf16), |job| gpu.fit(job));
        let mut table = String::from("step,cpu_f32,cuda_f32,cuda_bf16\n");
        for ((exact, single), rounded) in exact.iter().zip(&single).zip(&rounded) {
            writeln!(table, "{},{},{},{}", exact.0, exact.1, single.1, rounded.1)
                .expect("a string");
        }
        let path = std::env::var_os("LMTRAIN_CURVES")
            .map_or_else(|| std::env::temp_dir().join("lmtrain-gpu-curves.csv"), PathBuf::from);
        std::fs::write(&path, &table).expect("writable");
        println!("curves in bits a byte, in {}:\n{table}", path.display());
        let (exact, single, rounded) = (last(&exact), last(&single), last(&rounded));
        assert!((single / exact - 1.0).abs() < 0.02, "f32: {single} for {exact} bits a byte");
        assert!((rounded / exact - 1.0).abs() < 0.03, "bf16: {rounded} for {exact} bits a byte");

        let exact = bits_per_byte(&weights, Precision::F32, Device::Cpu);
        let single = bits_per_byte(&weights, Precision::F32, gpu);
        let rounded = bits_per_byte(&weights, Precision::Bf16, gpu);
        println!(
            "scored: cpu {exact:.6}, cuda f32 {single:.6}, cuda bf16 {rounded:.6} bits a byte"
        );
        assert!((single - exact).abs() < BITS_PER_BYTE_OF_F32);
        assert!((rounded - exact).abs() < BITS_PER_BYTE_OF_BF16);
    }

    /// Loss and gradients of the networks that PyTorch is compared with. A GPU's f32 products may be
    /// rounded to TF32 (11 bits), bf16 has 8.
    #[test]
    #[ignore = "needs a GPU"]
    fn gpu_gradients_are_the_processors() {
        for recipe in [Recipe::Modern, Recipe::Paper] {
            for (precision, tolerance) in [(Precision::F32, 5e-3), (Precision::Bf16, 4e-2)] {
                check_gradients::<Cuda>(&recipe.to_string(), &plan(recipe), precision, tolerance);
            }
        }
    }

    /// One GPU as two workers trains as one; with more, all of them do.
    #[test]
    #[ignore = "needs a GPU"]
    fn gpu_workers_train_as_one_does() {
        let mut plan = real_plan("800K", CONTEXT, 20, Precision::F32);
        let count = gpu::gpus().expect("a GPU").len().max(2);
        plan.accumulation = count;
        plan.batch = 2;
        let (one, _) = train(plan.clone(), |job| Device::Cuda(0).fit(job));
        let devices = match gpu::gpus().expect("a GPU").len() {
            1 => vec![gpu::device(0); 2],
            _ => Device::EveryCuda.cuda_devices(),
        };
        let (several, _) = train(plan, |job| on_gpu(|| learner::fit::<Cuda>(job, &devices)));
        for (one, several) in one.iter().zip(&several) {
            let error = (several.1 / one.1 - 1.0).abs();
            assert!(error < 5e-3, "step {}: {} alone, {} by {count}", one.0, one.1, several.1);
        }
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn gpu_memory_that_runs_out_is_an_error() {
        let plan = Plan { batch: 1 << 18, ..real_plan("800K", CONTEXT, STEPS, Precision::F32) };
        let tokens = Corpus::from_bytes("zeros", vec![0; 2 * CONTEXT]);
        let tokens = Arc::new(ByteTokens::new(Arc::new(tokens), 0..2 * CONTEXT));
        let error = Device::Cuda(0).seconds_per_step(&plan, tokens, &Default::default());
        let error = error.expect_err("2^29 tokens at a time").to_string();
        assert!(error.contains("memory ran out") && error.contains("--batch"), "{error}");
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn gpu_is_found_and_named() {
        let (device, found) = Device::Auto.open().expect("opens");
        assert_eq!(device, Device::Cuda(0));
        println!("{}", found.expect("says what it found"));
        let sum = burn::tensor::Tensor::<Cuda, 1>::ones([5], &gpu::device(0)).sum();
        assert_eq!(Cuda::squared_norm(sum).into_data().iter::<f32>().next(), Some(25.0));
    }
}

/// The backend that has no kernels of our own, on whatever the system calls a GPU: of small sizes, since that may be a
/// program on the processor.
#[cfg(feature = "wgpu")]
mod any {
    use super::*;
    use crate::any_gpu::{self, Wgpu};
    use lmtrain_engine::testing::variants;

    #[test]
    #[ignore = "needs a GPU, or a program that stands in for one"]
    fn any_gpu_trains_and_scores_as_the_processor_does() {
        let plan = || real_plan("50K", 64, 20, Precision::F32);
        let (exact, weights) = train(plan(), |job| Device::Cpu.fit(job));
        let (found, _) = train(plan(), |job| Device::AnyGpu.fit(job));
        let (exact, found) = (last(&exact), last(&found));
        println!("{exact} and {found} bits a byte after 20 steps");
        assert!((found / exact - 1.0).abs() < 5e-3, "{found} for {exact} bits a byte");
        let [exact, found] = [Device::Cpu, Device::AnyGpu]
            .map(|device| bits_per_byte(&weights, Precision::F32, device));
        println!("{exact} and {found} bits a byte scored");
        assert!((found - exact).abs() < BITS_PER_BYTE_OF_F32, "{found} for {exact} bits a byte");
    }

    /// Of most tensors within 1e-4. Those of convolutions were seen off by 3.0e-3, differently each time (`docs/gpu.md`).
    #[test]
    #[ignore = "needs a GPU, or a program that stands in for one"]
    fn any_gpu_gradients_are_the_processors() {
        let _ = any_gpu::device();
        for (name, plan) in variants() {
            check_gradients::<Wgpu>(&name, &plan, Precision::F32, 5e-3);
        }
    }

    #[test]
    #[ignore = "needs a GPU, or a program that stands in for one"]
    fn any_gpu_is_found_and_named() {
        let (device, found) = Device::AnyGpu.open().expect("opens");
        assert_eq!(device, Device::AnyGpu);
        let found = found.expect("says what it found");
        assert!(found.contains(&any_gpu::gpu().expect("is there").to_string()), "{found}");
        let (auto, said) = Device::Auto.open().expect("opens");
        let is_software = any_gpu::gpu().expect("is there").is_software;
        assert!(is_software != (auto == Device::AnyGpu), "{auto:?}: {said:?}");
        assert!(Device::AnyGpu.precision(Some(Precision::Bf16)).is_err());
        assert_eq!(Device::AnyGpu.precision(None), Ok(Precision::F32));
    }
}
