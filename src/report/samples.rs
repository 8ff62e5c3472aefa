//! Records for tests: invented, but of the form that real ones have.

use lmtrain_runs::curve::{CurvePoint, CurveRecord};
use lmtrain_runs::plan::{Budget, Plan, TrainOn, default_tokens};
use lmtrain_runs::record::{
    Chunking, CompressorFacts, Counts, Excerpt, Facts, Kind, ModelFacts, NetworkFacts, Provenance,
    RateRecord, RunFacts, Span, StepRecord, WeightCode,
};
use lmtrain_runs::{Bits, Bytes, LADDER, Recipe, Run, Size, Store, Tokenization};

/// A machine that nobody has.
fn provenance(command: &str) -> Provenance {
    Provenance {
        commit: Some("0123abc".into()),
        machine: "example machine, 2 cores".into(),
        device: "cpu".into(),
        command: command.into(),
    }
}

/// A plan on enwik8.
pub(crate) fn plan(size: &str, seed: u64) -> Plan {
    let size: Size = size.parse().expect("in the ladder");
    let tokens = default_tokens(size);
    let mut plan = Plan {
        name: String::new(),
        size,
        tokenization: Tokenization::Bytes,
        recipe: Recipe::Modern,
        corpus: "enwik8".into(),
        corpus_bytes: Bytes(100_000_000),
        corpus_sha256: "00".repeat(32),
        train_on: TrainOn::Split,
        train_span: None,
        parts: Vec::new(),
        budget: Budget::Tokens(tokens),
        steps: tokens / 32_768,
        context: 2048,
        batch: 2,
        accumulation: 1,
        seed,
        validate_every: 100,
        validation_sequences: 16,
        choices: Recipe::Modern.row_for(size, 2048).choices,
        precision: lmtrain_runs::Precision::F32,
    };
    plan.name = plan.name_of();
    plan
}

/// The steps of a plan, on a power law down to so many bits per byte.
pub(crate) fn steps(plan: &Plan, floor: f64) -> Vec<StepRecord> {
    let total = plan.steps;
    let every = (total / 200).max(1);
    let loss = |step: u64| floor + (8.0 - floor) * (1.0 + step as f64 / 12.0).powf(-0.85);
    let noise = |step: u64| 0.06 * (step as f64 * 12.9898 + plan.seed as f64).sin();
    (1..=total / every)
        .map(|index| {
            let step = index * every;
            let tokens = step * plan.tokens_per_step();
            let bits = loss(step) + noise(step);
            StepRecord {
                step,
                tokens,
                raw_bytes: Bytes(tokens),
                train_nats_per_token: bits * std::f64::consts::LN_2,
                train_bits_per_byte: bits,
                gradient_norm: 0.5,
                learning_rate_factor: 1.0,
                train_tokens_per_s: 12_000.0 + 400.0 * noise(step),
                seconds: tokens as f64 / 11_500.0,
                prequential_bits: Some(Bits((loss(step) + 0.3) * tokens as f64)),
                validation_bits_per_byte: (index % 10 == 0).then(|| loss(step) + 0.02),
            }
        })
        .collect()
}

/// The rate of a run of this size, seed 0, on the whole of a corpus, coded within 0.02 %.
pub(crate) fn rate(size: &str, corpus: &str, rate: f64) -> RateRecord {
    let plan = plan(size, 0);
    let raw = length(corpus);
    let ideal = Bits(8.0 * rate * raw as f64);
    let network = NetworkFacts {
        tokenization: Some(plan.tokenization.clone()),
        parameters: Some(plan.parameters()),
        bytes_per_parameter: Some(2.0),
        weight_code: None,
        weight_bytes: None,
        tokenizer_bytes: None,
        weights: Some("feed".into()),
        arithmetic: Some(lmtrain_runs::ARITHMETIC),
    };
    let facts = Facts::Run(RunFacts {
        network,
        size: Some(plan.size),
        recipe: Some(plan.recipe),
        choices: plan.unusual_values(),
        trained_on: Some(plan.corpus.clone()),
        tokens_trained: Some(plan.tokens()),
        seed: Some(0),
    });
    let counts = Counts {
        raw_bytes: Bytes(raw),
        chunks: raw.div_ceil(2048),
        tokens: Some(raw),
        ideal_bits: Some(ideal),
        cross_entropy_bits: Some(ideal),
        coded_bytes: Some(Bytes((ideal.as_bytes() * 1.0002).round() as u64)),
        seconds: 812.3,
        ..Counts::default()
    };
    RateRecord {
        counts,
        in_sample_bytes: Bytes(raw.min(90_000_000)),
        provenance: provenance(&format!("lmtrain eval --size {size} --corpus {corpus}")),
        ..RateRecord::wanted(&plan.name, facts, excerpt(corpus), Chunking::Bytes(2048))
    }
}

