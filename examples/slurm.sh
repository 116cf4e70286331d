#!/bin/sh
# A batch script for Slurm: sbatch examples/slurm.sh target/release/jacobi --check
#
# One drone on each of two hosts; each uses all cores there by threads.
#SBATCH --job-name=hivemind
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --time=00:10:00

# Every drone finds its place by what srun sets. When one fails, srun ends the others.
exec srun --kill-on-bad-exit=1 --label "$@"
