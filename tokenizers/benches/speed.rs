//! Time, peak memory and speed of training a vocabulary and of encoding, beside `peer.py`, which does
//! the same with the Python package:
//!
//! ```sh
//! cargo bench -p lmtrain-tokenizers --bench speed -- TEXT-FILE bpe-20000.json 20000 train
//! cargo bench -p lmtrain-tokenizers --bench speed -- TEXT-FILE bpe-20000.json 20000 encode
//! ```

#![allow(clippy::print_stdout, reason = "a benchmark run by hand")]

use std::path::Path;
use std::time::Instant;

use lmtrain_tokenizers::BpeTokenizer;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let [text, vocabulary, tokens, what] = &arguments[..] else {
        println!("usage: speed TEXT-FILE VOCABULARY-FILE TOKENS train|encode");
        return;
    };
    let text = std::fs::read(text).expect("the text");
    let start = Instant::now();
    let made = match what.as_str() {
        "train" => {
            let tokens = tokens.parse().expect("a number of tokens");
            let tokenizer = BpeTokenizer::train(&text, tokens).expect("trained");
            tokenizer.write(Path::new(vocabulary)).expect("written");
            tokens as usize
        }
        _ => {
            let tokenizer = BpeTokenizer::read(Path::new(vocabulary)).expect("a vocabulary");
            tokenizer.encode(&text).len()
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let peak = lmtrain_runs::machine::peak_memory().map_or("?".to_owned(), |it| it.to_string());
    println!(
        "{what}: {seconds:.2} s, {:.2} MB/s, {made} tokens, peak memory {peak} (the text {} kB)",
        text.len() as f64 / 1e6 / seconds,
        text.len() / 1024,
    );
}
