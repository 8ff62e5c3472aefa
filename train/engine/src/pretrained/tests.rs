//! Pretrained networks compared with Hugging Face's transformers in float64 (`train/reference/pretrained/make.py`, and
//! the models beside the data), and folders that are broken in every way we could think of.

use std::fs;
use std::path::{Path, PathBuf};

use lmtrain_eval::Predictor;
use lmtrain_tokenizers::Tokenizer;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::testing::{FIXTURES, copy, fixtures};
use lmtrain_runs::testing::shared_model;

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("there")).expect("JSON")
}

#[derive(Deserialize)]
struct Reference {
    begin: u32,
    ids: Vec<u32>,
    bits: Vec<f64>,
}

/// Checks scores against a reference: 1e-3 bits a token, and 1e-6 of their sum.
fn assert_agrees(name: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let errors = found.iter().zip(expected).map(|(found, bits)| f64::from(*found) - bits);
    let (worst, sum) =
        errors.fold((0.0_f64, 0.0), |(worst, sum), error| (worst.max(error.abs()), sum + error));
    let total: f64 = expected.iter().sum();
    println!("{name}: at most {worst:.1e} bits, {:.1e} of {total:.1}", sum / total);
    assert!((sum / total).abs() < 1e-6, "{name}: {sum} of {total}");
    assert!(worst < 1e-3, "{name}: {worst}");
}

#[test]
fn every_architecture_agrees_with_transformers() {
    for name in FIXTURES {
        let folder = copy(name);
        let model = PretrainedModel::open(folder.path()).expect(name);
        let text = fs::read(folder.path().join("reference.json")).expect("the reference");
        let Reference { begin, ids, bits } = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(model.predictor().begin_token(), begin);
        assert_agrees(name, &model.predictor().score(&[&ids]).expect("scores")[0], &bits);
    }
}

#[test]
fn shared_models_agree_with_transformers() {
    for name in ["stories260K", "tiny-random-gpt2"] {
        let Some(folder) = shared_model(name) else { return };
        let model = PretrainedModel::open(&folder).expect(name);
        let reference = read(&folder.join("reference.json"));
        for case in reference["cases"].as_array().expect("cases") {
            let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).expect("tokens");
            let bits: Vec<Option<f64>> =
                serde_json::from_value(case["bits"].clone()).expect("bits");
            // Where the reference has no begin token, its first token is fed and not coded, which is what a begin
            // token is: then the positions are the same too.
            let found = match reference["begin_token"].as_u64() {
                Some(begin) => {
                    assert_eq!(u64::from(model.predictor().begin_token()), begin);
                    model.predictor().score(&[&ids]).expect("scores").remove(0)
                }
                None => {
                    assert!(bits[0].is_none());
                    model.predictor().engine().score(ids[0], &[&ids[1..]]).remove(0)
                }
            };
            let bits: Vec<f64> = bits.into_iter().flatten().collect();
            assert_agrees(name, &found, &bits);
        }
    }
}

/// Rows of a session, of steps of these numbers of tokens.
fn stepped(model: &PretrainedModel, inputs: &[u32], steps: &[usize]) -> Vec<f32> {
    let mut session = model.predictor().session(1, inputs.len()).expect("starts");
    let (mut all, mut rows, mut at) = (Vec::new(), Vec::new(), 0);
    for &count in steps.iter().cycle() {
        let count = count.min(inputs.len() - at);
        session.step(&inputs[at..at + count], count, &mut rows).expect("steps");
        all.extend_from_slice(&rows);
        at += count;
        if at == inputs.len() {
            return all;
        }
    }
    all
}

