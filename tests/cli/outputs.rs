//! What `compress` and `decompress` write to: streams, links, modes, names, and never the input.

#![cfg(unix)]

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::Study;

const TEXT: &str = "a text that is restored\n";

/// A study with a run, the file `text` and its archive `a.lmz`.
fn study() -> Study {
    let study = Study::new();
    study.fit("--steps 2");
    std::fs::write(study.path("text"), TEXT).expect("written");
    study.succeeds("compress text -o a.lmz --run tiny");
    study
}

fn read(study: &Study, name: &str) -> String {
    String::from_utf8(std::fs::read(study.path(name)).expect(name)).expect("text")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("there").mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("changed");
}

#[test]
fn streams_are_written_to_and_what_is_behind_them_is_kept() {
    let study = study();
    symlink("/dev/stdout", study.path("link")).expect("linked");
    for (number, output) in [
        (1, "/dev/stdout"),
        (1, "/dev/fd/1"),
        (1, "/proc/self/fd/1"),
        (1, "/proc/thread-self/fd/1"),
        (1, "link"),
        (1, "-"),
        (2, "/dev/stderr"),
        (7, "/dev/fd/7"),
        (7, "/proc/self/fd/7"),
        // A file that another process has open.
        (8, "/proc/$$/fd/8"),
    ] {
        // Appended to; and shared with whoever writes before and after.
        for (open, after) in [(">>", ""), (">", "after\n")] {
            if (number, after) == (8, "after\n") {
                continue;
            }
            std::fs::write(study.path("log"), "lost if `>`\n").expect("written");
            let script = format!(
                "{{ echo before >&{number}; \"$LMTRAIN\" decompress a.lmz -o {output} -q; \
                 printf '{after}' >&{number}; }} {number}{open} log"
            );
            study.shell(&script);
            let first = if open == ">>" { "lost if `>`\n" } else { "" };
            assert_eq!(read(&study, "log"), format!("{first}before\n{TEXT}{after}"), "{script}");
        }
    }
    // What `compress` writes comes back from behind the same line.
    study.shell("{ echo before; \"$LMTRAIN\" compress text -o /dev/stdout --run tiny -q; } > log");
    study.shell("tail -c +8 log | \"$LMTRAIN\" decompress - -o restored -q");
    assert_eq!(read(&study, "restored"), TEXT);
}

#[test]
fn pipes_and_devices_stay_what_they_are() {
    let study = study();
    symlink("pipe", study.path("link")).expect("linked");
    study.shell("mkfifo pipe");
    for output in ["pipe", "link"] {
        study.shell(&format!(
            "cat pipe > got & \"$LMTRAIN\" decompress a.lmz -o {output} -q && wait"
        ));
        assert_eq!(read(&study, "got"), TEXT);
    }
    let kind = |name: &str| std::fs::symlink_metadata(study.path(name)).expect(name).file_type();
    assert!(kind("pipe").is_fifo() && kind("link").is_symlink());
    study.succeeds("decompress a.lmz -o /dev/null");
    assert!(std::fs::metadata("/dev/null").expect("there").file_type().is_char_device());
    for line in ["decompress a.lmz", "compress text --run tiny"] {
        let error = study.fails(&format!("{line} -o /dev/full"), 1);
        assert!(error.contains("No space left"), "{error}");
    }
}

#[test]
fn nothing_that_was_planted_is_followed() {
    let study = study();
    for line in ["decompress a.lmz -o out", "compress text --run tiny -o out"] {
        // The program has the shell's number, which is how names were once made of it.
        study.shell(&format!(
            "for name in out.$$.part out.$$.tmp .out.$$-0.tmp; do ln -s \"$PWD/victim\" $name; done; \
             exec \"$LMTRAIN\" {line} -q"
        ));
        assert!(!study.path("victim").exists(), "{line}");
        let kind = std::fs::symlink_metadata(study.path("out")).expect("written").file_type();
        assert!(kind.is_file(), "{line}");
    }
}

#[test]
fn names_may_be_as_long_as_the_system_allows() {
    let study = study();
    for length in [200, 240, 250, 255] {
        let name = "n".repeat(length);
        study.succeeds(&format!("decompress a.lmz -o {name}"));
        assert_eq!(read(&study, &name), TEXT);
        study.succeeds(&format!("compress {name} -o {} --run tiny", "m".repeat(length)));
    }
    let error = study.fails(&format!("decompress a.lmz -o {}", "n".repeat(256)), 1);
    assert!(error.contains("nnn"), "{error}");
}

