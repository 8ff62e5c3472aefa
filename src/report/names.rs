//! Names of rows and curves: for a run, only what distinguishes it from the others; for a compressor, its name and
//! preset.

use std::collections::BTreeSet;

use lmtrain_runs::Setting;
use lmtrain_runs::plan::TrainOn;
use lmtrain_runs::recipe;
use lmtrain_runs::record::{Chunking, Kind};
use lmtrain_runs::units::short_count;
use lmtrain_runs::{Plan, RateRecord};

/// For each plan its size, and those of its other choices that distinguish it from the others: a choice in which any
/// two plans differ; tokens and seed only if plans of the same size differ in them.
#[must_use]
pub(crate) fn distinguishing(plans: &[&Plan]) -> Vec<String> {
    let all: Vec<Vec<String>> = plans.iter().map(|plan| choices(plan, plans)).collect();
    let short = |own: &Vec<String>| {
        let rivals = |index: usize| all.iter().filter(move |other| index < 5 || other[0] == own[0]);
        let told =
            |index: usize| index == 0 || rivals(index).any(|other| other[index] != own[index]);
        let kept = (0..own.len()).filter(|&index| told(index)).map(|index| own[index].as_str());
        kept.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
    };
    let names: Vec<String> = all.iter().map(short).collect();
    let alone = |name: &String| names.iter().filter(|other| *other == name).count() == 1;
    let full = |(name, plan): (&String, &&Plan)| {
        if alone(name) { name.clone() } else { plan.name.clone() }
    };
    names.iter().zip(plans).map(full).collect()
}

/// A corpus to train on in few letters: of a mixture of more than two its number of parts, if no other mixture of
/// these plans has as many.
#[must_use]
pub(crate) fn trained_on(corpus: &str, plans: &[&Plan]) -> String {
    let parts = plans.iter().find(|plan| plan.corpus == corpus).map_or(0, |plan| plan.parts.len());
    let alike = plans.iter().filter(|plan| plan.parts.len() == parts);
    let alike: BTreeSet<&str> = alike.map(|plan| plan.corpus.as_str()).collect();
    if parts > 2 && alike.len() == 1 {
        format!("mixture of {parts} corpora")
    } else {
        corpus.to_owned()
    }
}

fn choices(plan: &Plan, plans: &[&Plan]) -> Vec<String> {
    let train_on = match plan.train_on {
        TrainOn::Split => "first 90 %",
        TrainOn::All => "all of it",
    };
    vec![
        plan.size.to_string(),
        plan.tokenization.to_string(),
        plan.recipe.to_string(),
        trained_on(&plan.corpus, plans),
        train_on.to_owned(),
        format!("context {}", plan.context),
        chosen(plan),
        format!("{} tokens", short_count(plan.tokens())),
        format!("seed {}", plan.seed),
    ]
}

/// The choices of a plan that are not its recipe's: `beta1=0.9, soft-cap=off`.
#[must_use]
pub(crate) fn chosen(plan: &Plan) -> String {
    let settings = plan.unusual().into_iter();
    let pair = |Setting { choice, value }| format!("{}={}", choice.key, recipe::text(&value));
    settings.map(pair).collect::<Vec<_>>().join(", ")
}

/// A compressor's name with its preset, if it has one, in few letters: `gzip 9` of `level 9`,
/// `lzma2 9e` of `preset 9e, .xz with CRC-64`. The table of measurements gives it in full. Of a
/// model that was given masked bytes the name says so.
#[must_use]
pub(crate) fn with_preset(record: &RateRecord) -> String {
    let Some(preset) = &record.preset() else { return masked(&record.name, record) };
    let short = preset.split(',').next().unwrap_or(preset);
    let short = short.trim_start_matches("level ").trim_start_matches("preset ");
    format!("{} {short}", record.name)
}

/// A record's name, and what was taken from the bytes, if something was: another measurement than without.
#[must_use]
pub(crate) fn masked(name: &str, record: &RateRecord) -> String {
    match record.method().mask {
        Some(mask) => format!("{name}, bits {mask}"),
        None => name.to_owned(),
    }
}

/// How a chunking is said after a name: `whole`, `chunks of 2048 bytes`.
#[must_use]
pub(crate) fn chunking(chunking: Chunking) -> String {
    match chunking {
        Chunking::Whole => "whole".to_owned(),
        Chunking::Strided { .. } => format!("windows of {chunking}"),
        cut => format!("chunks of {cut}"),
    }
}

/// The same in fewer letters: `chunks of 2048`, of bytes or tokens as the text around it says.
#[must_use]
pub(crate) fn short_chunking(chunking: Chunking) -> String {
    match chunking {
        Chunking::Whole => "whole".to_owned(),
        Chunking::Bytes(length) | Chunking::Tokens(length) => format!("chunks of {length}"),
        Chunking::Strided { window, stride } => format!("windows of {window} by {stride}"),
    }
}

/// Plural of a kind, as the head of its rows.
#[must_use]
pub(crate) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Compressor => "Compressors",
        Kind::Run => "Runs",
        Kind::Pretrained => "Pretrained models",
    }
}

/// Names in a sentence: `a`, `a and b`, `a, b and c`.
#[must_use]
pub(crate) fn sentence(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_run_is_named_by_what_differs() {
        let small = samples::plan("200K", 0);
        let large = samples::plan("3.2M", 0);
        let other = samples::plan("3.2M", 1);
        assert_eq!(distinguishing(&[&small]), ["200K"]);
        assert_eq!(distinguishing(&[&small, &large]), ["200K", "3.2M"]);
        let names = distinguishing(&[&small, &large, &other]);
        assert_eq!(names, ["200K", "3.2M, seed 0", "3.2M, seed 1"]);
        let mut chosen = samples::plan("3.2M", 0);
        chosen.choices.beta1 = 0.9;
        chosen.choices.soft_cap = None;
        assert_eq!(distinguishing(&[&chosen, &large])[0], "3.2M, soft-cap=off, beta1=0.9");
        assert!(distinguishing(&[]).is_empty());
        assert_eq!(distinguishing(&[&large, &large])[0], large.name, "at worst the full name");
    }

    #[test]
    fn a_mixture_of_many_is_named_by_how_many() {
        let plan = samples::plan("200K", 0);
        let part = |corpus: &str| lmtrain_runs::PlannedPart {
            corpus: corpus.into(),
            bytes: plan.corpus_bytes,
            sha256: String::new(),
            train: lmtrain_runs::record::Span { start: 0, end: 1 },
            weight: None,
        };
        let mixed = |corpora: &[&str]| Plan {
            corpus: corpora.join("+"),
            parts: corpora.iter().map(|corpus| part(corpus)).collect(),
            ..plan.clone()
        };
        let (many, few) = (mixed(&["a", "b", "c", "d"]), mixed(&["a", "b"]));
        let plans = [&plan, &many, &few];
        assert_eq!(
            distinguishing(&plans),
            ["200K, enwik8", "200K, mixture of 4 corpora", "200K, a+b"]
        );
        let others = mixed(&["a", "b", "c", "e"]);
        assert_eq!(trained_on("a+b+c+d", &[&many, &others]), "a+b+c+d", "two would be one");
        assert_eq!(trained_on("unknown", &plans), "unknown");
    }

    #[test]
    fn names_make_a_sentence() {
        let names = ["a", "b", "c"].map(String::from);
        assert_eq!(sentence(&names), "a, b and c");
        assert_eq!(sentence(&names[..2]), "a and b");
        assert_eq!(sentence(&[]), "");
    }
}
