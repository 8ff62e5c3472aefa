//! Choices: as flags, as axes of a sweep, in names, plans, records and the report.

use crate::Study;

#[test]
fn a_choice_is_in_plan_name_records_and_report() {
    let study = Study::new();
    let fit = "--size 50K --corpus markov:bytes=200K --context 64 --steps 12";
    let set = "--set matrix-learning-rate=0.01 --set head-size=16 --set soft-cap=off";
    let shown = study.json(&format!("fit {fit} {set} --dry-run --json"));
    assert_eq!(shown[0]["plan"]["choices"]["matrix_learning_rate"], 0.01);
    assert_eq!(shown[0]["plan"]["choices"]["head_size"], 16);
    let fitted = study.json(&format!("fit {fit} {set} --json"));
    let name = fitted[0]["name"].as_str().expect("a name");
    assert_eq!(name, "50K-bytes-modern-markov-bytes=200000-c64-12steps-sc=off-hs=16-mlr=0.01-s0");
    let plan = std::fs::read_to_string(study.path("runs/work").join(name).join("plan.toml"));
    assert!(plan.expect("a plan").contains("matrix_learning_rate = 0.01"));

    let eval = format!("eval --run {name} --sample-chunks 2 --chunk 64 --json");
    let record = &study.json(&eval)[0]["choices"];
    let expected = serde_json::json!({
        "matrix-learning-rate": 0.01, "head-size": 16, "soft-cap": null
    });
    assert_eq!(*record, expected);
    study.succeeds(&format!("fit {fit} {set} --resume"));
    let error = study.fails(&format!("fit {fit} {set} --set beta1=0.9 --name {name} --resume"), 1);
    assert!(error.contains("another plan"), "{error}");
    study.succeeds("report --output out");
    let runs = std::fs::read_to_string(study.path("out/tables/runs.csv")).expect("a table");
    assert!(runs.contains("matrix-learning-rate=0.01"), "{runs}");
}

#[test]
fn choices_are_axes_of_sweeps_and_figures() {
    let study = Study::new();
    let plan = r#"
[[fit]]
size = "50K"
corpus = "markov:bytes=200K"
context = 64
steps = 12
batch = 2
set.matrix-learning-rate = [0.005, 0.02]
set.decay-form = ["linear", "root"]
"#;
    std::fs::write(study.path("sweep.toml"), plan).expect("written");
    let planned = study.json("sweep sweep.toml --dry-run --json");
    assert_eq!(planned.as_array().expect("a list").len(), 4);
    study.succeeds("sweep sweep.toml");
    study.succeeds("report --by matrix-learning-rate --output out");
    let path = study.path("out/figures/by-matrix-learning-rate.csv");
    let figure = std::fs::read_to_string(path).expect("a figure");
    assert_eq!(figure.lines().count(), 1 + 4, "two lines of two places:\n{figure}");
    assert!(figure.contains("\"50K, decay-form=root\",0.005,1,"), "{figure}");
    let error = study.fails("report --by momentum --output out", 1);
    assert!(error.contains("momentum") && error.contains("hint: "), "{error}");

    let flags = "sweep --size 50K --corpus markov:bytes=200K --tokens 1K --set beta1=0.8,0.9";
    let planned = study.json(&format!("{flags} --dry-run --json"));
    let names: Vec<_> = planned.as_array().expect("a list").iter().map(|it| &it["name"]).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().any(|name| name.as_str().is_some_and(|name| name.contains("b1=0.9"))));
}

#[test]
fn a_network_of_every_choice_codes_what_it_scores() {
    let study = Study::new();
    let set = [
        "residual-scalars=true",
        "skips=true",
        "embedding-convolution=true",
        "block-convolution=true",
        "qkv-convolution=true",
        "value-embeddings=all",
        "depth-scale=true",
        "activation=leaky-squared-relu",
        "rotary-dimensions=8",
        "scalar-learning-rate=0.1",
        "average=0.9",
    ];
    let set: String = set.iter().map(|it| format!(" --set {it}")).collect();
    study.fit(&format!("--steps 30{set}"));
    let codes = "eval --run tiny --sample-chunks 20 --chunk 64 --weight-codes f16,int8 --json";
    let records = study.json(codes);
    let bits = |record: usize, key: &str| records[record][key].as_f64().expect("measured");
    assert!((bits(0, "coding_overhead")).abs() < 0.01, "{records}");
    assert!((bits(1, "bits_per_byte") / bits(0, "bits_per_byte") - 1.0).abs() < 0.05, "{records}");
    std::fs::write(study.path("notes"), "Notes of several lines.\n".repeat(40)).expect("written");
    study.succeeds("compress notes -o notes.lmz --run tiny --embed-model");
    let mut restore = study.command("decompress notes.lmz -o restored");
    let output = restore.env("LMTRAIN_SIMD", "scalar").output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let [notes, restored] = ["notes", "restored"].map(|name| std::fs::read(study.path(name)));
    assert_eq!(notes.expect("there"), restored.expect("restored"));
}

#[test]
fn wrong_choices_are_errors() {
    let study = Study::new();
    let cases: [(&str, i32, &[&str]); 11] = [
        ("--set matrix-lerning-rate=0.1", 2, &["matrix-lerning-rate", "`matrix-learning-rate`"]),
        ("--set beta1=2", 2, &["beta1", "`2`", "from 0 to"]),
        ("--set beta1", 2, &["KEY=VALUE"]),
        ("--set norm=rms", 2, &["pre-rms or post-layer"]),
        ("--set beta1=0.5 --set beta1=0.6", 1, &["beta1", "twice"]),
        ("--batch 4 --set batch=2", 1, &["batch", "twice"]),
        ("--batch 0", 2, &["batch", "from 1"]),
        ("--set biases=true", 1, &["biases=true", "norm=post-layer"]),
        ("--set skips=true --set norm=post-layer", 1, &["skips", "norm=pre-rms"]),
        ("--set rotary-dimensions=64", 1, &["rotary-dimensions", "32"]),
        ("--set head-size=64", 1, &["heads of 64", "32", "hint: "]),
    ];
    for (flags, status, parts) in cases {
        let error = study.fails(&format!("fit --size 50K --corpus source {flags}"), status);
        for part in parts {
            assert!(error.contains(part), "`{flags}` does not say {part:?}:\n{error}");
        }
    }
    let error = study.fails("report --by norm", 2);
    assert!(error.contains("norm") && error.contains("not numeric"), "{error}");
    std::fs::write(study.path("wrong.toml"), "[[fit]]\nsize = \"50K\"\nset.beta = 1")
        .expect("written");
    let error = study.fails("sweep wrong.toml", 1);
    assert!(error.contains("beta") && error.contains("`beta1`"), "{error}");
}

#[test]
fn what_changes_nothing_is_said() {
    let study = Study::new();
    let line = "fit --size 50K --corpus markov:bytes=200K --context 64 --steps 2 --set cautious-decay=true";
    let output = study.run(line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("`weight-decay` is 0"), "{said}");
}

#[test]
fn the_table_is_printed() {
    let study = Study::new();
    let text = study.succeeds("recipes");
    let help = study.succeeds("fit --help");
    let table = study.json("recipes --json");
    let table = table.as_array().expect("a list");
    assert!(table.len() > 30);
    for choice in table {
        let key = choice["key"].as_str().expect("a key");
        let about = choice["about"].as_str().expect("a line");
        assert!(text.contains(key) && text.contains(about), "{key}");
        assert!(help.contains(key), "{key}");
        assert!(choice["recipes"].as_object().expect("both").len() == 2);
    }
}
