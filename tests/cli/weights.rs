//! Runs whose records were kept and whose weights were not, as in a study that others look at.

use crate::{FIT, Study};

/// Takes the weights and the checkpoint of a run away.
fn without_weights(study: &Study, name: &str) {
    let folder = study.path("runs/work").join(name);
    std::fs::remove_file(folder.join("weights.safetensors")).expect("removed");
    std::fs::remove_dir_all(folder.join("checkpoint")).expect("removed");
}

#[test]
fn a_run_without_weights_is_said_to_be_one() {
    let study = Study::new();
    study.fit("--steps 2");
    study.succeeds("eval --run tiny --corpus source --chunk 64 --sample-chunks 2");
    std::fs::write(study.path("text"), "some text").expect("written");
    study.succeeds("compress text -o text.lmz --run tiny");
    std::fs::remove_dir_all(study.path("runs/weights")).expect("removed");
    let other = FIT.replace("tiny", "other");
    study.succeeds(&format!("fit {other} --steps 2 --seed 1"));
    without_weights(&study, "tiny");

    let again =
        "lmtrain fit --size 50K --corpus markov:bytes=200000 --steps 2 --context 64 --name tiny";
    for line in [
        "eval --run tiny --corpus source",
        "eval --run other,tiny --corpus source --chunk 64",
        "compress text -o again.lmz --run tiny",
    ] {
        let error = study.fails(line, 1);
        for part in ["`tiny`", "without its weights", "--runs-dir", again] {
            assert!(error.contains(part), "`{line}` does not say {part:?}:\n{error}");
        }
    }
    let error = study.fails("decompress text.lmz -o back", 1);
    assert!(error.contains("`tiny`") && error.contains("not the weights"), "{error}");
    let log = std::fs::read(study.path("runs/work/tiny/train.jsonl")).expect("a log");
    for line in ["fit --resume --name tiny".to_owned(), format!("fit {FIT} --steps 2 --resume")] {
        let error = study.fails(&line, 1);
        assert!(error.contains("records") && error.contains("neither weights"), "{error}");
    }
    let there = std::fs::read(study.path("runs/work/tiny/train.jsonl")).expect("a log");
    assert_eq!(there, log, "nothing is lost");
    // Those that have weights are measured, and the others named.
    let output = study.run("eval --size 50K --corpus source --chunk 64 --sample-chunks 2");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("left out") && said.contains("tiny"),
        "{said}"
    );

    without_weights(&study, "other");
    let error = study.fails("eval --size 50K --corpus source", 1);
    for part in ["2 runs", "--size 50K", "`tiny`", "`other`", "but not their weights", "--runs-dir"]
    {
        assert!(error.contains(part), "{part:?} is not in\n{error}");
    }
    study.succeeds("report");
    study.succeeds(&format!("fit {FIT} --steps 2 --overwrite"));
    study.succeeds("eval --run tiny --corpus source --chunk 64 --sample-chunks 2");
}

#[test]
fn the_study_that_is_kept_here_says_so() {
    let study = Study::new();
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/runs/studies/pocket");
    let error = study.fails(&format!("eval --tokenizer bpe-5000 --runs-dir {kept}"), 1);
    assert!(error.contains("2 runs") && error.contains("but not their weights"), "{error}");
    assert!(!error.contains("no run matches"), "{error}");
}

#[test]
fn networks_of_whole_numbers_are_trained_measured_and_shipped() {
    let study = Study::new();
    study.fit("--steps 60");
    let eval = "--corpus markov:bytes=200K --part test --chunk 64";
    let halves = study.json(&format!("eval --json --run tiny {eval}"))[0].clone();
    std::fs::write(study.path("text"), "abcabcabc and so on, whatever it is ".repeat(30))
        .expect("written");
    let length = |name: &str| std::fs::metadata(study.path(name)).expect("there").len();
    study.succeeds("compress text -o tiny.lmz --run tiny --embed-model");
    for (code, most) in [("int8", 1.0), ("int4", 0.8)] {
        let line = FIT.replace("tiny", code);
        let fitted = study.json(&format!("fit --json {line} --steps 60 --weights {code}"));
        assert_eq!(fitted[0]["name"], code);
        let record = study.json(&format!("eval --json --run {code} {eval}"))[0].clone();
        assert_eq!(
            (&record["weight_code"], &record["choices"]["weights"]),
            (&code.into(), &code.into())
        );
        let number = |key: &str| record[key].as_f64().expect("a number");
        let (bytes, parameters) = (number("weight_bytes"), number("parameters"));
        assert!(bytes < most * parameters, "{code}: {bytes} bytes of {parameters} parameters");
        let bits = |record: &serde_json::Value| record["ideal_bits"].as_f64().expect("a number");
        assert!((bits(&record) / bits(&halves) - 1.0).abs() < 0.05, "{code} learns as halves do");
        // What was coded at one level is restored at another; what is embedded is what is counted.
        study.succeeds(&format!("compress text -o {code}.lmz --run {code}"));
        let mut other = study.command(&format!("decompress {code}.lmz -o back"));
        assert!(other.env("LMTRAIN_SIMD", "scalar").status().expect("runs").success());
        assert_eq!(std::fs::read(study.path("back")).ok(), std::fs::read(study.path("text")).ok());
        study.succeeds(&format!("compress text -o {code}.own.lmz --run {code} --embed-model"));
        std::fs::rename(study.path("runs"), study.path("away")).expect("renamed");
        study.succeeds(&format!("decompress {code}.own.lmz -o back"));
        assert_eq!(std::fs::read(study.path("back")).ok(), std::fs::read(study.path("text")).ok());
        std::fs::rename(study.path("away"), study.path("runs")).expect("renamed");
        let more = (length(&format!("{code}.own.lmz")) - length(&format!("{code}.lmz"))) as f64;
        assert!(
            (bytes..bytes + 4000.0).contains(&more),
            "{code}: {more} bytes embedded, {bytes} counted"
        );
        assert!(length(&format!("{code}.own.lmz")) < length("tiny.lmz"));
    }
    let error = study.fails(&format!("fit {FIT} --weights int3"), 2);
    assert!(error.contains("int3") && error.contains("int4"), "{error}");
}

