//! Packs the project's own text into the binary: the corpus `source`, a real text that is always
//! there. Every Rust, Markdown and TOML file of the workspace, sorted by path, each after a line
//! with its path.
//!
//! A release build packs anew whenever one of them changes. A debug build watches only this crate
//! and those that it is built from: otherwise each edit to the application would rebuild every
//! crate in between.

#![allow(clippy::print_stdout, reason = "it talks to cargo by standard output")]

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Where the workspace keeps text of its own. Anything else in the checkout is somebody's work.
const FOLDERS: [&str; 5] = ["eval", "runs", "src", "tokenizers", "train"];

/// The packages, which have their code in `src`.
const PACKAGES: [&str; 8] =
    ["", "eval", "eval/corpora", "runs", "tokenizers", "train", "train/engine", "train/kernels"];

/// What a debug build watches.
const WATCHED_IN_DEBUG: [&str; 3] = ["eval/corpora", "runs", "tokenizers"];

const SUFFIXES: [&str; 3] = ["md", "rs", "toml"];

fn main() -> io::Result<()> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let output = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let root = workspace_root(&package);
    let mut files = Vec::new();
    collect(&root, false, &mut files)?;
    for folder in FOLDERS {
        collect(&root.join(folder), true, &mut files)?;
    }
    let mut named: Vec<(String, PathBuf)> =
        files.into_iter().map(|file| (name_within(&root, &file), file)).collect();
    named.sort();
    fs::write(output.join("source.txt"), packed(&named)?)?;
    watch(&root, &named);
    Ok(())
}

/// The folder above this package; this package alone, should it be built outside the workspace.
fn workspace_root(package: &Path) -> PathBuf {
    match package.parent().and_then(Path::parent) {
        Some(root) if root.join("runs").join("Cargo.toml").is_file() => root.to_owned(),
        _ => package.to_owned(),
    }
}

fn collect(folder: &Path, deep: bool, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let suffix = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        // `runs/work` holds what people make with the program, not the program.
        let skipped = name.starts_with('.') || name == "target" || name == "work";
        if path.is_file() && SUFFIXES.contains(&suffix.as_str()) {
            files.push(path);
        } else if deep && !skipped && path.is_dir() {
            collect(&path, deep, files)?;
        }
    }
    Ok(())
}

fn name_within(root: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(root).unwrap_or(file);
    let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// The same bytes from the same commit on every machine: line ends are `\n`, paths have `/`.
fn packed(files: &[(String, PathBuf)]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for (name, file) in files {
        text.extend(format!("==> {name} <==\n").bytes());
        let content = String::from_utf8_lossy(&fs::read(file)?).replace("\r\n", "\n");
        text.extend(content.trim_end().bytes());
        text.extend(b"\n\n");
    }
    Ok(text)
}

fn watch(root: &Path, files: &[(String, PathBuf)]) {
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let packages: &[&str] = if release { &PACKAGES } else { &WATCHED_IN_DEBUG };
    println!("cargo:rerun-if-changed=build.rs");
    for (name, file) in files {
        if release || packages.iter().any(|package| Path::new(name).starts_with(package)) {
            println!("cargo:rerun-if-changed={}", file.display());
        }
    }
    // Folders of code are watched whole, so that a new file is noticed. (A folder that also holds
    // work, as `runs` does, would make every build a new one.)
    for package in packages {
        let code = root.join(package).join("src");
        if code.is_dir() {
            println!("cargo:rerun-if-changed={}", code.display());
        }
    }
}
