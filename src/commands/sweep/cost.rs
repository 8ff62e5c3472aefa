//! What runs cost, and about how long they train.

use anyhow::Result;
use lmtrain_runs::{Budget, Plan};

use crate::device::Device;

/// The share of the machine's peak that steps reach, for an estimate: between what the smallest and
/// the largest sizes were measured at.
const PEAK_SHARE: f64 = 0.55;

/// The cost of a run relative to others, on any machine: its operations, or its minutes.
pub(super) fn cost(plan: &Plan) -> f64 {
    match plan.budget {
        Budget::Minutes(minutes) => minutes * 60.0 * 1e11,
        _ => plan.flops(),
    }
}

/// The approximate speed of a device in training, in operations per second.
pub(super) fn flops_per_s(device: Device) -> Result<f64> {
    let precision = device.precision(None).map_err(anyhow::Error::msg)?;
    Ok(PEAK_SHARE * device.peak(precision)?.gemm_flops_per_s)
}

/// The approximate training time of a run.
pub(super) fn seconds(plan: &Plan, flops_per_s: f64) -> f64 {
    match plan.budget {
        Budget::Minutes(minutes) => 60.0 * minutes,
        _ => plan.flops() / flops_per_s,
    }
}
