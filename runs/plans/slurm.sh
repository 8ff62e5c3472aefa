#!/usr/bin/env bash
# A sweep as a job array: each job does one share of the plan, and no run is in two shares.
#
#   sbatch --array=1-8 runs/plans/slurm.sh runs/plans/figure2.toml
#
# All jobs need the same folder of runs (LMTRAIN_RUNS) and of data (LMTRAIN_DATA). A job that is cut
# off is simply submitted again: what is done is skipped, and what was begun goes on.
#SBATCH --job-name=lmtrain
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=24:00:00
#SBATCH --signal=INT@120
set -euo pipefail
exec srun lmtrain sweep "$1" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
