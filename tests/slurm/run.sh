#!/usr/bin/env bash
# A sweep and one measurement as job arrays on a real SLURM, which is set up on this machine for it: a controller and a
# node, both on loopback. The jobs are cancelled in the middle and the array submitted again; then weights and rates must be
# those of one process. It takes a few minutes, and is run by hand:
#
#   apt-get install slurm-wlm munge
#   cargo build --release && tests/slurm/run.sh target/release/lmtrain       # as root
set -euo pipefail
program="$(realpath "$1")"
plans="$(realpath "$(dirname "$0")/../../runs/plans")"
[ "$(id -u)" = 0 ] || { echo "SLURM's daemons need root" >&2; exit 1; }

folder="$(mktemp -d)"
chmod 755 "$folder"
stop() {
  for name in slurmd slurmctld munged; do
    [ -f "$folder/$name.pid" ] && kill "$(cat "$folder/$name.pid")" 2>/dev/null || true
  done
  rm -rf "$folder"
}
trap stop EXIT

# The cluster: this machine, two processors of it.
mkdir -p "$folder"/{state,spool,munge,bin}
mungekey --create --keyfile "$folder/munge/key"
chown -R munge: "$folder/munge"
runuser -u munge -- munged --key-file "$folder/munge/key" --socket "$folder/munge/socket" \
  --pid-file "$folder/munge/pid" --log-file "$folder/munge/log" --seed-file "$folder/munge/seed" --force
cp "$folder/munge/pid" "$folder/munged.pid"
export SLURM_CONF="$folder/slurm.conf"
cat > "$SLURM_CONF" <<CONF
ClusterName=one
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
AuthInfo=socket=$folder/munge/socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
KillWait=5
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
slurmctld
slurmd
for _ in $(seq 60); do sinfo -h -o %T | grep -q idle && break; sleep 1; done
sinfo

# The program by its name, as jobs call it.
ln -s "$program" "$folder/bin/lmtrain"
export PATH="$folder/bin:$PATH" LMTRAIN_DATA="$folder/data" LMTRAIN_TOKENIZERS="$folder/vocab"
cd "$folder"
cat > plan.toml <<'PLAN'
title = "Two seeds"

[[fit]]
size = "50K"
corpus = "source"
context = 256
tokens = "400K"
seed = [0, 1]

[[eval]]
corpus = "source"
chunk = 256
sample-chunks = 200
PLAN
array() { sbatch --parsable --array=1-2 --cpus-per-task=1 --mem=0 --output="$folder/job-%A-%a.log" "$plans/slurm.sh" "$@"; }
ended() { while squeue -h | grep -q .; do sleep 1; done; }
run=50K-bytes-modern-source-c256-400Ktok

echo "One process:"
LMTRAIN_RUNS="$folder/alone" lmtrain sweep -q plan.toml
LMTRAIN_RUNS="$folder/alone" lmtrain eval -q --run "$run-s0" --corpus source --chunk 256

export LMTRAIN_RUNS="$folder/shared"
job="$(array sweep -q plan.toml)"
checkpoint="$LMTRAIN_RUNS/work/$run-s0/checkpoint"
until [ -e "$checkpoint" ] || [ -e "$LMTRAIN_RUNS/work/$run-s1/checkpoint" ]; do sleep 0.2; done
scancel "$job"
ended
echo "Cancelled in the middle, and submitted again:"
array sweep -q plan.toml > /dev/null
ended
cat "$folder"/job-*.log
array eval -q --run "$run-s0" --corpus source --chunk 256 > /dev/null
ended

failed=0
for seed in 0 1; do
  cmp "$folder"/{alone,shared}/work/"$run-s$seed"/weights.safetensors || failed=1
done
rates() { grep -ho '"ideal_bits":[0-9.]*\|"coded_bytes":[0-9]*\|"chunks":[0-9]*' "$1"/work/50K-*/rates.jsonl | sort; }
cmp <(rates alone) <(rates shared) || failed=1
[ "$failed" = 0 ] && echo "Weights and rates are those of one process."
exit "$failed"
