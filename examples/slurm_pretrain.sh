#!/bin/bash
# Pretrain on several hosts under Slurm: one task per host, all GPUs of each. Submit it with
#
#     sbatch examples/slurm_pretrain.sh --dataset=folder:/data/photos --model_dir=/shared/runs/photos
#
# Three minutes before the time limit, and if the job is preempted, every task receives SIGTERM. The run then saves a
# checkpoint and exits with code 143. The job requeues itself and continues from that step. --model_dir must be on a file
# system that all hosts share.
#SBATCH --job-name=simclr
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log

# Slurm may run a copy of this script elsewhere, so the program is searched in the folder that sbatch was called in.
cd "${SLURM_SUBMIT_DIR:-.}" || exit 1

# The shell itself may receive the signal, too; it goes on and waits for the tasks, which save.
trap : TERM

# A task that ends does not end the others, which still save.
srun --kill-on-bad-exit=0 "${PYTHON:-python}" train.py --mode=pretrain "$@"
code=$?

if [ "$code" -eq 143 ]; then
  echo "stopped and saved; requeueing job $SLURM_JOB_ID"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
