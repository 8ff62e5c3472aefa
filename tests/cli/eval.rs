//! `lmtrain eval` of runs and compressors.

use crate::Study;

#[test]
fn evaluation_is_recorded_once_and_agrees_with_itself() {
    let study = Study::new();
    study.fit("--steps 60");
    let line = "eval --json --run tiny --compressor gzip,lzma2 --corpus markov:bytes=200K \
                --part test --chunk 64";
    let first = study.json(line);
    let records = first.as_array().expect("a list of records");
    assert_eq!(records.len(), 5, "two compressors in two ways, and the run");
    assert_eq!(study.json(line), first, "the second time it is read, not measured");
    let run = records.last().expect("the run");
    let number = |key: &str| run[key].as_f64().unwrap_or_else(|| panic!("{key} in {run}"));
    assert!(number("coding_overhead").abs() < 1e-3);
    assert_eq!(number("in_sample_bytes"), 0.0);
    assert_eq!(number("raw_bytes"), 10_000.0);
    assert!(number("adjusted_rate") > number("raw_rate"));
    let ideal = study.json(&line.replace("--json", "--json --ideal --again"));
    let ideal = ideal.as_array().expect("a list").last().expect("the run")["ideal_bits"].clone();
    let difference = ideal.as_f64().expect("a number") / number("ideal_bits") - 1.0;
    assert!(difference.abs() < 1e-6, "scoring and coding disagree by {difference}");
}

/// A network that knows zeros alone, on bytes that are none: surer than the coder lets it be.
#[test]
fn what_is_sure_and_wrong_costs_what_the_coder_spends() {
    let study = Study::new();
    std::fs::write(study.path("zeros"), vec![0; 200_000]).expect("written");
    study.succeeds(
        "fit --size 50K --corpus ./zeros --context 64 --batch 8 --steps 200 --recipe paper --name sure",
    );
    for corpus in ["random:bytes=20K", "./zeros"] {
        let line = format!("eval --json --run sure --corpus {corpus} --chunk 64");
        let (coded, ideal) = (study.json(&line), study.json(&format!("{line} --ideal --again")));
        let number = |record: &serde_json::Value, key: &str| record[0][key].as_f64().expect(key);
        let difference = number(&ideal, "ideal_bits") / number(&coded, "ideal_bits") - 1.0;
        assert!(difference.abs() < 1e-3, "{corpus}: {difference}");
        // What ends streams is some bytes for each 64 chunks, and no share of what they hold. It may
        // be less than nothing: a last byte of zeros is left out.
        let groups = number(&coded, "chunks") / 64.0 + 1.0;
        let overhead = 8.0 * number(&coded, "coded_bytes") - number(&coded, "ideal_bits");
        let room = 1e-3 * number(&coded, "ideal_bits") + 8.0 * 4.0 * groups;
        assert!((-8.0 * groups..room).contains(&overhead), "{corpus}: {overhead} bits");
        assert!(number(&ideal, "cross_entropy_bits") > 0.0);
    }
}

/// Records of other arithmetic than today's, or of before it had a number, are not used again.
#[test]
fn rates_of_another_arithmetic_are_measured_anew() {
    let study = Study::new();
    study.fit("--steps 2");
    let line = "eval --json --run tiny --compressor gzip --corpus markov:bytes=2K --chunk 64";
    study.json(line);
    let path = study.path("runs/work/tiny/rates.jsonl");
    let recorded = std::fs::read_to_string(&path).expect("a record");
    let number = format!("\"arithmetic\":{},", lmtrain_runs::ARITHMETIC);
    assert!(recorded.contains(&number), "{recorded}");
    // Older versions wrote no checksums either.
    let body = recorded.rsplit_once(",\"crc32\"").expect("a checksum").0;
    for older in ["", "\"arithmetic\":3,"] {
        std::fs::write(&path, format!("{}}}\n", body.replace(&number, older))).expect("written");
        assert_eq!(study.json(line)[2]["arithmetic"], lmtrain_runs::ARITHMETIC);
        let lines = std::fs::read_to_string(&path).expect("records").lines().count();
        assert_eq!(lines, 2, "the old one is kept, and a new one beside it");
        study.json(line);
        let again = std::fs::read_to_string(&path).expect("records").lines().count();
        assert_eq!(again, 2, "which stands");
        study.succeeds("report -o out");
    }
    let compressors = std::fs::read_to_string(study.path("runs/work/compressors/rates.jsonl"));
    assert_eq!(compressors.expect("records").lines().count(), 2, "compressors have none");
}