/// The whole of a corpus.
fn excerpt(corpus: &str) -> Excerpt {
    Excerpt {
        corpus: corpus.into(),
        corpus_sha256: sha256(corpus),
        medium: None,
        span: Span { start: 0, end: length(corpus) },
        sample: None,
    }
}

/// A run's facts.
pub(crate) fn run_facts(record: &mut RateRecord) -> &mut RunFacts {
    match &mut record.facts {
        Facts::Run(run) => run,
        other => panic!("a run: {other:?}"),
    }
}

/// A pretrained model's rate.
pub(crate) fn pretrained(name: &str, corpus: &str, parameters: u64, raw: f64) -> RateRecord {
    let mut record = rate("200K", corpus, raw);
    let network = NetworkFacts {
        tokenization: Some(Tokenization::Pretrained(32_000)),
        parameters: Some(parameters),
        tokenizer_bytes: Some(Bytes(500_000)),
        ..record.facts.network().expect("a run").clone()
    };
    record.counts.tokens = Some(length(corpus) / 4);
    RateRecord {
        name: name.into(),
        facts: Facts::Pretrained(ModelFacts {
            network,
            architecture: Some("Llama".into()),
            stored_bytes: Some(Bytes(2 * parameters)),
        }),
        in_sample_bytes: Bytes(0),
        ..record
    }
}

/// Rates of bytes at every size of the ladder but the smallest, near a law on which 3M parameters
/// or so are best for enwik8.
pub(crate) fn on_a_law(corpus: &str) -> Vec<RateRecord> {
    let offs = [0.008, -0.012, 0.006, 0.012, -0.010, 0.004, -0.006, 0.004];
    let sizes = LADDER[1..].iter().take_while(|(_, size)| size.core_parameters() < 15_000_000);
    let sized = sizes.zip(offs).map(|((size, _), off)| {
        let parameters = plan(size, 0).parameters() as f64;
        let law = 0.10 + 30.0 * parameters.powf(-0.4);
        rate(size, corpus, law * (1.0 + off))
    });
    sized.collect()
}

/// The same weights in another code, which predicts so much worse.
pub(crate) fn coded(
    saved: &RateRecord,
    code: WeightCode,
    worse: f64,
    weight_bytes: Bytes,
) -> RateRecord {
    let mut record = self::worse(saved, worse);
    let network = &mut run_facts(&mut record).network;
    network.weight_code = Some(code);
    network.weight_bytes = Some(weight_bytes);
    network.bytes_per_parameter = None;
    record
}

/// The records of a whole study: every figure and table has something to show.
pub(crate) fn study(store: &Store) {
    let mut rates = Vec::new();
    for (corpus, off) in [("enwik7", 1.06), ("enwik8", 1.0), ("enwik9", 1.03)] {
        rates.extend(on_a_law(corpus).into_iter().map(|rate| worse(&rate, off)));
        for (chunking, gzip, lzma2) in
            [(Chunking::Whole, 0.36, 0.25), (Chunking::Bytes(2048), 0.47, 0.50)]
        {
            rates.push(compressor("gzip", corpus, chunking, gzip * off));
            rates.push(compressor("lzma2", corpus, chunking, lzma2 * off));
        }
    }
    let with_bytes = rates.clone();
    let bytes = with_bytes.iter().filter(|rate| rate.kind() == Kind::Run);
    for rate in bytes.clone().filter(|rate| rate.excerpt.corpus == "enwik9") {
        for (tokens, better, per_token) in
            [(1000, 1.04, 2.3), (5000, 0.98, 3.2), (20_000, 0.95, 3.9)]
        {
            rates.push(with_vocabulary(&worse(rate, better), tokens, per_token));
        }
    }
    for rate in bytes.clone().filter(|rate| rate.excerpt.corpus == "enwik8") {
        let parameters = rate.parameters().expect("a run");
        for (code, off, eighths) in
            [(WeightCode::F32, 1.0, 32), (WeightCode::Int8, 1.004, 8), (WeightCode::Int4, 1.03, 4)]
        {
            rates.push(coded(rate, code, off, Bytes(parameters * eighths / 8)));
        }
        let mut trained = worse(rate, 0.97);
        trained.excerpt.span.end = 90_000_000;
        trained.counts.raw_bytes = Bytes(90_000_000);
        trained.in_sample_bytes = trained.counts.raw_bytes;
        rates.push(trained);
        let plan = plan(&rate.size().expect("a run").to_string(), 0);
        let run = store.run(&plan.name);
        run.save_plan(&plan).expect("saved");
        for step in steps(&plan, 7.8 * rate.raw_rate().expect("measured")) {
            run.append_step(&step).expect("appended");
        }
    }
    for (name, parameters, raw) in [
        ("Small", 124_000_000, 0.17),
        ("OWNER/Middle-1B", 1_240_000_000, 0.105),
        ("Large", 8_000_000_000, 0.08),
    ] {
        rates.push(pretrained(name, "enwik9", parameters, raw));
    }
    let point = |end: u64, bits: f64| CurvePoint {
        end,
        raw_bytes: Bytes(100 * end),
        bits: Bits(100.0 * bits * end as f64),
        bits_interval: None,
    };
    let curve = CurveRecord::beside(&compressor("gzip", "enwik8", Chunking::Bytes(2048), 0.5));
    let points = vec![point(1, 9.0), point(100, 6.0), point(2048, 4.0)];
    let curve = CurveRecord { points, ..curve.expect("of chunks") };
    store.compressors().append_curve(&curve).expect("appended");
    for rate in rates {
        let run = match rate.kind() {
            Kind::Run => begun(store, &rate),
            Kind::Compressor => store.compressors(),
            Kind::Pretrained => store.pretrained(&rate.name),
        };
        run.append_rate(&rate).expect("appended");
    }
}