#[test]
fn modes_are_the_inputs_or_stay_as_they_were() {
    let study = study();
    for given in [0o600, 0o640, 0o644, 0o755, 0o400, 0o666] {
        set_mode(&study.path("text"), given);
        study.succeeds("compress text -o new.lmz --run tiny");
        assert_eq!(mode(&study.path("new.lmz")), given, "{given:o} of the input");
        study.succeeds("decompress new.lmz -o new");
        assert_eq!(mode(&study.path("new")), given, "{given:o} of the archive");
        set_mode(&study.path("text"), 0o644);
        study.succeeds("compress text -o new.lmz --run tiny");
        study.succeeds("decompress a.lmz -o new");
        assert_eq!([mode(&study.path("new.lmz")), mode(&study.path("new"))], [given; 2], "kept");
        for name in ["new", "new.lmz"] {
            std::fs::remove_file(study.path(name)).expect("removed");
        }
    }
    // Standard input that is no file has no mode to give: the mask of new files decides.
    study.shell("umask 027; cat text | \"$LMTRAIN\" compress - -o new.lmz --run tiny -q");
    assert_eq!(mode(&study.path("new.lmz")), 0o640);
    set_mode(&study.path("runs/work/tiny/weights.safetensors"), 0o600);
    study.shell(
        "umask 022; \"$LMTRAIN\" fit --size 50K --corpus markov:bytes=200K --context 64 \
         --batch 2 --name other --steps 2 -q",
    );
    assert_eq!(mode(&study.path("runs/work/other/weights.safetensors")), 0o644);
}

#[test]
fn an_output_is_never_the_input() {
    let study = study();
    std::fs::hard_link(study.path("a.lmz"), study.path("hard")).expect("linked");
    symlink("a.lmz", study.path("soft")).expect("linked");
    symlink("soft", study.path("softer")).expect("linked");
    std::fs::create_dir(study.path("folder")).expect("made");
    let archive = std::fs::read(study.path("a.lmz")).expect("there");
    for output in ["a.lmz", "./a.lmz", "folder/../a.lmz", "hard", "soft", "softer"] {
        for line in ["decompress a.lmz", "compress a.lmz --run tiny"] {
            let error = study.fails(&format!("{line} -o {output}"), 1);
            assert!(error.contains("is the input"), "{line}: {error}");
            assert_eq!(std::fs::read(study.path("a.lmz")).expect("there"), archive, "{line}");
        }
    }
    for script in [
        "\"$LMTRAIN\" decompress - -o a.lmz < a.lmz",
        "\"$LMTRAIN\" decompress a.lmz -o - >> a.lmz",
        "\"$LMTRAIN\" compress hard -o /dev/fd/5 --run tiny 5>> a.lmz",
    ] {
        study.shell(&format!("{script} -q 2> error; test $? = 1"));
        assert!(read(&study, "error").contains("is the input"), "{script}");
        assert_eq!(std::fs::read(study.path("a.lmz")).expect("there"), archive, "{script}");
    }
}

#[test]
fn links_stay_links_and_what_they_name_is_written() {
    let study = study();
    std::fs::create_dir(study.path("there")).expect("made");
    std::fs::write(study.path("there/old"), "old").expect("written");
    set_mode(&study.path("there/old"), 0o604);
    for (link, target) in
        [("to-old", "there/old"), ("dangling", "there/new"), ("twice", "dangling")]
    {
        symlink(target, study.path(link)).expect("linked");
        study.succeeds(&format!("decompress a.lmz -o {link}"));
        let kind = std::fs::symlink_metadata(study.path(link)).expect("there").file_type();
        assert!(kind.is_symlink(), "{link}");
        assert_eq!(read(&study, target), TEXT);
        study.succeeds(&format!("compress text -o {link} --run tiny"));
        study.succeeds(&format!("decompress {target} -o {target}.back"));
        assert_eq!(read(&study, &format!("{target}.back")), TEXT);
    }
    assert_eq!(mode(&study.path("there/old")), 0o604);
    symlink("round", study.path("round")).expect("linked");
    symlink("nowhere/new", study.path("lost")).expect("linked");
    for output in ["round", "lost", "there", "there/", "new/", "nowhere/new"] {
        let error = study.fails(&format!("decompress a.lmz -o {output}"), 1);
        assert!(error.contains("cannot write"), "{output}: {error}");
    }
    let entries = std::fs::read_dir(study.path("there")).expect("there").count();
    assert_eq!(entries, 4, "nothing unfinished is left: two files, each with a restored one");
}

#[test]
fn a_report_is_written_through_links() {
    let study = Study::new();
    study.succeeds("eval --compressor gzip --corpus markov:bytes=9K");
    std::fs::create_dir_all(study.path("out/elsewhere")).expect("made");
    symlink("elsewhere/page", study.path("out/index.html")).expect("linked");
    study.succeeds("report -o out");
    assert!(read(&study, "out/elsewhere/page").contains("<html"));
    let kind = std::fs::symlink_metadata(study.path("out/index.html")).expect("there").file_type();
    assert!(kind.is_symlink());
}
