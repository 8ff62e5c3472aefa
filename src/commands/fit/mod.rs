//! `lmtrain fit`: resolves plans, trains them, and shows the progress.

mod memory;
mod planning;
mod resolved;
mod show;

use anyhow::{Result, bail};
use lmtrain_corpora::Mixture;
use lmtrain_runs::recipe::DEFAULT_CONTEXT;
use lmtrain_runs::units::{shell_word, short_count, short_seconds};
use lmtrain_runs::{Plan, Run, Setting, Size, Tokenization};
use lmtrain_tokenizers::Tokenizer;
use lmtrain_train::{Device, Fitted, Job};
use serde::Serialize;

use super::corpora::open_mixture;
use super::output::print_json;
use super::resume;
use super::select::has_records_alone;
use super::tokenizer::put_with_run;
use super::training_data::TrainingData;
use crate::cli::Fit;
use crate::context::Context;
use crate::signals;
use memory::check_memory;
pub(super) use planning::Draft;
use planning::settled;
use resolved::Resolved;
use show::{Log, show_plan, utilisation};

/// What a finished or stopped training is printed as.
#[derive(Serialize)]
struct PrintedFit {
    name: String,
    finished: bool,
    step: u64,
    parameters: u64,
    tokens_trained: u64,
    validation_bits_per_byte: Option<f64>,
    seconds: f64,
    #[serde(serialize_with = "lmtrain_runs::files::serialize_path")]
    weights: std::path::PathBuf,
}

pub(super) fn run(arguments: &Fit, context: &Context) -> Result<()> {
    lmtrain_engine::simd_level().map_err(anyhow::Error::msg)?;
    let begun = resume::begun(arguments, context)?;
    let (sizes, tokenizers) = match &begun {
        Some(plan) if arguments.size.is_empty() && arguments.tokenizer.is_empty() => {
            (vec![plan.size], vec![plan.tokenization.clone()])
        }
        Some(plan) if arguments.size.is_empty() => (vec![plan.size], arguments.tokenizers()),
        Some(plan) if arguments.tokenizer.is_empty() => {
            (arguments.size.clone(), vec![plan.tokenization.clone()])
        }
        _ => (arguments.size.clone(), arguments.tokenizers()),
    };
    if arguments.name.is_some() && sizes.len() * tokenizers.len() > 1 {
        bail!("`--name` names a single run, but the options describe several");
    }
    let corpus = match begun.filter(|_| arguments.corpus.is_none()) {
        Some(plan) => resume::corpus_of(&plan, arguments.strict, context)?,
        None => open_mixture(arguments.corpus(), arguments.strict, context)?,
    };
    let (mut plans, mut outcomes) = (Vec::new(), Vec::new());
    for size in sizes {
        for tokenization in &tokenizers {
            let resolved = resolve(arguments, size, tokenization, &corpus, context)?;
            if arguments.dry_run {
                plans.push(show_plan(&resolved, context)?);
            } else {
                outcomes.push(train(resolved, arguments, context)?);
                corpus.check_length()?;
            }
        }
    }
    match (context.json, arguments.dry_run) {
        (true, true) => print_json(&plans)?,
        (true, false) => print_json(&outcomes)?,
        (false, _) => {}
    }
    if context.is_stopping() {
        bail!("stopped; run the same command with `--resume` to continue");
    }
    Ok(())
}

/// Trains the run that these arguments describe, continuing it if it was begun.
pub(super) fn fit_one(arguments: &Fit, mixture: &Mixture, context: &Context) -> Result<()> {
    let ([size], [tokenization]) = (&arguments.size[..], &arguments.tokenizers()[..]) else {
        bail!("a run has one size and one tokenizer");
    };
    let resolved = resolve(arguments, *size, tokenization, mixture, context)?;
    train(resolved, arguments, context)?;
    Ok(mixture.check_length()?)
}

/// Arguments, and the plan of a run that was begun, become one plan, here and nowhere else.
fn resolve(
    arguments: &Fit,
    size: Size,
    tokenization: &Tokenization,
    mixture: &Mixture,
    context: &Context,
) -> Result<Resolved> {
    let draft = Draft::new(arguments, size, tokenization, mixture.planned(arguments.trains_on()))?;
    let run = context.store.run(&draft.name());
    let saved = run.plan()?.filter(|_| arguments.resume);
    if let Some(saved) = &saved {
        resume::check(saved, arguments, &draft.with_steps(saved.steps), &run)?;
        arguments.device.precision(Some(saved.precision)).map_err(anyhow::Error::msg)?;
    }
    let is_new = saved.is_none();
    let mut plan = saved.unwrap_or_else(|| draft.with_steps(1));
    let TrainingData { training, validation, vocabulary } =
        TrainingData::open(&plan, mixture, context)?;
    let mut seconds_per_step = None;
    if is_new {
        (plan, seconds_per_step) = settled(&draft, &training, arguments, context)?;
    }
    if context.is_stopping() {
        bail!("stopped before the first step");
    }
    Ok(Resolved { run, plan, training, validation, vocabulary, seconds_per_step })
}