#[test]
fn steps_and_whole_chunks_give_the_same_bits() {
    let ids: Vec<u32> = (0..100).map(|i| (11 * i * i + 5 * i) % 256).collect();
    let codes = [WeightCode::F16, WeightCode::Int8, WeightCode::Int4];
    for (name, code) in FIXTURES.iter().flat_map(|name| codes.map(|code| (*name, code))) {
        let model = PretrainedModel::open_coded(copy(name).path(), code).expect(name);
        let all = std::sync::Mutex::new(Vec::new());
        let take = |_: usize, _: usize, rows: &[f32]| {
            all.lock().expect("no panic").extend_from_slice(rows);
            std::ops::ControlFlow::Continue(())
        };
        model.predictor().rows(&[&ids], &take).expect("predicts");
        let inputs = [&[model.predictor().begin_token()], &ids[..99]].concat();
        let whole = all.into_inner().expect("no panic");
        for steps in [&[1][..], &[100], &[7, 30, 1]] {
            assert!(stepped(&model, &inputs, steps) == whole, "{name} {code} {steps:?}");
        }
    }
}

/// Rounded weights predict nearly as those that they are rounded from do, take fewer bytes, and are other weights.
#[test]
fn rounded_to_whole_numbers_they_are_nearly_the_same() {
    let ids: Vec<u32> = (0..100).map(|i| (11 * i * i + 5 * i) % 256).collect();
    for name in FIXTURES {
        let folder = copy(name);
        let open = |code| PretrainedModel::open_coded(folder.path(), code).expect(name);
        let [plain, int8, int4] = [WeightCode::F16, WeightCode::Int8, WeightCode::Int4].map(open);
        assert_eq!(plain.rounded_bytes(), None);
        let bits = |model: &PretrainedModel| -> f64 {
            let scores = model.predictor().score(&[&ids]).expect("scores").remove(0);
            scores.into_iter().map(f64::from).sum::<f64>() / ids.len() as f64
        };
        let off = [&int8, &int4].map(|model| (bits(model) - bits(&plain)).abs());
        println!("{name}: {off:.4?} bits a token");
        assert!(off[0] < 0.05 && off[1] < 0.6, "{name}: {off:?}");
        let cost = |model: &PretrainedModel| model.rounded_bytes().expect("rounded").0;
        let parameters = plain.parameters();
        assert!(cost(&int4) < cost(&int8) && cost(&int8) < 3 * parameters / 2, "{name}");
        let identities = [&plain, &int8, &int4].map(|model| model.predictor().identity());
        assert!(identities[0] != identities[1] && identities[1] != identities[2]);
        assert_eq!((int8.parameters(), int8.stored_bytes()), (parameters, plain.stored_bytes()));
    }
}

/// What archives know models by, as it was when they were made: a model that opened then opens them now.
const IDENTITIES: [(&str, &str); 8] = [
    ("gpt2", "28f890a9cceebc76"),
    ("neox", "d9876feaf945ddd4"),
    ("neox-serial", "595e3f36926da15a"),
    ("llama3", "22a074b2c33b61bd"),
    ("llama-linear", "cb11efb28db2525a"),
    ("mistral", "fa9f0805634f1339"),
    ("qwen2", "f8e777da162c218e"),
    ("qwen3", "cd5fb7a13f04e0bb"),
];

