#!/usr/bin/env bash
# Packs what `gpu_kit.sh` needs on a machine without Rust and network, into one file.
#
#   train/benches/gpu_pack.sh [OUT.tar] [PEER]
#
# Builds the program and the GPU's tests with `--features cuda`, strips them, and adds the data and the PyTorch
# program PEER. Must come to less than 64 MB. There: `tar xf gpu-kit.tar && xz -d gpu-kit/*.xz; gpu-kit/gpu_kit.sh out`.
set -euo pipefail
cd "$(dirname "$0")/../.."
pack="$(realpath -m "${1:-target/gpu-kit.tar}")"
peer="${2:-../shared/bench/torch_baseline.py}"
data="${LMTRAIN_DATA:-../shared/data}"
features="${FEATURES:-cuda}"
most=$((64 * 1000 * 1000))

cargo build --locked --release --features "$features"
tests="$(cargo test --locked --release --features "$features" --lib -p lmtrain-train --no-run --message-format json |
  sed -n 's/.*"executable":"\([^"]*lmtrain_train-[^"]*\)".*/\1/p' | tail -1)"

kit="$(mktemp -d)/gpu-kit"
mkdir -p "$kit/data/text"
cp target/release/lmtrain "$kit/lmtrain"
cp "$tests" "$kit/gpu_tests"
strip "$kit/lmtrain" "$kit/gpu_tests"
xz -9 -T0 "$kit/lmtrain" "$kit/gpu_tests"
cp "$data/text/wiki15-8.xz" "$data/text/wiki15-tail-20M.xz" "$kit/data/text/"
cp -r train/reference/pretrained "$kit/"
cp train/benches/gpu_kit.sh train/benches/against_pytorch.py "$peer" "$kit/"
tar -C "$(dirname "$kit")" -cf "$pack" gpu-kit
rm -r "$(dirname "$kit")"
bytes="$(stat -c %s "$pack")"
echo "$pack: $bytes bytes"
[ "$bytes" -lt "$most" ] || { echo "more than $most bytes: too much to carry" >&2; exit 1; }