/// The run that a rate is of, with its plan.
fn begun(store: &Store, rate: &RateRecord) -> Run {
    let run = store.run(&rate.name);
    let tokenization = rate.tokenization().cloned().expect("a run");
    let plan = plan(&rate.size().expect("a run").to_string(), 0);
    run.save_plan(&Plan { name: rate.name.clone(), tokenization, ..plan }).expect("saved");
    run
}

/// The same rate, so many times as high.
fn worse(rate: &RateRecord, factor: f64) -> RateRecord {
    let mut record = rate.clone();
    record.counts.ideal_bits = rate.counts.ideal_bits.map(|bits| Bits(factor * bits.0));
    record.counts.coded_bytes = None;
    record
}

fn with_vocabulary(rate: &RateRecord, tokens: u32, bytes_per_token: f64) -> RateRecord {
    let tokenization = Tokenization::Bpe(tokens);
    let size = rate.size().expect("a run");
    let plan = Plan { tokenization: tokenization.clone(), ..plan(&size.to_string(), 0) };
    let mut record = RateRecord { name: plan.name_of(), ..rate.clone() };
    let network = &mut run_facts(&mut record).network;
    network.parameters = Some(plan.parameters());
    network.tokenization = Some(tokenization);
    network.tokenizer_bytes = Some(Bytes(u64::from(tokens) * 3));
    let counts = &mut record.counts;
    counts.tokens = counts.tokens.map(|tokens| (tokens as f64 / bytes_per_token) as u64);
    counts.seconds /= bytes_per_token;
    record
}

fn length(corpus: &str) -> u64 {
    match corpus {
        "enwik7" => 10_000_000,
        "enwik9" => 1_000_000_000,
        _ => 100_000_000,
    }
}

fn sha256(corpus: &str) -> String {
    if corpus == "enwik8" { "00".repeat(32) } else { format!("00{corpus}") }
}

/// The rate of a compressor on the whole of a corpus.
pub(crate) fn compressor(name: &str, corpus: &str, chunking: Chunking, rate: f64) -> RateRecord {
    let run = self::rate("200K", corpus, rate);
    let lzma2 = name == "lzma2";
    let preset = if lzma2 { "preset 9e, .xz with CRC-64" } else { "level 9" };
    let library = if lzma2 { "liblzma 5.8.1" } else { "flate2 1.1" };
    let counts = Counts {
        chunks: if chunking == Chunking::Whole { 1 } else { run.counts.chunks },
        tokens: None,
        ideal_bits: None,
        cross_entropy_bits: None,
        header_bytes: Bytes(18),
        seconds: 3.2,
        ..run.counts
    };
    RateRecord {
        name: name.into(),
        facts: Facts::Compressor(CompressorFacts {
            preset: Some(preset.into()),
            library: Some(library.into()),
        }),
        chunking,
        counts,
        in_sample_bytes: Bytes(0),
        provenance: provenance(&format!("lmtrain eval --compressor {name} --corpus {corpus}")),
        ..run
    }
}
