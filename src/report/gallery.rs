//! The galleries of the page: for each medium, the given context, the real continuation, and each generator's samples
//! (the paper's figures 3 to 5). They are made from the records of samples only.

use std::fmt::Write;

use anyhow::Result;
use lmtrain_runs::{Medium, SampleRecord};

use super::draw::render;
use super::format::{base64, html};
use super::pictures;

/// The last bytes of a text's context that are shown.
const CONTEXT_SHOWN: usize = 400;
/// Samples of one generator that are shown of one context.
const MOST_SAMPLES: usize = 3;

/// A section of the page.
pub(crate) struct Gallery {
    /// Its place on the page.
    pub(crate) name: String,
    /// Its heading.
    pub(crate) title: String,
    /// What is below the heading.
    pub(crate) html: String,
}

/// Of samples that are the same draw the last, in an order that does not depend on when they were made.
pub(crate) fn in_order(samples: Vec<SampleRecord>) -> Vec<SampleRecord> {
    let mut last: Vec<SampleRecord> = Vec::new();
    for sample in samples {
        match last.iter_mut().find(|other| other.is_as(&sample)) {
            Some(other) => *other = sample,
            None => last.push(sample),
        }
    }
    last.sort_by_cached_key(|it| {
        (subject_key(it), generator_key(it), it.seed, it.index, it.bytes.clone())
    });
    last
}

/// Samples that are shown side by side: of one chunk, or of one prompt.
fn subject_key(record: &SampleRecord) -> impl Ord + use<> {
    let prompt = match record.corpus {
        Some(_) => Vec::new(),
        None => context_shown(record),
    };
    (record.medium, record.corpus.clone(), record.chunk, record.truth.clone(), prompt)
}

/// Compressors before runs before pretrained models; each in all the ways in which it drew.
fn generator_key(record: &SampleRecord) -> impl Ord + use<> {
    let temperature = record.temperature.to_bits();
    let weights = record.maker.weights().map(str::to_owned);
    (record.kind(), record.name.clone(), record.look_ahead, temperature, weights)
}

/// The galleries, one for each medium that there are samples of.
///
/// # Errors
/// If a picture cannot be made.
pub(crate) fn galleries(samples: &[SampleRecord]) -> Result<Vec<Gallery>> {
    let mut galleries = Vec::new();
    for of_medium in samples.chunk_by(|one, other| one.medium == other.medium) {
        let Some(first) = of_medium.first() else { continue };
        let mut text = format!("<p class=\"caption\">{}</p>\n", html(caption(first.medium)));
        for subject in of_medium.chunk_by(|one, other| subject_key(one) == subject_key(other)) {
            text += &subject_html(subject)?;
        }
        let name = match first.medium {
            Medium::Text => "samples-text".to_owned(),
            Medium::Bytes => "samples-bytes".to_owned(),
            Medium::GrayImages { .. } => "samples-images".to_owned(),
            Medium::Audio { bits, rate_hz } => format!("samples-audio-{bits}-{rate_hz}"),
        };
        let title = format!("Samples: {}", first.medium);
        galleries.push(Gallery { name, title, html: text });
    }
    Ok(galleries)
}

fn caption(medium: Medium) -> &'static str {
    match medium {
        Medium::Text | Medium::Bytes => {
            "Samples of each generator after the same context, and the bytes that really follow it. A \
             network samples by decoding random bits; with a compressor, a byte is the more probable the \
             less it lengthens the compressed data."
        }
        Medium::GrayImages { .. } => {
            "The left half of every row is given and the right half is sampled, row by row. The first \
             picture is the original patch, the second the given half."
        }
        Medium::Audio { .. } => {
            "The first half of a chunk is given (dark) and the second half is sampled (coloured). The \
             original chunk is at the top."
        }
    }
}

fn subject_html(samples: &[SampleRecord]) -> Result<String> {
    let Some(first) = samples.first() else { return Ok(String::new()) };
    let heading = match (&first.corpus, first.chunk) {
        (Some(corpus), Some(chunk)) => format!("{corpus}, chunk {chunk}"),
        (Some(corpus), None) => corpus.clone(),
        (None, _) => "a prompt".to_owned(),
    };
    let mut shown: Vec<&SampleRecord> = Vec::new();
    for one in samples.chunk_by(|one, other| generator_key(one) == generator_key(other)) {
        shown.extend(one.iter().take(MOST_SAMPLES));
    }
    let inner = match first.medium {
        Medium::Text | Medium::Bytes => texts(&shown),
        Medium::GrayImages { width, .. } => patches(&shown, usize::try_from(width)?)?,
        Medium::Audio { bits, rate_hz } => sounds(&shown, (bits, rate_hz))?,
    };
    Ok(format!("<h3>{}</h3>\n{inner}", html(&heading)))
}

/// What tells a sample from the others of its subject.
fn label(record: &SampleRecord) -> String {
    let mut label = record.name.clone();
    if let Some(ahead @ 2..) = record.look_ahead {
        label += &format!(", {ahead} bytes ahead");
    }
    if record.temperature != 1.0 {
        label += &format!(", temperature {}", record.temperature);
    }
    format!("{label}, sample {}", record.index + 1)
}

fn bits_per_byte(record: &SampleRecord) -> String {
    let bytes = record.stretches.iter().skip(1).step_by(2).sum::<u64>().max(1);
    format!("{:.2} bits/byte", record.bits.0 / bytes as f64)
}

/// The end of what is given first.
fn context_shown(record: &SampleRecord) -> Vec<u8> {
    let given = record.ranges().first().map_or(0..0, |(range, _)| range.clone());
    let start = given.end.saturating_sub(CONTEXT_SHOWN).max(given.start);
    record.bytes.0[start..given.end].to_vec()
}

