#!/usr/bin/env bash
# Everything that a first visit to a GPU should learn, in order of worth, by one command of at most nine minutes.
#
#   gpu_kit.sh OUT [SECONDS]
#
# Writes every file under OUT and prints a short table last. A part that fails is noted and left behind; each
# has a limit of its own. It takes the programs that lie beside it, as `gpu_pack.sh` packs them, and needs neither
# Rust nor a network. By environment:
#
#   DEVICE=cuda        what to compute on; `cpu` tries the kit itself
#   PYTHON=python3     a Python that has PyTorch; without one the comparison is left out
#   SIZES=…            sizes whose speed is compared        (3.2M,6.4M,38M,200K)
#   BATCH=32           sequences of a pass in that comparison
#   LADDER=…           sizes to train, the first first      (38M 6.4M 3.2M)
#   TOKENS=200M        tokens of each
#   RUNS=DIR           where runs are kept: those of an earlier visit go on
set -u
here="$(cd "$(dirname "$0")" && pwd)"
out="${1:?usage: gpu_kit.sh OUT [SECONDS]}"
limit="${2:-530}"
device="${DEVICE:-cuda}"
python="${PYTHON:-python3}"
sizes="${SIZES:-3.2M,6.4M,38M,200K}"
batch="${BATCH:-32}"
ladder="${LADDER:-38M 6.4M 3.2M}"
tokens="${TOKENS:-200M}"
mkdir -p "$out"
out="$(cd "$out" && pwd)"
export LMTRAIN_DATA="${LMTRAIN_DATA:-$here/data}" LMTRAIN_RUNS="${RUNS:-$out/runs}"
lmtrain="$here/lmtrain"
table="$out/table.txt"
: >"$table"

left() { echo $((limit - SECONDS)); }
note() { printf '%-34s %s\n' "$1" "$2" | tee -a "$table"; }

# part NAME SECONDS COMMAND…: runs a command with its output in NAME.log, for at most so long, and at most
# as long as there is time left.
part() {
  local name="$1" most="$2" began="$SECONDS" status
  shift 2
  [ "$most" -le "$(left)" ] || most="$(left)"
  if [ "$most" -lt 5 ]; then
    note "$name" "left out: no time"
    return 1
  fi
  # `timeout` runs programs only: functions go through a shell, which they are exported to.
  timeout --kill-after=10 "$most" bash -c '"$@"' part "$@" >"$out/$name.log" 2>&1
  status=$?
  case "$status" in
    0) note "$name" "done in $((SECONDS - began)) s" ;;
    124) note "$name" "stopped after $most s" ;;
    *) note "$name" "failed with $status: $(grep -v '^ *$' "$out/$name.log" | tail -1 | cut -c1-90)" ;;
  esac
  return "$status"
}

what_is_here() {
  "$lmtrain" --version
  nvidia-smi
  ldconfig -p | grep -E 'libcuda|libnvrtc'
  nproc
  free -g
  "$python" -c 'import torch; print("torch", torch.__version__, torch.version.cuda)'
  "$lmtrain" data list
  true
}

# The same 60 steps on the processor and on the GPU, each of whose launches is waited for: a kernel that fails is named.
agreement() {
  local place
  for place in cpu "$device"; do
    LMTRAIN_WAIT_FOR_KERNELS=1 "$lmtrain" fit --size 800K --corpus source --context 2048 --steps 60 --batch 4 \
      --device "$place" --name "agreement-$place" --overwrite --plain || return
    sed -n 's/.*"step":\([0-9]*\),.*"train_bits_per_byte":\([0-9.]*\).*/\1 \2/p' \
      "$LMTRAIN_RUNS/work/agreement-$place/train.jsonl" | awk 'NR % 6 == 1' | tr '\n' ';'
    echo
  done
}

# The tests that need a GPU; the curves of 200 steps come out as a file.
gpu_tests() {
  LMTRAIN_FIXTURES="$here/pretrained" LMTRAIN_CURVES="$out/curves.csv" \
    "$here/gpu_tests" --ignored --nocapture --test-threads 1 gpu
}

compare() {
  "$python" "$here/against_pytorch.py" --peer "$here/torch_baseline.py" --python "$python" --lmtrain "$lmtrain" \
    --device "$device" --sizes "$sizes" --batch "$batch" --modes "$1" --rounds 1 --json "$out/speed.json"
}

# The time of each kernel in a few steps, summed by kernel, the longest first.
profile() {
  cd "$out" && CUBECL_DEBUG_OPTION=profile-medium CUBECL_DEBUG_LOG="$out/profile.txt" \
    "$lmtrain" bench --size "$1" --only train --steps 2 --batch "$batch" --device "$device"
}

# Trains as long as there is time, and keeps what there is: a later visit goes on with `--resume`.
train() {
  local name="gpu-$1" resume=""
  [ ! -f "$LMTRAIN_RUNS/work/$name/plan.toml" ] || resume="--resume"
  "$lmtrain" fit --size "$1" --corpus wiki15-8 --batch "$batch" --tokens "$tokens" --device "$device" \
    --name "$name" --plain $resume
}

measure() {
  "$lmtrain" eval --run "gpu-$1" --corpus wiki15-tail-20M --sample-chunks 500 --device "$device" --json
}

export here out device python sizes batch tokens lmtrain
export -f what_is_here agreement gpu_tests compare profile train measure

part what-is-here 30 what_is_here
part agreement 60 agreement
tail -2 "$out/agreement.log" | cut -c1-100 >>"$table"
if "$python" -c 'import torch' 2>/dev/null; then
  mode=bf16-compile
  [ "$device" = cuda ] || mode=f32
  part speed 150 compare "$mode" && grep '^|' "$out/speed.log" >>"$table"
else
  part speed 60 "$lmtrain" bench --size "$sizes" --only train,score --batch "$batch" --device "$device"
fi
part profile 60 profile 3.2M
part gpu-tests 150 gpu_tests
grep -E '^test .* (ok|FAILED)' "$out/gpu-tests.log" >>"$table"
for size in $ladder; do
  # What is left is shared: the first size takes half of it, and something is kept to measure it.
  part "train-$size" "$(($(left) / 2))" train "$size"
  part "measure-$size" 30 measure "$size" && grep -E '"bits_per_byte"' "$out/measure-$size.log" >>"$table"
done
"$lmtrain" report -o "$out/report" >"$out/report.log" 2>&1 || note report "failed: $(tail -1 "$out/report.log")"
# One file of all that is small: records, plans, and weights of at most 16 MB.
tar -C "$out" --exclude='*/checkpoint' -cJf "$out/kept.tar.xz" runs table.txt 2>/dev/null
printf '\n== %s s\n' "$SECONDS"
cat "$table"
