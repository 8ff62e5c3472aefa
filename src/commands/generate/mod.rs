//! `lmtrain generate`: samples from runs, pretrained models and compressors after a context, recorded and shown.

mod drawn;
mod generator;
mod show;
mod subject;

use anyhow::{Result, bail};
use lmtrain_eval::generate::{Drawing, GenerateError, Sampled, Stretch};
use lmtrain_runs::drawn::HexBytes;
use lmtrain_runs::{Bits, SampleRecord};

use crate::cli::Generate;
use crate::context::Context;
use drawn::Drawn;
use generator::Generator;
use subject::Subject;

pub(super) fn run(arguments: &Generate, context: &Context) -> Result<()> {
    lmtrain_engine::simd_level().map_err(anyhow::Error::msg)?;
    let subject = Subject::of(arguments, context)?;
    let open = |name: &String| Generator::open(name, arguments.look_ahead, subject.medium, context);
    let generators = arguments.with.iter().map(open).collect::<Result<Vec<_>>>()?;
    let drawing = Drawing {
        samples: arguments.samples,
        temperature: arguments.temperature,
        seed: arguments.seed,
    };
    let mut drawn = Vec::new();
    for generator in &generators {
        let stretches = generator.fitting(&subject, context)?;
        let samples = match generator.draw(&stretches, drawing, context) {
            Err(GenerateError::Stopped) => {
                bail!("stopped; no sample of {} is kept", generator.name())
            }
            samples => samples?,
        };
        let store = generator.store(context);
        let recorded = store.samples()?;
        for (index, sampled) in (0..).zip(samples) {
            let first_byte = sampled.first_byte.clone();
            let record =
                record(generator, &subject, &stretches, drawing, (index, sampled), context);
            if !recorded.iter().any(|other| other.is_as(&record)) {
                store.append_sample(&record)?;
            }
            drawn.push(Drawn { record, first_byte });
        }
    }
    show::show(&drawn, arguments, context)
}

/// The record of a sample.
fn record(
    generator: &Generator,
    subject: &Subject,
    stretches: &[Stretch],
    drawing: Drawing,
    (index, sampled): (u64, Sampled),
    context: &Context,
) -> SampleRecord {
    let length = |stretch: &Stretch| match stretch {
        Stretch::Given(bytes) => bytes.len() as u64,
        Stretch::Free(count) => *count as u64,
    };
    SampleRecord {
        name: generator.name().to_owned(),
        maker: generator.maker(),
        look_ahead: generator.look_ahead(),
        corpus: subject.corpus.clone(),
        chunk: subject.chunk,
        medium: subject.medium,
        stretches: stretches.iter().map(length).collect(),
        bytes: HexBytes(sampled.bytes),
        truth: subject.truth.clone().map(HexBytes),
        temperature: drawing.temperature,
        seed: drawing.seed,
        index,
        bits: Bits(sampled.bits),
        provenance: context.provenance("cpu"),
    }
}
