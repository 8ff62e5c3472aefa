//! Values that several commands take.

use lmtrain_runs::Bytes;
#[cfg(feature = "train")]
use lmtrain_runs::Tokenization;
use lmtrain_runs::builtin::BUILTINS;
#[cfg(feature = "train")]
use lmtrain_runs::plan::MOST_CONTEXT;
use lmtrain_runs::units::parse_count;

/// The networks that are built in, as the help of commands that take them ends.
pub(super) fn built_in() -> String {
    let mut text =
        "Networks that are built into the program, to be named as a run is:\n".to_owned();
    for builtin in BUILTINS {
        let bytes = Bytes(builtin.packed.len() as u64).to_string();
        text += &format!("  {:<16} {bytes}, trained on {}\n", builtin.name, builtin.trained_on);
    }
    text
}

/// What `--model` takes.
pub(super) const MODEL: &str = if cfg!(feature = "hub") { "DIR|OWNER/NAME" } else { "DIR" };

pub(super) fn parse_positive(text: &str) -> Result<usize, String> {
    match parse_count(text)? {
        0 => Err("it must be at least 1".to_owned()),
        count => usize::try_from(count).map_err(|_| "it is too large".to_owned()),
    }
}

#[cfg(feature = "train")]
/// A tokenization that a run may have.
pub(super) fn parse_trained(text: &str) -> Result<Tokenization, String> {
    match text.parse()? {
        Tokenization::Pretrained(_) => {
            Err("the tokenizer of a run is `bytes` or a BPE vocabulary such as `bpe-5000`"
                .to_owned())
        }
        tokenization => Ok(tokenization),
    }
}

#[cfg(feature = "train")]
pub(super) fn parse_context(text: &str) -> Result<usize, String> {
    match parse_positive(text)? {
        tokens if tokens <= MOST_CONTEXT => Ok(tokens),
        _ => Err(format!("it must be at most {MOST_CONTEXT}")),
    }
}

#[cfg(feature = "train")]
pub(super) fn parse_minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if minutes > 0.0 && minutes < 1e6 => Ok(minutes),
        _ => Err("it must be a number of minutes above 0, such as 10 or 0.5".to_owned()),
    }
}
