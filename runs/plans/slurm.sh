#!/usr/bin/env bash
# A sweep, or one long measurement, as a SLURM job array: each job does one share of it.
#
#   sbatch --array=1-8 runs/plans/slurm.sh sweep runs/plans/figure2.toml
#   sbatch --array=1-8 runs/plans/slurm.sh eval --run 3.2M-bytes-modern-s0 --corpus enwik9
#
# All jobs must use the same folder of runs (LMTRAIN_RUNS) and of data (LMTRAIN_DATA). Every run of a sweep, and every
# chunk of a measurement, is in exactly one share; the last job of a measurement records the rate. If a job is cut off,
# submit it again: finished work is skipped and interrupted work continues. `tests/slurm/run.sh` tests this on one machine.
#SBATCH --job-name=lmtrain
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=24:00:00
#SBATCH --signal=INT@120
set -euo pipefail
exec srun lmtrain "$@" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
