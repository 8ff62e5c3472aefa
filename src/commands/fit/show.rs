//! How a plan and the progress of training are shown.

use anyhow::Result;
use lmtrain_runs::recipe::text;
use lmtrain_runs::units::{short_count, short_seconds};
use lmtrain_runs::{Bytes, Plan, PlannedPart, Setting, StepRecord};
use lmtrain_train::Device;

use super::resolved::Resolved;
use crate::context::Context;
use crate::say::say;

/// Prints a plan for people; gives it for programs.
pub(super) fn show_plan(resolved: &Resolved, context: &Context) -> Result<serde_json::Value> {
    let plan = &resolved.plan;
    let seconds = resolved.seconds_per_step.map(|seconds| seconds * plan.steps as f64);
    if !context.json {
        print_plan(resolved, seconds)?;
    }
    Ok(serde_json::json!({
        "plan": plan,
        "parameters": plan.parameters(),
        "embedding_parameters": plan.embedding_parameters(),
        "tokens": plan.tokens(),
        "flops": plan.flops(),
        "memory_bytes": plan.memory_estimate(),
        "seconds": seconds,
    }))
}

fn print_plan(resolved: &Resolved, seconds: Option<f64>) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let plan = &resolved.plan;
    let passes = plan.tokens() as f64 / resolved.training.count() as f64;
    writeln!(out, "run            {}", plan.name)?;
    writeln!(
        out,
        "network        {} layers of width {}, {} heads, {} recipe, {}",
        plan.size.layers,
        plan.size.width,
        plan.heads(),
        plan.recipe,
        plan.precision
    )?;
    let usual = plan.usual();
    for Setting { choice, value } in plan.unusual() {
        let [value, usual] = [&value, &usual.get(choice)].map(text);
        writeln!(out, "choice         {} {value} ({} has {usual})", choice.key, plan.recipe)?;
    }
    writeln!(
        out,
        "parameters     {} ({} of them in the embedding and the head)",
        short_count(plan.parameters()),
        short_count(plan.embedding_parameters())
    )?;
    writeln!(
        out,
        "data           {}: {} for training, {} for validation, {}",
        plan.corpus,
        Bytes(resolved.training.raw_bytes()),
        Bytes(resolved.validation.raw_bytes()),
        plan.tokenization
    )?;
    let shares: f64 = plan.parts.iter().map(PlannedPart::share).sum();
    for part in &plan.parts {
        writeln!(
            out,
            "part           {}: {:.1} % of the tokens",
            part.corpus,
            100.0 * part.share() / shares
        )?;
    }
    writeln!(
        out,
        "training       {} steps of {} tokens: {} tokens, {passes:.2} passes over the data",
        plan.steps,
        short_count(plan.tokens_per_step()),
        short_count(plan.tokens())
    )?;
    writeln!(out, "compute        {:.2e} FLOPs", plan.flops())?;
    writeln!(out, "memory         about {}", plan.memory_estimate())?;
    writeln!(
        out,
        "validation     every {} steps, {} sequences",
        plan.validate_every, plan.validation_sequences
    )?;
    writeln!(
        out,
        "time           about {} on this machine",
        seconds.map_or("?".into(), short_seconds)
    )
}

/// Model FLOP utilisation (Chowdhery et al., arXiv 2204.02311, appendix B): of the whole training,
/// validation and records included, as a share of the most that the device does.
pub(super) fn utilisation(plan: &Plan, seconds: f64, device: Device) -> Result<String> {
    let reached = plan.flops() / seconds;
    // What was reached can be done, whatever a probe in another moment says.
    let peak = device.peak_flops_per_s(plan.precision)?.max(reached);
    let (teraflops, peak_teraflops) = (reached / 1e12, peak / 1e12);
    let percent = 100.0 * reached / peak;
    Ok(format!(
        "model FLOP utilisation {percent:.1} %: {teraflops:.2} TFLOP/s of at most {peak_teraflops:.1} that the \
         device reaches in {}",
        plan.precision
    ))
}

/// Plain lines: at each validation, and in between no more often than every few seconds.
pub(super) struct Log {
    lines: bool,
    steps: u64,
    last: std::time::Instant,
}

impl Log {
    const EVERY: std::time::Duration = std::time::Duration::from_secs(5);

    pub(super) fn new(plan: &Plan, lines: bool) -> Self {
        Self { lines, steps: plan.steps, last: std::time::Instant::now() }
    }

    pub(super) fn show(&mut self, record: &StepRecord) {
        let due = record.validation_bits_per_byte.is_some() || self.last.elapsed() >= Self::EVERY;
        if !self.lines || !due {
            return;
        }
        self.last = std::time::Instant::now();
        let left = (self.steps - record.step) as f64 * record.seconds / record.step as f64;
        let validation = record
            .validation_bits_per_byte
            .map_or(String::new(), |bits| format!("  validation {bits:.4} bits/byte"));
        say(&format!(
            "step {:>6}/{}  loss {:.4} nats  {:.4} bits/byte  {} tokens/s  {} left{validation}",
            record.step,
            self.steps,
            record.train_nats_per_token,
            record.train_bits_per_byte,
            short_count(record.train_tokens_per_s as u64),
            short_seconds(left),
        ));
    }
}
