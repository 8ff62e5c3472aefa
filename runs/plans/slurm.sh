#!/usr/bin/env bash
# A sweep, or one long measurement, as a job array: each job does one share of it.
#
#   sbatch --array=1-8 runs/plans/slurm.sh sweep runs/plans/figure2.toml
#   sbatch --array=1-8 runs/plans/slurm.sh eval --run 3.2M-bytes-modern-s0 --corpus enwik9
#
# All jobs need the same folder of runs (LMTRAIN_RUNS) and of data (LMTRAIN_DATA). No run of a sweep is in two shares,
# and no chunk of a measurement, whose last job records the rate. A job that is cut off is simply submitted again: what
# is done is skipped, and what was begun continues. `tests/slurm/run.sh` shows it on one machine.
#SBATCH --job-name=lmtrain
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=24:00:00
#SBATCH --signal=INT@120
set -euo pipefail
exec srun lmtrain "$@" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
