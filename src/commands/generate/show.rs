//! How samples are output: text on standard output, PNG and WAV files in a folder, or JSON.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use lmtrain_runs::files::write_atomic;
use lmtrain_runs::{Medium, SampleRecord};
use serde::Serialize;

use super::super::output::{print_json, print_line};
use super::drawn::Drawn;
use crate::cli::Generate;
use crate::context::Context;
use crate::report::pictures;

/// A sample as it is printed in JSON.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    record: &'a SampleRecord,
    /// What was drawn, where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    bits_per_byte: f64,
    /// The distribution of the first byte that was drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_probabilities: &'a Option<Vec<f64>>,
    files: Vec<String>,
}

/// Writes files of images and sounds, and prints everything.
pub(super) fn show(drawn: &[Drawn], arguments: &Generate, context: &Context) -> Result<()> {
    let folder = arguments.output.clone().unwrap_or_else(|| context.store.root().join("generated"));
    let mut files = Vec::new();
    for samples in drawn.chunk_by(|one, other| one.record.name == other.record.name) {
        let records: Vec<&SampleRecord> = samples.iter().map(|sample| &sample.record).collect();
        files.push((samples, media_files(&records, &folder)?));
    }
    if context.json {
        let printed = |(samples, files): &(&'_ [Drawn], Vec<PathBuf>)| {
            let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
            let print = |sample| Printed::new(sample, files.clone());
            samples
                .iter()
                .map(print)
                .map(|it| serde_json::to_value(&it))
                .collect::<Result<Vec<_>, _>>()
        };
        let printed = files.iter().map(printed).collect::<Result<Vec<_>, _>>()?;
        return print_json(&printed.concat());
    }
    for path in files.iter().flat_map(|(_, files)| files) {
        print_line(&path.display())?;
    }
    match drawn {
        [one] if !one.record.medium.is_decoded() => {
            // Without a newline at its end it would wait in the buffer, and a failure be lost.
            let mut output = std::io::stdout();
            output.write_all(&one.record.drawn())?;
            Ok(output.flush()?)
        }
        several => {
            several.iter().filter(|it| !it.record.medium.is_decoded()).try_for_each(print_text)
        }
    }
}

impl<'a> Printed<'a> {
    fn new(sample: &'a Drawn, files: Vec<String>) -> Self {
        let Drawn { record, first_byte } = sample;
        let drawn = record.drawn();
        let text = || String::from_utf8_lossy(&drawn).into_owned();
        Self {
            record,
            text: (record.medium == Medium::Text).then(text),
            bits_per_byte: bits_per_byte(record),
            first_byte_probabilities: first_byte,
            files,
        }
    }
}

fn bits_per_byte(record: &SampleRecord) -> f64 {
    record.bits.0 / record.drawn().len().max(1) as f64
}

/// A sample under a heading.
fn print_text(sample: &Drawn) -> Result<()> {
    let record = &sample.record;
    print_line(&format!(
        "== {}, sample {}, {:.2} bits/byte",
        record.name,
        record.index + 1,
        bits_per_byte(record)
    ))?;
    print_line(&pictures::as_text(&record.drawn()))?;
    print_line(&"")
}

/// The files of one generator's samples of an image or a sound; none of a text.
fn media_files(records: &[&SampleRecord], folder: &Path) -> Result<Vec<PathBuf>> {
    let Some(first) = records.first() else { return Ok(Vec::new()) };
    let part = |text: &str| {
        let plain = |letter: char| letter.is_alphanumeric() || "-._".contains(letter);
        text.chars().map(|it| if plain(it) { it } else { '-' }).collect::<String>()
    };
    let corpus = part(first.corpus.as_deref().unwrap_or("prompt"));
    let of_chunk = format!("{corpus}-{}", first.chunk.unwrap_or_default());
    let name = format!("{of_chunk}-{}-s{}", part(&first.name), first.seed);
    let mut contents = Vec::new();
    match first.medium {
        Medium::GrayImages { width, .. } => {
            let sheet = pictures::sheet(records, width as usize)?;
            contents.push((format!("{name}.png"), sheet));
        }
        Medium::Audio { bits, rate_hz } => {
            let wav = |bytes: &[u8]| pictures::wav(bytes, bits, rate_hz);
            contents.push((format!("{name}.png"), pictures::waveforms_png(records)?));
            if let Some(truth) = pictures::with_truth(first) {
                contents.push((format!("{of_chunk}.wav"), wav(&truth)));
            }
            for record in records {
                contents.push((format!("{name}-{}.wav", record.index + 1), wav(&record.bytes.0)));
            }
        }
        Medium::Text | Medium::Bytes => {}
    }
    let mut paths = Vec::new();
    for (name, content) in contents {
        let path = folder.join(name);
        write_atomic(&path, &content)?;
        paths.push(path);
    }
    Ok(paths)
}
