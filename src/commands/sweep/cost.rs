//! What runs cost, and about how long they train.

use anyhow::Result;
use lmtrain_runs::{Budget, Plan};

use crate::device::Device;

/// The share of the machine's peak that steps reach, for an estimate: between what the smallest and
/// the largest sizes were measured at.
const PEAK_SHARE: f64 = 0.55;

/// What a run costs beside others, whatever the machine: its operations, or its minutes.
pub(super) fn cost(plan: &Plan) -> f64 {
    match plan.budget {
        Budget::Minutes(minutes) => minutes * 60.0 * 1e11,
        _ => plan.flops(),
    }
}

/// What a device computes in training, about, in a second.
pub(super) fn flops_per_s(device: Device) -> Result<f64> {
    let precision = device.precision(None).map_err(anyhow::Error::msg)?;
    Ok(PEAK_SHARE * device.peak(precision)?.gemm_flops_per_s)
}

/// How long a run trains, about.
pub(super) fn seconds(plan: &Plan, flops_per_s: f64) -> f64 {
    match plan.budget {
        Budget::Minutes(minutes) => 60.0 * minutes,
        _ => plan.flops() / flops_per_s,
    }
}
