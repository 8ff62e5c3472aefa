#!/usr/bin/env bash
# A sweep, or one long measurement, as a SLURM job array: each task does one share of it.
#
#   sbatch --array=1-8 runs/plans/slurm.sh sweep runs/plans/figure2.toml
#   sbatch --array=1-8 runs/plans/slurm.sh eval --run 3.2M-bytes-modern-s0 --corpus enwik9
#
# All tasks must use the same folder of runs (LMTRAIN_RUNS) and of data (LMTRAIN_DATA). Every run of a sweep, and every
# chunk of a measurement, is in exactly one share; the last share of a measurement records the rate. If tasks are cut
# off, submit the array again once they have ended: finished work is skipped and interrupted work continues. To submit
# only some of the tasks again, say how many shares there are, which SLURM then does not tell:
#
#   LMTRAIN_SHARES=8 sbatch --array=3,5 runs/plans/slurm.sh sweep runs/plans/figure2.toml
#
# `tests/slurm/run.sh` tests this on one machine.
#SBATCH --job-name=lmtrain
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=24:00:00
#SBATCH --signal=INT@120
set -euo pipefail

refuse() {
  printf 'error: %s\nhint: %s\n' "$@" >&2
  exit 2
}

if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then
  refuse "this is not a task of a job array" "sbatch --array=1-8 runs/plans/slurm.sh $*"
fi
if [ -z "${LMTRAIN_SHARES:-}" ]; then
  LMTRAIN_SHARES="$SLURM_ARRAY_TASK_COUNT"
  if [ "${SLURM_ARRAY_TASK_MIN:-}-${SLURM_ARRAY_TASK_MAX:-}" != "1-$LMTRAIN_SHARES" ]; then
    refuse "the array does not consist of the tasks 1 to N, so the number of shares is not known" \
      "with their number for N: LMTRAIN_SHARES=N sbatch --array=$SLURM_ARRAY_TASK_ID runs/plans/slurm.sh $*"
  fi
fi
# Where SLURM does not bind tasks to their processors, threads would take all that the node has.
export RAYON_NUM_THREADS="${RAYON_NUM_THREADS:-$SLURM_CPUS_PER_TASK}"
exec srun --cpus-per-task="$SLURM_CPUS_PER_TASK" lmtrain "$@" --shard "$SLURM_ARRAY_TASK_ID/$LMTRAIN_SHARES"
