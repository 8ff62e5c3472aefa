#!/usr/bin/env bash
# A sweep and one long measurement as job arrays on a real SLURM, which is set up on this machine for it. In the middle of
# each, a task is cancelled and submitted again; then weights and records must be those of one process. `README.md` beside
# this file says what it needs and what it changes.
#
#   cargo build --release && tests/slurm/run.sh target/release/lmtrain       # as root
set -euo pipefail
here="$(realpath "$(dirname "$0")")"
script="$here/../../runs/plans/slurm.sh"
program="$(realpath "${1:?give the path of a built lmtrain}")"
[ "$(id -u)" = 0 ] || { echo "SLURM's daemons need root" >&2; exit 1; }
[ -x "$program" ] || { echo "$program is not a program" >&2; exit 1; }
# shellcheck source=tests/slurm/cluster.sh
source "$here/cluster.sh"

folder="$(mktemp -d)"
chmod 755 "$folder"
finish() {
  local status=$?
  stop_cluster "$folder"
  if [ "$status" != 0 ]; then
    tail -n 50 "$folder"/job-*.log "$folder/slurmctld.log" >&2 || true
  fi
  rm -rf "$folder"
}
trap finish EXIT
fail() { echo "failed: $*" >&2; exit 1; }
said() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

install_slurm
start_cluster "$folder"
said "SLURM $(sinfo --version | cut -d ' ' -f 2) with $(sinfo -h -o '%c processors and %m MB')"

# The program by its name, as the jobs call it, with nothing of the user's.
mkdir "$folder/bin"
ln -s "$program" "$folder/bin/lmtrain"
export PATH="$folder/bin:$PATH" LMTRAIN_DATA="$folder/data" LMTRAIN_TOKENIZERS="$folder/vocab"
unset LMTRAIN_SHARES LMTRAIN_SIMD
cd "$folder"
cat > plan.toml << 'PLAN'
title = "Two seeds"

[[fit]]
size = "50K"
corpus = "source"
context = 256
tokens = "100K"
seed = [0, 1]

[[eval]]
corpus = "source"
chunk = 256
sample-chunks = 200
PLAN
run=50K-bytes-modern-source-c256-100Ktok
measurement=(eval -q --run "$run-s0" --corpus source --chunk 256 --sample-chunks 3000)
groups=47 # of 64 chunks

# Submits tasks of an array, one processor each, and prints the job's number.
submit() {
  sbatch --parsable --array="$1" --cpus-per-task=1 --mem=1G --output="$folder/job-%A-%a.log" "$script" "${@:2}"
}
# Waits until no task of a job is left.
ended() { while squeue -h -j "$1" 2> /dev/null | grep -q .; do sleep 1; done; }
# Waits until task 2 of a job has done enough, which the command $3 tells, sends it the signal $2, and waits for the rest.
stop_second() {
  until "$3"; do
    squeue -h -j "${1}_2" 2> /dev/null | grep -q . || fail "task 2 of job $1 ended before it could be stopped"
    sleep 0.2
  done
  scancel ${2:+--signal="$2"} "${1}_2"
  ended "$1"
}
# The records of a folder, one a line, without what says when and where: it may differ.
records() {
  sed -E 's/"(machine|command)":"([^"\\]|\\.)*",?//g; s/"seconds":[0-9.e+-]+,?//; s/,"crc32":.*//' \
    "$1"/work/"$run"-*/rates.jsonl | sort
}
count() { [ "$(records shared | wc -l)" = "$1" ] || fail "there should be $1 records: $2"; }

LMTRAIN_RUNS="$folder/alone" lmtrain sweep -q plan.toml > alone.txt
LMTRAIN_RUNS="$folder/alone" lmtrain "${measurement[@]}" >> alone.txt
said "one process has trained and measured"

export LMTRAIN_RUNS="$folder/shared"
# `scancel` without a signal asks the program to stop, and it saves a checkpoint.
has_trained() { [ -s "$LMTRAIN_RUNS/work/$run-s1/train.jsonl" ]; }
stop_second "$(submit 1-2 sweep -q plan.toml)" "" has_trained
count 1 "task 2 of the sweep was cancelled"
said "task 1 of the sweep has ended, task 2 was cancelled"

# A part of an array does not say how many shares there are.
job="$(submit 2 sweep -q plan.toml)"
ended "$job"
grep -q "LMTRAIN_SHARES=N sbatch --array=2" "job-$job-2.log" || fail "half of an array was not refused"
ended "$(LMTRAIN_SHARES=2 submit 2 sweep -q plan.toml)"
count 2 "task 2 of the sweep was submitted again"
said "task 2 was submitted again, and has ended"

# Nothing can be done about this signal: what was measured is kept all the same.
journal() { cat "$LMTRAIN_RUNS/work/$run-s0/chunks/"*."$1-of-3.jsonl" 2> /dev/null | wc -l; }
has_measured() { [ "$(journal 2)" -ge 5 ]; }
stop_second "$(submit 1-3 "${measurement[@]}")" KILL has_measured
count 2 "task 2 of the measurement was killed"
said "tasks 1 and 3 of the measurement have ended, task 2 was killed after $(journal 2) groups of chunks"
ended "$(LMTRAIN_SHARES=3 submit 2 "${measurement[@]}")"
count 3 "task 2 of the measurement was submitted again"
[ "$(journal '[123]')" = "$groups" ] || fail "of $groups groups of chunks $(journal '[123]') were measured"
said "task 2 was submitted again, and has ended"

for seed in 0 1; do
  cmp {alone,shared}/work/"$run-s$seed"/weights.safetensors
done
diff <(records alone) <(records shared)
said "weights and records are those of one process"
echo "passed"
