//! Runs are found, renamed, locked by one process, and damaged.

use super::*;
use crate::files::write_atomic;
use crate::record::{CompressorFacts, Facts};
use crate::{plan, record};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::new(folder.path());
    (folder, store)
}

#[test]
fn runs_and_records_are_found_again() {
    let (_folder, store) = store();
    assert!(store.runs().expect("nothing there").is_empty());
    let plan = plan::tests::example();
    let run = store.run(&plan.name);
    run.save_plan(&plan).expect("saved");
    let rate = record::tests::example();
    run.append_rate(&rate).expect("appended");
    store.compressors().append_rate(&rate).expect("appended");
    assert_eq!(store.runs().expect("one")[0].plan().expect("reads"), Some(plan));
    assert_eq!(store.rates().expect("two").len(), 2);
    run.clear().expect("cleared");
    assert!(store.runs().expect("none left").is_empty());
}

#[test]
fn a_run_is_what_its_folder_is_called() {
    let (_folder, store) = store();
    let plan = plan::tests::example();
    let run = store.run("before");
    run.save_plan(&plan).expect("saved");
    let mut rate = record::tests::example();
    run.append_rate(&rate).expect("appended");
    fs::rename(run.folder(), store.run("after").folder()).expect("renamed");
    let run = &store.runs().expect("one")[0];
    assert_eq!(run.plan().expect("reads").expect("there").name, "after");
    assert_eq!(store.rates().expect("one")[0].name, "after");
    rate.facts = Facts::Compressor(CompressorFacts::default());
    store.compressors().append_rate(&rate).expect("appended");
    assert_eq!(store.rates().expect("two")[0].name, rate.name, "compressors keep their names");
}

#[test]
fn a_rate_that_stands_for_another_is_kept_alone() {
    let (_folder, store) = store();
    let (run, rate) = (store.run("after"), record::tests::example());
    let wanted = record::RateRecord { name: "after".to_owned(), ..rate.clone() };
    let append = || run.append_rate_unless(&rate, |there| there.stands_for(&wanted));
    assert_eq!(append().expect("appended"), None);
    assert_eq!(append().expect("read"), Some(wanted.clone()), "under the run's name");
    assert_eq!(run.rates().expect("one").len(), 1);
    assert_eq!(run.append_rate_unless(&rate, |_| false).expect("appended"), None);
    assert_eq!(run.rates().expect("two").len(), 2);
}

#[test]
fn an_unfinished_line_is_cut_and_a_damaged_one_named() {
    let (_folder, store) = store();
    let run = store.run("a");
    let rate = record::tests::example();
    run.append_rate(&rate).expect("appended");
    let path = run.rates_path();
    let mut text = fs::read(&path).expect("there");
    text.extend(b"{\"name\":\"half a li");
    fs::write(&path, &text).expect("written");
    assert_eq!(run.rates().expect("the whole line").len(), 1);
    run.append_rate(&rate).expect("appended");
    assert_eq!(run.rates().expect("two whole lines").len(), 2);
    fs::write(&path, b"{\"name\":1}\n").expect("written");
    let message = run.rates().expect_err("damaged").to_string();
    assert!(message.contains("rates.jsonl") && message.contains("line 1"), "{message}");
}

#[test]
fn a_run_is_held_by_one() {
    let (_folder, store) = store();
    let run = store.run("a");
    let lock = run.lock().expect("free");
    assert!(matches!(run.lock(), Err(StoreError::Busy(_))));
    drop(lock);
    run.lock().expect("free again");
}

#[test]
fn garbage_never_panics() {
    let (_folder, store) = store();
    let run = store.run("a");
    for text in [&b"\xff\xfe"[..], b"size = 3", b"", b"[[[["] {
        write_atomic(&run.plan_path(), text).expect("written");
        assert!(run.plan().is_err());
    }
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    write_atomic(&run.rates_path(), pointer).expect("written");
    let message = run.rates().expect_err("no records").to_string();
    assert!(message.contains("rates.jsonl") && message.contains("git lfs pull"), "{message}");
}