#[test]
fn codes_of_the_weights_are_measured() {
    let study = Study::new();
    study.fit("--steps 60");
    let line = "eval --json --run tiny --corpus markov:bytes=200K --part test --chunk 64";
    let coded = study.json(&format!("{line} --weight-codes f32,f16,int8,int4"));
    let saved = study.json(line);
    let number = |index: usize, key: &str| coded[index][key].as_f64().expect("a number");
    assert_eq!(coded[1], saved[0], "f16 is what was saved, and is not measured again");
    let parameters = number(1, "parameters");
    for (index, bytes) in [(0, 4.0), (1, 2.0)] {
        assert_eq!(number(index, "weight_bytes"), bytes * parameters);
        assert_eq!(number(index, "ideal_bits"), number(1, "ideal_bits"), "the same numbers");
    }
    let loss = number(2, "ideal_bits") / number(1, "ideal_bits") - 1.0;
    assert!(loss != 0.0 && loss.abs() < 0.01, "int8 costs {loss}");
    let loss = number(3, "ideal_bits") / number(1, "ideal_bits") - 1.0;
    assert!(loss != 0.0 && loss.abs() < 0.1, "int4 costs {loss}");
    assert!((0.8..1.0).contains(&(number(2, "weight_bytes") / parameters)), "levels are coded");
    assert!((0.4..0.9).contains(&(number(3, "weight_bytes") / number(2, "weight_bytes"))));
    assert!(number(2, "adjusted_rate") < number(1, "adjusted_rate"), "on 10,000 bytes");
    study.succeeds("report -o out");
    assert!(study.path("out/figures/weight-codes.svg").is_file());
}

/// On a source whose entropy is known exactly, no honest rate lies below it, and training comes
/// close to it from above.
#[test]
fn the_entropy_of_markov_is_approached_from_above() {
    let study = Study::new();
    let corpus = "markov:order=1,alphabet=8,bytes=1M";
    study.succeeds(&format!(
        "fit --size 50K --corpus {corpus} --context 128 --batch 16 --steps 300 --name entropy"
    ));
    let records =
        study.json(&format!("eval --json --run entropy --corpus {corpus} --part test --chunk 128"));
    let measured = records[0]["bits_per_byte"].as_f64().expect("measured");
    let interval = &records[0]["raw_rate_interval"];
    let data = lmtrain_corpora::DataDirectory::at(study.path("data"));
    let entropy = lmtrain_corpora::open(corpus, &data)
        .expect("always there")
        .entropy_rate()
        .expect("known exactly");
    // A sample of 50,000 bytes may lie below its mean; its 95 % interval tells by how much.
    let half_width =
        4.0 * (interval[1].as_f64().expect("high") - interval[0].as_f64().expect("low"));
    assert!(measured > entropy - half_width, "{measured} bits/byte, entropy {entropy}");
    let high = 8.0 * interval[1].as_f64().expect("an interval");
    assert!(high > entropy, "{high} bits/byte are below the entropy {entropy}");
    // The first symbol of each chunk of 128 costs up to log2(8) − entropy more than the others.
    assert!(measured < 1.05 * entropy + 3.0 / 128.0, "{measured} bits/byte, entropy {entropy}");
}

/// The part trained on is known for it, as is all of a text that trained whole.
#[test]
fn what_was_trained_on_is_in_sample() {
    let study = Study::new();
    study.fit("--steps 2");
    let whole = "--size 50K --corpus markov:bytes=200K --context 64 --batch 2 --steps 2";
    study.succeeds(&format!("fit {whole} --train-on all --name whole"));
    // Nine tenths train, and a twentieth is the test part.
    for (run, part, share) in [
        ("tiny", "train", 1.0),
        ("tiny", "test", 0.0),
        ("tiny", "whole", 0.9),
        ("whole", "test", 1.0),
    ] {
        let line = format!(
            "eval --json --run {run} --corpus markov:bytes=200K --part {part} --chunk 64 \
             --sample-chunks 20"
        );
        let record = &study.json(&line)[0];
        let number = |key: &str| record[key].as_f64().expect("a number");
        let found = number("in_sample_bytes") / number("raw_bytes");
        assert!((found - share).abs() < 0.01, "{run}, {part}: {found}");
    }
}