#[test]
fn identities_stay_what_they_were() {
    for (name, expected) in IDENTITIES {
        let model = PretrainedModel::open(copy(name).path()).expect(name);
        let identity = model.predictor().identity();
        let found: String = identity[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_model_is_what_its_numbers_are() {
    let folder = copy("qwen3");
    let model = PretrainedModel::open(folder.path()).expect("a model");
    assert_eq!(
        (model.architecture(), model.predictor().begin_token(), model.predictor().context()),
        ("Qwen3", 256, 128)
    );
    assert_eq!(model.stored_bytes().0, 2 * model.parameters());
    assert_eq!(model.tokenizer().vocabulary(), 256);
    // Key order, spaces and what is not read change nothing; what is read does.
    let path = folder.path().join("config.json");
    let mut config = read(&path);
    config["attention_dropout"] = json!(0.5);
    fs::write(&path, config.to_string()).expect("written");
    let same = PretrainedModel::open(folder.path()).expect("a model");
    assert_eq!(same.predictor().identity(), model.predictor().identity());
    for (key, value) in [("rms_norm_eps", json!(1e-5)), ("bos_token_id", json!(3))] {
        let mut config = config.clone();
        config[key] = value;
        fs::write(&path, config.to_string()).expect("written");
        let other = PretrainedModel::open(folder.path()).expect("a model");
        assert_ne!(other.predictor().identity(), model.predictor().identity(), "{key}");
    }
}

#[test]
fn shards_are_one_file_in_parts() {
    let folder = copy("qwen3");
    let whole = PretrainedModel::open(folder.path()).expect("a model").predictor().identity();
    let names = fs::read_dir(folder.path()).expect("there").map(|it| it.expect("a file").path());
    let shards: Vec<PathBuf> =
        names.filter(|path| path.extension().is_some_and(|end| end == "safetensors")).collect();
    assert_eq!(shards.len(), 4);
    let bytes: Vec<Vec<u8>> = shards.iter().map(|path| fs::read(path).expect("there")).collect();
    let files: Vec<_> = bytes
        .iter()
        .map(|it| ::safetensors::SafeTensors::deserialize(it).expect("whole"))
        .collect();
    let tensors = files.iter().flat_map(|file| file.tensors());
    let single = ::safetensors::serialize(tensors, None).expect("serialises");
    fs::write(folder.path().join("model.safetensors"), single).expect("written");
    assert_eq!(
        PretrainedModel::open(folder.path()).expect("a model").predictor().identity(),
        whole
    );
    fs::remove_file(folder.path().join("model.safetensors")).expect("there");
    fs::remove_file(&shards[2]).expect("there");
    let error = PretrainedModel::open(folder.path()).expect_err("a shard is missing").to_string();
    assert!(error.contains(shards[2].to_str().expect("a name")), "{error}");
}

fn refused(folder: &Path, why: &str) {
    let error = PretrainedModel::open(folder).expect_err(why).to_string();
    assert!(error.contains(why), "{error}\nshould say {why}");
}

#[test]
fn what_a_configuration_gets_wrong_is_named() {
    for (name, key, value, why) in [
        ("llama3", "model_type", json!("mamba"), "`mamba` is not supported"),
        ("llama3", "model_type", Value::Null, "`model_type` is missing"),
        (
            "llama3",
            "architectures",
            json!(["LlamaForSequenceClassification"]),
            "is not a language model",
        ),
        ("llama3", "quantization_config", json!({"quant_method": "gptq"}), "quantization_config"),
        ("llama3", "rope_parameters", json!({"rope_type": "ntk", "factor": 2}), "`ntk`"),
        ("llama3", "hidden_act", json!("mish"), "`mish`"),
        ("llama3", "hidden_size", json!(48), "`model.embed_tokens.weight` has shape [260, 40]"),
        ("llama3", "hidden_size", json!(1_000_000_000), "has shape [260, 40]"),
        ("llama3", "hidden_size", json!("40"), "`hidden_size` is \"40\""),
        (
            "llama3",
            "num_hidden_layers",
            json!(3),
            "`model.layers.2.input_layernorm.weight` is missing",
        ),
        (
            "llama3",
            "num_hidden_layers",
            json!(1),
            "`model.layers.1.input_layernorm.weight` does not belong to a Llama",
        ),
        (
            "llama3",
            "num_key_value_heads",
            json!(3),
            "4 attention heads cannot be divided evenly among 3",
        ),
        ("llama3", "num_attention_heads", json!(0), "`num_attention_heads`"),
        ("llama3", "head_dim", json!(4000), "an attention head has 4000 dimensions"),
        ("llama3", "head_dim", json!(11), "cannot be rotated in pairs"),
        (
            "llama3",
            "intermediate_size",
            json!(57),
            "`model.layers.0.mlp.gate_proj.weight` has shape [56, 40]",
        ),
        ("llama3", "tie_word_embeddings", json!(true), "`lm_head.weight` differs"),
        (
            "llama3",
            "attention_bias",
            json!(true),
            "`model.layers.0.self_attn.q_proj.bias` is missing",
        ),
        ("llama3", "bos_token_id", json!(260), "begin token 260"),
        ("gpt2", "add_cross_attention", json!(true), "`add_cross_attention`"),
        ("gpt2", "pruned_heads", json!({"0": [1]}), "`pruned_heads`"),
        ("gpt2", "n_positions", json!(64), "`transformer.wpe.weight` has shape [128, 24]"),
        ("gpt2", "n_head", json!(5), "is not a multiple"),
        ("neox", "use_parallel_residual", json!(1), "`use_parallel_residual` is 1"),
        (
            "qwen2",
            "layer_types",
            json!(["full_attention", "linear_attention"]),
            "`linear_attention`",
        ),
        ("qwen2", "use_sliding_window", json!(false), "`use_sliding_window` is not set"),
        ("mistral", "sliding_window", json!(-4), "`sliding_window` is -4"),
    ] {
        let folder = copy(name);
        let path = folder.path().join("config.json");
        let mut config = read(&path);
        config[key] = value;
        fs::write(&path, config.to_string()).expect("written");
        refused(folder.path(), why);
    }
}

#[test]
fn what_a_folder_lacks_is_named_with_a_hint() {
    for (file, why) in [
        ("config.json", "has no config.json\nhint: "),
        ("tokenizer.json", "has no tokenizer.json\nhint: "),
        ("model.safetensors", "has no model.safetensors\nhint: "),
    ] {
        let folder = copy("gpt2");
        fs::remove_file(folder.path().join(file)).expect("there");
        refused(folder.path(), why);
        assert!(PretrainedModel::open(&folder.path().join(file)).is_err());
    }
    let folder = copy("gpt2");
    fs::write(folder.path().join(TOKENIZER), "{}").expect("written");
    refused(folder.path(), "tokenizer.json cannot be used");
}

#[test]
fn weights_of_other_formats_are_named() {
    for (files, why) in [
        (&["pytorch_model.bin"][..], "pytorch_model.bin: weights pickled by PyTorch"),
        (&["pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"], "save_pretrained("),
        (&["model-q4_k_m.gguf"], "model-q4_k_m.gguf: GGUF files are not supported"),
        (&["training_args.bin"], "has no model.safetensors"),
    ] {
        let folder = copy("gpt2");
        fs::remove_file(folder.path().join("model.safetensors")).expect("there");
        for file in files {
            fs::write(folder.path().join(file), "x").expect("written");
        }
        refused(folder.path(), why);
    }
}

/// Changes a fixture's configuration.
fn configure(folder: &Path, change: impl Fn(&mut Value)) {
    let path = folder.join("config.json");
    let mut config = read(&path);
    change(&mut config);
    fs::write(path, config.to_string()).expect("written");
}

#[test]
fn kinds_of_models_that_cannot_be_read_are_named() {
    for (key, value, why) in [
        ("num_local_experts", json!(8), "mixtures of experts"),
        ("n_routed_experts", json!(64), "mixtures of experts"),
        ("vision_config", json!({"hidden_size": 8}), "vision parts"),
        ("quantization_config", json!({"quant_method": "fp8"}), "quantized weights"),
    ] {
        let folder = copy("llama3");
        configure(folder.path(), |config| {
            config[key] = value.clone();
            config["model_type"] = json!("other");
        });
        refused(folder.path(), why);
        refused(folder.path(), "`other` is not supported");
        configure(folder.path(), |config| config["model_type"] = json!("llama"));
        refused(folder.path(), why);
    }
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let folder = copy("llama3");
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).expect("there");
    for name in ["1.self_attn.q_proj", "1.mlp.down_proj", "0.input_layernorm"] {
        let at = bytes.windows(name.len()).position(|it| it == name.as_bytes()).expect("a tensor");
        bytes[at + 2] = b'X';
    }
    fs::write(&path, bytes).expect("written");
    fs::remove_file(folder.path().join(TOKENIZER)).expect("there");
    configure(folder.path(), |config| {
        config["hidden_act"] = json!("mish");
        config["rms_norm_eps"] = json!("small");
        config["tie_word_embeddings"] = json!(7);
    });
    let error = PretrainedModel::open(folder.path()).expect_err("refused").to_string();
    for part in [
        "7 things are wrong",
        "\n- ",
        "`mish`",
        "`rms_norm_eps` is \"small\"",
        "`tie_word_embeddings` is 7",
        "layers.1.self_attn.q_proj.weight` is missing",
        "layers.1.mlp.down_proj.weight` is missing",
        "layers.0.input_layernorm.weight` is missing",
        "has no tokenizer.json\n  hint: ",
    ] {
        assert!(error.contains(part), "{part}:\n{error}");
    }
    // So many that they would fill screens are counted.
    let folder = copy("llama3");
    configure(folder.path(), |config| config["num_hidden_layers"] = json!(1_000_000));
    refused(folder.path(), "more");
    // Files that are missing are named together too.
    let folder = copy("llama3");
    for file in ["config.json", "model.safetensors", TOKENIZER] {
        fs::remove_file(folder.path().join(file)).expect("there");
    }
    let error = PretrainedModel::open(folder.path()).expect_err("refused").to_string();
    assert!(
        ["3 things", "config.json", "model.safetensors", TOKENIZER]
            .iter()
            .all(|it| error.contains(it)),
        "{error}"
    );
}

#[test]
fn hostile_weights_are_errors() {
    let good = fs::read(fixtures().join("gpt2/model.safetensors")).expect("the fixture");
    let length = u64::from_le_bytes(*good.first_chunk().expect("a length"));
    let header = String::from_utf8(good[8..][..length as usize].to_vec()).expect("JSON");
    let with = |header: &str| {
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], header.as_bytes(), &good[8 + length_of(&good)..]].concat()
    };
    let spoilt = [
        (good[..good.len() - 1].to_vec(), "not a complete safetensors file"),
        (good[..100].to_vec(), "not a complete safetensors file"),
        (Vec::new(), "not a complete safetensors file"),
        ([&u64::MAX.to_le_bytes()[..], &good[8..]].concat(), "not a complete safetensors file"),
        ([&(length + 1).to_le_bytes()[..], &good[8..]].concat(), "not a complete safetensors file"),
        ([&good[..], &[0]].concat(), "not a complete safetensors file"),
        (
            with(&header.replace("[24,72]", "[9223372036854775807,72]")),
            "not a complete safetensors file",
        ),
        (with(&header.replace("[24,72]", "[72,24]")), "has shape [72, 24] instead of [24, 72]"),
        (with(&header.replace("\"F16\"", "\"I16\"")), "stored as I16"),
        (with(&header.replace("wte", "wtf")), "`wte.weight` is missing"),
        (
            with(&header.replace("\"data_offsets\":[0,", "\"data_offsets\":[2,")),
            "not a complete safetensors file",
        ),
    ];
    for (bytes, why) in spoilt {
        let folder = copy("gpt2");
        fs::write(folder.path().join("model.safetensors"), bytes).expect("written");
        refused(folder.path(), why);
    }
}

