//! The text of the CUDA kernels, run on this processor: `*_test.cpp` beside the kernels compares them with loops in
//! double precision, and `emulated.h` switches between a block's threads at random. Needs a C++ compiler.

use std::path::Path;
use std::process::Command;

/// Compiles a test with these macros, and runs it.
fn check(test: &str, macros: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gpu/kernels");
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let program = scratch.path().join("test");
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "g++".to_owned());
    let defined = macros.split_whitespace().map(|it| format!("-D{it}"));
    let compiled = Command::new(&compiler)
        .args(["-std=c++20", "-O1", "-w"])
        .args(defined)
        .arg(folder.join(test))
        .arg("-o")
        .arg(&program)
        .output()
        .unwrap_or_else(|error| panic!("`{compiler}`, which CXX can name: {error}"));
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{test} with {macros}:\n{said}");
    let run = Command::new(&program).output().expect("it was compiled for here");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{test} with {macros}:\n{said}{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

#[test]
fn attention_is_what_its_formulas_say() {
    check("attention_test.cpp", "HEADS=2 DIM=32 TIME=150 TURNING=32 HAS_GAIN=1 BATCH=2 SIZE=1");
    check("attention_test.cpp", "HEADS=3 DIM=16 TIME=70 TURNING=8 HAS_GAIN=0 BATCH=1 SIZE=2");
    check("attention_test.cpp", "HEADS=1 DIM=64 TIME=131 TURNING=64 HAS_GAIN=1 BATCH=1 SIZE=1");
    check("attention_test.cpp", "HEADS=1 DIM=128 TIME=66 TURNING=128 HAS_GAIN=1 BATCH=1 SIZE=1");
}

#[test]
fn products_are_exact_but_for_the_rounding_of_their_outputs() {
    // Tiles other than 64 × 64, as `gpu/products.rs` chooses them.
    let (narrow, wide) = ("TILE_ROWS=128 TILE_COLUMNS=64", "TILE_ROWS=128 TILE_COLUMNS=128");
    let tall = "TILE_ROWS=256 TILE_COLUMNS=128";
    let (run, resident) = ("TILES_A_BLOCK=2", "TILES_A_BLOCK=2 RESIDENT=1");
    let (left, right) = ("LEFT_TRANSPOSED=1", "RIGHT_TRANSPOSED=1");
    for macros in [
        // Forward: few rows, all tiles, runs of them with the left rows resident or not; the sum with the stream.
        "ROWS=1 COLUMNS=96 INNER=32 EPILOGUE=0",
        &format!("ROWS=200 COLUMNS=320 INNER=96 EPILOGUE=0 {narrow} {resident}"),
        &format!("ROWS=128 COLUMNS=384 INNER=256 EPILOGUE=0 {wide} {resident}"),
        &format!("ROWS=300 COLUMNS=256 INNER=288 EPILOGUE=2 {tall} {run}"),
        // The activation.
        "ROWS=100 COLUMNS=128 INNER=64 EPILOGUE=3 ACTIVATION=0",
        &format!("ROWS=200 COLUMNS=256 INNER=64 EPILOGUE=3 ACTIVATION=1 {wide}"),
        "ROWS=77 COLUMNS=72 INNER=40 EPILOGUE=3 ACTIVATION=2",
        // Backward through it.
        &format!("ROWS=200 COLUMNS=256 INNER=64 EPILOGUE=4 ACTIVATION=0 {right} {wide} {resident}"),
        &format!("ROWS=100 COLUMNS=128 INNER=64 EPILOGUE=4 ACTIVATION=1 {right}"),
        &format!("ROWS=257 COLUMNS=136 INNER=40 EPILOGUE=4 ACTIVATION=2 {right} {tall}"),
        // Gradients of weights, in parts of the rows.
        &format!("ROWS=64 COLUMNS=192 INNER=1000 EPILOGUE=1 {left} PARTS=5"),
        &format!("ROWS=96 COLUMNS=64 INNER=100 EPILOGUE=1 {left} PARTS=7 {narrow}"),
        &format!("ROWS=128 COLUMNS=128 INNER=300 EPILOGUE=1 {left} PARTS=3 {wide}"),
        &format!("ROWS=256 COLUMNS=136 INNER=1000 EPILOGUE=1 {left} PARTS=4 {tall}"),
        // A vocabulary of any size: forward, to the input, to the weights.
        "ROWS=100 COLUMNS=257 INNER=64 EPILOGUE=1",
        &format!("ROWS=130 COLUMNS=259 INNER=64 EPILOGUE=1 {wide} {resident}"),
        &format!("ROWS=100 COLUMNS=64 INNER=257 EPILOGUE=1 {right}"),
        &format!("ROWS=64 COLUMNS=77 INNER=300 EPILOGUE=1 {left} PARTS=2"),
        // Muon's.
        &format!("ROWS=64 COLUMNS=64 INNER=128 EPILOGUE=0 {right} BATCH=3"),
        "ROWS=72 COLUMNS=72 INNER=72 EPILOGUE=5 BATCH=3",
        &format!("ROWS=128 COLUMNS=256 INNER=128 EPILOGUE=5 BATCH=3 {wide}"),
    ] {
        check("products_test.cpp", macros);
    }
}

#[test]
fn rows_and_their_sums_are_exact() {
    for macros in [
        "ROWS=101 WIDTH=72",
        "ROWS=101 WIDTH=512 SCALE=1.7f",
        "ROWS=99 WIDTH=72 TIME=33",
        "ROWS=99 WIDTH=72 TIME=33 PARTS=3",
        "ROWS=101 WIDTH=257 PARTS=3",
        "ROWS=700 WIDTH=72 VOCABULARY=257 ENTRIES=1 SCALE=1.7f PARTS=2",
        "ROWS=300 WIDTH=64 VOCABULARY=300 ENTRIES=16 SCALE=1.7f PARTS=1",
        "COUNT=1001",
        "COUNT=1001 PARTS=70",
    ] {
        check("rows_test.cpp", macros);
    }
}

#[test]
fn the_loss_and_the_optimizers_are_exact() {
    for macros in [
        "ROWS=21 VOCABULARY=257 HAS_BIAS HAS_CAP SOFT_CAP=15.0f DIVISOR=20.0f",
        "ROWS=3 VOCABULARY=5001 DIVISOR=20.0f",
        "ROWS=21 VOCABULARY=256 HAS_CAP SOFT_CAP=15.0f",
    ] {
        check("head_test.cpp", macros);
    }
    check("optimizer_test.cpp", "COUNT=1001 INPUTS=40 COLUMNS=72 BLOCKS=3");
    check("optimizer_test.cpp", "COUNT=5000 INPUTS=64 COLUMNS=32 BLOCKS=1");
}