#[test]
fn a_packed_network_is_one_file_that_stands_for_its_run() {
    let study = Study::new();
    let fit = FIT.replace("tiny", "words");
    study.succeeds(&format!("fit {FIT} --steps 40 --weights int4"));
    study.succeeds(&format!("fit {fit} --steps 5 --tokenizer bpe-300"));
    std::fs::write(study.path("text"), "abcabcabc and so on, whatever it is ".repeat(30))
        .expect("written");
    let eval = "--corpus markov:bytes=200K --part test --chunk 64";
    let own = study.json(&format!("eval --json --run tiny {eval}"))[0].clone();
    let packed = study.json("pack tiny --json -o net.lmw");
    let length = std::fs::metadata(study.path("net.lmw")).expect("there").len();
    assert_eq!(packed["bytes"], length);
    assert_eq!(packed["weight_code"], "int4");
    assert_eq!(own["weight_bytes"], length, "what is shipped is what counts");
    study.succeeds("pack words -o words.lmw --weights int8");
    let halves = study.json("pack words --json -o halves.lmw");
    assert!(halves["vocabulary_bytes"].as_u64().expect("a number") > 0);
    let known =
        study.json(&format!("eval --json --run words --weight-codes int8 {eval}"))[0].clone();

    // The runs are away: files alone predict, code, restore and draw as the runs do.
    std::fs::rename(study.path("runs"), study.path("away")).expect("renamed");
    let record = study.json(&format!("eval --json --run net.lmw {eval}"))[0].clone();
    for key in ["ideal_bits", "coded_bytes", "weight_bytes", "weight_code", "parameters"] {
        assert_eq!(record[key], own[key], "{key}");
    }
    assert_eq!(record["name"], "net");
    let record = study.json(&format!("eval --json --run words.lmw {eval}"))[0].clone();
    assert_eq!(
        (&record["ideal_bits"], &record["weight_code"]),
        (&known["ideal_bits"], &"int8".into())
    );
    for name in ["net", "words"] {
        study.succeeds(&format!("compress text -o {name}.lmz --run {name}.lmw"));
        study.succeeds(&format!("compress text -o {name}.own.lmz --run {name}.lmw --embed-model"));
        study.succeeds(&format!("decompress {name}.lmz -o back"));
        std::fs::remove_dir_all(study.path("runs/weights")).expect("kept weights");
        let error = study.fails(&format!("decompress {name}.lmz -o back"), 1);
        assert!(error.contains("--run FILE.lmw"), "{error}");
        for by in [format!("{name}.lmz --run {name}.lmw"), format!("{name}.own.lmz")] {
            study.succeeds(&format!("decompress {by} -o back"));
            let restored = std::fs::read(study.path("back")).ok();
            assert_eq!(restored, std::fs::read(study.path("text")).ok(), "{by}");
        }
    }
    study.fails("decompress words.lmz -o back --run net.lmw", 1);
    study.succeeds("generate --with net.lmw,words.lmw --prompt text --bytes 5 --samples 1");
    study.succeeds("report");
    // It is not overwritten by what is made of it, and goes to standard output as anything else does.
    for line in [
        "pack net.lmw -o net.lmw --weights int8",
        "compress text -o net.lmw --run net.lmw",
        "compress text -o ./words.lmw --run words.lmw --embed-model",
    ] {
        let error = study.fails(line, 1);
        assert!(error.contains("input"), "{line}: {error}");
    }
    let streamed = study.run("pack net.lmw -o -").stdout;
    assert!(!study.path("-").exists());
    // Packed again, it is the same; damaged, it is refused, and nothing is written.
    study.succeeds("pack net.lmw -o net2.lmw");
    let [one, two] = ["net.lmw", "net2.lmw"].map(|name| std::fs::read(study.path(name)).ok());
    assert!(one.is_some() && two.as_ref() == Some(&streamed), "a file and a stream are the same");
    let mut damaged = one.expect("read");
    damaged[1000] ^= 4;
    std::fs::write(study.path("bad.lmw"), damaged).expect("written");
    for line in [
        "compress text -o no.lmz --run bad.lmw",
        "pack bad.lmw -o no.lmz",
        "pack none.lmw -o no.lmz",
    ] {
        let error = study.fails(line, 1);
        assert!(error.contains(".lmw"), "{error}");
        assert!(!study.path("no.lmz").exists());
    }
}