fn train(resolved: Resolved, arguments: &Fit, context: &Context) -> Result<PrintedFit> {
    use std::io::IsTerminal;
    let Resolved { run, plan, training, validation, vocabulary, .. } = resolved;
    let _lock = run.lock()?;
    if !run.weights_path().exists() {
        check_memory(&plan, arguments.device)?;
    }
    prepare(&run, &plan, arguments)?;
    for Setting { choice, .. } in plan.unusual() {
        if let Some(why) = plan.choices.idle(choice.key) {
            context.say(&format!("note: `{}` has no effect, because {why}", choice.key));
        }
    }
    if let Some(vocabulary) = &vocabulary {
        put_with_run(vocabulary, &run.tokenizer_path())?;
    }
    context.say(&format!(
        "{}: {} parameters, {} steps of {} tokens on {}",
        plan.name,
        short_count(plan.parameters()),
        plan.steps,
        short_count(plan.tokens_per_step()),
        plan.corpus
    ));
    // A program that outlives its terminal has nobody to show a dashboard to.
    let dashboard = std::io::stdout().is_terminal()
        && !(arguments.plain || context.json || context.quiet || signals::ignores_hangups());
    let lines = !dashboard && !context.quiet;
    let mut log = Log::new(&plan, lines);
    let job = Job {
        plan: plan.clone(),
        run: run.clone(),
        training,
        validation,
        tokenizer: vocabulary.map_or([0; 32], |vocabulary| vocabulary.identity()),
        dashboard,
        stop: context.stop(),
        keeping: Some(Box::new(context.keep())),
        observe: Box::new(move |record| log.show(record)),
    };
    let fitted = arguments.device.fit(job)?;
    finish(&plan, &run, fitted, arguments, context)
}

/// Checks whether a run of this name exists already.
fn prepare(run: &Run, plan: &Plan, arguments: &Fit) -> Result<()> {
    let name = run.name();
    match run.plan()? {
        Some(_) if arguments.overwrite => {
            run.clear()?;
            run.save_plan(plan)?;
        }
        Some(_) if has_records_alone(run)? => bail!(
            "run `{name}` was trained, but {} has only its records, neither weights nor a checkpoint\n\
             hint: give the folder that has them, or another one to train in, with `--runs-dir`; \
             `--overwrite` deletes the records",
            run.folder().display()
        ),
        Some(_) if arguments.resume => {}
        Some(_) => bail!(
            "run `{name}` exists already\n\
             hint: `--resume` continues it, `--overwrite` replaces it, `--seed` or `--name` makes \
             another"
        ),
        None => run.save_plan(plan)?,
    }
    Ok(())
}

fn finish(
    plan: &Plan,
    run: &Run,
    fitted: Fitted,
    arguments: &Fit,
    context: &Context,
) -> Result<PrintedFit> {
    let device = arguments.device;
    let best = fitted.best_bits_per_byte;
    let validation =
        best.map_or(String::new(), |bits| format!(", {bits:.4} bits/byte on validation"));
    let took = short_seconds(fitted.seconds);
    if fitted.finished {
        context.say(&format!("{}: done in {took}{validation}", plan.name));
        if device != Device::Cpu {
            context.say(&utilisation(plan, fitted.seconds, device)?);
        }
        let corpus = if plan.parts.is_empty() {
            // As it was given: a plan has the name of a file without its folder.
            let corpus = arguments.corpus.as_deref().unwrap_or(&plan.corpus);
            format!(" --corpus {}", shell_word(corpus))
        } else {
            " --part test".to_owned()
        };
        // Chunks are 2048 bytes unless something else is said.
        let chunk = match plan.context {
            short if short < DEFAULT_CONTEXT => format!(" --chunk {short}"),
            _ => String::new(),
        };
        context.say(&format!("next: `lmtrain eval --run {}{corpus}{chunk}`", plan.name));
    } else {
        let (step, steps) = (fitted.step, plan.steps);
        context.say(&format!("{}: stopped after step {step} of {steps}{validation}", plan.name));
        if !context.is_stopping() {
            context.say("next: run the same command with `--resume` to continue");
        }
    }
    Ok(PrintedFit {
        name: plan.name.clone(),
        finished: fitted.finished,
        step: fitted.step,
        parameters: plan.parameters(),
        tokens_trained: fitted.step * plan.tokens_per_step(),
        validation_bits_per_byte: best,
        seconds: fitted.seconds,
        weights: run.weights_path(),
    })
}
