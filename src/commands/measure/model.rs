//! A pretrained model as a subject.

use anyhow::Result;
use lmtrain_eval::Predictor;
use lmtrain_eval::measure::{MeasureOutcome, Measured, ProgressCallback};
use lmtrain_runs::record::{Facts, ModelFacts, NetworkFacts, RateRecord};
use lmtrain_runs::units::hex;
use lmtrain_runs::{ARITHMETIC, Bytes, Run};
use lmtrain_tokenizers::Tokenizer;

use super::super::pretrained::Named;
use super::network;
use super::settings::length_of;
use super::subject::{Subject, Task};
use crate::context::Context;

/// Bytes of a parameter in the paper's adjusted rate.
const PAPER_BYTES: f64 = 2.0;
/// Tokens of a chunk from which on it is said what one takes in memory.
const LONG: usize = 2048;

impl Subject for Named {
    type Identified = ();

    fn label(&self) -> String {
        match self.model.rounded_bytes() {
            None => self.name.clone(),
            Some(_) => format!("{} ({})", self.name, self.code),
        }
    }

    fn store(&self, context: &Context) -> Run {
        context.store.pretrained(&self.name)
    }

    fn identify(&self, task: &Task<'_>) -> Result<Option<(RateRecord, ())>> {
        let chunking = task.settings.chunking(self.model.predictor().context());
        let mut record = task.wanted(&self.name, facts(self), chunking);
        record.mask = task.settings.mask(task.corpus);
        Ok(Some((record, ())))
    }

    fn measure(
        &self,
        (): (),
        record: &mut RateRecord,
        task: &Task<'_>,
        progress: &mut ProgressCallback<'_>,
    ) -> Result<MeasureOutcome> {
        let (model, settings) = (&self.model, task.settings);
        let elsewhere = settings.device.pretrained(model, settings.precision);
        let elsewhere = elsewhere.map_err(anyhow::Error::msg)?;
        if let Some(network) = record.facts.network_mut() {
            network.tokenizer_bytes = model.tokenizer().vocabulary_bytes().map(Bytes);
        }
        let store = self.store(task.context);
        let predictor = elsewhere.as_deref().unwrap_or(model.predictor());
        network::measure(predictor, model.tokenizer(), (&store, record), task, progress)
    }

    /// What a long chunk takes in memory.
    fn announce(&self, record: &RateRecord, context: &Context) {
        let tokens = usize::try_from(length_of(record.chunking)).unwrap_or(usize::MAX);
        let tokens = tokens.min(self.model.predictor().context());
        if tokens > LONG {
            let bytes = self.model.predictor().engine().sequence_bytes(tokens);
            let mebibytes = bytes.div_ceil(1 << 20);
            context.say(&format!(
                "{}: a chunk of {tokens} tokens takes up to {mebibytes} MiB on each thread, in addition to the weights",
                self.name
            ));
        }
    }

    fn remark(&self, measured: &Measured, context: &Context) {
        let (cut, chunks) = (measured.cut_chunks, measured.chunks.len());
        if cut > 0 {
            context.say(&format!(
                "{cut} of {chunks} chunks were longer than the context of {} tokens, and were split",
                self.model.predictor().context()
            ));
        }
    }
}

/// What is known of a model.
fn facts(named: &Named) -> Facts {
    let model = &named.model;
    let rounded = model.rounded_bytes();
    let each = |bytes: Bytes| bytes.as_f64() / model.parameters() as f64;
    let network = NetworkFacts {
        tokenization: Some(model.tokenizer().tokenization()),
        parameters: Some(model.parameters()),
        bytes_per_parameter: Some(rounded.map_or(PAPER_BYTES, each)),
        weight_code: rounded.map(|_| named.code),
        weight_bytes: rounded,
        tokenizer_bytes: None,
        weights: Some(hex(&model.predictor().identity())),
        arithmetic: Some(ARITHMETIC),
    };
    Facts::Pretrained(ModelFacts {
        network,
        architecture: Some(model.architecture().to_owned()),
        stored_bytes: Some(model.stored_bytes()),
    })
}
