//! What the command line accepts.

use clap::{CommandFactory, Parser};
use lmtrain_runs::Tokenization;
use lmtrain_runs::record::Chunking;

use super::data::parse_vocabulary;
use super::eval::parse_chunking;
#[cfg(feature = "train")]
use super::values::parse_trained;
use super::*;

#[test]
fn the_definition_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn lists_of_corpora_keep_their_options() {
    let line = "lmtrain eval --corpus enwik8,markov:order=1,seed=2,a=b.txt --corpus x,y";
    let Ok(Arguments { command: Command::Eval(eval), .. }) =
        Arguments::try_parse_from(line.split(' '))
    else {
        panic!("an eval")
    };
    assert_eq!(eval.corpora(), ["enwik8", "markov:order=1,seed=2,a=b.txt", "x", "y"]);
}

#[test]
fn chunks_are_of_bytes_or_tokens() {
    assert_eq!(parse_chunking("2K"), Ok(Chunking::Bytes(2000)));
    assert_eq!(parse_chunking("2048tokens"), Ok(Chunking::Tokens(2048)));
    assert_eq!(parse_chunking("512 tokens"), Ok(Chunking::Tokens(512)));
    for text in ["0", "0tokens", "tokens", "2048bytes", "-1tokens"] {
        assert!(parse_chunking(text).is_err(), "{text}");
    }
    assert_eq!(parse_vocabulary("20K"), Ok(Tokenization::Bpe(20_000)));
    assert!(parse_vocabulary("256").is_err());
}

#[cfg(feature = "train")]
#[test]
fn runs_have_tokens_of_their_own() {
    assert_eq!(parse_trained("bpe-500"), Ok(Tokenization::Bpe(500)));
    assert!(parse_trained("pretrained-500").is_err());
}

#[test]
fn a_network_that_is_built_in_a_run_or_a_model_compresses() {
    let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
    for line in ["", " -o b", " --embed-model", " --model c", " --run c --embed-model"] {
        assert!(parse(&format!("lmtrain compress a{line}")).is_ok(), "{line}");
    }
    for line in [" --run c --model d", " --model c --embed-model"] {
        assert!(parse(&format!("lmtrain compress a -o b{line}")).is_err(), "{line}");
    }
    assert!(parse("lmtrain decompress a.lmz").is_ok());
    for command in ["compress", "pack"] {
        let help = Arguments::try_parse_from(["lmtrain", command, "--help"]).expect_err("help");
        for builtin in lmtrain_runs::builtin::BUILTINS {
            assert!(help.to_string().contains(builtin.name), "{help}");
        }
    }
}

#[cfg(feature = "train")]
#[test]
fn budgets_exclude_each_other() {
    let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
    assert!(parse("lmtrain fit --size 200K,3.2M --tokens 1.5M").is_ok());
    assert!(parse("lmtrain fit --size 200K --tokens 1M --steps 5").is_err());
    assert!(parse("lmtrain fit --size 201K").is_err());
    assert!(parse("lmtrain fit --size 200K --minutes 0").is_err());
    assert!(parse("lmtrain fit --size 200K --batch 0").is_err());
}

#[cfg(feature = "train")]
#[test]
fn a_size_is_left_out_where_a_plan_has_it() {
    let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
    assert!(parse("lmtrain fit --resume --name x").is_ok());
    assert!(parse("lmtrain fit --name x").is_err());
    assert!(parse("lmtrain fit --resume").is_err());
    for line in ["", " table2 --shard 1/2", " --list", " --dry-run", " --size 50K --seed 0,1"] {
        assert!(parse(&format!("lmtrain sweep{line}")).is_ok(), "{line}");
    }
    for line in [" --seed 0,1", " table2 --size 50K", " table2 --tokens 1M", " --list table2"] {
        assert!(parse(&format!("lmtrain sweep{line}")).is_err(), "{line}");
    }
}
