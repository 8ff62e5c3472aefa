//! Whether a training run fits into the machine's memory.

use anyhow::{Result, bail};
use lmtrain_runs::{Bytes, Plan, machine};
use lmtrain_train::Device;

/// Refuses training that does not fit into the machine's memory, if the system says how much there is.
pub(super) fn check_memory(plan: &Plan, device: Device) -> Result<()> {
    if device != Device::Cpu {
        return Ok(());
    }
    let available = machine::free_memory().unwrap_or(Bytes(u64::MAX));
    let needed = plan.memory_estimate();
    if needed > available {
        bail!(
            "training `{}` takes about {needed} of memory, but {available} are free\n\
             hint: a smaller `--batch`, with a larger `--accumulate` to keep the same steps",
            plan.name
        );
    }
    Ok(())
}
