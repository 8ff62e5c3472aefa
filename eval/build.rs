//! Tells the crate the versions of the libraries that it compresses with, which records name: those of the workspace's
//! `Cargo.lock`, which is what is built.

#![allow(clippy::print_stdout, reason = "it talks to cargo by standard output")]

use std::path::PathBuf;
use std::{env, fs, io};

/// The package that asks.
const OURS: &str = "lmtrain-eval";

/// Libraries, each by the way to it: what we depend on, then what that depends on. The last one's version is told.
const LIBRARIES: [&[&str]; 7] = [
    &["oxipng"],
    &["oxipng", "libdeflater"],
    &["flac-codec"],
    &["brotli"],
    &["bzip2", "libbz2-rs-sys"],
    &["ppmd-rust"],
    &["webp", "libwebp-sys"],
];

fn main() -> io::Result<()> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let path = package.join("../Cargo.lock");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", path.display());
    let text = fs::read_to_string(path)?;
    let packages: Vec<Package> = text.split("[[package]]").skip(1).map(Package::parse).collect();
    for way in LIBRARIES {
        let (name, version) = found(&packages, way).ok_or_else(|| missing(way))?;
        let variable = name.to_uppercase().replace('-', "_");
        println!("cargo::rustc-env=VERSION_OF_{variable}={version}");
    }
    Ok(())
}

fn missing(way: &[&str]) -> io::Error {
    io::Error::other(format!("Cargo.lock has no {} of {OURS}", way.join(" of ")))
}

/// A package of the lock file.
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    /// Names, each followed by a version where several are locked.
    dependencies: Vec<&'a str>,
}

impl<'a> Package<'a> {
    fn parse(text: &'a str) -> Self {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            line.unwrap_or_default().trim_matches('"')
        };
        let listed = |line: &'a str| line.strip_prefix(" \"")?.strip_suffix("\",");
        let dependencies = text.lines().filter_map(listed).collect();
        Self { name: value("name"), version: value("version"), dependencies }
    }
}

/// Name and version of what is at the end of the way.
fn found<'a>(packages: &'a [Package<'a>], way: &[&str]) -> Option<(&'a str, &'a str)> {
    let mut at = packages.iter().find(|package| package.name == OURS)?;
    for step in way {
        let is_step = |entry: &&&str| entry.split(' ').next() == Some(step);
        let mut words = at.dependencies.iter().find(is_step)?.split(' ');
        let (name, version) = (words.next()?, words.next());
        let is_it = |package: &&Package| {
            package.name == name && version.is_none_or(|version| package.version == version)
        };
        at = packages.iter().find(is_it)?;
    }
    Some((at.name, at.version))
}