#[test]
fn a_curve_ends_at_the_rate_of_chunks_and_is_measured_once() {
    let study = Study::new();
    study.fit("--steps 20");
    let line = "eval --json --curve --run tiny --compressor gzip --corpus markov:bytes=200K --chunk 64 \
                --sample-chunks 30";
    let without = line.replace("--curve ", "");
    let rates = study.json(&without);
    assert_eq!(study.json(line).as_array().map(Vec::len), Some(3), "whole, chunks, the run");
    study.json(line);
    for (folder, index) in [("compressors", 1), ("tiny", 2)] {
        let path = study.path(&format!("runs/work/{folder}/curves.jsonl"));
        let lines = std::fs::read_to_string(path).expect("recorded");
        assert_eq!(lines.lines().count(), 1, "{folder}");
        let curve: serde_json::Value = serde_json::from_str(&lines).expect("a record");
        let points = curve["points"].as_array().expect("points");
        let number = |value: &serde_json::Value| value.as_f64().expect("a number");
        let last = points.last().expect("an end");
        let rate = number(&last["bits"]) / (8.0 * number(&last["raw_bytes"]));
        let record = &rates[index];
        let bits = record["ideal_bits"]
            .as_f64()
            .unwrap_or(8.0 * record["coded_bytes"].as_f64().unwrap_or(0.0));
        let expected = bits / (8.0 * number(&record["raw_bytes"]));
        assert!((rate / expected - 1.0).abs() < 1e-6, "{folder}: {rate} {expected}");
        assert_eq!((number(&last["end"]), number(&points[0]["end"])), (64.0, 1.0));
        assert!(last["bits_interval"].is_array());
    }
    let report = study.succeeds("report --output out");
    assert!(report.contains("index.html"), "{report}");
    let csv = std::fs::read_to_string(study.path("out/figures/context.csv")).expect("a figure");
    assert!(csv.lines().count() > 40 && csv.contains("markov") && csv.contains("tiny"), "{csv}");
    let error = study.fails(&format!("{line} --protocol paper").replace("--json ", ""), 1);
    assert!(error.contains("hint: leave out `--curve`"), "{error}");
}

/// Records without what says when and how they were made: that of shares may differ.
fn timeless(records: &serde_json::Value) -> Vec<serde_json::Value> {
    let mut records = records.as_array().expect("a list").clone();
    for record in &mut records {
        let record = record.as_object_mut().expect("an object");
        for key in ["seconds", "tokens_per_s", "command"] {
            record.remove(key).unwrap_or_else(|| panic!("no {key} in {record:?}"));
        }
    }
    records
}

