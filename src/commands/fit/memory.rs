//! Whether a training fits in the machine's memory.

use anyhow::{Result, bail};
use lmtrain_runs::{Bytes, Plan};
use lmtrain_train::Device;

/// Refuses what the machine's memory cannot hold, where the system tells how much there is.
pub(super) fn check_memory(plan: &Plan, device: Device) -> Result<()> {
    if device != Device::Cpu {
        return Ok(());
    }
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    let available = Bytes(kilobytes.map_or(u64::MAX, |kilobytes: u64| 1024 * kilobytes));
    let needed = plan.memory_estimate();
    if needed > available {
        bail!(
            "training `{}` takes about {needed}, and {available} are free\n\
             hint: a smaller `--batch`, with `--accumulate` for the same steps",
            plan.name
        );
    }
    Ok(())
}