fn length_of(file: &[u8]) -> usize {
    u64::from_le_bytes(*file.first_chunk().expect("a length")) as usize
}

#[test]
fn hostile_indices_are_errors() {
    let folder = copy("qwen3");
    let path = folder.path().join("model.safetensors.index.json");
    let good = read(&path);
    for (change, why) in [
        (json!("../../etc/passwd"), "outside the folder"),
        (json!("/etc/passwd"), "outside the folder"),
        (json!("model-00001-of-00004.safetensors"), "is not in model-00001"),
        (json!(7), "index.json"),
    ] {
        let mut index = good.clone();
        index["weight_map"]["model.norm.weight"] = change;
        fs::write(&path, index.to_string()).expect("written");
        refused(folder.path(), why);
    }
    fs::write(&path, "{").expect("written");
    refused(folder.path(), "index.json");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever byte of the header or the configuration is another: an error, or a model that predicts.
    #[test]
    fn no_damage_panics(at in 0_usize..4000, byte: u8, in_config: bool, cut in 0_usize..60_000) {
        let folder = copy("gpt2");
        let path = folder.path().join(if in_config { "config.json" } else { "model.safetensors" });
        let mut bytes = fs::read(&path).expect("there");
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(if cut < 30_000 { cut } else { bytes.len() });
        fs::write(&path, bytes).expect("written");
        if let Ok(model) = PretrainedModel::open(folder.path()) {
            prop_assert_eq!(model.predictor().score(&[&[1, 2, 3]]).expect("scores")[0].len(), 3);
        }
    }
}
