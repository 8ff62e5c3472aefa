//! The given context and the real continuation: a prompt, or a chunk of a corpus, which is divided according to its
//! medium.

use std::io::Read;

use anyhow::{Result, bail};
use lmtrain_corpora::Corpus;
use lmtrain_eval::generate::Stretch;
use lmtrain_runs::files::Input;
use lmtrain_runs::medium::MEDIA_CHUNK_BYTES;
use lmtrain_runs::{Medium, Span};

use super::super::corpora::open_corpus;
use crate::cli::Generate;
use crate::context::Context;

/// Bytes of a chunk, as everywhere.
const CHUNK_BYTES: u64 = 2048;
/// Bytes of a text's context and of its samples, which together are a chunk (the paper's figure 3).
const CONTEXT_BYTES: u64 = 1948;
const BYTES: usize = 100;

/// What samples begin with.
pub(super) struct Subject {
    pub(super) corpus: Option<String>,
    pub(super) chunk: Option<u64>,
    pub(super) medium: Medium,
    /// The given and the sampled stretches, alternating.
    pub(super) stretches: Vec<Stretch>,
    /// The real bytes of the sampled stretches, if they are known.
    pub(super) truth: Option<Vec<u8>>,
}

impl Subject {
    pub(super) fn of(arguments: &Generate, context: &Context) -> Result<Self> {
        if let Some(prompt) = &arguments.from.prompt {
            let mut bytes = Vec::new();
            Input::open(prompt)?.read_to_end(&mut bytes)?;
            let most = arguments.context_bytes.unwrap_or(CONTEXT_BYTES);
            let start = (bytes.len() as u64).saturating_sub(most);
            let given = bytes.split_off(usize::try_from(start).unwrap_or(bytes.len()));
            let medium = if given.contains(&0) { Medium::Bytes } else { Medium::Text };
            let stretches =
                vec![Stretch::Given(given), Stretch::Free(arguments.bytes.unwrap_or(BYTES))];
            return Ok(Self { corpus: None, chunk: None, medium, stretches, truth: None });
        }
        let corpus = open_corpus(arguments.from.corpus.as_deref().unwrap_or_default(), context)?;
        let (chunk, chunks) = (arguments.chunk, corpus.length().div_ceil(CHUNK_BYTES));
        if chunk >= chunks {
            bail!(
                "`{}` has {chunks} chunks, so there is no chunk {chunk}\n\
                 hint: `--chunk` counts from 0",
                corpus.name()
            );
        }
        let (stretches, truth) = if corpus.medium().is_decoded() {
            halves(arguments, &corpus)?
        } else {
            beginning(arguments, &corpus)?
        };
        corpus.check_length()?;
        let (name, medium) = (corpus.name().to_owned(), corpus.medium());
        Ok(Self { corpus: Some(name), chunk: Some(chunk), medium, stretches, truth })
    }
}

/// What is given and drawn, and what is really there.
type Parts = (Vec<Stretch>, Option<Vec<u8>>);

/// The first bytes of a chunk; what follows them may go beyond it.
fn beginning(arguments: &Generate, corpus: &Corpus) -> Result<Parts> {
    let start = arguments.chunk * CHUNK_BYTES;
    let context_bytes = arguments.context_bytes.unwrap_or(CONTEXT_BYTES);
    let end = start.saturating_add(context_bytes);
    if end > corpus.length() {
        bail!(
            "`{}` ends {} bytes after the beginning of chunk {}, too early for a context of {context_bytes} \
             bytes\nhint: a smaller `--context-bytes`, or another `--chunk`",
            corpus.name(),
            corpus.length() - start,
            arguments.chunk
        );
    }
    let bytes = arguments.bytes.unwrap_or(BYTES);
    let given = corpus.slice(Span { start, end }).to_vec();
    let truth = end.saturating_add(bytes as u64);
    let truth =
        (truth <= corpus.length()).then(|| corpus.slice(Span { start: end, end: truth }).to_vec());
    Ok((vec![Stretch::Given(given), Stretch::Free(bytes)], truth))
}

/// The left half of every row of a patch, or the first half of a chunk of sound.
fn halves(arguments: &Generate, corpus: &Corpus) -> Result<Parts> {
    let medium = corpus.medium();
    if arguments.context_bytes.is_some() || arguments.bytes.is_some() {
        bail!(
            "`{}` is {medium}: always half of a chunk is given and the other half sampled\n\
             hint: leave out `--context-bytes` and `--bytes`",
            corpus.name()
        );
    }
    let start = arguments.chunk * MEDIA_CHUNK_BYTES;
    let chunk = corpus.slice(Span { start, end: start + MEDIA_CHUNK_BYTES });
    let row = match medium {
        Medium::GrayImages { width, .. } => width as usize,
        _ => chunk.len(),
    };
    let (mut stretches, mut truth) = (Vec::new(), Vec::new());
    for row in chunk.chunks(row) {
        let (given, drawn) = row.split_at(row.len() / 2);
        stretches.extend([Stretch::Given(given.to_vec()), Stretch::Free(drawn.len())]);
        truth.extend(drawn);
    }
    Ok((stretches, Some(truth)))
}
