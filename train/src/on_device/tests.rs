//! Measurements on a device without kernels, compared with those on the CPU.

use burn::backend::NdArray;
use lmtrain_runs::random::SplitMix64;

use super::*;
use lmtrain_engine::pretrained::PretrainedModel;
use lmtrain_engine::tensor_file::StoredPrecision as Stored;
use lmtrain_engine::testing::{FIXTURES, copy, variants, weights};
use lmtrain_engine::{Origin, SavedWeights};
use lmtrain_runs::Plan;

/// Chunks of two blocks of queries, of one token and of none; and how far their bits are apart, at most and in
/// the mean.
fn errors<B: Backend>(name: &str, precision: Precision) -> (f32, f64) {
    let folder = copy(name);
    let model = PretrainedModel::open(folder.path()).expect(name);
    let model = model.predictor();
    let mut elsewhere = OnDevice::<B>::new(model, precision, Default::default()).expect(name);
    elsewhere.network.block = 1;
    assert_ne!(elsewhere.identity(), model.identity());
    let mut generator = SplitMix64::new(7);
    let known = model.engine().known_tokens().min(model.vocabulary()) as u64;
    let longest = model.context().min(90);
    let chunks: Vec<Vec<u32>> = [longest, longest, 0, 1, 7]
        .map(|length| (0..length).map(|_| generator.below(known) as u32).collect())
        .into();
    let chunks: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
    let (found, expected) = (elsewhere.score(&chunks), model.score(&chunks));
    let (found, expected) = (found.expect(name).concat(), expected.expect(name).concat());
    assert_eq!(found.len(), expected.len(), "{name}");
    assert!(elsewhere.score(&[&[u32::MAX]]).is_err() && elsewhere.session(1, 1).is_err());
    let errors = found.iter().zip(&expected).map(|(found, expected)| found - expected);
    let sum: f64 = errors.clone().map(f64::from).sum();
    (errors.fold(0.0, |most, error| error.abs().max(most)), sum / found.len() as f64)
}

#[test]
fn a_device_without_kernels_scores_pretrained_models_as_the_processor_does() {
    for name in FIXTURES {
        let (most, mean) = errors::<NdArray>(name, Precision::F32);
        assert!(most < 1e-4 && mean.abs() < 1e-5, "{name}: {most} {mean}");
    }
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a GPU"]
fn gpu_scores_pretrained_models_as_the_processor_does() {
    for name in FIXTURES {
        for (precision, limit) in [(Precision::F32, 1e-3), (Precision::Bf16, 5e-2)] {
            let (most, mean) = errors::<crate::gpu::Cuda>(name, precision);
            println!("{name}, {precision}: {most:.1e} bits at most, {mean:.1e} in the mean");
            assert!(mean.abs() < limit, "{name}, {precision}: {most} {mean}");
        }
    }
}

#[cfg(feature = "wgpu")]
#[test]
#[ignore = "needs a GPU, or a program that stands in for one"]
fn any_gpu_scores_pretrained_models_as_the_processor_does() {
    let _ = crate::any_gpu::device();
    for name in FIXTURES {
        let (most, mean) = errors::<crate::any_gpu::Wgpu>(name, Precision::F32);
        println!("{name}: {most:.1e} bits at most, {mean:.1e} in the mean");
        assert!(most < 1e-3 && mean.abs() < 1e-4, "{name}: {most} {mean}");
    }
}

#[test]
fn a_device_without_kernels_scores_runs_as_the_processor_does() {
    for (name, plan) in variants() {
        let plan = Plan { context: 90, ..plan };
        let mut file = weights(&plan);
        let origin = Origin { plan, tokenizer: String::new(), step: 1 };
        file.metadata = serde_json::to_string(&origin).expect("serialises");
        let bytes = file.to_bytes(Stored::Half).expect("fits");
        let saved = SavedWeights::from_bytes(bytes, "a test").expect("weights");
        let processor = saved.exact().expect("loads");
        let scorer = OnDevice::<NdArray>::new(&processor, Precision::F32, Default::default())
            .expect("loads");
        assert_ne!(scorer.identity(), processor.identity());
        let mut generator = SplitMix64::new(1);
        let chunks: Vec<Vec<u32>> = [90, 90, 0, 7, 90]
            .map(|length| (0..length).map(|_| generator.below(256) as u32).collect())
            .into();
        let chunks: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
        let (ours, exact) = (scorer.score(&chunks), processor.score(&chunks));
        let (ours, exact) = (ours.expect("scores"), exact.expect("scores"));
        let total =
            |bits: &[Vec<f32>]| -> f64 { bits.iter().flatten().copied().map(f64::from).sum() };
        for (ours, exact) in ours.iter().zip(&exact) {
            assert_eq!(ours.len(), exact.len());
        }
        let error = (total(&ours) / total(&exact) - 1.0).abs();
        assert!(error < 3e-6, "{name}: {error:.1e}");
        assert!(scorer.score(&[&[256]]).is_err() && scorer.session(1, 1).is_err());
    }
}