#[test]
fn shares_of_a_measurement_make_one_record() {
    let study = Study::new();
    study.fit("--steps 5");
    let eval = "eval --run tiny --corpus markov:bytes=40K --chunk 64 --compressor gzip,lzma2";
    let whole = study.json(&format!("{eval} --json --again"));
    std::fs::remove_dir_all(study.path("runs/work/tiny/chunks")).expect("a journal");
    for path in ["runs/work/tiny/rates.jsonl", "runs/work/compressors/rates.jsonl"] {
        std::fs::remove_file(study.path(path)).expect("records");
    }
    let second = study.run(&format!("{eval} --shard 2/3"));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(second.status.success(), "{said}");
    for part in ["share 2/3 is measured; 7 of 10 groups", "in shares 1/3, 3/3", "records the rate"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Its second compressor, whole and in chunks; and of the network, what is missing.
    let second = study.json(&format!("{eval} --json --shard 2/3"));
    assert_eq!((&second[0]["name"], &second[1]["name"]), (&"lzma2".into(), &"lzma2".into()));
    let expected = serde_json::json!({
        "name": "tiny", "corpus": "markov:bytes=40000", "share": "2/3", "groups": 10,
        "missing_groups": 7, "missing_shares": ["1/3", "3/3"],
    });
    assert_eq!((&second[2], second.as_array().map(Vec::len)), (&expected, Some(3)));
    assert!(!study.path("runs/work/tiny/rates.jsonl").exists(), "a part is no rate");
    // The others at once: one of them is the last.
    let mut others = [1, 3].map(|share| {
        let mut command = study.command(&format!("{eval} --shard {share}/3"));
        command.stdout(std::process::Stdio::null()).spawn().expect("the program starts")
    });
    assert!(others.iter_mut().all(|other| other.wait().expect("ends").success()));
    let read = |path: &str| std::fs::read_to_string(study.path(path)).expect("records");
    assert_eq!(read("runs/work/tiny/rates.jsonl").lines().count(), 1, "not by both");
    assert_eq!(read("runs/work/compressors/rates.jsonl").lines().count(), 4, "each once");
    let merged = study.json(&format!("{eval} --json"));
    assert_eq!(timeless(&merged), timeless(&whole));
    assert_eq!(study.json(&format!("{eval} --json --shard 2/3"))[2], merged[4], "it is recorded");
    let error = study.fails(&format!("{eval} --shard 4/3"), 2);
    assert!(error.contains("not a share"), "{error}");
    study.fails(&format!("{eval} --shard 1/3 --again"), 2);
}

/// A share that was cut off is submitted again, another number of shares goes on with what is there, and without shares
/// the rest is measured.
#[test]
fn what_shares_leave_is_finished_by_others() {
    let study = Study::new();
    study.fit("--steps 5");
    let eval = "eval --json --run tiny --corpus markov:bytes=40K --chunk 64";
    let missing = |share: &str| study.json(&format!("{eval} --shard {share}"))[0].clone();
    assert_eq!(missing("1/2")["missing_groups"], 5);
    let chunks = study.path("runs/work/tiny/chunks");
    let of_share = |share: &str| {
        let files =
            std::fs::read_dir(&chunks).expect("there").map(|file| file.expect("one").path());
        let mut own =
            files.filter(|file| file.to_string_lossy().ends_with(&format!("{share}.jsonl")));
        own.next().expect("the file of the share")
    };
    // Killed in the middle of its fourth line.
    let path = of_share("1-of-2");
    let text = std::fs::read_to_string(&path).expect("lines");
    let place = text.match_indices('\n').nth(2).expect("five lines").0;
    std::fs::write(&path, &text[..place + 20]).expect("written");
    let other = missing("3/3");
    assert_eq!((&other["missing_groups"], &other["missing_shares"][0]), (&4.into(), &"1/3".into()));
    assert_eq!(missing("1/2")["missing_groups"], 2);
    let again = std::fs::read_to_string(&path).expect("lines");
    assert_eq!(again.lines().count(), 5, "what was whole is kept");
    assert!(again.starts_with(&text[..=place]));
    let merged = study.json(eval);
    let journal =
        chunks.join(path.file_name().expect("a name").to_string_lossy().replace(".1-of-2", ""));
    assert_eq!(std::fs::read_to_string(journal).expect("lines").lines().count(), 2, "the rest");
    assert_eq!(timeless(&study.json(&format!("{eval} --again"))), timeless(&merged));
    assert_eq!(std::fs::read_dir(&chunks).expect("there").count(), 1, "the shares are forgotten");
}

/// Everything that a network's measurement can be, in two shares.
#[test]
fn whatever_is_measured_can_be_shared_out() {
    let study = Study::new();
    study.fit("--steps 5");
    study.succeeds("pack tiny -o net.lmw");
    crate::models::model(&study, "gpt2");
    for (subject, how) in [
        ("--run tiny", "--chunk 64 --curve"),
        ("--run tiny", "--chunk 64 --protocol paper"),
        ("--run tiny", "--stride 24"),
        ("--run tiny", "--chunk 40tokens --ideal"),
        ("--run tiny", "--chunk 64 --sample-chunks 200 --weight-codes int8"),
        // A single group, so the second share has none.
        ("--run net.lmw", "--chunk 64 --part test"),
        ("--model gpt2", "--chunk 60"),
    ] {
        let eval = format!("eval --json {subject} --corpus markov:bytes=20K {how}");
        let first = study.json(&format!("{eval} --shard 2/2"));
        assert_eq!(first[0]["missing_shares"], serde_json::json!(["1/2"]), "{eval}");
        let merged = study.json(&format!("{eval} --shard 1/2"));
        assert_eq!(timeless(&study.json(&format!("{eval} --again"))), timeless(&merged), "{eval}");
    }
    let curves = std::fs::read_to_string(study.path("runs/work/tiny/curves.jsonl"));
    let curves: Vec<serde_json::Value> = curves
        .expect("recorded")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a record"))
        .collect();
    assert_eq!(curves.len(), 2, "of the shares, and again");
    assert_eq!(curves[0]["points"], curves[1]["points"]);
}