fn texts(samples: &[&SampleRecord]) -> String {
    let mut text = String::from("<dl class=\"samples\">\n");
    let mut add = |name: &str, bytes: &[u8]| {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "<dt>{}</dt><dd><pre>{}</pre></dd>",
            html(name),
            html(&pictures::as_text(bytes))
        );
    };
    // A network that holds less was given less.
    if let Some(longest) = samples.iter().max_by_key(|sample| sample.stretches.first()) {
        add("context, its end", &context_shown(longest));
    }
    if let Some(truth) = samples.first().and_then(|sample| sample.truth.as_ref()) {
        add("as it is", &truth.0);
    }
    for sample in samples {
        add(&format!("{}, {}", label(sample), bits_per_byte(sample)), &sample.drawn());
    }
    text + "</dl>\n"
}

fn patches(samples: &[&SampleRecord], width: usize) -> Result<String> {
    let mut text = String::from("<div class=\"patches\">\n");
    let mut add = |name: &str, png: &[u8]| {
        let _ = writeln!(
            text,
            "<figure><img alt=\"{0}\" width=\"256\" height=\"128\" src=\"data:image/png;base64,{1}\">\
             <figcaption>{0}</figcaption></figure>",
            html(name),
            base64(png)
        );
    };
    if let Some(first) = samples.first() {
        if let Some(truth) = pictures::with_truth(first) {
            add("as it is", &pictures::patch_png(&truth, width)?);
        }
        add("given", &pictures::given_png(first, width)?);
    }
    for sample in samples {
        let name = format!("{}, {}", label(sample), bits_per_byte(sample));
        add(&name, &pictures::patch_png(&sample.bytes.0, width)?);
    }
    Ok(text + "</div>\n")
}

fn sounds(samples: &[&SampleRecord], (bits, rate_hz): (u32, u32)) -> Result<String> {
    let scene = pictures::waveforms(samples);
    let mut text =
        format!("<div class=\"waves\">{}</div>\n", render::inline_svg(&scene, "waveforms")?);
    let truth = samples.first().and_then(|first| pictures::with_truth(first));
    let truth = truth.map(|bytes| ("as it is".to_owned(), bytes));
    let drawn = samples.iter().map(|sample| (label(sample), sample.bytes.0.clone()));
    let links = truth.into_iter().chain(drawn).map(|(name, bytes)| {
        let wav = base64(&pictures::wav(&bytes, bits, rate_hz));
        let name = html(&name);
        format!("<a download=\"{name}.wav\" href=\"data:audio/wav;base64,{wav}\">{name}</a>")
    });
    let links: Vec<String> = links.collect();
    let _ = writeln!(text, "<p class=\"files\">WAV: {}</p>", links.join(" · "));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use lmtrain_runs::Bits;
    use lmtrain_runs::drawn::HexBytes;
    use lmtrain_runs::record::{CompressorFacts, Maker, Provenance};

    use super::*;

    fn sample(
        name: &str,
        medium: Medium,
        (given, drawn): (usize, usize),
        index: u64,
    ) -> SampleRecord {
        SampleRecord {
            name: name.to_owned(),
            maker: Maker::Compressor(CompressorFacts::default()),
            look_ahead: Some(1),
            corpus: Some("<notes>".to_owned()),
            chunk: Some(7),
            medium,
            stretches: vec![given as u64, drawn as u64],
            bytes: HexBytes([vec![b'<'; given], vec![b'0' + index as u8; drawn]].concat()),
            truth: Some(HexBytes(vec![b't'; drawn])),
            temperature: 1.0,
            seed: 0,
            index,
            bits: Bits(drawn as f64),
            provenance: Provenance::default(),
        }
    }

    #[test]
    fn every_medium_has_a_gallery_that_escapes_and_needs_nothing() {
        let speech = Medium::Audio { bits: 8, rate_hz: 16_000 };
        let samples = [
            sample("gzip", Medium::Text, (500, 5), 1),
            sample("gzip", speech, (1024, 1024), 0),
            sample("gzip", Medium::PATCHES, (2000, 48), 0),
            sample("gzip", Medium::Text, (500, 5), 0),
            sample("lzma2", Medium::Text, (500, 5), 0),
        ];
        let ordered = in_order(samples.to_vec());
        let reversed = in_order(samples.iter().rev().cloned().collect());
        assert_eq!(ordered, reversed);
        let galleries = galleries(&ordered).expect("made");
        let names: Vec<&str> = galleries.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["samples-text", "samples-images", "samples-audio-8-16000"]);
        let text = &galleries[0].html;
        let order = ["&lt;notes&gt;, chunk 7", "&lt;&lt;", "ttttt", "00000", "11111", "lzma2"];
        let places = order.map(|part| text.find(part).unwrap_or_else(|| panic!("{part}: {text}")));
        assert!(places.is_sorted() && text.contains("1.00 bits/byte") && !text.contains("<notes>"));
        assert_eq!(
            galleries[1].html.matches("<img ").count(),
            3,
            "the truth, the half, the sample"
        );
        assert_eq!(galleries[2].html.matches("data:audio/wav").count(), 2);
    }

    #[test]
    fn the_same_draw_is_shown_once_and_the_last_counts() {
        let old = sample("gzip", Medium::Text, (5, 5), 0);
        let new = SampleRecord { bits: Bits(9.0), ..old.clone() };
        assert_eq!(in_order(vec![old, new.clone()]), [new]);
        assert!(galleries(&[]).expect("none").is_empty());
    }
}
